"""Where the images of a capture lie: patterns such as images/{camera}/{frame}.png, matched against the disk."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import RequestError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")  # the first wins if a plate lies twice

# Tried in this order where the calibration names no pattern.
IMAGE_PATTERNS = ("images/{camera}/{frame}.*", "{frame}/{camera}.*", "images/{frame}/{camera}.*", "{camera}/{frame}.*")
MASK_PATTERNS = ("masks/{camera}/{frame}.*", "masks/{frame}/{camera}.*")

Found = dict[int, dict[str, Path]]  # frame -> camera name -> file


@dataclass(frozen=True)
class Images:
    """What lies below a capture's folder."""

    pattern: str  # the layout, "" if nothing was found
    found: Found
    strangers: dict[str, Path]  # names that are no camera, each with its first file


def find_images(folder: Path, patterns: Iterable[str], cameras: Iterable[str]) -> Images:
    """Files below `folder` that match the pattern with the most images of `cameras`.

    One pattern serves a whole capture: camera names may be numbers, so mixing layouts would confuse cameras and frames.
    """
    known = set(cameras)
    best, most = Images("", {}, {}), 0
    for pattern in patterns:
        found, strangers = _match(folder, pattern, known)
        count = sum(map(len, found.values()))
        if count > most or (not most and len(strangers) > len(best.strangers)):
            best, most = Images(pattern, found, strangers), count
    return best


def _match(folder: Path, pattern: str, known: set[str]) -> tuple[Found, dict[str, Path]]:
    found: Found = {}
    strangers: dict[str, Path] = {}
    expression = _expression(pattern)
    for text in sorted(glob.glob(_glob(pattern), root_dir=folder)):
        match = expression.fullmatch(text.replace("\\", "/"))
        if not match:
            continue
        name = match["camera"] if "{camera}" in pattern else next(iter(known))  # the reader saw to it: there is one
        if name not in known:
            strangers.setdefault(name, folder / text)
            continue
        place = found.setdefault(int(match["frame"]), {})
        path = folder / text
        if name not in place or _rank(path) < _rank(place[name]):
            place[name] = path
    return found, strangers


def _glob(pattern: str) -> str:
    """The pattern as a glob, wider than the pattern: any text for a camera, a frame and the suffix."""
    stem, any_suffix = (pattern[:-2], ".*") if pattern.endswith(".*") else (pattern, "")
    return "".join("*" if p in ("{camera}", "{frame}") else glob.escape(p) for p in _split(stem)) + any_suffix


def _expression(pattern: str) -> re.Pattern[str]:
    stem, any_suffix = (pattern[:-2], True) if pattern.endswith(".*") else (pattern, False)
    parts, seen = [], set()
    for part in _split(stem):
        if part not in ("{camera}", "{frame}"):
            parts.append(re.escape(part))
            continue
        name = part[1:-1]
        parts.append(
            f"(?P={name})" if name in seen else {"camera": r"(?P<camera>[^/]+)", "frame": r"(?P<frame>\d+)"}[name]
        )
        seen.add(name)
    if any_suffix:
        parts.append("(?i:" + "|".join(re.escape(s) for s in IMAGE_SUFFIXES) + ")")
    return re.compile("".join(parts))


def _split(pattern: str) -> list[str]:
    return [p for p in re.split(r"(\{camera\}|\{frame\})", pattern) if p]


def _rank(path: Path) -> int:
    suffix = path.suffix.lower()
    return IMAGE_SUFFIXES.index(suffix) if suffix in IMAGE_SUFFIXES else len(IMAGE_SUFFIXES)


def choose_frames(text: str, available: Iterable[int]) -> tuple[tuple[int, ...], list[str]]:
    """The frames of `available` that `text` names ("1-120", "1,50-60", "1-100:5" for every fifth), and warnings.

    Every n-th is counted from the range's first number, whether there is such a frame or not. Frames are ascending.

    Raises RequestError if `text` is no such list or a part of it names no frame of the capture.
    """
    everything = sorted(available)
    chosen: set[int] = set()
    warnings = []
    for part, run in _runs(text):
        inside = [f for f in everything if f in run]
        if not inside:
            raise RequestError(f"The capture has no frame {part}: its frames are {everything[0]}-{everything[-1]}.")
        if min(run) < everything[0] or max(run) > everything[-1]:
            warnings.append(f"The capture has only the frames {inside[0]}-{inside[-1]} of {part}.")
        chosen.update(inside)
    return tuple(sorted(chosen)), warnings


def frames_as_written(text: str, available: Iterable[int]) -> list[int]:
    """The frames of `available` that `text` names, each once, in the order and direction in which it names them."""
    everything = sorted(available)
    named: dict[int, None] = {}
    for _, run in _runs(text):
        named.update(dict.fromkeys(f for f in everything[:: 1 if run.step > 0 else -1] if f in run))
    return list(named)


def _runs(text: str) -> list[tuple[str, range]]:
    """Every part of `text` and the numbers it names; "60-40" names them downwards. Raises RequestError."""
    if not text.strip():
        raise RequestError("No frames are named; write them as 1-120, 1,50-60 or 1-100:5.")
    runs = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*(?::\s*([1-9]\d*)\s*)?)?", part)
        if not match:
            raise RequestError(f"The frames {text!r} are not understood; write them as 1-120, 1,50-60 or 1-100:5.")
        first, last = int(match[1]), int(match[2] or match[1])
        way = 1 if first <= last else -1
        runs.append((part.strip(), range(first, last + way, way * int(match[3] or 1))))
    return runs


def frames_text(frames: Iterable[int]) -> str:
    """Frame numbers in a person's words: "1-3, 7, 9-12"."""
    runs: list[list[int]] = []
    for f in sorted(frames):
        if runs and f == runs[-1][1] + 1:
            runs[-1][1] = f
        else:
            runs.append([f, f])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
