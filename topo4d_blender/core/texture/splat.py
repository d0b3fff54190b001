"""Texture the paper's way: the Gaussian Mesh densified in UV, its colours fitted to the plates, drawn into the map.

Source: "Topo4D", ECCV 2024, 3.3. The paper fits the colours by 300 steps of gradient descent; they enter the picture
linearly, so here they are solved for: a least-squares problem over all pixels that show a patch of the mesh, each
with the trust of its view, held down where it disagrees (Cauchy, reweighted), with a pull towards the mean of the views
where pixels say little. LSMR solves it (Fong and Saunders 2011). One patch at a time, so that memory is bounded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numba as nb
import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import lsmr

from ..machine import cores
from ..raster import rasterise_here
from ..template import Template
from .fill import fill_empty
from .frame import Canvas, Solved
from .kernels import barycentric
from .layout import FIRST, tile_corner
from .patches import Patch, make_patch, point_sizes, split_faces
from .splat_rows import Rows, camera_rows

Array = np.ndarray
_PAPER = 30 / 8192  # parts of an edge a texel of the map
_ROUNDS = 2  # of reweighting
_STEPS = 40  # of LSMR, at most
_PRECISE = 1e-3  # where LSMR stops, relative
_OUTLIER = 12.0  # of 255: a residual this large counts half
_PULL = 0.2  # towards the mean of the views, as strong as so much of one pixel that shows a Gaussian alone
_FAINT = 1e-3  # the shared colour counts as so much of a pixel
_LARGEST_WINDOW = 1 << 22  # texels: a patch over a seam may lie at both ends of the map; its cells are drawn in parts


def density_of(resolution: int) -> int:
    """Parts an edge is cut into for a map of `resolution` texels: the paper's 30 at 8192."""
    return max(1, round(resolution * _PAPER))


def count_patches(template: Template) -> int:
    """How many times `paint_splat` calls `step`."""
    return len(split_faces(template))


def paint_splat(
    template: Template,
    canvas: Canvas,
    solved: Solved,
    tile: int = FIRST,
    texels: type = np.uint8,
    step: Callable[[], None] = lambda: None,  # called after every patch; may raise
) -> Array:
    """The texture [R, R, 3] of `texels` for the map of `canvas`. Texels outside every padded island are filled."""
    size = canvas.uv_map.resolution
    texture, painted = np.zeros((size, size, 3), texels), np.zeros((size, size), np.bool_)
    density = density_of(size)

    def work(faces: Array) -> None:
        patch = make_patch(template, faces, density)
        inside = (patch.cell_uv > tile_corner(tile)) & (patch.cell_uv < tile_corner(tile) + 1)
        if inside.any():
            draw_patch(texture, painted, patch, solve_patch(patch, canvas, solved), canvas, tile)

    with ThreadPoolExecutor(cores()) as pool:
        for _ in _in_turn(pool, work, split_faces(template)):
            step()
    fill_empty(texture, ~painted)
    return texture


def solve_patch(patch: Patch, canvas: Canvas, solved: Solved) -> Array:
    """Colours of the dense points of `patch`.  # [n, 3] float32, 0..255."""
    views, colours, at = solved.views, solved.colours, patch.vertices
    vertices, scores = solved.vertices[at], solved.scores[at]
    points = patch.dense.at_points(vertices)
    sizes = point_sizes(points, patch.dense.triangles())
    best = scores.max(axis=1)
    ignored = _ignored(patch, canvas)
    rows = []
    for k in np.flatnonzero(views.present & (scores > 0).any(axis=0)):
        found = camera_rows(
            views.projections[k], views.crop(k), views.codes_of(k), views.depth_range[k], views.tolerance, vertices,
            patch.triangles[~ignored], scores[:, k], best, colours.gains[k], colours.corrections[k, at],
            solved.shifts[k, at], points, patch.dense.at_points(solved.shifts[k, at]), sizes,
            patch.dense.corners,
        )  # fmt: skip
        if found is not None:
            rows.append(found)
    return fit_colours(rows, patch.dense.at_points(colours.shared[at]))


def fit_colours(rows: list[Rows], shared: Array) -> Array:
    """Colours of n Gaussians from the equations of all cameras; `shared` [n, 3] where there are none.  # [n, 3]."""
    if not rows:
        return shared.astype(np.float32)
    weights, colours = sp.vstack([r.weights for r in rows], format="csr"), np.concatenate([r.colours for r in rows])
    trust = np.concatenate([r.trust for r in rows])
    mean = weights.T @ (trust[:, None] * colours) + _FAINT * shared
    mean /= (weights.T @ trust + _FAINT)[:, None]
    fitted = mean = mean.astype(np.float32)
    for _ in range(_ROUNDS):
        residual = colours - weights @ fitted
        held = trust / (1 + (residual**2).sum(axis=1) / (3 * _OUTLIER**2))
        fitted = _least_squares(weights, colours, held, mean, fitted)
    return fitted


