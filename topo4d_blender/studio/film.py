"""Films a sequence of known vertices into a capture folder, and keeps the truth beside it.

What it writes: capture.json, images/{camera}/{frame}.jpg, start.obj with start.png, truth.npz, truth_texture.png and
film.json, which says what was asked. Everything is written whole or not at all, film.json first: a second call with
the same settings makes only what is missing. Imports bpy through scene.py, so it runs in a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from ..core.capture import Camera
from ..core.capture.read_capture_json import write_capture_json
from ..core.errors import RequestError
from ..core.files import atomic_write
from ..core.progress import Progress
from ..core.template import Template
from . import performance, suzanne
from .look import Look
from .rig import Rig, Sensor, camera_gains, expose, fault_of, place_cameras
from .truth import face_mask

Array = np.ndarray
VERSION = 1  # of what the same settings show: raise it whenever the pictures change, old films are made anew then


@dataclass(frozen=True)
class Film:
    """What Suzanne's film is made of. Equal settings give the same film."""

    vertices: int = 8000  # nearest subdivision is taken
    frames: int = 12
    texture: int = 2048  # px, of the painted skin
    seed: int = 0  # of the skin and the performance; rig and sensor have their own
    rig: Rig = field(default_factory=Rig)
    sensor: Sensor = field(default_factory=Sensor)
    look: Look = field(default_factory=Look)

    @property
    def key(self) -> str:
        """Names the film."""
        return hashlib.sha256(json.dumps([VERSION, asdict(self)], sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Prop:
    """What is filmed with the head though the template lacks it: eyeballs, teeth, a tongue."""

    vertices: Array  # [F, W, 3] capture units
    template: Template  # its vertices are not looked at
    texture: Array  # [R, R, 3] uint8 RGB on its UV map


def plan_film(
    vertices: int = 8000,
    cameras: int = 12,
    frames: int = 12,
    width: int = 375,
    height: int = 512,
    texture: int = 2048,
    samples: int | None = None,
    flat: bool = False,
    noise: bool = True,
    seed: int = 0,
) -> Film:
    """The film that the options of the command line ask for; `seed` is that of everything."""
    look = Look(skin=not flat, samples=samples or Look.samples)
    sensor = Sensor(seed=seed) if noise else Sensor(0.0, 0.0, 0.0, 100)
    return Film(vertices, frames, texture, seed, Rig(cameras, width, height, seed=seed), sensor, look)


def film_is_whole(out: Path, key: str, cameras: int, frames: int) -> bool:
    """Whether `out` holds every file of the film named `key`."""
    if _key_of(out) != key:
        return False
    fixed = ("capture.json", "start.obj", "truth.npz", "truth_texture.png")
    images = sum(1 for _ in (out / "images").glob("*/[0-9]*.*"))
    return images >= cameras * frames and all((out / name).is_file() for name in fixed)


def film_suzanne(film: Film, out: Path, progress: Progress | None = None) -> None:
    """Film Suzanne playing the performance of `film` into the folder `out`. In metres, y up.

    Raises RequestError if `out` holds another film, StorageError if it cannot be written.
    """
    from .scene import suzanne_mesh

    progress = progress or Progress()
    _claim(out, film.key, asdict(film))
    progress.stage("Preparing the subject", 1)
    model = suzanne_mesh(film.vertices)
    scale = suzanne.millimetres(model.vertices) / 1000.0
    vertices = performance.perform(model.vertices, film.frames, film.seed) * scale
    texture, roughness = suzanne.paint(model, film.texture, film.seed)
    progress.advance()
    film_sequence(
        vertices,
        replace(model, vertices=vertices[0]),
        texture,
        out,
        rig=film.rig,
        sensor=film.sensor,
        look=film.look,
        roughness=roughness,
        face_region=suzanne.face_region(model.vertices),
        progress=progress,
        key=film.key,
    )


def film_sequence(
    vertices: Array,  # [F, V, 3] capture units; the first frame is the template's
    template: Template,  # its vertices are not looked at
    texture: Array,  # [R, R, 3] uint8 RGB on the template's UV map
    out: Path,
    *,
    unit_mm: float = 1000.0,
    rig: Rig | Sequence[Camera] = Rig(),  # noqa: B008 (frozen)
    sensor: Sensor = Sensor(),  # noqa: B008
    look: Look = Look(),  # noqa: B008
    roughness: Array | None = None,  # [R, R] uint8; None: the same all over
    face_region: Array | None = None,  # [V] bool: where the face mask may lie at all; None: anywhere
    prop: Prop | None = None,
    calibration: Sequence[Camera] | None = None,  # what capture.json says of the cameras; None: the truth
    frames: Sequence[int] | None = None,  # the frames' numbers; None: from 1
    progress: Progress | None = None,
    key: str | None = None,
) -> None:
    """Film any head: `vertices` as they move, through `rig` (or given cameras), into the capture folder `out`.

    Raises RequestError if `out` holds another film, StorageError if it cannot be written, Cancelled.
    """
    from .scene import Studio, export_obj

    progress = progress or Progress()
    vertices = np.asarray(vertices, np.float32)
    frames = tuple(frames or range(1, len(vertices) + 1))
    cameras = place_cameras(rig, vertices.reshape(-1, 3), unit_mm) if isinstance(rig, Rig) else list(rig)
    if key is None:
        more = (prop.vertices, prop.template, prop.texture) if prop else ()
        more += (list(calibration),) if calibration else ()
        key = _digest(vertices, template, texture, cameras, frames, asdict(sensor), asdict(look), unit_mm, *more)
        _claim(out, key, {"sensor": asdict(sensor), "look": asdict(look)})
    pictures = {"truth_texture.png": texture, "start.png": texture, "roughness.png": roughness}
    for name, picture in (pictures | {"prop.png": prop.texture if prop else None}).items():
        if picture is not None and not (out / name).exists():
            _write_picture(out / name, picture)
    start = replace(template, vertices=vertices[0].astype(np.float64))
    if not (out / "start.obj").exists():
        export_obj(start, out / "start.png", out / "start.obj")
    _write_truth(out / "truth.npz", vertices, start, cameras, unit_mm, frames, face_region, prop)

    middle = 0.5 * (vertices[0].min(0) + vertices[0].max(0))
    studio = Studio(
        start,
        unit_mm,
        out / "truth_texture.png",
        look,
        middle,
        out / "roughness.png" if roughness is not None else None,
        (replace(prop.template, vertices=prop.vertices[0].astype(np.float64)), out / "prop.png") if prop else None,
    )
    _film(studio, look, vertices, prop, cameras, frames, sensor, out, progress)
    pattern = f"images/{{camera}}/{{frame}}{sensor.suffix}"
    if calibration is not None:
        write_capture_json(out / "truth_cameras.json", cameras, unit_mm, pattern)
    write_capture_json(out / "capture.json", calibration or cameras, unit_mm, pattern)


def _film(
    studio,
    look: Look,
    vertices: Array,
    prop: Prop | None,
    cameras: list[Camera],
    frames: tuple,
    sensor: Sensor,
    out: Path,
    progress: Progress,
) -> None:
    """Render what is missing, frame by frame: the mesh is moved once a frame, the cameras look in turn."""
    progress.stage("Filming", len(frames) * len(cameras))
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.png"
        for row, frame in enumerate(frames):
            posed = False
            gains = camera_gains(sensor, len(cameras), frame)
            for index, camera in enumerate(cameras):
                progress.check()
                plate = out / "images" / camera.name / f"{frame:06d}{sensor.suffix}"
                fault = fault_of(sensor, index, frame)
                if not plate.exists() and not (fault and fault.dropped):
                    if not posed:
                        studio.pose(vertices[row], prop.vertices[row] if prop else None)
                        studio.light(look.at(frame))
                        posed = True
                    studio.render(camera, raw, seed=frame * 1009 + index)
                    linear = cv2.imread(str(raw), cv2.IMREAD_UNCHANGED)[:, :, ::-1].astype(np.float64) / 65535.0
                    _write_picture(plate, expose(linear, gains[index], sensor, index, frame), sensor.jpeg_quality)
                progress.advance()


def _write_truth(
    path: Path,
    vertices: Array,
    start: Template,
    cameras: list[Camera],
    unit_mm: float,
    frames: tuple,
    region: Array | None,
    prop: Prop | None,
) -> None:
    if path.exists():
        return
    before = (prop.vertices[0].astype(np.float64), prop.template.triangles) if prop else None
    mask = face_mask(start.vertices, start.triangles, cameras, before)
    if region is not None:
        mask &= region
    content = {"vertices": vertices, "face_mask": mask, "unit_mm": unit_mm, "frames": np.array(frames, np.int32)}
    atomic_write(path, lambda file: np.savez_compressed(file, **content))


def _write_picture(path: Path, picture: Array, quality: int = 100) -> None:
    """Write RGB or gray `picture` whole; JPEG in 4:4:4, so that colour is as sharp as brightness."""
    options = [cv2.IMWRITE_PNG_COMPRESSION, 3]
    if path.suffix == ".jpg":
        options = [
            cv2.IMWRITE_JPEG_QUALITY,
            quality,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
        ]
    swapped = picture[:, :, ::-1] if picture.ndim == 3 else picture
    _, data = cv2.imencode(path.suffix, np.ascontiguousarray(swapped), options)
    atomic_write(path, lambda file: file.write(data.tobytes()))


def _claim(out: Path, key: str, settings: dict) -> None:
    """Begin the film `key` in `out`, or go on with it."""
    held = _key_of(out)
    if held == key:
        return
    if held is not None or (out.is_dir() and any(out.iterdir())):
        what = "another film" if held else "other files"
        raise RequestError(f"{out} holds {what}; choose another folder, or delete this one to film anew.")
    text = json.dumps({"format": "topo4d-film", "version": VERSION, "key": key, "settings": settings}, indent=1)
    atomic_write(out / "film.json", lambda file: file.write(text.encode()))


def _key_of(out: Path) -> str | None:
    """The key of the film in `out`, "" if its film.json cannot be read, None if there is none."""
    try:
        return str(json.loads((out / "film.json").read_text()).get("key", ""))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError):
        return ""


def _digest(*parts: object) -> str:
    digest = hashlib.sha256(repr(VERSION).encode())
    for part in parts:
        if isinstance(part, Template):
            for array in (part.loops, part.face_starts, part.uv):
                digest.update(np.ascontiguousarray(array).tobytes())
        elif isinstance(part, np.ndarray):
            digest.update(np.ascontiguousarray(part).tobytes())
        elif isinstance(part, list):
            digest.update(
                json.dumps([{**asdict(c), "world_to_camera": c.world_to_camera.tolist()} for c in part]).encode()
            )
        else:
            digest.update(json.dumps(part, sort_keys=True).encode())
    return digest.hexdigest()[:16]
