"""Where a bake is computed, behind one interface: the processor, or a device of torch's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np

from ..capture import Camera
from .colour import Colours
from .fill import fill_empty
from .frame import Canvas, Plate, Solved, paint, solve_frame
from .plan import Choice
from .uv import EMPTY

Array = np.ndarray
Step = Callable[[], None]


class Painter(Protocol):
    """A frame in three steps; arguments and results are those of the functions in frame.py and fill.py."""

    device: str  # as torch calls it

    def solve(
        self,
        canvas: Canvas,
        vertices: Array,
        cameras: list[Camera],
        plates: Iterable[Plate],
        step: Step,
        before: tuple[Colours, Choice] | None = None,
        detail: float | None = None,
    ) -> Solved | None:
        """See `frame.solve_frame`."""

    def paint(self, canvas: Canvas, solved: Solved, texels: type = np.uint8, step: Step = ...) -> tuple[Array, Array]:
        """See `frame.paint`."""

    def fill(self, texture: Array, canvas: Canvas) -> None:
        """See `fill.fill_empty`."""


class HostPainter:
    """On the processor, by numba."""

    device = "cpu"
    solve = staticmethod(solve_frame)
    paint = staticmethod(paint)

    @staticmethod
    def fill(texture: Array, canvas: Canvas) -> None:
        """See `fill.fill_empty`."""
        fill_empty(texture, canvas.uv_map.ids == EMPTY)


def open_painter(device: str) -> Painter:
    """The painter on `device`: "cpu", or "cuda" where torch has it."""
    if device == "cpu":
        return HostPainter()
    from .torch_painter import TorchPainter  # torch takes seconds to load

    return TorchPainter(device)
