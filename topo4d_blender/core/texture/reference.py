"""The first textured frame, kept in the take: what the colours of every later frame are held to.

Later frames are solved against it whether they are baked in the same run, resumed, or asked for another day. It is made
anew when its own frame is baked again, or when the cameras or the plates are others.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import RequestError
from ..files import atomic_write
from .colour import Colours
from .frame import Solved
from .plan import Choice
from .survey import SAMPLES

Array = np.ndarray
NAME = "texture_reference.npz"
_FORMAT = 3
_NOT_KEPT = np.zeros((0, 3), np.float32)


@dataclass(frozen=True)
class Reference:
    """What is kept of the first frame."""

    frame: int
    cameras: tuple[str, ...]
    images: str  # the calibration file of its plates
    colours: Colours  # gains and samples alone
    choice: Choice

    @classmethod
    def of(cls, solved: Solved, frame: int, cameras: tuple[str, ...], images: str) -> Reference:
        """What `solved` leaves to the frames after it."""
        c = solved.colours
        kept = Colours(c.gains, _NOT_KEPT, _NOT_KEPT, c.samples)
        return cls(frame, tuple(cameras), images, kept, solved.measured)


def before(
    reference: Reference | None, frame: int, cameras: tuple[str, ...], images: str, triangles: int
) -> tuple[Colours, Choice] | None:
    """What `frame` of `cameras`' `images` and a mesh of so many `triangles` is held to; None: it is the reference."""
    if reference is None or reference.frame == frame:
        return None
    if (reference.cameras, reference.images) != (tuple(cameras), images):
        return None
    if len(reference.colours.samples) != triangles * len(SAMPLES):
        return None
    return reference.colours, reference.choice


def write_reference(folder: Path, reference: Reference) -> None:
    """Write it into the take's `folder`. Raises StorageError."""
    c = reference.colours
    arrays = {
        "format": np.int64(_FORMAT),
        "frame": np.int64(reference.frame),
        "cameras": np.array(reference.cameras, dtype=np.str_),
        "images": np.array(reference.images, dtype=np.str_),
        "gains": c.gains,
        "samples": c.samples,
        "views": np.int64(reference.choice.views),
        "power": np.float64(reference.choice.power),
        "strength": np.float64(reference.choice.strength),
        "span": np.float64(reference.choice.span),
    }
    atomic_write(folder / NAME, lambda file: np.savez(file, **arrays))


def read_reference(folder: Path) -> Reference | None:
    """The reference of the take in `folder`; None if there is none that can be read (see `why_no_reference`).

    Raises RequestError if it is of a newer format, which is not to be replaced by an older one.
    """
    return _read(folder)[0]


def why_no_reference(folder: Path) -> str:
    """What hinders `read_reference`, to follow the name of the file; empty if nothing does.

    Raises RequestError as it does.
    """
    return _read(folder)[1]


def _read(folder: Path) -> tuple[Reference | None, str]:
    path = folder / NAME
    try:
        with np.load(path, allow_pickle=False) as a:
            version = int(a["format"])
            if version > _FORMAT:
                raise RequestError(f"{path} was written by a newer Topo4D (format {version}); update to go on.")
            if version < _FORMAT:
                return None, f"is of an older format ({version})"
            colours = Colours(a["gains"], _NOT_KEPT, _NOT_KEPT, a["samples"])
            names = tuple(str(name) for name in a["cameras"])
            if colours.gains.shape != (len(names), 3) or colours.samples.shape[1:] != (3,):
                return None, "is damaged"
            numbers = (float(a[name]) for name in ("power", "strength"))
            choice = Choice(int(a["views"]), *numbers, span=float(a["span"]))
            return Reference(int(a["frame"]), names, str(a["images"]), colours, choice), ""
    except FileNotFoundError:
        return None, "is gone"
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None, "is damaged"
