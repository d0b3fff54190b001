"""take.json: what was asked of a take, written and read back."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from ..errors import RequestError
from ..protocol import ENGINE
from ..template import Template
from .journal import to_json

FORMAT = 1  # major version of the folder; a newer one is refused


@dataclass(frozen=True)
class TakeRequest:
    """What take.json says: everything needed to solve the take again."""

    capture: str  # the calibration file, absolute
    frames: tuple[int, ...]  # in the order they are solved; the first is the template's own frame
    unit_mm: float
    method: str = "gauss-newton"
    settings: dict = field(default_factory=dict)  # what differs from the method's defaults
    cameras: tuple[str, ...] | None = None  # those that are looked through; None: all of the capture


def new_document(request: TakeRequest, template: Template) -> dict:
    """What take.json holds (docs/formats.md)."""
    return {
        "format": FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"topo4d": ENGINE, "python": platform.python_version(), "numpy": np.__version__},
        "template_digest": template.digest,
        "vertices": len(template.vertices),
        **asdict(request),
    }


def as_read_back(request: TakeRequest) -> TakeRequest:
    """`request` as it will read back from JSON, so that the two can be compared."""
    return _request(json.loads(json.dumps(to_json(asdict(request)))))


def _request(document: dict) -> TakeRequest:
    """The request that stands in take.json; takes of before there was a choice have no `cameras`."""
    values = {f.name: document[f.name] for f in fields(TakeRequest) if f.name != "cameras"}
    cameras = document.get("cameras")
    frames = tuple(int(frame) for frame in values.pop("frames"))
    return TakeRequest(**values, frames=frames, cameras=None if cameras is None else tuple(map(str, cameras)))


def read_document(folder: Path) -> tuple[dict, TakeRequest]:
    """What take.json of `folder` holds. Raises RequestError if there is none, it is broken or of a newer format."""
    path = folder / "take.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        version = document["format"]
    except FileNotFoundError:
        raise RequestError(f"{folder} holds no take (no take.json); give the folder that track wrote.") from None
    except OSError as error:
        raise RequestError(f"{path} cannot be read ({error.strerror}).") from error
    except (ValueError, KeyError, TypeError) as error:
        raise RequestError(f"{path} is damaged; track into another folder.") from error
    if not isinstance(version, int) or version > FORMAT:
        raise RequestError(f"{folder} was written by a newer Topo4D (format {version}); update to open it.")
    try:
        request = _request(document)
        int(document["vertices"]), str(document["template_digest"])
    except (KeyError, TypeError, ValueError) as error:
        raise RequestError(f"{path} is damaged ({error}); track into another folder.") from error
    return document, request


def refuse_other_files(folder: Path) -> None:
    """Raise RequestError if `folder` holds anything a take would mix with; hidden files and a log may lie there."""
    if not folder.is_dir():
        return
    others = [p.name for p in folder.iterdir() if not p.name.startswith(".") and p.name != "log.txt"]
    if others:
        raise RequestError(f"{folder} holds other files ({min(others)}) and no take; name an empty or a new folder.")
