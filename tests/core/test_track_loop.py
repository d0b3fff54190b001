"""Whole takes of the ball that turns 5 degrees and moves 6 mm a frame: both ways, again, from another take, resumed.

A pixel of the film is 2.4 mm at the ball.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numba
import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation
from synthetic import head_motion, make_capture

from topo4d_blender.core import jobs
from topo4d_blender.core.errors import Cancelled, RequestError
from topo4d_blender.core.progress import Progress
from topo4d_blender.core.take import Take
from topo4d_blender.core.template import Template, read_template, write_template
from topo4d_blender.core.track import flow
from topo4d_blender.core.track.flow import measure
from topo4d_blender.core.track.pose import HeadFit, move
from topo4d_blender.core.track.solver import FrameSolver

Array = np.ndarray
FRAMES, START = 8, 4  # how many there are, and the one that the templates of these tests fit
TURN, SLIDE = 5.0, 6.0
NEAR_MM = 0.25  # a tenth of a pixel: what a frame that nothing is wrong with stays below on average


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    yield
    numba.set_num_threads(before)


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("loop") / "film"
    make_capture(
        folder, frames=FRAMES, cameras=5, size=(96, 128), vertices=300, turn_deg=TURN, slide_mm=SLIDE, noise=1.0
    )
    template = replace(read_template(folder / "start.obj"), vertices=truth(folder)[START - 1].astype(np.float64))
    write_template(folder / "start4.npz", template)
    return folder


@pytest.fixture(scope="module")
def both_ways(film, tmp_path_factory) -> Path:
    """The film, tracked from its fourth frame without interruption."""
    folder = tmp_path_factory.mktemp("takes") / "both"
    track(film, folder, start=START)
    return folder


class Shown(Progress):
    """What a user was shown; asks to stop once `enough` frames are written."""

    def __init__(self, enough: int | None = None) -> None:
        self.frames, self.warnings, self.total, self.steps, self._enough = [], [], 0, 0, enough

    def stage(self, name: str, total: int) -> None:
        self.total = total

    def advance(self, steps: int = 1) -> None:
        self.steps += steps

    def frame(self, frame: int, path: str, metrics: dict) -> None:
        self.frames.append(frame)

    def warning(self, sentence: str) -> None:
        self.warnings.append(sentence)

    def cancelled(self) -> bool:
        return self._enough is not None and len(self.frames) >= self._enough


def track(film: Path, take: Path, enough: int | None = None, **options: object) -> Shown:
    shown = Shown(enough)
    options = {"template": film / "start4.npz", **options}
    if enough is None:
        jobs.track(shown, capture=film, take=take, **options)
    else:
        with pytest.raises(Cancelled):
            jobs.track(shown, capture=film, take=take, **options)
    return shown


def truth(film: Path) -> Array:
    return np.load(film / "truth.npz")["vertices"]


def errors_mm(film: Path, take: Path) -> dict[int, float]:
    """Mean error of every solved frame over what two cameras see."""
    face = np.load(film / "truth.npz")["face_mask"]
    opened = Take.open(take)
    return {
        f: 1000 * np.linalg.norm(opened.read_geometry(f) - truth(film)[f - 1], axis=1)[face].mean()
        for f in opened.solved_frames()
    }


def geometry(take: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((take / "geometry").iterdir())}


def flags(take: Path) -> dict[int, list[str]]:
    return {frame: line["flags"] for frame, line in Take.open(take).metrics().items()}


# Both ways, again, from another take


def test_both_ways_from_any_frame(film, both_ways):
    take = Take.open(both_ways)
    assert take.request.frames == (4, 5, 6, 7, 8, 3, 2, 1) and take.solved_frames() == list(range(1, 9))
    assert [take.metrics()[f].get("start") for f in take.request.frames] == [None, 4, 5, 6, 7, 4, 3, 2]
    errors = errors_mm(film, both_ways)
    assert max(errors.values()) < NEAR_MM, errors
    assert not any(flags(both_ways).values())


def test_a_frame_is_given_the_earlier_ones_it_came_from(film, tmp_path, monkeypatch):
    """Those 1, 2, 4 before the one it starts from, in the direction of the walk."""
    given, solve = [], FrameSolver.solve
    monkeypatch.setattr(FrameSolver, "solve", lambda self, *a: given.append(a[6]) or solve(self, *a))
    track(film, tmp_path / "take", start=START)
    take = Take.open(tmp_path / "take")
    expected = {5: [], 6: [4], 7: [5, 4], 8: [6, 5], 3: [], 2: [4], 1: [3, 4]}
    for (frame, earlier), found in zip(expected.items(), given, strict=True):
        assert len(found) == len(earlier), frame
        for vertices, other in zip(found, earlier, strict=True):
            np.testing.assert_array_equal(vertices, take.read_geometry(other).astype(np.float64))


def test_stopped_and_resumed_both_ways_is_the_same(film, both_ways, tmp_path):
    take = tmp_path / "take"
    first = track(film, take, enough=6, start=START)
    assert first.frames == [4, 5, 6, 7, 8, 3] and Take.open(take).solved_frames() == [3, 4, 5, 6, 7, 8]
    (take / "head_pose.npy").unlink()  # what a crash may cost
    again = track(film, take, resume=True)
    assert again.frames == [2, 1] and (again.steps, again.total) == (8, 8)
    assert geometry(take) == geometry(both_ways)
    assert np.array_equal(Take.open(take).head_pose(), Take.open(both_ways).head_pose())


def test_a_take_grows_on_both_sides(film, both_ways, tmp_path):
    take = tmp_path / "take"
    track(film, take, frames="4-5")
    assert Take.open(take).request.frames == (4, 5)
    track(film, take, frames="3-6", start=START, resume=True)
    assert Take.open(take).request.frames == (4, 5, 6, 3)
    whole = geometry(both_ways)
    assert all(whole[name] == content for name, content in geometry(take).items())


def test_backwards_and_a_range_that_leaves_frames_out(film, tmp_path):
    track(film, tmp_path / "back", frames="4-2:2")
    assert Take.open(tmp_path / "back").request.frames == (4, 2)
    assert errors_mm(film, tmp_path / "back")[2] < NEAR_MM  # 10 degrees and 12 mm at once


def test_again_from_a_neighbour_that_an_artist_corrected(film, both_ways, tmp_path):
    take = Path(shutil.copytree(both_ways, tmp_path / "take"))
    before = geometry(take)
    corrected = Take.open(take).read_geometry(6) + np.float32(0.001)
    np.save(take / "geometry" / "000006.npy", corrected)
    stopped = track(film, take, enough=1, again="7-8")
    assert stopped.frames == [7] and Take.open(take).pending_frames() == {8}
    assert (take / "geometry" / "000008.npy").read_bytes() == before["000008.npy"]  # there until it is replaced
    resumed = track(film, take, resume=True)
    assert resumed.frames == [8] and not Take.open(take).pending_frames()
    after = geometry(take)
    assert {name for name in after if after[name] != before[name]} == {"000006.npy", "000007.npy", "000008.npy"}
    assert Take.open(take).metrics()[7]["start"] == 6
    errors = errors_mm(film, take)
    assert max(errors[7], errors[8]) < NEAR_MM


def test_again_of_frames_that_the_take_lacks_is_refused(film, both_ways, tmp_path):
    take = shutil.copytree(both_ways, tmp_path / "take")
    with pytest.raises(RequestError, match="has no frame 40-50 to solve again: its frames are 1-8"):
        track(film, take, again="40-50")
    assert geometry(take) == geometry(both_ways)


def test_again_backwards_takes_the_neighbour_behind(film, both_ways, tmp_path):
    take = Path(shutil.copytree(both_ways, tmp_path / "take"))
    shown = track(film, take, again="6-5")
    assert shown.frames == [6, 5]
    lines = Take.open(take).metrics()
    assert (lines[6]["start"], lines[5]["start"]) == (7, 6)
    assert max(errors_mm(film, take).values()) < NEAR_MM
    poses = dict(zip(Take.open(take).request.frames, Take.open(take).head_pose(), strict=True))
    old = dict(zip(Take.open(both_ways).request.frames, Take.open(both_ways).head_pose(), strict=True))
    assert all(np.array_equal(poses[f], old[f]) for f in (1, 2, 3, 4, 7, 8)) and np.isfinite(poses[5]).all()


def test_again_needs_a_take_and_frames_that_are_solved(film, both_ways, tmp_path):
    with pytest.raises(RequestError, match="holds no take"):
        track(film, tmp_path / "nothing", again="3")
    take = Path(shutil.copytree(both_ways, tmp_path / "take"))
    with pytest.raises(RequestError, match="given"):
        track(film, take, again=str(START))
    assert geometry(take) == geometry(both_ways)


def test_one_frame_from_another_take(film, both_ways, tmp_path):
    before = geometry(both_ways)
    track(film, tmp_path / "one", frames="7", from_take=both_ways, template=None)
    one = Take.open(tmp_path / "one")
    assert one.request.frames == (4, 6, 7) and one.metrics()[7]["start"] == 6
    assert np.array_equal(one.read_geometry(6), Take.open(both_ways).read_geometry(6))
    assert errors_mm(film, tmp_path / "one")[7] < NEAR_MM
    assert geometry(both_ways) == before
    with pytest.raises(RequestError, match="--frames"):
        track(film, tmp_path / "two", from_take=both_ways)
    with pytest.raises(RequestError, match="not the template"):
        track(film, tmp_path / "two", frames="7", from_take=both_ways, template=film / "start.obj")


def test_back_through_a_whole_take_ends_where_it_began(film, both_ways, tmp_path):
    track(film, tmp_path / "back", frames="8-5", from_take=both_ways)
    back = Take.open(tmp_path / "back")
    assert back.request.frames == (4, 8, 7, 6, 5) and back.metrics()[8]["given"]
    apart = np.linalg.norm(back.read_geometry(5) - Take.open(both_ways).read_geometry(5), axis=1)
    assert 1000 * apart[np.load(film / "truth.npz")["face_mask"]].mean() < NEAR_MM


def test_the_start_must_be_a_frame_of_the_capture(film, tmp_path):
    with pytest.raises(RequestError, match="no frame 40"):
        track(film, tmp_path / "take", start=40)
    with pytest.raises(RequestError, match="--template"):
        track(film, tmp_path / "take", template=None)
    assert not (tmp_path / "take").exists()


def test_a_template_out_of_view_leaves_a_take_that_may_begin_anew(film, tmp_path):
    template = read_template(film / "start4.npz")
    write_template(tmp_path / "far.npz", replace(template, vertices=template.vertices * 1000))
    with pytest.raises(RequestError, match="frame 4"):
        track(film, tmp_path / "take", start=START, template=tmp_path / "far.npz", frames="4")
    track(film, tmp_path / "take", start=START, frames="4")
    assert Take.open(tmp_path / "take").solved_frames() == [4]


def test_a_single_camera_is_said_to_see_no_depth(film, tmp_path):
    shown = track(film, tmp_path / "take", frames="4", cameras=["cam02"])
    assert any("cam02" in sentence and "how far" in sentence for sentence in shown.warnings)
    assert not track(film, tmp_path / "two", frames="4", cameras=["cam02", "cam03"]).warnings


# The head's pose


def off(pose: Array, frame: int) -> tuple[float, float]:
    """Degrees and millimetres between `pose` and the ball's true motion from the start frame."""
    true = head_motion(frame - 1, TURN, SLIDE) @ np.linalg.inv(head_motion(START - 1, TURN, SLIDE))
    true[:3, 3] /= 1000
    apart = np.linalg.inv(true) @ pose
    return float(np.rad2deg(Rotation.from_matrix(apart[:3, :3]).magnitude())), 1000 * float(
        np.linalg.norm(apart[:3, 3])
    )


