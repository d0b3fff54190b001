"""Scores in millimetres, without any alignment before scoring: vertex error, surface distance, drift, jitter, folds.

The scores of the paper (mesh-to-scan distance and its shares) beside what they can not see: a mesh may lie on the
surface and slide along it, which only the distance of every vertex to its own true place tells.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..capture.patterns import frames_text
from ..errors import RequestError
from ..flags import flags_of
from ..take import Take
from .distance import surface_distance
from .truth import Truth, read_truth

Array = np.ndarray
WITHIN_MM = (0.2, 0.5, 1.0, 2.0, 3.0)
_SURFACES = ("mesh_to_scan_mm", "scan_to_mesh_mm")


def evaluate_take(take: Take, truth: Path) -> dict:
    """Scores of every solved frame and over all frames, ready for JSON.

    `truth` is an .npz with `vertices` [F, V, 3] (capture units, one row a frame of the capture in ascending order, or
    the frames named by an optional `frames` [F]), `face_mask` [V] bool and `unit_mm`. Only vertices of the face mask
    are scored; distances are to the whole other mesh. The keys, all lengths in mm:

        unit_mm, face_vertices, warnings [sentence]
        overall   frames, vertex_error_mm, mesh_to_scan_mm, scan_to_mesh_mm, folded_triangles,
                  jitter_mm {tracked, truth, ratio, error}, drift_mm {first_frame, last_frame, change}
        frames    [{frame, vertex_error_mm, mesh_to_scan_mm, scan_to_mesh_mm, folded_triangles}]

    Errors are {mean, median, p95, max}; distances also hold `within`: the share nearer than 0.2, 0.5, 1, 2 and 3 mm.
    `folded_triangles` face away from where the truth's face, summed over frames in `overall`. `jitter_mm` is the root
    mean square of second differences over three consecutive frames, of the track, of the truth, their ratio, and of
    the track's error alone; null where there is none. `drift_mm.change` is the mean error of the last frame less that
    of the first. Raises RequestError.
    """
    known = read_truth(Path(truth), take.request, len(take.template.vertices))
    frames, warnings = _scored_frames(take, known, Path(truth))
    if abs(known.unit_mm / take.request.unit_mm - 1) > 1e-6:
        warnings.append(
            f"The take says {take.request.unit_mm:g} mm a unit and the truth {known.unit_mm:g}; the truth's is used."
        )
    triangles = take.template.triangles
    face_triangles = triangles[known.face_mask[triangles].all(axis=1)]
    jitter = _Jitter()
    per_frame, pooled = [], {"vertex_error_mm": [], **{name: [] for name in _SURFACES}}
    for frame in frames:
        true = known.vertices[known.rows[frame]].astype(np.float64) * known.unit_mm
        tracked = _geometry(take, frame) * known.unit_mm
        face = known.face_mask
        values = {
            "vertex_error_mm": np.linalg.norm(tracked[face] - true[face], axis=1),
            "mesh_to_scan_mm": surface_distance(tracked[face], true, triangles),
            "scan_to_mesh_mm": surface_distance(true[face], tracked, triangles),
        }
        for name, value in values.items():
            pooled[name].append(value)
        jitter.add(known.rows[frame], tracked[face], true[face])
        folded = _folded(tracked, true, face_triangles)
        per_frame.append({"frame": frame, **_summaries(values), "folded_triangles": folded})
    overall = {"frames": len(frames), **_summaries({name: np.concatenate(v) for name, v in pooled.items()})}
    overall["folded_triangles"] = sum(f["folded_triangles"] for f in per_frame)
    overall["jitter_mm"] = jitter.scores()
    overall["drift_mm"] = _drift(per_frame)
    return {
        "unit_mm": known.unit_mm,
        "face_vertices": int(known.face_mask.sum()),
        "warnings": warnings,
        "overall": overall,
        "frames": per_frame,
    }


def _scored_frames(take: Take, known: Truth, path: Path) -> tuple[list[int], list[str]]:
    solved = take.solved_frames()
    if not solved:
        raise RequestError(f"{take.folder} holds no solved frame yet; run `topo4d track` first.")
    frames = [f for f in solved if f in known.rows]
    if not frames:
        raise RequestError(f"{path} knows none of the frames solved in {take.folder}; give the truth of this capture.")
    warnings = []
    if len(frames) < len(solved):
        absent = sorted(set(solved) - set(frames))
        warnings.append(f"{path} does not know {len(absent)} of the solved frames (the first is {absent[0]}).")
    misfits = [frame for frame, line in sorted(take.metrics().items()) if "does_not_fit" in flags_of(line)]
    if misfits:
        warnings.append(
            f"The mesh given in frame {frames_text(misfits)} does not seem to lie on the head, and what is solved from "
            f"it neither; {take.folder} has a picture (fit_*.png)."
        )
    unsolved = len(set(take.request.frames) - set(solved))
    if unsolved:
        warnings.append(f"{unsolved} of the {len(take.request.frames)} frames asked for are not solved yet.")
    return frames, warnings


def _geometry(take: Take, frame: int) -> Array:
    """Vertices of `frame`.  # [V, 3] float64, capture units, finite."""
    vertices = take.read_geometry(frame).astype(np.float64)
    if not np.isfinite(vertices).all():
        vertex = int(np.argwhere(~np.isfinite(vertices).all(axis=1))[0, 0])
        path = take.geometry_path(frame)
        raise RequestError(f"{path}: vertex {vertex} is not a finite number; delete the file and track with --resume.")
    return vertices


