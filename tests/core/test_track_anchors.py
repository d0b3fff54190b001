"""Anchors: met exactly, what lies between them shared out evenly, whatever is interrupted; and how they are read."""

import shutil
from dataclasses import replace
from pathlib import Path

import numba
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from synthetic import make_capture

from topo4d_blender.core import jobs
from topo4d_blender.core.errors import Cancelled, RequestError
from topo4d_blender.core.progress import Progress
from topo4d_blender.core.take import Take
from topo4d_blender.core.template import Template, read_template, write_template
from topo4d_blender.core.track.anchors import read_anchors
from topo4d_blender.core.track.blend import blend
from topo4d_blender.core.track.pose import HeadFit

Array = np.ndarray
LAST = 6  # the frame of the anchor
WRONG_MM = np.array([0.0, 0.0, 2.0])


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    yield
    numba.set_num_threads(before)


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("anchors") / "film"
    make_capture(folder, frames=LAST + 1, cameras=5, size=(96, 128), vertices=300, turn_deg=2.0, slide_mm=4.0)
    return folder


@pytest.fixture(scope="module")
def wrong(film, tmp_path_factory) -> Path:
    """A folder with one anchor that is 2 mm off the truth."""
    folder = tmp_path_factory.mktemp("wrong")
    np.save(folder / f"{LAST:06d}.npy", (truth(film)[LAST - 1] + WRONG_MM / 1000).astype(np.float32))
    return folder


@pytest.fixture(scope="module")
def shared_out(film, wrong, tmp_path_factory) -> Path:
    """The film tracked with that anchor, without interruption."""
    take = tmp_path_factory.mktemp("takes") / "take"
    track(film, take, anchors=wrong)
    return take


class Stopping(Progress):
    """Asks to stop after so many steps."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def advance(self, steps: int = 1) -> None:
        self._left -= steps

    def cancelled(self) -> bool:
        return self._left <= 0


def track(film: Path, take: Path, **options: object) -> None:
    jobs.track(Progress(), capture=film, template=film / "start.obj", take=take, **options)


def truth(film: Path) -> Array:
    return np.load(film / "truth.npz")["vertices"]


def error_mm(film: Path, take: Path, frame: int) -> Array:
    """Mean vector from the truth over what two cameras see.  # [3]."""
    face = np.load(film / "truth.npz")["face_mask"]
    return 1000 * (Take.open(take).read_geometry(frame) - truth(film)[frame - 1])[face].mean(axis=0)


def geometry(take: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((take / "geometry").iterdir())}


def test_the_error_between_two_anchors_is_shared_out_by_time(film, wrong, shared_out):
    for frame in range(2, LAST):
        share = (frame - 1) / (LAST - 1)
        assert np.allclose(error_mm(film, shared_out, frame), share * WRONG_MM, atol=0.15), frame
    lines = Take.open(shared_out).metrics()
    assert [lines[f].get("between") for f in (1, 2, 5, 6, 7)] == [None, [1, LAST], [1, LAST], None, None]
    assert lines[LAST]["given"] and not any(line["flags"] for line in lines.values())


def test_anchors_are_met_exactly_and_nothing_jumps_behind_them(film, wrong, shared_out):
    take = Take.open(shared_out)
    assert np.array_equal(take.read_geometry(LAST), np.load(wrong / f"{LAST:06d}.npy"))
    assert np.array_equal(take.read_geometry(1), take.template.vertices.astype(np.float32))
    assert np.allclose(error_mm(film, shared_out, LAST + 1), WRONG_MM, atol=0.15)  # what the artist said goes on
    assert not (shared_out / "passes").exists()


def test_true_anchors_do_no_harm(film, tmp_path):
    np.savez(tmp_path / "true.npz", frames=[LAST], vertices=truth(film)[[LAST - 1]])
    track(film, tmp_path / "take", anchors=tmp_path / "true.npz")
    assert all(np.linalg.norm(error_mm(film, tmp_path / "take", f)) < 0.1 for f in range(1, LAST + 2))


@pytest.mark.parametrize("steps", [3, 5, 8, 10])
def test_stopped_on_the_way_there_or_back_and_resumed_is_the_same(film, wrong, shared_out, tmp_path, steps):
    take = tmp_path / "take"
    arguments = {"capture": film, "template": film / "start.obj", "take": take}
    with pytest.raises(Cancelled):
        jobs.track(Stopping(steps), **arguments, anchors=wrong)
    assert (take / "passes").exists()
    jobs.track(Progress(), **arguments, resume=True)  # the anchors lie in the take
    assert geometry(take) == geometry(shared_out) and not (take / "passes").exists()
    assert np.array_equal(Take.open(take).head_pose(), Take.open(shared_out).head_pose())


def test_an_anchor_in_a_finished_take_solves_again_what_it_touches(film, wrong, shared_out, tmp_path):
    take = tmp_path / "take"
    track(film, take)
    (take / "anchors").mkdir()
    shutil.copy(wrong / f"{LAST:06d}.npy", take / "anchors")  # as Blender leaves it there
    track(film, take, resume=True)
    assert geometry(take) == geometry(shared_out)
    whole = geometry(take)
    track(film, take, resume=True)  # nothing is left to do
    assert geometry(take) == whole and not Take.open(take).pending_frames()


