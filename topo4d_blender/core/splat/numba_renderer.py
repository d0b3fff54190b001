"""The renderer for any CPU: numba kernels behind a torch autograd function. float32 and float64.

Deterministic: the same Gaussians give the same bits, forward and backward, on any number of threads.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..capture import Camera
from . import tiles
from .gaussians import Gaussians
from .projection import project, project_back

Array = np.ndarray


def rasterise(gaussians: Gaussians, camera: Camera, near: float) -> tuple[Tensor, Tensor]:
    """Twin of `torch_reference.rasterise`: (colours [H, W, 3], transmittance [H, W]). CPU tensors only."""
    g = gaussians
    return _Splat.apply(g.means, g.quats, g.scales, g.opacities, g.colours, camera, near)


class _Splat(torch.autograd.Function):
    @staticmethod
    def forward(ctx, means, quats, scales, opacities, colours, camera, near):
        arrays = [np.ascontiguousarray(t.detach().numpy()) for t in (means, quats, scales, opacities, colours)]
        ctx.drawing = drawing = _Drawing(*arrays, camera, near)
        return torch.from_numpy(drawing.picture), torch.from_numpy(drawing.transmittance)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, of_picture, of_transmittance):
        gradients = ctx.drawing.back(of_picture.numpy(), of_transmittance.numpy())
        return *(torch.from_numpy(g) for g in gradients), None, None


class _Drawing:
    """One picture of N Gaussians, with all that its gradients need."""

    def __init__(self, means, quats, scales, opacities, colours, camera: Camera, near: float) -> None:
        count, real = len(means), means.dtype
        self._gaussians = means, quats, scales
        self._blended = opacities, colours
        self._lens = (
            np.ascontiguousarray(camera.rotation, np.float64),
            np.ascontiguousarray(camera.translation, np.float64),
            np.array([camera.fx, camera.fy, camera.cx, camera.cy], np.float64),
            np.array([camera.width, camera.height], np.int64),
        )
        self._centres, self._conics = np.zeros((count, 2), real), np.zeros((count, 3), real)
        depths, self._boxes = np.empty(count, real), np.empty((count, 4), np.int32)
        project(
            means, quats, scales, opacities, *self._lens, float(near), self._centres, self._conics, depths, self._boxes
        )
        seen = np.flatnonzero(self._boxes[:, 1] > self._boxes[:, 0])
        self._order = seen[np.argsort(depths[seen], kind="stable")]
        *self._lists, self._first_pair = tiles.list_pairs(self._order, self._boxes, camera.width, camera.height)
        shape = (camera.height, camera.width)
        self.picture, self.transmittance = np.empty((*shape, 3), real), np.empty(shape, real)
        self._last = np.empty(shape, np.int64)
        tiles.blend(
            *self._lists, self._centres, self._conics, self._boxes, opacities, colours, self.picture,
            self.transmittance, self._last,
        )  # fmt: skip

    def back(self, of_picture: Array, of_transmittance: Array) -> tuple[Array, ...]:
        """Gradients of means, quats, scales, opacities and colours."""
        means, quats, scales = self._gaussians
        real, shape = means.dtype, self.transmittance.shape
        by_pair = np.empty((len(self._lists[1]), tiles.GRADIENTS), real)
        tiles.blend_back(
            *self._lists, self._centres, self._conics, self._boxes, *self._blended, self.transmittance, self._last,
            np.ascontiguousarray(of_picture), np.ascontiguousarray(of_transmittance), np.empty(shape, real),
            np.empty(shape, real), by_pair,
        )  # fmt: skip
        total = np.zeros((len(means), tiles.GRADIENTS), real)
        tiles.add_pairs(self._order, self._first_pair, by_pair, total)
        out = np.empty((len(means), 3), real), np.empty((len(means), 4), real), np.empty((len(means), 3), real)
        project_back(
            means, quats, scales, *self._lens, self._conics, self._boxes, total[:, :2], total[:, 2:5], *out
        )  # fmt: skip
        return *out, np.ascontiguousarray(total[:, 5]), np.ascontiguousarray(total[:, 6:])
