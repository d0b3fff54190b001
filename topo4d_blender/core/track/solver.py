"""Solves one frame: a rigid motion of the head first, then the surface, from blurred plates to sharp ones.

Energy over vertices V, at one level of the scale space:

    sum_p w_p rho(I(pi(x_p(V))) - c_p)  +  stiffness (|L (V - B)|^2 + rest |L (V - R)|^2)

c_p is what the pair's camera saw at the pair's sample in the reference, rho Geman-McClure, L the uniform graph
Laplacian, B the previous frame moved rigidly to this one, R the template likewise. Gauss-Newton, all cameras at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..capture import Camera
from ..template import Template
from .appearance import Appearance, remember
from .kernels import normal_equations
from .pyramid import LevelCameras, build_pyramid, level_cameras, working_scale
from .rigid import align, rigid_step
from .settings import TrackSettings, plan_stages
from .surface import build_surface
from .system import MeshSystem
from .visibility import DepthMaps, pair_visibility, render_depth

Array = np.ndarray
LEAST_SCALE = 0.02  # no colour difference below this (of full scale) is ever called an outlier
CLEAR = 1.5  # an occluding edge mixes into a plate within this many sigmas of the blur


@dataclass
class Linearisation:
    """Buffers of `kernels.normal_equations`, reused from step to step."""

    hessian: Array  # [T, 6, 6]
    gradient: Array  # [T, 3, 3]
    residual: Array  # [P]
    slope: Array  # [P]
    weight: Array  # [P]


@dataclass
class Solution:
    """One solved frame."""

    vertices: Array  # [V, 3]
    residual_px: Array  # [K] robust RMS residual of each camera at the finest level, pixels of the working plates
    seen: float  # share of the surface's reference samples that at least one camera saw
    iterations: int
    step: float = field(default=0.0)  # length of the last step, median over vertices, relative to the edge length


class FrameSolver:
    """Everything that stays the same through a take; `remember` first, then `solve` frame after frame."""

    def __init__(self, template: Template, cameras: tuple[Camera, ...], settings: TrackSettings):
        """Prepare for `template` seen by `cameras` (no lens distortion)."""
        self.settings = settings
        self.scales = [working_scale(c, settings.working_pixels) for c in cameras]
        pixel = pixel_length(template.vertices, cameras, self.scales)
        self.surface = build_surface(template, settings.sample_spacing * pixel)
        arm = template.vertices - template.vertices.mean(axis=0)
        radius = float(np.sqrt((arm**2).sum(axis=1).mean()))
        self.stages = plan_stages(settings, pixel, self.surface.edge_length, radius)
        self.levels: list[LevelCameras] = level_cameras(cameras, [s.blur for s in self.stages], self.scales)
        self.finest = level_cameras(cameras, [0.5], self.scales)[0]  # z-buffers are made at full working size
        self.reaches = [CLEAR * max(s.blur, 1.0) for s in self.stages]
        self.system = MeshSystem(self.surface)
        self.appearance: Appearance | None = None

    def pyramid(self, plates: list[Array | None]) -> list[Array]:
        """All levels of a frame's plates (float32, working size)."""
        return build_pyramid(plates, self.levels)

    def depth(self, vertices: Array) -> DepthMaps:
        """Z-buffers of the mesh at `vertices`."""
        return render_depth(vertices, self.surface.triangles, self.finest, self.surface.edge_length)

    def remember(self, vertices: Array, images: list[Array]) -> Appearance:
        """Take `vertices` [V, 3] and their plates as the reference."""
        self.appearance = remember(
            self.surface,
            vertices,
            self.depth(vertices),
            self.levels,
            images,
            self.reaches,
            self.settings.grazing_cosine,
        )
        pairs, triangles = len(self.appearance.camera), len(self.surface.triangles)
        self._lin = Linearisation(
            np.empty((triangles, 6, 6)), np.empty((triangles, 3, 3)),
            np.empty(pairs, np.float32), np.empty(pairs, np.float32), np.empty(pairs, np.float32),
        )  # fmt: skip
        # The factorisations are made here, from the reference alone, so that a resumed take gives the same bits.
        for level, stage in enumerate(self.stages):
            if not stage.rigid and len(self.appearance.camera):
                self._linearise(vertices, level, images[level], self.appearance.trust[level], 1.0)
                self.system.prepare(stage.stiffness * (1 + self.settings.rest))
        return self.appearance

    def _trust(self, maps: DepthMaps, vertices: Array, level: int) -> Array:
        """Weight of every pair: the geometric mean of the trust of the reference and of this frame.  # [P]."""
        a = self.appearance
        _, normals = self.surface.normals(vertices)
        now = pair_visibility(
            maps, self.surface.positions(vertices), normals, a.starts, a.camera, self.reaches[level],
            self.settings.grazing_cosine,
        )  # fmt: skip
        return np.sqrt(now * a.trust[level])

    def _linearise(self, vertices: Array, level: int, image: Array, weight: Array, scale: float) -> None:
        a, lin, cams, s = self.appearance, self._lin, self.levels[level], self.surface
        gain = np.ones((len(cams.sizes), 3), np.float32)
        normal_equations(
            vertices, s.triangles, s.samples.starts, s.samples.barycentric, a.starts, a.camera, weight,
            a.colours[level], gain, np.zeros_like(gain), cams.rotations, cams.translations, cams.intrinsics, cams.sizes,
            cams.offsets, image, scale, lin.hessian, lin.gradient, lin.residual, lin.slope,
        )  # fmt: skip
        self.system.assemble(lin.hessian, lin.gradient)

    def _scale(self) -> float:
        """Robust scale for the next step: three sigmas by the median of the last residuals."""
        r = self._lin.residual
        r = r[np.isfinite(r)]
        return max(LEAST_SCALE, 3 * 1.4826 * float(np.median(r))) if len(r) else LEAST_SCALE

    def solve(
        self,
        images: list[Array],
        previous: Array,
        guess: Array,
        template: Array,
        check: Callable[[], None] = lambda: None,
    ) -> Solution:
        """Vertices of a frame, from `guess` [V, 3]; `previous` and `template` [V, 3] give the prior its shape.

        `check` is called before every step and may raise `Cancelled`.
        """
        rotation, shift = align(previous, guess)
        vertices, base = guess, previous @ rotation.T + shift
        iterations = 0
        for level, (stage, image) in enumerate(zip(self.stages, images, strict=True)):
            weight = self._trust(self.depth(vertices), vertices, level)
            scale, step = 1.0, np.zeros_like(vertices)
            for _ in range(stage.iterations):
                check()
                self._linearise(vertices, level, image, weight, scale)
                unit = self.system.median_stiffness()
                if unit == 0.0:
                    break
                scale = self._scale()
                iterations += 1
                if stage.rigid:
                    rotation, shift = rigid_step(self.system, vertices)
                    vertices, base = vertices @ rotation.T + shift, base @ rotation.T + shift
                    continue
                step = self._surface_step(vertices, base, template, stage.stiffness * unit)
                vertices = vertices + step
        return self._judge(vertices, weight, scale, iterations, step)

    def _surface_step(self, vertices: Array, base: Array, template: Array, stiffness: float) -> Array:
        """One Gauss-Newton step of all vertices.  # [V, 3]."""
        rotation, shift = align(template, vertices)
        rest = template @ rotation.T + shift
        bend = self.surface.bending @ ((vertices - base) + self.settings.rest * (vertices - rest))
        return self.system.solve(stiffness * bend, stiffness * (1 + self.settings.rest))

    def _judge(self, vertices: Array, weight: Array, scale: float, iterations: int, step: Array) -> Solution:
        """Residuals in pixels: the colour residual over the colour slope, robustly, camera by camera."""
        a, lin = self.appearance, self._lin
        good = np.isfinite(lin.residual) & (weight > 0)
        w = np.zeros(len(weight))
        w[good] = weight[good] * (scale**2 / (scale**2 + lin.residual[good] ** 2)) ** 2
        count = len(self.levels[0].sizes)
        square = np.bincount(a.camera[good], (w * lin.residual**2)[good], count)
        slope = np.bincount(a.camera[good], (w * lin.slope**2)[good], count)
        with np.errstate(divide="ignore", invalid="ignore"):
            residual = np.sqrt(2 * square / slope)
        sample = np.repeat(np.arange(len(a.starts) - 1), np.diff(a.starts))
        seen = np.unique(sample[good]).size / max(1, np.unique(sample).size)
        length = float(np.median(np.linalg.norm(step, axis=1)) / self.surface.edge_length)
        return Solution(vertices, residual, seen, iterations, length)


def pixel_length(vertices: Array, cameras: tuple[Camera, ...], scales: list[int]) -> float:
    """What one pixel of the plates at working size spans at the mesh; median over the cameras, capture units."""
    lengths = []
    for camera, scale in zip(cameras, scales, strict=True):
        depth = camera.project(vertices)[1]
        if (depth > 0).any():
            lengths.append(np.median(depth[depth > 0]) / camera.fx * scale)
    return float(np.median(lengths)) if lengths else float(np.ptp(vertices, axis=0).max() / 500)
