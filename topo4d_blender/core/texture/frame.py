"""One frame's texture from its geometry and its plates; what every frame shares is made once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ..capture import Camera
from ..template import Template
from .align import Comparing, align
from .backproject import BANDS as _STEPS_BACK
from .backproject import back_project
from .blend import blend_rows, linear_values
from .colour import Colours, solve_colours
from .fill import extend, fill_empty
from .plan import PREFERENCE, Choice, rank_views, samples_per_axis, texels_a_pixel
from .survey import Ask, Surface, ask, survey
from .uv import EMPTY, UvMap, map_uv
from .views import Views, add_plate, edge_length, frame_views

Array = np.ndarray
Plate = tuple[int, Array | None, Array | None]  # camera index, plate [H, W, 3] or None, mask [H, W] or None
BANDS = 32  # rows of a texture are blended in so many steps
PAINT_STEPS = BANDS + _STEPS_BACK  # so often `paint` calls `step`
_COMPARED = 12  # views of a triangle that are aligned with each other
_OVERSAMPLED = 1.7  # texels along a pixel: from here on a map is blended at half its size, which the plates fill


@dataclass(frozen=True)
class Canvas:
    """What all frames of a bake share: the template's surface and its UV map at one resolution."""

    triangles: Array  # [T, 3] int32
    edges: Array  # [E, 2] int32
    ignored: Array  # [T] bool: triangles of `t4d_ignore`, which get no pixels
    surface: Surface
    uv_map: UvMap

    @classmethod
    def of(cls, template: Template, resolution: int, uv_map: UvMap | None = None) -> Canvas:
        """The canvas of `template`, of its first tile unless `uv_map` is given.

        Raises RequestError if it has no UV map to bake onto.
        """
        uv_map = uv_map or map_uv(template, resolution)
        triangles = np.ascontiguousarray(template.triangles, np.int32)
        ignore = template.roles.get("t4d_ignore")
        ignored = (
            np.zeros(len(triangles), bool) if ignore is None else (np.asarray(ignore)[triangles] > 0.5).all(axis=1)
        )
        surface = Surface.of(triangles, template.edges, len(template.vertices))
        return cls(triangles, template.edges, ignored, surface, uv_map)


@dataclass(frozen=True)
class Tools:
    """What of `solve_frame` looks at pixels: on the processor as here, or on a device (torch_painter.py)."""

    frame_views: Callable = frame_views
    add_plate: Callable = add_plate
    ask: Ask = ask
    comparing: Callable[..., Comparing] | None = None


@dataclass(frozen=True)
class Solved:
    """One frame's plates and colours, ready to be painted onto any tile of the UV map."""

    vertices: Array  # [V, 3] float64
    views: Views
    colours: Colours
    shifts: Array  # [K, V, 2] float32, px of the plate: see align.Alignment
    choice: Choice
    measured: Choice  # the same by the plates' noise, whatever was asked for
    scores: Array  # [V, K] float32: of each view at each vertex
    order: Array  # [T, C] int16: the views of each triangle, best first


def bake_frame(
    canvas: Canvas,
    vertices: Array,  # [V, 3], capture units
    cameras: list[Camera],  # pinhole, at the size of their plates
    plates: Iterable[Plate],
    step: Callable[[], None] = lambda: None,  # called after every plate and every band of rows; may raise
) -> tuple[Array, Array] | None:
    """The texture [R, R, 3] uint8 and where a camera saw it [R, R] bool; None if no plate was given."""
    solved = solve_frame(canvas, vertices, cameras, plates, step)
    if solved is None:
        return None
    texture, coverage = paint(canvas, solved, step=step)
    fill_empty(texture, canvas.uv_map.ids == EMPTY)
    return texture, coverage > 0


