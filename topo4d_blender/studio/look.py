"""How the subject of a film is lit and rendered. Knows no bpy."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


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
    drift: float = 0.0  # lamps and ambient swell and fade, and lamps change colour, by up to this share
    drift_period: float = 12.0  # frames from swell to swell

    def at(self, frame: int) -> Look:
        """The look in `frame`: itself unless its light drifts."""
        if not self.drift:
            return self
        lights = [
            replace(light, watts=light.watts * self._share(frame, index), colour=self._tint(light, frame, index))
            for index, light in enumerate(self.lights)
        ]
        return replace(self, lights=tuple(lights), ambient=self.ambient * self._share(frame, len(lights)))

    def _share(self, frame: int, index: int) -> float:
        """Golden-angle phases: no two of the things that drift do so together."""
        return 1.0 + self.drift * float(np.sin(2.0 * np.pi * (frame / self.drift_period + 0.382 * index)))

    def _tint(self, light: Light, frame: int, index: int) -> tuple[float, float, float]:
        warmer = 0.5 * (self._share(frame, index + 5) - 1.0)
        red, green, blue = light.colour
        return red * (1.0 + warmer), green, blue * (1.0 - warmer)
