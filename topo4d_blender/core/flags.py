"""What may be wrong with a frame (metrics.jsonl, docs/formats.md), in an artist's words.

Imported by both sides, so it knows only the standard library.
"""

from __future__ import annotations

from collections.abc import Mapping

WORDS = {
    "missing_plates": "No plate from",
    "dark_plates": "Nothing to be seen on the plate of",
    "does_not_fit": "The mesh given here does not seem to lie on the head",
    "lost_region": "A part of the face wears other colours than its own",
    "folded_triangles": "The mesh is folded over",
    "implausible_motion": "Vertices jump, or the head leaps",
    "lost": "Lost: no other frame was started from this one",
}


def words_of(name: str) -> str:
    """The flag `name` in words; an engine newer than this knows more."""
    return WORDS.get(name, str(name).replace("_", " "))


def where_of(line: Mapping, name: str) -> dict:
    """Where a line of metrics.jsonl has the flag `name`: "count", "vertices" or "cameras"; {} if it does not say."""
    where = line.get("where")
    found = where.get(name) if isinstance(where, dict) else None
    return found if isinstance(found, dict) else {}


def flags_of(line: Mapping) -> list[str]:
    """The flags of a line of metrics.jsonl."""
    names = line.get("flags")
    return [str(name) for name in names] if isinstance(names, list) else []