def test_the_pose_is_the_heads_and_not_the_faces(both_ways):
    take = Take.open(both_ways)
    poses = take.head_pose()
    assert poses.shape == (8, 4, 4) and poses.dtype == np.float64
    for frame, pose in zip(take.request.frames, poses, strict=True):
        degrees, mm = off(pose, frame)
        assert degrees < 0.2 and mm < 0.3, (frame, degrees, mm)


def test_poses_of_frames_that_are_not_solved_are_nan(film, tmp_path):
    track(film, tmp_path / "take", enough=2, start=START)
    poses = Take.open(tmp_path / "take").head_pose()
    assert np.isfinite(poses[:2]).all() and np.isnan(poses[2:]).all()


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_rigid_motion_is_found_exactly(film, scale):
    template = replace(read_template(film / "start4.npz"), vertices=scale * truth(film)[START - 1].astype(np.float64))
    rotation = Rotation.from_rotvec([0.4, -1.0, 0.3]).as_matrix()
    shift = scale * np.array([0.3, -0.1, 0.2])
    pose = HeadFit(template, np.ones(len(template.vertices), bool))(template.vertices @ rotation.T + shift)
    assert np.allclose(pose[:3, :3], rotation, atol=1e-12) and np.allclose(pose[:3, 3], shift, atol=1e-12 * scale)
    assert np.array_equal(pose[3], [0, 0, 0, 1])


