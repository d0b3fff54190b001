"""The jobs of the command line and of the worker, the same code for both: check the request, open the rooms, run.

Heavy imports (numba and what needs it) stand inside the functions: `topo4d --help` and the worker's hello are instant.
Every function speaks through a `Progress` and raises only `Topo4DError`s on purpose; `as_topo4d_error` puts what is
left into a sentence.
"""

from __future__ import annotations

import errno
import logging
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .errors import Cancelled, RequestError, StorageError, Topo4DError, WorkError
from .gpus import ask_nvidia
from .machine import package_version
from .progress import Progress

METHODS = ("gauss-newton", "splat")
BAKE_METHODS = ("inverse", "splat")
MAP_FORMATS = ("png", "png16", "jpeg", "tiff", "exr")
DEVICES = ("auto", "cpu", "cuda")
LOG = logging.getLogger("topo4d")


def track(
    progress: Progress,
    *,
    capture: Path,
    take: Path,
    template: Path | None = None,
    frames: str | None = None,
    start: int | None = None,
    again: str | None = None,
    anchors: Path | None = None,
    from_take: Path | None = None,
    cameras: Sequence[str] | None = None,
    unit_mm: float | None = None,
    method: str = "gauss-newton",
    settings: dict | None = None,
    device: str = "auto",
    resume: bool = False,
) -> dict:
    """Track `template` through `capture` into the folder `take`; returns {take, frames: how many are solved, flagged}.

    The template fits frame `start` (default: the first that `frames` names) and is followed from there both ways.
    `again` are frames to be solved again from those that stay; `anchors` holds vertices that are given (track/
    anchors.py); `from_take` is a take whose nearest frame is started from. `cameras` are names and patterns
    (capture/choice.py); default: all. `flagged` are sentences: which frames of the take are flagged, and why.
    """
    device = choose_device(device, method)
    from .take.flagged import flagged
    from .track import track_take
    from .track.job import Asked, open_take
    from .track.methods import check_settings

    check_settings(method, settings or {})
    asked = Asked(take, capture, template, frames, start, again, anchors, from_take, resume)
    opened, filmed, warnings = open_take(asked, unit_mm, cameras, method=method, settings=dict(settings or {}))
    with logging_to(opened.folder):
        for sentence in warnings:
            progress.warning(sentence)
        LOG.info("track %s with %s, frames %s", filmed.source, template, again or frames or "all")
        track_take(opened, filmed, progress, device)
    return {"take": str(opened.folder), "frames": len(opened.solved_frames()), "flagged": flagged(opened.metrics())}


