"""A capture: calibrated cameras, frame numbers and where every plate lies. Reads calibration, never pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import RequestError
from .calibration import Calibration, read_calibration
from .camera import Camera
from .choice import choose_cameras, some
from .images import image_size
from .patterns import IMAGE_PATTERNS, MASK_PATTERNS, Found, Images, choose_frames, find_images, frames_text
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
    choice: tuple[str, ...] | None = None  # the cameras that were chosen; None: all that there are
    warnings: tuple[str, ...] = ()  # sentences for the user: missing plates, what the calibration leaves out


def open_capture(
    path: Path, frames: str | None = None, *, unit_mm: float | None = None, cameras: Sequence[str] | None = None
) -> Capture:
    """Read the capture at `path`, a folder or a calibration file; `frames` such as "1-120" or "1,50-60" chooses.

    `unit_mm` overrules the unit that the calibration states or (Metashape: metres) implies. `cameras` are names and
    patterns (choice.py); those not chosen are neither looked for nor spoken of. Raises RequestError with one sentence
    where nothing can be made of it, also if a chosen camera has no image at all or images have no calibrated camera. A
    frame that some camera misses is a warning.
    """
    calibration = read_calibration(Path(path), unit_mm)
    folder, names = calibration.source.parent, [c.name for c in calibration.cameras]
    images = find_images(folder, calibration.images or IMAGE_PATTERNS, names)
    if not images.found:
        raise _no_images(calibration, images)
    choice = _choose(calibration, images, cameras)
    found = {frame: {n: p for n, p in plates.items() if n in choice} for frame, plates in images.found.items()}
    found = {frame: plates for frame, plates in found.items() if plates}
    warnings = list(calibration.warnings)
    if frames is None:
        numbers = tuple(sorted(found))
    else:
        numbers, more = choose_frames(frames, found)
        warnings += more
    warnings += _holes(numbers, found, folder)
    plates = {number: found[number] for number in numbers}
    masks = find_images(folder, calibration.masks or MASK_PATTERNS, names).found
    warnings += _missing(choice, plates, folder)
    return Capture(
        source=calibration.source,
        cameras=tuple(_at_image_size(c, plates) for c in calibration.cameras if _first(c.name, plates)),
        frames=numbers,
        unit_mm=calibration.unit_mm,
        images=plates,
        masks={number: masks[number] for number in numbers if number in masks},
        choice=None if len(choice) == len(names) and not images.strangers else choice,
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


def _no_images(calibration: Calibration, images: Images) -> RequestError:
    folder = calibration.source.parent
    if not images.strangers:
        patterns = " or ".join(calibration.images or IMAGE_PATTERNS)
        return RequestError(f"{folder} holds no images; they should lie at {patterns}.")
    return RequestError(
        f"No image below {folder} belongs to a camera of {calibration.source.name}: it calls them "
        f"{some(c.name for c in calibration.cameras)}, the images say {some(images.strangers)}; rename one of them."
    )


def _choose(calibration: Calibration, images: Images, parts: Sequence[str] | None) -> tuple[str, ...]:
    """The calibrated cameras that `parts` choose. Raises RequestError unless cameras and images are in pairs."""
    source, names = calibration.source, [c.name for c in calibration.cameras]
    strangers = [name for name in images.strangers if name not in calibration.left_out]
    everyone = (*names, *strangers, *calibration.left_out)
    chosen = everyone if parts is None else choose_cameras(parts, everyone, source)
    if nameless := [name for name in chosen if name in strangers]:
        also = f" (nor does it name {some(nameless[1:])})" if nameless[1:] else ""
        raise _unpaired(
            f"{images.strangers[nameless[0]]} is of camera {nameless[0]}, which {source} does not name{also}",
            nameless,
            "add it to",
        )
    with_images = set().union(*images.found.values())
    if bare := [name for name in chosen if name in names and name not in with_images]:
        place = source.parent / images.pattern.replace("{camera}", bare[0])
        also = f" (nor have {some(bare[1:])})" if bare[1:] else ""
        raise _unpaired(f"Camera {bare[0]} of {source} has no image {place}{also}", bare, "disable it in")
    if not (choice := tuple(name for name in chosen if name in names)):
        raise RequestError(f"The chosen cameras ({some(chosen)}) are disabled in {source}; choose others.")
    return choice


def _unpaired(what: str, names: list[str], remedy: str) -> RequestError:
    """The refusal of images without a camera or cameras without images: the other half was forgotten or misnamed."""
    out = ",".join(names)
    return RequestError(
        f"{what}; leave it out with --without-cameras {out} or {remedy} the calibration.",
        hint=f"Load it again with {','.join(f'-{name}' for name in names)} as Cameras, beside the list of files.",
    )


def _holes(numbers: tuple[int, ...], found: Found, folder: Path) -> list[str]:
    """A sentence for the frames between the chosen ones of which no camera has an image, if none was meant to be."""
    everything = sorted(found)
    step = min((b - a for a, b in zip(everything, everything[1:], strict=False)), default=1)
    holes = [f for f in range(numbers[0], numbers[-1], step) if f not in found] if _regular(everything, step) else []
    if not holes:
        return []
    return [f"No camera has an image of frame {frames_text(holes)} below {folder}; the take goes on without it."]


def _regular(everything: list[int], step: int) -> bool:
    """Whether all frame numbers lie on one grid of `step`: only then a number between them is missing."""
    return all((f - everything[0]) % step == 0 for f in everything)


def _missing(names: Iterable[str], images: Found, folder: Path) -> list[str]:
    """A sentence for every camera without images in the chosen frames and for every gap in a camera."""
    sentences = []
    absent = [name for name in names if not _first(name, images)]
    if absent:
        sentences.append(f"Cameras without an image below {folder} in these frames are left out: {some(absent)}.")
    for name in names:
        gaps = [frame for frame, plates in images.items() if name not in plates]
        if gaps and name not in absent:
            sentences.append(f"Camera {name} has no image in frame {frames_text(gaps)}; it is left out there.")
    return sentences
