"""A bake on a device by torch alone: the steps of frame.py, of which those that look at pixels are done there.

What runs where: plates cross once a frame, cropped, as bytes; z-buffers, what each camera sees, colours at samples, the
comparison of plates, the blend and the filling are made there. On the host stay the few numbers a vertex or sample
(gains, shared colours, shifts), by the very code of the processor's bake. A map comes back when it is whole.

Memory: 5 bytes a plate pixel (8 while detail is brought back), 2 of a shrunk one while plates are compared, 8 to 11 a
texel and about 1 GB of work: 8K from 24 plates of 3000x4096 took 2.4 GB on an H200. Work is
cut where memory is short (torch_budget.py).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ..capture import Camera
from .blend import linear_values
from .colour import Colours
from .frame import BANDS, Canvas, Plate, Solved, Tools, fineness, solve_frame
from .plan import Choice
from .torch_align import TorchComparing
from .torch_backproject import back_project
from .torch_blend import Flat, TorchBlend
from .torch_budget import Budget
from .torch_fill import doubled, extend, fill_empty
from .torch_survey import ask
from .torch_views import TorchViews, add_plate, torch_views
from .uv import EMPTY, UvMap

Array = np.ndarray
_PIXELS = 8  # plate pixels that cost as much as one texel and all its views


class TorchPainter:
    """painter.Painter on a device; keeps there what frames share."""

    def __init__(self, device: str, most: int | None = None) -> None:
        """On `device` (a name of torch's); `most` texels go through at once, fewer where memory is short."""
        self.device = device
        self._device = torch.device(device)
        self.budget = Budget(self._device) if most is None else Budget(self._device, most)
        self._uv: Callable[[], UvMap | None] = lambda: None  # of which the next two are; not kept alive
        self._ids: Tensor | None = None  # [R, R] int32
        self._flat: Flat | None = None

    def solve(
        self,
        canvas: Canvas,
        vertices: Array,
        cameras: list[Camera],
        plates: Iterable[Plate],
        step: Callable[[], None],
        before: tuple[Colours, Choice] | None = None,
        detail: float | None = None,
    ) -> Solved | None:
        """See `frame.solve_frame`. Raises WorkError where the device's memory does not hold the plates."""
        mesh = canvas.triangles.astype(np.int64)
        triangles = self.budget.fitting(lambda _: torch.from_numpy(mesh).to(self._device))
        tools = Tools(self._make_views, partial(self._add, triangles), self._ask, self._comparing)
        return solve_frame(canvas, vertices, cameras, plates, step, before, detail, tools)

    def paint(
        self, canvas: Canvas, solved: Solved, texels: type = np.uint8, step: Callable[[], None] = lambda: None
    ) -> tuple[Array, Array]:
        """See `frame.paint`."""
        uv_map, mesh, views = canvas.uv_map, canvas.triangles, solved.views
        self.budget.fitting(lambda _: self._keep(uv_map))
        linear = linear_values(solved.vertices, views, solved.scores, solved.colours, solved.shifts)
        span, finer = fineness(solved, uv_map)
        if finer:
            corners = uv_map.corners / 2
            half, flat = self.budget.fitting(lambda _: (_halved(self._ids), Flat.of(corners, self._device)))
            blend = self.budget.fitting(lambda _: TorchBlend(canvas, solved, linear, corners, flat, texels))
            texture, coverage = self._blend_map(blend, half, texels, step)
            texture, coverage = self.budget.fitting(lambda most: self._doubled(texture, coverage, half, most))
        else:
            blend = self.budget.fitting(
                lambda _: TorchBlend(canvas, solved, linear, uv_map.corners, self._flat, texels)
            )
            texture, coverage = self._blend_map(blend, self._ids, texels, step)
        del blend
        sources = np.ascontiguousarray(solved.order[:, : solved.choice.sources])
        back_project(
            self.budget, texture, self._ids, uv_map, span, solved.choice.strength, sources, mesh, canvas.ignored, views,
            linear, solved.colours.gains, solved.choice.power, step=step,
        )  # fmt: skip
        return self._back(texture, texels), coverage.cpu().numpy()

    def _blend_map(
        self, blend: TorchBlend, ids: Tensor, texels: type, step: Callable[[], None]
    ) -> tuple[Tensor, Tensor]:
        size = len(ids)
        texture, coverage = self.budget.fitting(lambda _: self._blank(size, texels))
        for band in range(BANDS):
            first, last = band * size // BANDS, (band + 1) * size // BANDS
            while first < last:

                def work(most: int, first: int = first, last: int = last) -> int:
                    end = min(first + max(most // size, 1), last)
                    return self._blend(blend, ids, texture, coverage, first, end)

                first = self.budget.fitting(work)
            step()
        return texture, coverage

    def _doubled(self, texture: Tensor, coverage: Tensor, half: Tensor, most: int) -> tuple[Tensor, Tensor]:
        """A map blended at half the resolution, at the whole (frame._doubled)."""
        texture = texture.clone()  # the work may be asked for again
        fill_empty(texture, half == EMPTY, most)
        extend(texture, coverage > 0, 2)
        texture = doubled(texture)
        texture[self._ids == EMPTY] = 0
        coverage = coverage.repeat_interleave(2, 0).repeat_interleave(2, 1)
        coverage[self._ids < 0] = 0
        return texture, coverage

    def fill(self, texture: Array, canvas: Canvas) -> None:
        """See `fill.fill_empty`."""

        def work(most: int) -> None:
            self._keep(canvas.uv_map)
            empty = self._ids == EMPTY
            if not bool(empty.any()) or bool(empty.all()):
                return
            bits = texture.view(np.int16) if texture.dtype == np.uint16 else texture
            there = torch.from_numpy(bits).to(self._device, copy=True)
            fill_empty(there, empty, most)
            np.copyto(texture, self._back(there, texture.dtype.type))

        self.budget.fitting(work)

    def _make_views(self, cameras: list[Camera], vertices: Array, edge: float) -> TorchViews:
        return self.budget.fitting(lambda _: torch_views(cameras, vertices, edge, self._device))

    def _add(
        self, triangles: Tensor, views: TorchViews, k: int, plate: Array, mask: Array | None, vertices: Array,
        _triangles: Array, edge: float,
    ) -> None:  # fmt: skip
        work = partial(add_plate, views, k, plate, mask, vertices, triangles, edge)
        self.budget.fitting(lambda most: work(most * _PIXELS))

    def _ask(self, *arguments: object) -> tuple[Array, Array, Array]:
        return self.budget.fitting(lambda _: ask(*arguments))

    def _comparing(self, *arguments: object) -> TorchComparing:
        return self.budget.fitting(lambda _: TorchComparing(self.budget, *arguments))

    def _keep(self, uv_map: UvMap) -> None:
        """Have `uv_map` on the device."""
        if self._uv() is not uv_map:
            self._uv, self._ids, self._flat = (lambda: None), None, None  # their room first
            self._ids = torch.from_numpy(uv_map.ids).to(self._device)
            self._flat, self._uv = Flat.of(uv_map.corners, self._device), weakref.ref(uv_map)

    def _blank(self, size: int, texels: type) -> tuple[Tensor, Tensor]:
        kind = torch.uint8 if texels == np.uint8 else torch.int16  # the bits: torch computes little with unsigned ones
        texture = torch.zeros((size, size, 3), dtype=kind, device=self._device)
        return texture, torch.zeros((size, size), dtype=torch.uint8, device=self._device)

    @staticmethod
    def _blend(blend: TorchBlend, ids: Tensor, texture: Tensor, coverage: Tensor, first: int, last: int) -> int:
        """Blend the rows from `first` to before `last`; returns `last`."""
        ids = ids[first:last]
        y, x = (ids != EMPTY).nonzero().unbind(1)
        if len(x):
            colour, cover = blend.blend(ids[y, x], x, y + first)
            texture[y + first, x] = colour.to(texture.dtype)
            coverage[y + first, x] = cover
        return last

    @staticmethod
    def _back(texture: Tensor, texels: type) -> Array:
        bits = texture.cpu().numpy()
        return bits.view(np.uint16) if texels == np.uint16 else bits


def _halved(ids: Tensor) -> Tensor:
    """`UvMap.halved`'s ids on the device: of four texels a covered one, else a padded one.  # [R / 2, R / 2] int32."""
    found, *others = (ids[v::2, u::2] for v in (0, 1) for u in (0, 1))
    for other in others:
        found = torch.where((found < 0) & ((other >= 0) | (found == EMPTY)), other, found)
    return found
