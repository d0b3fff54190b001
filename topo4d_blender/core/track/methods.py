"""The methods that solve a frame, behind one interface: whoever adds one adds a line to `make_solver`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from ..capture import Camera
from ..errors import RequestError
from ..template import Template
from .paper_settings import PaperSettings
from .settings import TrackSettings
from .solver import FrameSolver, Solution

Array = np.ndarray


class Solver(Protocol):
    """What the loop asks of a method. It holds no frame but the reference: every frame could be solved first."""

    scales: list[int]  # the whole number by which each camera's plates are reduced

    def pyramid(self, plates: list[Array | None]) -> list[Array]:
        """The plates of a frame (float32 [H, W, 3] at working size; None: missing) as `solve` wants them."""

    def remember(self, vertices: Array, images: list[Array]) -> float:
        """Take `vertices` [V, 3] and their plates as the reference; the share of triangles that any camera sees."""

    def solve(
        self,
        images: list[Array],
        previous: Array,
        guess: Array,
        template: Array,
        check: Callable[[], None],
        before: list[Array] | None,
        earlier: Sequence[Array],
    ) -> Solution:
        """Vertices of a frame from `guess` [V, 3]; `previous`, `template` and `earlier` frames shape the prior.

        `before` are the pictures of the frame that `previous` is of.
        """


def check_settings(method: str, settings: dict) -> None:
    """Raise RequestError for a setting that `method` cannot have: before a take is begun with it."""
    (PaperSettings if method == "splat" else TrackSettings).from_dict(settings)


def make_solver(
    method: str, template: Template, cameras: tuple[Camera, ...], settings: dict, device: str = "cpu"
) -> tuple[Solver, float]:
    """The solver of `method` on `device` ("cpu" or "cuda") for cameras without lens distortion, and its prediction.

    Prediction is the share of the last frame's motion that a frame begins with. `settings` are the take's own. Raises
    RequestError for a method or a setting that does not exist.
    """
    if method == "splat":
        from .paper import PaperSolver  # torch takes seconds to load

        return PaperSolver(template, cameras, PaperSettings.from_dict(settings), device), 0.0
    if method == "gauss-newton":
        tuned = TrackSettings.from_dict(settings)
        if device != "cpu":
            from .torch_solver import TorchSolver

            return TorchSolver(template, cameras, tuned, device), tuned.prediction
        return FrameSolver(template, cameras, tuned), tuned.prediction
    raise RequestError(f"There is no method {method!r} in this version; use gauss-newton or splat.")
