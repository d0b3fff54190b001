"""The paper's image loss, 0.8 L1 + 0.2 (1 - SSIM), over the pixels near the mesh.

SSIM: Wang et al. 2004, a Gaussian window of 11 x 11 px with a sigma of 1.5 px, zero beyond the picture's border.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

Array = np.ndarray
_WINDOW = cv2.getGaussianKernel(11, 1.5, cv2.CV_32F)
_C1, _C2 = 0.01**2, 0.03**2


class _Blur(torch.autograd.Function):
    """The window's mean around each pixel of pictures [H, W, C]. It is symmetric, so it is its own adjoint."""

    @staticmethod
    def forward(ctx, pictures: Tensor) -> Tensor:
        return blur_by_opencv(pictures) if pictures.device.type == "cpu" else blur_by_torch(pictures)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient: Tensor) -> Tensor:
        return _Blur.apply(gradient)


def blur_by_opencv(pictures: Tensor) -> Tensor:
    """The window's mean, on the CPU.  # [H, W, C]."""
    planes = np.ascontiguousarray(pictures.detach().numpy())
    return torch.from_numpy(cv2.sepFilter2D(planes, -1, _WINDOW, _WINDOW, borderType=cv2.BORDER_CONSTANT))


def blur_by_torch(pictures: Tensor) -> Tensor:
    """The window's mean, on any device.  # [H, W, C]."""
    window = torch.as_tensor(_WINDOW[:, 0]).to(pictures)
    planes = pictures.permute(2, 0, 1)[:, None]
    planes = torch.nn.functional.conv2d(planes, window[None, None, :, None], padding=(5, 0))
    planes = torch.nn.functional.conv2d(planes, window[None, None, None, :], padding=(0, 5))
    return planes[:, 0].permute(1, 2, 0)


@dataclass(frozen=True)
class Target:
    """A plate as the loss wants it: the box around the mesh, and what SSIM needs of the plate alone."""

    box: tuple[slice, slice]  # rows, columns
    plate: Tensor  # [h, w, 3]
    background: Tensor  # [H, W, 3], the whole picture
    weights: Tensor  # [h, w, 1]: 1 / (3 x pixels looked at) at each of them, 0 elsewhere
    mean: Tensor  # [h, w, 3]
    variance: Tensor  # [h, w, 3]

    @classmethod
    def of(cls, plate: Tensor, background: Tensor, mask: Array) -> Target | None:
        """For a plate [H, W, 3] looked at where `mask` [H, W] says; None if that is nowhere."""
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            return None
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        weights = torch.as_tensor(mask[box][..., None] / (3.0 * mask.sum()), dtype=plate.dtype, device=plate.device)
        part = plate[box]
        mean = _Blur.apply(part)
        return cls(box, part, background, weights, mean, _Blur.apply(part * part) - mean * mean)

    def loss(self, picture: Tensor, l1: float, ssim: float) -> Tensor:
        """Loss of a picture [H, W, 3]."""
        part = picture[self.box]
        difference = l1 * (part - self.plate).abs() + ssim * (1 - self.ssim(part))
        return (difference * self.weights).sum()

    def ssim(self, part: Tensor) -> Tensor:
        """Structural similarity of the box [h, w, 3] with the plate's.  # [h, w, 3]."""
        blurred = _Blur.apply(torch.cat([part, part * part, part * self.plate], dim=2))
        mean, square, product = blurred.split(3, dim=2)
        both = mean * self.mean
        variance, covariance = square - mean * mean, product - both
        top = (2 * both + _C1) * (2 * covariance + _C2)
        return top / ((mean * mean + self.mean * self.mean + _C1) * (variance + self.variance + _C2))


def clean_plate(plate: Array, covered: Array) -> Array:
    """What the background might be behind the head: `plate` [H, W, 3] with what is `covered` [H, W] filled inwards.

    Halves the picture until nothing is left to fill, then fills each size from the next smaller (pull and push).
    """
    if not covered.any():
        return plate
    known = (~covered).astype(np.float32)
    height, width = covered.shape
    if covered.all() or min(height, width) == 1:
        colour = plate[~covered].mean(axis=0) if not covered.all() else plate.mean(axis=(0, 1))
        return np.where(covered[..., None], colour, plate).astype(np.float32)
    size = ((width + 1) // 2, (height + 1) // 2)
    small_known = cv2.resize(known, size, interpolation=cv2.INTER_AREA)
    small = cv2.resize(plate * known[..., None], size, interpolation=cv2.INTER_AREA)
    small = small / np.maximum(small_known, 1e-6)[..., None]
    filled = clean_plate(small.astype(np.float32), small_known <= 0)
    return np.where(covered[..., None], cv2.resize(filled, (width, height)), plate).astype(np.float32)