def _least_squares(weights: sp.csr_matrix, colours: Array, trust: Array, mean: Array, start: Array) -> Array:
    """argmin over c of sum trust (weights c - colours)^2 + pull (c - mean)^2, from `start`."""
    root = np.sqrt(trust).astype(np.float32)
    scaled = weights.data * np.repeat(root, np.diff(weights.indptr))
    system = sp.csr_matrix((scaled, weights.indices, weights.indptr), shape=weights.shape)
    right = root[:, None] * (colours - weights @ mean)
    change = [
        lsmr(
            system, right[:, c], damp=_PULL**0.5, atol=_PRECISE, btol=_PRECISE, maxiter=_STEPS, x0=(start - mean)[:, c]
        )[0]
        for c in range(3)
    ]
    return (mean + np.stack(change, axis=1)).astype(np.float32)


def draw_patch(texture: Array, painted: Array, patch: Patch, colours: Array, canvas: Canvas, tile: int) -> None:
    """Draw the patch's own faces with their dense points' `colours` [n, 3] where the map of `canvas` shows them."""
    size = canvas.uv_map.resolution
    corners = (patch.cell_uv - tile_corner(tile)) * (size, -size) + (0.0, size)
    own = np.zeros(len(canvas.triangles), np.bool_)
    own[patch.own] = True
    for part in _windows(corners, size):
        low = np.clip(np.floor(corners[part].min(axis=(0, 1))), 0, size).astype(int)
        high = np.clip(np.ceil(corners[part].max(axis=(0, 1))), 0, size).astype(int)
        width, height = high - low
        if width < 1 or height < 1:
            continue
        here = corners[part] - low
        depth = np.repeat(1 + np.arange(len(here)) / len(here), 3)
        each = np.arange(3 * len(here), dtype=np.int32).reshape(-1, 3)
        cells, _ = rasterise_here(here.reshape(-1, 2), depth, each, int(width), int(height))
        window = slice(low[1], high[1]), slice(low[0], high[0])
        white = np.float32(np.iinfo(texture.dtype).max)
        _draw(
            texture[window], painted[window], canvas.uv_map.ids[window], own, cells, here, patch.cells[part], colours,
            white,
        )  # fmt: skip


def _ignored(patch: Patch, canvas: Canvas) -> Array:
    """Which of the patch's triangles, those around it included, must not be looked at.  # [t] bool."""
    if not canvas.ignored.any():
        return np.zeros(len(patch.triangles), bool)
    count = int(canvas.triangles.max()) + 1

    def key(triangles: Array) -> Array:
        corners = np.sort(triangles.astype(np.int64), axis=1)
        return (corners[:, 0] * count + corners[:, 1]) * count + corners[:, 2]

    return np.isin(key(patch.vertices[patch.triangles]), key(canvas.triangles[canvas.ignored]))


def _windows(corners: Array, size: int) -> Iterator[Array]:
    """The cells in parts, each close together in the map.  # lists of cells."""
    waiting = [np.arange(len(corners))]
    while waiting:
        part = waiting.pop()
        middles = corners[part].mean(axis=1)
        extent = np.clip(corners[part].max(axis=(0, 1)), 0, size) - np.clip(corners[part].min(axis=(0, 1)), 0, size)
        if np.prod(extent) <= _LARGEST_WINDOW or len(part) == 1:
            yield part
            continue
        axis = int(np.ptp(middles, axis=0).argmax())
        order = part[np.argsort(middles[:, axis], kind="stable")]
        waiting += [order[len(order) // 2 :], order[: len(order) // 2]]


@nb.njit(cache=True, nogil=True)
def _draw(texture, painted, ids, own, cells, corners, triangles, colours, white):
    for y in range(cells.shape[0]):
        for x in range(cells.shape[1]):
            t, cell = ids[y, x], cells[y, x]
            if t < 0 or cell < 0 or not own[t]:
                continue
            w0, w1, w2 = barycentric(corners[cell], x + 0.5, y + 0.5, True)
            a, b, c = triangles[cell, 0], triangles[cell, 1], triangles[cell, 2]
            for d in range(3):
                value = w0 * colours[a, d] + w1 * colours[b, d] + w2 * colours[c, d]
                texture[y, x, d] = np.uint16(min(max(value * white / 255 + 0.5, 0), white))
            painted[y, x] = True


def _in_turn(pool: ThreadPoolExecutor, work: Callable, items: list) -> Iterator:
    """Results of `work` over `items` in order, no more than two of them under way for each thread of `pool`."""
    waiting = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= 2 * cores():
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
