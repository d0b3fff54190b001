"""Which cameras of a capture are used: names and patterns such as cam0*, a leading - to leave out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from ..errors import RequestError


def choose_cameras(parts: Sequence[str], names: Sequence[str], source: object) -> tuple[str, ...]:
    """The `names` that `parts` choose, in the order of `names`.

    A part is a name, a pattern (*, ?, [abc]) or either of them behind a -, which leaves out; the order of parts does
    not matter, and what is a name is no pattern. With nothing but parts that leave out, all others are chosen.
    Raises RequestError naming the capture's `source` if a part names no camera or none is left.
    """
    wanted: set[str] = set()
    unwanted: set[str] = set()
    only_out = bool(parts)
    for part in parts:
        out = part.startswith("-") and part not in names
        pattern = part[1:] if out else part
        matching = {pattern} if pattern in names else {name for name in names if fnmatchcase(name, pattern)}
        if not matching:
            raise RequestError(f"There is no camera {pattern!r} in {source}: it has {some(names)}.")
        (unwanted if out else wanted).update(matching)
        only_out &= out
    if only_out:
        wanted = set(names)
    chosen = tuple(name for name in names if name in wanted - unwanted)
    if not chosen:
        raise RequestError(f"No camera of {source} is left by the choice of cameras; choose at least one.")
    return chosen


def some(names: Iterable[str], most: int = 5) -> str:
    """Some names in words, the rest as a count."""
    ordered = sorted(names)
    more = len(ordered) - most
    return ", ".join(ordered[:most]) + (f" and {more} more" if more > 0 else "")
