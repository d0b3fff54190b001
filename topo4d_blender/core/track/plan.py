"""How a take is walked: from every frame whose vertices are given outwards, and both ways where two enclose others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..take.order import parents


@dataclass(frozen=True)
class Walk:
    """Frames solved one after another, from a frame whose vertices are given and whose plates are the reference."""

    given: int
    frames: tuple[int, ...]  # in the order they are solved, without `given`
    between: tuple[int, int] | None = None  # the two given frames around them, if they are walked both ways

    @cached_property
    def parents(self) -> dict[int, int]:
        """The frame that each starts from."""
        return parents((self.given, *self.frames))

    @property
    def direction(self) -> str:
        """ "forward" or "backward", between two given frames."""
        return "forward" if self.given == self.between[0] else "backward"


def plan_walks(frames: Sequence[int], anchors: Iterable[int]) -> list[Walk]:
    """The walks through a take's `frames` (the first is the template's own), in the order they are made.

    Frames between two given ones are in two walks that follow each other: forward from the left one, then backward
    from the right one.
    """
    given = sorted({frames[0], *anchors})
    walks = []
    if len(given) == 1:
        walks.append(Walk(given[0], tuple(frames[1:])))
        given = []
    for left, right in zip(given, given[1:], strict=False):
        inside = sorted(f for f in frames if left < f < right)
        walks.append(Walk(left, tuple(inside), (left, right)))
        walks.append(Walk(right, tuple(reversed(inside)), (left, right)))
    if given:
        walks.append(Walk(given[-1], tuple(f for f in frames if f > given[-1])))
        walks.append(Walk(given[0], tuple(f for f in frames if f < given[0])))
    return [walk for walk in walks if walk.frames]


def solved_together(frames: Sequence[int], anchors: Iterable[int], again: Iterable[int]) -> set[int]:
    """`again` without the given frames, and with all between two given ones as soon as one of them is among them."""
    anchors = set(anchors)
    asked = set(again) - anchors - {frames[0]}
    for walk in plan_walks(frames, anchors):
        if walk.between and asked & set(walk.frames):
            asked |= set(walk.frames)
    return asked


def touched(frames: Sequence[int], old: dict[int, str], new: dict[int, str]) -> set[int]:
    """The frames that are solved otherwise when the anchors (frame -> digest) change from `old` to `new`."""
    same = {f for f in old if old[f] == new.get(f)}
    changed = (set(old) | set(new)) - same
    fixed = sorted({frames[0], *same})

    def room(frame: int) -> int:
        return sum(f <= frame for f in fixed)

    rooms = {room(f) for f in changed}
    return {f for f in frames if f not in fixed and room(f) in rooms}
