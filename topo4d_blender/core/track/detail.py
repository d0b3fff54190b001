"""The skin's detail in the reference frame by all cameras' word: what the slopes of the comparison are made of.

Noise that stays in the picture while the skin moves (a sensor's fixed pattern, dust, a renderer's seed, what a codec
makes of them) is in the frame, in the reference and in the slopes of both. A surface that moves by less than a pixel is
then pulled back to where it was: the noise's difference goes with its own slope, and least squares take that for
motion (measured: a third of it, on skin that moved half a millimetre). Slopes whose noise is another than that of the
differences do not pull (instrumental variables: Reiersøl 1945). Other cameras have another noise of the same skin; so
each reference plate's detail becomes the weighted mean of all that see the same point. What is left of its own noise,
and of the pull, is its own share in that mean: a sixth where ten others see as well, all of it where none does.

Nothing but the slopes is made of it: differences stay between plates of one camera, and are zero in the reference.
Steps so end where detail and differences have nothing in common (Z'Wr = 0), which without noise is the least energy.
Knows the reference's plates and mesh, nothing of other frames.
"""

from __future__ import annotations

import cv2
import numba as nb
import numpy as np

from .appearance import THREADS, Projection, project, reach
from .kernels import BANDS, cubic, hidden, jit
from .pyramid import LevelCameras
from .sight import face_normals
from .surface import Surface

Array = np.ndarray
WIDTH = 4.0  # pixels: sigma of the blur that detail is finer than
# Of the camera's own plate among the others', each at most 1: they see gloss elsewhere, and where the mesh is not
# quite right they see another place. More suits a mouth, less suits noise (measured on six captures).
OWN = 2.0
FACING = 0.35  # cosine between a triangle's normal and the way to a camera, below which it has nothing to say
LIGHT = 5.0  # a camera that shows a point more than this many times brighter or darker has nothing to say of it
BLANK = 0.25  # of the median camera's contrast: a plate with less shows no skin (a closed shutter, a flash)


def share_detail(surface: Surface, level: LevelCameras, vertices: Array, image: Array) -> Array:
    """`image` [P] of the mesh at `vertices` [V, 3], its detail the mean of all cameras'.  # [P] float32.

    Light and gain stay each camera's own: what is coarser than `WIDTH`, and its share of the detail's contrast. As it
    was beside the mesh and where a camera shows no skin; NaN where it has no plate.
    """
    seen = project(vertices, surface.triangles, level)
    low, high, there = _split(level, seen, image)
    normals = face_normals(vertices, surface.triangles)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)
    turn = np.einsum("jab,kcb->kjac", level.rotations, level.rotations)  # [K, K, 3, 3] from camera k's space to j's
    shift = level.translations[None] - np.einsum("kjab,kb->kja", turn, level.translations)
    shared = image.copy()
    _mean(
        seen.ids, seen.depth, np.einsum("kab,tb->kta", level.rotations, normals).astype(np.float32), low, high, there,
        turn.astype(np.float32), shift.astype(np.float32), level.intrinsics.astype(np.float32), level.sizes,
        level.offsets, np.float32(reach(surface, level, seen.vertex_depth)), shared,
    )  # fmt: skip
    return shared


def _split(level: LevelCameras, seen: Projection, image: Array) -> tuple[Array, Array, Array]:
    """What of `image` on the mesh is coarser and finer than `WIDTH` [P], and which cameras show skin [K]."""
    low, high = np.zeros_like(image), np.zeros_like(image)
    there = np.array([bool(np.isfinite(level.view(image, k)[0, 0])) for k in range(len(level.sizes))])
    contrast = np.zeros(len(there))

    def work(k: int) -> None:
        mask = (level.view(seen.ids, k) >= 0).astype(np.float32)
        picture = level.view(image, k)
        around = cv2.GaussianBlur(mask, (0, 0), WIDTH, borderType=cv2.BORDER_CONSTANT)
        soft = cv2.GaussianBlur(picture * mask, (0, 0), WIDTH, borderType=cv2.BORDER_CONSTANT)
        level.view(low, k)[:] = soft / np.maximum(around, 1e-3)
        level.view(high, k)[:] = (picture - level.view(low, k)) * mask
        contrast[k] = np.sqrt((level.view(high, k) ** 2).sum() / max(mask.sum(), 1))

    list(THREADS.map(work, np.flatnonzero(there)))
    usual = np.median(contrast[there]) if there.any() else 0.0
    return low, high, there & (contrast > BLANK * usual)


