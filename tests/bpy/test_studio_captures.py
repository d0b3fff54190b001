"""The captures for tuning: topologies are what they say, units and truth agree, lids stay over their eyeballs."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from topo4d_blender.core.capture import open_capture
from topo4d_blender.core.errors import RequestError
from topo4d_blender.core.template import Template, read_template

pytest.importorskip("bpy")
pytestmark = pytest.mark.bpy

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import film_captures  # noqa: E402 (of benchmarks, which are no package)
import ict_head  # noqa: E402
import topologies  # noqa: E402


@pytest.fixture(scope="module")
def suzanne() -> Template:
    from topo4d_blender.studio.scene import suzanne_mesh

    return suzanne_mesh(2000)


@pytest.fixture(autouse=True)
def small_textures(monkeypatch):
    monkeypatch.setattr(film_captures, "TEXTURE", 128)


def area_vector(mesh: Template) -> np.ndarray:
    """Sum of cross products around every face: what two faces add up to when they are merged.  # [F, 3]."""
    corners = mesh.vertices[mesh.loops]
    following = np.arange(1, len(corners) + 1)
    following[mesh.face_starts[1:] - 1] = mesh.face_starts[:-1]
    return np.add.reduceat(np.cross(corners, corners[following]), mesh.face_starts[:-1], axis=0)


def test_ngons_cover_what_the_faces_covered(suzanne):
    merged = topologies.with_ngons(suzanne, 0.2, seed=1)
    sizes = np.diff(merged.face_starts)
    assert 0.05 * len(sizes) < (sizes > 4).sum() < 0.2 * len(sizes)
    assert len(sizes) + (sizes > 4).sum() == len(suzanne.face_starts) - 1
    assert np.allclose(area_vector(merged).sum(axis=0), area_vector(suzanne).sum(axis=0))
    edges = {tuple(edge) for edge in suzanne.edges.tolist()}
    lost = edges - {tuple(edge) for edge in merged.edges.tolist()}
    assert len(lost) == (sizes > 4).sum() and {tuple(edge) for edge in merged.edges.tolist()} <= edges
    corners = {(int(v), *uv) for v, uv in zip(suzanne.loops, suzanne.uv.tolist(), strict=True)}
    assert {(int(v), *uv) for v, uv in zip(merged.loops, merged.uv.tolist(), strict=True)} <= corners
    assert (merged.loops == topologies.with_ngons(suzanne, 0.2, seed=1).loops).all()


def test_a_coarse_mesh_is_carried_by_the_fine_one(suzanne):
    coarse, carry = topologies.decimated(suzanne, 500)
    assert 400 < len(coarse.vertices) < 600 and (np.diff(coarse.face_starts) == 3).all()
    turn = np.array([[0.0, -2.0, 0.3], [1.0, 0.1, 0.0], [0.2, 0.0, 1.5]])
    assert np.allclose(carry(suzanne.vertices @ turn + 0.7), coarse.vertices @ turn + 0.7)  # weights add up to one
    one = np.zeros((len(suzanne.vertices), 3))
    one[:, 0] = np.arange(len(one)) == suzanne.triangles[0, 0]
    assert (carry(one) > -1e-6).all() and (carry(one) < 1 + 1e-6).all()


def test_a_part_has_the_faces_of_its_vertices_alone(suzanne):
    part = topologies.part(suzanne, 1900)
    whole = {tuple(face) for face in np.split(suzanne.loops, suzanne.face_starts[1:-1]) if max(face) < 1900}
    assert {tuple(face) for face in np.split(part.loops, part.face_starts[1:-1])} == whole
    assert len(whole) > 100 and len(part.vertices) == 1900 and len(part.uv) == len(part.loops)


