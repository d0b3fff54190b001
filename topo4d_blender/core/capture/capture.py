"""A capture: calibrated cameras, frame numbers and where every plate lies. Reads calibration, never pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .camera import Camera


@dataclass(frozen=True)
class Capture:
    """What was filmed. `cameras` are at the size of their images (intrinsics already scaled), lens distortion still in."""

    source: Path  # the calibration file
    cameras: tuple[Camera, ...]
    frames: tuple[int, ...]  # the capture's own numbers, ascending
    unit_mm: float  # how many millimetres one world unit is
    images: dict[int, dict[str, Path]] = field(repr=False)  # frame -> camera name -> plate; a missing plate is absent
    masks: dict[int, dict[str, Path]] = field(default_factory=dict, repr=False)
    warnings: tuple[str, ...] = ()  # sentences for the user: missing plates, images without a camera


def open_capture(path: Path, frames: str | None = None) -> Capture:
    """Read the capture at `path`, a folder or a calibration file; `frames` such as "1-120" or "1,50-60" chooses.

    Raises RequestError with one sentence where nothing can be made of it.
    """
    raise NotImplementedError


def describe(capture: Capture) -> dict:
    """The capture as plain JSON values, for Blender: what the worker's `capture` event carries.

    {"source": str, "unit_mm": float, "frames": [int], "warnings": [str],
     "cameras": [{"name", "width", "height", "fx", "fy", "cx", "cy", "distortion": [5], "world_to_camera": [4][4]}],
     "images": {"frame number as text": {"camera name": "absolute path"}}}
    """
    raise NotImplementedError
