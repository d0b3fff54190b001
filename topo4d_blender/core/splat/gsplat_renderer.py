"""The renderer for CUDA: gsplat's kernels, where gsplat is installed. Written for gsplat 1.5.3.

gsplat compiles its kernels at first use and has no path for the CPU, so nothing of it is touched before a picture is
asked for. Its constants are those of `gaussians.py`; dilation and near plane are handed over so that they stay so.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..capture import Camera
from ..errors import RequestError
from .gaussians import DILATION, Gaussians


def rasterise(gaussians: Gaussians, camera: Camera, near: float) -> tuple[Tensor, Tensor]:
    """Twin of `torch_reference.rasterise`: (colours [H, W, 3], transmittance [H, W]). CUDA tensors, float32.

    Raises RequestError where gsplat is not installed.
    """
    try:
        from gsplat import rasterization
    except ImportError:
        raise RequestError(
            "Splatting on the graphics card needs the package gsplat==1.5.3; install it, or use --device cpu."
        ) from None
    colours, alphas, _ = rasterization(**arguments(gaussians, camera, near))
    return colours[0], 1 - alphas[0, ..., 0]


def arguments(gaussians: Gaussians, camera: Camera, near: float) -> dict:
    """What `gsplat.rasterization` is called with: one view (C = 1), plain colours, no background."""
    on = {"dtype": torch.float32, "device": gaussians.means.device}
    return {
        "means": gaussians.means,  # [N, 3]
        "quats": gaussians.quats,  # [N, 4] w x y z, normalised inside
        "scales": gaussians.scales,  # [N, 3]
        "opacities": gaussians.opacities,  # [N]
        "colors": gaussians.colours,  # [N, 3]
        "viewmats": torch.as_tensor(camera.world_to_camera[None], **on),  # [1, 4, 4]
        "Ks": torch.as_tensor(camera.matrix[None], **on),  # [1, 3, 3]
        "width": camera.width,
        "height": camera.height,
        "near_plane": near,
        "eps2d": DILATION,
        "packed": False,  # quicker, and a mesh is small
        "rasterize_mode": "classic",
    }
