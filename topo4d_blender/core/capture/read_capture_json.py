"""capture.json, our own calibration file: checked against capture.schema.json, read, and written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import jsonschema
import numpy as np

from ..errors import RequestError
from ..files import atomic_write
from .calibration import Calibration, rigid
from .camera import Camera

FORMAT = "topo4d-capture"
VERSION = 1


def is_capture_json(path: Path) -> bool:
    """Whether the file, whatever its name, says that it is one of ours."""
    return path.suffix.lower() == ".json" and f'"{FORMAT}"'.encode() in path.read_bytes()[:4096]


def read_capture_json(path: Path) -> Calibration:
    """Read `path`. Raises RequestError naming the file and the first thing that is wrong in it."""
    document = _load(path)
    images, masks = (_patterns(document.get(key, ())) for key in ("images", "masks"))
    cameras = tuple(_camera(entry, path) for entry in document["cameras"] if entry.get("enabled", True))
    if not cameras:
        raise RequestError(f"{path} has no camera that is enabled; enable those to use.")
    left_out = tuple(entry["name"] for entry in document["cameras"] if not entry.get("enabled", True))
    for pattern in (*images, *masks):
        if "{camera}" not in pattern and len(cameras) > 1:
            raise RequestError(f"{path}: the pattern {pattern!r} lacks {{camera}}, so the images are nobody's; add it.")
    return Calibration(path, cameras, float(document["unit_mm"]), images, masks, left_out)


def write_capture_json(path: Path, cameras: Sequence[Camera], unit_mm: float, images: str | None = None) -> None:
    """Write `cameras` as capture.json; `images` is the pattern of the images below its folder."""
    document: dict = {"format": FORMAT, "version": VERSION, "unit_mm": unit_mm}
    if images:
        document["images"] = images
    document["cameras"] = [camera_as_json(camera) for camera in cameras]
    text = json.dumps(document, indent=1, allow_nan=False)
    atomic_write(path, lambda file: file.write(text.encode()))


def camera_as_json(camera: Camera) -> dict:
    """One camera as plain JSON values, in the keys of capture.json."""
    return {
        "name": camera.name,
        "width": camera.width,
        "height": camera.height,
        **{key: float(getattr(camera, key)) for key in ("fx", "fy", "cx", "cy")},
        "distortion": [float(k) for k in camera.distortion],
        "world_to_camera": camera.world_to_camera.tolist(),
    }


def _load(path: Path) -> dict:
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"), parse_constant=_refuse_constant)
    except OSError as error:
        raise RequestError(f"{path} cannot be read ({error.strerror}).") from error
    except ValueError as error:  # also UnicodeDecodeError
        raise RequestError(f"{path} is not valid JSON ({error}); mend it or write it again.") from error
    if isinstance(document, dict) and isinstance(document.get("version"), int) and document["version"] > VERSION:
        raise RequestError(f"{path} has format version {document['version']}; this Topo4D reads {VERSION}: update it.")
    problem = min(_validator().iter_errors(document), key=lambda e: list(map(str, e.absolute_path)), default=None)
    if problem is not None:
        place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in problem.absolute_path).lstrip(".")
        message = problem.message if len(problem.message) < 200 else problem.message[:200] + "..."
        raise RequestError(f"{path} is not a valid capture.json: {f'{place}: ' if place else ''}{message}.")
    return document


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


@lru_cache(maxsize=1)
def _validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(Path(__file__).with_name("capture.schema.json").read_text(encoding="utf-8"))
    return jsonschema.Draft202012Validator(schema)


def _patterns(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _camera(entry: dict, path: Path) -> Camera:
    who = f"{path}: camera {entry['name']}"
    distortion = tuple(float(k) for k in entry.get("distortion", (0.0,) * 5))
    intrinsics = {key: float(entry[key]) for key in ("fx", "fy", "cx", "cy")}
    if not np.isfinite([*distortion, *intrinsics.values()]).all():
        raise RequestError(f"{who} has a lens value that is not a finite number.")
    pose = rigid(np.array(entry["world_to_camera"], np.float64), who)
    return Camera(
        entry["name"], entry["width"], entry["height"], **intrinsics, world_to_camera=pose, distortion=distortion
    )
