"""The one interface of splatting: `render`, with a renderer behind it for every kind of machine.

A renderer is a function (gaussians, camera, near) -> (colours [H, W, 3], transmittance [H, W]), differentiable in the
Gaussians: `numba_renderer.rasterise` on any CPU, `gsplat_renderer.rasterise` where CUDA is, and `torch_reference.
rasterise`, the plain twin of both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..capture import Camera
from .gaussians import Gaussians

Renderer = Callable[[Gaussians, Camera, float], tuple[Tensor, Tensor]]


def render(
    gaussians: Gaussians,
    cameras: Sequence[Camera],
    backgrounds: Sequence[Tensor] | Tensor,
    near: float,
    renderer: Renderer | None = None,
) -> list[Tensor]:
    """What each of `cameras` (no lens distortion; sizes may differ) sees of `gaussians` before its background.

    `backgrounds` holds for each camera a colour [3] or a picture [H, W, 3]; one colour [3] serves all. Gaussians nearer
    than `near` (world units, above 0) are left out. Returns pictures [H, W, 3] with the dtype and on the device of the
    Gaussians, differentiable in Gaussians and backgrounds. Raises ValueError for shapes that do not fit together and
    for cameras with lens distortion.
    """
    gaussians.check()
    if not near > 0:
        raise ValueError(f"near is {near}; it must be above 0")
    if isinstance(backgrounds, Tensor):
        backgrounds = [backgrounds] * len(cameras)
    draw = renderer or renderer_for(gaussians.means.device)
    pictures = []
    for camera, background in zip(cameras, backgrounds, strict=True):
        if any(camera.distortion):
            raise ValueError(f"camera {camera.name} has lens distortion; render its undistorted twin")
        if tuple(background.shape) not in ((3,), (camera.height, camera.width, 3)):
            raise ValueError(f"the background of camera {camera.name} has the shape {tuple(background.shape)}")
        colours, transmittance = draw(gaussians, camera, near)
        pictures.append(colours + transmittance[..., None] * background)
    return pictures


def renderer_for(device: torch.device) -> Renderer:
    """The fastest renderer for tensors on `device`."""
    if device.type == "cuda":
        from .gsplat_renderer import rasterise
    else:
        from .numba_renderer import rasterise
    return rasterise
