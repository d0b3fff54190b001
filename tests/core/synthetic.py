"""A capture with known truth, small enough for a test: a textured bumpy ball filmed by a few cameras.

The ball is 180 mm wide and stands for a head. It is filmed from the front only, as heads are: its back is seen by no
camera. Its colour is a function of the rest position, so it moves with the surface and nothing else changes: whatever
error a tracker shows on it is its own. Depends on the rasteriser and the camera alone.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from topo4d_blender.core.capture.camera import Camera
from topo4d_blender.core.raster import rasterise

Array = np.ndarray
RADIUS_MM = 90.0
_SAMPLES = 3  # every pixel is the mean of 3 x 3 samples
_BACKGROUND = 96.0


def make_capture(
    folder: Path,
    frames: int = 4,
    cameras: int = 6,
    size: tuple[int, int] = (96, 128),  # width, height in px
    vertices: int = 600,  # about so many
    seed: int = 0,
    motion_mm: float = 3.0,  # the largest motion of a vertex from one frame to the next, roughly
    turn_deg: float = 1.0,  # turn of the whole ball from one frame to the next
    slide_mm: float = 0.0,  # way of the whole ball from one frame to the next
    unit_mm: float = 1000.0,
    noise: float = 0.0,  # standard deviation of sensor noise, in 1/255
    first_frame: int = 1,
) -> Path:
    """Film the ball into `folder` (capture.json, images/, start.obj) and return the path of its truth.npz."""
    folder = Path(folder)
    rng = np.random.default_rng(seed)
    rest, faces, uv, face_uv = _ball(vertices)
    triangles = np.array([[f[0], f[i], f[i + 1]] for f in faces for i in range(1, len(f) - 1)], np.int32)
    rig = _rig(cameras, size, unit_mm)
    colours = _Colours(rng)
    numbers = [first_frame + i for i in range(frames)]
    heads = [head_motion(i, turn_deg, slide_mm) for i in range(frames)]  # from rest, mm
    faces_mm = (_performance(rest, i, motion_mm) for i in range(frames))
    truth = np.stack([f @ h[:3, :3].T + h[:3, 3] for f, h in zip(faces_mm, heads, strict=True)]).astype(np.float32)
    truth /= np.float32(unit_mm)
    for number, points in zip(numbers, truth, strict=True):
        for camera in rig:
            picture = _render(camera, points, triangles, rest, colours)
            picture += rng.normal(0.0, noise, picture.shape) if noise else 0.0
            path = folder / "images" / camera.name / f"{number:06d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.clip(np.rint(picture), 0, 255).astype(np.uint8)).save(path)
    (folder / "capture.json").write_text(json.dumps(_describe(rig, unit_mm), indent=1), encoding="utf-8")
    _write_obj(folder / "start.obj", truth[0], uv, faces, face_uv)
    path = folder / "truth.npz"
    np.savez(path, vertices=truth, face_mask=_seen_by_two(truth[0], triangles, rig), unit_mm=unit_mm, frames=numbers)
    return path


def _ball(vertices: int) -> tuple[Array, list[list[int]], Array, list[list[int]]]:
    """Rest vertices [V, 3] mm, faces (quads, triangles at the poles), UVs, and the UV of every face corner."""
    rings = max(4, round(np.sqrt(vertices / 2)))
    columns = 2 * rings
    theta = np.pi * np.arange(1, rings) / rings
    phi = 2 * np.pi * np.arange(columns) / columns
    t, p = (a.ravel() for a in np.meshgrid(theta, phi, indexing="ij"))
    unit = np.stack([np.sin(t) * np.sin(p), -np.cos(t), np.sin(t) * np.cos(p)], axis=1)
    unit = np.concatenate([unit, [[0.0, -1.0, 0.0], [0.0, 1.0, 0.0]]])
    x, y, z = unit.T
    bumps = 1 + 0.06 * np.sin(3 * x + 1) * np.cos(2 * y) + 0.05 * np.cos(4 * y + 2 * z) + 0.04 * np.sin(5 * x * z)
    grid = np.meshgrid(np.arange(rings + 1) / rings, np.arange(columns + 1) / columns, indexing="ij")
    v, u = (a.ravel() for a in grid)
    faces, face_uv = [], []
    top, bottom = len(unit) - 2, len(unit) - 1
    for r in range(rings):
        for c in range(columns):
            n = (c + 1) % columns
            a, b, d, e = (r - 1) * columns + c, (r - 1) * columns + n, r * columns + n, r * columns + c
            ta, tb, td, te = (r * (columns + 1) + c, r * (columns + 1) + c + 1, *_below(r, c, columns))
            if r == 0:
                faces.append([top, d, e])
                face_uv.append([ta, td, te])
            elif r == rings - 1:
                faces.append([a, b, bottom])
                face_uv.append([ta, tb, te])
            else:
                faces.append([a, b, d, e])
                face_uv.append([ta, tb, td, te])
    return unit * bumps[:, None] * RADIUS_MM, faces, np.stack([u, v], axis=1), face_uv


def _below(ring: int, column: int, columns: int) -> tuple[int, int]:
    return (ring + 1) * (columns + 1) + column + 1, (ring + 1) * (columns + 1) + column


def head_motion(step: int, turn_deg: float, slide_mm: float) -> Array:
    """The rigid motion of the ball from rest to `step` frames after, mm.  # [4, 4]."""
    angle = np.deg2rad(turn_deg * step)
    c, s = np.cos(angle), np.sin(angle)
    motion = np.eye(4)
    motion[:3, :3] = [[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]]
    motion[:3, 3] = slide_mm * step * np.array([0.6, -0.64, 0.48])
    return motion


