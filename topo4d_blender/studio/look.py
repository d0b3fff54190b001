"""How the subject of a film is lit and rendered. Knows no bpy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Light:
    """A round lamp that points at the middle of the head. `position` in metres from there, y up, z towards the face."""

    position: tuple[float, float, float]
    watts: float
    radius: float  # m
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)


STUDIO_LIGHTS = (
    Light((-0.9, 0.7, 1.1), 22.0, 0.25, (1.0, 0.96, 0.90)),
    Light((1.2, 0.2, 0.9), 14.0, 0.30, (0.92, 0.96, 1.0)),
    Light((0.1, -0.8, 1.2), 7.0, 0.30),
    Light((0.3, 1.4, -0.3), 14.0, 0.25),
)


@dataclass(frozen=True)
class Look:
    """How the subject is lit and rendered. `skin` False: the texture itself shines and nothing else matters."""

    skin: bool = True
    gloss: float = 0.5  # specular level of the skin
    lights: tuple[Light, ...] = STUDIO_LIGHTS
    ambient: float = 0.35  # strength of the surrounding light
    background: float = 0.035  # linear gray seen behind the subject
    samples: int = 6
    max_bounces: int = 1
