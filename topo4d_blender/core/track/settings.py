"""What the tracker may be told, and the stages it makes of it. Every length is relative to mesh or pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import TypeVar

from ..errors import RequestError

Settings = TypeVar("Settings")
ABOVE_ZERO = (
    "finest_blur",
    "iterations",
    "refine_iterations",
    "finest_iterations",
    "after_flow",
    "working_pixels",
)  # nothing could be solved without


@dataclass(frozen=True)
class TrackSettings:
    """Settings of the Gauss-Newton tracker. None has an absolute unit."""

    finest_blur: float = 0.5  # pixels of a plate at working size: sigma of the sharpest stage
    coarsest_blur: float = 0.045  # of the head's radius: sigma of the surface's first stage
    rigid_blur: float = 0.09  # of the head's radius: sigma of the stage that moves the whole head
    iterations: int = 3  # Gauss-Newton steps a stage that optical flow replaces
    refine_iterations: int = 2  # of a stage that follows it
    finest_iterations: int = 4  # of the sharpest stage; the last one goes to where the others lead
    after_flow: int = 2  # stages, the finest ones, that follow a start by optical flow
    stiffness: float = 7e6  # of bending, against the plates: see `solver.FrameSolver.bending`
    softest: float = 4e3  # bending's limits, relative to the plates, where the blur is as wide as an edge is long
    stiffest: float = 8e4
    rest: float = 0.15  # bending against the template, relative to bending against the base
    prediction: float = 0.5  # share of the last frame's motion that the next frame begins with
    working_pixels: int = 400_000  # plates larger than this are tracked at a reduced size

    @classmethod
    def from_dict(cls, values: dict) -> TrackSettings:
        """Settings from a take's JSON. Raises RequestError for a name or a value that cannot be."""
        return checked(cls, "gauss-newton", values, ABOVE_ZERO)


def checked(kind: type[Settings], method: str, values: dict, above_zero: tuple[str, ...]) -> Settings:
    """The settings `kind`, a dataclass of numbers, of `method` with `values`.

    None may be below 0, and those named in `above_zero` not 0 either. Raises RequestError for a name or a value that
    cannot be.
    """
    kinds = {f.name: type(f.default) for f in fields(kind)}
    for name, value in values.items():
        if name not in kinds:
            known = ", ".join(sorted(kinds))
            raise RequestError(f"The method {method} has no setting named {name}; there are {known}.")
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        enough = number and (value > 0 if name in above_zero else value >= 0)
        if not enough or (kinds[name] is int and value != int(value)):
            what = "whole number" if kinds[name] is int else "number"
            least = "above 0" if name in above_zero else "of at least 0"
            raise RequestError(f"The setting {name} of the method {method} is {value!r}; give a {what} {least}.")
    return kind(**{name: kinds[name](value) for name, value in values.items()})


@dataclass(frozen=True)
class Stage:
    """One stage of a frame's solution."""

    blur: float  # sigma of the Gaussian footprint, pixels at working size
    bending: tuple[float, float]  # limits of its weight, relative to a vertex's photometric stiffness; unused if rigid
    iterations: int
    rigid: bool = False


def plan_stages(settings: TrackSettings, pixel: float, edge: float, radius: float) -> tuple[Stage, ...]:
    """Stages from coarse to fine for a `pixel`, an `edge` and a head `radius` of these lengths (capture units).

    Blurs double from the finest until they reach the coarsest. What a blurred plate cannot tell apart, the prior must
    hold together: its limits grow with the cube of the blur (measured; a continuum would want the fourth power).
    """

    def bend(blur: float) -> tuple[float, float]:
        wide = (blur * pixel / edge) ** 3
        return settings.softest * wide, settings.stiffest * wide

    blurs = [settings.finest_blur]
    while blurs[-1] * pixel < 0.75 * settings.coarsest_blur * radius:
        blurs.append(2 * blurs[-1])
    rigid = max(settings.rigid_blur * radius / pixel, blurs[-1])
    surface = [Stage(blur, bend(blur), settings.iterations) for blur in reversed(blurs)]
    for n in range(1, min(settings.after_flow, len(surface)) + 1):
        steps = settings.finest_iterations if n == 1 else settings.refine_iterations
        surface[-n] = replace(surface[-n], iterations=steps)
    return (Stage(rigid, (0.0, 0.0), settings.iterations, rigid=True), *surface)
