"""Which frames of a take are flagged and why, for whoever reads a summary."""

from __future__ import annotations

from collections.abc import Mapping

from ..capture.patterns import frames_text
from ..flags import WORDS, flags_of, where_of, words_of


def flagged(metrics: Mapping[int, dict]) -> list[str]:
    """The flags of `metrics` (`Take.metrics`), a line for each: "Frames 4-5, 9: the mesh is folded over".

    The graver ones last, as they stand in `flags.WORDS`; [] where nothing is wrong.
    """
    frames: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    for frame in sorted(metrics):
        for name in flags_of(metrics[frame]):
            cameras = tuple(map(str, where_of(metrics[frame], name).get("cameras") or ()))
            frames.setdefault((name, cameras), []).append(frame)
    order = [*WORDS, *sorted({name for name, _ in frames} - WORDS.keys())]
    lines = []
    for (name, cameras), found in sorted(frames.items(), key=lambda item: (order.index(item[0][0]), item[1])):
        words = f"{words_of(name)} {', '.join(cameras)}".strip()
        lines.append(f"Frame{'s' * (len(found) > 1)} {frames_text(found)}: {words[:1].lower()}{words[1:]}")
    return lines
