"""Small scenes for the tracker's tests: arrays for its kernels, and the filmed ball of synthetic.py, held in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from synthetic import make_capture

from topo4d_blender.core.capture import Camera, open_capture, read_plate
from topo4d_blender.core.raster import rasterise
from topo4d_blender.core.template import Template, read_template
from topo4d_blender.core.track.pyramid import LevelCameras, level_cameras, shrink_plate
from topo4d_blender.core.track.settings import TrackSettings
from topo4d_blender.core.track.solver import FrameSolver, Solution

Array = np.ndarray
SIZES = ((26, 20), (31, 18), (17, 24))  # width, height px: no two alike
BACKGROUND = 96 / 255  # of synthetic.py


def grid(columns: int, rows: int) -> tuple[Array, Array]:
    """A flat sheet over [-1, 1] x [-1, 1]: vertices [V, 3], triangles [T, 3]."""
    y, x = np.meshgrid(np.linspace(-1, 1, rows + 1), np.linspace(-1, 1, columns + 1), indexing="ij")
    vertices = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1)
    a = (np.arange(rows)[:, None] * (columns + 1) + np.arange(columns)).ravel()
    quads = np.stack([a, a + 1, a + columns + 2, a + columns + 1], axis=1)
    return vertices, np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)


def sheet_template(columns: int, rows: int, **roles: Array) -> Template:
    """The flat sheet as a template of triangles."""
    vertices, triangles = grid(columns, rows)
    return Template(vertices, triangles.ravel(), np.arange(0, triangles.size + 1, 3, dtype=np.int32), roles=roles)


def look_at_sheet(sizes: tuple[tuple[int, int], ...] = SIZES, zoom: float = 0.8) -> tuple[Camera, ...]:
    """A camera for each size, 4 units before the sheet, on an arc; the sheet fills `zoom` of the smaller side."""
    cameras = []
    for k, (width, height) in enumerate(sizes):
        yaw, pitch = 0.35 * (k - (len(sizes) - 1) / 2), 0.2 * (-1) ** k
        centre = 4 * np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), -np.cos(yaw) * np.cos(pitch)])
        forward = -centre / 4
        right = np.cross([0.0, 1.0, 0.0], forward)
        right /= np.linalg.norm(right)
        matrix = np.eye(4)
        matrix[:3, :3] = np.stack([right, np.cross(forward, right), forward])
        matrix[:3, 3] = -matrix[:3, :3] @ centre
        focal = zoom * min(width, height) * 2
        cameras.append(Camera(f"c{k}", width, height, focal, 1.03 * focal, 0.51 * width, 0.48 * height, matrix))
    return tuple(cameras)


def sheet_level(sizes: tuple[tuple[int, int], ...] = SIZES, zoom: float = 0.8, blur: float = 0.7) -> LevelCameras:
    """Those cameras as arrays."""
    return level_cameras(look_at_sheet(sizes, zoom), [blur], [1] * len(sizes))[0]


@dataclass(frozen=True)
class Film:
    """The ball of synthetic.py."""

    template: Template
    cameras: tuple[Camera, ...]
    truth: Array  # [F, V, 3] float64, capture units
    seen: Array  # [V] bool: what two cameras see
    frames: list[list[Array]]  # F x K plates [H, W, 3] float32 in 0..1
    pixel: float  # what a pixel spans at the ball, capture units
    unit_mm: float

    def error_px(self, vertices: Array, frame: int) -> Array:
        """Distance of `vertices` [V, 3] to the truth at the seen vertices, in pixels of the plates."""
        return np.linalg.norm(vertices - self.truth[frame], axis=1)[self.seen] / self.pixel


def film_ball(folder: Path, frames: int = 2, unit_mm: float = 1000.0, **more: object) -> Film:
    """Film the ball with five small cameras."""
    make_capture(folder, frames=frames, cameras=5, size=(96, 128), vertices=300, unit_mm=unit_mm, **more)
    return read_film(folder)


def read_film(folder: Path) -> Film:
    """What `film_ball` filmed into `folder`."""
    truth, capture = np.load(folder / "truth.npz"), open_capture(folder)
    plates = [
        [shrink_plate(read_plate(capture.images[f][c.name], c), 1) for c in capture.cameras] for f in capture.frames
    ]
    template = read_template(folder / "start.obj")
    camera = capture.cameras[0]
    return Film(
        template=replace(template, vertices=truth["vertices"][0].astype(np.float64)),
        cameras=capture.cameras,
        truth=truth["vertices"].astype(np.float64),
        seen=truth["face_mask"],
        frames=plates,
        pixel=float(np.median(camera.project(template.vertices)[1]) / camera.fx),
        unit_mm=float(truth["unit_mm"]),
    )


def coverage(camera: Camera, vertices: Array, triangles: Array) -> Array:
    """The share of each pixel that the mesh covers.  # [H, W, 1]."""
    pixels, depth = camera.project(vertices)
    ids = rasterise(3 * pixels, depth, triangles, 3 * camera.width, 3 * camera.height)[0]
    return (ids >= 0).reshape(camera.height, 3, camera.width, 3).mean(axis=(1, 3))[..., None]


def solve(
    film: Film,
    frame: int = 1,
    reference: list[Array | None] | None = None,
    plates: list[Array | None] | None = None,
    template: Template | None = None,
    settings: TrackSettings | None = None,
    start: Array | None = None,
    flow: bool = False,
) -> Solution:
    """Solve `frame` from frame 0 (or from `start` [V, 3]); `reference` and `plates` replace the two frames' plates.

    With `flow`, the start is by optical flow.
    """
    template = template or film.template
    solver = FrameSolver(template, film.cameras, settings or TrackSettings())
    solver.remember(template.vertices, solver.pyramid(reference or film.frames[0]))
    images = solver.pyramid(plates or film.frames[frame])
    if start is not None:
        return solver.solve(images, start, start, template.vertices)
    before = solver.pyramid(reference or film.frames[0]) if flow else None
    return solver.solve(images, *[template.vertices] * 3, before=before)
