"""The texels on a device: twin of blend.py, many texels in one call instead of a row after the other.

Every texel finds its surface point by barycentric weights and asks the candidates of its triangle where they see it;
those that do are sorted, and only the few best read their plates. Weights are taken from the triangle's own corner, so
that float32 is as exact at the far end of an 8192 map as at its beginning.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .blend import CORRECTION, OUTLIER, SCORE, TRUST
from .frame import Canvas, Solved
from .plan import samples_per_axis
from .torch_kernels import Cameras, sample_plates, sees
from .uv import EMPTY

Array = np.ndarray
LUMA = (0.3, 0.6, 0.1)


@dataclass(frozen=True)
class Flat:
    """The triangles of a UV map: how barycentric weights follow from texels."""

    origin: Tensor  # [T, 2] int64: the whole part of the third corner
    rest: Tensor  # [T, 2] float32: what is left of it
    slope: Tensor  # [T, 2, 2] float32: of the first two weights, along x and y

    @classmethod
    def of(cls, corners: Array, device: torch.device) -> Flat:
        """Those of `corners` [T, 3, 2], texels."""
        third = corners[:, 2]
        (ax, ay), (bx, by) = (corners[:, 0] - third).T, (corners[:, 1] - third).T
        area = ax * by - ay * bx
        slope = np.stack([by, -bx, -ay, ax], axis=1) / np.where(area == 0, np.inf, area)[:, None]
        origin = np.floor(third)
        rest = (third - origin).astype(np.float32)
        parts = origin.astype(np.int64), rest, slope.reshape(-1, 2, 2).astype(np.float32)
        return cls(*(torch.from_numpy(part).to(device) for part in parts))

    def weights(self, t: Tensor, x: Tensor, y: Tensor, padded: Tensor) -> Tensor:
        """Of triangles `t` [M] at the centres of texels; where `padded`, of a point inside.  # [M, 3]."""
        away = torch.stack([x, y], 1) - self.origin[t] + 0.5 - self.rest[t]
        two = (self.slope[t] * away[:, None]).sum(2)
        free = torch.cat([two, 1 - two.sum(1, keepdim=True)], 1)
        held = free.clamp(min=0)
        return torch.where(padded[:, None], held / held.sum(1, keepdim=True), free)


