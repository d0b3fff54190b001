"""What the Gaussian Mesh looks like, learnt from the reference frame with its geometry fixed at the template."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from ..splat.gaussians import Gaussians
from ..splat.mesh import nearest_in_ring, quats_from_normals
from ..splat.render import renderer_for
from ..texture.survey import vertex_normals
from .paper_image import Target, clean_plate
from .paper_losses import scale_loss
from .paper_scene import Scene
from .paper_settings import PaperSettings

Array = np.ndarray
_SILHOUETTE = 2  # px: nearer to the mesh, a plate is no background


@dataclass
class Appearance:
    """Everything but the geometry. K cameras; those without a plate of the reference have no background."""

    quats: Tensor  # [V, 4] of the template
    log_scales: Tensor  # [V, 3]
    colours: Tensor  # [V, 3]
    log_gains: Tensor  # [K, 3] natural logarithm of each camera's gain
    offsets: Tensor  # [K, 3]
    backgrounds: list[Tensor | None]  # K x [H, W, 3]

    def picture(self, means: Tensor, quats: Tensor, scene: Scene, k: int, near: float) -> Tensor:
        """What camera `k` would film of the mesh at `means` [V, 3], turned by `quats` [V, 4].  # [H, W, 3].

        Gain and offset are the camera's answer to the mesh; the background was filmed by that camera and has them.
        """
        opacities = torch.ones_like(means[:, 0])
        gaussians = Gaussians(means, quats, torch.exp(self.log_scales), opacities, self.colours)
        light, through = renderer_for(means.device)(gaussians, scene.cameras[k], near)
        through = through[..., None]
        return torch.exp(self.log_gains[k]) * light + (1 - through) * self.offsets[k] + through * self.backgrounds[k]


def first_appearance(
    scene: Scene, vertices: Array, edges: Array, plates: list[Array | None], device: str
) -> Appearance:
    """Where the fit begins: colours as the cameras see them, sizes from the ring, rotations from the normals.

    `vertices` [V, 3] in the scene's space; `plates` float32 [H, W, 3] at working size.
    """
    normals = vertex_normals(vertices.astype(np.float64), scene.triangles)
    sizes = 0.5 * nearest_in_ring(vertices, edges)
    cameras = len(plates)
    backgrounds: list[Tensor | None] = []
    disc = np.ones((2 * _SILHOUETTE + 1, 2 * _SILHOUETTE + 1), np.uint8)
    for k, plate in enumerate(plates):
        covered = cv2.dilate((scene.draw(vertices, k)[0] >= 0).astype(np.uint8), disc) > 0
        backgrounds.append(None if plate is None else torch.as_tensor(clean_plate(plate, covered), device=device))

    def tensor(values: Array) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(values, np.float32), device=device)

    return Appearance(
        quats=tensor(quats_from_normals(normals)),
        log_scales=tensor(np.log(np.repeat(sizes[:, None], 3, axis=1))),
        colours=tensor(_seen_colours(scene, vertices, normals, plates)),
        log_gains=tensor(np.zeros((cameras, 3))),
        offsets=tensor(np.zeros((cameras, 3))),
        backgrounds=backgrounds,
    )


def _seen_colours(scene: Scene, vertices: Array, normals: Array, plates: list[Array | None]) -> Array:
    """Mean colour of each vertex over the cameras that see it; the mean of all where none does.  # [V, 3]."""
    total, weight = np.zeros((len(vertices), 3)), np.zeros(len(vertices))
    for k, plate in enumerate(plates):
        if plate is None:
            continue
        camera = scene.cameras[k]
        pixels, depth = camera.project(vertices)
        towards = camera.centre - vertices
        cosine = (normals * towards).sum(axis=1) / np.linalg.norm(towards, axis=1)
        column, row = np.floor(pixels).astype(int).T
        inside = (cosine > 0) & (depth > 0) & (column >= 0) & (row >= 0)
        inside &= (column < camera.width) & (row < camera.height)
        column, row = np.where(inside, column, 0), np.where(inside, row, 0)
        behind = depth - scene.draw(vertices, k)[1][row, column]
        seen = inside & (behind < 3 * depth / camera.fx)  # within 3 px of the surface
        share = np.where(seen, cosine**2, 0)
        total += share[:, None] * plate[row, column]
        weight += share
    found = weight > 0
    usual = total[found].sum(axis=0) / weight[found].sum() if found.any() else np.full(3, 0.5)
    return np.where(found[:, None], total / np.maximum(weight, 1e-30)[:, None], usual)


def fit_appearance(
    appearance: Appearance,
    scene: Scene,
    means: Tensor,
    targets: list[Target | None],
    settings: PaperSettings,
    views: Array,
    check: Callable[[], None],
) -> Appearance:
    """Fit colours, sizes, rotations, gains and offsets to the reference frame; one view of `views` an iteration."""
    a = appearance
    learnt = [(a.colours, settings.colour_rate), (a.quats, settings.rotation_rate), (a.log_scales, settings.scale_rate),
              (a.log_gains, settings.gain_rate), (a.offsets, settings.gain_rate)]  # fmt: skip
    first = torch.exp(a.log_scales.max(dim=1).values)
    for tensor, _ in learnt:
        tensor.requires_grad_()
    optimiser = torch.optim.Adam([{"params": [t], "lr": rate} for t, rate in learnt], eps=1e-15)
    for k in views[: settings.first_frame_iterations].tolist():
        check()
        optimiser.zero_grad()
        picture = a.picture(means, a.quats, scene, k, settings.near)
        loss = targets[k].loss(picture, settings.image_l1, settings.image_ssim)
        (loss + settings.scale * scale_loss(torch.exp(a.log_scales), first, settings.scale_limit)).backward()
        optimiser.step()
    for tensor, _ in learnt:
        tensor.requires_grad_(False)
    return a