@jit
def _mean(
    ids,  # [P] int32: the triangle seen at each pixel
    depth,  # [P] float32: the z-buffer
    normals,  # [K, T, 3] float32: of the triangles, in each camera's space
    low,  # [P] float32: what is coarser than detail
    high,  # [P] float32: detail
    there,  # [K] bool: which cameras show skin
    turn,  # [K, K, 3, 3] float32: from the first camera's space to the second's
    shift,  # [K, K, 3] float32
    intrinsics,  # [K, 4] float32: fx fy cx cy
    sizes,  # [K, 2] int64
    offsets,  # [K] int64
    tolerance,  # world units: how far from another z-buffer a point may lie and still be seen there
    shared,  # out [P] float32, where such a camera sees the mesh
):
    """Every camera's plate with the mean detail of all; each counts by the square of how finely it sees the point,
    pixels an area relative to this camera's, at most as 1.

    Detail is scaled by what is coarser in the one plate over the other: reflectance is, and light and gain are not
    shared.
    """
    one, half = np.float32(1.0), np.float32(0.5)
    for job in nb.prange(sizes.shape[0] * BANDS):
        k = job // BANDS
        if not there[k]:
            continue
        height, width = sizes[k]
        fx, fy, cx, cy = intrinsics[k]
        first = job % BANDS * height // BANDS
        for p in range(offsets[k] + first * width, offsets[k] + (job % BANDS + 1) * height // BANDS * width):
            if ids[p] < 0:
                continue
            z = depth[p]
            x = (np.float32((p - offsets[k]) % width) + half - cx) / fx * z
            y = (np.float32((p - offsets[k]) // width) + half - cy) / fy * z
            nx, ny, nz = normals[k, ids[p]]
            away = x * x + y * y + z * z
            facing = abs(nx * x + ny * y + nz * z) / np.sqrt(away)
            side = -np.sign(nx * x + ny * y + nz * z)  # of the normal that this camera sees, however it is wound
            fine = max(facing, np.float32(0.05)) * fx * fx / away
            total, weight = np.float32(OWN) * high[p], np.float32(OWN)
            for j in range(sizes.shape[0]):
                if j == k or not there[j]:
                    continue
                r, s = turn[k, j], shift[k, j]
                px = r[0, 0] * x + r[0, 1] * y + r[0, 2] * z + s[0]
                py = r[1, 0] * x + r[1, 1] * y + r[1, 2] * z + s[1]
                pz = r[2, 0] * x + r[2, 1] * y + r[2, 2] * z + s[2]
                if not pz > 0:
                    continue
                far = px * px + py * py + pz * pz
                mx = r[0, 0] * nx + r[0, 1] * ny + r[0, 2] * nz
                my = r[1, 0] * nx + r[1, 1] * ny + r[1, 2] * nz
                mz = r[2, 0] * nx + r[2, 1] * ny + r[2, 2] * nz
                cosine = -side * (mx * px + my * py + mz * pz) / np.sqrt(far)
                u = intrinsics[j, 0] * px / pz + intrinsics[j, 2] - half
                v = intrinsics[j, 1] * py / pz + intrinsics[j, 3] - half
                wide = sizes[j, 1]
                if cosine < FACING or not (u >= 1 and v >= 1 and u < wide - 2 and v < sizes[j, 0] - 2):
                    continue
                iu, iv = int(u), int(v)
                q = offsets[j] + iv * wide + iu
                if hidden(depth, q, wide, pz, tolerance):
                    continue
                if not (low[p] < np.float32(LIGHT) * low[q] and low[q] < np.float32(LIGHT) * low[p]):
                    continue
                share = min(one, cosine * intrinsics[j, 0] * intrinsics[j, 0] / far / fine) ** 2
                detail = cubic(high, q, wide, u - np.float32(iu), v - np.float32(iv))
                total += share * detail * low[p] / low[q]
                weight += share
            shared[p] = low[p] + total / weight
