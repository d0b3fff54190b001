"""benchmarks/gpu_check.py where there is no card: it says so, and its steps run on the processor all the same."""

import os
import subprocess
import sys
from pathlib import Path

CHECK = Path(__file__).parents[2] / "benchmarks" / "gpu_check.py"


def check(folder: Path, *options: str) -> subprocess.CompletedProcess:
    """Run it where no nvidia-smi is found, results into `folder`."""
    environment = {**os.environ, "PATH": str(folder)}
    command = [sys.executable, str(CHECK), "--results", str(folder / "results"), *options]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_without_a_card_it_is_one_sentence_and_status_2(tmp_path):
    done = check(tmp_path)
    assert done.returncode == 2 and "No NVIDIA card answers" in done.stderr
    assert len(done.stderr.splitlines()) == 1 and not done.stdout


def test_its_steps_run_on_the_processor(tmp_path):
    done = check(tmp_path, "--rehearse", "--minutes", "30")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    for stage in ("tests", "track: frame", "splat: frame", "bake: frame"):
        assert any(row.startswith(f"| {stage}") for row in rows), stage
    assert "from numba's: mean 0.0" in done.stdout and "from the other's: mean 0.0" in done.stdout
    assert not (tmp_path / "results").exists()


def test_what_does_not_fit_into_its_minutes_is_left_out_and_said_to_be(tmp_path):
    done = check(tmp_path, "--rehearse", "--minutes", "0.1")
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")][1:]
    assert done.returncode == 0 and len(rows) == 7 and all("left out" in row for row in rows)
