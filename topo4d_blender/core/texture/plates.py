"""Plates of a sequence, decoded ahead of the solve by a few threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ..capture import Camera, Capture, read_plate
from ..errors import RequestError
from .frame import Plate

Array = np.ndarray
READERS = 2  # threads that decode plates ahead
_AHEAD = 4  # plates decoded before they are asked for
_Read = tuple[Array | None, Array | None, RequestError | None]


class Plates:
    """The plates of some frames, to be asked for in order."""

    def __init__(self, pool: ThreadPoolExecutor, capture: Capture, frames: Iterable[int]) -> None:
        """Begins to decode `frames` of `capture` in `pool` when the first is asked for."""
        self._count = len(capture.cameras)
        self._read = _read_ahead(pool, _jobs(capture, frames))

    def of_next_frame(self) -> Iterator[Plate]:
        """Camera index, plate and mask (zero: ignore) of the next frame, one camera after the other.

        Raises RequestError at the end of a frame with a plate that cannot be used; go on with the next one then.
        """
        refused = None
        for k in range(self._count):
            plate, mask, error = next(self._read)
            refused = refused or error
            if not refused:
                yield k, plate, mask
        if refused:
            raise refused


def _jobs(capture: Capture, frames: Iterable[int]) -> Iterator[Callable[[], _Read]]:
    for frame in frames:
        for camera in capture.cameras:
            plate = capture.images[frame].get(camera.name)
            mask = capture.masks.get(frame, {}).get(camera.name)
            yield lambda plate=plate, mask=mask, camera=camera: _read(plate, mask, camera)


def _read(plate: Path | None, mask: Path | None, camera: Camera) -> _Read:
    """The plate and its mask, None where there is none; or why they cannot be used."""
    if plate is None:
        return None, None, None
    try:
        pixels = read_plate(plate, camera)
        if mask is None:
            return pixels, None, None
        values = read_plate(mask, camera)[..., 0]
    except RequestError as error:
        return None, None, error
    return pixels, values > np.iinfo(values.dtype).max // 2, None


def _read_ahead(pool: ThreadPoolExecutor, jobs: Iterator[Callable[[], _Read]]) -> Iterator[_Read]:
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
