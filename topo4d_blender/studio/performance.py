"""The performance: smooth expressions of Suzanne, several at once and asymmetric, and a slight turn of the head.

Every expression is a smooth displacement field on the neutral times a smooth curve over time. Positions below are in
Suzanne's own size (Blender's primitive, turned to look along +z with +y up), amounts too; only the result is scaled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Expression:
    """One field of displacements and the time it keeps."""

    name: str
    field: Callable[[Array], Array]  # neutral [V, 3] -> displacement [V, 3] at full strength
    period: float  # frames from neutral to neutral
    onset: float  # frames before it starts


def _bump(points: Array, centre: tuple, radius: tuple | float) -> Array:
    """Gaussian weight around `centre`, 1 there, with one standard deviation `radius` along each axis.  # [V, 1]."""
    offset = (points - np.array(centre)) / np.array(radius)
    return np.exp(-0.5 * (offset**2).sum(axis=1, keepdims=True))


def _ramp(value: Array, begin: float, end: float) -> Array:
    """Smooth step from 0 at `begin` to 1 at `end`.  # [V]."""
    t = np.clip((value - begin) / (end - begin), 0.0, 1.0)
    return t * t * t * (t * (6 * t - 15) + 10)


def _jaw(points: Array) -> Array:
    """The muzzle swings down and back about an axis through the cheeks, and the lips part."""
    angle = 0.16 * _ramp(points[:, 1], -0.2, -0.85) * _ramp(points[:, 2], 0.1, 0.5)
    y, z = points[:, 1] + 0.1, points[:, 2] - 0.35
    cos, sin = np.cos(angle), np.sin(angle)
    swing = np.stack([np.zeros_like(y), y * cos - z * sin - y, y * sin + z * cos - z], axis=1)
    lower = _bump(points, (0.0, -0.9, 0.72), (0.16, 0.06, 0.2)) * np.array([0.0, -0.05, -0.01])
    upper = _bump(points, (0.0, -0.72, 0.75), (0.16, 0.06, 0.2)) * np.array([0.0, 0.035, 0.0])
    return swing + lower + upper


def _smile(points: Array) -> Array:
    """The left corner of the mouth is drawn up and out, the cheek above it follows."""
    corner = _bump(points, (0.2, -0.78, 0.72), (0.2, 0.18, 0.25)) * np.array([0.06, 0.07, 0.0])
    cheek = _bump(points, (0.42, -0.12, 0.62), 0.2) * np.array([0.03, 0.06, 0.04])
    return corner + cheek


def _brow(side: float) -> Callable[[Array], Array]:
    def field(points: Array) -> Array:
        ridge = _bump(points, (side * 0.38, 0.6, 0.72), (0.24, 0.16, 0.25))
        return ridge * np.array([side * 0.015, 0.1, 0.02])

    return field


def _frown(points: Array) -> Array:
    inner = [_bump(points, (s * 0.16, 0.42, 0.72), 0.14) * np.array([-s * 0.04, -0.045, 0.02]) for s in (-1.0, 1.0)]
    return inner[0] + inner[1]


def _puff(points: Array) -> Array:
    right = _bump(points, (-0.55, -0.05, 0.5), (0.24, 0.2, 0.3)) * np.array([-0.07, -0.04, 0.065])
    muzzle = _bump(points, (-0.3, -0.6, 0.55), (0.16, 0.2, 0.2)) * np.array([-0.07, 0.0, 0.02])
    return right + muzzle


def _squint(side: float) -> Callable[[Array], Array]:
    """Everything around the eye, the ball included (lids and ball must not cross), is squeezed towards its middle."""

    def field(points: Array) -> Array:
        height = points[:, 1:2] - 0.245
        weight = _bump(points, (side * 0.353, 0.245, 0.74), (0.3, 0.24, 0.3))
        return weight * height * np.array([0.0, -0.22, 0.0])

    return field


def _nose(points: Array) -> Array:
    return _bump(points, (0.0, -0.2, 0.78), (0.14, 0.12, 0.12)) * np.array([0.03, 0.045, 0.015])


def _sideways(points: Array) -> Array:
    weight = _ramp(points[:, 1], -0.3, -0.9) * _ramp(points[:, 2], 0.1, 0.5)
    return weight[:, None] * np.array([-0.085, 0.0, 0.0])


EXPRESSIONS = (
    Expression("jaw open", _jaw, 10.0, 0.0),
    Expression("smile, left", _smile, 11.0, 1.0),
    Expression("brow up, right", _brow(-1.0), 8.5, 0.0),
    Expression("brow up, left", _brow(1.0), 12.0, 2.0),
    Expression("frown", _frown, 9.0, 5.0),
    Expression("cheek puff, right", _puff, 9.5, 3.0),
    Expression("squint, left", _squint(1.0), 7.0, 1.0),
    Expression("squint, right", _squint(-1.0), 8.0, 3.0),
    Expression("nose", _nose, 6.5, 0.5),
    Expression("jaw sideways", _sideways, 13.0, 0.5),
)


def _curve(time: float, period: float, onset: float) -> float:
    """0 before the onset and at every whole period after it, 1 halfway between, smooth throughout."""
    return float(np.sin(np.pi * max(time - onset, 0.0) / period) ** 2)


def perform(neutral: Array, frames: int, seed: int = 0) -> Array:
    """The performance of `frames` frames; the first is the neutral itself.  # [F, V, 3] float64, in Suzanne's own size.

    The seed varies strengths and times by a few percent. More frames go on where fewer ended.
    """
    random = np.random.default_rng([seed, 4])
    points = np.asarray(neutral, np.float64)
    fields = [e.field(points) * random.uniform(0.93, 1.07) for e in EXPRESSIONS]
    periods = [e.period * random.uniform(0.97, 1.03) for e in EXPRESSIONS]
    sequence = []
    for time in range(frames):
        weights = [_curve(time, period, e.onset) for e, period in zip(EXPRESSIONS, periods, strict=True)]
        face = points + sum(w * f for w, f in zip(weights, fields, strict=True))
        sequence.append(_turn(face, time))
    return np.stack(sequence)


def _turn(face: Array, time: float) -> Array:
    """The head nods and turns by a few degrees about the top of the neck and sways by a few hundredths."""
    yaw = np.radians(4.5) * _curve(time, 22.0, 0.0)
    pitch = np.radians(-2.5) * _curve(time, 16.0, 2.0)
    roll = np.radians(1.5) * _curve(time, 18.0, 1.0)
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    turn = (
        np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        @ np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        @ np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    )
    neck = np.array([0.0, -0.2, -0.2])
    sway = _curve(time, 20.0, 0.0) * np.array([0.03, -0.01, 0.02])
    return (face - neck) @ turn.T + neck + sway
