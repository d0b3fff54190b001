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
    iterations: int = 8  # Gauss-Newton steps a stage
    stiffness: float = 1e4  # bending against the plates, where the blur is as wide as an edge is long
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
    stiffness: float  # weight of bending relative to the median photometric stiffness of a vertex; unused if rigid
    iterations: int
    rigid: bool = False


def plan_stages(settings: TrackSettings, pixel: float, edge: float, radius: float) -> tuple[Stage, ...]:
    """Stages from coarse to fine for a `pixel`, an `edge` and a head `radius` of these lengths (capture units).

    Blurs double from the finest until they reach the coarsest. The stiffer the more is blurred: what a blurred plate
    cannot tell apart, the prior must hold together. The smoothing length grows with the blur; a bending energy relative
    to the data that grows with its cube does that (measured; the fourth power is what a continuum would want).
    """

    def bend(blur: float) -> float:
        return settings.stiffness * (blur * pixel / edge) ** 3

    blurs = [settings.finest_blur]
    while blurs[-1] * pixel < 0.75 * settings.coarsest_blur * radius:
        blurs.append(2 * blurs[-1])
    rigid = max(settings.rigid_blur * radius / pixel, blurs[-1])
    surface = [Stage(blur, bend(blur), settings.iterations) for blur in reversed(blurs)]
    return (Stage(rigid, 0.0, settings.iterations, rigid=True), *surface)
