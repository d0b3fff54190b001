"""How much brighter each camera sees each vertex than in the reference frame, because skin has turned in its light.

Skin that turns gets brighter or darker, and where it is bent sharply (lips, lids, nostrils) it does so within a pixel
or two: no filter tells that from motion. But how bright skin is depends on which way it is turned, nearly as a
function of the second order (Ramamoorthi and Hanrahan 2001; Basri and Jacobs 2003), and which way it is turned the
mesh says. So for each camera, whose light may differ by gain and gloss, with the normals n then and m now and
harmonics Y,

    log(plate / reference) = a . (Y(m) - Y(n)) + b . Y(m),

a being the light (second order) and b what changed of it since (first order, gain included), by robust least squares
over the vertices that the camera saw in the reference and that are looked at (role t4d_ignore). What throws shadows is
not asked, and vertices that something has come before since are left to the reweighting. Nothing is kept from frame to
frame. Knows the reference's plates and mesh; runs on the host for every device.
"""

from __future__ import annotations

import numpy as np

from ..raster import sample
from .appearance import THREADS, Projection, locate, shown_vertices
from .pyramid import LevelCameras
from .sight import vertex_normals
from .surface import Surface

Array = np.ndarray
ENOUGH = 4_000  # vertices tell twelve numbers
LEAST = 50  # vertices, below which a camera tells nothing
DARKEST, BRIGHTEST = 0.02, 0.98  # of full scale: beyond lies noise, or nothing
FACING = 0.2  # cosine between a vertex's normal and the way to a camera, below which it is about to vanish
BORDER = 0.5  # pixels within the outermost pixels' centres: all that is read between pixels lies in the picture
ROUNDS = 4  # of reweighting
OUTLIER = 2.0  # standard deviations at which a vertex counts a quarter (Geman-McClure)
RIDGE = 1e-3  # against coefficients that nothing determines (a head that hardly moves), of the data's weight
MOST = 1.5  # of the logarithm: no skin gets brighter by more, nor by more than some that was asked


class Relight:
    """The reference frame's light as the vertices show it; called for every frame."""

    def __init__(self, surface: Surface, level: LevelCameras, seen: Projection, vertices: Array, image: Array):
        """For the reference's `image` [P] of the mesh at `vertices` [V, 3], which is `seen` there."""
        self._surface, self._level = surface, level
        self._normals = vertex_normals(vertices, surface.triangles)
        self._harmonics = _harmonics(self._normals)
        self._scale = np.sqrt((self._harmonics**2).mean(axis=0)).clip(min=1e-6)
        looked_at = np.unique(surface.triangles[surface.looks > 0])
        self._some = looked_at[:: max(1, -(-len(looked_at) // ENOUGH))]
        self._side = np.sign(facing(self._normals[self._some], seen.camera_space[:, self._some], level))
        self._before = brightness(level, image, seen.pixels[:, self._some])
        for k, bright in enumerate(self._before):
            bright[~shown_vertices(surface, level, seen, k, BORDER)[self._some]] = np.nan

    def __call__(self, vertices: Array, image: Array) -> Array:
        """The factor of every vertex in every camera, for `image` [P] of the mesh at `vertices`.  # [K, V] float32."""
        surface, level = self._surface, self._level
        points, pixels, _ = locate(vertices, level)
        normals = vertex_normals(vertices, surface.triangles)
        flat = ~(normals.any(axis=1) & self._normals.any(axis=1))  # triangles without area: turned to nowhere
        normals[flat] = self._normals[flat]
        harmonics = _harmonics(normals)
        bases = np.concatenate([(harmonics - self._harmonics)[:, 1:] / self._scale[1:], harmonics[:, :4]], axis=1)
        few = bases[self._some]
        factors = np.ones(points.shape[:2], np.float32)
        bright = brightness(level, image, pixels[:, self._some])
        toward = self._side * facing(normals[self._some], points[:, self._some], level)

        def work(k: int) -> None:
            known = np.isfinite(bright[k] + self._before[k]) & (toward[k] > FACING) & (points[k, self._some, 2] > 0)
            if known.sum() < LEAST:
                return
            now, before = bright[k, known], self._before[k, known]
            light = _fit(few[known], np.log(now / before), np.minimum(now, before))
            change = few[known] @ light
            factors[k] = np.exp(np.clip(bases @ light, max(-MOST, change.min()), min(MOST, change.max())))

        list(THREADS.map(work, range(len(factors))))
        return factors


def brightness(level: LevelCameras, image: Array, pixels: Array) -> Array:
    """Brightness of `image` [P] at every camera's `pixels` [K, S, 2]; NaN where it says nothing.  # [K, S] float32."""
    bright = np.full(pixels.shape[:2], np.nan, np.float32)

    def work(k: int) -> None:
        height, width = level.sizes[k]
        at = pixels[k]
        inside = ((at > BORDER + 0.5) & (at < (width - BORDER - 0.5, height - BORDER - 0.5))).all(axis=1)
        values = sample(level.view(image, k), np.where(inside[:, None], at, np.float32(1)))
        with np.errstate(invalid="ignore"):
            inside &= (values > DARKEST) & (values < BRIGHTEST)
        bright[k, inside] = values[inside]

    list(THREADS.map(work, range(len(pixels))))
    return bright


def _harmonics(normals: Array) -> Array:
    """Real spherical harmonics to the second order, not normalised, of `normals` [V, 3].  # [V, 9]."""
    x, y, z = normals.T
    return np.stack([np.ones_like(x), x, y, z, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y], axis=1)


def facing(normals: Array, points: Array, level: LevelCameras) -> Array:
    """Cosine between `normals` [S, 3] and the line from each camera to its `points` [K, S, 3].  # [K, S]."""
    along = np.einsum("kab,sb,ksa->ks", level.rotations, normals, points, optimize=True)
    return along / np.maximum(np.linalg.norm(points, axis=2), 1e-30)


def _fit(bases: Array, values: Array, weights: Array) -> Array:
    """Coefficients [B] of `bases` [N, B] for `values` [N], robustly; brighter skin has less noise (`weights` [N])."""
    off = values - np.median(values)
    for _ in range(ROUNDS):
        usual = (OUTLIER * 1.4826 * np.median(np.abs(off)) + 1e-3) ** 2
        w = weights * (usual / (usual + off**2)) ** 2
        weighted = bases * w[:, None]
        system = weighted.T @ bases + RIDGE * w.sum() * np.eye(bases.shape[1])
        right = np.einsum("nb,n->b", weighted, values)  # the same bits on any number of threads
        light = np.linalg.solve(system, right)
        off = values - bases @ light
    return light