def _performance(rest: Array, step: int, motion_mm: float) -> Array:
    """The ball `step` frames after rest, in mm, in its own space: smooth local motion, different left and right."""
    n = rest / RADIUS_MM
    smile = np.exp(-4 * ((n - [0.5, -0.3, 0.8]) ** 2).sum(1))[:, None] * np.array([0.6, 0.6, 0.5])
    brow = np.exp(-4 * ((n - [-0.4, 0.5, 0.75]) ** 2).sum(1))[:, None] * np.array([0.1, 0.9, 0.2])
    return rest + motion_mm * (3.0 * np.sin(step / 3.0) * smile + 2.5 * np.sin(step / 2.5) * brow)


def _rig(count: int, size: tuple[int, int], unit_mm: float) -> list[Camera]:
    """Cameras on an arc of 110 degrees before the ball, in two heights, their principal points off centre."""
    width, height = size
    distance = 700.0
    rig = []
    for i in range(count):
        yaw = np.deg2rad(-55 + 110 * (i + 0.5) / count)
        pitch = np.deg2rad(18 if i % 2 else -14)
        centre = distance * np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
        forward = -centre / distance
        right = np.cross(forward, [0.0, 1.0, 0.0])
        right /= np.linalg.norm(right)
        matrix = np.eye(4)
        matrix[:3, :3] = np.stack([right, np.cross(forward, right), forward])
        matrix[:3, 3] = -matrix[:3, :3] @ centre / unit_mm
        focal = 0.42 * min(width, height) * distance / RADIUS_MM
        cx, cy = width / 2 + 0.01 * width * (i % 3 - 1), height / 2 + 0.008 * height * (i % 2)
        rig.append(Camera(f"cam{i:02d}", width, height, focal, focal, cx, cy, matrix))
    return rig


class _Colours:
    """Colour as a smooth function of the rest position: waves of many directions and of 12 to 50 mm length."""

    def __init__(self, rng: np.random.Generator) -> None:
        direction = rng.normal(size=(24, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        length = np.geomspace(12.0, 50.0, 24)
        self._waves = direction * (2 * np.pi / length)[:, None]
        self._phase = rng.uniform(0, 2 * np.pi, 24)
        self._mix = rng.normal(size=(24, 3)) * (length / 50.0)[:, None] ** 0.4

    def __call__(self, points: Array) -> Array:
        """RGB in 0..255 at rest positions [N, 3] mm."""
        return 130.0 + 13.0 * np.sin(points @ self._waves.T + self._phase) @ self._mix


def _render(camera: Camera, points: Array, triangles: Array, rest: Array, colours: _Colours) -> Array:
    """The picture of `camera`.  # [H, W, 3] float64, 0..255."""
    width, height = camera.width * _SAMPLES, camera.height * _SAMPLES
    pixels, depth = camera.project(points)
    pixels = pixels * _SAMPLES
    ids = rasterise(pixels, depth, triangles, width, height)[0]
    rows, columns = np.nonzero(ids >= 0)
    corner = triangles[ids[rows, columns]]  # [N, 3]
    a, b, c = (pixels[corner[:, k]] for k in range(3))
    p = np.stack([columns + 0.5, rows + 0.5], axis=1)
    weights = np.stack([_cross(b - p, c - p), _cross(c - p, a - p), _cross(a - p, b - p)], axis=1)
    weights /= depth[corner]  # perspective-correct
    weights /= weights.sum(axis=1, keepdims=True)
    picture = np.full((height, width, 3), _BACKGROUND)
    picture[rows, columns] = colours((weights[:, :, None] * rest[corner]).sum(axis=1))
    return picture.reshape(camera.height, _SAMPLES, camera.width, _SAMPLES, 3).mean(axis=(1, 3))


def _cross(a: Array, b: Array) -> Array:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def _seen_by_two(points: Array, triangles: Array, rig: list[Camera]) -> Array:
    """Vertices that at least two cameras see under less than 66 degrees.  # [V] bool (the ball hides nothing else)."""
    corners = points[triangles].astype(np.float64)
    area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros(points.shape)
    np.add.at(normals, triangles, area[:, None, :])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    views = np.zeros(len(points), int)
    for camera in rig:
        towards = camera.centre - points
        views += (normals * towards).sum(axis=1) > 0.4 * np.linalg.norm(towards, axis=1)
    return views >= 2


def _describe(rig: list[Camera], unit_mm: float) -> dict:
    return {
        "format": "topo4d-capture",
        "version": 1,
        "unit_mm": unit_mm,
        "images": "images/{camera}/{frame}.png",
        "cameras": [
            {
                "name": c.name,
                "width": c.width,
                "height": c.height,
                "fx": c.fx,
                "fy": c.fy,
                "cx": c.cx,
                "cy": c.cy,
                "distortion": list(c.distortion),
                "world_to_camera": c.world_to_camera.tolist(),
            }
            for c in rig
        ],
    }


def _write_obj(path: Path, vertices: Array, uv: Array, faces: list[list[int]], face_uv: list[list[int]]) -> None:
    with path.open("w", encoding="utf-8") as out:
        out.writelines(f"v {x:.9g} {y:.9g} {z:.9g}\n" for x, y, z in vertices)
        out.writelines(f"vt {u:.7g} {v:.7g}\n" for u, v in uv)
        for face, corner in zip(faces, face_uv, strict=True):
            out.write("f " + " ".join(f"{v + 1}/{t + 1}" for v, t in zip(face, corner, strict=True)) + "\n")
