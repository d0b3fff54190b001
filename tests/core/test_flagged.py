"""What is flagged is said at the end: by the job's summary, by the command line, and on the report's page."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from synthetic import make_capture

from topo4d_blender.core import jobs
from topo4d_blender.core.capture import open_capture
from topo4d_blender.core.progress import Progress
from topo4d_blender.core.report import write_report
from topo4d_blender.core.take import Take
from topo4d_blender.core.take.flagged import flagged


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ball")
    make_capture(folder, frames=3, cameras=4)
    for frame in (2, 3):  # a closed shutter
        path = folder / "images" / "cam02" / f"{frame:06d}.png"
        with Image.open(path) as plate:
            black = Image.fromarray(np.zeros_like(np.asarray(plate)))
        black.save(path)
    return folder


def test_frames_are_gathered_by_what_is_wrong_with_them():
    metrics = {
        1: {"flags": []},
        2: {"flags": ["missing_plates"], "where": {"missing_plates": {"count": 1, "cameras": ["cam03"]}}},
        3: {"flags": ["folded_triangles", "lost"]},
        4: {"flags": ["folded_triangles"]},
        5: {"flags": ["missing_plates"], "where": {"missing_plates": {"count": 1, "cameras": ["cam07"]}}},
        6: {"flags": ["of_tomorrow"]},
        7: {},
        9: {"flags": ["folded_triangles"]},
    }
    assert flagged(metrics) == [
        "Frame 2: no plate from cam03",
        "Frame 5: no plate from cam07",
        "Frames 3-4, 9: the mesh is folded over",
        "Frame 3: lost: no other frame was started from this one",
        "Frame 6: of tomorrow",
    ]
    assert flagged({}) == flagged({1: {"flags": []}, 2: {"flags": "torn"}}) == []


def test_a_track_ends_with_what_is_flagged(film, tmp_path):
    found = jobs.track(Progress(), capture=film, template=film / "start.obj", take=tmp_path / "take")["flagged"]
    assert found[0] == "Frames 2-3: nothing to be seen on the plate of cam02"
    page = tmp_path / "report.html"
    write_report(page, Take.open(tmp_path / "take"), open_capture(film))
    assert all(sentence in page.read_text("utf-8") for sentence in found)


def test_the_command_line_says_so_too_and_nothing_where_nothing_is_flagged(film, tmp_path):
    command = [sys.executable, "-m", "topo4d_blender.core", "track", film, "--template", film / "start.obj"]
    for options, told in (([], True), (["--without-cameras", "cam02"], False)):
        out = tmp_path / f"take{told}"
        done = subprocess.run([*command, "--out", out, *options], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert ("Frames 2-3: nothing to be seen on the plate of cam02" in done.stdout) == told
        assert ("Flagged" in done.stdout) == told