def bake(
    progress: Progress,
    *,
    take: Path,
    resolution: int = 8192,
    frames: str | None = None,
    cameras: Sequence[str] | None = None,
    images: Path | None = None,
    format: str = "png",
    method: str = BAKE_METHODS[0],
    base_texture: Path | None = None,
    device: str = "auto",
    detail: float | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> dict:
    """Bake the colour maps of `take`; `images` is a capture of the same cameras whose plates are used instead.

    `cameras` are names and patterns (capture/choice.py); default: those that were tracked with. `base_texture` shows
    where no camera sees; `detail`, 0..1, trades pores for grain (None: by the plates' noise).
    """
    device = choose_bake_device(device, method)
    from .capture import open_capture
    from .capture.patterns import choose_frames
    from .take import Take
    from .texture import bake_take

    opened = Take.open(take)
    solved = opened.solved_frames()
    if not solved:
        opened.refuse_foreign_geometry()
        raise RequestError(f"{opened.folder} holds no solved frame yet; run `topo4d track` first.")
    source = Path(images) if images else Path(opened.request.capture)
    chosen_cameras = opened.request.cameras if cameras is None else cameras
    filmed = open_capture(source, unit_mm=opened.request.unit_mm, cameras=chosen_cameras)
    warnings: list[str] = list(filmed.warnings)
    if frames is not None:
        chosen, more = choose_frames(frames, filmed.frames)
        warnings += more
    else:
        chosen = tuple(f for f in solved if f in filmed.images)
        if not chosen:
            raise RequestError(f"{source} holds no plate of a solved frame of {opened.folder}; name another --images.")
    with logging_to(opened.folder):
        for sentence in warnings:
            progress.warning(sentence)
        LOG.info("bake at %d as %s from %s on %s, frames %s", resolution, format, source, device, frames or "all")
        options = {"overwrite": overwrite, "format": format, "method": method, "detail": detail}
        options |= {"base_texture": base_texture, "device": device}
        baked = bake_take(opened, filmed, resolution, chosen, progress, resume, **options)
    return {"take": str(opened.folder), "frames": len(baked)}


def choose_device(device: str, method: str = "gauss-newton") -> str:
    """The device that `method` runs on when `device` is asked for: "cpu", or "cuda" where the method can use it.

    Raises RequestError in words for what cannot be had.
    """
    if method not in METHODS:
        raise RequestError(f"There is no method {method!r} in this version; use one of {', '.join(METHODS)}.")
    if not _may_be_cuda(device):
        return "cpu"
    found = cuda_name()
    if device == "auto":
        able = found and (package_version("gsplat") if method == "splat" else tracks_on_cuda())
        return "cuda" if able else "cpu"
    if found is None:
        raise RequestError(_no_cuda())
    if method == "splat" and not package_version("gsplat"):
        raise RequestError("On a CUDA device the method splat needs the package gsplat; install gsplat==1.5.3.")
    return "cuda"


def choose_bake_device(device: str, method: str) -> str:
    """The same for a bake by `method`: of these, inverse alone can use CUDA."""
    if not _may_be_cuda(device):
        return "cpu"
    if method == "splat":
        if device == "cuda":
            raise RequestError("The method splat bakes on the processor alone; leave --device at auto.")
        return "cpu"
    found = cuda_name()
    if device == "auto":
        return "cuda" if found and bakes_on_cuda() else "cpu"
    if found is None:
        raise RequestError(_no_cuda())
    return "cuda"


def _may_be_cuda(device: str) -> bool:
    """Whether torch is to be asked, which takes seconds. Raises RequestError for what is no device."""
    if device not in DEVICES:
        raise RequestError(f"There is no device {device!r}; use one of {', '.join(DEVICES)}.")
    return device == "cuda" or (device == "auto" and bool(ask_nvidia()))


def cuda_name() -> str | None:
    """The first CUDA device, or None. Imports torch, which takes seconds: call it only where a person asked."""
    try:
        import torch
    except (ImportError, OSError):  # OSError: a broken installation
        return None
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def _no_cuda() -> str:
    """Why `--device cuda` cannot be had, in doctor's words."""
    from .cuda import ask_torch, why_no_cuda

    why, step = why_no_cuda(ask_nvidia(), ask_torch())
    return f"This machine has no CUDA device that the engine can use: {why} {step or 'Leave --device at auto or cpu.'}"


def tracks_on_cuda() -> bool:
    """Whether the tracker finds on the CUDA device what it finds on the processor."""
    return not why_not_tracked_on_cuda()


def bakes_on_cuda() -> bool:
    """Whether the CUDA device bakes the map that the processor bakes."""
    return not why_not_baked_on_cuda()


def why_not_tracked_on_cuda() -> str:
    """Why the tracker is not to be run on the CUDA device, in a few words; "" if it finds what the processor finds."""
    from .track.torch_check import tracks_on

    return _noted(*tracks_on("cuda"))


def why_not_baked_on_cuda() -> str:
    """The same for the bake."""
    from .texture.torch_check import bakes_on

    return _noted(*bakes_on("cuda"))


def _noted(able: bool, why: str) -> str:
    if able:
        return ""
    LOG.warning("CUDA is not used: %s", why)
    return why or "it fails"


@contextmanager
def logging_to(folder: Path) -> Iterator[None]:
    """Keep the log of the engine in `folder`/log.txt meanwhile, the traceback of an unforeseen failure included."""
    logging.raiseExceptions = False  # a full disk must not print a traceback about the log
    path: Path | None = folder / "log.txt"
    try:
        handler: logging.Handler = logging.FileHandler(path, encoding="utf-8")
    except OSError:
        path, handler = None, logging.NullHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
    try:
        yield
        LOG.info("done")
    except Topo4DError as error:
        LOG.error("%s", error)
        raise
    except Exception as error:
        LOG.error("unforeseen", exc_info=True)
        raise as_topo4d_error(error, path) from error
    finally:
        LOG.removeHandler(handler)
        handler.close()


def as_topo4d_error(error: BaseException, log: Path | None = None) -> Topo4DError:
    """`error` as one with a sentence for the user; details of the unforeseen stand in `log` or a temporary file."""
    if isinstance(error, Topo4DError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Cancelled("Stopped at your request; every finished frame is kept.")
    if isinstance(error, ModuleNotFoundError):
        return RequestError(
            f"This Python ({sys.executable}) has no package {error.name}; `topo4d doctor` says what to do."
        )
    if isinstance(error, MemoryError):
        return WorkError("This machine's memory is spent; close other programs and run again with --resume.")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError("The disk is full; free some space and run again with --resume.")
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) and error.filename:
        return StorageError(f"{error.filename} cannot be used ({error.strerror}); check its permissions.")
    unforeseen = WorkError(
        f"Something unforeseen went wrong ({type(error).__name__}: {_one_line(error)}); "
        f"the details are in {log or _write_details(error)}."
    )
    unforeseen.code = "internal"
    return unforeseen


def _write_details(error: BaseException) -> str:
    try:
        with tempfile.NamedTemporaryFile("w", prefix="topo4d-", suffix=".txt", delete=False, encoding="utf-8") as file:
            file.writelines(traceback.format_exception(error))
        return file.name
    except OSError:
        return "no file, for none could be written"


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text[:200] + ("..." if len(text) > 200 else "")
