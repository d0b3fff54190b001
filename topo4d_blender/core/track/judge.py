"""What went wrong in a solved frame, and where: flags for metrics.jsonl, a few vertices for whoever looks at them.

Every limit is relative: to pixels, to edge lengths, to the head's size, to what the take has shown so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components
from scipy.spatial.transform import Rotation

from ..capture import Camera
from ..template import Template
from .pose import HeadFit, move_back, vertex_areas, well_seen
from .sight import face_normals, vertex_normals
from .witness import Witness, ring_mean

Array = np.ndarray
NAMED = 8  # so many vertices are named
FAR = 5.5  # a miss is far above the take's own level beyond so many times that level,
BEYOND_CHANCE = 0.6  # and so many times that of unrelated pictures
NEAR_CHANCE = 0.8  # of the miss of unrelated pictures: a frame whose level comes so near to it is lost all over
REGION = 0.015  # share of the seen surface from which what is lost is called a region
LOST = 0.1  # share from which the whole frame is
SPECK = 0.1  # of the median triangle's area: what is folded of less in all, in the corner of a mouth, is not to be seen
SPIKE = 1.0  # edge lengths that a vertex may move against its neighbours in a frame
JUMP_DEGREES, JUMP_RADII = 30.0, 0.5  # what no head does in a frame
LEVELS = 50  # frames back that tell the take's level


@dataclass(frozen=True)
class Verdict:
    """What a look at a solved frame found."""

    flags: list[str]
    where: dict[str, dict]  # flag -> {"count": how many vertices, "vertices": the first few}
    miss_px: float | None  # median miss of the seen vertices, pixels at working size; None: nothing was seen

    @property
    def lost(self) -> bool:
        """Whether no other frame should start from this one if it can be helped."""
        return "lost" in self.flags


class Judge:
    """Looks at one frame after another; keeps the reference alone, so any frame may be judged at any time."""

    def __init__(self, template: Template, cameras: tuple[Camera, ...], scales: list[int]):
        """For plates of `cameras` (no lens distortion) reduced by `scales`."""
        self.head = HeadFit(template, well_seen(template, cameras))
        self.witness = Witness(template, cameras, scales)
        self._template, self._edges, self._triangles = template.vertices, template.edges, template.triangles
        self._area = vertex_areas(template.vertices, template.triangles)
        self._ring = ring_mean(self._edges, len(self._template))
        lengths = np.linalg.norm(self._template[self._edges[:, 0]] - self._template[self._edges[:, 1]], axis=1)
        count = np.maximum(np.bincount(self._edges.ravel(), minlength=len(self._template)), 1)
        self._ring_length = np.bincount(self._edges.ravel(), np.repeat(lengths, 2), len(self._template)) / count
        arm = self._template - self._template.mean(axis=0)
        self._radius = float(np.sqrt((arm**2).sum(axis=1).mean()))
        self._faces = face_normals(self._template, self._triangles)  # as long as twice the areas
        self._folded = self._folds(self._template)

    def look(
        self, vertices: Array, before: Array, plates: list[Array | None], gap: int, levels: Sequence[float]
    ) -> Verdict:
        """Judge `vertices` [V, 3], solved from `before` [V, 3] of `gap` frames away, by their `plates`.

        `levels` are the `miss_px` of the frames solved so far.
        """
        pose, start = self.head(vertices), self.head(before)
        found = {
            "folded_triangles": self.folds(move_back(pose, vertices)),
            "implausible_motion": self._jumps(vertices, before, pose, start, gap),
        }
        miss = self.witness.miss(vertices, plates)
        seen = np.isfinite(miss)
        level = float(np.median(miss[seen])) if seen.any() else None
        share, found["lost_region"] = self._lost_region(miss, level, levels)
        flags = [flag for flag, where in found.items() if len(where)]
        where = {flag: {"count": len(w), "vertices": w[:NAMED].tolist()} for flag, w in found.items() if len(w)}
        return Verdict(flags + ["lost"] * (share > LOST), where, level)

    def fit(self, vertices: Array, plates: list[Array | None]) -> float:
        """How badly `vertices` [V, 3] wear the colours of `plates`: the mean miss, outliers held back.

        Infinite where nothing is seen.
        """
        miss = self.witness.miss(vertices, plates)
        seen = np.isfinite(miss)
        if not seen.any():
            return np.inf
        return float(np.average(np.minimum(miss[seen], 4 * self.witness.pixel), weights=self._area[seen]))

    def folds(self, head: Array) -> Array:
        """Vertices of triangles that lie folded over in the head's space [V, 3] and did not in the template.

        None where all of these together are no more than a speck.
        """
        folded = self._folds(head) & ~self._folded
        sizes = np.linalg.norm(self._faces, axis=1)
        speck = sizes[folded].sum() < SPECK * np.median(sizes)
        return np.unique(self._triangles[folded & (not speck)])

    def _folds(self, vertices: Array) -> Array:
        """Triangles turned over against both the template's and their own surroundings.  # [T] bool."""
        now = face_normals(vertices, self._triangles)
        around = vertex_normals(vertices, self._triangles)[self._triangles].sum(axis=1)
        turned = (self._faces * now).sum(axis=1) < 0 if vertices is not self._template else True
        return turned & ((now * around).sum(axis=1) < 0)

    def _jumps(self, vertices: Array, before: Array, pose: Array, start: Array, gap: int) -> Array:
        """Vertices that moved as no skin does: far against their neighbours, or with a head that leaps.  # indices."""
        step = pose @ np.linalg.inv(start)
        angle = np.rad2deg(Rotation.from_matrix(step[:3, :3]).magnitude())
        centre = np.append(before.mean(axis=0), 1.0)
        way = np.linalg.norm((step @ centre - centre)[:3])
        if angle > JUMP_DEGREES * gap or way > JUMP_RADII * self._radius * gap:
            return np.arange(len(vertices))
        motion = move_back(pose, vertices) - move_back(start, before)
        apart = np.linalg.norm(motion - self._ring @ motion, axis=1)
        jumped = np.flatnonzero(apart > SPIKE * gap * self._ring_length)
        return jumped[np.argsort(-apart[jumped], kind="stable")]

    def _lost_region(self, miss: Array, level: float | None, levels: Sequence[float]) -> tuple[float, Array]:
        """Share of the seen surface that is lost, and the vertices of its connected regions, the worst first."""
        seen = np.isfinite(miss)
        if level is None:
            return 0.0, np.zeros(0, int)
        usual = float(np.median(levels[-LEVELS:])) if len(levels) else 0.0
        chance = self.witness.chance
        everywhere = level > NEAR_CHANCE * chance and level > 2 * usual  # noise alone would be usual by now
        limit = 0.0 if everywhere else max(FAR * max(usual, level), BEYOND_CHANCE * chance)
        bad = np.nan_to_num(miss) > limit
        edges = self._edges[bad[self._edges].all(axis=1)]
        links = sp.coo_matrix((np.ones(len(edges)), edges.T), shape=(len(miss), len(miss)))
        _, region = connected_components(links, directed=False)
        size = np.bincount(region, self._area * bad) / self._area[seen].sum()
        lost = np.flatnonzero(bad & (size[region] >= REGION))
        return float(self._area[bad].sum() / self._area[seen].sum()), lost[np.argsort(-miss[lost], kind="stable")]
