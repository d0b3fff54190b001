"""`flow.FlowStart` on a device: the flow itself is OpenCV's on the host, what is made of it the device's.

The flow of each camera is where both start from; the motion of the surface that explains it is a linear problem in
every round, solved as a step is (`torch_system`). The host waits for nothing but the result.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .flow import OUTLIERS, STIFFNESS, measure, seen_by_cameras
from .pyramid import LevelCameras
from .surface import Surface
from .torch_rigid import rigid_step
from .torch_system import TorchSystem

Array = np.ndarray


class TorchFlow:
    """Moves the surface by optical flow; holds nothing of any frame but how the reference is seen."""

    def __init__(self, surface: Surface, level: LevelCameras, system: TorchSystem):
        """For pictures of `level`, on the device of `system`, which is this one's own."""
        self._surface, self._level, self._system = surface, level, system
        self._rotations = self._tensor(level.rotations)
        self._focal = self._tensor(level.intrinsics[:, :2])

    def prepare(self, vertices: Array) -> None:
        """The system for flow that every camera knows of what it sees of `vertices` [V, 3], as `FlowStart.prepare`."""
        points, known = seen_by_cameras(self._surface, self._level, vertices)
        flow = np.zeros((*known.shape, 2), np.float32)
        equations = self.equations(points, flow, known)
        self._assemble(*equations, torch.zeros_like(self._system.gradient), OUTLIERS[0])
        self._system.prepare(self._system.relative_stiffness().cpu().numpy())

    def __call__(self, vertices: Array, before: Array, now: Array) -> tuple[Array, Array]:
        """As `FlowStart`: `vertices` [V, 3] moved to the frame `now`, and moved rigidly only, each [V, 3]."""
        equations = self.equations(*measure(self._surface, self._level, vertices, before, now))
        start = self._tensor(vertices)
        rigid = start
        for outlier in OUTLIERS:
            self._assemble(*equations, rigid - start, outlier)
            rotation, shift = rigid_step(self._system, rigid)
            rigid = rigid @ rotation.T + shift
        moved = rigid
        for outlier in OUTLIERS:
            self._assemble(*equations, moved - start, outlier)
            stiffness = STIFFNESS * self._system.median_stiffness()
            moved = moved + self._system.solve(stiffness * self._system.bend(moved - rigid), stiffness)
        return moved.cpu().numpy(), rigid.cpu().numpy()

    def equations(self, points: Array, flow: Array, known: Array) -> tuple[Tensor, Tensor, Tensor]:
        """d(pixel) / d(world point) [V, K, 2, 3], the flow [V, K, 2] and what it counts, 0 or 1 [V, K].

        `points` [K, V, 3] in camera space, their `flow` [K, V, 2] in pixels and where it is `known` [K, V].
        """
        device = self._rotations.device
        points, flow = (torch.from_numpy(values).to(device).transpose(0, 1) for values in (points, flow))
        known = torch.from_numpy(known).to(device).T & (points[..., 2] > 0)
        points, flow = points.double(), torch.where(known[..., None], flow, 0.0).double()
        z = torch.where(known, points[..., 2], 1.0)[..., None]
        turn = self._rotations
        slant = turn[:, :2] - (points[..., :2] / z)[..., None] * turn[:, 2:]
        jacobian = (self._focal / z)[..., None] * slant
        return torch.where(known[..., None, None], jacobian, 0.0), flow, known.double()

    def _assemble(self, jacobian: Tensor, flow: Tensor, known: Tensor, motion: Tensor, outlier: float) -> None:
        """As `kernels.flow_equations`, around a `motion` [V, 3], into the system."""
        left = (jacobian @ motion[:, None, :, None])[..., 0] - flow  # [V, K, 2]
        weight = known / (1 + (left**2).sum(-1) / outlier**2) ** 2
        weighted = (weight[..., None, None] * jacobian).flatten(1, 2).transpose(1, 2)  # [V, 3, 2 K]
        self._system.put(weighted @ jacobian.flatten(1, 2), (weighted @ left.flatten(1)[..., None])[..., 0])

    def _tensor(self, values: Array) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(values, np.float64), device=self._system.gradient.device)