def test_what_is_marked_as_static_tells_the_pose():
    rng = np.random.default_rng(3)
    points = rng.normal(size=(60, 3))
    skull = np.arange(60) < 20
    moved = points + np.where(skull[:, None], 0.0, [1.0, 0.5, 0.0])  # two thirds go with the jaw
    loops, starts = np.arange(60, dtype=np.int32), np.arange(0, 61, 3, dtype=np.int32)
    template = Template(points, loops, starts, roles={"t4d_static": skull.astype(float)})
    pose = HeadFit(template, np.ones(60, bool))(moved)
    assert np.allclose(move(pose, points)[skull], points[skull], atol=1e-3)


# Frames that are bad


def harm(film: Path, folder: Path, frame: int, paint: Callable[[Array, int], Array], cameras: int = 5) -> Path:
    """A copy of the film with the first `cameras` plates of `frame` painted over."""
    shutil.copytree(film, folder)
    for k in range(cameras):
        path = folder / "images" / f"cam{k:02d}" / f"{frame:06d}.png"
        plate = np.asarray(Image.open(path))
        Image.fromarray(paint(plate, k).astype(np.uint8)).save(path)
    return folder


def black(plate: Array, k: int) -> Array:
    return np.random.default_rng(k).integers(0, 4, plate.shape)


