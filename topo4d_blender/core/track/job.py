"""From what was asked for to a take that can be tracked: which frames, in which order, from which vertices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..capture import Capture, open_capture
from ..capture.patterns import frames_as_written, frames_text
from ..errors import RequestError
from ..take import Take, TakeRequest
from ..take.order import outwards
from ..template import Template, read_template
from .anchors import read_anchors
from .tracker import ask_again


@dataclass(frozen=True)
class Asked:
    """What the command line or Blender asks for; the frames as they write them."""

    take: Path
    capture: Path
    template: Path | None = None  # None: the one of `from_take`, or of the take that is gone on with
    frames: str | None = None
    start: int | None = None  # the frame that the template fits
    again: str | None = None
    anchors: Path | None = None
    from_take: Path | None = None
    resume: bool = False

    @property
    def goes_on(self) -> bool:
        """Whether there must or may be a take already."""
        return self.resume or self.again is not None


def open_take(
    asked: Asked, unit_mm: float | None, cameras: Sequence[str] | None, **method: object
) -> tuple[Take, Capture, list[str]]:
    """The take, made or gone on with and ready to be tracked, its capture, and sentences to warn with.

    Raises RequestError, StorageError.
    """
    there = Take.open(asked.take) if asked.goes_on and _is_take(asked) else None
    source = None if asked.from_take is None else Take.open(asked.from_take)
    filmed, order, seed = _open_capture(asked, there, source, unit_mm, cameras)
    mesh = _template(asked, there, source)
    anchors = {} if asked.anchors is None else read_anchors(asked.anchors, mesh)
    request = TakeRequest(
        capture=str(filmed.source.absolute()),
        frames=order,
        unit_mm=filmed.unit_mm,
        cameras=filmed.choice,
        **method,
    )
    take = Take.create(asked.take, request, mesh, resume=asked.goes_on)
    if seed is not None and seed in take.pending_frames() and seed != order[0]:
        take.write_geometry(seed, source.read_geometry(seed), {"given": True, "from_take": str(source.folder)})
    for frame in anchors.keys() & set(order):
        take.anchors.write(frame, anchors[frame])
    if asked.again is not None:
        frames = frames_as_written(asked.again, take.request.frames)
        if not frames:
            known = frames_text(take.request.frames)
            raise RequestError(f"{asked.take} has no frame {asked.again} to solve again: its frames are {known}.")
        ask_again(take, frames)
    return take, filmed, [*filmed.warnings, *mesh.warnings, *_warnings(filmed, mesh, anchors)]


def _is_take(asked: Asked) -> bool:
    return asked.again is not None or (asked.take / "take.json").exists()


def _open_capture(
    asked: Asked, there: Take | None, source: Take | None, unit_mm: float | None, cameras: Sequence[str] | None
) -> tuple[Capture, tuple[int, ...], int | None]:
    """The capture, its frames in the order they are solved, and the frame whose vertices another take gives."""
    ours = there.request.frames if there else ()
    text, start, seed = asked.frames, asked.start, None
    if text is None and asked.again is not None:
        text = frames_text(ours)
    if start is None and text is None and there:
        start = ours[0]
    if source is None:
        filmed = open_capture(asked.capture, _with(text, start), unit_mm=unit_mm, cameras=cameras)
        if start is None:
            start = ours[0] if asked.again else filmed.frames[0] if text is None else _written(text, filmed)[0]
        if start not in filmed.frames:
            raise RequestError(f"The capture has no frame {start} to start from: it has {frames_text(filmed.frames)}.")
        return filmed, outwards(start, filmed.frames), None
    root = source.request.frames[0]
    if text is None:
        raise RequestError("Say which --frames are to be solved from the other take, such as 51-60 or 49-40.")
    if start is not None and start != root:
        raise RequestError(f"The template of {source.folder} fits frame {root}; leave --start away.")
    everything = open_capture(asked.capture, unit_mm=unit_mm, cameras=cameras)
    run = _written(text, everything)
    seed = _neighbour(source, run, everything.frames)
    filmed = open_capture(asked.capture, f"{text},{root},{seed}", unit_mm=unit_mm, cameras=cameras)
    return filmed, tuple(dict.fromkeys((root, seed, *run))), seed


def _with(text: str | None, start: int | None) -> str | None:
    return text if text is None or start is None else f"{text},{start}"


def _written(text: str, filmed: Capture) -> list[int]:
    return frames_as_written(text, filmed.frames)


def _neighbour(source: Take, run: Sequence[int], frames: Iterable[int]) -> int:
    """The solved frame of `source` from which `run` begins: the nearest to its first frame.

    That is a frame beside it, or, where the other take has solved the whole run, the first frame itself.
    """
    if not run:
        raise RequestError("None of these frames is in the capture.")
    solved = source.solved_frames()
    outside = [f for f in solved if f not in run]
    frames = sorted(frames)
    place = frames.index(run[0])
    beside = set(frames[max(0, place - 1) : place + 2])
    if run[0] in solved and not beside & set(outside):
        return run[0]
    if not outside:
        raise RequestError(f"{source.folder} has no solved frame to start from beside {frames_text(run)}.")
    return min(outside, key=lambda f: (abs(f - run[0]), f))


def _template(asked: Asked, there: Take | None, source: Take | None) -> Template:
    known = source or there
    if asked.template is None:
        if known is None:
            raise RequestError("Name the mesh with --template; it must fit the frame that the track starts from.")
        return known.template
    mesh = read_template(asked.template)
    if source is not None and mesh.digest != source.template.digest:
        raise RequestError(
            f"{asked.template} is not the template of {source.folder}; leave --template away, or use the same."
        )
    return mesh


def _warnings(filmed: Capture, mesh: Template, anchors: Iterable[int]) -> list[str]:
    sentences = []
    if len(filmed.cameras) == 1:
        sentences.append(
            f"Only camera {filmed.cameras[0].name} is looked through: how far away the head is cannot be known; "
            "film with two cameras or more."
        )
    if mesh.uv is None and not any(" UV" in sentence for sentence in mesh.warnings):
        sentences.append("The template has no UV map: it is tracked, and no texture can be baked on it.")
    if outside := sorted(set(anchors) - set(filmed.frames)):
        sentences.append(f"Anchors of frames that are not tracked are left out: {frames_text(outside)}.")
    return sentences
