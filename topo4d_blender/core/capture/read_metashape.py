"""Agisoft Metashape's camera export (cameras.xml).

Conventions of the file, from the Metashape manual (appendix "Camera models") checked against real exports:
- camera axes are OpenCV's; a camera's <transform> takes camera space to the chunk, the component's (or chunk's) takes
  the chunk to the world by scale, rotation and translation: world = scale * R * chunk + translation;
- cx, cy are offsets from the centre of the image, in px of the calibrated size; the first pixel's centre is (0.5, 0.5);
- x' = x (1 + K1 r2 + K2 r4 + K3 r6 + K4 r8) + P1 (r2 + 2 x2) + 2 P2 x y and y likewise: P1 is OpenCV's p2, P2 its p1;
- u = width / 2 + cx + x' f + x' B1 + y' B2, v = height / 2 + cy + y' f.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import numpy as np

from ..errors import RequestError
from .calibration import Calibration, rigid
from .camera import Array, Camera
from .patterns import IMAGE_SUFFIXES

METRES = 1000.0
_NEGLIGIBLE_PX = 0.25  # of the calibrated image: below this, a term that the camera model lacks is dropped


def read_metashape(path: Path) -> Calibration:
    """Read `path`; the world is the frame outside the component's transform, taken to be in metres.

    Cameras that are not aligned or not enabled are left out with a warning. Raises RequestError naming the file.
    """
    chunk = _chunk(path)
    sensors = {s.get("id"): s for s in chunk.findall("sensors/sensor")}
    warnings: list[str] = []
    elements = _aligned(chunk, path, warnings)
    worlds, metric = _worlds(chunk, elements, path, warnings)
    lenses: dict[str | None, dict] = {}
    cameras = []
    for element in elements:
        component = element.get("component_id")
        if component not in worlds:
            continue
        who = f"{path}: camera {element.get('label')}"
        sensor = element.get("sensor_id")
        if sensor not in lenses:
            lenses[sensor] = _lens(sensors.get(sensor), who, warnings)
        pose = _world_to_camera(_matrix(element.findtext("transform"), who), *worlds[component], who)
        cameras.append(Camera(name=_name(element), world_to_camera=pose, **lenses[sensor]))
    if not metric:
        warnings.append(
            f"{path} has no chunk transform, so its scale is not known: one unit is taken to be a metre; "
            "give the unit if it is another."
        )
    used = {camera.name for camera in cameras}
    left_out = tuple(_name(c) for c in chunk.find("cameras").iter("camera") if _name(c) not in used)
    return Calibration(path, tuple(cameras), METRES, left_out=left_out, warnings=tuple(warnings))


def _chunk(path: Path) -> ET.Element:
    try:
        root = ET.parse(path).getroot()
    except OSError as error:
        raise RequestError(f"{path} cannot be read ({error.strerror}).") from error
    except ET.ParseError as error:
        raise RequestError(f"{path} is not valid XML ({error}); export the cameras from Metashape again.") from error
    chunks = [c for c in root.iter("chunk") if c.find("cameras") is not None]
    if root.tag != "document" or not chunks:
        raise RequestError(f"{path} is XML but not Metashape's camera export (File > Export > Export Cameras, .xml).")
    return chunks[0]


def _aligned(chunk: ET.Element, path: Path, warnings: list[str]) -> list[ET.Element]:
    """The enabled cameras that have a pose, also those within groups."""
    everyone = list(chunk.find("cameras").iter("camera"))
    on = [c for c in everyone if (c.get("enabled") or "true").lower() in ("true", "1")]
    aligned = [c for c in on if (c.findtext("transform") or "").strip()]
    for gone, why in (
        ([c for c in everyone if c not in on], "not enabled"),
        ([c for c in on if c not in aligned], "not aligned (no transform)"),
    ):
        if gone:
            names = ", ".join(_name(c) for c in gone)
            warnings.append(f"{path}: left out because {why} in Metashape: {names}.")
    if not aligned:
        raise RequestError(f"{path} has no aligned camera; align the cameras in Metashape and export them again.")
    return aligned


def _worlds(
    chunk: ET.Element, elements: list[ET.Element], path: Path, warnings: list[str]
) -> tuple[dict[str | None, tuple[float, Array, Array]], bool]:
    """For every component in use (scale, rotation [3, 3], translation [3]), and whether the file holds any of them."""
    whole = _transform(chunk.find("transform"), path)
    own = {c.get("id"): _transform(c.find("transform"), path) for c in chunk.findall("components/component")}
    used = Counter(e.get("component_id") for e in elements)
    found = {component: own.get(component) or whole for component in used}
    if len(found) > 1 and None in found.values():  # without transforms, components share no frame
        largest = used.most_common(1)[0][0]
        left = ", ".join(_name(e) for e in elements if e.get("component_id") != largest)
        warnings.append(f"{path}: left out because they were aligned apart from the others: {left}.")
        found = {largest: found[largest]}
    metric = None not in found.values()
    return {k: world or (1.0, np.eye(3), np.zeros(3)) for k, world in found.items()}, metric


def _transform(element: ET.Element | None, path: Path) -> tuple[float, Array, Array] | None:
    if element is None:
        return None
    who = f"{path}: the chunk's transform"
    if (element.text or "").strip():  # PhotoScan: one matrix
        matrix = _matrix(element.text, who)
        scale = float(np.cbrt(np.linalg.det(matrix[:3, :3])))
        rotation, translation = matrix[:3, :3] / scale, matrix[:3, 3]
    else:
        scale = float(_numbers(element.findtext("scale") or "1", 1, who)[0])
        rotation = _numbers(element.findtext("rotation") or "1 0 0 0 1 0 0 0 1", 9, who).reshape(3, 3)
        translation = _numbers(element.findtext("translation") or "0 0 0", 3, who)
    if not scale > 0:
        raise RequestError(f"{who} has the scale {scale:g}; it must be positive.")
    whole = np.eye(4)
    whole[:3, :3] = rotation
    return scale, rigid(whole, who)[:3, :3], translation


def _world_to_camera(camera_to_chunk: Array, scale: float, rotation: Array, translation: Array, who: str) -> Array:
    """The rigid pose in the world: the scale moves the camera but is divided out of its axes.  # [4, 4]."""
    turned = rotation @ rigid(camera_to_chunk, who)[:3, :3]
    centre = scale * rotation @ camera_to_chunk[:3, 3] + translation
    pose = np.eye(4)
    pose[:3, :3] = turned.T
    pose[:3, 3] = -turned.T @ centre
    return pose