def solve_frame(
    canvas: Canvas,
    vertices: Array,
    cameras: list[Camera],
    plates: Iterable[Plate],
    step: Callable[[], None],
    before: tuple[Colours, Choice] | None = None,
    detail: float | None = None,
    tools: Tools = Tools(),
) -> Solved | None:
    """What the cameras agree on, whatever it is painted onto later; arguments as in `bake_frame`.

    `before` is what the take's first textured frame was solved to: this one keeps to its colours (reference.py).
    `detail`, 0..1, is what was asked for (Choice.asked) instead of what the plates' noise asks for.
    """
    vertices = np.asarray(vertices, np.float64)
    edge = edge_length(vertices, canvas.edges)
    views = tools.frame_views(cameras, vertices, edge)
    for k, plate, mask in plates:
        if plate is not None:
            tools.add_plate(views, k, plate, mask, vertices, canvas.triangles, edge)
        step()
    if not views.present.any():
        return None
    found = survey(views, vertices, canvas.surface, edge, tools.ask)
    colours = solve_colours(found, canvas.surface, canvas.ignored, before and before[0])
    scores = found.scores(PREFERENCE)
    order = rank_views(scores, views.present, canvas.triangles)
    compared = np.ascontiguousarray(order[:, :_COMPARED])
    arguments = views, vertices, canvas.surface, scores, compared, colours.gains, canvas.ignored, edge
    aligned = align(*arguments, tools.comparing)
    if before:
        measured = before[1]  # its span too: a head that comes nearer must not change how sharp its maps are
    else:
        linear = linear_values(vertices, views, scores, colours, aligned.shifts)
        texels = texels_a_pixel(order, linear, canvas.triangles, canvas.uv_map.corners)
        measured = replace(Choice.of(aligned.detail, aligned.noise), span=texels / canvas.uv_map.resolution)
    choice = measured if detail is None else Choice.asked(detail)
    scores = found.scores(choice.power)
    order = rank_views(scores, views.present, canvas.triangles)
    step()
    return Solved(vertices, views, colours, aligned.shifts, choice, measured, scores, order)


def paint(
    canvas: Canvas, solved: Solved, texels: type = np.uint8, step: Callable[[], None] = lambda: None
) -> tuple[Array, Array]:
    """The texture [R, R, 3] of uint8 or uint16 `texels` and its coverage [R, R] uint8 (see `blend_rows`).

    Texels outside every island stay 0.
    """
    views, mesh, uv_map = solved.views, canvas.triangles, canvas.uv_map
    linear = linear_values(solved.vertices, views, solved.scores, solved.colours, solved.shifts)
    span, finer = fineness(solved, uv_map)
    texture, coverage = _blend(canvas, solved, linear, uv_map.halved() if finer else uv_map, texels, step)
    if finer:
        texture, coverage = _doubled(texture, coverage, uv_map)
    sources = np.ascontiguousarray(solved.order[:, : solved.choice.sources])
    back_project(
        texture, uv_map, span, solved.choice.strength, sources, mesh, canvas.ignored, views, linear,
        solved.colours.gains, solved.choice.power, step,
    )  # fmt: skip
    return texture, coverage


def fineness(solved: Solved, uv_map: UvMap) -> tuple[float, bool]:
    """How many texels lie along a pixel of the best plates, and whether the map is blended at half its size."""
    span = solved.measured.span * uv_map.resolution
    return span, span >= _OVERSAMPLED and uv_map.resolution % 2 == 0


def _blend(
    canvas: Canvas, solved: Solved, linear: Array, uv_map: UvMap, texels: type, step: Callable[[], None]
) -> tuple[Array, Array]:
    size, views, mesh = uv_map.resolution, solved.views, canvas.triangles
    samples = samples_per_axis(solved.order, views.projections, solved.vertices, mesh, uv_map.corners)
    texture, coverage = np.zeros((size, size, 3), texels), np.zeros((size, size), np.uint8)
    for band in range(BANDS):
        rows = slice(band * size // BANDS, (band + 1) * size // BANDS)
        blend_rows(
            rows, texture, coverage, uv_map, solved.order, samples, mesh, canvas.ignored, views, linear,
            solved.colours, solved.choice,
        )  # fmt: skip
        step()
    if uv_map is not canvas.uv_map:
        fill_empty(texture, uv_map.ids == EMPTY)  # to interpolate with
    return texture, coverage


def _doubled(texture: Array, coverage: Array, uv_map: UvMap) -> tuple[Array, Array]:
    """A map blended at half the resolution of `uv_map`, at the whole."""
    extend(texture, coverage > 0, 2)  # so that what is interpolated between does not reach for texels filled in
    texture = cv2.resize(texture, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    texture[uv_map.ids == EMPTY] = 0
    coverage = coverage.repeat(2, axis=0).repeat(2, axis=1)
    coverage[uv_map.ids < 0] = 0
    return texture, coverage
