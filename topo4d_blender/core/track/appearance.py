"""What every camera saw at every surface sample in the reference frame, level by level: the tracker's only memory.

Colours are kept per sample and per camera: view-dependent shading and camera gains then cancel, and as the reference
stays, nothing drifts. Only pairs (sample, camera) that the reference saw are kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .kernels import sample_colours
from .pyramid import LevelCameras
from .surface import Surface
from .visibility import DepthMaps, pair_visibility

Array = np.ndarray
LEAST_WEIGHT = 0.02


@dataclass(frozen=True)
class Appearance:
    """Pairs in the order of samples; one colour and one trust a pair and level."""

    starts: Array  # [S + 1] int32
    camera: Array  # [P] int32
    colours: list[Array]  # a level: [P, 3] float32
    trust: list[Array]  # a level: [P] float32


def remember(
    surface: Surface,
    vertices: Array,
    maps: DepthMaps,
    levels: list[LevelCameras],
    images: list[Array],
    reaches: list[float],
    grazing: float,
) -> Appearance:
    """Look at the reference frame: `vertices` [V, 3] with its pyramid `images`."""
    points = surface.positions(vertices)
    _, normals = surface.normals(vertices)
    count, cameras = len(points), len(levels[0].sizes)
    starts = np.arange(count + 1, dtype=np.int32) * cameras
    camera = np.tile(np.arange(cameras, dtype=np.int32), count)
    weight = pair_visibility(maps, points, normals, starts, camera, min(reaches), grazing)
    weight *= np.repeat(1.0 - surface.ignored, cameras)
    kept = weight > LEAST_WEIGHT
    camera = camera[kept]
    starts = np.concatenate([[0], np.cumsum(kept.reshape(count, cameras).sum(1))]).astype(np.int32)
    ignored = np.repeat(surface.ignored, np.diff(starts))
    colours, trust = [], []
    for level, image, reach in zip(levels, images, reaches, strict=True):
        colour = np.empty((len(camera), 3), np.float32)
        sample_colours(
            points, starts, camera, level.rotations, level.translations, level.intrinsics, level.sizes, level.offsets,
            image, colour,
        )  # fmt: skip
        seen = pair_visibility(maps, points, normals, starts, camera, reach, grazing) * (1.0 - ignored)
        seen[~np.isfinite(colour).all(axis=1)] = 0.0
        colours.append(np.nan_to_num(colour))
        trust.append(seen.astype(np.float32))
    return Appearance(starts, camera, colours, trust)
