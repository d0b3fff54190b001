"""A second look at a solved frame, independent of the method that solved it: do the vertices wear their own colours?

Every vertex's colour in every camera is remembered from the reference frame. In a solved frame the difference over the
colour's slope tells by how many pixels the surface could have missed its place. Only what differs from one ring of
vertices to the next counts: light changes slowly over the skin, a surface that missed its place does not. Done on
small, soft pictures: it finds regions that are lost, not fine errors, and it costs little.
"""

from __future__ import annotations

import cv2
import numpy as np
import scipy.sparse as sp

from ..capture import Camera
from ..template import Template
from .appearance import THREADS
from .sight import SmallViews

Array = np.ndarray
GAIN_STEP = 4  # one vertex in so many tells a camera's gain
REACH = 3  # rings of neighbours over which light is told from misplacement, and a vertex is judged
PLAIN = 1.0  # of the usual slope: where the skin is plainer than that, colours say little about places
AGREED = 1 / 3  # quantile over the cameras: two thirds of them must find a vertex out of place
BLANK = 0.1  # a plate with less than this share of its reference's contrast shows nothing
NOTHING = 0.01  # of the contrast that some other plate has: nothing is to be seen in less
LEAST = 2e-3  # of full scale: half a level of 8 bits, in which no head could be tracked
THUMBNAIL = 32  # pixels: the longer side at which contrast is measured, without the noise of sensors


class Witness:
    """Remembers a reference frame and compares others with it."""

    def __init__(self, template: Template, cameras: tuple[Camera, ...], scales: list[int]):
        """For plates of `cameras` (no lens distortion) reduced by `scales`."""
        self.views = SmallViews(template, cameras)
        trios = zip(cameras, self.views.cameras, scales, strict=True)
        self.pixel = float(np.median([camera.width / small.width / scale for camera, small, scale in trios]))
        count = len(template.vertices)
        self._ring = ring_mean(template.edges, count)
        self._look = (1.0 - template.roles.get("t4d_ignore", np.zeros(count))).astype(np.float32)
        self._contrast = np.zeros(len(cameras))
        self.chance = np.inf  # the median miss of pictures that have nothing to do with the reference

    def remember(self, vertices: Array, plates: list[Array | None]) -> None:
        """Take `vertices` [V, 3] and their plates (float32, working size; None: missing) as the reference."""
        self._reference = self.views.see(vertices, self.views.pictures(plates), slopes=True)
        self._contrast = np.nan_to_num(_contrasts(plates))
        turned = [None if plate is None else np.ascontiguousarray(plate[::-1, ::-1]) for plate in plates]
        misses = self.miss(vertices, turned)
        self.chance = float(np.nanmedian(misses)) if np.isfinite(misses).any() else np.inf

    def blank(self, plates: list[Array | None]) -> list[int]:
        """The cameras whose plate shows nothing: beside what the reference showed, or beside the other plates."""
        contrast = _contrasts(plates)
        return _below(contrast, np.maximum(_nothing(contrast), BLANK * self._contrast))

    @staticmethod
    def nothing(plates: list[Array | None]) -> list[int]:
        """The cameras whose plate shows nothing (black, white, a closed shutter), as these `plates` alone tell."""
        contrast = _contrasts(plates)
        return _below(contrast, _nothing(contrast))

    def miss(self, vertices: Array, plates: list[Array | None]) -> Array:
        """By how many pixels (at working size) each vertex may have missed its place.  # [V]; NaN where unseen.

        Each camera says so by itself and a low quantile holds: a surface that missed its place differs in all cameras
        that see it, a highlight or a shadow that moved over it in some.
        """
        now, then = self.views.see(vertices, self.views.pictures(plates)), self._reference
        both = (now.visible & then.visible).astype(np.float32)
        difference = self._without_light(_beside_gain(now.colours, then.colours, both), both)
        weight = both * self._look[:, None]
        energy = weight * (difference**2).sum(axis=2)
        sums = np.concatenate([energy, weight * then.slopes, weight], axis=1)
        for _ in range(REACH):
            sums = self._ring @ sums
        error, slope, known = np.split(sums[weight.any(axis=1)], 3, axis=1)  # [S, K]
        out = np.full(len(vertices), np.nan)
        if len(error):
            plain = PLAIN * np.median(slope.sum(axis=1) / known.sum(axis=1))  # a plain patch shows no motion
            squared = np.where(known > 0, error / (slope + plain * known + 1e-12), np.inf)
            out[weight.any(axis=1)] = self.pixel * np.sqrt(_quantile(squared, AGREED))
        return out

    def _without_light(self, difference: Array, both: Array) -> Array:
        """`difference` [V, K, 3] less its mean over the rings around each vertex, where `both` [V, K] is known."""
        count, views = both.shape
        sums = np.concatenate([difference.reshape(count, -1), both], axis=1)
        for _ in range(REACH):
            sums = self._ring @ sums
        mean = sums[:, : 3 * views].reshape(count, views, 3) / np.maximum(sums[:, 3 * views :, None], 1e-6)
        return difference - mean


def _quantile(values: Array, share: float) -> Array:
    """The quantile `share` of the finite values in every row of `values` [N, K].  # [N]."""
    ordered = np.sort(values, axis=1)
    place = share * np.maximum(np.isfinite(values).sum(axis=1) - 1, 0)
    low = np.floor(place).astype(int)
    rows, high = np.arange(len(values)), np.ceil(place).astype(int)
    return ordered[rows, low] + (place - low) * (ordered[rows, high] - ordered[rows, low])


def ring_mean(edges: Array, count: int) -> sp.csr_matrix:
    """The mean over a vertex and its neighbours.  # [V, V] float32."""
    both = np.concatenate([edges, edges[:, ::-1], np.repeat(np.arange(count)[:, None], 2, axis=1)])
    ring = sp.csr_matrix((np.ones(len(both), np.float32), both.T), shape=(count, count))
    return (sp.diags(1 / np.asarray(ring.sum(1), np.float32).ravel()) @ ring).tocsr()


def _beside_gain(now: Array, then: Array, both: Array) -> Array:
    """`now` - gain `then` [V, K, 3] where `both` [V, K] are known: one gain a camera and channel, by their medians."""
    gain = np.ones(now.shape[1:], np.float32)
    for k in range(both.shape[1]):
        known = np.flatnonzero(both[:, k])[::GAIN_STEP]
        if len(known):
            gain[k] = np.median(now[known, k], axis=0) / np.maximum(np.median(then[known, k], axis=0), 1e-3)
    return (now - np.clip(gain, 0.5, 2.0) * then) * both[..., None]


def _contrasts(plates: list[Array | None]) -> Array:
    """Contrast of every camera's plate, NaN where it has none.  # [K]."""
    return np.array(list(THREADS.map(lambda plate: np.nan if plate is None else _contrast(plate), plates)))


def _nothing(contrast: Array) -> float:
    """Below which of these contrasts [K] a plate shows nothing."""
    return max(LEAST, NOTHING * np.max(contrast, where=np.isfinite(contrast), initial=0.0))


def _below(contrast: Array, least: Array | float) -> list[int]:
    return [int(k) for k in np.flatnonzero(contrast < least)]


def _contrast(plate: Array) -> float:
    """Standard deviation over a thumbnail of `plate` [H, W, 3]."""
    height, width = plate.shape[:2]
    factor = min(1.0, THUMBNAIL / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return float(cv2.resize(plate, size, interpolation=cv2.INTER_AREA).std(axis=(0, 1)).mean())
