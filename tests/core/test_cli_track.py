"""Track, bake and evaluate by the command line on a filmed ball, and a track that is killed and resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from synthetic import make_capture

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "topo4d_blender.core"]


def topo4d(*args: object) -> str:
    """Run the real command; its stdout."""
    done = subprocess.run([*COMMAND, *map(str, args)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def track_arguments(film: Path, take: Path) -> list[str]:
    return ["track", str(film), "--template", str(film / "start.obj"), "--out", str(take)]


def geometry(take: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((take / "geometry").iterdir())}


def journal(take: Path) -> list[str]:
    return (take / "metrics.jsonl").read_text().splitlines()


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("film")
    make_capture(folder, frames=4, cameras=5, size=(96, 128), vertices=300)
    return folder


@pytest.fixture(scope="module")
def take(film, tmp_path_factory) -> Path:
    """The film, tracked without interruption."""
    folder = tmp_path_factory.mktemp("takes") / "whole"
    topo4d(*track_arguments(film, folder))
    return folder


def test_the_track_follows_the_truth(film, take):
    scores = json.loads(topo4d("evaluate", take, "--truth", film / "truth.npz"))
    # The ball moves by up to 3 mm a frame, 9 mm in all; a pixel is 2.4 mm.
    assert scores["overall"]["frames"] == 4
    assert scores["overall"]["vertex_error_mm"]["mean"] < 0.4
    assert scores["overall"]["folded_triangles"] == 0


def test_both_ways_again_and_from_another_take(film, take, tmp_path):
    both = tmp_path / "both"
    told = topo4d(*track_arguments(film, both), "--frames", "1")
    assert told == f"1 frame solved in {both}\n"
    topo4d(*track_arguments(film, both), "--frames", "1-3", "--resume")
    assert geometry(both).items() <= geometry(take).items()
    topo4d("track", film, "--out", both, "--again", "3-2")  # from nothing behind it, so from 1
    assert [line["start"] for line in map(json.loads, journal(both)[-2:])] == [1, 3]
    topo4d("track", film, "--out", tmp_path / "one", "--from-take", take, "--frames", "4")
    assert (tmp_path / "one/geometry/000004.npy").exists() and len(geometry(tmp_path / "one")) == 3


def test_anchors_from_the_command_line_are_met(film, take, tmp_path):
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "000004.npy").write_bytes(geometry(take)["000004.npy"])
    topo4d(*track_arguments(film, tmp_path / "anchored"), "--anchors", tmp_path / "given")
    anchored = geometry(tmp_path / "anchored")
    assert anchored["000004.npy"] == geometry(take)["000004.npy"] and len(anchored) == 4
    assert [json.loads(line)["frame"] for line in journal(tmp_path / "anchored")] == [1, 4, 3, 2]


def test_bake_writes_the_maps_of_the_frames_asked_for(take):
    assert "2 maps" in topo4d("bake", take, "--resolution", 64, "--frames", "2-3")
    assert sorted(p.name for p in (take / "texture").glob("*.png")) == ["000002.png", "000003.png"]


def test_killed_and_resumed_is_the_same_as_never_stopped(film, take, tmp_path):
    killed = tmp_path / "killed"
    process = subprocess.Popen([*COMMAND, *track_arguments(film, killed)], cwd=ROOT, stderr=subprocess.DEVNULL)
    while not (killed / "geometry" / "000002.npy").exists() and process.poll() is None:
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert len(geometry(killed)) < 4, "the track ended before it could be killed"
    topo4d(*track_arguments(film, killed), "--resume")
    assert geometry(killed) == geometry(take)


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_ctrl_c_keeps_what_is_finished(film, take, tmp_path):
    stopped = tmp_path / "stopped"
    process = subprocess.Popen([*COMMAND, *track_arguments(film, stopped)], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    while not (stopped / "geometry" / "000001.npy").exists() and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    errors = process.communicate()[1]
    assert process.returncode == 1
    assert "Traceback" not in errors and "Stopped at your request" in errors.splitlines()[-1]
    whole = geometry(take)
    assert geometry(stopped) and all(whole[name] == content for name, content in geometry(stopped).items())
