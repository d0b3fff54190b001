"""Solves one frame: moved on by optical flow, then held against the reference, from blurred plates to sharp ones.

Energy over vertices V, at one stage:

    sum_p M_p rho(D_p(V) / M_p)  +  stiffness (|L (V - B)|^2_S + rest |L (V - R)|^2_S)

D is the difference between the plates and the reference frame drawn on the mesh where it now is, in the light that
falls on it there (see `relight`), blurred under the mask M of what the reference saw (less of it along the edges of
cast shadows in the sharpest stage, see `shades`) and rid of slow shading (see `appearance`); rho is Geman-McClure, L
the graph Laplacian weighted by length, S each vertex's share in it (see `pliancy`), B the mixture of earlier frames
that this one looks like (see `repertoire`; where no flow tells, the frame before), R the template, both moved rigidly.
Gauss-Newton, all cameras at once, with slopes of the detail that the cameras share (see `detail`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..capture import Camera
from ..template import Template
from .appearance import Memory, Reading
from .carry import Carrier
from .detail import share_detail
from .flow import FlowStart
from .pliancy import Pliancy
from .pyramid import LevelCameras, build_pyramid, level_cameras, working_scale
from .relight import Relight
from .repertoire import Repertoire
from .rigid import align, rigid_step
from .settings import Stage, TrackSettings, plan_stages
from .shades import Shades
from .surface import build_surface, laplacian
from .system import MeshSystem

Array = np.ndarray
# No difference below this (of full scale) is ever called an outlier. Where plates are clean it decides: 0.05 took edges
# of shadows for motion there (a film without noise: 0.228 mm for 0.215).
LEAST_SCALE = 0.03
# Sigmas at which a difference counts a quarter: so many, because a part of the face that is still misplaced (lips,
# after a fast jaw) must not pass for an outlier.
OUTLIER = 6.0
MOST_RATIO = 0.7  # of a step to the one before: what shrinks less is not trusted to go on so
ENOUGH = 100_000  # pixels tell what is usual among all
ENOUGH_EACH = 20_000  # of each camera, where it has as many


@dataclass(frozen=True)
class Solution:
    """One solved frame."""

    vertices: Array  # [V, 3]
    residual_px: Array  # [K] robust RMS residual of each camera at the finest stage, pixels of the working plates
    seen: float  # share of the reference's visible triangles that some camera compared in this frame
    iterations: int


class FrameSolver:
    """Everything that stays the same through a take; `remember` first, then `solve` frame after frame."""

    def __init__(self, template: Template, cameras: tuple[Camera, ...], settings: TrackSettings):
        """Prepare for `template` seen by `cameras` (no lens distortion)."""
        self.settings = settings
        self.surface = build_surface(template)
        self.scales = [working_scale(c, settings.working_pixels) for c in cameras]
        pixel = pixel_length(template.vertices, cameras, self.scales)
        arm = template.vertices - template.vertices.mean(axis=0)
        radius = float(np.sqrt((arm**2).sum(axis=1).mean()))
        self.stages = plan_stages(settings, pixel, self.surface.edge_length, radius)
        self.levels: list[LevelCameras] = level_cameras(cameras, [s.blur for s in self.stages], self.scales)
        self.system = MeshSystem(self.surface)
        self.flow = FlowStart(self.surface, self.levels[-1], self.system)
        self.edges = template.edges
        self.memory: list[Memory] = []
        self.visible = np.zeros(0, bool)  # [T] what the reference saw

    def pyramid(self, plates: list[Array | None]) -> list[Array]:
        """The plates of a frame (float32, working size) for every stage."""
        return build_pyramid(plates, self.levels)

    def remember(self, vertices: Array, images: list[Array]) -> float:
        """Take `vertices` [V, 3] and their plates as the reference; returns the share of triangles any camera sees.

        The systems' factorisations are made here, from the reference alone, so that a resumed take gives the same bits.
        """
        detail = share_detail(self.surface, self.levels[-1], vertices, images[-1])
        self.memory = [
            Memory(
                self.surface, level, vertices, image, detail if (level.sizes == self.levels[-1].sizes).all() else image
            )
            for level, image in zip(self.levels, images, strict=True)
        ]
        for memory, image in zip(self.memory, images, strict=True):
            memory.look(vertices)
            reading = memory.read(vertices, image, 1.0)
            self.visible = reading.triangles.copy()
        seen = self.memory[-1].projection
        self.relight = Relight(self.surface, self.levels[-1], seen, vertices, images[-1])
        self.shades = Shades(self.surface, self.levels[-1], seen, vertices, images[-1])
        if self.visible.any():
            self.system.assemble(reading.hessian, reading.gradient)
            self.system.prepare()
            stiffness = self.system.relative_stiffness()
            self.carry = Carrier(vertices, self.surface.triangles, self.edges, stiffness)
            self.repertoire = Repertoire(laplacian(vertices, self.edges), stiffness)
            self.pliancy = Pliancy(self.surface, stiffness)
            self.flow.prepare(vertices)
        return float(self.visible.mean())

    def solve(
        self,
        images: list[Array],
        previous: Array,
        guess: Array,
        template: Array,
        check: Callable[[], None] = lambda: None,
        before: list[Array] | None = None,
        earlier: Sequence[Array] = (),
    ) -> Solution:
        """Vertices of a frame; `previous`, `template` and `earlier` frames, each [V, 3], give the prior its shape.

        With `before`, the pictures of the frame that `previous` is of, optical flow gives the start; else it is `guess`
        [V, 3], from which coarse stages look further.

        `check` is called before every step and may raise `Cancelled`.
        """
        if before is not None:
            vertices, base = self.flow(previous, before[-1], images[-1])
            base = self.repertoire(vertices, base, template, earlier)
            self.system.bending = self.pliancy(vertices, base)
            first = max(1, len(self.stages) - self.settings.after_flow)
        else:
            rotation, shift = align(previous, guess)
            vertices, base = guess, previous @ rotation.T + shift
            self.system.bending = self.surface.bending
            first = 0
        iterations, light = 0, None
        for stage, memory, image in list(zip(self.stages, self.memory, images, strict=True))[first:]:
            scale, step = 1.0, None
            if before is None or light is None:  # flow finds how the surface is turned; coarse stages do stage by stage
                light = self.relight(vertices, images[-1])
            looks = self.shades(vertices, images[-1], light) if stage is self.stages[-1] else None
            memory.look(vertices, light, looks)
            for n in range(stage.iterations):
                check()
                reading = memory.read(vertices, image, scale)
                self.system.assemble(reading.hessian, reading.gradient)
                unit = self.system.median_stiffness()
                if unit == 0.0:
                    break
                error = noise(reading)
                scale = max(LEAST_SCALE, OUTLIER * error)
                iterations += 1
                if stage.rigid:
                    rotation, shift = rigid_step(self.system, vertices)
                    vertices, base = vertices @ rotation.T + shift, base @ rotation.T + shift
                else:
                    stiffness = unit * self.bending(stage, error / np.sqrt(unit))
                    last, step = step, self._surface_step(vertices, base, template, stiffness)
                    if last is not None and stage is self.stages[-1] and n + 1 == stage.iterations:
                        step = to_the_limit(step, last)
                    vertices = vertices + step
            if not stage.rigid:
                vertices = self.carry(vertices)
        return self._judge(vertices, reading, scale, iterations)

    def bending(self, stage: Stage, error: float) -> float:
        """Weight of bending relative to a vertex's photometric stiffness, where plates alone place it to `error`.

        `error` is a length (capture units): the noise of the plates over their slope. Noise that is independent from
        pixel to pixel would ask for its square; what is left of gloss and shade is not, and weighs more: the cube of
        the error over an edge's length suits flat and glossy, noisy and clean captures alike (measured on six).
        """
        softest, stiffest = stage.bending
        return min(max(self.settings.stiffness * (error / self.surface.edge_length) ** 3, softest), stiffest)

    def _surface_step(self, vertices: Array, base: Array, template: Array, stiffness: float) -> Array:
        """One Gauss-Newton step of all vertices.  # [V, 3]."""
        rotation, shift = align(template, vertices)
        rest = template @ rotation.T + shift
        bend = self.system.bending @ ((vertices - base) + self.settings.rest * (vertices - rest))
        return self.system.solve(stiffness * bend, stiffness * (1 + self.settings.rest))

    def _judge(self, vertices: Array, reading: Reading, scale: float, iterations: int) -> Solution:
        """Residuals in pixels: the colour residual over the colour slope, robustly, camera by camera."""
        level = self.levels[-1]
        camera = level.camera_of[reading.pixels]
        every = np.maximum(1, np.bincount(camera, minlength=len(level.sizes)) // ENOUGH_EACH).astype(np.int32)
        good = np.flatnonzero(np.arange(len(camera), dtype=np.int32) % every[camera] == 0)
        good = good[np.isfinite(reading.residual[good])]
        r, slope, camera = reading.residual[good], reading.slope[good], camera[good]
        w = (scale**2 / (scale**2 + r**2)) ** 2
        count = len(level.sizes)
        with np.errstate(divide="ignore", invalid="ignore"):
            residual = np.sqrt(2 * np.bincount(camera, w * r**2, count) / np.bincount(camera, w * slope**2, count))
        seen = float((reading.triangles & self.visible).sum() / max(1, self.visible.sum()))
        return Solution(vertices, residual, seen, iterations)


def to_the_limit(step: Array, before: Array) -> Array:
    """`step` [V, 3], lengthened to where steps end that shrink as it did from the one `before`.

    Lips and lids creep: their steps shrink by a constant ratio, because robust weights and masks follow the surface.
    What is left then is a geometric series (Aitken's delta-squared process, for vectors), of the steps as a whole.
    """
    ratio = (step * before).sum() / max((before * before).sum(), 1e-300)
    return step / (1 - min(max(ratio, 0.0), MOST_RATIO))


def noise(reading: Reading) -> float:
    """Standard deviation of the residuals, by their median absolute value."""
    r = reading.residual[:: max(1, len(reading.residual) // ENOUGH)]
    r = r[np.isfinite(r)]
    return 1.4826 * float(np.median(r)) if len(r) else 0.0


def pixel_length(vertices: Array, cameras: tuple[Camera, ...], scales: list[int]) -> float:
    """What one pixel of the plates at working size spans at the mesh; median over the cameras, capture units."""
    lengths = []
    for camera, scale in zip(cameras, scales, strict=True):
        depth = camera.project(vertices)[1]
        if (depth > 0).any():
            lengths.append(np.median(depth[depth > 0]) / camera.fx * scale)
    return float(np.median(lengths)) if lengths else float(np.ptp(vertices, axis=0).max() / 500)
