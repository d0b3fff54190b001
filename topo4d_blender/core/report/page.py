"""Writes report.html: one file with everything in it, no network, no scripts beyond the frame player."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from datetime import datetime
from importlib import metadata
from importlib.resources import files
from pathlib import Path

import jinja2
import numpy as np

from ..capture import Capture
from ..capture.images import image_size
from ..evaluate.truth import Truth, read_truth
from ..files import atomic_write
from ..progress import Progress
from ..take import Take
from ..take.flagged import flagged
from . import charts
from .pictures import Errors, Gallery, colour_bar, spread, textured_frames

Array = np.ndarray
_PACKAGES = ("topo4d", "numpy", "numba", "opencv-python-headless", "bpy")
_LIMITS_MM = ("0.2", "0.5", "1", "2", "3")


def write_report(
    path: Path,
    take: Take,
    capture: Capture,
    scores: dict | None = None,
    truth: Path | None = None,
    timings: Mapping[str, float] | None = None,
    progress: Progress | None = None,
    title: str = "Take report",
) -> None:
    """Write the report of `take` to `path`.

    `scores` is what `evaluate_take` gave for `truth`; without them the report says nothing of errors in millimetres.
    `timings` are seconds a stage. Raises RequestError, StorageError, Cancelled.
    """
    progress = progress or Progress()
    known = read_truth(truth, take.request, len(take.template.vertices)) if truth is not None else None
    errors = vertex_errors(take, known) if known is not None else None
    gallery = Gallery(take, capture, errors)
    shown = spread(gallery.frames, 24)
    samples = _samples(gallery.frames, errors)
    progress.stage("Drawing the report", len(shown) + len(samples) * (2 if errors else 1) + 1)
    content = {
        "title": title,
        "take": take.folder.name,
        "made": datetime.now().strftime("%d %B %Y, %H:%M"),
        "facts": _facts(take, capture, gallery),
        "headline": _headline(take, scores, timings),
        "player": gallery.play(progress),
        "main_camera": gallery.views[0].name,
        "overlays": gallery.overlays(samples, progress),
        "maps": gallery.error_maps(samples, progress) if errors else [],
        "worst": _worst(errors),
        "full_mm": errors.full if errors else None,
        "bar": colour_bar(),
        "flagged": flagged(take.metrics()),
        "judged": any("flags" in line for line in take.metrics().values()),
        "charts": _charts(take, gallery.frames, scores, errors),
        "scores": _score_rows(scores),
        "shares": _share_rows(scores),
        "limits": _LIMITS_MM,
        "warnings": (scores or {}).get("warnings", []),
        "timings": _timing_rows(timings),
        "versions": _versions(),
        "texture": _texture(take, gallery, samples),
    }
    html = _template().render(**content)
    atomic_write(path, lambda file: file.write(html.encode()))
    progress.advance()


def vertex_errors(take: Take, known: Truth) -> Errors:
    """Distances of the vertices of every frame that is both solved and known, and a round end for their colours."""
    mm = {
        frame: np.linalg.norm(take.read_geometry(frame).astype(np.float64) - known.vertices[known.rows[frame]], axis=1)
        * known.unit_mm
        for frame in take.solved_frames()
        if frame in known.rows
    }
    high = float(np.percentile(np.concatenate([error[known.face_mask] for error in mm.values()]), 98)) if mm else 1.0
    steps = np.array([0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0])
    return Errors(mm, known.face_mask, float(steps[min(np.searchsorted(steps, high), len(steps) - 1)]))


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(files(__package__).joinpath("report.html.j2").read_text("utf-8"))


def _samples(frames: list[int], errors: Errors | None) -> list[int]:
    """Three frames to look at closely: one early, the worst one known (else the middle), the last."""
    if len(frames) <= 3:
        return list(frames)
    worst = _worst(errors) or frames[len(frames) // 2]
    early = frames[len(frames) // 3]
    return sorted({early, worst, frames[-1]})


def _worst(errors: Errors | None) -> int | None:
    """The frame with the largest mean error."""
    return max(errors.mm, key=lambda frame: errors.mm[frame][errors.mask].mean()) if errors and errors.mm else None


def _facts(take: Take, capture: Capture, gallery: Gallery) -> list[tuple[str, str]]:
    template = take.template
    sizes = sorted({(camera.width, camera.height) for camera in capture.cameras})
    return [
        ("capture", capture.source.parent.name),
        ("cameras", str(len(capture.cameras))),
        ("plates", ", ".join(f"{w} × {h}" for w, h in sizes)),
        ("frames", f"{len(gallery.frames)} of {len(take.request.frames)}"),
        ("vertices", f"{len(template.vertices):,}"),
        ("faces", f"{len(template.face_starts) - 1:,}"),
        ("method", take.request.method),
    ]


def _headline(take: Take, scores: dict | None, timings: Mapping[str, float] | None) -> list[tuple[str, str, str]]:
    """The large figures: (value, unit, what it is)."""
    lines = []
    if scores:
        error, surface = scores["overall"]["vertex_error_mm"], scores["overall"]["mesh_to_scan_mm"]
        lines += [
            (f"{error['mean']:.3f}", "mm", "mean vertex error"),
            (f"{error['p95']:.2f}", "mm", "95 % of vertices below"),
            (f"{100 * surface['within']['0.5']:.1f}", "%", "within 0.5 mm of the surface"),
        ]
    seconds = [line["seconds"] for line in take.metrics().values() if _is_number(line.get("seconds"))]
    if seconds:
        lines.append((f"{np.mean(seconds):.1f}", "s", "a frame to track"))
    if timings:
        lines.append((_clock(sum(timings.values())), "", "minutes for everything"))
    return lines


def _charts(take: Take, frames: list[int], scores: dict | None, errors: Errors | None) -> list[dict]:
    result = []
    if scores:
        rows = scores["frames"]
        series = {name: [row["vertex_error_mm"][name] for row in rows] for name in ("mean", "median", "p95")}
        svg = charts.curves([row["frame"] for row in rows], series, "vertex error, mm")
        result.append({"title": "Vertex error on the face", "svg": svg})
    residual = {frame: _residual(line) for frame, line in take.metrics().items()}
    residual = {frame: value for frame, value in residual.items() if value is not None}
    if residual:
        svg = charts.curves(
            list(residual), {"mean over the cameras": list(residual.values())}, "residual, px", height=1.9
        )
        result.append({"title": "What the tracker knows of itself: residual against the plates", "svg": svg})
    return result


def _residual(metrics: dict) -> float | None:
    """Mean residual over the cameras, px."""
    value = metrics.get("residual_px")
    values = [v for v in value.values() if _is_number(v)] if isinstance(value, dict) else [value]
    return float(np.mean(values)) if values and all(map(_is_number, values)) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _score_rows(scores: dict | None) -> list[dict]:
    if not scores:
        return []
    names = {
        "vertex_error_mm": "vertex to its true place",
        "mesh_to_scan_mm": "mesh to true surface",
        "scan_to_mesh_mm": "true surface to mesh",
    }
    return [
        {"name": words, **{k: f"{scores['overall'][key][k]:.3f}" for k in ("mean", "median", "p95", "max")}}
        for key, words in names.items()
    ]


def _share_rows(scores: dict | None) -> list[dict]:
    if not scores:
        return []
    names = {"mesh_to_scan_mm": "mesh to true surface", "scan_to_mesh_mm": "true surface to mesh"}
    return [
        {"name": words, "shares": [f"{100 * scores['overall'][key]['within'][limit]:.1f}" for limit in _LIMITS_MM]}
        for key, words in names.items()
    ]


def _texture(take: Take, gallery: Gallery, samples: list[int]) -> dict | None:
    textured = textured_frames(take)
    if not textured:
        return None
    known = take.maps.request
    width = known.resolution if known else image_size(take.texture_path(textured[0]))[0]
    size = f"{width} × {width}"
    frame = textured[len(textured) // 2]
    return {
        "frame": frame,
        "size": size,
        "count": len(textured),
        "map": gallery.texture_map(frame),
        "worn": gallery.worn(samples),
    }


def _timing_rows(timings: Mapping[str, float] | None) -> list[tuple[str, str, float]]:
    if not timings:
        return []
    longest = max(max(timings.values()), 1e-9)
    return [(name, _clock(seconds), 100.0 * seconds / longest) for name, seconds in timings.items()]


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _versions() -> list[tuple[str, str]]:
    found = [("Python", platform.python_version())]
    for name in _PACKAGES:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue
    found.append(("system", f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"))
    return found
