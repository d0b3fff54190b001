"""The head's rigid motion: what the skull did, told from what the face did by how little each vertex moves.

Iteratively reweighted least squares (Holland and Welsch 1977) with the weights of Geman and McClure: every round aligns
the template to the frame, then trusts a vertex the less the farther it was left behind. The scale of that trust shrinks
to what the calmest third of the head still moves, so a jaw, lips or brows that move do not pull.
"""

from __future__ import annotations

import numpy as np

from ..capture import Camera
from ..raster import depth_buffer
from ..template import Template
from .rigid import align
from .sight import vertex_normals

Array = np.ndarray
ROUNDS = 60
CALM = 0.3  # share of the head, by area, that is taken to move least with expression
ENOUGH = 4000  # vertices tell the pose; more would take time alone
STATIC = 20.0  # how many times a vertex in t4d_static counts
FACING = 0.15  # least cosine between a vertex's normal and the way to a camera that looks at it
LEAST_LOOK = 160  # pixels: the longer side of the pictures in which visibility is found


def well_seen(template: Template, cameras: tuple[Camera, ...]) -> Array:
    """Vertices of the template where it lies that two cameras (depth takes two) look at, not just along.  # [V] bool.

    Cameras without lens distortion.
    """
    facing = np.zeros((len(cameras), len(template.vertices)))
    normals = vertex_normals(template.vertices, template.triangles)
    edges = template.edges
    length = np.linalg.norm(template.vertices[edges[:, 0]] - template.vertices[edges[:, 1]], axis=1)
    slack = float(np.median(length))  # a vertex may lie so far behind the pixel that shows it
    for cosine, camera in zip(facing, cameras, strict=True):
        factor = min(1.0, LEAST_LOOK / max(camera.width, camera.height))
        width, height = round(camera.width * factor), round(camera.height * factor)
        pixels, depth = camera.project(template.vertices)
        pixels = pixels * (width / camera.width, height / camera.height)
        with np.errstate(invalid="ignore"):
            inside = (depth > 0) & (pixels > 0).all(axis=1) & (pixels < (width, height)).all(axis=1)
        nearest = depth_buffer(pixels, depth, template.triangles, width, height)
        x, y = np.floor(pixels[inside]).astype(int).T
        inside[inside] = depth[inside] <= nearest[y, x] + slack
        way = camera.centre - template.vertices[inside]
        cosine[inside] = (normals[inside] * way).sum(axis=1) / np.linalg.norm(way, axis=1)
    return np.sort(facing, axis=0)[-min(2, len(cameras))] > FACING


class HeadFit:
    """Fits the head's pose, frame after frame; no frame depends on another."""

    def __init__(self, template: Template, seen: Array):
        """Fit `template` by its `seen` [V] bool vertices (by all it has, if fewer than three tell)."""
        trust = vertex_areas(template.vertices, template.triangles)
        trust *= 1.0 - template.roles.get("t4d_ignore", np.zeros(len(trust)))
        trust *= 1.0 + (STATIC - 1.0) * template.roles.get("t4d_static", np.zeros(len(trust)))
        for told in (trust * seen, trust, np.ones(len(trust))):
            if np.count_nonzero(told) >= 3:
                trust = told
                break
        self._used = np.flatnonzero(trust > 0)
        self._used = self._used[:: max(1, len(self._used) // ENOUGH)]
        self._points = template.vertices[self._used]
        self._trust = trust[self._used]
        self._floor = 1e-6 * float(np.ptp(self._points, axis=0).max())  # float32 files are no finer

    def __call__(self, vertices: Array) -> Array:
        """The rigid motion that takes the template's head to `vertices` [V, 3].  # [4, 4] float64, capture units."""
        target = np.asarray(vertices, np.float64)[self._used]
        weights = self._trust
        for _ in range(ROUNDS):
            rotation, shift = align(self._points, target, weights)
            left = np.linalg.norm(self._points @ rotation.T + shift - target, axis=1)
            scale = max(_quantile(left, self._trust, CALM), self._floor)
            new = self._trust * (scale**2 / (scale**2 + left**2)) ** 2
            if np.abs(new - weights).max() <= 1e-9 * self._trust.max():
                break
            weights = new
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = rotation, shift
        return pose


def move(pose: Array, points: Array) -> Array:
    """`points` [N, 3] moved by `pose` [4, 4]."""
    return points @ pose[:3, :3].T + pose[:3, 3]


def move_back(pose: Array, points: Array) -> Array:
    """`points` [N, 3] moved by the inverse of the rigid `pose` [4, 4]: from a frame into the head's own space."""
    return (points - pose[:3, 3]) @ pose[:3, :3]


def vertex_areas(vertices: Array, triangles: Array) -> Array:
    """A third of the area of every triangle around each vertex.  # [V]."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 6
    return np.bincount(triangles.ravel(), np.repeat(area, 3), len(vertices))


def _quantile(values: Array, weights: Array, share: float) -> float:
    """The value below which `share` of the weight lies."""
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order])
    return float(values[order[np.searchsorted(below, share * below[-1])]])
