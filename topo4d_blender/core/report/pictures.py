"""Which pictures a report shows, and how they come into one file."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import matplotlib
import numpy as np

from ..capture import Camera, Capture, read_plate
from ..progress import Progress
from ..take import Take
from .views import Drawn, View, crop_plate, finish, make_view

Array = np.ndarray
PLAYED_FRAMES = 24  # at most: the page stays a few megabytes whatever the take's length
_UNSCORED = np.array([92, 96, 104], np.float64)  # vertices outside the face mask


@dataclass(frozen=True)
class Errors:
    """The distance of every vertex to its true place, for the pictures."""

    mm: dict[int, Array]  # frame -> [V]
    mask: Array  # [V] bool: the vertices that are scored
    full: float  # mm, where the colours end

    def colours(self, frame: int) -> Array:
        """Colour of each vertex, 0..255.  # [V, 3]."""
        map_ = matplotlib.colormaps["turbo"]
        scaled = 0.06 + 0.9 * np.clip(self.mm[frame] / self.full, 0.0, 1.0)
        return np.where(self.mask[:, None], map_(scaled)[:, :3] * 255.0, _UNSCORED)


def spread(items: Sequence, count: int) -> list:
    """`count` of the `items`, evenly spread, first and last among them."""
    if len(items) <= count:
        return list(items)
    return [items[round(i)] for i in np.linspace(0, len(items) - 1, count)]


def choose_cameras(cameras: Sequence[Camera], count: int) -> list[Camera]:
    """The camera nearest to the rig's middle, then those farthest from the ones chosen before it."""
    centres = np.array([camera.centre for camera in cameras])
    chosen = [int(np.argmin(np.linalg.norm(centres - centres.mean(axis=0), axis=1)))]
    while len(chosen) < min(count, len(cameras)):
        nearest = np.linalg.norm(centres[:, None] - centres[chosen], axis=2).min(axis=1)
        chosen.append(int(np.argmax(nearest)))
    return [cameras[i] for i in chosen]


class Gallery:
    """Makes the pictures of one take."""

    def __init__(self, take: Take, capture: Capture, errors: Errors | None) -> None:
        """`capture` is the one tracked; frames without geometry are never shown."""
        self._take, self._capture, self._errors = take, capture, errors
        self.frames = take.solved_frames()
        self._textured = set(textured_frames(take))
        ends = [take.read_geometry(frame) for frame in spread(self.frames, 5)]
        points = np.concatenate(ends)
        self.views = [make_view(camera, points) for camera in choose_cameras(capture.cameras, 4)]

    def play(self, progress: Progress) -> list[dict]:
        """What the main camera sees, frame by frame: plate, mesh over it, texture, error."""
        view, shown = self.views[0], []
        for frame in spread(self.frames, PLAYED_FRAMES):
            progress.check()
            drawn = self._draw(view, frame)
            plate = self._plate(view, frame)
            ground = (
                plate if plate is not None else drawn.coloured(np.full((len(self._take.template.vertices), 3), 150.0))
            )
            entry = {"frame": frame, "mesh": jpeg(finish(view, drawn.wireframe(ground)))}
            if plate is not None:
                entry["plate"] = jpeg(finish(view, plate))
            if frame in self._textured:
                entry["texture"] = jpeg(finish(view, drawn.textured(self._texture(frame))))
            if self._errors is not None and frame in self._errors.mm:
                entry["error"] = jpeg(finish(view, drawn.coloured(self._errors.colours(frame))))
            shown.append(entry)
            progress.advance()
        return shown

    def overlays(self, frames: Sequence[int], progress: Progress) -> list[dict]:
        """The wireframe on the plates of the other cameras, a row a frame."""
        result = []
        for frame in frames:
            for view in self.views[1:] or self.views:
                progress.check()
                plate = self._plate(view, frame)
                if plate is not None:
                    picture = finish(view, self._draw(view, frame).wireframe(plate))
                    result.append({"frame": frame, "camera": view.name, "picture": jpeg(picture)})
            progress.advance()
        return result

    def error_maps(self, frames: Sequence[int], progress: Progress) -> list[dict]:
        """The mesh coloured by its error, as every chosen camera sees it."""
        result = []
        for frame in frames:
            colours = self._errors.colours(frame)
            for view in self.views[:3]:
                progress.check()
                picture = finish(view, self._draw(view, frame).coloured(colours))
                result.append({"frame": frame, "camera": view.name, "picture": jpeg(picture)})
            progress.advance()
        return result

    def worn(self, frames: Sequence[int]) -> list[dict]:
        """The mesh wearing its baked map, close up."""
        shown = [frame for frame in frames if frame in self._textured]
        view = self.views[0]
        return [
            {"frame": frame, "picture": jpeg(finish(view, self._draw(view, frame).textured(self._texture(frame))))}
            for frame in shown
        ]

    def texture_map(self, frame: int, size: int = 1200) -> str:
        """The baked map of one frame, made small enough for a page."""
        texture = self._texture(frame)
        if texture.shape[1] > size:
            texture = cv2.resize(
                texture, (size, size * texture.shape[0] // texture.shape[1]), interpolation=cv2.INTER_AREA
            )
        return jpeg(texture)

    def _draw(self, view: View, frame: int) -> Drawn:
        return Drawn(view, self._take.template, self._take.read_geometry(frame))

    def _plate(self, view: View, frame: int) -> Array | None:
        path = self._capture.images.get(frame, {}).get(view.name)
        return None if path is None else crop_plate(view, read_plate(path, view.source))

    def _texture(self, frame: int) -> Array:
        proxy = self._take.proxy_path(frame)
        texture = read_plate(proxy if proxy.is_file() else self._take.texture_path(frame))
        return texture if texture.dtype == np.uint8 else (texture >> 8).astype(np.uint8)


def textured_frames(take: Take) -> list[int]:
    """Frames with a map that the pictures can wear: several UDIM tiles they cannot."""
    known = take.maps.request
    return [] if known and known.tiles else take.textured_frames()


def jpeg(picture: Array, quality: int = 88) -> str:
    """RGB `picture` [H, W, 3] uint8 as a data: address."""
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(picture[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def colour_bar() -> str:
    """The colours of the error maps from 0 to full, as a CSS gradient."""
    map_ = matplotlib.colormaps["turbo"]
    stops = [matplotlib.colors.to_hex(map_(0.06 + 0.9 * t)) for t in np.linspace(0, 1, 12)]
    return f"linear-gradient(to right, {', '.join(stops)})"
