"""Decodes plates ahead of the solver, in threads."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from ..capture import Camera, Capture, read_plate
from ..machine import cores
from .pyramid import shrink_plate

Array = np.ndarray


class PlateReader:
    """Decodes the plates of the next frame while this one is solved; memory for two frames, however long the take."""

    def __init__(self, capture: Capture, scales: list[int]):
        """A reader of plates reduced by `scales` (a whole number a camera)."""
        self._capture, self._scales = capture, scales
        self._pool = ThreadPoolExecutor(min(4, cores()), thread_name_prefix="plates")
        self._ahead: dict[int, list[Future]] = {}

    def _read(self, frame: int, camera: Camera, scale: int) -> Array | None:
        path = self._capture.images.get(frame, {}).get(camera.name)
        return None if path is None else shrink_plate(read_plate(path, camera), scale)

    def request(self, frame: int) -> None:
        """Begin to decode `frame`."""
        if frame not in self._ahead:
            pairs = zip(self._capture.cameras, self._scales, strict=True)
            self._ahead[frame] = [self._pool.submit(self._read, frame, c, s) for c, s in pairs]

    def take(self, frame: int) -> list[Array | None]:
        """The plates of `frame`, float32 [H, W, 3] at working size; None where a camera has none."""
        self.request(frame)
        return [future.result() for future in self._ahead.pop(frame)]

    def close(self) -> None:
        """Drop what is not decoded yet."""
        self._pool.shutdown(wait=False, cancel_futures=True)
