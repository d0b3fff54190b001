"""The engine's process: what it does to Blender when it dies, lies, or does not listen. Nothing."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

bpy = pytest.importorskip("bpy")
pytestmark = pytest.mark.bpy

from topo4d_blender.bridge import engine as engines  # noqa: E402
from topo4d_blender.bridge.interpreter import Interpreter  # noqa: E402

FAKE = Path(__file__).with_name("fake_worker.py").read_text()


@pytest.fixture
def start(tmp_path):
    """Starts an engine whose worker is of the given mode; ends it after the test."""
    started = []

    def start(mode: str = "good", python: str = sys.executable) -> engines.Engine:
        folder = tmp_path / "folder with spaces é"
        folder.mkdir(exist_ok=True)
        (folder / "worker.py").write_text(f"MODE = {mode!r}\n{FAKE}", "utf-8")
        engine = engines.Engine(Interpreter(python), folder / "engine.log", folder / "worker.py")
        engine.start()
        started.append(engine)
        return engine

    yield start
    for engine in started:
        engine.close()


def poll_until(engine, condition, seconds=20.0) -> list[dict]:
    messages, end = [], time.monotonic() + seconds
    while not condition(engine):
        assert time.monotonic() < end, (engine.failure, engine.hello, messages)
        messages += engine.poll()
        time.sleep(0.01)
    return messages + engine.poll()


def greeted(engine) -> bool:
    return engine.hello is not None


def failed(engine) -> bool:
    return bool(engine.failure)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def test_garbage_on_stdout_is_passed_over(start):
    engine = start("garbage")
    assert poll_until(engine, greeted) == []
    assert engine.hello["engine"] == "fake" and engine.running


def test_the_worker_gets_a_clean_environment(start, monkeypatch):
    for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "LD_PRELOAD"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("TOPO4D_TEST", "kept")
    engine = start()
    poll_until(engine, greeted)
    environment = engine.hello["environment"]
    assert not [name for name in environment if name.startswith("PYTHON") or name == "LD_PRELOAD"]
    assert environment["TOPO4D_TEST"] == "kept"


def test_a_missing_python_is_named(start):
    engine = start(python="/no/such/python")
    assert not engine.running and "/no/such/python" in engine.failure and "choose the Python" in engine.failure
    assert engine.poll() == []
    engine.send({"command": "cancel"})
    engine.cancel()


def test_a_python_without_the_packages_says_which(start):
    engine = start("no numba")
    poll_until(engine, failed)
    assert "did not start" in engine.failure and "No module named 'numba'" in engine.failure
    assert "engine.log" in engine.failure


def test_another_protocol_is_refused_in_words(start):
    engine = start("other protocol")
    poll_until(engine, failed)
    assert "protocol 99" in engine.failure and "update the older" in engine.failure


@pytest.mark.skipif(sys.platform == "win32", reason="no kill -9")
def test_a_killed_worker_is_noticed(start):
    engine = start()
    poll_until(engine, greeted)
    os.kill(engine._process.pid, signal.SIGKILL)
    poll_until(engine, failed)
    assert "stopped unexpectedly" in engine.failure and "Every finished frame is kept" in engine.failure


def test_a_silent_worker_is_stopped(start, monkeypatch):
    engine = start("mute")
    poll_until(engine, greeted)
    pid = engine._process.pid
    monkeypatch.setattr(engines, "SILENCE_S", 0.2)
    poll_until(engine, failed)
    assert "has not answered" in engine.failure and not is_running(pid)


def test_a_busy_blender_does_not_take_the_worker_for_dead(start, monkeypatch):
    """A long export holds the reading thread up as well: the first poll after it must not judge."""
    engine = start("mute")
    poll_until(engine, greeted)
    monkeypatch.setattr(engines, "SILENCE_S", 1.0)
    time.sleep(1.5)
    engine.poll()
    assert not engine.failure


def test_what_does_not_obey_is_terminated(start, monkeypatch, tmp_path):
    monkeypatch.setattr(engines, "TERMINATE_S", 0.2)
    monkeypatch.setattr(engines, "KILL_S", 0.2)
    engine = start("mute")
    poll_until(engine, greeted)
    pid = engine._process.pid
    engine.cancel()
    poll_until(engine, failed)
    assert "was stopped" in engine.failure and not is_running(pid)


def test_closing_ends_the_process(start):
    engine = start()
    poll_until(engine, greeted)
    pid = engine._process.pid
    engine.close()
    assert not is_running(pid) and not engine.failure
    engine.close()


def test_a_worker_is_gone_when_its_blender_is_killed(start):
    """Its stdin closes then; nothing else can tell it."""
    engine = start()
    poll_until(engine, greeted)
    engine._process.stdin.close()
    assert engine._process.wait(10) == 0


@pytest.mark.parametrize("name", ["topo4d", "topo4d_blender"])
def test_the_real_worker_starts_from_any_folder_name_beside_bad_neighbours(tmp_path, name):
    """Installed, the package is called topo4d, and the folder above it holds other people's extensions."""
    package = Path(engines.__file__).parents[1]
    (tmp_path / name).symlink_to(package, target_is_directory=True)
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text("raise SystemExit('the neighbour was imported')")
    engine = engines.Engine(
        Interpreter(sys.executable), tmp_path / "engine.log", tmp_path / name / "bridge" / "launch_worker.py"
    )
    engine.start()
    try:
        engine.send({"command": "start", "job": "open", "capture": str(tmp_path / "nothing here"), "frames": None})
        messages = poll_until(engine, greeted, 60.0)
        while not messages:
            messages = engine.poll()
            assert not engine.failure
            time.sleep(0.01)
        assert messages[-1]["event"] == "error" and messages[-1]["code"] == "request"
        assert "nothing here" in messages[-1]["sentence"]
    finally:
        engine.close()
