"""A capture: calibrated cameras, frame numbers and where every plate lies. Reads calibration, never pixels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import RequestError
from .calibration import Calibration, read_calibration
from .camera import Camera
from .images import image_size
from .patterns import IMAGE_PATTERNS, MASK_PATTERNS, Found, choose_frames, find_images, frames_text
from .read_capture_json import camera_as_json


@dataclass(frozen=True)
class Capture:
    """What was filmed. `cameras` are at the size of their images (intrinsics scaled), lens distortion still in."""

    source: Path  # the calibration file
    cameras: tuple[Camera, ...]
    frames: tuple[int, ...]  # the capture's own numbers, ascending
    unit_mm: float  # how many millimetres one world unit is
    images: dict[int, dict[str, Path]] = field(repr=False)  # frame -> camera name -> plate; a missing plate is absent
    masks: dict[int, dict[str, Path]] = field(default_factory=dict, repr=False)
    warnings: tuple[str, ...] = ()  # sentences for the user: missing plates, images without a camera


def open_capture(path: Path, frames: str | None = None, *, unit_mm: float | None = None) -> Capture:
    """Read the capture at `path`, a folder or a calibration file; `frames` such as "1-120" or "1,50-60" chooses.

    `unit_mm` overrules the unit that the calibration states or (Metashape: metres) implies. Cameras without an image
    in the chosen frames are left out with a warning. Raises RequestError with one sentence where nothing can be made
    of it.
    """
    calibration = read_calibration(Path(path), unit_mm)
    folder, names = calibration.source.parent, [c.name for c in calibration.cameras]
    found, strangers = find_images(folder, calibration.images or IMAGE_PATTERNS, names)
    if not found:
        raise _no_images(calibration, strangers)
    warnings = list(calibration.warnings)
    if frames is None:
        numbers = tuple(sorted(found))
    else:
        numbers, more = choose_frames(frames, found)
        warnings += more
    images = {number: found[number] for number in numbers}
    masks, _ = find_images(folder, calibration.masks or MASK_PATTERNS, names)
    warnings += _missing(names, images, strangers, folder)
    return Capture(
        source=calibration.source,
        cameras=tuple(_at_image_size(c, images) for c in calibration.cameras if _first(c.name, images)),
        frames=numbers,
        unit_mm=calibration.unit_mm,
        images=images,
        masks={number: masks[number] for number in numbers if number in masks},
        warnings=tuple(warnings),
    )


def describe(capture: Capture) -> dict:
    """The capture as plain JSON values, for Blender: what the worker's `capture` event carries.

    {"source": str, "unit_mm": float, "frames": [int], "warnings": [str],
     "cameras": [{"name", "width", "height", "fx", "fy", "cx", "cy", "distortion": [5], "world_to_camera": [4][4]}],
     "images": {"frame number as text": {"camera name": "absolute path"}}}
    """
    return {
        "source": str(capture.source),
        "unit_mm": capture.unit_mm,
        "frames": list(capture.frames),
        "warnings": list(capture.warnings),
        "cameras": [camera_as_json(camera) for camera in capture.cameras],
        "images": {
            str(frame): {name: str(path.absolute()) for name, path in plates.items()}
            for frame, plates in capture.images.items()
        },
    }


def _first(camera: str, images: Found) -> Path | None:
    return next((plates[camera] for plates in images.values() if camera in plates), None)


def _at_image_size(camera: Camera, images: Found) -> Camera:
    """`camera` at the size of its first plate; a later plate of another size is met by `read_plate`."""
    path = _first(camera.name, images)
    try:
        return camera.scaled(*image_size(path))
    except RequestError as error:
        if str(path) in str(error):
            raise
        raise RequestError(f"{path}: {error}") from error


def _no_images(calibration: Calibration, strangers: set[str]) -> RequestError:
    folder = calibration.source.parent
    patterns = " or ".join(calibration.images or IMAGE_PATTERNS)
    if not strangers:
        return RequestError(f"{folder} holds no images; they should lie at {patterns}.")
    return RequestError(
        f"No image below {folder} belongs to a camera of {calibration.source.name}: it calls them "
        f"{_some(c.name for c in calibration.cameras)}, the images say {_some(strangers)}; rename one of them."
    )


def _missing(names: list[str], images: Found, strangers: set[str], folder: Path) -> list[str]:
    """A sentence for every camera without images, gap in a camera, and the images without a camera."""
    sentences = []
    absent = [name for name in names if not _first(name, images)]
    if absent:
        sentences.append(f"Cameras without an image below {folder} in these frames are left out: {_some(absent)}.")
    for name in names:
        gaps = [frame for frame, plates in images.items() if name not in plates]
        if gaps and name not in absent:
            sentences.append(f"Camera {name} has no image in frame {frames_text(gaps)}; it is left out there.")
    if strangers:
        sentences.append(f"Images without a calibrated camera in {folder} are not used: {_some(strangers)}.")
    return sentences


def _some(names: Iterable[str], most: int = 5) -> str:
    """Some names in words, the rest as a count."""
    ordered = sorted(names)
    more = len(ordered) - most
    return ", ".join(ordered[:most]) + (f" and {more} more" if more > 0 else "")
