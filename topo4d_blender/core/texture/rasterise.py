"""Which triangle every texel shows, by whatever can draw triangles here: numba on any machine, nvdiffrast on CUDA.

Both leave the texels of overlapping triangles to the one with the lower number.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np

from ..raster import rasterise

Array = np.ndarray
Rasteriser = Callable[[Array, int], Array]


def rasterise_uv(corners: Array, resolution: int, backend: str = "auto") -> Array:
    """The triangle at every texel's centre, -1 where there is none.  # [R, R] int32, row 0 at the top.

    `corners` [T, 3, 2] are the triangles in texels, y down. `backend` is "auto", "numba" or "nvdiffrast"; "auto" draws
    with numba after all if the other fails (too old, not built for this card, its memory spent).
    """
    if backend != "auto":
        return BACKENDS[backend](corners, resolution)
    try:
        return BACKENDS[choose_backend()](corners, resolution)
    except (RuntimeError, ImportError, OSError):
        return with_numba(corners, resolution)


def choose_backend() -> str:
    """nvdiffrast where a user installed it beside a torch that has a CUDA device; numba otherwise."""
    if find_spec("nvdiffrast") is None or find_spec("torch") is None:
        return "numba"
    import torch

    return "nvdiffrast" if torch.cuda.is_available() else "numba"


def with_numba(corners: Array, resolution: int) -> Array:
    """`rasterise_uv` on the CPU. Depth rises with the number: interpolating equal ones would leave ties to rounding."""
    pixels, depth = corners.reshape(-1, 2), np.repeat(1 + np.arange(len(corners)) / max(len(corners), 1), 3)
    triangles = np.arange(3 * len(corners), dtype=np.int32).reshape(-1, 3)
    return rasterise(pixels, depth, triangles, resolution, resolution)[0]


def with_nvdiffrast(corners: Array, resolution: int) -> Array:
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


BACKENDS: dict[str, Rasteriser] = {"numba": with_numba, "nvdiffrast": with_nvdiffrast}
