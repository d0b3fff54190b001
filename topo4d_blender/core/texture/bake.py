"""Bakes the colour map of every chosen frame of a take: inverse mapping, texel -> surface point -> cameras."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ..capture import Camera, Capture, read_plate
from ..errors import RequestError
from ..progress import Progress
from ..take import Take
from .frame import BANDS, Canvas, bake_frame
from .write import texture_size, write_texture

Array = np.ndarray
_READERS = 2  # threads that decode plates ahead
_AHEAD = 4  # plates decoded before they are asked for


def bake_take(
    take: Take,
    capture: Capture,
    resolution: int = 8192,
    frames: tuple[int, ...] | None = None,
    progress: Progress | None = None,
    resume: bool = False,
) -> list[int]:
    """Write texture/ and texture_2k/ for `frames` (default: every solved one); returns the frames written.

    With `resume`, frames already whole on disk at `resolution` are left as they are. A frame without plates is skipped
    with a warning. Calls `progress.frame` with each master's path and {"proxy", "seconds", "seen_share"}.
    Raises RequestError (template without UV, frame not solved, no plates at all, a plate that cannot be read),
    StorageError (disk full), Cancelled; frames written before stay.
    """
    progress = progress or Progress()
    if not 16 <= resolution <= 16384:
        raise RequestError(f"A texture of {resolution} texels cannot be baked; choose 16 to 16384, such as 8192.")
    chosen = _choose_frames(take, frames)
    template = take.template
    if template.uv is None:
        raise RequestError("The template has no UV map, so there is nothing to bake onto; unwrap it and track again.")
    if resume:
        whole = set(take.textured_frames())
        chosen = [f for f in chosen if f not in whole or not _is_current(take, f, resolution)]
    with_plates = [f for f in chosen if capture.images.get(f)]
    for frame in chosen:
        if frame not in with_plates:
            progress.warning(f"Frame {frame} has no plates in {capture.source}; its texture is skipped.")
    if chosen and not with_plates:
        raise RequestError(f"None of the frames to bake has plates in {capture.source}; name the folder with --images.")
    if not with_plates:
        return []

    a_frame = len(capture.cameras) + BANDS + 2
    progress.stage("Baking", len(with_plates) * a_frame)
    canvas = Canvas.of(template, resolution)
    for sentence in canvas.uv_map.warnings:
        progress.warning(sentence)
    cameras = [camera.undistorted() for camera in capture.cameras]
    written = []

    def step() -> None:
        progress.advance()
        progress.check()

    with ThreadPoolExecutor(_READERS) as pool:
        read = _read_ahead(pool, _plate_jobs(capture, with_plates))
        for frame in with_plates:
            begun = time.perf_counter()
            plates = _plates_of_frame(read, len(cameras))
            baked = bake_frame(canvas, take.read_geometry(frame), cameras, plates, step)
            if baked is None:
                progress.warning(f"Frame {frame} has no plate of the chosen cameras; its texture is skipped.")
                progress.advance(BANDS + 2)
                continue
            texture, seen = baked
            write_texture(take.texture_path(frame), take.proxy_path(frame), texture)
            written.append(frame)
            covered = int((canvas.uv_map.ids >= 0).sum())
            metrics = {
                "proxy": str(take.proxy_path(frame)),
                "seconds": round(time.perf_counter() - begun, 3),
                "seen_share": round(float(seen.sum()) / max(covered, 1), 4),
            }
            progress.frame(frame, str(take.texture_path(frame)), metrics)
            step()
    return written


def _choose_frames(take: Take, frames: tuple[int, ...] | None) -> list[int]:
    solved = take.solved_frames()
    if frames is None:
        if not solved:
            raise RequestError(f"No frame of {take.folder} is solved yet; track it first.")
        return list(solved)
    missing = sorted(set(frames) - set(solved))
    if missing:
        named = ", ".join(map(str, missing[:5])) + (" ..." if len(missing) > 5 else "")
        raise RequestError(f"Frame {named} of {take.folder} is not solved; track it first or choose solved frames.")
    return sorted(set(frames))


def _is_current(take: Take, frame: int, resolution: int) -> bool:
    """Whether the master of `frame`, known to be whole, is of `resolution` and has its proxy beside it."""
    return take.proxy_path(frame).is_file() and texture_size(take.texture_path(frame)) == (resolution, resolution)


def _plate_jobs(capture: Capture, frames: Iterable[int]) -> Iterator[Callable[[], tuple[Array | None, Array | None]]]:
    for frame in frames:
        for camera in capture.cameras:
            plate = capture.images[frame].get(camera.name)
            mask = capture.masks.get(frame, {}).get(camera.name)
            yield lambda plate=plate, mask=mask, camera=camera: _read(plate, mask, camera)


def _read(plate: Path | None, mask: Path | None, camera: Camera) -> tuple[Array | None, Array | None]:
    """The plate and its mask (zero: ignore), None where there is none."""
    if plate is None:
        return None, None
    pixels = read_plate(plate, camera)
    if mask is None:
        return pixels, None
    values = read_plate(mask, camera)[..., 0]
    return pixels, values > np.iinfo(values.dtype).max // 2


def _read_ahead(pool: ThreadPoolExecutor, jobs: Iterator[Callable]) -> Iterator:
    """Results of `jobs` in order, with a few always under way in `pool`."""
    waiting = deque()
    try:
        for job in jobs:
            waiting.append(pool.submit(job))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _plates_of_frame(read: Iterator, count: int) -> Iterator[tuple[int, Array | None, Array | None]]:
    for k in range(count):
        plate, mask = next(read)
        yield k, plate, mask
