"""A second look at a solved frame, independent of the method that solved it: do the vertices wear their own colours?

Every vertex's colour in every camera is remembered from the reference frame. In a solved frame the difference over the
colour's slope tells by how many pixels the surface could have missed its place. Only what differs from one ring of
vertices to the next counts: light changes slowly over the skin, a surface that missed its place does not. Done on
small, soft pictures: it finds regions that are lost, not fine errors, and it costs little.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import scipy.sparse as sp

from ..capture import Camera
from ..raster import rasterise_views
from ..template import Template

Array = np.ndarray
LONGEST = 200  # pixels: the longer side of the pictures looked at
SOFT = 1.0  # pixels of those: sigma of their blur
FACING = 0.25  # least cosine between a vertex's normal and the way to the camera
GAIN_STEP = 4  # one vertex in so many tells a camera's gain
REACH = 3  # rings of neighbours over which light is told from misplacement, and a vertex is judged
PLAIN = 1.0  # of the usual slope: where the skin is plainer than that, colours say little about places
BLANK = 0.1  # a plate with less than this share of its reference's contrast shows nothing
THUMBNAIL = 32  # pixels: the longer side at which contrast is measured, without the noise of sensors


@dataclass(frozen=True)
class Sight:
    """The vertices as the cameras see them in one frame.  K cameras."""

    colours: Array  # [V, K, 3] float32
    slopes: Array  # [V, K] float32: squared colour slope, per squared pixel of the small pictures
    visible: Array  # [V, K] bool


class Witness:
    """Remembers a reference frame and compares others with it."""

    def __init__(self, template: Template, cameras: tuple[Camera, ...], scales: list[int]):
        """For plates of `cameras` (no lens distortion) reduced by `scales`."""
        self._triangles = np.ascontiguousarray(template.triangles, np.int32)
        self._small = [_small(camera) for camera in cameras]
        self._sizes = np.array([(c.height, c.width) for c in self._small], np.int64)
        self._rotations = np.stack([c.rotation for c in self._small])
        self._translations = np.stack([c.translation for c in self._small])
        self._focal = np.array([(c.fx, c.fy) for c in self._small])
        self._principal = np.array([(c.cx, c.cy) for c in self._small])
        self._offsets = np.concatenate([[0], np.cumsum(self._sizes.prod(axis=1))])
        pairs = zip(cameras, self._small, scales, strict=True)
        self.pixel = float(np.median([camera.width / small.width / scale for camera, small, scale in pairs]))
        edges, count = template.edges, len(template.vertices)
        sides = template.vertices[edges[:, 0]] - template.vertices[edges[:, 1]]
        self._slack = float(np.median(np.linalg.norm(sides, axis=1)))
        self._ring = ring_mean(edges, count)
        self._look = (1.0 - template.roles.get("t4d_ignore", np.zeros(count))).astype(np.float32)
        self._contrast = np.zeros(len(cameras))
        self.chance = np.inf  # the median miss of pictures that have nothing to do with the reference

    def remember(self, vertices: Array, plates: list[Array | None]) -> None:
        """Take `vertices` [V, 3] and their plates (float32, working size; None: missing) as the reference."""
        self._reference = self._see(vertices, plates, slopes=True)
        self._contrast = np.array([0.0 if plate is None else _contrast(plate) for plate in plates])
        turned = [None if plate is None else np.ascontiguousarray(plate[::-1, ::-1]) for plate in plates]
        misses = self.miss(vertices, turned)
        self.chance = float(np.nanmedian(misses)) if np.isfinite(misses).any() else np.inf

    def blank(self, plates: list[Array | None]) -> list[int]:
        """The cameras whose plate shows nothing (black, white, a closed shutter), where the reference showed much."""
        return [
            k for k, plate in enumerate(plates) if plate is not None and _contrast(plate) < BLANK * self._contrast[k]
        ]

    def miss(self, vertices: Array, plates: list[Array | None]) -> Array:
        """By how many pixels (at working size) each vertex may have missed its place.  # [V]; NaN where unseen."""
        now, then = self._see(vertices, plates), self._reference
        both = (now.visible & then.visible).astype(np.float32)
        difference = self._without_light(_beside_gain(now.colours, then.colours, both), both)
        weight = both * self._look[:, None]
        energy = weight * (difference**2).sum(axis=2)
        sums = np.stack([energy.sum(axis=1), (weight * then.slopes).sum(axis=1), weight.sum(axis=1)], axis=1)
        for _ in range(REACH):
            sums = self._ring @ sums
        out = np.full(len(vertices), np.nan)
        seen = weight.any(axis=1)
        if seen.any():
            error, slope, views = sums[seen].T
            plain = PLAIN * np.median(slope / views)  # a plain patch shows no motion, whatever its colours do
            out[seen] = self.pixel * np.sqrt(error / (slope + plain * views + 1e-12))
        return out

    def _without_light(self, difference: Array, both: Array) -> Array:
        """`difference` [V, K, 3] less its mean over the rings around each vertex, where `both` [V, K] is known."""
        count, views = both.shape
        sums = np.concatenate([difference.reshape(count, -1), both], axis=1)
        for _ in range(REACH):
            sums = self._ring @ sums
        mean = sums[:, : 3 * views].reshape(count, views, 3) / np.maximum(sums[:, 3 * views :, None], 1e-6)
        return difference - mean

    def _see(self, vertices: Array, plates: list[Array | None], slopes: bool = False) -> Sight:
        count = (len(vertices), len(self._small))
        sight = Sight(np.zeros((*count, 3), np.float32), np.zeros(count, np.float32), np.zeros(count, bool))
        pixels, depth = self._project(vertices)
        nearest = rasterise_views(pixels, depth, self._triangles, self._sizes, self._offsets[:-1])[1]
        facing = self._facing(vertices)
        for k, (camera, plate) in enumerate(zip(self._small, plates, strict=True)):
            if plate is None:
                continue
            size = (camera.width, camera.height)
            seen = np.flatnonzero(facing[:, k] & (depth[k] > 0))
            x, y = pixels[k, seen].T
            seen = seen[(x > 0) & (y > 0) & (x < size[0]) & (y < size[1])]
            x, y = pixels[k, seen].astype(int).T
            buffer = nearest[self._offsets[k] : self._offsets[k + 1]].reshape(size[::-1])
            seen = seen[depth[k, seen] <= buffer[y, x] + self._slack]
            picture = cv2.GaussianBlur(cv2.resize(plate, size, interpolation=cv2.INTER_AREA), (0, 0), SOFT)
            sight.visible[seen, k] = True
            sight.colours[seen, k] = _sample(picture, pixels[k, seen])
            if slopes:
                sight.slopes[seen, k] = _sample(_squared_slope(picture), pixels[k, seen])
        return sight

    def _project(self, vertices: Array) -> tuple[Array, Array]:
        """Pixels [K, V, 2] and depths [K, V] of the vertices in the small pictures, float32."""
        points = np.matmul(vertices, self._rotations.transpose(0, 2, 1)) + self._translations[:, None]
        depth = points[..., 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            pixels = points[..., :2] / depth[..., None] * self._focal[:, None] + self._principal[:, None]
        return np.ascontiguousarray(pixels, np.float32), np.ascontiguousarray(depth, np.float32)

    def _facing(self, vertices: Array) -> Array:
        """Which vertices face which camera.  # [V, K] bool."""
        arm = vertices - vertices.mean(axis=0)  # lengths below are of differences: keep them small
        centres = np.stack([camera.centre for camera in self._small]) - vertices.mean(axis=0)
        normals = vertex_normals(vertices, self._triangles)
        cosine = normals @ centres.T - (normals * arm).sum(axis=1)[:, None]
        squared = (arm**2).sum(axis=1)[:, None] - 2 * arm @ centres.T + (centres**2).sum(axis=1)
        return (cosine > 0) & (cosine**2 > FACING**2 * squared)


def ring_mean(edges: Array, count: int) -> sp.csr_matrix:
    """The mean over a vertex and its neighbours.  # [V, V] float32."""
    both = np.concatenate([edges, edges[:, ::-1], np.repeat(np.arange(count)[:, None], 2, axis=1)])
    ring = sp.csr_matrix((np.ones(len(both), np.float32), both.T), shape=(count, count))
    return (sp.diags(1 / np.asarray(ring.sum(1), np.float32).ravel()) @ ring).tocsr()


def vertex_normals(vertices: Array, triangles: Array) -> Array:
    """Unit normals of the vertices, weighted by area.  # [V, 3]; zero where there is no area."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    area = np.repeat(np.cross(b - a, c - a), 3, axis=0)
    sums = np.stack([np.bincount(triangles.ravel(), area[:, d], len(vertices)) for d in range(3)], axis=1)
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-300)


def _small(camera: Camera) -> Camera:
    """`camera` with pictures at most `LONGEST` pixels long."""
    factor = min(1.0, LONGEST / max(camera.width, camera.height))
    width, height = max(2, round(camera.width * factor)), max(2, round(camera.height * factor))
    x, y = width / camera.width, height / camera.height
    return replace(
        camera, width=width, height=height, fx=camera.fx * x, fy=camera.fy * y, cx=camera.cx * x, cy=camera.cy * y
    )


def _sample(picture: Array, pixels: Array) -> Array:
    """Bilinear values of `picture` at continuous `pixels` [N, 2]: [N] or [N, C]."""
    if not len(pixels):
        return np.zeros((0, *picture.shape[2:]), np.float32)
    places = (pixels - 0.5)[:, None].astype(np.float32)  # upright: cv2.remap knows any number of rows, not of columns
    return cv2.remap(picture, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[:, 0]


def _squared_slope(picture: Array) -> Array:
    """Squared colour slope of the pixels in any one direction, summed over channels.  # [H, W] float32."""
    x = cv2.Scharr(picture, cv2.CV_32F, 1, 0, scale=1 / 32)
    y = cv2.Scharr(picture, cv2.CV_32F, 0, 1, scale=1 / 32)
    return (x**2 + y**2).sum(axis=2) / 2


def _beside_gain(now: Array, then: Array, both: Array) -> Array:
    """`now` - gain `then` [V, K, 3] where `both` [V, K] are known: one gain a camera and channel, by their medians."""
    gain = np.ones(now.shape[1:], np.float32)
    for k in range(both.shape[1]):
        known = np.flatnonzero(both[:, k])[::GAIN_STEP]
        if len(known):
            gain[k] = np.median(now[known, k], axis=0) / np.maximum(np.median(then[known, k], axis=0), 1e-3)
    return (now - np.clip(gain, 0.5, 2.0) * then) * both[..., None]


def _contrast(plate: Array) -> float:
    """Standard deviation over a thumbnail of `plate` [H, W, 3]."""
    height, width = plate.shape[:2]
    factor = min(1.0, THUMBNAIL / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return float(cv2.resize(plate, size, interpolation=cv2.INTER_AREA).std(axis=(0, 1)).mean())