def white(plate: Array, k: int) -> Array:
    return np.full(plate.shape, 255)


def another_picture(plate: Array, k: int) -> Array:
    """A picture of something else: soft blotches as large as the ball's own."""
    blotches = np.random.default_rng(10 + k).integers(0, 255, (8, 6, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(blotches).resize(plate.shape[1::-1], Image.Resampling.BICUBIC))


def upside_down(plate: Array, k: int) -> Array:
    return plate[::-1]


@pytest.mark.parametrize("paint", [black, white, another_picture, upside_down])
def test_frames_after_a_bad_one_are_as_good_as_without_it(film, both_ways, tmp_path, paint):
    bad = harm(film, tmp_path / "film", 6, paint)
    track(bad, tmp_path / "take", frames="4-8")
    told = flags(tmp_path / "take")
    assert "lost" in told[6] and ("dark_plates" in told[6]) == (paint in (black, white))
    assert not told[5] and not told[7] and not told[8], told
    assert Take.open(tmp_path / "take").metrics()[7]["start"] == 5
    errors, whole = errors_mm(film, tmp_path / "take"), errors_mm(film, both_ways)
    for frame in (7, 8):
        assert errors[frame] < 1.2 * whole[frame] + 0.01, (frame, errors[frame], whole[frame])
    if paint is black:
        assert np.array_equal(*(Take.open(tmp_path / "take").read_geometry(f) for f in (5, 6)))  # held


def test_a_bad_frame_that_an_artist_corrected_is_started_from(film, tmp_path):
    bad, take = harm(film, tmp_path / "film", 6, upside_down), tmp_path / "take"
    track(bad, take, frames="4-8")
    np.save(take / "geometry" / "000006.npy", truth(film)[5])
    track(bad, take, again="7-8")
    opened = Take.open(take)
    assert opened.metrics()[7]["start"] == 6 and opened.metrics()[6]["trusted"]
    degrees, mm = off(opened.head_pose()[opened.request.frames.index(6)], 6)
    assert degrees < 0.1 and mm < 0.2  # of what the artist made of it
    assert max(errors_mm(film, take)[f] for f in (7, 8)) < NEAR_MM


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_bad_frame_is_stepped_over_whatever_is_filmed(tmp_path, seed):
    film, size = tmp_path / "film", {"cameras": 4, "size": (72, 96), "vertices": 200}
    make_capture(film, frames=5, seed=seed, turn_deg=2.0 * seed, motion_mm=4.0 - seed, noise=2.0, **size)
    track(film, tmp_path / "good", template=film / "start.obj")
    bad = harm(film, tmp_path / "bad film", 3, another_picture, cameras=4)
    track(bad, tmp_path / "bad", template=film / "start.obj")
    told = flags(tmp_path / "bad")
    assert "lost" in told[3] and not any(told[f] for f in (1, 2, 4, 5)), told
    good, after = errors_mm(film, tmp_path / "good"), errors_mm(film, tmp_path / "bad")
    assert all(after[f] < 1.2 * good[f] + 0.01 for f in (4, 5)), (good, after)


def test_a_first_frame_that_is_lost_is_told(film, tmp_path):
    bad = harm(film, tmp_path / "film", 5, upside_down)
    track(bad, tmp_path / "take", frames="4-6")
    assert "lost" in flags(tmp_path / "take")[5] and not flags(tmp_path / "take")[6]


def test_a_dark_camera_is_left_out_and_named(film, tmp_path):
    bad = harm(film, tmp_path / "film", 5, black, cameras=2)
    track(bad, tmp_path / "take", frames="4-6")
    line = Take.open(tmp_path / "take").metrics()[5]
    assert line["flags"] == ["dark_plates"] and line["where"]["dark_plates"]["cameras"] == ["cam00", "cam01"]
    assert line["residual_px"].keys() == {"cam02", "cam03", "cam04"}
    assert errors_mm(film, tmp_path / "take")[5] < 2 * NEAR_MM and not flags(tmp_path / "take")[6]


@pytest.mark.parametrize(("paint", "many"), [(black, 1), (white, 2), (black, 3)])
def test_cameras_that_show_nothing_in_the_start_frame_are_named_and_left_out(film, tmp_path, paint, many):
    bad = harm(film, tmp_path / "film", 4, paint, cameras=many)
    told = track(bad, tmp_path / "take", frames="4-6").warnings
    names = ", ".join(f"cam{k:02d}" for k in range(many))
    assert any("frame 4" in sentence and f": {names}." in sentence for sentence in told), told
    lines, seen = Take.open(tmp_path / "take").metrics(), {f"cam{k:02d}" for k in range(many, 5)}
    for frame in (5, 6):
        assert lines[frame]["residual_px"].keys() == seen and not lines[frame]["flags"]
        assert errors_mm(film, tmp_path / "take")[frame] < (2 if many < 3 else 4) * NEAR_MM


def test_flow_is_not_measured_against_a_plate_that_shows_nothing(film, tmp_path, monkeypatch):
    bad, dark = harm(film, tmp_path / "film", 4, black, cameras=2), []

    def spy(surface, level, vertices, before, now):
        dark.append([bool(np.isnan(level.view(before, k)).all()) for k in range(len(level.sizes))])
        return measure(surface, level, vertices, before, now)

    monkeypatch.setattr(flow, "measure", spy)
    track(bad, tmp_path / "take", frames="4-6")
    assert dark == [[True, True, False, False, False], [False] * 5]


def test_a_camera_that_shows_little_in_the_start_frame_stays(film, tmp_path):
    dim = harm(film, tmp_path / "film", 4, lambda plate, k: 20 + 0.05 * plate, cameras=1)
    assert not track(dim, tmp_path / "take", frames="4-5").warnings


def test_a_start_frame_that_shows_nothing_is_refused(film, tmp_path):
    bad = harm(film, tmp_path / "film", 4, black)
    with pytest.raises(RequestError, match="No plate of frame 4 of .*film.* shows anything"):
        track(bad, tmp_path / "take", frames="4-5")


def test_a_change_of_light_that_stays_is_not_fought_for_ever(film, tmp_path):
    shutil.copytree(film, tmp_path / "film")
    for frame in (6, 7, 8):
        for path in (tmp_path / "film" / "images").glob(f"*/{frame:06d}.png"):
            plate = np.asarray(Image.open(path)).astype(float)
            Image.fromarray(np.clip(255 - plate, 0, 255).astype(np.uint8)).save(path)  # as unlike as can be
    track(tmp_path / "film", tmp_path / "take", frames="4-8")
    assert Take.open(tmp_path / "take").solved_frames() == [4, 5, 6, 7, 8]
    assert "lost" in flags(tmp_path / "take")[6]


@pytest.mark.parametrize(("seed", "turn", "motion"), [(1, 0.0, 1.0), (2, 3.0, 4.0), (3, 1.0, 0.0)])
def test_good_takes_raise_no_alarm(tmp_path, seed, turn, motion):
    film = tmp_path / "film"
    make_capture(
        film, frames=5, cameras=4, size=(72, 96), vertices=200, seed=seed, turn_deg=turn, motion_mm=motion, noise=seed
    )
    track(film, tmp_path / "take", template=film / "start.obj")
    assert not any(flags(tmp_path / "take").values()), flags(tmp_path / "take")


def test_the_journal_is_json_that_a_pipeline_reads(both_ways):
    lines = [json.loads(line) for line in (both_ways / "metrics.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == [4, 5, 6, 7, 8, 3, 2, 1]
    for line in lines[1:]:
        assert line["flags"] == [] and line["where"] == {} and line["iterations"] > 0
        assert (
            0 < line["miss_px"] < 1
            and 0.5 < line["seen"] <= 1
            and set(line["residual_px"]) == {f"cam{k:02d}" for k in range(5)}
        )
