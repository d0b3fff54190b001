"""The worker as Blender meets it: a real process, spoken to through its pipes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from synthetic import make_capture

from topo4d_blender.core import protocol

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "topo4d_blender.core", "worker"]
# A worker whose tracking is a loop that prints where nothing should, and ends as its template's name says.
MOCK = """
import os, sys, time
from pathlib import Path
from topo4d_blender.core import jobs, worker

def track(progress, template, **options):
    progress.stage("Pretending", 4)
    print("python noise"); sys.stdout.flush()
    os.write(1, b"native noise without an end of line")
    progress.advance(2)
    progress.frame(7, "/somewhere/000007.npy", {"residual_px": float("nan"), "seconds": 1.5})
    progress.warning("Mind the gap.")
    if template.name == "forever":
        while True:
            progress.check()
            time.sleep(0.02)
    if template.name == "stubborn":
        time.sleep(600)
    if template.name == "broken":
        raise ZeroDivisionError("two" + chr(10) + "lines")
    return {"take": str(options["take"]), "frames": 1}

jobs.track = track
worker._GRACE_S = 0.5
worker.main()
"""


class Worker:
    """A worker process and its events, heartbeats set aside."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.heartbeats = 0
        self.hello = self.event()

    def send(self, line: dict | bytes) -> None:
        self.process.stdin.write(line if isinstance(line, bytes) else protocol.encode(line).encode())
        self.process.stdin.flush()

    def start(self, job: str = "track", template: str = "mesh.obj", **values: object) -> None:
        self.send({"command": "start", "job": job, "capture": "c", "template": template, "take": "t", **values})

    def event(self) -> dict:
        """The next event that is no heartbeat; every line must be one of the protocol."""
        while True:
            line = self.process.stdout.readline().decode("ascii")
            assert line, self.process.communicate()[1].decode()
            message = protocol.decode(line)
            assert message is not None and "event" in message, line
            if message["event"] != "heartbeat":
                return message
            self.heartbeats += 1

    def until(self, *events: str) -> list[dict]:
        """Events up to the first of the kinds named."""
        seen = [self.event()]
        while seen[-1]["event"] not in events:
            seen.append(self.event())
        return seen

    def job_end(self) -> dict:
        return self.until("done", "error")[-1]


@pytest.fixture
def start_worker() -> Iterator:
    workers = []

    def start(command: list[str]) -> Worker:
        workers.append(Worker(command))
        return workers[-1]

    yield start
    for worker in workers:
        worker.process.kill()
        with worker.process:  # waits, and closes the pipes
            pass


@pytest.fixture
def mock(start_worker) -> Worker:
    return start_worker([sys.executable, "-c", MOCK])


def test_hello_comes_first_and_says_who_speaks(start_worker):
    hello = start_worker(COMMAND).hello
    assert hello["event"] == "hello" and hello["protocol"] == protocol.PROTOCOL and hello["engine"] == protocol.ENGINE
    assert set(hello) == {
        *("event", "protocol", "engine", "python", "numba", "torch", "device", "cores", "memory_gb", "pid")
    }
    assert hello["python"].startswith("3.11") and hello["cores"] >= 1


def test_garbage_is_answered_with_a_warning_and_the_worker_goes_on(start_worker):
    worker = start_worker(COMMAND)
    for garbage in (b"hello?\n", b"[1, 2]\n", b'{"command": "dance"}\n', b"\xff\xfe\x00\n", b'{"event": "done"}\n'):
        worker.send(garbage)
        event = worker.event()
        assert event["event"] == "warning" and "no command" in event["sentence"]
    worker.send(b"\n")
    worker.start(job="fly")
    error = worker.event()
    assert (error["event"], error["code"]) == ("error", "request") and "fly" in error["sentence"]


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ({"job": "open"}, "capture"),
        ({"job": "track", "capture": "c", "template": 3, "take": "t"}, "template"),
        ({"job": "track", "capture": "c", "template": "m", "take": "t", "resume": "yes"}, "resume"),
        ({"job": "track", "capture": "c", "template": "m", "take": "t", "start": "50"}, "start"),
        ({"job": "track", "capture": "c", "template": "m", "take": "/no/such/take", "again": "5-9"}, "/no/such/take"),
        ({"job": "track", "capture": "c", "template": "m", "take": "t", "from_take": "/no/such/take"}, "/no/such/take"),
        ({"job": "bake", "take": "t", "resolution": "big"}, "resolution"),
        ({"job": "bake", "take": "t", "overwrite": "yes"}, "overwrite"),
        ({"job": "open", "capture": "c", "cameras": "cam00"}, "cameras"),
        ({"job": "open", "capture": "c", "cameras": [1]}, "cameras"),
        ({"job": "open", "capture": "/no/such/capture"}, "/no/such/capture"),
        ({}, "job"),
    ],
)
def test_a_request_of_no_use_ends_as_an_error_of_one_sentence(start_worker, command, word):
    worker = start_worker(COMMAND)
    worker.send({"command": "start", **command})
    error = worker.event()
    assert (error["event"], error["code"]) == ("error", "request")
    assert word in error["sentence"] and "\n" not in error["sentence"] and isinstance(error["hint"], str)


