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

from .appearance import THREADS, Projection, locate
from .brightness import Brightness
from .pyramid import LevelCameras
from .sight import vertex_normals
from .surface import Surface

Array = np.ndarray
ENOUGH = 4_000  # vertices tell twelve numbers
LEAST = 50  # vertices, below which a camera tells nothing
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
        looked_at = surface.looked_at()
        self._some = looked_at[:: max(1, -(-len(looked_at) // ENOUGH))]
        self._brightness = Brightness(surface, level, seen, self._normals, image, self._some)

    def __call__(self, vertices: Array, image: Array) -> Array:
        """The factor of every vertex in every camera, for `image` [P] of the mesh at `vertices`.  # [K, V] float32."""
        points, pixels, _ = locate(vertices, self._level)
        normals = vertex_normals(vertices, self._surface.triangles)
        flat = ~(normals.any(axis=1) & self._normals.any(axis=1))  # triangles without area: turned to nowhere
        normals[flat] = self._normals[flat]
        harmonics = _harmonics(normals)
        bases = np.concatenate([(harmonics - self._harmonics)[:, 1:] / self._scale[1:], harmonics[:, :4]], axis=1)
        few = bases[self._some]
        factors = np.ones(points.shape[:2], np.float32)
        bright, reference = self._brightness(points, pixels, normals, image), self._brightness.before

        def work(k: int) -> None:
            known = np.isfinite(bright[k] + reference[k])
            if known.sum() < LEAST:
                return
            now, before = bright[k, known], reference[k, known]
            light = _fit(few[known], np.log(now / before), np.minimum(now, before))
            change = few[known] @ light
            factors[k] = np.exp(np.clip(bases @ light, max(-MOST, change.min()), min(MOST, change.max())))

        list(THREADS.map(work, range(len(factors))))
        return factors


def _harmonics(normals: Array) -> Array:
    """Real spherical harmonics to the second order, not normalised, of `normals` [V, 3].  # [V, 9]."""
    x, y, z = normals.T
    return np.stack([np.ones_like(x), x, y, z, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y], axis=1)


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
