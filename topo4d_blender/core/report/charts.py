"""The curves of the report, as SVG for the page's dark ground."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

_INK, _FAINT, _GROUND = "#d6dae1", "#3a3f49", "#1d2026"
_COLOURS = ("#5ad1ff", "#ffb454", "#ff6b8b", "#8bd17c")
_STYLE = {
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _FAINT,
    "axes.facecolor": _GROUND,
    "figure.facecolor": _GROUND,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _FAINT,
    "grid.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.hashsalt": "topo4d",  # the same chart gives the same file
}


def curves(frames: Sequence[int], series: Mapping[str, Sequence[float]], unit: str, height: float = 2.6) -> str:
    """One line a series over the frames.  Returns an <svg> element."""
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(figsize=(10.5, height))
        for (name, values), colour in zip(series.items(), _COLOURS, strict=False):
            axes.plot(frames, values, color=colour, label=name, linewidth=1.8, marker="o", markersize=3.2)
        axes.set_ylabel(unit)
        axes.grid(axis="y")
        axes.set_ylim(bottom=0)
        axes.legend(loc="upper left", ncols=len(series))
        axes.set_xlabel("frame")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlim(frames[0], frames[-1] if len(frames) > 1 else frames[0] + 1)
        return _svg(figure)


def _svg(figure: plt.Figure) -> str:
    """The figure as text, without the prologue that only a file of its own needs, as wide as its place."""
    figure.tight_layout()
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    plt.close(figure)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    head, tail = text.split(">", 1)
    head = re.sub(r'\s(?:width|height)="[^"]*"', "", " ".join(head.split()))
    return f'{head} width="100%">{tail}'
