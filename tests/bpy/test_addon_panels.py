"""What the panels say and allow: progress in words, doors that are shut during a job, the mesh over the plates."""

from __future__ import annotations

import pytest

bpy = pytest.importorskip("bpy")
pytestmark = pytest.mark.bpy

import addon_utils  # noqa: E402
import bridge_scenes as scenes  # noqa: E402

from topo4d_blender.bridge import cameras, views  # noqa: E402
from topo4d_blender.bridge.session import SESSION, Handle, Job  # noqa: E402
from topo4d_blender.panels.job import TOPO4D_PT_job, progress_text  # noqa: E402


@pytest.fixture
def artist():
    """The extension enabled, a capture and a head in the scene."""
    scene = scenes.fresh()
    addon_utils.enable("topo4d_blender", default_set=True)
    scene.topo4d.root = cameras.load_cameras(scenes.description(), scene)
    scene.topo4d.template = scenes.head()
    yield scene
    addon_utils.disable("topo4d_blender", default_set=True)
    SESSION.__init__()


def job(kind: str = "track", **values: object) -> Job:
    return Job({"job": kind}, Handle.of(bpy.context.scene), lambda _: "", **values)


@pytest.mark.parametrize(
    ("kind", "values", "text"),
    [
        ("track", {}, "Starting the engine"),
        ("track", {"done": 1, "total": 12}, "Frame 2 of 12, preparing"),
        ("track", {"done": 3, "total": 12, "eta_s": 45.2}, "Frame 4 of 12, 45 s left"),
        ("track", {"done": 12, "total": 12, "eta_s": 0.0}, "Frame 12 of 12, 0 s left"),
        ("bake", {"done": 30, "total": 120, "eta_s": 600.0}, "25 %, 10 min left"),
        ("bake", {"done": 30, "total": 120, "eta_s": 9000.0}, "25 %, 2.5 h left"),
        ("bake", {"done": 3, "total": 4, "cancelling": True}, "Stopping"),
    ],
)
def test_progress_in_words(kind, values, text):
    assert progress_text(job(kind, **values)) == text


def test_progress_is_there_exactly_while_a_job_runs(artist):
    assert not TOPO4D_PT_job.poll(bpy.context)
    SESSION.job = job("bake")
    assert TOPO4D_PT_job.poll(bpy.context)


@pytest.mark.parametrize("operator", ["new_take", "load_take", "load_capture", "track", "bake", "show_textures"])
def test_what_would_pull_the_rug_from_under_a_job_waits_for_it(artist, operator, tmp_path):
    artist.topo4d.template.topo4d.take = str(tmp_path)
    bpy.context.preferences.addons["topo4d_blender"].preferences.python = "/some/python"
    run = getattr(bpy.ops.topo4d, operator)
    assert run.poll()
    SESSION.job = job()
    with pytest.raises(RuntimeError, match="A job runs: wait for it, or cancel it"):
        run()


def test_the_arrows_go_round_the_cameras_of_the_capture(artist):
    root, other = artist.topo4d.root, bpy.data.objects.new("aaa", bpy.data.cameras.new("aaa"))
    artist.collection.objects.link(other)
    names = [camera.name for camera in cameras.cameras_of(root)]
    artist.camera = other
    seen = []
    for _ in range(len(names) + 1):
        assert bpy.ops.topo4d.step_camera(direction=1) == {"FINISHED"}
        seen.append(artist.camera.name)
    assert seen == [*names, names[0]]
    bpy.ops.topo4d.step_camera(direction=-1)
    assert artist.camera.name == names[-1]
    size = artist.camera.data[cameras.SIZE]
    assert (artist.render.resolution_x, artist.render.resolution_y) == (int(size[0]), int(size[1]))


@pytest.mark.parametrize("before", ["TEXTURED", "SOLID", "BOUNDS"])
@pytest.mark.parametrize("selected", [True, False])
def test_wires_over_the_plate_come_and_go_without_a_trace(artist, before, selected):
    obj = artist.topo4d.template
    bpy.ops.mesh.primitive_cube_add()
    cube = bpy.context.object
    obj.display_type = before
    obj.select_set(selected)
    others = (cube.display_type, cube.select_get(), bpy.context.view_layer.objects.active)
    keys = set(obj.keys())
    bpy.ops.topo4d.wireframe()
    assert views.shows_wires(obj) and obj.display_type == "WIRE"
    assert (cube.display_type, cube.select_get(), bpy.context.view_layer.objects.active) == others
    bpy.ops.topo4d.wireframe()
    assert (obj.display_type, obj.select_get(), set(obj.keys())) == (before, selected, keys)


def test_the_uv_field_offers_the_maps_of_the_mesh(artist):
    from topo4d_blender.properties import _uv_maps

    maps = [layer.name for layer in artist.topo4d.template.data.uv_layers]
    assert _uv_maps(artist.topo4d, bpy.context, "") == maps
