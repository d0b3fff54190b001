"""Suzanne as an actor: her size, her skin and eyes. Her mesh comes from Blender itself (scene.py). Knows no bpy.

"Her own size" is that of Blender's primitive, turned to look along +z with +y up.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ..core.template import Template
from .noise import fractal_noise
from .skin import add_hair, find_texels, lay, paint_skin, to_image

Array = np.ndarray
HEAD_WIDTH_MM = 180.0
_EYES = ((0.3528, 0.2442, 0.6), (-0.3528, 0.2442, 0.6))  # the point behind each iris from which it looks along +z


def millimetres(vertices: Array) -> float:
    """Millimetres of one unit of her own size: her skull, at its widest above the ears, is 180 mm wide."""
    above_ears = vertices[vertices[:, 1] > 0.48]
    return HEAD_WIDTH_MM / float(np.ptp(above_ears[:, 0]))


def face_region(vertices: Array) -> Array:
    """The front of the head, ears left out (they stand behind z = 0).  # [V] bool."""
    return vertices[:, 2] > 0.05


def paint(template: Template, resolution: int, seed: int = 0) -> tuple[Array, Array]:
    """Her colour map [R, R, 3] and roughness map [R, R], 8 bit. `template` is in her own size."""
    texels = find_texels(template, template.vertices, resolution)
    unit = millimetres(template.vertices)
    colour, roughness = paint_skin(texels.points * unit, texels.areas, seed)
    _paint_face(colour, texels.points, unit, seed)
    ball = _eyeballs(template)[texels.vertices] > 0
    colour[ball], roughness[ball] = _paint_eyes(texels.points[ball], seed)
    return to_image(texels.mask, colour), to_image(texels.mask, roughness)


def _gauss(points: Array, centre: tuple, radius: tuple) -> Array:
    return np.exp(-0.5 * (((points - np.array(centre)) / np.array(radius)) ** 2).sum(axis=1))


def _paint_face(colour: Array, points: Array, unit: float, seed: int) -> None:
    """Lips, flushed cheeks and nose, shadowed lids, brows and hair, in place."""
    mirrored = np.concatenate([np.abs(points[:, :1]), points[:, 1:]], axis=1)
    lay(colour, 0.6 * _gauss(points, (0.0, -0.83, 0.74), (0.13, 0.07, 0.12)), (0.66, 0.30, 0.29))
    lay(colour, 0.35 * _gauss(mirrored, (0.55, -0.03, 0.55), (0.2, 0.16, 0.3)), (0.80, 0.42, 0.36))
    lay(colour, 0.45 * _gauss(points, (0.0, -0.2, 0.8), (0.12, 0.1, 0.1)), (0.78, 0.40, 0.34))
    lay(colour, 0.30 * _gauss(mirrored, (0.36, 0.25, 0.66), (0.3, 0.2, 0.12)), (0.52, 0.30, 0.27))
    brow = _gauss(mirrored, (0.36, 0.655, 0.76), (0.2, 0.055, 0.12))
    add_hair(colour, points * unit, 1.5 * brow, (1.0, 0.35, 0.0), seed + 20)
    scalp = np.clip((points[:, 1] - 0.25 - 0.55 * points[:, 2]) / 0.25, 0.0, 1.0) * np.clip(
        (0.95 - mirrored[:, 0]) / 0.2, 0.0, 1.0
    )
    add_hair(colour, points * unit, 0.8 * scalp, (0.0, 0.5, -1.0), seed + 21, (0.22, 0.14, 0.10))


def _eyeballs(template: Template) -> Array:
    """1 and 2 for the vertices of the eyeballs, 0 for those of the head, her largest piece.  # [V] int."""
    count = len(template.vertices)
    a, b = template.edges.T
    pieces = connected_components(coo_matrix((np.ones(len(a)), (a, b)), shape=(count, count)), directed=False)[1]
    order = np.argsort(-np.bincount(pieces))
    rank = np.empty(len(order), int)
    rank[order] = np.arange(len(order))
    return rank[pieces]


def _paint_eyes(points: Array, seed: int) -> tuple[Array, Array]:
    """Eyes at `points` [N, 3]: white with veins, a streaked iris, a pupil; colour [N, 3] and roughness [N]."""
    centre = np.where(points[:, :1] > 0, _EYES[0], _EYES[1])
    offset = points - centre
    radius = np.hypot(offset[:, 0], offset[:, 1])
    angle = np.arctan2(offset[:, 1], offset[:, 0])
    spokes = np.stack([np.cos(angle) * 4.0, np.sin(angle) * 4.0, radius * 6.0], axis=1)
    streak = fractal_noise(spokes, 0.5, 2, seed + 30)
    vein = np.exp(-((fractal_noise(points, 0.09, 2, seed + 31) / 0.06) ** 2)) * np.clip(radius / 0.2 - 0.5, 0.0, 1.0)
    colour = np.array([0.84, 0.82, 0.78], np.float32) * np.ones((len(points), 1), np.float32)
    lay(colour, 0.7 * vein, (0.70, 0.28, 0.25))
    iris = np.clip((0.105 - radius) / 0.01, 0.0, 1.0)
    lay(colour, iris, (0.28, 0.38, 0.30))
    lay(colour, iris * np.clip(0.35 + streak, 0.0, 1.0), (0.55, 0.45, 0.20))
    lay(colour, np.exp(-(((radius - 0.1) / 0.012) ** 2)) * 0.8, (0.10, 0.12, 0.12))
    lay(colour, np.clip((0.045 - radius) / 0.008, 0.0, 1.0), (0.02, 0.02, 0.02))
    return colour, np.full(len(points), 0.3, np.float32)
