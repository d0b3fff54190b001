"""Scores against what is known by construction: shifts, slides, folds and shakes of a flat sheet."""

import json
from pathlib import Path

import numpy as np
import pytest

from topo4d_blender.core.errors import RequestError
from topo4d_blender.core.evaluate import evaluate_take
from topo4d_blender.core.take import Take, TakeRequest
from topo4d_blender.core.template import Template

N = 9  # the sheet is N x N vertices, one unit (10 mm) apart
UNIT_MM = 10.0
INNER = np.array([2 <= r < N - 2 and 2 <= c < N - 2 for r in range(N) for c in range(N)])


def sheet() -> Template:
    rows, columns = np.meshgrid(np.arange(N), np.arange(N), indexing="ij")
    vertices = np.stack([columns.ravel(), rows.ravel(), np.zeros(N * N)], axis=1).astype(float)
    corner = (rows[:-1, :-1] * N + columns[:-1, :-1]).ravel()
    loops = np.stack([corner, corner + 1, corner + N + 1, corner + N], axis=1).astype(np.int32)
    return Template(vertices, loops.ravel(), np.arange(len(loops) + 1, dtype=np.int32) * 4)


def score(folder: Path, tracked: dict[int, np.ndarray], truth: np.ndarray, asked=None, **extra) -> dict:
    asked = tuple(asked or sorted(tracked))
    take = Take.create(folder / "take", TakeRequest(str(folder / "capture.json"), asked, UNIT_MM), sheet())
    for frame, vertices in tracked.items():
        take.write_geometry(frame, vertices, {})
    path = folder / "truth.npz"
    arrays = {"vertices": truth.astype(np.float32), "face_mask": INNER, "unit_mm": UNIT_MM, **extra}
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
    return evaluate_take(take, path)


def moved(*offset: float) -> np.ndarray:
    return sheet().vertices + np.array(offset)


def test_a_shift_off_the_surface_is_an_error_of_both_kinds(tmp_path):
    scores = score(tmp_path, {1: moved(0, 0, 0), 2: moved(0, 0, 0.15)}, np.stack([moved(0, 0, 0)] * 2))
    frame = scores["frames"][1]
    for name in ("vertex_error_mm", "mesh_to_scan_mm", "scan_to_mesh_mm"):
        assert frame[name]["mean"] == pytest.approx(1.5, abs=1e-5)
        assert scores["frames"][0][name]["max"] == 0
        assert scores["overall"][name]["mean"] == pytest.approx(0.75, abs=1e-5)
        assert scores["overall"][name]["max"] == pytest.approx(1.5, abs=1e-5)
    assert frame["mesh_to_scan_mm"]["within"] == {"0.2": 0, "0.5": 0, "1": 0, "2": 1, "3": 1}
    assert scores["overall"]["mesh_to_scan_mm"]["within"]["1"] == 0.5
    assert scores["overall"]["drift_mm"] == {"first_frame": 1, "last_frame": 2, "change": pytest.approx(1.5, abs=1e-5)}


def test_a_slide_along_the_surface_shows_in_the_vertices_alone(tmp_path):
    frame = score(tmp_path, {1: moved(0.3, 0.4, 0)}, moved(0, 0, 0)[None])["frames"][0]
    assert frame["vertex_error_mm"]["median"] == pytest.approx(5, abs=1e-5)
    assert frame["mesh_to_scan_mm"]["max"] < 1e-5
    assert frame["scan_to_mesh_mm"]["max"] < 1e-5


def test_vertices_outside_the_face_are_not_scored(tmp_path):
    tracked = moved(0, 0, 0)
    tracked[~INNER] += 7.0
    frame = score(tmp_path, {1: tracked}, moved(0, 0, 0)[None])["frames"][0]
    assert frame["vertex_error_mm"]["max"] == 0


def test_a_fold_is_counted_against_the_truth(tmp_path):
    tracked = moved(0, 0, 0)
    middle = N // 2 * N + N // 2
    tracked[middle, 0] += 1.4  # past its neighbour: some of the triangles around it turn over
    scores = score(tmp_path, {1: tracked}, moved(0, 0, 0)[None])
    expected = flipped_by_hand(tracked)
    assert scores["frames"][0]["folded_triangles"] == expected > 0
    assert score_of_itself(tmp_path / "same", tracked)["overall"]["folded_triangles"] == 0


def flipped_by_hand(vertices: np.ndarray) -> int:
    count = 0
    for a, b, c in sheet().triangles:
        if INNER[[a, b, c]].all():
            (ax, ay), (bx, by), (cx, cy) = vertices[[a, b, c], :2]
            count += (bx - ax) * (cy - ay) - (cx - ax) * (by - ay) < 0
    return count


