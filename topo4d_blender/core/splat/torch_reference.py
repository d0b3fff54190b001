"""The slow, plain renderer in torch: the twin that the fast ones are held to. Every Gaussian meets every pixel.

Memory and time grow with N x H x W: for tests and for reading.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..capture import Camera
from .gaussians import DILATION, LEAST_ALPHA, MOST_ALPHA, OPAQUE, WIDE_VIEW, Gaussians


def rasterise(gaussians: Gaussians, camera: Camera, near: float) -> tuple[Tensor, Tensor]:
    """`gaussians` in the picture of `camera` (no lens distortion): light towards it, and what shines through.

    Gaussians nearer than `near` (world units) are left out. Returns (colours [H, W, 3], transmittance [H, W]);
    differentiable in everything but the order of depths.
    """
    depths = gaussians.means.detach() @ torch.as_tensor(camera.rotation[2]).to(gaussians.means) + camera.translation[2]
    front = torch.nonzero(depths > near)[:, 0]
    order = front[torch.argsort(depths[front], stable=True)]
    g = gaussians[order]
    centres, conics = project(g, camera)
    x = torch.arange(camera.width, dtype=centres.dtype, device=centres.device) + 0.5
    y = torch.arange(camera.height, dtype=centres.dtype, device=centres.device) + 0.5
    dx = (x - centres[:, 0, None])[:, None, :]  # [N, 1, W]
    dy = (y - centres[:, 1, None])[:, :, None]  # [N, H, 1]
    a, b, c = (conics[:, k, None, None] for k in range(3))
    sigma = 0.5 * (a * dx**2 + c * dy**2) + b * dx * dy  # [N, H, W]
    alpha = (g.opacities[:, None, None] * torch.exp(-sigma)).clamp(max=MOST_ALPHA)
    alpha = alpha * (alpha >= LEAST_ALPHA)
    after = torch.cumprod(1 - alpha, dim=0)
    counted = torch.cumprod(((alpha == 0) | (after > OPAQUE)).to(alpha.dtype), dim=0)  # the last one ends the pixel
    alpha = alpha * counted
    after = torch.cumprod(1 - alpha, dim=0)
    before = torch.cat([torch.ones_like(after[:1]), after[:-1]]) if len(order) else after
    colours = torch.einsum("nhw,nc->hwc", alpha * before, g.colours)
    return colours, after[-1] if len(order) else torch.ones(camera.height, camera.width).to(centres)


def project(gaussians: Gaussians, camera: Camera) -> tuple[Tensor, Tensor]:
    """Centres in px [N, 2] and inverse covariances in 1/px^2 [N, 3] (xx, xy, yy) of Gaussians before the camera."""
    to_camera = torch.as_tensor(camera.world_to_camera).to(gaussians.means)
    rotation, shift = to_camera[:3, :3], to_camera[:3, 3]
    points = gaussians.means @ rotation.T + shift
    x, y, z = points.unbind(dim=1)
    centres = torch.stack([camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy], dim=1)
    right, down = camera.width - camera.cx, camera.height - camera.cy
    wide, high = WIDE_VIEW * 0.5 * camera.width, WIDE_VIEW * 0.5 * camera.height
    tx = (x / z).clamp(-(camera.cx + wide) / camera.fx, (right + wide) / camera.fx)
    ty = (y / z).clamp(-(camera.cy + high) / camera.fy, (down + high) / camera.fy)
    zero = torch.zeros_like(z)
    jacobian = torch.stack(
        [camera.fx / z, zero, -camera.fx * tx / z, zero, camera.fy / z, -camera.fy * ty / z], dim=1
    ).reshape(-1, 2, 3)
    spread = jacobian @ rotation @ (rotation_matrices(gaussians.quats) * gaussians.scales[:, None, :])  # [N, 2, 3]
    covariance = spread @ spread.transpose(1, 2)
    xx, yy, xy = covariance[:, 0, 0] + DILATION, covariance[:, 1, 1] + DILATION, covariance[:, 0, 1]
    determinant = xx * yy - xy**2
    return centres, torch.stack([yy, -xy, xx], dim=1) / determinant[:, None]


def rotation_matrices(quats: Tensor) -> Tensor:
    """Rotations of quaternions w x y z of any length [N, 4].  # [N, 3, 3]."""
    w, x, y, z = torch.nn.functional.normalize(quats, dim=1, eps=1e-30).unbind(dim=1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)
