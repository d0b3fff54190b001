"""What the tracker may be told, and the stages it makes of it. Every length is relative to mesh or pixels."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ..errors import RequestError


@dataclass(frozen=True)
class TrackSettings:
    """Settings of the Gauss-Newton tracker. None has an absolute unit."""

    finest_blur: float = 0.7  # pixels of a plate at working size: sigma of the sharpest stage
    coarsest_blur: float = 0.045  # of the head's radius: sigma of the surface's first stage
    rigid_blur: float = 0.09  # of the head's radius: sigma of the stage that moves the whole head
    iterations: int = 3  # Gauss-Newton steps a stage
    after_flow: int = 3  # stages, the finest ones, that follow a start by optical flow
    stiffness: float = 1.9e7  # of bending, against the plates: see `solver.FrameSolver.bending`
    softest: float = 4e3  # bending's limits, relative to the plates, where the blur is as wide as an edge is long
    stiffest: float = 2e5
    rest: float = 0.05  # bending against the template, relative to bending against the previous frame
    prediction: float = 0.5  # share of the last frame's motion that the next frame begins with
    working_pixels: int = 400_000  # plates larger than this are tracked at a reduced size

    @classmethod
    def from_dict(cls, values: dict) -> TrackSettings:
        """Settings from a take's JSON. Raises RequestError for a name that does not exist."""
        known = {f.name for f in fields(cls)}
        for name in values:
            if name not in known:
                raise RequestError(f"There is no tracker setting named {name}; there are {', '.join(sorted(known))}.")
        return cls(**values)


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
    return (Stage(rigid, (0.0, 0.0), settings.iterations, rigid=True), *surface)