def _lens(sensor: ET.Element | None, who: str, warnings: list[str]) -> dict:
    """Everything of `Camera` but its name and pose."""
    calibration = _calibration(sensor, who)
    size = calibration.find("resolution") if calibration.find("resolution") is not None else sensor.find("resolution")
    if size is None:
        raise RequestError(f"{who} has a sensor without a resolution.")
    width, height = (int(size.get(k, "0")) for k in ("width", "height"))
    keys = ("f", "cx", "cy", "b1", "b2", "k1", "k2", "k3", "k4", "p1", "p2", "p3", "p4")
    v = {key: float(_numbers(calibration.findtext(key) or "0", 1, who)[0]) for key in keys}
    if v["f"] <= 0 or width <= 0 or height <= 0:
        raise RequestError(f"{who} has a lens without a focal length or an image size.")
    _drop_terms(v, width, height, who, warnings)
    return {
        "width": width,
        "height": height,
        "fx": v["f"] + v["b1"],
        "fy": v["f"],
        "cx": width / 2 + v["cx"],
        "cy": height / 2 + v["cy"],
        "distortion": (v["k1"], v["k2"], v["p2"], v["p1"], v["k3"]),
    }


def _calibration(sensor: ET.Element | None, who: str) -> ET.Element:
    found = [] if sensor is None else sensor.findall("calibration")
    if not found:
        raise RequestError(f"{who} has no lens calibration; optimise the cameras in Metashape and export them again.")
    kind = sensor.get("type", "frame")
    calibration = min(found, key=lambda c: {"adjusted": 0, "initial": 1}.get(c.get("class"), 2))
    if kind != "frame" or calibration.get("type", "frame") != "frame":
        other = kind if kind != "frame" else calibration.get("type")
        raise RequestError(f"{who} has a lens of the type {other}; only frame cameras are read.")
    if calibration.find("f") is None:
        raise RequestError(f"{who} has a lens without <f>, as PhotoScan wrote it; export it again from Metashape.")
    return calibration


def _drop_terms(v: dict[str, float], width: int, height: int, who: str, warnings: list[str]) -> None:
    """Refuse skew, k4, p3 and p4 where they matter: the camera model (and Blender's) does not have them."""
    x, y = (width / 2 + abs(v["cx"])) / v["f"], (height / 2 + abs(v["cy"])) / v["f"]
    r2 = x * x + y * y
    tangential = (abs(v["p1"]) + abs(v["p2"])) * 3 * r2 * (abs(v["p3"]) * r2 + abs(v["p4"]) * r2 * r2)
    effect = abs(v["b2"]) * y + v["f"] * (abs(v["k4"]) * r2**4.5 + tangential)
    if effect > _NEGLIGIBLE_PX:
        raise RequestError(
            f"{who} uses the lens terms b2, k4, p3 or p4, worth up to {effect:.1f} px, which are not read; "
            "switch them off in Metashape's Optimize Cameras and export the cameras again."
        )
    if effect > 0:
        warnings.append(f"{who}: the lens terms b2, k4, p3 and p4 are dropped; they are worth {effect:.2g} px at most.")


def _name(element: ET.Element) -> str:
    """The label without an image's suffix: Metashape labels a camera after its first image."""
    label = element.get("label") or element.get("id") or ""
    return label[: -len(Path(label).suffix)] if Path(label).suffix.lower() in IMAGE_SUFFIXES else label


def _matrix(text: str | None, who: str) -> Array:
    return _numbers(text or "", 16, who).reshape(4, 4)


def _numbers(text: str, count: int, who: str) -> Array:
    try:
        values = np.array(text.split(), np.float64)
    except ValueError:
        values = np.empty(0)
    if len(values) != count or not np.isfinite(values).all():
        raise RequestError(f"{who} has {text.strip()[:60]!r} where {count} finite number(s) should stand.")
    return values
