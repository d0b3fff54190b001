"""Templates: order kept, any polygons, and a sentence that names the vertex or face that is wrong."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

from topo4d_blender.core.errors import RequestError, StorageError
from topo4d_blender.core.template import Template, read_template, write_template

SQUARE = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\n"


def obj(folder: Path, text: str) -> Path:
    path = folder / "mesh.obj"
    path.write_text(text)
    return path


def refused(path: Path, *words: str) -> None:
    with pytest.raises(RequestError) as error:
        read_template(path)
    for word in (str(path), *words):
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_quads_triangles_ngons_and_uv_by_corner(tmp_path):
    text = SQUARE + "v 2 0.5 0.123456789\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nvt 0.5 0.25\n"
    text += "f 1/1 2/2 3/3 4/4\nf 2/1 5/5 3/3\nf 1/1/1 2/2/1 5/5/1 3/3/1 4/4/1\n"
    t = read_template(obj(tmp_path, text))
    assert t.vertices.dtype == np.float64 and np.abs(t.vertices[4] - [2, 0.5, 0.123456789]).max() < 1e-15
    assert t.loops.tolist() == [0, 1, 2, 3, 1, 4, 2, 0, 1, 4, 2, 3]
    assert t.face_starts.tolist() == [0, 4, 7, 12]
    assert t.uv[4:7].tolist() == [[0, 0], [0.5, 0.25], [1, 1]]
    assert len(t.triangles) == 2 + 1 + 3


def test_vertex_order_of_the_file_across_objects_and_groups(tmp_path):
    text = (
        "o one\n"
        + SQUARE
        + "f 1 2 3\no two\nv 5 0 0\nv 6 0 0\nv 6 1 0\ng left\nf -3 -2 -1\ng right\nf 3 4 1\no one\nf 1 2 7\n"
    )
    t = read_template(obj(tmp_path, text))
    assert t.vertices[:, 0].tolist() == [0, 1, 1, 0, 5, 6, 6]
    assert t.loops.reshape(-1, 3).tolist() == [[0, 1, 2], [4, 5, 6], [2, 3, 0], [0, 1, 6]]


def test_reads_as_another_program_does(tmp_path):
    ball = trimesh.creation.icosphere(2)
    path = tmp_path / "ball with spaces ü.obj"
    path.write_text(trimesh.exchange.obj.export_obj(ball, digits=9))
    t = read_template(path)
    assert np.allclose(t.vertices, ball.vertices, atol=1e-8)
    assert np.array_equal(t.triangles, ball.faces)
    assert np.array_equal(t.edges, np.unique(np.sort(ball.edges_unique, axis=1), axis=0))


def test_edges_are_those_of_the_faces(tmp_path):
    t = read_template(obj(tmp_path, SQUARE + "f 4 3 2 1\n"))
    assert t.edges.tolist() == [[0, 1], [0, 3], [1, 2], [2, 3]]


@pytest.mark.parametrize("turn", range(5))
def test_fan_of_a_concave_face_does_not_fold(tmp_path, turn):
    """An arrow head: only a fan on the notch (or the tip opposite) covers it without folding, wherever it begins."""
    corners = np.roll([[0, 0], [2, -1], [1, 0], [2, 1], [1, 0.6]], turn, axis=0)
    text = "".join(f"v {x} {y} 0\n" for x, y in corners) + "f 1 2 3 4 5\n"
    t = read_template(obj(tmp_path, text))
    a, b, c = (t.vertices[t.triangles[:, i]] for i in range(3))
    area = np.cross(b - a, c - a)[:, 2] / 2
    x, y = corners.T
    assert (area > 0).all() and np.isclose(area.sum(), 0.5 * (x * np.roll(y, -1) - y * np.roll(x, -1)).sum())


def test_fan_of_a_convex_face_stands_on_its_first_corner(tmp_path):
    t = read_template(obj(tmp_path, SQUARE + "f 3 4 1 2\n"))
    assert t.triangle_loops.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert t.triangles.tolist() == [[2, 3, 0], [2, 0, 1]]


def test_npz_there_and_back(tmp_path):
    t = read_template(obj(tmp_path, SQUARE + "vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nf 1/1 2/2 3/3 4/4\n"))
    roles = {"t4d_ignore": np.array([0, 0.5, 1, 0], np.float32)}
    t = Template(t.vertices, t.loops, t.face_starts, t.uv, roles)
    write_template(tmp_path / "t.npz", t)
    back = read_template(tmp_path / "t.npz")
    assert back.digest == t.digest and back.roles["t4d_ignore"].tolist() == [0, 0.5, 1, 0]
    assert [p.name for p in tmp_path.iterdir() if p.suffix != ".obj"] == ["t.npz"]


def test_digest_tells_templates_apart():
    vertices, loops, starts = np.eye(3), np.array([0, 1, 2], np.int32), np.array([0, 3], np.int32)
    uv = np.zeros((3, 2), np.float32)
    some = [
        Template(vertices, loops, starts),
        Template(vertices * 1.000001, loops, starts),
        Template(vertices, loops[[1, 2, 0]], starts),
        Template(vertices, loops, starts, uv),
        Template(vertices, loops, starts, uv, {"t4d_stiff": np.ones(3, np.float32)}),
    ]
    assert len({t.digest for t in some}) == len(some)
    assert Template(vertices.copy(), loops.copy(), starts.copy()).digest == some[0].digest


def test_template_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    t = Template(np.eye(3), np.array([0, 1, 2], np.int32), np.array([0, 3], np.int32))
    with pytest.raises(StorageError, match="file"):
        write_template(tmp_path / "file" / "t.npz", t)


# Warnings: the track goes on


def warned(folder: Path, text: str) -> str:
    warnings = read_template(obj(folder, text)).warnings
    assert len(warnings) == 1
    return warnings[0]


def test_loose_vertices(tmp_path):
    assert "vertex 4 belongs to no face" in warned(tmp_path, SQUARE + "v 9 9 9\nf 1 2 3 4\n")
    many = SQUARE + "v 9 9 9\n" * 10 + "f 1 2 3 4\n"
    assert "each of 10 (vertex 4, 5, 6, 7, 8 ...)" in warned(tmp_path, many)


def test_non_manifold_edge(tmp_path):
    text = SQUARE + "v 0 0 1\nf 1 2 3 4\nf 1 2 5\nf 2 1 5\n".replace("f 2 1 5", "v 0 0 -1\nf 2 1 6")
    assert "edge 0-1 has more than two faces" in warned(tmp_path, text)


def test_face_of_many_corners(tmp_path):
    assert "face 1 has more than four corners" in warned(tmp_path, SQUARE + "v 0.5 -1 0\nf 1 2 3\nf 1 5 2 3 4\n")


def test_face_without_area(tmp_path):
    text = SQUARE + "v 2 0 0\nv 3 0 0\nf 1 2 3 4\nf 2 5 6\n"
    assert "face 1 has no area" in warned(tmp_path, text)


def test_no_uv_is_no_warning(tmp_path):
    t = read_template(obj(tmp_path, SQUARE + "f 1 2 3 4\n"))
    assert t.uv is None and t.warnings == ()


def test_uv_partly_missing_is_none(tmp_path):
    text = SQUARE + "vt 0 0\nvt 1 0\nvt 1 1\nf 1/1 2/2 3/3\nf 1 3 4\n"
    path = obj(tmp_path, text)
    assert read_template(path).uv is None
    assert "1 face(s)" in warned(tmp_path, text) and "the first is 1" in warned(tmp_path, text)


# Bad input


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["no vertices"]),
        ("hello\n\x01\x02", ["no vertices"]),
        (SQUARE, ["no faces"]),
        (SQUARE + "l 1 2\np 3\n", ["no faces"]),
        (SQUARE.replace("v 1 1 0", "v 1 nan 0") + "f 1 2 3 4\n", ["vertex 2", "line 3", "1 nan 0"]),
        (SQUARE.replace("v 1 1 0", "v 1 -inf 0") + "f 1 2 3 4\n", ["vertex 2", "line 3"]),
        (SQUARE.replace("v 1 1 0", "  v 1 1e999 0") + "f 1 2 3 4\n", ["vertex 2", "line 3"]),
        (SQUARE.replace("v 1 1 0", "v 1 1,0 0") + "f 1 2 3 4\n", ["vertex 2", "1,0"]),
        (SQUARE.replace("v 1 1 0", "v 1 1") + "f 1 2 3 4\n", ["vertex 2"]),
        (SQUARE + "vt 0 0\nvt nan 0\nf 1/1 2/2 3/1\n", ["UV point 1", "line 6"]),
        (SQUARE + "f 1 2 3\nf 1 2 9\n", ["face 1", "vertex 8", "4 vertices"]),
        (SQUARE + "f 1 2 -9\n", ["line 5"]),
        (SQUARE + "f 0 1 2\n", ["line 5"]),
        (SQUARE + "f 1 2 3\nf 1 2\n", ["fewer than three"]),
        (SQUARE + "f 1 2 3\nf 2 2 1\n", ["face 1", "fewer than three different"]),
        (SQUARE + "vt 0 0\nf 1/1 2/1 3/7\n", ["face 0", "UV point 7"]),
    ],
)
def test_obj_refused_with_a_sentence(tmp_path, text, words):
    refused(obj(tmp_path, text), *words)


def test_no_such_template_and_other_files(tmp_path):
    refused(tmp_path / "none.obj", "no template")
    path = tmp_path / "mesh.fbx"
    path.write_text("x")
    refused(path, ".obj")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"vertices": np.array([[0, 0, 0], [1, 0, 0], [np.nan, 1, 0]])}, "vertex 2"),
        ({"vertices": np.eye(2)}, "not a template"),
        ({"loops": np.array([0, 1, 3])}, "names vertex 3"),
        ({"loops": np.array([0, 1, -1])}, "names vertex -1"),
        ({"face_starts": np.array([0, 2])}, "face_starts"),
        ({"face_starts": np.array([0])}, "no faces"),
        ({"uv": np.zeros((2, 2))}, "2 UVs"),
        ({"uv": np.full((3, 2), np.inf)}, "UV that is not finite"),
        ({"role_t4d_stiff": np.ones(2)}, "t4d_stiff"),
        ({"vertices": None}, "lacks vertices"),
        ({"loops": np.array([{}], object)}, "not an .npz"),
    ],
)
def test_npz_refused_with_a_sentence(tmp_path, change, word):
    arrays = {"vertices": np.eye(3), "loops": np.arange(3), "face_starts": np.array([0, 3])} | change
    path = tmp_path / "t.npz"
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
    refused(path, word)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_npz_truncated(tmp_path, share):
    path = tmp_path / "t.npz"
    np.savez(path, vertices=np.eye(3), loops=np.arange(3), face_starts=np.array([0, 3]))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    refused(path, "truncated")