def score_of_itself(folder: Path, vertices: np.ndarray) -> dict:
    folder.mkdir()
    return score(folder, {1: vertices}, vertices[None])


def test_jitter_is_the_second_difference(tmp_path):
    truth = np.stack([moved(0.05 * t * t, 0, 0) for t in range(5)])  # second difference 0.1 units: 1 mm
    tracked = {t + 1: truth[t] + [0, 0.02 * (-1) ** t, 0] for t in range(5)}  # and 4 x 0.02 units across it: 0.8 mm
    jitter = score(tmp_path, tracked, truth)["overall"]["jitter_mm"]
    assert jitter["truth"] == pytest.approx(1.0, abs=1e-4)
    assert jitter["error"] == pytest.approx(0.8, abs=1e-4)
    assert jitter["tracked"] == pytest.approx(np.hypot(1.0, 0.8), abs=1e-4)
    assert jitter["ratio"] == pytest.approx(np.hypot(1.0, 0.8), abs=1e-3)


def test_jitter_leaves_out_gaps_and_says_null(tmp_path):
    truth = np.stack([moved(0, 0, 0)] * 5)
    scores = score(tmp_path, {f: moved(0, 0, f * f) for f in (1, 2, 4, 5)}, truth, asked=range(1, 6))
    assert scores["overall"]["jitter_mm"] == {"tracked": None, "truth": None, "ratio": None, "error": None}
    assert any("1 of the 5 frames" in sentence for sentence in scores["warnings"])
    json.dumps(scores, allow_nan=False)


def test_a_truth_at_rest_has_no_ratio(tmp_path):
    scores = score(tmp_path, {f: moved(0, 0, 0) for f in (1, 2, 3)}, np.stack([moved(0, 0, 0)] * 3))
    assert scores["overall"]["jitter_mm"] == {"tracked": 0, "truth": 0, "ratio": None, "error": 0}


def test_rows_are_named_by_frames_and_unknown_frames_are_left_out(tmp_path):
    truth = np.stack([moved(0, 0, 0.3), moved(0, 0, 0.2)])
    tracked = {20: moved(0, 0, 0.2), 30: moved(0, 0, 0.3), 40: moved(0, 0, 9)}
    scores = score(tmp_path, tracked, truth, frames=np.array([30, 20]))
    assert [f["frame"] for f in scores["frames"]] == [20, 30]
    assert scores["overall"]["vertex_error_mm"]["max"] < 1e-5
    assert any("does not know 1" in sentence and "40" in sentence for sentence in scores["warnings"])


def test_another_unit_is_the_truths_and_is_said(tmp_path):
    scores = score(tmp_path, {1: moved(0, 0, 1)}, moved(0, 0, 0)[None], unit_mm=1000.0)
    assert scores["overall"]["vertex_error_mm"]["mean"] == pytest.approx(1000, rel=1e-6)
    assert any("1000" in sentence for sentence in scores["warnings"])


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"vertices": np.zeros((1, 5, 3), np.float32)}, ["5 vertices", "81"]),
        ({"vertices": np.zeros((81, 3), np.float32)}, ["[frames, vertices, 3]"]),
        ({"vertices": np.full((1, 81, 3), np.nan, np.float32)}, ["vertex 0", "not a finite"]),
        ({"vertices": np.zeros((7, 81, 3), np.float32)}, ["7 rows", "frames"]),
        ({"face_mask": np.zeros(81, bool)}, ["face_mask"]),
        ({"face_mask": None}, ["face_mask"]),
        ({"unit_mm": -1.0}, ["unit_mm"]),
        ({"frames": np.array([1, 2])}, ["1 rows"]),
        ({"frames": np.array([5])}, ["knows none"]),
    ],
)
def test_a_truth_of_no_use_is_refused_in_one_sentence(tmp_path, extra, words):
    arrays = {"truth": moved(0, 0, 0)[None], **extra}
    truth = arrays.pop("vertices", arrays["truth"])
    arrays.pop("truth")
    with pytest.raises(RequestError) as error:
        score(tmp_path, {1: moved(0, 0, 0)}, truth, **arrays)
    for word in (str(tmp_path / "truth.npz"), *words):
        assert word in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"\x93NUMPY torn", b"hello"])
def test_a_truth_that_is_no_archive_is_refused(tmp_path, content):
    take = Take.create(tmp_path / "take", TakeRequest("x", (1,), UNIT_MM), sheet())
    take.write_geometry(1, moved(0, 0, 0), {})
    path = tmp_path / "truth.npz"
    path.write_bytes(content)
    with pytest.raises(RequestError, match="truth.npz"):
        evaluate_take(take, path)
    with pytest.raises(RequestError, match="no truth file"):
        evaluate_take(take, tmp_path / "absent.npz")
