"""Which calibration lies at a path, and the one reader for it. A new format is a reader file and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import RequestError
from .camera import Array, Camera


@dataclass(frozen=True)
class Calibration:
    """What a calibration file says: cameras at their calibrated size, and perhaps where the images lie."""

    source: Path
    cameras: tuple[Camera, ...]
    unit_mm: float
    images: tuple[str, ...] = ()  # patterns below the source's folder; empty: the usual layouts
    masks: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()  # cameras that the file names and disables: their images are passed over
    warnings: tuple[str, ...] = ()


# Formats that are known and not read yet: what gives them away, as (glob below the folder, name of the format).
_UNREAD = (
    ("*cameras.bin", "COLMAP"),
    ("*cameras.txt", "COLMAP"),
    ("*images.bin", "COLMAP"),
    ("*images.txt", "COLMAP"),
    ("sparse/*/cameras.*", "COLMAP"),
    ("sparse/cameras.*", "COLMAP"),
    ("*transforms*.json", "NeRF (transforms.json)"),
    ("*camera_params.json", "NeRSemble"),
    ("*params.json", "FaceScape"),
    ("*cameras.json", "Gaussian Splatting (cameras.json)"),
    ("poses_bounds*.npy", "LLFF"),
    ("KRT", "Multiface (KRT)"),
    ("intri.yml", "EasyMocap"),
    ("extri.yml", "EasyMocap"),
    ("*.yml", "OpenCV"),
    ("*.xmp", "RealityCapture"),
    ("*.csv", "RealityCapture"),
    ("*.psx", "Metashape's own project"),
)


def read_calibration(path: Path, unit_mm: float | None = None) -> Calibration:
    """The calibration at `path`, a file or a folder that holds one; `unit_mm` overrules what the file says or implies.

    Raises RequestError with one sentence if there is none, it is broken, or of a format that is not read.
    """
    source = _find(Path(path))
    reader = _reader(source)
    if reader is None:
        raise _not_read(source, source)
    calibration = reader(source)
    if unit_mm is not None:
        calibration = replace(calibration, unit_mm=float(unit_mm))
    if not (np.isfinite(calibration.unit_mm) and calibration.unit_mm > 0):
        raise RequestError(f"{source}: the unit must be a positive number of millimetres, not {calibration.unit_mm:g}.")
    _check_names(calibration)
    return calibration


def rigid(matrix: Array, who: str) -> Array:
    """`matrix` [4, 4] with its rotation made exact; RequestError naming `who` if it is not rigid to 1e-3."""
    rotation = matrix[:3, :3]
    if not np.isfinite(matrix).all() or not np.allclose(matrix[3], [0, 0, 0, 1], atol=1e-6):
        raise RequestError(f"{who} has a pose that is not a rigid 4x4 matrix with 0 0 0 1 in its last row.")
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3 or np.linalg.det(rotation) < 0:
        raise RequestError(f"{who} has a pose whose rotation is mirrored or scaled; a rotation matrix is needed.")
    u, _, vt = np.linalg.svd(rotation)  # the nearest rotation: files round to a few digits
    exact = np.array(matrix, np.float64)
    exact[:3, :3] = u @ vt
    return exact


def _find(path: Path) -> Path:
    if not path.exists():
        raise RequestError(f"There is no file or folder {path}; check the capture's path.")
    if path.is_file():
        return path.absolute()
    folder = path.absolute()
    if (folder / "capture.json").is_file():
        return folder / "capture.json"
    documents = sorted(folder.glob("*.xml"))
    named = [d for d in documents if d.name.lower() == "cameras.xml"]
    if named or len(documents) == 1:
        return (named or documents)[0]
    if documents:
        names = ", ".join(d.name for d in documents)
        raise RequestError(f"{folder} holds several .xml files ({names}); name the one with the cameras.")
    for pattern, _ in _UNREAD:
        for found in sorted(folder.glob(pattern)):
            raise _not_read(found, folder)
    raise RequestError(f"{folder} holds no calibration: put capture.json or Metashape's cameras.xml there.")


def _reader(source: Path) -> Callable[[Path], Calibration] | None:
    # Imported here because the readers return this module's Calibration.
    from .read_capture_json import is_capture_json, read_capture_json
    from .read_metashape import read_metashape

    if source.name == "capture.json" or is_capture_json(source):
        return read_capture_json
    if source.suffix.lower() == ".xml":
        return read_metashape
    return None


def _not_read(found: Path, asked: Path) -> RequestError:
    name = next((name for pattern, name in _UNREAD if found.match(pattern.rsplit("/", 1)[-1])), None)
    if name is None:
        return RequestError(f"{asked} is not a calibration that is read; give capture.json or Metashape's cameras.xml.")
    return RequestError(
        f"{found} looks like a calibration of the format {name}, which is not read yet; "
        "write a capture.json (docs/formats.md) or export Metashape's cameras.xml."
    )


def _check_names(calibration: Calibration) -> None:
    seen: set[str] = set()
    for camera in calibration.cameras:
        if camera.name in seen:
            raise RequestError(f"{calibration.source} has two cameras called {camera.name}; give each its own name.")
        seen.add(camera.name)
