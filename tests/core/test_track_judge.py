"""What the judge finds in frames that are wrong in a known way, and that it finds nothing in true ones."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from track_scenes import Film, film_ball

from topo4d_blender.core.track.judge import NAMED, Judge, Verdict

Array = np.ndarray


@pytest.fixture(scope="module", params=[1000.0, 1.0], ids=["metres", "millimetres"])
def film(request, tmp_path_factory) -> Film:
    return film_ball(tmp_path_factory.mktemp("ball"), frames=4, unit_mm=request.param, turn_deg=4.0, noise=2.0)


@pytest.fixture
def judge(film) -> Judge:
    judge = Judge(film.template, film.cameras, [1] * len(film.cameras))
    judge.witness.remember(film.truth[0], film.frames[0])
    return judge


def look(judge: Judge, film: Film, vertices: Array, before: int = 1, frame: int = 2) -> Verdict:
    levels = [judge.look(film.truth[1], film.truth[0], film.frames[1], 1, []).miss_px]
    return judge.look(vertices, film.truth[before], film.frames[frame], frame - before, levels)


def patch(film: Film, degrees: float, frame: int = 2) -> Array:
    """How much each vertex belongs to a round patch in the middle of what is seen.  # [V] 0..1, smooth."""
    points = film.truth[frame]
    arm = points - points.mean(axis=0)
    front = arm[film.seen].mean(axis=0)
    angle = np.rad2deg(np.arccos(arm @ front / np.linalg.norm(arm, axis=1) / np.linalg.norm(front)))
    return np.clip(2 - 2 * angle / degrees, 0.0, 1.0)


def test_true_frames_are_not_found_fault_with(judge, film):
    for frame in (1, 2, 3):
        verdict = look(judge, film, film.truth[frame], frame - 1, frame)
        assert verdict.flags == [] and verdict.where == {} and 0 < verdict.miss_px < 1


def test_a_vertex_that_jumps_is_named_first(judge, film):
    wrong = film.truth[2].copy()
    vertex = int(np.argmax(patch(film, 40)))
    edges = film.template.edges[(film.template.edges == vertex).any(axis=1)]
    length = np.linalg.norm(np.diff(wrong[edges], axis=1), axis=2).mean()
    wrong[vertex] += 1.5 * length * np.array([0.0, 1.0, 0.0])
    verdict = look(judge, film, wrong)
    assert verdict.where["implausible_motion"]["vertices"][0] == vertex
    assert verdict.where["implausible_motion"]["count"] <= 3


def test_a_head_that_leaps_is_implausible_and_one_that_nods_is_not(judge, film):
    centre = film.truth[1].mean(axis=0)
    for degrees, found in ((60, True), (12, False)):
        turned = (film.truth[1] - centre) @ Rotation.from_euler("x", degrees, degrees=True).as_matrix().T + centre
        assert ("implausible_motion" in look(judge, film, turned).flags) == found
    size = np.ptp(film.truth[1], axis=0).max()
    assert "implausible_motion" in look(judge, film, film.truth[1] + [size, 0, 0]).flags


def test_a_fold_is_found_where_it_is_and_turning_the_head_over_is_none(judge, film):
    wrong = film.truth[2].copy()
    vertex = int(np.argmax(patch(film, 40)))
    edges = film.template.edges[(film.template.edges == vertex).any(axis=1)]
    far = edges[edges != vertex][0]
    wrong[vertex] += 1.7 * (wrong[far] - wrong[vertex])  # past its neighbour
    verdict = look(judge, film, wrong)
    assert "folded_triangles" in verdict.flags and len(verdict.where["folded_triangles"]["vertices"]) <= NAMED
    folded = film.template.triangles[(film.template.triangles == vertex).any(axis=1)]
    assert vertex in verdict.where["folded_triangles"]["vertices"]
    assert verdict.where["folded_triangles"]["count"] <= len(np.unique(folded)) + 4
    over = film.truth[2] @ Rotation.from_euler("x", 180, degrees=True).as_matrix().T
    assert "folded_triangles" not in look(judge, film, over).flags