def test_open_describes_the_capture(start_worker, tmp_path):
    folder = tmp_path / "größe 映画"
    make_capture(folder, frames=2, cameras=2, size=(24, 32), vertices=60)
    worker = start_worker(COMMAND)
    worker.start(job="open", capture=str(folder), frames="2")
    capture, done = worker.until("done", "error")
    assert capture["event"] == "capture" and capture["frames"] == [2] and len(capture["cameras"]) == 2
    assert Path(capture["images"]["2"]["cam01"]) == folder / "images" / "cam01" / "000002.png"
    assert done == {"event": "done", "job": "open", "summary": {"frames": 1, "cameras": 2}}


def test_open_with_some_cameras_and_what_is_said_of_one_without_images(start_worker, tmp_path):
    make_capture(tmp_path, frames=1, cameras=3, size=(24, 32), vertices=60)
    (tmp_path / "images" / "cam01" / "000001.png").unlink()
    worker = start_worker(COMMAND)
    worker.start(job="open", capture=str(tmp_path))
    error = worker.job_end()
    assert error["code"] == "request" and "cam01" in error["sentence"] and "-cam01 as Cameras" in error["hint"]
    worker.start(job="open", capture=str(tmp_path), cameras=["-cam01"])
    assert worker.job_end()["summary"] == {"frames": 1, "cameras": 2}


def test_a_job_is_told_event_by_event_and_stray_prints_stay_away(mock):
    mock.start(take="t")
    events = mock.until("done", "error")
    assert [e["event"] for e in events] == ["stage", "progress", "frame", "warning", "done"]
    stage, progress, frame, warning, done = events
    assert (stage["name"], stage["total"]) == ("Pretending", 4)
    assert (progress["done"], progress["total"], progress["eta_s"]) == (2, 4, None), "one step tells no pace"
    assert frame["frame"] == 7 and frame["metrics"] == {"residual_px": None, "seconds": 1.5}
    assert warning["sentence"] == "Mind the gap."
    assert done["summary"] == {"take": "t", "frames": 1}
    mock.process.stdin.close()
    noise = mock.process.stderr.read()
    assert b"python noise" in noise and b"native noise" in noise


def test_cancel_ends_the_job_and_the_next_one_runs(mock):
    mock.start(template="forever")
    mock.until("warning")
    mock.start()  # one job at a time: said, and not started
    assert "another job" in mock.event()["sentence"]
    mock.send({"command": "cancel"})
    error = mock.job_end()
    assert error["code"] == "cancelled" and error["hint"]
    mock.send({"command": "cancel"})  # nothing to cancel: the next job must not be told
    mock.start()
    assert mock.job_end()["event"] == "done"


def test_what_nobody_foresaw_is_an_internal_error_and_the_worker_lives(mock):
    mock.start(template="broken")
    error = mock.job_end()
    assert error["code"] == "internal" and "ZeroDivisionError: two lines" in error["sentence"] and error["hint"]
    details = Path(error["sentence"].split("details are in ")[1].rstrip("."))
    assert "Traceback" in details.read_text()
    details.unlink()
    mock.start()
    assert mock.job_end()["event"] == "done"


@pytest.mark.parametrize("template", [None, "forever", "stubborn"])  # idle, at work, at work and deaf
def test_the_worker_ends_when_stdin_closes(mock, template):
    if template:
        mock.start(template=template)
        mock.until("warning")
    mock.process.stdin.close()
    assert mock.process.wait(60) == 0


def test_the_worker_ends_when_nobody_reads(mock):
    mock.process.stdout.close()
    assert mock.process.wait(60) == 0  # its next heartbeat finds nobody


def test_heartbeats_come_while_the_main_thread_is_busy(mock):
    mock.start(template="stubborn")
    mock.until("warning")
    for _ in range(3):
        assert protocol.decode(mock.process.stdout.readline().decode()) == {"event": "heartbeat"}


def test_a_worker_started_from_another_folder_writes_nothing_there(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(COMMAND, cwd=tmp_path, env=environment, input=b"", capture_output=True)
    assert done.returncode == 0 and list(tmp_path.iterdir()) == []
    assert json.loads(done.stdout.splitlines()[0])["event"] == "hello"
