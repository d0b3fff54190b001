"""A skin painted by numbers: tone, blotches, veins, freckles, pores, brows and eyes, as fine as a 2048 map can hold.

Painted where each texel lies in space, so that nothing betrays the seams of the UV map. Knows no bpy.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial import cKDTree

from ..core.raster import rasterise
from ..core.template import Template
from .noise import fractal_noise

Array = np.ndarray
_FRECKLES = 4200


@dataclass(frozen=True)
class Texels:
    """The texels of a UV map that lie on the mesh."""

    mask: Array  # [R, R] bool, row 0 at the top
    points: Array  # [N, 3] float32: where each texel under the mask lies in space
    vertices: Array  # [N] int32: a vertex of the triangle each lies in
    areas: Array  # [N] float32: how much of the surface each covers, in no unit


def find_texels(template: Template, positions: Array, resolution: int) -> Texels:
    """The texels of `template`'s UV map at `resolution`, with their places on its surface at `positions` [V, 3]."""
    corners = template.uv.astype(np.float64) * resolution
    corners[:, 1] = resolution - corners[:, 1]
    triangles = template.triangle_loops
    ids, _ = rasterise(corners, np.ones(len(corners)), triangles, resolution, resolution)
    rows, columns = np.nonzero(ids >= 0)
    a, b, c = (corners[triangles[ids[rows, columns], k]] for k in range(3))
    p = np.stack([columns + 0.5, rows + 0.5], axis=1)
    area = _cross(b - a, c - a)
    wb, wc = _cross(p - a, c - a) / area, _cross(b - a, p - a) / area
    va, vb, vc = (positions[template.loops[triangles[ids[rows, columns], k]]] for k in range(3))
    points = (va + wb[:, None] * (vb - va) + wc[:, None] * (vc - va)).astype(np.float32)
    covered = np.linalg.norm(np.cross(vb - va, vc - va), axis=1) / np.abs(area)
    return Texels(ids >= 0, points, template.loops[triangles[ids[rows, columns], 0]], covered.astype(np.float32))


def _cross(a: Array, b: Array) -> Array:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


TONE = (0.80, 0.575, 0.455)  # sRGB


def paint_skin(mm: Array, areas: Array, seed: int = 0, tone: tuple = TONE) -> tuple[Array, Array]:
    """Skin at the points `mm` [N, 3], in millimetres, each for its share `areas` [N] of the surface.

    Returns colour [N, 3], sRGB in 0..1, and roughness [N].
    """
    blotch, mottle = fractal_noise(mm, 38.0, 3, seed), fractal_noise(mm, 9.0, 2, seed + 1)
    grain, pore = fractal_noise(mm, 2.6, 2, seed + 2), fractal_noise(mm, 1.3, 1, seed + 3)
    colour = np.array(tone, np.float32) * np.ones((len(mm), 1), np.float32)
    colour += blotch[:, None] * np.array([0.06, -0.07, -0.06], np.float32)
    colour += mottle[:, None] * np.array([0.11, 0.09, 0.08], np.float32)
    colour *= 1.0 + 0.10 * grain[:, None]
    colour *= 1.0 - 0.30 * np.clip(pore - 0.18, 0.0, 1.0)[:, None]
    lay(colour, 0.28 * _vein(mm, seed + 4), (0.42, 0.40, 0.50))
    lay(colour, _freckles(mm, areas, seed), (0.47, 0.27, 0.17))
    roughness = 0.46 + 0.10 * mottle + 0.08 * grain + 0.05 * blotch
    return np.clip(colour, 0.0, 1.0), np.clip(roughness, 0.15, 0.9)


def lay(colour: Array, weight: Array, over: tuple) -> None:
    """Blend `over` into `colour`, in place, by `weight` [N]."""
    colour += weight[:, None].astype(np.float32) * (np.array(over, np.float32) - colour)


def _vein(mm: Array, seed: int) -> Array:
    """Thin lines where a noise crosses zero, in some places only."""
    line = np.exp(-((fractal_noise(mm, 30.0, 2, seed) / 0.022) ** 2))
    return line * np.clip(fractal_noise(mm, 60.0, 1, seed + 1) * 3.0, 0.0, 1.0)


def _freckles(mm: Array, areas: Array, seed: int) -> Array:
    """Round spots, 0.6 to 2.6 mm in radius, each at a random point of the surface."""
    random = np.random.default_rng([seed, 5])
    share = np.cumsum(areas, dtype=np.float64)
    centres = mm[np.searchsorted(share, random.random(_FRECKLES) * share[-1])]
    radius = random.uniform(0.6, 1.1, len(centres)) * np.where(random.random(len(centres)) < 0.09, 2.4, 1.0)
    strength = random.uniform(0.25, 0.85, len(centres))
    distance, nearest = cKDTree(centres).query(mm, distance_upper_bound=5.0, workers=-1)
    near = np.isfinite(distance)
    weight = np.zeros(len(mm), np.float32)
    weight[near] = strength[nearest[near]] * np.exp(-((distance[near] / radius[nearest[near]]) ** 4))
    return weight


def add_hair(
    colour: Array, mm: Array, weight: Array, along: tuple, seed: int, tone: tuple = (0.17, 0.11, 0.08)
) -> None:
    """Short hairs where `weight` [N] is, in place: noise drawn out along the direction `along`."""
    axis = np.array(along, np.float64) / np.linalg.norm(along)
    squeezed = mm - 0.85 * (mm @ axis)[:, None] * axis
    strands = fractal_noise(squeezed, 2.2, 2, seed)
    lay(colour, np.clip(weight * (0.5 + 1.3 * strands), 0.0, 0.8), tone)


def to_image(mask: Array, values: Array, pad: int = 12) -> Array:
    """8-bit picture [R, R, ...] of the `values` under `mask`, drawn out over the gaps between the islands."""
    image = np.zeros((*mask.shape, *values.shape[1:]), np.uint8)
    image[mask] = np.rint(np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8)
    kernel, known = np.ones((3, 3), np.uint8), mask.astype(np.uint8)
    for _ in range(pad):
        grown = cv2.dilate(known, kernel)
        ring = grown > known
        image[ring] = cv2.dilate(image, kernel)[ring]
        known = grown
    return image
