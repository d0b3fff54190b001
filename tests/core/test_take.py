"""Takes: whole frames or none, resumed after kill -9, never mixed with another; the disk's failures in words."""

import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from topo4d_blender.core import files
from topo4d_blender.core.errors import RequestError, StorageError, WorkError
from topo4d_blender.core.files import atomic_write
from topo4d_blender.core.protocol import ENGINE
from topo4d_blender.core.take import Take, TakeRequest
from topo4d_blender.core.template import Template

TEMPLATE = Template(np.eye(3), np.array([0, 1, 2], np.int32), np.array([0, 3], np.int32))
REQUEST = TakeRequest("/captures/a/capture.json", (1, 2, 3), 1000.0, settings={"weight": 0.5})


def vertices(frame: int) -> np.ndarray:
    return np.eye(3, dtype=np.float32) + frame


@pytest.fixture
def take(tmp_path: Path) -> Take:
    """A take with frames 1 and 3 solved."""
    take = Take.create(tmp_path / "a take ü", REQUEST, TEMPLATE)
    for frame in (3, 1):
        take.write_geometry(frame, vertices(frame), {"seconds": np.float32(0.5), "frame_is": frame})
    return take


def refused(*words: str):
    return pytest.raises(RequestError, match=".*".join(words))


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_what_was_written_is_read_by_another(take):
    other = Take.open(take.folder)
    assert other.request == REQUEST and other.template.digest == TEMPLATE.digest
    assert other.solved_frames() == [1, 3]
    assert np.array_equal(other.read_geometry(3), vertices(3)) and other.read_geometry(3).dtype == np.float32
    assert other.metrics() == {f: {"frame": f, "seconds": 0.5, "frame_is": f} for f in (1, 3)}


def test_layout(take):
    assert take.geometry_path(123) == take.folder / "geometry/000123.npy"
    assert take.texture_path(123) == take.folder / "texture/000123.png"
    assert take.proxy_path(123) == take.folder / "texture_2k/000123.png"
    assert set(everything(take.folder)) == {
        "take.json", "template.npz", "metrics.jsonl", "geometry/000001.npy", "geometry/000003.npy"
    }  # fmt: skip
    told = json.loads((take.folder / "take.json").read_text())
    assert told["format"] == 1 and told["frames"] == [1, 2, 3] and told["template_digest"] == TEMPLATE.digest
    assert {"numpy", "python"} <= told["versions"].keys() and told["versions"]["topo4d"] == ENGINE
    assert told["created"].endswith("+00:00")


def test_frames_beyond_six_digits(take):
    take.write_geometry(1234567, vertices(0), {})
    assert take.solved_frames() == [1, 3, 1234567]


def test_resume_goes_on(take):
    before = everything(take.folder)
    again = Take.create(take.folder, REQUEST, TEMPLATE, resume=True)
    assert again.solved_frames() == [1, 3] and everything(take.folder) == before
    again.write_geometry(2, vertices(2), {})
    assert take.solved_frames() == [1, 2, 3]


def test_resume_with_other_frames_that_begin_with_those_solved(tmp_path):
    take = Take.create(tmp_path / "t", REQUEST, TEMPLATE)
    for frame in (1, 2):
        take.write_geometry(frame, vertices(frame), {})
    before = everything(take.folder)
    for frames in ((1, 2, 3, 4, 5), (1, 2)):
        longer = dataclasses.replace(REQUEST, frames=frames)
        again = Take.create(take.folder, longer, TEMPLATE, resume=True)
        assert again.request == Take.open(take.folder).request == longer and again.solved_frames() == [1, 2]
    after = everything(take.folder)
    told = json.loads(before.pop("take.json")) | {"frames": [1, 2]}
    assert json.loads(after.pop("take.json")) == told and after == before
    for frames in ((1,), (1, 3, 4), (2, 3, 1), (0, 1, 2)):
        with refused("another take", "frames"):
            Take.create(take.folder, dataclasses.replace(REQUEST, frames=frames), TEMPLATE, resume=True)
    with refused("another take", "frames"):  # without --resume nothing changes
        Take.create(take.folder, dataclasses.replace(REQUEST, frames=(1, 2, 3)), TEMPLATE)