@pytest.mark.parametrize(("height", "found"), [(0.02, False), (0.4, True)])
def test_a_fold_that_is_too_small_to_be_seen_is_none(film, height, found):
    """A triangle whose corner lies `height` from its opposite side, of its height, and then as far beyond it."""
    triangle = film.template.triangles[np.argmax(patch(film, 40)[film.template.triangles].sum(axis=1))]
    corner, side = triangle[0], triangle[1:]
    rest = film.template.vertices.copy()
    arm = rest[corner] - rest[side].mean(axis=0)
    rest[corner] = rest[side].mean(axis=0) + height * arm
    judge = Judge(replace(film.template, vertices=rest), film.cameras, [1] * len(film.cameras))
    over = rest.copy()
    over[corner] -= 2 * height * arm
    assert len(judge.folds(rest)) == 0
    assert set(judge.folds(over)) == (set(triangle) if found else set())


def test_a_region_that_slid_is_lost_and_the_rest_is_not(judge, film):
    share = patch(film, 40)
    wrong = film.truth[2] + 8 * film.pixel * share[:, None] * np.array([0.0, 1.0, 0.0])
    verdict = look(judge, film, wrong)
    assert "lost_region" in verdict.flags
    assert (patch(film, 70)[verdict.where["lost_region"]["vertices"]] > 0).all()
    assert verdict.where["lost_region"]["count"] < 2 * (share > 0).sum()


def test_a_mesh_that_lies_elsewhere_is_lost(judge, film):
    assert look(judge, film, film.truth[2] + 8 * film.pixel * np.array([0.0, 1.0, 0.0])).lost
    assert not look(judge, film, film.truth[2]).lost


def test_the_better_start_wears_the_plates_better(judge, film):
    fits = [judge.fit(film.truth[frame], film.frames[3]) for frame in (3, 2, 1, 0)]
    assert fits == sorted(fits)
    assert judge.fit(film.truth[3], [None] * len(film.cameras)) == np.inf


def test_light_that_changes_is_no_loss(judge, film):
    dimmed = [np.clip(plate * [0.8, 0.7, 0.75] + 0.02, 0, 1).astype(np.float32) for plate in film.frames[2]]
    levels = [judge.look(film.truth[1], film.truth[0], film.frames[1], 1, []).miss_px]
    assert judge.look(film.truth[2], film.truth[1], dimmed, 1, levels).flags == []
    assert judge.witness.blank(dimmed) == []


def test_plates_that_show_nothing_are_blank(judge, film):
    plates = list(film.frames[2])
    rng = np.random.default_rng(0)
    plates[1] = np.zeros_like(plates[1])
    plates[3] = (0.5 + 0.02 * rng.normal(size=plates[3].shape)).astype(np.float32)
    plates[4] = None
    assert judge.witness.blank(plates) == [1, 3]


def test_without_plates_there_is_no_opinion(judge, film):
    verdict = judge.look(film.truth[2], film.truth[1], [None] * len(film.cameras), 1, [])
    assert verdict.miss_px is None and verdict.flags == []


def test_what_changes_in_the_eyes_of_one_camera_is_no_loss(judge, film):
    """A highlight or a shadow that moved over a part of the face in one camera: the others see it as it was."""
    centre = film.truth[2][int(np.argmax(patch(film, 40)))][None]
    plates = list(film.frames[2])
    x, y = film.cameras[1].project(centre)[0][0]
    rows, columns = np.mgrid[: film.cameras[1].height, : film.cameras[1].width] + 0.5
    near = np.hypot(columns - x, rows - y) < 26
    shadows = 0.6 * near * np.sign(np.sin(0.2 * columns))
    plates[1] = np.clip(plates[1] + shadows[..., None], 0, 1).astype(np.float32)
    levels = [judge.look(film.truth[1], film.truth[0], film.frames[1], 1, []).miss_px]
    verdict = judge.look(film.truth[2], film.truth[1], plates, 1, levels)
    assert "lost_region" not in verdict.flags
