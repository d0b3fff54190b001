"""What the texture tables are made of: a mesh drawn with its map, a plain average to compare with, scores of pictures.

The drawing does not share the bake's sampling: rays a third of a pixel apart, the map bicubic at the nearest mip level,
then a Lanczos reduction. A box over the pixel is not laid on: the plates that made the map were integrated over their
own pixels already, and twice would be one blur more than a plate has.
"""

from __future__ import annotations

import cv2
import numba as nb
import numpy as np
from PIL import Image

from topo4d_blender.core.capture import Camera
from topo4d_blender.core.raster import rasterise
from topo4d_blender.core.template import Template
from topo4d_blender.core.texture.fill import fill_empty
from topo4d_blender.core.texture.frame import Canvas, Solved
from topo4d_blender.core.texture.kernels import barycentric, cubic, project, sample_plate, sees
from topo4d_blender.core.texture.survey import vertex_normals

Array = np.ndarray
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_RAYS = 3  # along each axis of a pixel
_FACING = 0.3  # cosine below which a pixel is not scored


def draw(texture: Array, vertices: Array, template: Template, camera: Camera) -> tuple[Array, Array]:
    """The mesh as `camera` sees it [H, W, 3] float32, and each pixel's triangle [H, W], -1 where there is none."""
    triangles = np.ascontiguousarray(template.triangles, np.int32)
    pixels, depth = camera.project(vertices)
    ids, _ = rasterise(pixels * _RAYS, depth, triangles, camera.width * _RAYS, camera.height * _RAYS)
    levels = [texture]
    while len(levels[-1]) > 256:
        levels.append(cv2.resize(levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    starts = np.concatenate([[0], np.cumsum([level.size for level in levels])])
    uv = template.uv[template.triangle_loops].astype(np.float64)
    texels = np.sqrt(_areas(uv * len(texture)) / np.maximum(_areas(pixels[triangles] * _RAYS), 1e-9))
    level = np.clip(np.round(np.log2(np.maximum(texels, 1e-6))), 0, len(levels) - 1).astype(np.int64)
    out = np.zeros((*ids.shape, 3), np.float32)
    sizes, flat = np.array([len(one) for one in levels]), np.concatenate([one.ravel() for one in levels])
    _shade(ids, pixels, depth, triangles, uv, level, flat, sizes, starts, out)
    size = camera.width, camera.height
    small = [np.asarray(Image.fromarray(out[..., c]).resize(size, Image.Resampling.LANCZOS)) for c in range(3)]
    whole = (ids >= 0).reshape(camera.height, _RAYS, camera.width, _RAYS).all(axis=(1, 3))
    return np.stack(small, axis=-1), np.where(whole, ids[_RAYS // 2 :: _RAYS, _RAYS // 2 :: _RAYS], -1)


def _areas(corners: Array) -> Array:
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])


@nb.njit(cache=True, parallel=True)
def _shade(ids, pixels, depth, triangles, uv, level, flat, sizes, starts, out):
    for y in nb.prange(ids.shape[0]):
        for x in range(ids.shape[1]):
            t = ids[y, x]
            if t < 0:
                continue
            corner = pixels[triangles[t]]
            w0, w1, w2 = barycentric(corner, (x + 0.5) / _RAYS, (y + 0.5) / _RAYS, False)
            w0, w1, w2 = w0 / depth[triangles[t, 0]], w1 / depth[triangles[t, 1]], w2 / depth[triangles[t, 2]]
            s = w0 + w1 + w2
            n = sizes[level[t]]
            u = (w0 * uv[t, 0, 0] + w1 * uv[t, 1, 0] + w2 * uv[t, 2, 0]) / s * n - 0.5
            v = (1 - (w0 * uv[t, 0, 1] + w1 * uv[t, 1, 1] + w2 * uv[t, 2, 1]) / s) * n - 0.5
            left, top = int(np.floor(u)), int(np.floor(v))
            wu, wv = cubic(u - left), cubic(v - top)
            for j in range(4):
                row = min(max(top - 1 + j, 0), n - 1) * n
                for i in range(4):
                    at = starts[level[t]] + 3 * (row + min(max(left - 1 + i, 0), n - 1))
                    for c in range(3):
                        out[y, x, c] += wu[i] * wv[j] * flat[at + c]


def plain_average(canvas: Canvas, solved: Solved) -> tuple[Array, Array]:
    """What a plain bake gives: the mean of every camera that sees a texel, by cosine squared; and where any does."""
    v, size = solved.views, canvas.uv_map.resolution
    texture, seen = np.zeros((size, size, 3), np.uint8), np.zeros((size, size), np.bool_)
    normals = vertex_normals(solved.vertices, canvas.triangles)
    _plain(
        texture, seen, canvas.uv_map.ids, canvas.uv_map.corners, solved.vertices, canvas.triangles, normals, v.centres,
        v.present, v.boxes, v.projections, v.starts, v.depth_range, v.tolerance, v.pixels, v.codes,
    )  # fmt: skip
    fill_empty(texture, ~seen)
    return texture, seen


@nb.njit(cache=True, parallel=True)
def _plain(
    texture, seen, ids, corners, vertices, triangles, normals, centres,
    present, boxes, projections, starts, depth_range, tolerance, pixels, codes,
):  # fmt: skip
    for y in nb.prange(ids.shape[0]):
        p, n, mean, scratch = np.zeros(3), np.zeros(3), np.zeros(3), np.zeros(16, np.float32)
        for x in range(ids.shape[1]):
            t = ids[y, x]
            if t < 0:
                continue
            w = barycentric(corners[t], x + 0.5, y + 0.5, False)
            p[:] = n[:] = mean[:] = 0
            for i in range(3):
                p += w[i] * vertices[triangles[t, i]]
                n += w[i] * normals[triangles[t, i]]
            total = 0.0
            for k in range(len(present)):
                ray = centres[k] - p
                cosine = (ray * n).sum() / np.sqrt((ray * ray).sum())
                u, v, z = project(projections[k], p)
                if not present[k] or cosine <= 0 or z <= 0:
                    continue
                near, step = depth_range[k]
                if not sees(codes, starts[k], boxes[k, 2], boxes[k, 3], near, step, tolerance, u, v, z):
                    continue
                r, g, b = sample_plate(pixels, starts[k], boxes[k, 2], boxes[k, 3], u, v, scratch)
                total += cosine**2
                mean[0] += cosine**2 * r
                mean[1] += cosine**2 * g
                mean[2] += cosine**2 * b
            if total > 0:
                seen[y, x] = True
                for c in range(3):
                    texture[y, x, c] = np.uint8(min(max(mean[c] / total + 0.5, 0), 255))


def scored_pixels(ids: Array, vertices: Array, triangles: Array, camera: Camera, face: Array) -> Array:
    """Pixels [H, W] bool on the face, `face` [V] bool, that are not too aslant."""
    corners = vertices[triangles]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    ray = camera.centre - corners.mean(axis=1)
    cosine = (normal * ray).sum(1) / np.maximum(np.linalg.norm(normal, axis=1) * np.linalg.norm(ray, axis=1), 1e-30)
    return (ids >= 0) & ((cosine > _FACING) & face[triangles].all(axis=1))[ids]


def compare(drawn: Array, plate: Array, mask: Array) -> dict[str, float]:
    """Scores of a re-rendered view where `mask`, its gain (which nobody knows) fitted.

    psnr, ssim (Wang et al. 2004, of luminance); `high` and `band`: energy above 2 px and between 1 and 4 px (standard
    deviations of Gaussians) over the plate's own; `common`: the covariance above 2 px, to which no noise adds; `own`:
    the plate's energy there.
    """
    plate = plate.astype(np.float32)
    drawn = _balanced(drawn, plate, mask)
    error = ((drawn - plate)[mask] ** 2).mean()
    inner = _inner(mask)
    a, b = drawn @ LUMA, plate @ LUMA
    high_a, high_b = high(a)[inner], high(b)[inner]
    band_a, band_b = (cv2.GaussianBlur(x, (0, 0), 1) - cv2.GaussianBlur(x, (0, 0), 4) for x in (a, b))
    return {
        "psnr": float(10 * np.log10(255**2 / error)),
        "ssim": float(ssim(a, b)[inner].mean()),
        "high": float((high_a**2).mean() / (high_b**2).mean()),
        "band": float((band_a[inner] ** 2).mean() / (band_b[inner] ** 2).mean()),
        "common": float((high_a * high_b).mean()),
        "own": float((high_b**2).mean()),
    }


def noise_free(plate: Array, one: Array, other: Array, mask: Array) -> float:
    """Energy above 2 px of `plate` without its noise, from two views drawn from maps of other cameras, none in both.

    With plate = s + n, one = a s + n1, other = b s + n2 and noises that know nothing of each other, the product of
    plate's covariances with both over theirs is the energy of s. Where a and b fall with frequency it is a little less.
    """
    plate, inner = plate.astype(np.float32), _inner(mask)
    own, first, second = (high(_balanced(p, plate, mask) @ LUMA)[inner] for p in (plate, one, other))
    return float((own * first).mean() * (own * second).mean() / (first * second).mean())


def _balanced(drawn: Array, plate: Array, mask: Array) -> Array:
    gain = [np.median(plate[mask][:, c] / np.maximum(drawn[mask][:, c], 1)) for c in range(3)]
    return drawn * np.array(gain, np.float32)


def _inner(mask: Array) -> Array:
    return cv2.erode(mask.astype(np.uint8), np.ones((13, 13), np.uint8)) > 0


def high(picture: Array) -> Array:
    """What of `picture` [H, W] is finer than a Gaussian of 2 px."""
    return picture - cv2.GaussianBlur(picture, (0, 0), 2)


def ssim(a: Array, b: Array) -> Array:
    """Structural similarity of two pictures [H, W], 0..255, at every pixel: Wang et al., IEEE TIP 2004."""

    def mean(x: Array) -> Array:
        return cv2.GaussianBlur(x, (11, 11), 1.5)

    ma, mb = mean(a), mean(b)
    va, vb, both = mean(a * a) - ma * ma, mean(b * b) - mb * mb, mean(a * b) - ma * mb
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return (2 * ma * mb + c1) * (2 * both + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2))
