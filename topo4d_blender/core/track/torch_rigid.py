"""Rigid motion on the device without waiting for it: torch's own SVD and solver ask the host whether they succeeded."""

from __future__ import annotations

import torch
from torch import Tensor

from .torch_system import TorchSystem

SQUARINGS = 40  # of Horn's matrix: far more than its eigenvalues need to part


def rigid_step(system: TorchSystem, vertices: Tensor) -> tuple[Tensor, Tensor]:
    """As `rigid.rigid_step`: the rotation [3, 3] and translation [3] that one Gauss-Newton step asks of all vertices.

    Nothing moves where the plates say nothing.
    """
    centre = vertices.mean(0)
    arm = vertices - centre
    size = (arm**2).sum(1).mean().sqrt()
    axes = torch.eye(3, dtype=vertices.dtype, device=vertices.device)
    turns = [torch.linalg.cross(axis.expand_as(arm), arm) / size for axis in axes]
    modes = torch.stack([*(axis.expand_as(arm) for axis in axes), *turns])  # [6, V, 3]
    products = torch.stack([system.times(mode) for mode in modes])
    normal = torch.einsum("avd,bvd->ab", modes, products)
    trace = normal.diagonal().sum()
    some = trace > 0
    eye = torch.eye(6, dtype=vertices.dtype, device=vertices.device)
    right = -torch.einsum("avd,vd->a", modes, system.gradient)
    x, _ = torch.linalg.solve_ex(normal + torch.where(some, 1e-6 * trace, 1.0) * eye, right[:, None])
    x = torch.where(some, x[:, 0], 0.0)
    rotation = rotation_of(x[3:] / size)
    return rotation, centre + x[:3] - rotation @ centre


def rotation_of(vector: Tensor) -> Tensor:
    """The rotation [3, 3] about `vector` [3] by its length (Rodrigues)."""
    angle = vector.norm()
    zero = torch.zeros_like(angle)
    x, y, z = vector.unbind()
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).view(3, 3)
    half = torch.sinc(angle / (2 * torch.pi))  # sin(angle / 2) / (angle / 2)
    eye = torch.eye(3, dtype=vector.dtype, device=vector.device)
    return eye + torch.sinc(angle / torch.pi) * cross + 0.5 * half**2 * (cross @ cross)


def align(source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The rotation and translation that bring `source` [N, 3] nearest to `target` [N, 3] in least squares.

    By quaternions (Horn 1987): the eigenvector of the largest eigenvalue of a 4x4 matrix, found by squaring it.
    """
    a, b = source.mean(0), target.mean(0)
    s = (source - a).T @ (target - b)
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = (row.unbind() for row in s.unbind())
    horn = torch.stack(
        [
            xx + yy + zz, yz - zy, zx - xz, xy - yx,
            yz - zy, xx - yy - zz, xy + yx, zx + xz,
            zx - xz, xy + yx, yy - xx - zz, yz + zy,
            xy - yx, zx + xz, yz + zy, zz - xx - yy,
        ]
    ).view(4, 4)  # fmt: skip
    power = horn + horn.norm() * torch.eye(4, dtype=s.dtype, device=s.device)  # no eigenvalue is negative
    for _ in range(SQUARINGS):
        power = power / power.norm()
        power = power @ power
    columns = power.norm(dim=0)
    w, x, y, z = (power.index_select(1, columns.argmax()[None])[:, 0] / columns.max()).unbind()
    rotation = torch.stack(
        [
            1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w),
            2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w),
            2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y),
        ]
    ).view(3, 3)  # fmt: skip
    return rotation, b - rotation @ a
