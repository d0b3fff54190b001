"""How a template lies in UV: which UDIM tiles its faces fill, and what is wrong with them, face by face.

Tile (i, j) covers u in i..i + 1 and v in j..j + 1 and is called 1001 + i + 10 j. A template that stays within the first
one is an ordinary single map.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..errors import RequestError
from ..template import Template

Array = np.ndarray
FIRST = 1001
_COLUMNS = 10  # of tiles; UDIM numbers run on in the next row
_ROWS = 900  # 9999 is the last number
_FLAT = 1e-9  # of a tile's area: less has no texels
_OVER = 1e-4  # of a tile's width: so far over its border is a slip of the hand
_NAMED = 5  # so many faces are named in a sentence


@dataclass(frozen=True)
class Layout:
    """The tiles of one template and the triangles that have a place in them."""

    tiles: tuple[int, ...]  # UDIM numbers, ascending; (1001,) for a single map
    usable: Array = field(repr=False)  # [T] bool: triangles with an area, in the reach of the tiles
    warnings: tuple[str, ...] = ()

    @property
    def single(self) -> bool:
        """Whether there is one map a frame, without a tile's number in its name."""
        return self.tiles == (FIRST,)


def lay_out(template: Template) -> Layout:
    """The tiles of `template`; faces without area, outside all tiles or across a border are warned of.

    Raises RequestError for a template without UV, or none of whose faces can be baked.
    """
    if template.uv is None:
        raise RequestError("The template has no UV map, so there is nothing to bake onto; unwrap it and track again.")
    corners = np.asarray(template.uv, np.float64)[template.triangle_loops]  # [T, 3, 2]
    finite = np.isfinite(corners).all(axis=(1, 2))
    corners = np.where(finite[:, None, None], corners, 0)
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    flat = ~finite | (np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) < _FLAT)
    place = np.floor(corners.mean(axis=1)).astype(np.int64)  # column and row of the tile that a triangle belongs to
    outside = ((place < 0) | (place >= (_COLUMNS, _ROWS))).any(axis=1) & ~flat
    usable = ~(flat | outside)
    if not usable.any():
        raise RequestError("The template's UV map has no face inside the tile 0 to 1; unwrap it there and track again.")
    low, high = corners.min(axis=1) - place, corners.max(axis=1) - place
    across = usable & ((low < -_OVER) | (high > 1 + _OVER)).any(axis=1)
    tiles = tuple(np.unique(FIRST + place[usable] @ (1, _COLUMNS)).tolist())
    return Layout(tiles, usable, tuple(_warnings(template, tiles, flat, outside, across)))


def tile_corner(tile: int) -> Array:
    """The lower left corner of `tile` in UV.  # [2]."""
    return np.array(divmod(tile - FIRST, _COLUMNS)[::-1], np.float64)


def faces_of(template: Template, triangles: Array) -> Array:
    """The faces that the triangles marked in `triangles` [T] bool are parts of.  # ascending."""
    face = np.repeat(np.arange(len(template.face_starts) - 1), np.diff(template.face_starts) - 2)
    return np.unique(face[triangles])


def name_faces(faces: Array) -> str:
    """ "face 7 of the template", or "12 faces of the template (1, 2, 3 ..., counted from 0)"."""
    if len(faces) == 1:
        return f"Face {faces[0]} of the template (counted from 0)"
    more = " ..." if len(faces) > _NAMED else ""
    return f"{len(faces)} faces of the template ({', '.join(map(str, faces[:_NAMED]))}{more}, counted from 0)"


def _warnings(template: Template, tiles: tuple[int, ...], flat: Array, outside: Array, across: Array) -> list[str]:
    said = []
    for triangles, what in (
        (flat, "without area in the UV map: no texture there."),
        (outside, "outside of every UV tile (u 0 to 10, v from 0 up): no texture there."),
        (across, "across the border of a UV tile: what lies in no tile of other faces gets no texture."),
    ):
        if triangles.any():
            said.append(f"{name_faces(faces_of(template, triangles))} {what}")
    if tiles != (FIRST,):
        named = ", ".join(map(str, tiles[:_NAMED])) + (" ..." if len(tiles) > _NAMED else "")
        said.append(f"The UV map fills {len(tiles)} UDIM tile(s) ({named}); each is baked to a file of its own.")
    return said
