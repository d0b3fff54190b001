"""Which triangle every texel shows, by whatever can draw triangles: numba, torch on a device, nvdiffrast on CUDA.

All leave the texels of overlapping triangles to the one with the lower number. nvdiffrast is there only where a user
installed it himself: NVIDIA licenses it for non-commercial use, so nothing needs it and no package of ours brings it.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np

from ..raster import rasterise

Array = np.ndarray
Rasteriser = Callable[[Array, int, str], Array]
_TEXELS = 2**22  # of a map that torch draws at once: bounds its memory to some hundred MB


def rasterise_uv(corners: Array, resolution: int, device: str = "cpu", backend: str = "auto") -> Array:
    """The triangle at every texel's centre, -1 where there is none.  # [R, R] int32, row 0 at the top.

    `corners` [T, 3, 2] are triangles in texels, y down; `device` is a name of torch's. `backend` is "auto" or one of
    BACKENDS; "auto" draws with numba after all if another fails (too old, not built for this card, its memory spent).
    """
    if backend != "auto":
        return BACKENDS[backend](corners, resolution, device)
    try:
        return BACKENDS[choose_backend(device)](corners, resolution, device)
    except (RuntimeError, ImportError, OSError):
        return with_numba(corners, resolution)


def choose_backend(device: str) -> str:
    """On the processor numba; on CUDA nvdiffrast where a user installed it, torch otherwise."""
    if device == "cpu":
        return "numba"
    return "nvdiffrast" if device == "cuda" and find_spec("nvdiffrast") else "torch"


def with_numba(corners: Array, resolution: int, device: str = "cpu") -> Array:
    """`rasterise_uv` on the CPU. Depth rises with the number: interpolating equal ones would leave ties to rounding."""
    pixels, depth = corners.reshape(-1, 2), np.repeat(1 + np.arange(len(corners)) / max(len(corners), 1), 3)
    triangles = np.arange(3 * len(corners), dtype=np.int32).reshape(-1, 3)
    return rasterise(pixels, depth, triangles, resolution, resolution)[0]


def with_torch(corners: Array, resolution: int, device: str) -> Array:
    """`rasterise_uv` by torch operations on `device`, some rows at once; as `with_numba` but for rounding."""
    import torch

    from ..track.torch_raster import rasterise as draw

    count = len(corners)
    depth = torch.from_numpy(np.repeat(1 + np.arange(count) / max(count, 1), 3).astype(np.float32)).to(device)
    triangles = torch.arange(3 * count, device=device).view(-1, 3)
    ids = np.empty((resolution, resolution), np.int32)
    rows = max(1, _TEXELS // resolution)
    for first in range(0, resolution, rows):
        here = (corners.reshape(-1, 2) - (0.0, first)).astype(np.float32)
        height = min(rows, resolution - first)
        drawn, _ = draw(torch.from_numpy(here).to(device)[None], depth[None], triangles, height, resolution)
        ids[first : first + height] = drawn[0].int().cpu().numpy()
    return ids


def with_nvdiffrast(corners: Array, resolution: int, device: str = "cuda") -> Array:
    """`rasterise_uv` by nvdiffrast (0.3.3 or newer: older ones draw 2048 texels at most), which the user installs.

    Its documentation, "Coordinate systems": clip space has y up, and the first row of its output is the bottom one.
    The fourth channel of `rasterize` is the triangle's number plus one, 0 where there is none. Depth rises with the
    number, in steps that float32 tells apart up to 2^23 triangles.
    """
    import nvdiffrast.torch as dr
    import torch

    count = len(corners)
    clip = np.ones((count, 3, 4), np.float32)
    clip[..., 0] = corners[..., 0] * (2 / resolution) - 1
    clip[..., 1] = 1 - corners[..., 1] * (2 / resolution)
    clip[..., 2] = (np.arange(count) / max(count, 1))[:, None]
    position = torch.from_numpy(clip.reshape(1, -1, 4)).cuda()
    triangles = torch.arange(3 * count, dtype=torch.int32, device="cuda").reshape(-1, 3)
    raster, _ = dr.rasterize(
        dr.RasterizeCudaContext(), position, triangles, resolution=[resolution, resolution], grad_db=False
    )
    return np.ascontiguousarray((raster[0, ..., 3].to(torch.int32) - 1).flip(0).cpu().numpy())


BACKENDS: dict[str, Rasteriser] = {"numba": with_numba, "torch": with_torch, "nvdiffrast": with_nvdiffrast}
