"""ICT-FaceKit's head as an actor: an identity by chance, its expressions, its eyeballs and teeth.

ICT-FaceKit Light (Li et al., "Learning Formation of Physically-Based Face Attributes", CVPR 2020; MIT licence) is no
part of this repository. A folder that holds `ict_facekit_light.npz` is given to the scripts: neutral [V, 3] in
centimetres, y up, facing +z; expr [57, V, 3] and identity [100, V, 3], a standard deviation each; quads that end in -1
where they are triangles. Knows no bpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from topo4d_blender.core.errors import RequestError
from topo4d_blender.core.template import Template

Array = np.ndarray
FILE = "ict_facekit_light.npz"
SKIN = 14062  # the first vertices: face, head and neck, sockets of mouth and eyes
FACE = 9409  # the first of those: the face itself
MOUTH_SOCKET, EYE_SOCKETS = 11248, 13294  # where these begin
GUMS, TEETH, EYES = 2, 3, (4, 6)  # materials
_FACE_SIDE = {0: (0.0, 0.66), 1: (0.67, 1.0)}  # where the UV tiles of face and of the rest lie in one tile, in u
_PROP_CELL = {GUMS: (0.0, 0.0), TEETH: (0.5, 0.0), EYES[0]: (0.0, 0.5), EYES[1]: (0.5, 0.5)}  # likewise, in u and v


@dataclass(frozen=True)
class Head:
    """One identity. Lengths in millimetres; a shape is [W, 3] of all vertices, those of the skin first."""

    neutral: Array  # [W, 3]
    expressions: dict[str, Array]  # name -> [W, 3] displacement at full strength
    skin: Template  # of the first SKIN vertices
    prop: Template  # eyeballs, teeth, gums and tongue, of their own vertices
    prop_rows: Array  # [P] which of all vertices those are
    prop_material: Array  # [P] int: GUMS, TEETH or one of EYES
    landmarks: Array  # [68] vertices, in the order of iBUG
    seed: int

    def shapes(self, weights: dict[str, Array]) -> Array:
        """The head under `weights` (expression -> [F], 0 is neutral).  # [F, W, 3]."""
        frames = len(next(iter(weights.values())))
        sequence = np.repeat(self.neutral[None], frames, axis=0)
        for name, curve in weights.items():
            sequence += np.asarray(curve)[:, None, None] * self.expressions[name]
        return sequence


def load_head(folder: Path, seed: int, strength: float = 0.9) -> Head:
    """The head of identity `seed`, in millimetres. Raises RequestError if `folder` does not hold ICT-FaceKit Light."""
    path = Path(folder) / FILE
    if not path.is_file():
        raise RequestError(
            f"{path} is missing; the heads of ICT-FaceKit are filmed from it, give its folder as --heads."
        )
    with np.load(path) as data:
        kit = {name: data[name] for name in data.files}
    count = 60
    chance = np.random.default_rng([seed, 11]).standard_normal(count) * strength
    neutral = 10.0 * (kit["neutral"] + np.einsum("i,ivk->vk", chance, kit["identity"][:count]))
    expressions = {str(n): 10.0 * e.astype(np.float64) for n, e in zip(kit["expr_names"], kit["expr"], strict=True)}
    skin, _, _ = _mesh(kit, (0, 1), neutral, _skin_uv)
    prop, rows, material = _mesh(kit, tuple(_PROP_CELL), neutral, _prop_uv)
    return Head(neutral, expressions, skin, prop, rows, material, kit["landmarks68"], seed)


def _mesh(kit: dict, materials: tuple, neutral: Array, pack) -> tuple[Template, Array, Array]:
    """The faces of `materials` with the vertices they use, those rows of all vertices, and each one's material."""
    chosen = np.isin(kit["face_material"], materials)
    corners, uv_corners = kit["faces"][chosen], kit["faces_uv"][chosen]
    kept = corners >= 0
    per_face = kept.sum(axis=1)
    material = np.repeat(kit["face_material"][chosen], per_face)
    rows, loops = np.unique(corners[kept], return_inverse=True)
    uv = pack(kit["uv"][uv_corners[kept]].astype(np.float64), material)
    of_vertex = np.zeros(len(rows), int)
    of_vertex[loops] = material
    starts = np.concatenate([[0], np.cumsum(per_face)]).astype(np.int32)
    return Template(neutral[rows], loops.astype(np.int32), starts, uv.astype(np.float32)), rows, of_vertex


def _skin_uv(uv: Array, material: Array) -> Array:
    begin, end = (np.array([_FACE_SIDE[m][k] for m in (0, 1)])[material] for k in (0, 1))
    return np.stack([begin + (uv[:, 0] - material) * (end - begin), uv[:, 1]], axis=1)


def _prop_uv(uv: Array, material: Array) -> Array:
    corner = np.array([_PROP_CELL.get(m, (0.0, 0.0)) for m in range(max(_PROP_CELL) + 1)])[material]
    return corner + 0.01 + 0.48 * (uv - np.floor(uv))


def turned(shapes: Array, angles: Array, shifts: Array, pivot: Array) -> Array:
    """Shapes [F, W, 3] turned by `angles` [F, 3] (degrees about x, y, z) around `pivot`, moved by `shifts` [F, 3]."""
    rotations = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    return np.einsum("fij,fvj->fvi", rotations, shapes - pivot) + pivot + shifts[:, None]


def shut(head: Head, blink: str) -> float:
    """The strength of the expression `blink` that closes the eye of this identity: as wide as it is open."""
    upper, lower = head.landmarks[[37, 38, 43, 44]], head.landmarks[[41, 40, 47, 46]]
    closed = head.expressions[blink][upper] - head.expressions[blink][lower]
    moving = np.linalg.norm(closed, axis=1) > 1.0
    opening = (head.neutral[upper] - head.neutral[lower])[moving, 1]
    return float((opening / -closed[moving, 1]).mean())


def lids_over_eyeballs(head: Head, shapes: Array, gap: float = 0.1, ease: float = 0.6) -> Array:
    """Shapes [F, W, 3] whose lids slide over the eyeballs: what lies within `gap` mm of one, or in it, is pushed out.

    A blend shape takes a lid straight from open to shut, which is through the eyeball. The push eases in over a few
    times `ease` mm, so that what lay deeper still does: a lid pressed flat would fold its rim.
    """
    shapes = shapes.copy()
    for side in EYES:
        rows = head.prop_rows[head.prop_material == side]
        for shape in shapes:
            middle = 0.5 * (shape[rows].min(axis=0) + shape[rows].max(axis=0))
            ball = shape[rows] - middle
            radius = np.linalg.norm(ball, axis=1)
            offset = shape[:FACE] - middle
            distance = np.linalg.norm(offset, axis=1)
            near = np.flatnonzero((distance < radius.max() + gap + 8.0 * ease) & (offset[:, 2] > 0.0))
            outward = offset[near] / distance[near, None]
            there = radius[cKDTree(ball / radius[:, None]).query(outward)[1]] + gap
            eased = there + ease * np.logaddexp(0.0, (distance[near] - there) / ease)
            shape[near] = middle + outward * eased[:, None]
    return shapes
