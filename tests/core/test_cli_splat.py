"""`topo4d track --method splat` from the command line: nearer the truth, resumed to the bit, and refused in words."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from synthetic import make_capture

from topo4d_blender.core import jobs
from topo4d_blender.core.errors import RequestError
from topo4d_blender.core.gpus import Gpu
from topo4d_blender.core.progress import Progress

ROOT = Path(__file__).parents[2]
CARD = Gpu("a card", "580.65.06", (8, 9), 24.0)
SETTINGS = {"first_frame_iterations": 120, "iterations": 40, "position_rate": 5e-4}
CHOSEN = [part for name, value in SETTINGS.items() for part in ("--set", f"{name}={value}")]


def topo4d(*args: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "topo4d_blender.core", *map(str, args)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def track(film: Path, take: Path, *more: object) -> subprocess.CompletedProcess:
    return topo4d("track", film, "--template", film / "start.obj", "--out", take, "--method", "splat", *more)


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("film")
    make_capture(folder, frames=3, cameras=4, size=(72, 96), vertices=900, motion_mm=8.0, turn_deg=2.0)
    return folder


def test_it_tracks_and_a_resumed_take_is_the_same(film, tmp_path):
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    assert track(film, whole, *CHOSEN).returncode == 0
    assert json.loads((whole / "take.json").read_text())["settings"] == SETTINGS
    truth = np.load(film / "truth.npz")
    solved = np.stack([np.load(whole / "geometry" / f"{frame:06d}.npy") for frame in (1, 2, 3)])
    error, still = (np.linalg.norm(v - truth["vertices"], axis=2)[1:, truth["face_mask"]] for v in (solved, solved[:1]))
    assert error.mean() < 0.85 * still.mean()
    with pytest.raises(RequestError, match="no setting named loops"):  # before anything is written
        jobs.track(Progress(), capture=film, take=parted, template=film / "start.obj", method="splat",
                   settings={**SETTINGS, "loops": 3})  # fmt: skip
    jobs.track(Progress(), capture=film, take=parted, template=film / "start.obj", method="splat",
               settings=SETTINGS, frames="1-2")  # fmt: skip
    assert track(film, parted, *CHOSEN, "--frames", "1-3", "--resume").returncode == 0
    for frame in ("000001.npy", "000002.npy", "000003.npy"):
        assert (parted / "geometry" / frame).read_bytes() == (whole / "geometry" / frame).read_bytes()


@pytest.mark.parametrize("wrong, word", [("iterations=many", "NAME=NUMBER"), ("loops=3", "no setting named loops")])
def test_a_setting_that_cannot_be_is_one_sentence(film, tmp_path, wrong, word):
    done = track(film, tmp_path / "take", "--set", wrong)
    assert done.returncode == 2
    assert word in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "take").exists()


def test_the_device_is_chosen_by_what_the_machine_has(monkeypatch):
    assert jobs.choose_device("cpu", "splat") == "cpu"
    monkeypatch.setattr(jobs, "ask_nvidia", lambda: [CARD])
    for card, gsplat, device in ((None, "1.5.3", "cpu"), ("a card", None, "cpu"), ("a card", "1.5.3", "cuda")):
        monkeypatch.setattr(jobs, "cuda_name", lambda card=card: card)
        monkeypatch.setattr(jobs, "package_version", lambda name, gsplat=gsplat: gsplat)
        assert jobs.choose_device("auto", "splat") == device
        if device == "cpu":
            with pytest.raises(RequestError, match="gsplat==1.5.3" if card else "no CUDA device"):
                jobs.choose_device("cuda", "splat")
    assert jobs.choose_device("cuda", "splat") == "cuda"


def test_a_card_is_tracked_on_unasked_only_if_it_finds_what_the_processor_finds(monkeypatch):
    monkeypatch.setattr(jobs, "ask_nvidia", list)
    assert jobs.choose_device("auto", "gauss-newton") == "cpu"
    monkeypatch.setattr(jobs, "ask_nvidia", lambda: [CARD])
    for card, able, device in ((None, True, "cpu"), ("a card", False, "cpu"), ("a card", True, "cuda")):
        monkeypatch.setattr(jobs, "cuda_name", lambda card=card: card)
        monkeypatch.setattr(jobs, "tracks_on_cuda", lambda able=able: able)
        assert jobs.choose_device("auto", "gauss-newton") == device
    assert jobs.choose_device("cuda", "gauss-newton") == "cuda"


def test_a_card_bakes_unasked_only_what_the_processor_bakes(monkeypatch):
    monkeypatch.setattr(jobs, "ask_nvidia", list)
    assert jobs.choose_bake_device("auto", "inverse") == "cpu"
    with pytest.raises(RequestError, match="no device 'tpu'"):
        jobs.choose_bake_device("tpu", "inverse")
    monkeypatch.setattr(jobs, "ask_nvidia", lambda: [CARD])
    for card, able, device in ((None, True, "cpu"), ("a card", False, "cpu"), ("a card", True, "cuda")):
        monkeypatch.setattr(jobs, "cuda_name", lambda card=card: card)
        monkeypatch.setattr(jobs, "bakes_on_cuda", lambda able=able: able)
        assert jobs.choose_bake_device("auto", "inverse") == device
        assert jobs.choose_bake_device("auto", "splat") == jobs.choose_bake_device("cpu", "inverse") == "cpu"
        if card:
            assert jobs.choose_bake_device("cuda", "inverse") == "cuda"
        else:
            with pytest.raises(RequestError, match="no CUDA device"):
                jobs.choose_bake_device("cuda", "inverse")
    with pytest.raises(RequestError, match="splat bakes on the processor alone"):
        jobs.choose_bake_device("cuda", "splat")