class TorchBlend:
    """One frame, ready to be blended into the rows of one map."""

    def __init__(self, canvas: Canvas, solved: Solved, linear: Array, corners: Array, flat: Flat, texels: type) -> None:
        """Everything of `solved` that a texel asks for, on the device of its plates.

        `linear` is as of `linear_values`, `corners` [T, 3, 2] are the triangles in the texels of `flat`.
        """
        views, mesh = solved.views, canvas.triangles
        device = views.device

        def tensor(values: Array, kind: torch.dtype = torch.float32) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(values)).to(device, kind)

        samples = samples_per_axis(solved.order, views.projections, solved.vertices, mesh, corners)
        whole = tensor(linear).flatten(0, 1)
        self._place, self._correction = whole[:, :CORRECTION].contiguous(), whole[:, CORRECTION:].contiguous()
        self._shared, self._gains = tensor(solved.colours.shared), tensor(solved.colours.gains)
        self._order = tensor(np.where(canvas.ignored[:, None], -1, solved.order), torch.int64)
        self._samples, self._counts = tensor(samples, torch.int64), np.unique(samples)
        self._triangles, self._vertices = tensor(mesh, torch.int64), len(solved.vertices)
        self._views, self._cameras, self._flat = views, Cameras.of(views), flat
        self._best, self._root = solved.choice.views, 1 / solved.choice.power
        self._white = float(np.iinfo(texels).max)

    def blend(self, ids: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Colours [M, 3] int32 and coverage [M] uint8 of the texels (`x`, `y`) [M], of `ids` [M] that are not EMPTY."""
        padded = ids < 0
        t = torch.where(padded, EMPTY - 1 - ids, ids).long()
        weights, triangle = self._flat.weights(t, x, y, padded), self._triangles[t]
        k, score, u, v, next_best = self._choose(t, weights, triangle)
        corner = triangle[:, None] + (k * self._vertices)[..., None]
        colour = sample_plates(self._views.pixels, self._cameras, k, u, v)
        for count in self._counts[self._counts > 1]:
            large = ((self._samples[t] == int(count)) & ~padded).nonzero()[:, 0]
            if len(large):
                seen = score[large] > 0
                colour[large] = self._mean(t[large], weights[large], corner[large], k[large], seen, int(count))
        colour = colour * self._gains[k] + mixed(self._correction, corner, weights)
        weight = self._weigh(score, next_best, colour)
        ground = (weights[..., None] * self._shared[triangle]).sum(1)
        value = TRUST * ground + (weight[..., None] * colour).sum(1)
        value = value * (self._white / 255) / (TRUST + weight.sum(1, keepdim=True))
        best = score[:, 0]
        cover = (255 * best.clamp(max=1) ** self._root + 0.5).clamp(min=1)
        cover = torch.where((best > 0) & ~padded, cover, 0.0).to(torch.uint8)
        return (value + 0.5).clamp(0, self._white).int(), cover

    def _choose(self, t: Tensor, weights: Tensor, triangle: Tensor) -> tuple[Tensor, ...]:
        """The best views of each point: which, score (0: no more), u, v, [M, best]; the score of the next [M, 1]."""
        k = self._order[t]  # [M, C]
        tried, k = k >= 0, k.clamp(min=0)
        x, y, z, du, dv, score = mixed(
            self._place, triangle[:, None] + (k * self._vertices)[..., None], weights
        ).unbind(-1)
        tried &= (score > 0) & (z > 0)
        u, v = x / z, y / z
        tried &= sees(self._views.codes, self._cameras, k, self._views.tolerance, u, v, z)
        score, slot = torch.where(tried, score, 0.0).sort(dim=1, descending=True, stable=True)
        best = min(self._best, k.shape[1])
        next_best = score[:, best : best + 1] if k.shape[1] > best else torch.zeros_like(score[:, :1])
        score, slot = score[:, :best], slot[:, :best]
        u, v = (torch.where(score > 0, p.gather(1, slot), 0.5) for p in (u + du, v + dv))
        return k.gather(1, slot), score, u, v, next_best

    def _mean(self, t: Tensor, weights: Tensor, corner: Tensor, k: Tensor, seen: Tensor, count: int) -> Tensor:
        """Mean of the plates over a texel, `count` samples along each axis.  # [M, best, 3]."""
        slope = self._flat.slope[t]  # [M, 2, 2]
        slope = torch.cat([slope, -slope.sum(1, keepdim=True)], 1)  # [M, 3, 2]
        place = [self._place[corner[..., i]][..., :SCORE] for i in range(3)]  # once: samples differ by weights alone
        total = torch.zeros((*k.shape, 3), device=k.device)
        for j in range(count):
            for i in range(count):
                step = torch.tensor([(i + 0.5) / count - 0.5, (j + 0.5) / count - 0.5], device=k.device)
                here = weights + slope @ step
                x, y, z, du, dv = sum(here[:, n, None, None] * place[n] for n in range(3)).unbind(-1)
                u, v = (torch.where(seen, p, 0.5) for p in (x / z + du, y / z + dv))
                total += sample_plates(self._views.pixels, self._cameras, k, u, v)
        return total / count**2

    @staticmethod
    def _weigh(score: Tensor, next_best: Tensor, colour: Tensor) -> Tensor:
        """Of each view in its texel: fading to where another takes its place, outliers held down.  # [M, best]."""
        used = score > 0
        weight = torch.where(used, score * (1 - (next_best / torch.where(used, score, 1.0)) ** 8), 0.0)
        luma = sum(share * colour[..., d] for d, share in enumerate(LUMA))
        count = used.sum(1, keepdim=True)
        ordered = torch.where(used, luma, torch.inf).sort(1).values
        low = ordered.gather(1, (count - 1).clamp(min=0) // 2)
        high = ordered.gather(1, (count // 2).clamp(max=used.shape[1] - 1))
        held = weight / (1 + ((luma - 0.5 * (low + high)) / OUTLIER) ** 2)
        return torch.where(count >= 3, torch.where(used, held, 0.0), weight)


def mixed(values: Tensor, corner: Tensor, weights: Tensor) -> Tensor:
    """`values` [K V, n], linear on the surface, at points `weights` [M, 3] of `corner` [M, C, 3].  # [M, C, n]."""
    return sum(weights[:, i, None, None] * values[corner[..., i]] for i in range(3))
