"""A long film made of a short one: links to its plates, there and back again, as many frames as are asked for."""

from __future__ import annotations

import json
import os
from pathlib import Path

from topo4d_blender.core.capture import Capture
from topo4d_blender.core.capture.read_capture_json import camera_as_json


def lengthen(short: Capture, folder: Path, frames: int) -> Path:
    """Make the capture `folder` of `frames` frames from those of `short`, there and back; returns its capture.json."""
    numbers = short.frames
    there_and_back = [*numbers, *reversed(numbers[1:-1])]
    suffixes = {path.suffix for plates in short.images.values() for path in plates.values()}
    for i in range(frames):
        for name, plate in short.images[there_and_back[i % len(there_and_back)]].items():
            link = folder / "images" / name / f"{i + 1:06d}{plate.suffix}"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            os.symlink(plate.resolve(), link)
    document = {
        "format": "topo4d-capture",
        "version": 1,
        "unit_mm": short.unit_mm,
        "images": [f"images/{{camera}}/{{frame}}{suffix}" for suffix in sorted(suffixes)],
        "cameras": [camera_as_json(camera) for camera in short.cameras],
    }
    path = folder / "capture.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path
