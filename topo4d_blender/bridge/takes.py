"""Reads a take folder the way Blender needs it: frames and errors (textures: `maps`). The engine alone writes it.

The layout is the engine's (docs/formats.md): geometry/000123.npy, metrics.jsonl.
"""

from __future__ import annotations

import json
from pathlib import Path

import bpy
import numpy as np

from .arrays import Array
from .errors import BridgeError


def solved_frames(folder: Path) -> list[int]:
    """Frame numbers with geometry, ascending; empty where there is no take."""
    return _numbers(folder / "geometry", "npy")


def read_geometry(folder: Path, frame: int) -> Array:
    """Vertices of `frame`, capture coordinates.  # [V, 3] float32. Raises BridgeError if they are not there whole."""
    return read_vertices(folder / "geometry" / f"{frame:06d}.npy")


def read_vertices(path: Path) -> Array:
    """Vertices in `path`.  # [V, 3] float32. Raises BridgeError if they are not there whole."""
    try:
        vertices = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BridgeError(
            f"{path} is missing or damaged; delete it and press Track Sequence to solve it again."
        ) from error
    if vertices.ndim != 2 or vertices.shape[1] != 3 or not np.isfinite(vertices).all():
        raise BridgeError(f"{path} holds no vertices; delete it and press Track Sequence to solve it again.")
    return vertices


def anchors(folder: Path) -> list[int]:
    """Frames whose vertices an artist gave, ascending."""
    return _numbers(folder / "anchors", "npy")


def read_shown(folder: Path, frame: int) -> Array:
    """Vertices of `frame` as they are to be seen: an anchor that no tracking has met yet, else what was solved.

    # [V, 3] float32, capture coordinates. Raises BridgeError if neither is there whole.
    """
    try:
        return read_vertices(folder / "anchors" / f"{frame:06d}.npy")
    except BridgeError:
        return read_geometry(folder, frame)


def is_whole(folder: Path, frame: int) -> bool:
    """Whether the geometry of `frame` can be read."""
    try:
        read_geometry(folder, frame)
    except BridgeError:
        return False
    return True


def read_metrics(folder: Path) -> dict[int, dict]:
    """The newest line of metrics.jsonl of every frame; a line cut off by a crash is passed over.

    A frame that was asked for again and is not solved yet lies there as it was, and so does its line.
    """
    try:
        lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    newest = {}
    for line in lines:
        try:
            metrics = json.loads(line)
            if "again" not in metrics:
                newest[int(metrics["frame"])] = metrics
        except (ValueError, TypeError, KeyError):
            continue
    return newest


def head_poses(folder: Path) -> dict[int, Array]:
    """The head's rigid motion from the template to every frame that has one.  # frame -> [4, 4], capture units."""
    try:
        frames = json.loads((folder / "take.json").read_text("utf-8"))["frames"]
        poses = np.load(folder / "head_pose.npy", allow_pickle=False)
    except (OSError, ValueError, TypeError, KeyError, EOFError):
        return {}
    if poses.shape != (len(frames), 4, 4):
        return {}
    return {int(frame): pose for frame, pose in zip(frames, poses, strict=True) if np.isfinite(pose).all()}


def error_px(metrics: dict) -> float | None:
    """One figure for a frame: the mean residual over its cameras, pixels; None if the line has none."""
    residual = metrics.get("residual_px")
    if isinstance(residual, dict):
        values = [value for value in residual.values() if isinstance(value, int | float)]
        return float(np.mean(values)) if values else None
    return float(residual) if isinstance(residual, int | float) else None


def folder_of(obj: bpy.types.Object) -> Path | None:
    """The take that `obj` shows, absolute; None if it shows none."""
    return Path(bpy.path.abspath(obj.topo4d.take)) if obj.topo4d.take else None


def capture_of(folder: Path) -> str:
    """The calibration file that the take at `folder` was tracked from; "" if it cannot be told."""
    try:
        return str(json.loads((folder / "take.json").read_text("utf-8"))["capture"])
    except (OSError, ValueError, TypeError, KeyError):
        return ""


def next_folder(beside: Path, name: str) -> Path:
    """The first of `beside`/name_take_001, _002, ... that does not exist."""
    number = 1
    while (folder := beside / f"{name}_take_{number:03d}").exists():
        number += 1
    return folder


def _numbers(folder: Path, ending: str) -> list[int]:
    return sorted(int(path.stem) for path in folder.glob(f"*.{ending}") if path.stem.isdigit())
