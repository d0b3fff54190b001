"""The comparison of plates that `align` steps by, on a device: twin of `align._Comparing`.

Samples are laid out triangle by triangle once a frame, so that every sum is made segment by segment, in one order.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..track.torch_kernels import blur, sum_segments
from .align import BAND, CELLS, LEAST_SURE, MOST_SAMPLES, SCALE, shrunk_sizes, sureness
from .torch_budget import Budget
from .torch_kernels import Cameras, cubic, cubic_slope, sees, shrink
from .torch_views import TorchViews

Array = np.ndarray


class TorchComparing:
    """Plates of one frame, compared by bands (align.Comparing)."""

    def __init__(
        self,
        budget: Budget,
        views: TorchViews,
        vertices: Array,  # [V, 3] float64
        triangles: Array,  # [T, 3] int32
        scores: Array,  # [V, K] float32
        order: Array,  # [T, C] int16
        gains: Array,  # [K, 3] float32
        ignored: Array,  # [T] bool
        factor: int,  # by which plates are shrunk
    ) -> None:
        """Find where vertices lie in all views and which triangles there is something to compare on."""
        self._budget, self._views, self._gains, self._factor = budget, views, gains, factor
        device = views.device
        self._cameras = Cameras.of(views)
        homogeneous = vertices @ views.projections[:, :, :3].transpose(0, 2, 1) + views.projections[:, None, :, 3]
        self._corners = _best_corners(homogeneous, triangles, order)
        chosen = ~ignored & (order[:, 1] >= 0) & (self._corners[..., 2] > 0).all(axis=1)
        self._chosen = np.flatnonzero(chosen)
        seen = np.concatenate([homogeneous, scores.T[..., None]], axis=2)  # [K, V, 4]
        self._values = torch.from_numpy(seen.astype(np.float32)).to(device).flatten(0, 1)
        self._count, self._triangles = len(vertices), torch.from_numpy(triangles.astype(np.int64)).to(device)
        self._order = torch.from_numpy(order.astype(np.int64)).to(device)
        self._shape = order.shape
        self._sizes = shrunk_sizes(views, factor)
        self._starts = np.concatenate([[0], np.cumsum(self._sizes[:, 0] * self._sizes[:, 1])]).astype(np.int64)
        self._bands = torch.zeros(int(self._starts[-1]), dtype=torch.int16, device=device)
        self._sure = torch.zeros(int(self._starts[-1]), dtype=torch.uint8, device=device)
        sizes, starts = torch.from_numpy(self._sizes), torch.from_numpy(self._starts[:-1].copy())
        self._shrunk = Cameras(starts.to(device), sizes.to(device), self._cameras.depths)

    def to_band(self, sigma: float) -> None:
        """Luminance between `sigma` and `BAND` times it, what is not the mesh left out of the blur (align._bands)."""
        for k in np.flatnonzero(self._views.present):
            width, height = (int(n) for n in self._sizes[k])
            self._budget.fitting(lambda _, k=k, w=width, h=height: self._make_band(int(k), w, h, sigma))

    def _make_band(self, k: int, width: int, height: int, sigma: float) -> None:
        factor, device = self._factor, self._views.device
        mix = torch.from_numpy((self._gains[k] * np.array([0.3, 0.6, 0.1], np.float32)).astype(np.float32)).to(device)
        crop = self._views.crop(k)[: height * factor, : width * factor]
        known = (self._views.codes_of(k)[: height * factor, : width * factor] != 0).float()
        if factor > 1:
            crop = shrink(crop, (width, height)).round()
            known = (shrink(known[..., None], (width, height))[..., 0] > 0.99).float()
        luma = crop[..., 0] * mix[0] + crop[..., 1] * mix[1] + crop[..., 2] * mix[2]
        pair = torch.stack([luma * known, known])
        (fine, _), (coarse, share) = (_blurred(pair, s) for s in (sigma, BAND * sigma))
        band = ((fine - coarse) * SCALE).clamp(-32767, 32767).to(torch.int16)
        here = slice(int(self._starts[k]), int(self._starts[k]) + width * height)
        self._bands[here] = band.flatten()
        self._sure[here] = sureness(share).to(torch.uint8).flatten()

    def __call__(self, shifts: Array, robust: np.float32, spacing: float) -> tuple[Array, Array]:
        """As `align._compare`, its powers already summed.  # [T, C, CELLS], [1, 3]."""
        device = self._views.device
        sides = self._samples_a_side(spacing)

        def begin(_: int) -> tuple[Tensor, Tensor]:
            return torch.from_numpy(shifts).to(device).flatten(0, 1), torch.zeros((*self._shape, CELLS), device=device)

        moved, sums = self._budget.fitting(begin)  # [K V, 2], [T, C, CELLS]
        powers = torch.zeros(3, dtype=torch.float64, device=device)
        first, counts = 0, sides[self._chosen] ** 2
        while first < len(self._chosen):

            def work(most: int, first: int = first) -> tuple[int, Tensor, Tensor]:
                room = np.searchsorted(np.cumsum(counts[first:]), most // self._shape[1], side="right")
                last = first + max(int(room), 1)
                return last, *self._compare(self._chosen[first:last], sides, moved, float(robust))

            last, here, power = self._budget.fitting(work)
            sums[torch.from_numpy(self._chosen[first:last]).to(device)] = here
            powers += power
            first = last
        return sums.cpu().numpy(), powers.cpu().numpy()[None]

    def _samples_a_side(self, spacing: float) -> Array:
        """Along how many parts of an edge each triangle is sampled.  # [T]."""
        c = self._corners
        (ua, va), (ub, vb), (uc, vc) = (c[:, i, :2].T / np.where(c[:, i, 2] > 0, c[:, i, 2], 1) for i in range(3))
        area = np.abs((ua - uc) * (vb - vc) - (ub - uc) * (va - vc)) / (2 * self._factor**2)
        return np.clip(np.ceil(np.sqrt(area) / spacing), 1, MOST_SAMPLES).astype(np.int64)

    def _compare(self, chosen: Array, sides: Array, moved: Tensor, robust: float) -> tuple[Tensor, Tensor]:
        """Sums [t, C, CELLS] of the triangles `chosen`, and their powers [3]."""
        views, device = self._views, self._views.device
        owner, weights, counts = (torch.from_numpy(a).to(device) for a in _lay_samples(chosen, sides[chosen]))
        k = self._order[owner]  # [S, C]
        there, k = k >= 0, k.clamp(min=0)
        corner = self._triangles[owner][:, None] + (k * self._count)[..., None]  # [S, C, 3]
        values = sum(weights[:, i, None, None] * self._values[corner[..., i]] for i in range(3))
        x, y, z, score = values.unbind(-1)
        there &= (score > 0) & (z > 0)
        u, v = x / z, y / z
        there &= sees(views.codes, self._cameras, k, views.tolerance, u, v, z)
        shift = sum(weights[:, i, None, None] * moved[corner[..., i]] for i in range(3))
        u, v = (torch.where(there, p + shift[..., d], 0.5) / self._factor for d, p in enumerate((u, v)))
        sure = self._sureness(k, u, v)
        there &= sure >= LEAST_SURE
        value, gu, gv = self._look(k, u, v)
        there &= there.sum(1, keepdim=True) >= 2
        weight = torch.where(there, score**2 * sure, 0.0)
        return self._sum(counts, there, weight, sure, value, gu, gv, robust)

    @staticmethod
    def _sum(
        counts: Tensor, there: Tensor, weight: Tensor, sure: Tensor, value: Tensor, gu: Tensor, gv: Tensor,
        robust: float,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """What samples add up to, from what each view shows there ([S, C] each); see `align._compare`."""
        least = torch.finfo(torch.float32).tiny
        mean = (weight * value).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=least)
        for _ in range(2 if robust > 0 else 0):
            held = weight / (1 + (value - mean) ** 2 * robust)
            mean = (held * value).sum(1, keepdim=True) / held.sum(1, keepdim=True).clamp(min=least)
        r = value - mean
        w = torch.where(there, sure / (1 + r * r * robust), 0.0)
        parts = gu * gu, gu * gv, gv * gv, gu * r, gv * r, r * r, torch.ones_like(r)
        cells = torch.stack([w * part for part in parts], -1)  # [S, C, CELLS]
        sums = sum_segments(cells.flatten(1), counts).view(len(counts), -1, CELLS)
        seen = there.sum(1).double()
        some = seen > 0
        value = torch.where(there, value, 0.0).double()
        plain = value.sum(1) / seen.clamp(min=1)
        own = ((value**2).sum(1) - seen * plain**2) / (seen - 1).clamp(min=1)
        square = torch.where(some, plain**2 - own / seen.clamp(min=1), 0.0)
        return sums, torch.stack([some.double().sum(), square.sum(), torch.where(some, own, 0.0).sum()])

    def _sureness(self, k: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """How sure views `k` are of their bands in the pixel at (u, v), 0..1."""
        width, height = self._shrunk.sizes[k].unbind(-1)
        x, y = (torch.minimum(p.long().clamp(min=0), size - 1) for p, size in ((u, width), (v, height)))
        return self._sure[self._shrunk.starts[k] + y * width + x].float() / 255

    def _look(self, k: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Value and gradient of the bands of views `k` at (u, v), px of the shrunk plates (align._look)."""
        x, y = torch.floor(u - 0.5), torch.floor(v - 0.5)
        fx, fy = u - 0.5 - x, v - 0.5 - y
        wx, dx, wy, dy = cubic(fx), cubic_slope(fx), cubic(fy), cubic_slope(fy)
        width, height = self._shrunk.sizes[k].unbind(-1)
        x, y, start = x.long(), y.long(), self._shrunk.starts[k]
        value, gu, gv = (torch.zeros_like(u) for _ in range(3))
        for j in range(4):
            row = start + torch.minimum((y - 1 + j).clamp(min=0), height - 1) * width
            a, b = torch.zeros_like(u), torch.zeros_like(u)
            for i in range(4):
                p = self._bands[row + torch.minimum((x - 1 + i).clamp(min=0), width - 1)]
                a += wx[i] * p
                b += dx[i] * p
            value += wy[j] * a
            gu += wy[j] * b
            gv += dy[j] * a
        return value / SCALE, gu / SCALE, gv / SCALE


def _best_corners(homogeneous: Array, triangles: Array, order: Array) -> Array:
    """The corners of each triangle in its best view, homogeneous.  # [T, 3, 3]."""
    return homogeneous[np.maximum(order[:, 0], 0)[:, None], triangles]


def _lay_samples(chosen: Array, sides: Array) -> tuple[Array, Array, Array]:
    """The samples of triangles `chosen` [t], `sides` [t] squared each, in order.

    Returns (triangle of each [S], barycentric weights [S, 3] float32, how many each triangle has [t]).
    """
    counts = sides**2
    n = np.repeat(sides, counts)
    sample = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    i, j = sample // n, sample % n
    up = i + j < n
    w0 = np.where(up, i + 1 / 3, n - i - 1 / 3) / n
    w1 = np.where(up, j + 1 / 3, n - j - 1 / 3) / n
    weights = np.stack([w0, w1, 1 - w0 - w1], axis=1).astype(np.float32)
    return np.repeat(chosen, counts), weights, counts


def _blurred(pair: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """The first picture of `pair` [2, H, W], blurred over where the second says that it is known, and of how much.

    # [H, W] each. Borders are mirrored, as OpenCV does.
    """
    reach = int(round(sigma * 8 + 1) | 1) // 2
    for axis in (1, 2):
        mirrored = np.pad(np.arange(pair.shape[axis]), reach, mode="reflect")
        pair = pair.index_select(axis, torch.from_numpy(mirrored).to(pair.device))
    both = blur(pair[None], sigma)[0, :, reach:-reach, reach:-reach]
    return both[0] / both[1].clamp(min=1e-3), both[1]
