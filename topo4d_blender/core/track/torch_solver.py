"""`solver.FrameSolver` on a GPU: the same stages, energy and steps (see there), by torch operations alone.

What runs where: plates cross to the device once a frame, as bytes; pyramid, visibility, comparison, blurs, normal
equations, steps and the noise's median are made there, all cameras of one size in one call, and the motion of the
surface that explains optical flow. On the host stay the flow itself (OpenCV's), once a reference the detail its cameras
share (`detail`), once a frame what few numbers a vertex tell (`repertoire`, `pliancy`, `relight`, `shades`) and at a
stage's end the vertices nobody sees (a triangular solve, at which a GPU is poor). The host waits for the device where
it finds what is seen and between stages; within a stage's steps it never does, and so counts of iterations are fixed.

Cameras go through in parts where memory is short: a frame that does not fit is solved again with half as many at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ..capture import Camera
from ..errors import WorkError
from ..template import Template
from .appearance import locate, project, reach
from .carry import Carrier
from .detail import share_detail
from .pliancy import Pliancy
from .pyramid import LevelCameras, level_cameras, working_scale
from .relight import Relight
from .repertoire import Repertoire
from .rigid import align as align_on_host
from .settings import Stage, TrackSettings, plan_stages
from .shades import Shades
from .solver import LEAST_SCALE, MOST_RATIO, OUTLIER, Solution, pixel_length
from .surface import build_surface, laplacian
from .torch_flow import TorchFlow
from .torch_kernels import median
from .torch_memory import Reading, TorchMemory, TorchSurface
from .torch_plates import Pictures, make_pictures
from .torch_rigid import align, rigid_step
from .torch_system import TorchSystem
from .torch_views import group_cameras, make_views, slices

Array = np.ndarray
Result = TypeVar("Result")
SPENT = (
    "The graphics card's memory is spent; close other programs that use it (Blender's rendered viewport, browsers) "
    "and run again with --resume, or with --device cpu."
)


@dataclass(frozen=True)
class Part:
    """Cameras of one size that go through at once."""

    group: int
    which: slice  # of the group's cameras
    memory: TorchMemory


class TorchSolver:
    """Everything that stays the same through a take; `remember` first, then `solve` frame after frame."""

    def __init__(self, template: Template, cameras: tuple[Camera, ...], settings: TrackSettings, device: str = "cuda"):
        """Prepare for `template` seen by `cameras` (no lens distortion), on "cuda" (or "cpu": slow, to compare)."""
        self.settings, self.device = settings, torch.device(device)
        self.surface = build_surface(template)
        self.scales = [working_scale(c, settings.working_pixels) for c in cameras]
        pixel = pixel_length(template.vertices, cameras, self.scales)
        arm = template.vertices - template.vertices.mean(axis=0)
        radius = float(np.sqrt((arm**2).sum(axis=1).mean()))
        self.stages = plan_stages(settings, pixel, self.surface.edge_length, radius)
        self.levels: list[LevelCameras] = level_cameras(cameras, [s.blur for s in self.stages], self.scales)
        self.groups = group_cameras(self.levels)
        self.views = [make_views(level, self.groups, self.device) for level in self.levels]
        self.most = max(len(group) for group in self.groups)  # cameras at once
        self.edges = template.edges
        self.system = TorchSystem(self.surface, template.vertices, self.device)
        self._surface = TorchSurface(self.surface, self.device)
        self._flow = TorchFlow(self.surface, self.levels[-1], self.system.another())
        self.visible = np.zeros(0, bool)  # [T] what the reference saw
        self._memory: list[list[Part]] = []  # of every level
        self._reference: tuple[Array, Pictures, Array] | None = None  # the last: with the detail of slopes, finest

    def pyramid(self, plates: list[Array | None]) -> Pictures:
        """The plates of a frame (float32, working size) for every stage, on the device."""
        return self._fitting(lambda: make_pictures(plates, self.levels, self.groups, self.device))

    def remember(self, vertices: Array, images: Pictures) -> float:
        """Take `vertices` [V, 3] and their plates as the reference; returns the share of triangles any camera sees."""
        detail = share_detail(self.surface, self.levels[-1], vertices, images.finest)
        self._reference, self._memory = (vertices, images, detail), []
        seen = project(vertices, self.surface.triangles, self.levels[-1])
        self._relight = Relight(self.surface, self.levels[-1], seen, vertices, images.finest)
        self._shades = Shades(self.surface, self.levels[-1], seen, vertices, images.finest)
        self.visible = self._fitting(self._look_at_reference)
        if self.visible.any():
            relative = self.system.relative_stiffness().cpu().numpy()
            self._fitting(lambda: self.system.prepare(relative))
            self._carry = Carrier(vertices, self.surface.triangles, self.edges, relative)
            self._repertoire = Repertoire(laplacian(vertices, self.edges), relative)
            self._pliancy = Pliancy(self.surface, relative)
            self._fitting(lambda: self._flow.prepare(vertices))
        return float(self.visible.mean())

    def solve(
        self,
        images: Pictures,
        previous: Array,
        guess: Array,
        template: Array,
        check: Callable[[], None] = lambda: None,
        before: Pictures | None = None,
        earlier: Sequence[Array] = (),
    ) -> Solution:
        """As `FrameSolver.solve`. Raises WorkError if the device's memory does not hold one camera."""
        if before is not None:
            start, base = self.start(previous, before, images)
            base = self._repertoire(start, base, template, earlier)
            self.system.put_bending(self._pliancy(start, base))
            first = max(1, len(self.stages) - self.settings.after_flow)
        else:
            rotation, shift = align_on_host(previous, guess)
            start, base, first = guess, previous @ rotation.T + shift, 0
            self.system.put_bending(self.surface.bending)
        return self._fitting(lambda: self._solve(images, start, base, template, check, first))

    def start(self, previous: Array, before: Pictures, images: Pictures) -> tuple[Array, Array]:
        """`previous` [V, 3] moved on by optical flow, and moved rigidly only, each [V, 3]; on the host.

        Raises WorkError where the device's memory is spent.
        """
        return self._fitting(lambda: self._flow(previous, before.finest, images.finest))

    def _solve(
        self, images: Pictures, start: Array, base: Array, template: Array, check: Callable[[], None], first: int
    ) -> Solution:
        vertices, base, template = (self._tensor(values) for values in (start, base, template))
        steps, light = torch.zeros((), device=self.device), None
        for index in range(first, len(self.stages)):
            stage, parts = self.stages[index], self._memory[index]
            pictures = [images.levels[index][part.group][part.which] for part in parts]
            scale = torch.ones((), device=self.device)
            here, looks = vertices.cpu().numpy(), None
            if first == 0 or light is None:  # as in `FrameSolver.solve`
                light = self._relight(here, images.finest)
            if stage is self.stages[-1]:
                looks = torch.as_tensor(self._shades(here, images.finest, light), device=self.device)
            for part in parts:
                lit = torch.as_tensor(light[list(part.memory.views.cameras)], device=self.device)
                part.memory.look(vertices, lit, looks)
            step = None
            for n in range(stage.iterations):
                check()
                readings = self._read(parts, vertices, pictures, scale)
                error = self._error(readings)
                scale = (OUTLIER * error).clamp(min=LEAST_SCALE)
                steps += self.system.median_stiffness() > 0
                last = step if n + 1 == stage.iterations and stage is self.stages[-1] else None
                vertices, base, step = self._step(stage, vertices, base, template, error, last)
            if not stage.rigid:
                vertices = self._tensor(self._carry(vertices.cpu().numpy()))
        return self._judge(vertices, parts, readings, scale, steps)

    @staticmethod
    def _error(readings: list[Reading]) -> Tensor:
        """Standard deviation of the residuals, by their median absolute value; 0 where there are none."""
        return torch.nan_to_num(1.4826 * median(torch.cat([reading.residual for reading in readings])))

    def _step(
        self, stage: Stage, vertices: Tensor, base: Tensor, template: Tensor, error: Tensor, last: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """A step of `stage` on the system as it is assembled, to the limit of the one before if that is given (`last`).

        Returns the vertices, the prior's base and the step, each [V, 3]; no step of a rigid stage.
        """
        if stage.rigid:
            rotation, shift = rigid_step(self.system, vertices)
            return vertices @ rotation.T + shift, base @ rotation.T + shift, None
        unit = self.system.median_stiffness()
        step = self._surface_step(vertices, base, template, unit * self._bending(stage, error / unit.sqrt()))
        if last is not None:
            step = to_the_limit(step, last)
        return vertices + step, base, step

    def _bending(self, stage: Stage, error: Tensor) -> Tensor:
        """As `FrameSolver.bending`."""
        softest, stiffest = stage.bending
        return (self.settings.stiffness * (error / self.surface.edge_length) ** 3).clamp(softest, stiffest)

    def _surface_step(self, vertices: Tensor, base: Tensor, template: Tensor, stiffness: Tensor) -> Tensor:
        """One Gauss-Newton step of all vertices.  # [V, 3]."""
        rotation, shift = align(template, vertices)
        rest = template @ rotation.T + shift
        bend = self.system.bend((vertices - base) + self.settings.rest * (vertices - rest))
        return self.system.solve(stiffness * bend, stiffness * (1 + self.settings.rest))

    def _read(self, parts: list[Part], vertices: Tensor, pictures: list[Tensor], scale: Tensor) -> list[Reading]:
        """Every camera's reading; their normal equations together into the system."""
        readings = []
        hessian = gradient = 0.0
        for part, picture in zip(parts, pictures, strict=True):
            reading, h, g = part.memory.read(vertices, picture, scale)
            readings.append(reading)
            hessian, gradient = hessian + h.double(), gradient + g.double()
        self.system.assemble(hessian, gradient)
        return readings

    def _look_at_reference(self) -> Array:
        """The finest level's normal equations at the reference into the system; returns what it sees [T]."""
        vertices, images, _ = self._reference
        vertices, parts = self._tensor(vertices), self._memory[-1]
        pictures = [images.levels[-1][part.group][part.which] for part in parts]
        for part in parts:
            part.memory.look(vertices)
        readings = self._read(parts, vertices, pictures, torch.ones((), device=self.device))
        return torch.stack([reading.triangles for reading in readings]).any(0).cpu().numpy()

    def _judge(
        self, vertices: Tensor, parts: list[Part], readings: list[Reading], scale: Tensor, steps: Tensor
    ) -> Solution:
        """Residuals in pixels: the colour residual over the colour slope, robustly, camera by camera."""
        residual = np.full(len(self.scales), np.nan)
        seen = np.zeros(len(self.visible), bool)
        for part, reading in zip(parts, readings, strict=True):
            w = (scale**2 / (scale**2 + reading.residual**2)) ** 2
            views = part.memory.views
            sums = [views.sums(reading.pixel, torch.nan_to_num(w * x**2)) for x in (reading.residual, reading.slope)]
            residual[list(views.cameras)] = (2 * sums[0] / sums[1]).sqrt().cpu().numpy()
            seen |= reading.triangles.cpu().numpy()
        share = float((seen & self.visible).sum() / max(1, self.visible.sum()))
        return Solution(vertices.cpu().numpy(), residual, share, int(steps))

    def _build_memory(self) -> None:
        """What the reference shows, in parts of at most `most` cameras."""
        vertices, images, detail = self._reference
        here = self._tensor(vertices)
        finest = [np.stack([self.levels[-1].view(detail, k) for k in group]) for group in self.groups]
        finest = [torch.as_tensor(pictures, device=self.device) for pictures in finest]
        self._memory = []
        for level, views, pictures in zip(self.levels, self.views, images.levels, strict=True):
            tolerance = reach(self.surface, level, locate(vertices, level)[2])
            parts = []
            details = finest if (level.sizes == self.levels[-1].sizes).all() else pictures
            for group, (cameras, picture, slope) in enumerate(zip(views, pictures, details, strict=True)):
                for which in slices(len(picture), self.most):
                    part = cameras.part(which)
                    memory = TorchMemory(self._surface, part, here, picture[which], slope[which], tolerance)
                    parts.append(Part(group, which, memory))
            self._memory.append(parts)

    def _fitting(self, work: Callable[[], Result]) -> Result:
        """`work`, again with half as many cameras at once as often as the device's memory is spent."""
        while True:
            try:
                if self._reference is not None and not self._memory:
                    self._build_memory()
                return work()
            except torch.OutOfMemoryError:
                if self.most == 1:
                    raise WorkError(SPENT) from None
            self.most, self._memory = (self.most + 1) // 2, []
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _tensor(self, values: Array) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(values, np.float64), device=self.device)


def to_the_limit(step: Tensor, before: Tensor) -> Tensor:
    """As `solver.to_the_limit`, without waiting for the device.  # [V, 3]."""
    ratio = (step * before).sum() / (before * before).sum().clamp(min=1e-300)
    return step / (1 - ratio.clamp(0.0, MOST_RATIO))
