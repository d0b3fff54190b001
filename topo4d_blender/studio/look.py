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
    Light((-0.8, 0.9, 1.0), 11.0, 0.12, (1.0, 0.96, 0.90)),
    Light((1.2, 0.2, 0.8), 7.0, 0.12, (0.92, 0.96, 1.0)),
)  # a lamp more costs little time but much noise: every path sees one lamp, drawn at random


@dataclass(frozen=True)
class Look:
    """How the subject is lit and rendered. `skin` False: the texture itself shines and nothing else matters."""

    skin: bool = True
    gloss: float = 0.4  # specular level of the skin
    lights: tuple[Light, ...] = STUDIO_LIGHTS
    ambient: float = 0.62  # even light from everywhere; added without rays, so it costs nothing and adds no noise
    background: float = 0.035  # linear gray seen behind the subject
    samples: int = 8  # paths a pixel: a power of two serves Cycles' sampling pattern best
