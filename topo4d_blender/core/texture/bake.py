"""Bakes the colour map of every chosen frame of a take, tile by tile, each frame there whole or not at all."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..capture import Capture
from ..capture.patterns import frames_text
from ..errors import RequestError
from ..progress import Progress
from ..take import Take
from ..take.maps import MapRequest, checksum
from .base import BaseTexture, blend_base, match_base
from .formats import format_of
from .frame import PAINT_STEPS, Canvas, Plate, Solved
from .layout import FIRST, Layout, lay_out
from .painter import open_painter
from .plates import READERS, Plates
from .reference import NAME, Reference, before, read_reference, why_no_reference, write_reference
from .splat import count_patches, paint_splat
from .uv import map_uv, overlap_warning
from .write import require_room, write_tile

Array = np.ndarray
METHODS = ("inverse", "splat")


def bake_take(
    take: Take,
    capture: Capture,
    resolution: int = 8192,
    frames: tuple[int, ...] | None = None,
    progress: Progress | None = None,
    resume: bool = False,
    *,
    overwrite: bool = False,
    format: str = "png",
    method: str = "inverse",
    base_texture: Path | None = None,
    device: str = "cpu",
    detail: float | None = None,
) -> list[int]:
    """Write texture/, texture_2k/ and coverage/ for `frames` (default: every solved one); returns the frames written.

    The method inverse computes on `device`, splat on the processor whatever it is.
    `detail`, 0..1, is how much of the plates' grain the maps may keep with their pores; None: as their noise advises.

    With `resume`, frames already whole on disk are left as they are, with `overwrite` none is. A frame without plates
    or with one that cannot be used is skipped with a warning. Calls `progress.frame` with each master's path and
    {"proxy", "seconds", "seen_share", "device"}. Raises RequestError (template without UV, frame not solved, no usable
    plates at all, maps there that were baked otherwise), StorageError (disk too small or full), WorkError (the device's
    memory spent), Cancelled; frames written before stay.
    """
    progress = progress or Progress()
    if not 16 <= resolution <= 16384:
        raise RequestError(f"A texture of {resolution} texels cannot be baked; choose 16 to 16384, such as 8192.")
    if method not in METHODS:
        raise RequestError(f"Textures are not baked by {method!r}; choose one of {', '.join(METHODS)}.")
    if detail is not None and not 0 <= detail <= 1:
        raise RequestError(f"A detail of {detail} cannot be baked; choose 0 (smooth) to 1 (with the plates' grain).")
    if detail is not None and method != "inverse":
        raise RequestError(f"Detail is a choice of the method inverse; {method} fits all plates as they are.")
    format_of(format)
    chosen = _choose_frames(take, frames)
    layout = lay_out(take.template)
    tiles = None if layout.single else layout.tiles
    base = None if base_texture is None else BaseTexture(base_texture, tiles, take.folder)
    with_plates = _with_plates(capture, chosen, progress)
    request = MapRequest(
        resolution=resolution,
        format=format,
        method=method,
        images=str(capture.source.absolute()),
        cameras=tuple(camera.name for camera in capture.cameras),
        base_texture=None if base is None else str(base.path.absolute()),
        tiles=tiles,
        detail=None if detail is None else float(detail),
    )
    waiting = take.maps.choose(request, with_plates, take.geometry_path, resume, overwrite)
    lost = why_no_reference(take.folder)  # may refuse: before anything is taken away
    require_room(take.maps, request, waiting)
    take.maps.tidy()
    if not waiting:
        return []
    take.maps.begin(request)
    _warn_of_other_colours(take, lost, waiting, progress)
    for sentence in layout.warnings:
        progress.warning(sentence)
    return _Bake(take, capture, request, layout, base, progress, device).run(waiting)


@dataclass(frozen=True)
class _Writing:
    """The last map of a frame, on its way to the disk while the next frame is solved."""

    frame: int
    geometry: int  # checksum of what it shows
    seconds: float  # that the frame took until here
    seen_share: float
    written: Future  # the seconds that writing took


class _Bake:
    """One run over the frames that are to be baked."""

    def __init__(
        self,
        take: Take,
        capture: Capture,
        request: MapRequest,
        layout: Layout,
        base: BaseTexture | None,
        say: Progress,
        device: str,
    ) -> None:
        """Everything that the frames share but the UV maps of tiles, of which one at a time is in memory."""
        self.painter = open_painter(device if request.method == "inverse" else "cpu")
        self.take, self.request, self.layout, self.base, self.say = take, request, layout, base, say
        self.tiles = request.tiles or (None,)
        self.capture = capture
        self.cameras = [camera.undistorted() for camera in capture.cameras]
        self.reference = read_reference(take.folder)
        self.canvas: Canvas | None = None
        self.canvas_tile: int | None = None
        a_tile = PAINT_STEPS + (count_patches(take.template) if request.method == "splat" else 0)
        self._a_frame = len(self.cameras) + 1 + len(self.tiles) * a_tile + 1
        self._steps = 0  # of the frame at hand
        self._overlaps: set[int | None] = set()  # tiles whose overlaps were spoken of
        self._writing: _Writing | None = None

    def run(self, frames: list[int]) -> list[int]:
        """Bake `frames`; returns those written. Raises RequestError if plates of none of them can be used."""
        self.say.stage("Baking", len(frames) * self._a_frame, by_frame=True)
        self._to_tile(self.tiles[0])
        written, refused = [], None
        with ThreadPoolExecutor(READERS) as pool, ThreadPoolExecutor(1) as self._writer:
            plates = Plates(pool, self.capture, frames)
            try:
                for frame in frames:
                    self._steps = 0
                    try:
                        done = self._bake(frame, plates.of_next_frame())
                        why = None if done else f"Frame {frame} has no plate of the chosen cameras"
                    except RequestError as error:
                        done, refused, why = False, refused or error, str(error).rstrip(".")
                    if done:
                        written.append(frame)
                    else:
                        self.say.warning(f"{why}; the map of frame {frame} is skipped.")
                    self._step(self._a_frame - self._steps)
            finally:
                self._settle()
        if refused and not written:
            raise refused
        return written

    def _bake(self, frame: int, plates: Iterator[Plate]) -> bool:
        """Bake one frame whole; False if it has no plate."""
        begun, seen, texels = time.perf_counter(), 0, 0
        self._gains = np.ones(3)  # of the base texture; a tile that no camera sees has those of the tile before
        self.take.read_geometry(frame)  # says so if it is gone
        shown = checksum(self.take.geometry_path(frame))
        vertices = self.take.read_geometry(frame)  # not older: tracked again in between, the map is not current
        names = self.request.cameras
        held_to = before(self.reference, frame, names, self.request.images, len(self.canvas.triangles))
        detail = self.request.detail
        solved = self.painter.solve(self.canvas, vertices, self.cameras, plates, self._step, held_to, detail)
        if solved is None:
            return False
        if held_to is None:
            self.reference = Reference.of(solved, frame, names, self.request.images)
            write_reference(self.take.folder, self.reference)
        for tile in self.tiles:
            self._to_tile(tile)
            texture, coverage = self._paint(solved, tile)
            if tile == self.tiles[-1]:
                del solved  # writing takes room of its own
            seen += int(np.count_nonzero(coverage))
            texels += int(np.count_nonzero(self.canvas.uv_map.ids >= 0))
            if tile != self.tiles[-1]:
                write_tile(self.take.maps, self.request, frame, tile, texture, coverage)
        seconds = time.perf_counter() - begun
        self._settle()
        written = self._writer.submit(self._write_last, frame, texture, coverage)
        self._writing = _Writing(frame, shown, seconds, round(seen / max(texels, 1), 4), written)
        return True

    def _write_last(self, frame: int, texture: Array, coverage: Array) -> float:
        begun = time.perf_counter()
        write_tile(self.take.maps, self.request, frame, self.tiles[-1], texture, coverage)
        return time.perf_counter() - begun

    def _settle(self) -> None:
        """Wait for the frame that is being written, and say that it is there. Raises StorageError."""
        done, self._writing = self._writing, None
        if done is None:
            return
        frame, maps = done.frame, self.take.maps
        seconds = round(done.seconds + done.written.result(), 3)
        metrics = {"seconds": seconds, "seen_share": done.seen_share, "device": self.painter.device}
        maps.record(frame, done.geometry, metrics)
        if not self.take.shows(frame, done.geometry):
            self.say.warning(
                f"Frame {frame} was tracked again or taken away while it was baked, and its map shows what it was "
                "before; bake once more with --resume to renew the map."
            )
        proxy = str(maps.proxy(frame, self.request.tiles and self.tiles[0]))
        self.say.frame(frame, str(maps.master(frame, self.tiles[0])), {"proxy": proxy, **metrics})

    def _paint(self, solved: Solved, tile: int | None) -> tuple[Array, Array]:
        """The finished texels of `tile` and their coverage."""
        canvas, texels = self.canvas, format_of(self.request.format).texels
        if self.request.method == "splat":  # takes the coverage alone: nothing is to be brought back to the blend
            solved = replace(solved, choice=replace(solved.choice, strength=0.0))
        texture, coverage = self.painter.paint(canvas, solved, texels, self._step)
        if self.request.method == "splat":
            texture = paint_splat(self.take.template, canvas, solved, tile or FIRST, texels, self._step)
        if self.base is not None:
            base = self.base.at(tile, self.request.resolution, texels)
            gains = match_base(texture, coverage, base)
            self._gains = self._gains if gains is None else gains
            mesh = solved.vertices, canvas.edges, canvas.triangles
            blend_base(texture, coverage, base, canvas.uv_map, *mesh, self._gains)
        self.painter.fill(texture, canvas)
        return texture, coverage

    def _to_tile(self, tile: int | None) -> None:
        """Make the canvas that of `tile`; with a single map it is made once."""
        if self.canvas is not None and tile == self.canvas_tile:
            return
        template = self.take.template
        if self.canvas is not None:
            self.canvas = replace(self.canvas, uv_map=None)  # the old map's room, before the new one takes its own
        uv_map = map_uv(template, self.request.resolution, self.layout, tile or FIRST, self.painter.device)
        if self.canvas is None:
            self.canvas = Canvas.of(template, self.request.resolution, uv_map)
        self.canvas, self.canvas_tile = replace(self.canvas, uv_map=uv_map), tile
        overlap = overlap_warning(template, uv_map)
        if overlap and tile not in self._overlaps:
            self.say.warning(overlap)
        self._overlaps.add(tile)

    def _step(self, steps: int = 1) -> None:
        self._steps += steps
        self.say.advance(steps)
        self.say.check()


def _warn_of_other_colours(take: Take, why: str, waiting: list[int], progress: Progress) -> None:
    """Say so if maps stay whose colours the frames `waiting` cannot be held to any more (`why_no_reference`)."""
    stay = sorted(set(take.textured_frames()) - set(waiting))
    if why and stay:
        named = f"frame{'s' * (len(stay) > 1)} {frames_text(stay)}"
        progress.warning(
            f"{take.folder / NAME} {why}: the maps of {named} keep their colours, and new ones are "
            "held to the first of themselves instead; bake all frames again with --overwrite if they do not match."
        )


def _choose_frames(take: Take, frames: tuple[int, ...] | None) -> list[int]:
    take.refuse_foreign_geometry(frames)
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


def _with_plates(capture: Capture, frames: list[int], progress: Progress) -> list[int]:
    """Those of `frames` that any camera filmed. Raises RequestError if there are frames and none is."""
    filmed = [frame for frame in frames if capture.images.get(frame)]
    for frame in frames:
        if frame not in filmed:
            progress.warning(f"Frame {frame} has no plates in {capture.source}; its texture is skipped.")
    if frames and not filmed:
        raise RequestError(f"None of the frames to bake has plates in {capture.source}; name the folder with --images.")
    return filmed