def test_again_between_anchors_solves_all_between_them(film, shared_out, tmp_path):
    take = Path(shutil.copytree(shared_out, tmp_path / "take"))
    lines = len((take / "metrics.jsonl").read_text().splitlines())
    track(film, take, again="3")
    told = (take / "metrics.jsonl").read_text().splitlines()[lines:]
    assert geometry(take) == geometry(shared_out)
    assert len(told) == 2 * (LAST - 2)  # asked again, and solved


def test_a_new_anchor_is_met_though_other_frames_are_asked_again(film, wrong, tmp_path):
    take = tmp_path / "take"
    track(film, take)
    shutil.copy(wrong / f"{LAST:06d}.npy", tmp_path / "000004.npy")
    track(film, take, again="6-7", anchors=tmp_path / "000004.npy")
    assert np.array_equal(Take.open(take).read_geometry(4), np.load(tmp_path / "000004.npy"))
    assert not Take.open(take).pending_frames()


def test_an_anchor_out_of_view_is_named(film, tmp_path):
    np.save(tmp_path / "000004.npy", 1000 * truth(film)[3])
    with pytest.raises(RequestError, match="anchor .*000004.npy in frame 4"):
        track(film, tmp_path / "take", anchors=tmp_path / "000004.npy")


# The blend


def test_a_blend_turns_with_the_head_and_keeps_its_shape(film):
    template = read_template(film / "start.obj")
    head = HeadFit(template, np.ones(len(template.vertices), bool))
    turn = Rotation.from_euler("y", 60, degrees=True).as_matrix()
    far = template.vertices @ turn.T + [0.1, 0, 0]
    half = blend(head, template.vertices, far, 0.5)
    centre = template.vertices.mean(axis=0)
    middle = (centre + far.mean(axis=0)) / 2
    expected = (template.vertices - centre) @ Rotation.from_euler("y", 30, degrees=True).as_matrix().T + middle
    assert np.allclose(half, expected, atol=1e-9)
    for share, end in ((0.0, template.vertices), (1.0, far)):
        assert np.allclose(blend(head, template.vertices, far, share), end, atol=1e-12)


# How anchors are read

TRIANGLE = Template(np.eye(3), np.array([0, 1, 2], np.int32), np.array([0, 3], np.int32))


def test_anchors_from_a_folder_a_file_and_an_archive(tmp_path):
    folder = tmp_path / "anchors"
    folder.mkdir()
    np.save(folder / "000012.npy", np.eye(3, dtype=np.float32))
    (folder / "corrected_0030.obj").write_text("v 1 0 0\nv 0 1 0\nv 0 0 2\nf 1 2 3\n")
    (folder / "notes.txt").write_text("")
    found = read_anchors(folder, TRIANGLE)
    assert found.keys() == {12, 30} and found[30][2, 2] == 2 and found[12].dtype == np.float32
    assert read_anchors(folder / "000012.npy", TRIANGLE).keys() == {12}
    np.savez(tmp_path / "a.npz", frames=[5, 7], vertices=np.stack([np.eye(3), 2 * np.eye(3)]))
    assert read_anchors(tmp_path / "a.npz", TRIANGLE)[7][0, 0] == 2


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("000001.npy", np.eye(4), "vertex for vertex"),
        ("000001.npy", np.full((3, 3), np.nan), "vertex 0"),
        ("frame.npy", np.eye(3), "which frame"),
        ("000001.npy", b"garbage", "cannot be read"),
        ("a.npz", b"garbage", "archive of anchors"),
        ("a.fbx", b"", "can be read"),
        ("empty", None, "holds no anchor"),
    ],
)
def test_anchors_that_are_none(tmp_path, name, content, word):
    path = tmp_path / name
    if content is None:
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    with pytest.raises(RequestError, match=word) as refusal:
        read_anchors(path, TRIANGLE)
    assert str(path) in str(refusal.value)


def test_two_anchors_of_one_frame_are_refused(tmp_path):
    np.save(tmp_path / "1.npy", np.eye(3))
    np.save(tmp_path / "01.npy", np.eye(3))
    with pytest.raises(RequestError, match="two anchors of frame 1"):
        read_anchors(tmp_path, TRIANGLE)


def test_anchors_of_frames_that_are_not_tracked_are_said(film, wrong, tmp_path):
    warnings: list[str] = []

    class Heard(Progress):
        def warning(self, sentence: str) -> None:
            warnings.append(sentence)

    template = replace(read_template(film / "start.obj"), warnings=())
    write_template(tmp_path / "t.npz", template)
    jobs.track(Heard(), capture=film, template=tmp_path / "t.npz", take=tmp_path / "take", frames="1-2", anchors=wrong)
    assert warnings == [f"Anchors of frames that are not tracked are left out: {LAST}."]
    assert not (tmp_path / "take" / "anchors").exists()
