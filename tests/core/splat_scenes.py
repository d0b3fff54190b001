"""Small clouds of Gaussians before a camera, for the renderers' tests."""

from __future__ import annotations

import numpy as np
import torch

from topo4d_blender.core.capture import Camera
from topo4d_blender.core.splat.gaussians import Gaussians

NEAR = 0.05
FIELDS = ("means", "quats", "scales", "opacities", "colours")


def make_camera(width: int = 37, height: int = 29, distance: float = 4.0, focal: float = 40.0) -> Camera:
    """A turned camera with different focal lengths and its principal point off centre, looking at the origin."""
    turn = np.array([[0.96, -0.28, 0.0], [0.28, 0.96, 0.0], [0.0, 0.0, 1.0]])
    tilt = np.array([[1.0, 0.0, 0.0], [0.0, 0.8, -0.6], [0.0, 0.6, 0.8]])
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ tilt
    matrix[:3, 3] = [0.05, -0.1, distance]
    return Camera("c", width, height, focal, 1.1 * focal, 0.52 * width, 0.47 * height, matrix)


def make_cloud(count: int = 40, seed: int = 0, dtype: torch.dtype = torch.float64, spread: float = 0.6) -> Gaussians:
    """Overlapping Gaussians of many shapes and opacities around the origin."""
    rng = np.random.default_rng(seed)
    arrays = (
        rng.normal(0, spread, (count, 3)),
        rng.normal(size=(count, 4)),
        np.exp(rng.uniform(np.log(0.03), np.log(0.3), (count, 3))),
        rng.uniform(0.2, 1.0, count),
        rng.uniform(0, 1, (count, 3)),
    )
    return Gaussians(*(torch.tensor(a, dtype=dtype) for a in arrays))


def tensors(gaussians: Gaussians) -> list[torch.Tensor]:
    return [getattr(gaussians, name) for name in FIELDS]


def with_gradients(gaussians: Gaussians, dtype: torch.dtype) -> Gaussians:
    """A copy whose tensors collect gradients."""
    return Gaussians(*(t.detach().to(dtype).clone().requires_grad_() for t in tensors(gaussians)))