def test_before_anything_is_solved_the_take_may_begin_anew(tmp_path):
    Take.create(tmp_path / "t", REQUEST, TEMPLATE)
    (tmp_path / "t" / "texture_reference.npz").touch()  # of frames that were deleted by hand
    other = dataclasses.replace(TEMPLATE, vertices=2 * np.eye(3))
    request = dataclasses.replace(REQUEST, frames=(2, 3), capture="/captures/b/capture.json")
    assert Take.create(tmp_path / "t", request, other).solved_frames() == []
    again = Take.open(tmp_path / "t")
    assert again.request == request and again.template.digest == other.digest
    assert not (tmp_path / "t" / "texture_reference.npz").exists()  # no later map is held to another head's colours
    again.write_geometry(2, vertices(2), {})
    with refused("another take", "template"):
        Take.create(tmp_path / "t", request, TEMPLATE)


def test_cameras_are_remembered_and_old_takes_have_none(tmp_path):
    request = dataclasses.replace(REQUEST, cameras=("left", "right"))
    take = Take.create(tmp_path / "t", request, TEMPLATE)
    assert Take.open(take.folder).request == request
    path = take.folder / "take.json"
    document = json.loads(path.read_text())
    del document["cameras"]
    path.write_text(json.dumps(document))
    assert Take.open(take.folder).request == REQUEST
    Take.create(take.folder, REQUEST, TEMPLATE, resume=True)


def test_resume_where_nothing_is_begins(tmp_path):
    assert Take.create(tmp_path / "new", REQUEST, TEMPLATE, resume=True).solved_frames() == []


def test_settings_with_numpy_values_resume(tmp_path):
    request = dataclasses.replace(
        REQUEST, frames=tuple(np.arange(3)), settings={"a": (1, np.float64(2)), "p": Path("x")}
    )
    Take.create(tmp_path / "t", request, TEMPLATE)
    Take.create(tmp_path / "t", request, TEMPLATE, resume=True)


def test_crash_between_take_json_and_template(take):
    (take.folder / "template.npz").unlink()
    Take.create(take.folder, REQUEST, TEMPLATE, resume=True)
    assert Take.open(take.folder).template.digest == TEMPLATE.digest


def test_the_newest_line_of_a_frame_holds(take):
    take.write_geometry(1, vertices(9), {"seconds": 7})
    assert take.metrics()[1]["seconds"] == 7 and take.read_geometry(1)[0, 0] == 10


def test_what_is_not_finite_is_null(take):
    take.write_geometry(2, vertices(2), {"px": {"cam": np.nan}, "list": np.array([1.0, np.inf])})
    assert take.metrics()[2] == {"frame": 2, "px": {"cam": None}, "list": [1.0, None]}


def test_torn_line_is_passed_over_and_the_next_one_is_whole(take):
    with (take.folder / "metrics.jsonl").open("ab") as journal:
        journal.write(b'{"frame":2,"seco')
    assert set(take.metrics()) == {1, 3}
    take.write_geometry(2, vertices(2), {"seconds": 2})
    assert set(take.metrics()) == {1, 2, 3} and take.metrics()[2]["seconds"] == 2


def test_foreign_lines_and_no_journal(take):
    (take.folder / "metrics.jsonl").write_bytes(b'\xff\xfe\n[1]\n{"a":1}\n\n{"frame":1}\n')
    assert take.metrics() == {1: {"frame": 1}}
    (take.folder / "metrics.jsonl").unlink()
    assert take.metrics() == {} and take.solved_frames() == [1, 3]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_torn_geometry_is_not_solved(take, share):
    path = take.geometry_path(3)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert take.solved_frames() == [1] and set(take.metrics()) == {1}
    with refused("Frame 3", "not solved"):
        take.read_geometry(3)


