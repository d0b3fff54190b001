"""Small scenes the bridge tests share."""

from __future__ import annotations

import bpy
import numpy as np

RIG = 3


def fresh() -> bpy.types.Scene:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    return bpy.context.scene


def head(vertices: int = 200, name: str = "Head") -> bpy.types.Object:
    """A bumpy sphere with a UV map, in capture space, turned the way the OBJ importer turns a mesh."""
    bpy.ops.mesh.primitive_uv_sphere_add(segments=16, ring_count=max(vertices // 16, 4), radius=0.1)
    obj = bpy.context.object
    obj.name = name
    obj.rotation_euler = (np.pi / 2, 0, 0)
    return obj


def performance(obj: bpy.types.Object, frames) -> dict[int, np.ndarray]:
    """frame -> vertices [V, 3] float32 that move by several per cent of the head's size, differently everywhere."""
    rest = np.empty(len(obj.data.vertices) * 3, np.float32)
    obj.data.vertices.foreach_get("co", rest)
    rest = rest.reshape(-1, 3)
    noise = np.random.default_rng(7)
    return {f: (rest + noise.normal(0, 0.01, rest.shape)).astype(np.float32) for f in frames}


def evaluated(obj: bpy.types.Object, frame: int, subframe: float = 0.0) -> np.ndarray:
    """What an artist sees on `frame`, in the object's own coordinates.  # [V, 3] float32."""
    bpy.context.scene.frame_set(frame, subframe=subframe)
    mesh = obj.evaluated_get(bpy.context.evaluated_depsgraph_get()).data
    points = np.empty(len(mesh.vertices) * 3, np.float32)
    mesh.vertices.foreach_get("co", points)
    return points.reshape(-1, 3)


def look_at(centre, target=(0.0, 0.0, 0.0), roll: float = 0.0) -> np.ndarray:
    """world_to_camera [4, 4] of an OpenCV camera at `centre`, y of the world up, rolled by `roll` radians."""
    centre, target = np.array(centre, float), np.array(target, float)
    z = (target - centre) / np.linalg.norm(target - centre)
    x = np.cross(z, [0, 1, 0])
    x /= np.linalg.norm(x)
    y = np.cross(z, x)
    c, s = np.cos(roll), np.sin(roll)
    rotation = np.array([c * x + s * y, -s * x + c * y, z])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, -rotation @ centre
    return matrix


def description(source: str = "/shoot/capture.json", images: dict | None = None) -> dict:
    """A capture of three unlike cameras: portrait, landscape on its side, unequal focal lengths, centres well off."""
    poses = [look_at((0, 0, 1)), look_at((0.7, 0.2, 0.7), roll=np.pi / 2), look_at((-0.6, -0.3, 0.8), roll=0.3)]
    sizes = [(375, 512), (512, 375), (300, 200)]
    lenses = [(900, 900, 190.5, 240.0), (850, 860, 230.0, 200.25), (700, 650, 120.0, 130.0)]
    cameras = [
        {
            "name": f"cam{i:02d}",
            "width": w,
            "height": h,
            "fx": fx,
            "fy": fy,
            "cx": cx,
            "cy": cy,
            "distortion": [0.0] * 5,
            "world_to_camera": pose.tolist(),
        }
        for i, (pose, (w, h), (fx, fy, cx, cy)) in enumerate(zip(poses, sizes, lenses, strict=True))
    ]
    return {
        "source": source,
        "unit_mm": 1000.0,
        "frames": [1, 2],
        "warnings": [],
        "cameras": cameras,
        "images": images or {"1": {}, "2": {}},
    }
