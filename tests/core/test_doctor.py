"""Doctor: true on a machine where the engine runs, and one step for each thing that is missing."""

import json
import sys
import tomllib
from pathlib import Path

from click.testing import CliRunner

from topo4d_blender.core import cli, doctor, protocol

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_this_machine_runs_the_engine():
    result = CliRunner().invoke(cli.main, ["doctor", "--json"])
    found = json.loads(result.stdout)
    assert result.exit_code == 0
    assert found["executable"] == sys.executable
    assert found["methods"][0] == {"method": "gauss-newton", "device": "cpu", "needed": True, "runs": True, "why": ""}
    assert all(p["works"] and p["version"].partition("+")[0] == p["pin"] for p in found["packages"])
    assert found["cores"] >= 1


def test_in_words_it_names_the_python_to_paste():
    result = CliRunner().invoke(cli.main, ["doctor"])
    assert result.exit_code == 0
    assert sys.executable in result.stdout.split("preferences")[1]
    assert "gauss-newton on cpu: runs here" in result.stdout


def test_it_asks_for_the_packages_of_pyproject():
    names = {requirement.split("==")[0] for requirement in PROJECT["dependencies"]}
    assert names == set(doctor.REQUIRED)
    assert protocol.ENGINE == PROJECT["version"]


def test_a_missing_package_is_met_with_one_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)  # import numba fails now
    monkeypatch.setattr(doctor, "package_version", lambda name: None if name in ("numba", "bpy") else "1.0")
    found = doctor.diagnose()
    assert not found["methods"][0]["runs"] and not doctor.works(found)
    assert found["can"][0].startswith("Cannot track: numba")
    pin = next(d for d in PROJECT["dependencies"] if d.startswith("numba"))
    steps = [sentence for sentence in found["advice"] if "numba" in sentence]
    assert len(steps) == 1 and "pip install" in steps[0] and pin in steps[0]
    assert any("bpy" in sentence for sentence in found["advice"])
    assert "numba" in doctor.in_words(found) and "missing" in doctor.in_words(found)


def test_little_memory_and_disk_are_said(monkeypatch):
    monkeypatch.setattr(doctor, "memory_gb", lambda: 2.0)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 2**30}))
    advice = " ".join(doctor.diagnose()["advice"])
    assert "2.0 GB of memory" in advice and "1.0 GB is little" in advice