@pytest.mark.parametrize("content", [np.zeros((4, 3), np.float32), np.zeros((3, 3)), np.zeros(9, np.float32)])
def test_geometry_of_another_kind_is_not_solved(take, content):
    np.save(take.geometry_path(3), content)
    (take.folder / "geometry" / "notes.npy").write_text("")
    assert take.solved_frames() == [1]


def test_textured_frames_are_whole(take):
    for frame in (1, 2, 3):
        atomic_write(take.texture_path(frame), lambda f: Image.new("RGB", (8, 8)).save(f, "PNG"))
    torn = take.texture_path(2)
    torn.write_bytes(torn.read_bytes()[:-5])
    take.texture_path(3).write_bytes(b"")
    assert take.textured_frames() == [1]


def test_positions_that_are_not_finite_are_never_written(take):
    with pytest.raises(WorkError, match="Frame 2"):
        take.write_geometry(2, np.full((3, 3), np.nan), {})
    with pytest.raises(ValueError, match="frame 2"):
        take.write_geometry(2, np.zeros((4, 3)), {})
    assert take.solved_frames() == [1, 3]


KILLED = """
import sys, numpy as np
sys.path.insert(0, {root!r}); sys.path.insert(0, {here!r})
from test_take import REQUEST, TEMPLATE, Take, vertices
take = Take.create({folder!r}, REQUEST, TEMPLATE)
take.write_geometry(1, vertices(1), {{"seconds": 1}})
import topo4d_blender.core.files as files
def hang(*paths):
    print("ready", flush=True)
    sys.stdin.read()
files.os.replace = hang
take.write_geometry(2, vertices(2), {{"seconds": 1}})
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kill -9 is POSIX")
def test_killed_while_a_frame_is_written(tmp_path):
    folder = tmp_path / "take"
    root = Path(files.__file__).parents[2]
    code = KILLED.format(root=str(root), here=str(Path(__file__).parent), folder=str(folder))
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    process.kill()
    process.communicate()
    assert [p.name for p in folder.glob("geometry/.*.tmp")] != []  # it was in the middle of it
    take = Take.create(folder, REQUEST, TEMPLATE, resume=True)
    assert take.solved_frames() == [1] and set(take.metrics()) == {1}
    assert [p.name for p in (folder / "geometry").iterdir()] == ["000001.npy"]


# Refusals; what is there is never touched


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"frames": (1, 2)}, "frames"),
        ({"frames": (2, 1, 3)}, "frames"),
        ({"cameras": ("left",)}, "cameras"),
        ({"capture": "/captures/b/capture.json"}, "capture"),
        ({"method": "splat"}, "method"),
        ({"settings": {}}, "settings"),
        ({"unit_mm": 10.0}, "unit_mm"),
    ],
)
def test_another_take_is_refused(take, change, word, resume):
    before = everything(take.folder)
    with refused("another take", word, "another folder"):
        Take.create(take.folder, dataclasses.replace(REQUEST, **change), TEMPLATE, resume)
    assert everything(take.folder) == before


def test_other_settings_are_named_with_their_values(take):
    ours, theirs = {"steps": 4, "blur": 0.5}, {"steps": 4, "blur": 0.7, "rest": 0.1}
    Take.create(take.folder.parent / "set", dataclasses.replace(REQUEST, settings=ours), TEMPLATE).write_geometry(
        1, vertices(1), {}
    )
    with refused("settings", "blur is 0.5 there and 0.7 here", "rest is not set there and 0.1 here"):
        Take.create(take.folder.parent / "set", dataclasses.replace(REQUEST, settings=theirs), TEMPLATE, resume=True)


def test_another_template_is_refused(take):
    with refused("another take", "template"):
        Take.create(take.folder, REQUEST, dataclasses.replace(TEMPLATE, vertices=2 * np.eye(3)), resume=True)


def test_the_same_take_without_resume_is_refused(take):
    with refused("2 of 3", "--resume"):
        Take.create(take.folder, REQUEST, TEMPLATE)


def test_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "holiday.jpg").write_text("")
    with refused("holiday.jpg"):
        Take.create(tmp_path, REQUEST, TEMPLATE)
    assert set(everything(tmp_path)) == {"holiday.jpg"}


def test_empty_folder_hidden_files_and_a_log_are_fine(tmp_path):
    (tmp_path / ".DS_Store").write_text("")
    (tmp_path / "log.txt").write_text("engine")
    Take.create(tmp_path, REQUEST, TEMPLATE)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "take").write_text("")
    with refused("take is a file"):
        Take.create(tmp_path / "take", REQUEST, TEMPLATE)


def test_no_take_there(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with refused("holds no take"):
            Take.open(folder)


def test_newer_format_is_refused(take):
    path = take.folder / "take.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2}))
    before = everything(take.folder)
    for attempt in (lambda: Take.open(take.folder), lambda: Take.create(take.folder, REQUEST, TEMPLATE, resume=True)):
        with refused("newer Topo4D", "update"):
            attempt()
    assert everything(take.folder) == before


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": 1}', '{"format": 1, "frames": 3}'])
def test_damaged_take_json(take, text):
    (take.folder / "take.json").write_text(text)
    with refused(r"take\.json", "damaged"):
        Take.open(take.folder)


def test_template_file_that_was_changed_or_lost(take):
    path = take.folder / "template.npz"
    path.write_bytes(path.read_bytes()[:50])
    with refused(r"template\.npz"):
        _ = Take.open(take.folder).template
    path.unlink()
    with refused(r"template\.npz"):
        _ = Take.open(take.folder).template


# The disk


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT, "disk is full"),
        (errno.EACCES, "cannot be written"),
        (errno.EROFS, "cannot be written"),
    ],
)
def test_failures_of_the_disk_in_words_and_nothing_lost(take, monkeypatch, number, words):
    before = everything(take.folder)

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(StorageError, match=f"(?s)(?=.*{words})(?=.*000003.npy)"):
        take.write_geometry(3, vertices(5), {})
    assert everything(take.folder) == before


def test_a_file_that_does_not_fit(tmp_path):
    """A real failure in the middle of the array: numpy alone would only say how many items it wrote."""
    code = f"""
