"""backproject.py on a device: what plates hold beyond the map, drawn view by view, gathered texel by texel.

The same step with one difference: a plate's pixel belongs to the nearest triangle there, asked of a z-buffer, instead
of to whichever of those within the tolerance was asked last.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .backproject import BANDS, OUTLIER, STEPS, drawn_at, tell_nothing
from .blend import CORRECTION, SHIFT
from .torch_blend import Flat, mixed
from .torch_budget import Budget
from .torch_fill import between
from .torch_kernels import Cameras, sees
from .torch_views import TorchViews, nearest_triangles
from .uv import EMPTY, UvMap

Array = np.ndarray
_QUARTERS = (-0.25, 0.25)  # of a pixel: its four samples


class BackProjection:
    """One frame's plates against one map; `add` changes the map."""

    def __init__(
        self,
        budget: Budget,
        texture: Tensor,  # [R, R, 3] uint8, or int16 with the bits of unsigned ones
        ids: Tensor,  # [R, R] int32
        uv_map: UvMap,
        shrink: int,
        sources: Array,  # [T, S] int16
        triangles: Array,  # [T, 3] int32
        ignored: Array,  # [T] bool
        views: TorchViews,
        linear: Array,  # [K, V, 9]
        gains: Array,  # [K, 3]
        power: float,
    ) -> None:
        """Arguments as of `backproject.back_project`; `shrink` is what `drawn_at` says."""
        self._budget, self._views, self._cameras = budget, views, Cameras.of(views)
        self._texture, self._ids, self._shrink = texture, ids, shrink
        self._white = 65535 if texture.dtype == torch.int16 else 255
        self._linear, self._triangles, self._corners = linear, triangles, uv_map.corners / shrink
        self._sources = np.where(tell_nothing(ignored, uv_map)[:, None], -1, sources)
        self._gains, self._root = torch.from_numpy(gains).to(views.device), 1 / power
        self._missing = torch.zeros((len(views.codes), 3), dtype=torch.int8, device=views.device)

    def add(self, strength: float, step: Callable[[], None]) -> None:
        """Add what is missing, `strength` times; calls `step` BANDS times."""
        self._miss_in_all(step)
        self._budget.fitting(lambda _: self._prepare())
        rows = len(self._ids) // self._shrink
        for band in range(BANDS // 2):
            first, last = band * rows * 2 // BANDS, (band + 1) * rows * 2 // BANDS
            while first < last:

                def work(most: int, first: int = first, last: int = last) -> int:
                    end = min(first + max(most // rows, 1), last)
                    self._add(strength, first, end, rows)
                    return end

                first = self._budget.fitting(work)
            step()

    def _miss_in_all(self, step: Callable[[], None]) -> None:
        """`_miss` in every view; calls `step` half of BANDS times."""
        drawn = self._budget.fitting(lambda _: self._shrunk())
        triangles = self._triangles.astype(np.int64)
        mesh = self._budget.fitting(lambda _: torch.from_numpy(triangles).to(self._views.device))
        for part in np.array_split(np.flatnonzero(self._views.present), BANDS // 2):
            for k in part:
                self._budget.fitting(lambda most, k=int(k): self._miss(k, drawn, mesh, most))
            step()

    def _shrunk(self) -> Tensor:
        """The map that is drawn from, in its own numbers.  # [r, r, 3]."""
        if self._shrink == 1:
            return self._texture
        strips = []
        for whole in self._texture.split(512 * self._shrink):
            mean = F.avg_pool2d(_unsigned(whole).float().permute(2, 0, 1), self._shrink).permute(1, 2, 0)
            strips.append((mean + 0.5).int().to(whole.dtype))
        return torch.cat(strips)

    def _miss(self, k: int, drawn: Tensor, mesh: Tensor, most: int) -> None:
        """What the trusted pixels of view `k` have beyond the map `drawn` into it."""
        values, device = self._linear[k], self._views.device
        ahead = values[:, 2] > 0
        z = np.where(ahead, values[:, 2], 1.0)
        pixels = values[:, :2] / z[:, None] + values[:, SHIFT : SHIFT + 2]
        _, _, width, height = (int(n) for n in self._views.boxes[k])
        nearest = nearest_triangles(pixels, np.where(ahead, z, -1.0), mesh, width, height, 8 * most)
        chosen = torch.from_numpy((self._sources == k).any(axis=1)).to(device)
        trusted = F.max_pool2d((self._views.codes_of(k) == 0).float()[None], 3, 1, 1)[0] == 0
        trusted[0], trusted[-1], trusted[:, 0], trusted[:, -1] = False, False, False, False
        found = (nearest >= 0) & trusted & chosen[nearest.clamp(min=0)]
        flat = Flat.of(pixels[self._triangles], device)
        inverse = 1 / z[self._triangles]  # [T, 3]
        place = np.concatenate(
            [inverse[..., None], self._corners * inverse[..., None], values[self._triangles, CORRECTION:]], axis=2
        )
        place = torch.from_numpy(place.astype(np.float32)).to(device)  # [T, 3, 6]
        near, step = (float(value) for value in self._views.depth_range[k])
        for y, x in (pair.unbind(1) for pair in found.nonzero().split(most)):
            t = nearest[y, x]
            weights = flat.weights(t, x, y, torch.zeros_like(t, dtype=torch.bool))
            at = place[t]
            depth = 1 / (weights * at[..., 0]).sum(1)
            code = self._views.codes_of(k)[y, x].int() & 0xFFFF
            seen = (depth <= near + step * code + self._views.tolerance) & (weights >= 0).all(1)
            own = self._views.crop(k)[y, x] * self._gains[k] + (weights[..., None] * at[..., 3:]).sum(1)
            lacks = own - self._drawn(drawn, flat.slope[t], weights, at) * (255 / self._white)
            trust = STEPS / (1 + (lacks.sum(1, keepdim=True) / (3 * OUTLIER)) ** 2)
            lacks = torch.where(seen[:, None], lacks * trust, 0.0).clamp(-127, 127).round()
            start = int(self._views.starts[k])
            self._missing[start + y * width + x] = lacks.to(torch.int8)

    def _drawn(self, drawn: Tensor, slope: Tensor, weights: Tensor, at: Tensor) -> Tensor:
        """Mean of the map `drawn` over pixels whose centres have `weights` [M, 3], four samples.  # [M, 3]."""
        total = torch.zeros_like(weights)
        height, width = drawn.shape[:2]
        for dy in _QUARTERS:
            for dx in _QUARTERS:
                two = weights[:, :2] + slope[..., 0] * dx + slope[..., 1] * dy
                here = torch.cat([two, 1 - two.sum(1, keepdim=True)], 1)
                inverse, u, v = (here[..., None] * at[..., :3]).sum(1).unbind(1)
                u, v = u / inverse - 0.5, v / inverse - 0.5
                x, y = u.long().clamp(0, width - 2), v.long().clamp(0, height - 2)
                fx, fy = (u - x)[:, None], (v - y)[:, None]
                upper = (1 - fx) * _unsigned(drawn[y, x]) + fx * _unsigned(drawn[y, x + 1])
                lower = (1 - fx) * _unsigned(drawn[y + 1, x]) + fx * _unsigned(drawn[y + 1, x + 1])
                total += 0.25 * ((1 - fy) * upper + fy * lower)
        return total

    def _prepare(self) -> None:
        """What `_gather` looks up, on the device."""
        device, half = self._views.device, self._shrink // 2
        self._coarse = self._ids[half :: self._shrink, half :: self._shrink]
        self._flat = Flat.of(self._corners, device)
        place = np.ascontiguousarray(self._linear[..., :CORRECTION], np.float32)
        self._place = torch.from_numpy(place).to(device).flatten(0, 1)
        self._chosen = torch.from_numpy(self._sources.astype(np.int64)).to(device)
        self._mesh = torch.from_numpy(self._triangles.astype(np.int64)).to(device)

    def _gather(self, first: int, last: int) -> Tensor:
        """What pixels miss at the texels of the coarse rows from `first` to before `last`.  # [n, r, 3] float32."""
        ids = self._coarse[first:last]
        lacking = torch.zeros((*ids.shape, 3), device=ids.device)
        y, x = (ids != EMPTY).nonzero().unbind(1)
        if not len(x):
            return lacking
        code = ids[y, x]
        padded = code < 0
        t = torch.where(padded, EMPTY - 1 - code, code).long()
        weights = self._flat.weights(t, x, y + first, padded)
        k = self._chosen[t]
        tried, k = k >= 0, k.clamp(min=0)
        corner = self._mesh[t][:, None] + (k * self._linear.shape[1])[..., None]
        px, py, z, du, dv, score = mixed(self._place, corner, weights).unbind(-1)
        tried &= (score > 0) & (z > 0)
        px, py = px / z, py / z
        tried &= sees(self._views.codes, self._cameras, k, self._views.tolerance, px, py, z)
        px, py = (torch.where(tried, p, 0.5).long() for p in (px + du, py + dv))
        width, height = self._cameras.sizes[k].unbind(-1)
        tried &= (px >= 0) & (py >= 0) & (px < width) & (py < height)
        at = torch.where(tried, self._cameras.starts[k] + py * width + px, 0)
        weight = torch.where(tried, score.clamp(min=0) ** self._root, 0.0)
        total = weight.sum(1, keepdim=True)
        mean = (weight[..., None] * self._missing[at]).sum(1) / (STEPS * total)
        lacking[y, x] = torch.where(total > 0, mean, 0.0)
        return lacking

    def _add(self, strength: float, first: int, last: int, rows: int) -> None:
        """Add what pixels miss to the texels under the coarse rows from `first` to before `last`."""
        low, high = max(first - 1, 0), min(last + 1, rows)  # a row more on either side, to interpolate with
        lacking = self._gather(low, high)
        part = slice(first * self._shrink, last * self._shrink)
        fine = torch.arange(part.start, part.stop, device=lacking.device) - low * self._shrink
        lacking = between(lacking, 0, fine, self._shrink)
        lacking = between(lacking, 1, torch.arange(self._texture.shape[1], device=lacking.device), self._shrink)
        texture = self._texture[part]
        value = _unsigned(texture) + (strength * self._white / 255) * lacking + 0.5
        value = value.clamp(0, self._white).int().to(texture.dtype)
        self._texture[part] = torch.where((self._ids[part] != EMPTY)[..., None], value, texture)


def _unsigned(texture: Tensor) -> Tensor:
    return texture.int() & 0xFFFF if texture.dtype == torch.int16 else texture


def back_project(
    budget: Budget,
    texture: Tensor,
    ids: Tensor,
    uv_map: UvMap,
    span: float,
    strength: float,
    *arguments: object,  # sources, triangles, ignored, views, linear, gains, power
    step: Callable[[], None] = lambda: None,
) -> None:
    """`backproject.back_project` of a `texture` on the device whose `ids` lie there too."""
    shrink = drawn_at(span, strength, uv_map.resolution)
    if shrink == 0:
        for _ in range(BANDS):
            step()
        return
    begun = budget.fitting(lambda _: BackProjection(budget, texture, ids, uv_map, shrink, *arguments))
    begun.add(strength, step)