def _summaries(values: dict[str, Array]) -> dict:
    return {name: _summary(value, within=name in _SURFACES) for name, value in values.items()}


def _summary(values: Array, within: bool) -> dict:
    result = {
        "mean": float(values.mean()),
        "median": float(np.median(values)),
        "p95": float(np.percentile(values, 95)),
        "max": float(values.max()),
    }
    if within:
        result["within"] = {f"{limit:g}": float((values < limit).mean()) for limit in WITHIN_MM}
    return result


def _folded(tracked: Array, true: Array, triangles: Array) -> int:
    """How many triangles face away from where the same triangle of the truth faces."""
    return int((np.einsum("ij,ij->i", _normals(tracked, triangles), _normals(true, triangles)) < 0).sum())


def _normals(vertices: Array, triangles: Array) -> Array:
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    return np.cross(b - a, c - a)


class _Jitter:
    """Second differences x[t-1] - 2 x[t] + x[t+1] over consecutive frames, summed as the frames go by."""

    def __init__(self) -> None:
        self._last: list[tuple[int, Array, Array]] = []  # at most three (row, tracked, true)
        self._squares = np.zeros(3)  # of track, truth, error
        self._count = 0

    def add(self, row: int, tracked: Array, true: Array) -> None:
        self._last = [*self._last[-2:], (row, tracked, true)]
        rows = [entry[0] for entry in self._last]
        if rows != [row - 2, row - 1, row]:
            return
        second = [self._last[0][k] - 2 * self._last[1][k] + self._last[2][k] for k in (1, 2)]
        self._squares += [(d**2).sum() for d in (*second, second[0] - second[1])]
        self._count += len(tracked)

    def scores(self) -> dict:
        """Root mean squares in mm, and the ratio of track to truth; null without three consecutive frames."""
        if not self._count:
            return {"tracked": None, "truth": None, "ratio": None, "error": None}
        tracked, truth, error = (float(v) for v in np.sqrt(self._squares / self._count))
        return {"tracked": tracked, "truth": truth, "ratio": tracked / truth if truth > 0 else None, "error": error}


def _drift(per_frame: list[dict]) -> dict | None:
    if len(per_frame) < 2:
        return None
    first, last = per_frame[0], per_frame[-1]
    change = last["vertex_error_mm"]["mean"] - first["vertex_error_mm"]["mean"]
    return {"first_frame": first["frame"], "last_frame": last["frame"], "change": change}
