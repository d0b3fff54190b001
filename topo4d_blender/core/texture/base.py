"""The template's own texture where no camera looks, with a soft border towards what cameras saw.

How much of the plates shows is told on the mesh, not in the map, so that it does not jump at a UV seam: nothing at the
corners of a triangle with unseen texels, all of it some edge lengths from there along the surface.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numba as nb
import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import dijkstra

from ..capture import read_plate
from ..errors import RequestError
from ..template.read_mtl import colour_map
from .kernels import barycentric
from .uv import EMPTY, UvMap
from .views import edge_length

Array = np.ndarray
SOFT_EDGES = 3.0  # width of the border, in median edge lengths of the mesh
_WELL = 128  # coverage that a texel is seen well from: 60 degrees, at the best resolution
_ENOUGH = 100  # texels seen well that tell exposure and tint
_MOST_GAIN = 4.0
_HOLE = 0.05  # share of a triangle's texels that must be unseen before the triangle counts: single ones are specks


class BaseTexture:
    """A picture on the template's UV map, or one a tile where its name has <UDIM> for the tile's number.

    Named by itself or by an .obj that wears it.
    """

    def __init__(self, path: Path, tiles: tuple[int, ...] | None, take: Path) -> None:
        """`tiles` as in MapRequest, `take` the folder that is baked.

        Raises RequestError if a picture is missing, cannot be read or is a map of the take itself.
        """
        path = Path(path)
        self.path = colour_map(path) if path.suffix.lower() == ".obj" else path
        self._tiles = tiles
        self._cached: tuple | None = None
        if "<UDIM>" in self.path.name and tiles is None:
            raise RequestError(f"{self.path} asks for UDIM tiles and the template has one map; name one picture.")
        if "<UDIM>" not in self.path.name and tiles is not None:
            raise RequestError(
                f"The template has {len(tiles)} UDIM tiles and {self.path} is one picture; write <UDIM> for the number."
            )
        if take.resolve() in self.path.resolve().parents:
            raise RequestError(f"{self.path} is a map of the take that is baked; copy it to another place first.")
        for tile in tiles or (None,):
            read_plate(self._file(tile))

    def at(self, tile: int | None, resolution: int, texels: type) -> Array:
        """The picture of `tile` at the size of a map and in its kind of texels.  # [R, R, 3]."""
        key = tile, resolution, texels
        if self._cached is None or self._cached[0] != key:
            picture = read_plate(self._file(tile))
            finer = picture.shape[0] > resolution
            size = (resolution, resolution)
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if finer else cv2.INTER_CUBIC)
            self._cached = key, _as_texels(picture, texels)
        return self._cached[1]

    def _file(self, tile: int | None) -> Path:
        return self.path if tile is None else self.path.with_name(self.path.name.replace("<UDIM>", str(tile)))


def match_base(texture: Array, coverage: Array, base: Array) -> Array | None:
    """Gains [3] that bring `base` to the exposure and tint of `texture` where cameras see well; None if they do not.

    One gain a channel, the ratio of medians: a face that opens its mouth does not change it.
    """
    sparse = slice(None, None, max(1, len(coverage) // 1024))
    seen = coverage[sparse, sparse] >= _WELL
    if np.count_nonzero(seen) < _ENOUGH:
        return None
    there, wanted = (np.median(a[sparse, sparse][seen], axis=0) for a in (base, texture))
    return np.clip(wanted / np.maximum(there, 1), 1 / _MOST_GAIN, _MOST_GAIN)


def blend_base(
    texture: Array,  # [R, R, 3] uint8 or uint16, changed in place
    coverage: Array,  # [R, R] uint8, 0: no camera sees the texel
    base: Array,  # like `texture`
    uv_map: UvMap,
    vertices: Array,  # [V, 3]
    edges: Array,  # [E, 2]
    triangles: Array,  # [T, 3]
    gains: Array,  # [3], which `base` is multiplied by
) -> None:
    """Blend `base` into `texture` where no camera sees it. Texels outside the padded islands stay as they are."""
    share = plates_share(coverage, uv_map, vertices, edges, triangles)
    _blend_base(
        texture, np.iinfo(texture.dtype).max, coverage, base, uv_map.ids, uv_map.corners, triangles, share, gains
    )


def plates_share(coverage: Array, uv_map: UvMap, vertices: Array, edges: Array, triangles: Array) -> Array:
    """How much of the plates shows at every vertex, 0..1.  # [V] float32."""
    hidden, all_texels = _count_hidden(coverage, uv_map.ids, len(triangles))
    holes = np.unique(triangles[hidden > _HOLE * all_texels])
    if len(holes) == 0:
        return np.ones(len(vertices), np.float32)
    i, j = edges.T
    lengths = np.linalg.norm(vertices[i] - vertices[j], axis=1)
    width = SOFT_EDGES * edge_length(vertices, edges)
    graph = sp.csr_matrix((np.maximum(lengths, 1e-12 * width), (i, j)), shape=(len(vertices),) * 2)
    way = dijkstra(graph, directed=False, indices=holes, min_only=True, limit=width)
    t = np.clip(way / width, 0, 1)  # beyond the limit it is infinite
    return (t * t * (3 - 2 * t)).astype(np.float32)


def _as_texels(picture: Array, texels: type) -> Array:
    if picture.dtype == texels:
        return picture
    if texels == np.uint16:
        return picture.astype(np.uint16) * 257
    return ((picture.astype(np.uint32) + 128) // 257).astype(np.uint8)


@nb.njit(cache=True)
def _count_hidden(coverage, ids, count):
    """Texels of every triangle that no camera sees, and all its texels.  # [T], [T]."""
    hidden, total = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for y in range(ids.shape[0]):
        for x in range(ids.shape[1]):
            t = ids[y, x]
            if t >= 0:
                total[t] += 1
                hidden[t] += coverage[y, x] == 0
    return hidden, total


@nb.njit(parallel=True, cache=True)
def _blend_base(texture, white, coverage, base, ids, corners, triangles, share, gains):
    for y in nb.prange(ids.shape[0]):
        for x in range(ids.shape[1]):
            t = ids[y, x]
            if t == EMPTY:
                continue
            padded = t < 0
            if padded:
                t = -2 - t
            w0, w1, w2 = barycentric(corners[t], x + 0.5, y + 0.5, padded)
            keep = w0 * share[triangles[t, 0]] + w1 * share[triangles[t, 1]] + w2 * share[triangles[t, 2]]
            keep = min(max(keep, 0.0), 1.0)
            if coverage[y, x] == 0 and not padded:
                keep = 0.0
            for c in range(3):
                value = keep * texture[y, x, c] + (1 - keep) * min(gains[c] * base[y, x, c], white)
                texture[y, x, c] = np.uint16(value + 0.5)