def test_a_capture_in_another_unit_agrees_with_its_truth(tmp_path):
    scene = film_captures.suz_hard(1)
    small = replace(scene, vertices=scene.vertices[:2], cameras=scene.cameras[:3])
    film_captures.film(small, tmp_path / "film")
    capture, truth = open_capture(tmp_path / "film"), np.load(tmp_path / "film" / "truth.npz")
    assert capture.unit_mm == truth["unit_mm"] == 150.0
    assert np.allclose(truth["vertices"] * 150.0, small.vertices, atol=1e-3)
    assert np.abs(read_template(tmp_path / "film" / "start.obj").vertices - truth["vertices"][0]).max() < 1e-5
    assert {(c.width, c.height) for c in capture.cameras} == {(288, 384), (216, 288)}
    for camera, millimetres in zip(capture.cameras, scene.cameras, strict=False):
        pixels, depth = camera.project(truth["vertices"][1])
        assert np.abs(pixels - millimetres.project(small.vertices[1])[0]).max() < 1e-2
        assert (depth > 0).all() and (pixels > 0).all() and (pixels < (camera.width, camera.height)).all()


def test_a_seed_is_another_performance_skin_and_rig():
    one, two = film_captures.suz_hard(1), film_captures.suz_hard(2)
    assert (one.vertices[-1] != two.vertices[-1]).any() and (one.texture != two.texture).any()
    assert one.cameras[0].fx != two.cameras[0].fx and len(one.template.loops) != 0


def test_without_the_heads_what_needs_them_is_left_out_in_a_sentence(tmp_path, capsys):
    assert film_captures.chosen([], None) == ["suz_hard"]
    assert "ict_turn" in capsys.readouterr().err
    assert film_captures.chosen([], tmp_path) == list(film_captures.CAPTURES)
    with pytest.raises(RequestError, match="nobody"):
        film_captures.chosen(["nobody"], None)
    with pytest.raises(RequestError, match=ict_head.FILE):
        ict_head.load_head(tmp_path, 1)


def test_lids_slide_over_the_eyeball_and_the_rest_stays(monkeypatch):
    """A sheet that cuts through a ball of 12 mm is lifted off it, what was deeper stays deeper, what is far stays."""
    azimuth, polar = np.meshgrid(np.linspace(0, 2 * np.pi, 61), np.linspace(0, np.pi, 41))
    ball = 12.0 * np.stack([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)], axis=2)
    x, y = np.meshgrid(np.linspace(-20, 20, 41), np.linspace(-20, 20, 41))
    sheet = np.stack([x.ravel(), y.ravel(), np.full(x.size, 9.0)], axis=1)
    apart = np.array([500.0, 0.0, 0.0])  # the other eye
    monkeypatch.setattr(ict_head, "FACE", len(sheet))
    points = np.concatenate([sheet, ball.reshape(-1, 3), ball.reshape(-1, 3) + apart])
    material = np.repeat(ict_head.EYES, ball.size // 3)
    mesh = Template(sheet, np.arange(3, dtype=np.int32), np.array([0, 3], np.int32))
    head = ict_head.Head(points, {}, mesh, mesh, np.arange(len(sheet), len(points)), material, np.arange(68), 0)
    lifted = ict_head.lids_over_eyeballs(head, points[None], gap=0.5)[0]
    distance, before = np.linalg.norm(lifted[: len(sheet)], axis=1), np.linalg.norm(sheet, axis=1)
    assert (before < 12.0).any() and distance.min() > 12.5
    assert np.allclose(lifted[: len(sheet)] / distance[:, None], sheet / before[:, None])  # straight outwards
    order = np.argsort(before, kind="stable")
    assert (np.diff(distance[order]) > -1e-9).all() and np.ptp(distance[before < 12.0]) > 0.0
    far = before > 16.0
    assert (
        np.abs(distance - before)[far].max() < 0.02
        and (lifted[: len(sheet)][before > 20.0] == sheet[before > 20.0]).all()
    )
    assert (lifted[len(sheet) :] == points[len(sheet) :]).all()
