"""The template the engine gets is the artist's mesh, in capture space."""

from __future__ import annotations

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")
pytestmark = pytest.mark.bpy

import bridge_scenes as scenes  # noqa: E402

from topo4d_blender.bridge import cameras, meshes, shape_keys  # noqa: E402
from topo4d_blender.bridge.errors import BridgeError  # noqa: E402
from topo4d_blender.core.template import read_template  # noqa: E402

OBJ = """v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0
v 2 0.5 0.25
vt 0 0
vt 1 0
vt 1 1
vt 0 1
vt 0.5 0.5
f 1/1 2/2 3/3 4/4
f 2/5 5/2 3/3
"""


@pytest.fixture
def imported(tmp_path):
    scene = scenes.fresh()
    (tmp_path / "start.obj").write_text(OBJ)
    bpy.ops.wm.obj_import(filepath=str(tmp_path / "start.obj"))
    return bpy.context.object, cameras.load_cameras(scenes.description(), scene)


def test_vertices_faces_and_uv_are_those_of_the_file(imported):
    arrays = meshes.template_arrays(*imported)
    assert arrays["vertices"].tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [2, 0.5, 0.25]]
    assert arrays["loops"].tolist() == [0, 1, 2, 3, 1, 4, 2] and arrays["face_starts"].tolist() == [0, 4, 7]
    assert arrays["uv"].tolist() == [[0, 0], [1, 0], [1, 1], [0, 1], [0.5, 0.5], [1, 0], [1, 1]]


def test_a_moved_object_and_a_moved_capture_are_told_apart(imported):
    obj, root = imported
    obj.location.x += 2
    assert meshes.template_arrays(obj, root)["vertices"][0] == pytest.approx([2, 0, 0], abs=1e-6)
    root.location.x += 2
    assert meshes.template_arrays(obj, root)["vertices"][0] == pytest.approx([0, 0, 0], abs=1e-6)


def test_roles_are_the_weights_of_the_vertex_groups(imported):
    obj, root = imported
    obj.vertex_groups.new(name="other").add([0], 1.0, "REPLACE")
    obj.vertex_groups.new(name="t4d_stiff").add([1, 4], 0.25, "REPLACE")
    arrays = meshes.template_arrays(obj, root)
    assert arrays["role_t4d_stiff"].tolist() == [0, 0.25, 0, 0, 0.25]
    assert [name for name in arrays if name.startswith("role_")] == ["role_t4d_stiff"]


def test_a_tracked_mesh_still_gives_its_own_vertices(imported):
    obj, root = imported
    before = meshes.template_arrays(obj, root)["vertices"]
    shape_keys.build(obj, [1], lambda frame: before + 1)
    assert np.array_equal(meshes.template_arrays(obj, root)["vertices"], before)


def test_a_mesh_without_uv_goes_without_and_one_without_faces_is_refused(imported):
    obj, root = imported
    obj.data.uv_layers.remove(obj.data.uv_layers[0])
    assert "uv" not in meshes.template_arrays(obj, root)
    empty = bpy.data.objects.new("dots", bpy.data.meshes.new("dots"))
    with pytest.raises(BridgeError, match="no faces"):
        meshes.template_arrays(empty, root)


def test_the_engine_reads_what_was_written(imported, tmp_path):
    obj, root = imported
    obj.vertex_groups.new(name="t4d_ignore").add([2], 1.0, "REPLACE")
    meshes.write_template(obj, root, tmp_path / "template.npz")
    template, file = read_template(tmp_path / "template.npz"), read_template(tmp_path / "start.obj")
    assert np.array_equal(template.vertices, file.vertices) and np.array_equal(template.uv, file.uv)
    assert np.array_equal(template.loops, file.loops) and np.array_equal(template.face_starts, file.face_starts)
    assert template.roles["t4d_ignore"].tolist() == [0, 0, 1, 0, 0]


def test_the_file_appears_whole_or_not_at_all(imported, tmp_path):
    meshes.write_template(*imported, tmp_path / "deep" / "template.npz")
    with np.load(tmp_path / "deep" / "template.npz") as file:
        assert file["loops"].tolist() == [0, 1, 2, 3, 1, 4, 2]
    (tmp_path / "file").write_text("")
    with pytest.raises(BridgeError, match="could not be written"):
        meshes.write_template(*imported, tmp_path / "file" / "template.npz")
