"""In which order frames are solved, and which frame each starts from: that follows from the order alone.

`frames` begin with the frame that the template fits. Every other frame starts from the nearest in time of those before
it in the order, so 50, 51, 52, 49, 48 runs both ways from frame 50.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence


def parents(frames: Sequence[int]) -> dict[int, int]:
    """The frame that each of `frames` but the first starts from.

    Of two equally near, the one just before it in the order is taken; if it is neither, the lower.
    """
    start: dict[int, int] = {}
    ready = list(frames[:1])
    for last, frame in zip(frames, frames[1:], strict=False):
        place = bisect_left(ready, frame)
        near = ready[max(0, place - 1) : place + 1]
        start[frame] = min(near, key=lambda f: (abs(f - frame), f != last, f))
        insort(ready, frame)
    return start


def outwards(start: int, frames: Iterable[int]) -> tuple[int, ...]:
    """`start`, then the `frames` above it upwards, then those below it downwards."""
    others = sorted(set(frames) - {start})
    return (start, *(f for f in others if f > start), *(f for f in reversed(others) if f < start))


def solved_alike(solved: Iterable[int], old: Sequence[int], new: Sequence[int]) -> bool:
    """Whether each of the `solved` frames of the order `old` would have been solved just so in the order `new`."""
    if old[:1] != new[:1]:
        return False
    before, now = parents(old), parents(new)
    return all(frame == new[0] or (frame in now and now[frame] == before.get(frame)) for frame in solved)


def moved_last(frames: Sequence[int], again: Sequence[int]) -> tuple[int, ...]:
    """`frames` with those of `again` (in their order) solved after all others, so that they start from what stays."""
    late = set(again) - set(frames[:1])
    return (*(f for f in frames if f not in late), *(f for f in again if f in late))
