"""The skin of an ICT-FaceKit head, painted where its landmarks say; its eyes, teeth and tongue. Knows no bpy."""

from __future__ import annotations

import numpy as np
from ict_head import EYE_SOCKETS, EYES, MOUTH_SOCKET, TEETH, Head
from scipy.spatial import cKDTree

from topo4d_blender.core.template import Template
from topo4d_blender.studio.noise import fractal_noise
from topo4d_blender.studio.skin import Texels, add_hair, find_texels, lay, paint_skin, to_image

Array = np.ndarray
_TONES = ((0.80, 0.575, 0.455), (0.86, 0.67, 0.57), (0.66, 0.44, 0.32), (0.50, 0.32, 0.23), (0.74, 0.55, 0.40))
_IRISES = ((0.28, 0.38, 0.30), (0.30, 0.20, 0.12), (0.30, 0.42, 0.55), (0.20, 0.13, 0.09))


def paint_head(head: Head, template: Template, resolution: int) -> tuple[Array, Array]:
    """Colour [R, R, 3] and roughness [R, R], 8 bit, on the UV map of `template`, which lies where `head.skin` does."""
    texels = find_texels(template, template.vertices, resolution)
    points, seed = texels.points, head.seed
    tone = _TONES[seed % len(_TONES)]
    colour, roughness = paint_skin(points, texels.areas, seed, tone)
    _paint_features(head, colour, points, np.array(tone, np.float32))
    _paint_sockets(head, colour, texels)
    return to_image(texels.mask, colour), to_image(texels.mask, roughness)


def _paint_features(head: Head, colour: Array, points: Array, tone: Array) -> None:
    """Lips, cheeks, lids, brows and hair, in place, where the landmarks say."""
    marks = head.neutral[head.landmarks]
    lips = np.exp(-((_distance(points, [_between(marks, 48, 59, 60, 67)]) / 5.0) ** 4))
    lay(colour, 0.65 * lips, tuple(tone * (0.85, 0.55, 0.62)))
    lids = _distance(points, [marks[[*range(36, 42), 36]], marks[[*range(42, 48), 42]]])
    lay(colour, 0.35 * np.exp(-((lids / 6.0) ** 2)), tuple(tone * (0.70, 0.58, 0.58)))
    lay(colour, 0.5 * np.exp(-((lids / 1.4) ** 2)), tuple(tone * 0.3))
    for cheek in (0.5 * (marks[1] + marks[31]), 0.5 * (marks[15] + marks[35]), marks[30]):
        weight = np.exp(-(((points - cheek) / 22.0) ** 2).sum(axis=1))
        lay(colour, 0.3 * weight, tuple(tone * (1.0, 0.70, 0.72)))
    brows = _distance(points, [marks[17:22], marks[22:27]])
    add_hair(colour, points, 1.3 * np.exp(-((brows / 4.5) ** 2)), (1.0, 0.3, 0.0), head.seed + 20)
    top, back = marks[17:27, 1].max(), marks[[0, 16], 2].mean()
    scalp = np.clip((points[:, 1] - top - 30.0 - 0.35 * (points[:, 2] - back)) / 18.0, 0.0, 1.0)
    add_hair(colour, points, 0.8 * scalp, (0.0, 0.4, -1.0), head.seed + 21, (0.20, 0.14, 0.10))


def _between(marks: Array, outer: int, outer_end: int, inner: int, inner_end: int) -> Array:
    """The ring halfway between the outer and the inner ring of the lips."""
    outline, inside = (
        _dense(marks[[*range(outer, outer_end + 1), outer]]),
        _dense(marks[[*range(inner, inner_end + 1), inner]]),
    )
    return 0.5 * (outline + inside[cKDTree(inside).query(outline)[1]])


def _dense(line: Array, count: int = 400) -> Array:
    position = np.linspace(0.0, len(line) - 1.0, count)
    return np.stack([np.interp(position, np.arange(len(line)), line[:, k]) for k in range(3)], axis=1)


def _distance(points: Array, lines: list[Array]) -> Array:
    """Millimetres from each point to the nearest of the poly-lines.  # [N]."""
    return cKDTree(np.concatenate([_dense(line) for line in lines])).query(points)[0]


def _paint_sockets(head: Head, colour: Array, texels: Texels) -> None:
    """No light is traced around corners, so the insides of mouth and eyes are painted as dark as they would lie."""
    if texels.vertices.max() < MOUTH_SOCKET:
        return
    colour[texels.vertices >= MOUTH_SOCKET] = (0.22, 0.08, 0.07)
    colour[texels.vertices >= EYE_SOCKETS] = (0.35, 0.18, 0.16)


def paint_prop(head: Head, resolution: int) -> Array:
    """Colour [R, R, 3], 8 bit, of eyeballs, teeth, gums and tongue."""
    texels = find_texels(head.prop, head.prop.vertices, resolution)
    material, points = head.prop_material[texels.vertices], texels.points
    grain = 1.0 + 0.10 * fractal_noise(points, 3.0, 2, head.seed + 40)[:, None]
    colour = np.empty((len(points), 3), np.float32)
    colour[:] = (0.55, 0.27, 0.25)
    colour[material == TEETH] = (0.74, 0.70, 0.60)
    colour *= grain
    for side in EYES:
        ball = material == side
        own = head.prop.vertices[head.prop_material == side]
        colour[ball] = _paint_eye(points[ball], own.mean(axis=0), np.ptp(own[:, 0]) / 2.0, head.seed)
    return to_image(texels.mask, colour, pad=4)


def _paint_eye(points: Array, middle: Array, radius: float, seed: int) -> Array:
    """White with veins, a streaked iris about the +z axis, a pupil."""
    offset = (points - middle) / radius
    ring = np.where(offset[:, 2] > 0, np.hypot(offset[:, 0], offset[:, 1]), 2.0)
    angle = np.arctan2(offset[:, 1], offset[:, 0])
    streak = fractal_noise(np.stack([4 * np.cos(angle), 4 * np.sin(angle), 3 * ring], axis=1), 0.5, 2, seed + 30)
    vein = np.exp(-((fractal_noise(points, 4.0, 2, seed + 31) / 0.05) ** 2)) * np.clip(ring - 0.6, 0.0, 1.0)
    colour = np.array([0.80, 0.78, 0.74], np.float32) * np.ones((len(points), 1), np.float32)
    iris_tone = np.array(_IRISES[seed % len(_IRISES)], np.float32)
    lay(colour, 0.6 * vein, (0.66, 0.28, 0.25))
    iris = np.clip((0.5 - ring) / 0.03, 0.0, 1.0)
    lay(colour, iris, tuple(iris_tone))
    lay(colour, iris * np.clip(0.3 + streak, 0.0, 1.0), tuple(1.6 * iris_tone))
    lay(colour, np.exp(-(((ring - 0.48) / 0.05) ** 2)) * 0.8, (0.10, 0.10, 0.10))
    lay(colour, np.clip((0.2 - ring) / 0.04, 0.0, 1.0), (0.02, 0.02, 0.02))
    return colour
