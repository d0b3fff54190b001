"""Where the surface went since the frame before, from optical flow: the start of a frame's solution.

Photometric alignment finds the surface only from nearby; a jaw that drops a centimetre in a frame is not near. Dense
inverse search (Kroeger et al., ECCV 2016) follows such motion in each camera by itself, without any model. All cameras
together and the bending prior make a motion of the surface out of it: a linear problem, reweighted because some of the
flow is wrong (background beside the cheek, teeth behind lips). What is left is a fraction of a pixel to a pixel, which
the comparison with the reference then removes: flow starts a frame, and never decides it, so it cannot drift.
"""

from __future__ import annotations

import cv2
import numpy as np

from ..raster import sample
from .appearance import THREADS, project, shown_vertices
from .kernels import flow_equations
from .pyramid import LevelCameras
from .rigid import rigid_step
from .surface import Surface
from .system import Factors, MeshSystem

Array = np.ndarray
# Pixels: flow this far from the surface's motion counts a quarter (Geman-McClure), round after round. The first round
# must take a fast jaw for true (graduated non-convexity), the last must not take the background.
OUTLIERS = (16.0, 3.0, 0.8)  # four rounds gave the same error, two lost fast motion
STIFFNESS = 3.0  # bending of the motion, relative to the median vertex's flow
EDGE = 3  # pixels beside the picture's edge where flow is a guess


class FlowStart:
    """Moves the surface by optical flow; holds nothing of any frame but how the reference is seen."""

    def __init__(self, surface: Surface, level: LevelCameras, system: MeshSystem):
        """For pictures of `level`; `system` is borrowed in every call and left assembled for the flow."""
        self.surface, self.level, self.system = surface, level, system
        self._factors: Factors = {}

    def prepare(self, vertices: Array) -> None:
        """Factorise for flow that every camera knows of what it sees of `vertices` [V, 3], the reference's.

        How much the cameras know of each vertex hardly changes through a take: a fifth of the steps of CG.
        """
        points, known = seen_by_cameras(self.surface, self.level, vertices)
        flow = np.zeros((*known.shape, 2), np.float32)
        self._assemble(points, flow, known, np.zeros_like(vertices), OUTLIERS[0])
        self._factors = self.system.factorise([STIFFNESS]) if self.system.median_stiffness() > 0 else {}

    def __call__(self, vertices: Array, before: Array, now: Array) -> tuple[Array, Array]:
        """`vertices` [V, 3] of the frame `before` (its picture buffer [P]) moved to the frame `now`.

        Returns them and the same vertices moved rigidly only (the head's motion), each [V, 3].
        """
        points, flow, known = measure(self.surface, self.level, vertices, before, now)
        rigid = vertices
        self.system.bending = self.surface.bending
        for outlier in OUTLIERS:
            self._assemble(points, flow, known, rigid - vertices, outlier)
            if not self.system.median_stiffness() > 0:
                return vertices, vertices
            rotation, shift = rigid_step(self.system, rigid)
            rigid = rigid @ rotation.T + shift
        moved = rigid
        for outlier in OUTLIERS:
            self._assemble(points, flow, known, moved - vertices, outlier)
            stiffness = STIFFNESS * self.system.median_stiffness()
            bend = stiffness * (self.surface.bending @ (moved - rigid))
            moved = moved + self.system.solve(bend, stiffness, self._factors)
        return moved, rigid

    def _assemble(self, points: Array, flow: Array, known: Array, motion: Array, outlier: float) -> None:
        """Normal equations of the flow around a `motion` [V, 3], into the system."""
        level, system = self.level, self.system
        system.edge_blocks[:] = 0.0
        flow_equations(
            points, flow, known, level.rotations, level.intrinsics, motion, outlier, system.diagonal, system.gradient
        )


def seen_by_cameras(surface: Surface, level: LevelCameras, vertices: Array) -> tuple[Array, Array]:
    """`vertices` [V, 3] in camera space [K, V, 3], and which of them the cameras show [K, V]."""
    seen = project(vertices, surface.triangles, level)
    known = [shown_vertices(surface, level, seen, k, EDGE) for k in range(len(level.sizes))]
    return seen.camera_space, np.stack(known)


def measure(
    surface: Surface, level: LevelCameras, vertices: Array, before: Array, now: Array
) -> tuple[Array, Array, Array]:
    """Of the `vertices` [V, 3] of the frame `before` (its picture buffer [P]), on the way to the frame `now`.

    Returns camera-space points [K, V, 3], their flow in pixels [K, V, 2], and where it is known [K, V].
    """
    seen = project(vertices, surface.triangles, level)
    count = len(level.sizes)
    flow = np.zeros((count, len(vertices), 2), np.float32)
    known = np.zeros((count, len(vertices)), bool)

    def work(k: int) -> None:
        a, b = _grey(level.view(before, k)), _grey(level.view(now, k))
        if a is None or b is None:
            return
        depth = level.view(seen.depth, k)
        rows = np.flatnonzero(np.isfinite(depth).any(axis=1))
        columns = np.flatnonzero(np.isfinite(depth).any(axis=0))
        if not len(rows):
            return
        margin = max(16, (rows[-1] - rows[0]) // 8)
        top, left = max(0, rows[0] - margin), max(0, columns[0] - margin)
        part = np.s_[top : rows[-1] + margin + 1, left : columns[-1] + margin + 1]
        field = _dense_inverse_search().calc(np.ascontiguousarray(a[part]), np.ascontiguousarray(b[part]), None)
        known[k] = shown_vertices(surface, level, seen, k, EDGE)
        flow[k] = sample(field, np.where(known[k][:, None], seen.pixels[k] - np.float32([left, top]), 0))

    list(THREADS.map(work, range(count)))
    return seen.camera_space, flow, known


def _dense_inverse_search() -> cv2.DISOpticalFlow:
    """OpenCV's, at full size, where its medium preset stops at half: lips and lids are few pixels wide.

    A patch may take 40 steps to its place, which are cheap: with the preset's 25, part of a head that turned by 15
    degrees and bulged was lost, with 12 more of it. What the full size costs is saved where it is not missed: patches
    stand further apart, and nothing is smoothed afterwards, because the surface smooths what all cameras say.
    """
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(0)
    search.setPatchStride(4)
    search.setGradientDescentIterations(40)
    search.setVariationalRefinementIterations(0)
    return search


def _grey(picture: Array) -> Array | None:
    """A picture [H, W] in 0..1 in 8 bits, None where there is none."""
    return cv2.convertScaleAbs(picture, alpha=255) if np.isfinite(picture[0, 0]) else None
