"""Review: what the engine found wrong, in words, frame by frame, and the vertices concerned."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

bpy = pytest.importorskip("bpy")
pytestmark = pytest.mark.bpy

import addon_utils  # noqa: E402
import bridge_scenes as scenes  # noqa: E402
import numpy as np  # noqa: E402

from topo4d_blender.bridge import shape_keys, takes  # noqa: E402
from topo4d_blender.bridge.flags import found  # noqa: E402
from topo4d_blender.bridge.session import SESSION  # noqa: E402
from topo4d_blender.core.flags import WORDS  # noqa: E402

LINES = [
    {"frame": 1, "residual_px": 0.2, "flags": []},
    {"frame": 2, "residual_px": 0.3, "flags": ["lost_region"], "where": {"lost_region": {"count": 9, "vertices": [4]}}},
    {
        "frame": 3,
        "residual_px": 2.0,
        "flags": ["dark_plates", "folded_triangles", "lost"],
        "where": {"dark_plates": {"cameras": ["cam03"]}, "folded_triangles": {"count": 31, "vertices": [7, 2, 40]}},
    },
    {"frame": 5, "residual_px": 0.2, "flags": ["missing_plates"], "where": {"missing_plates": {"cameras": ["a", "b"]}}},
]


@pytest.fixture
def artist(tmp_path):
    """The extension enabled, and a head whose take has flags."""
    scene = scenes.fresh()
    addon_utils.enable("topo4d_blender", default_set=True)
    obj = scenes.head()
    (tmp_path / "geometry").mkdir()
    for frame, vertices in scenes.performance(obj, range(1, 6)).items():
        np.save(tmp_path / "geometry" / f"{frame:06d}.npy", vertices)
    (tmp_path / "take.json").write_text("{}")
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES))
    bpy.ops.topo4d.load_take(directory=str(tmp_path))
    yield scene, obj
    addon_utils.disable("topo4d_blender", default_set=True)
    SESSION.__init__()


def test_every_flag_of_a_frame_is_said_in_words(artist):
    scene, obj = artist
    said = {}
    for entry in obj.topo4d.flags:
        said.setdefault(entry.frame, []).append(entry.text)
    assert said == {
        2: ["A part of the face wears other colours than its own (9 vertices)"],
        3: [
            "Nothing to be seen on the plate of cam03",
            "The mesh is folded over (31 vertices)",
            "Lost: no other frame was started from this one",
        ],
        5: ["No plate from a, b"],
    }


def test_the_words_are_those_of_every_flag_that_the_engine_knows():
    text = (Path(__file__).parents[2] / "docs" / "formats.md").read_text("utf-8")
    table = text.split("| flag | |\n|---|---|\n")[1].split("\n\n")[0]
    assert {line.split("`")[1] for line in table.splitlines()} == set(WORDS)
    assert found({1: {"flags": ["of_tomorrow"]}})[0].text == "of tomorrow"
    assert found({1: {"flags": None, "where": 3}, 2: {}}) == []


def test_the_arrows_go_round_the_flagged_frames(artist):
    scene, _ = artist
    scene.frame_set(1)
    seen = []
    for _ in range(4):
        bpy.ops.topo4d.step_flag(direction=1)
        seen.append(scene.frame_current)
    assert seen == [2, 3, 5, 2]
    bpy.ops.topo4d.step_flag(direction=-1)
    assert scene.frame_current == 5


def test_the_vertices_concerned_are_selected_on_the_frames_own_key(artist):
    scene, obj = artist
    scene.frame_set(3)
    before = shape_keys.read_key(obj, 3)
    assert bpy.ops.topo4d.select_where(flag="folded_triangles") == {"FINISHED"}
    assert obj.mode == "EDIT" and obj.active_shape_key.name == "frame_000003"
    assert scene.tool_settings.mesh_select_mode[:] == (True, False, False)
    bpy.ops.object.mode_set(mode="OBJECT")
    assert [v.index for v in obj.data.vertices if v.select] == [2, 7, 40]
    assert np.array_equal(shape_keys.read_key(obj, 3), before)
    scene.frame_set(2)
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.topo4d.select_where(flag="lost_region")
    bpy.ops.object.mode_set(mode="OBJECT")
    assert [v.index for v in obj.data.vertices if v.select] == [4]


def test_vertices_that_the_mesh_has_not_are_said(artist):
    scene, _ = artist
    scene.frame_set(5)
    with pytest.raises(RuntimeError, match="names no vertices"):
        bpy.ops.topo4d.select_where(flag="missing_plates")


def test_a_frame_asked_for_again_keeps_what_is_known_of_it(artist, tmp_path):
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"frame": 3, "again": true}\n')
    assert takes.read_metrics(tmp_path)[3]["flags"] == ["dark_plates", "folded_triangles", "lost"]