import resource, signal, sys, numpy as np
sys.path.insert(0, {str(Path(files.__file__).parents[2])!r})
from pathlib import Path
from topo4d_blender.core.files import atomic_write
from topo4d_blender.core.protocol import ENGINE
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    atomic_write(Path({str(tmp_path / "a.npy")!r}), lambda file: np.save(file, np.zeros(10000)))
except Exception as error:
    print(type(error).__name__, error)
"""
    pytest.importorskip("resource")
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.startswith("StorageError") and os.strerror(errno.EFBIG) in said and "a.npy" in said
    assert everything(tmp_path) == {}


def test_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"take\.json cannot be written"):
        Take.create(tmp_path / "file" / "take", REQUEST, TEMPLATE)


def test_journal_that_cannot_be_written(take):
    (take.folder / "metrics.jsonl").unlink()
    (take.folder / "metrics.jsonl").mkdir()
    with pytest.raises(StorageError, match=r"metrics\.jsonl cannot be written"):
        take.write_geometry(2, vertices(2), {})
    assert 2 in take.solved_frames()


def test_atomic_write_keeps_the_old_file_when_the_writer_fails(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def fail(file) -> None:
        file.write(b"half of the new")
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError):
        atomic_write(path, fail)
    assert everything(tmp_path) == {"a.bin": b"old"}
