"""Doctor: true on a machine where the engine runs, and one step for each thing that is missing."""

import json
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from topo4d_blender.core import cli, cuda, doctor, jobs, protocol
from topo4d_blender.core.errors import RequestError
from topo4d_blender.core.gpus import Gpu

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


RTX = Gpu("RTX 4090", "580.65.06", (8, 9), 24.0)
ABSENT = {"version": "", "problem": "", "cuda": "", "card": ""}


@pytest.mark.skipif(sys.platform == "darwin", reason="no CUDA there")
@pytest.mark.parametrize(
    ("cards", "torch", "why", "step"),
    [
        ([], ABSENT, "No NVIDIA card answers here", ""),
        ([RTX], ABSENT, "torch is not installed", "with torch for CUDA"),
        ([RTX], ABSENT | {"version": "2", "problem": "a DLL is missing"}, "a DLL is missing", "with torch for CUDA"),
        ([RTX], ABSENT | {"version": "2+cpu"}, "a build without CUDA", "with torch for CUDA"),
        ([RTX], ABSENT | {"version": "2", "cuda": "13.0"}, "finds no card", "Update the graphics driver"),
        ([replace(RTX, driver="550.1")], ABSENT, "too old for CUDA 13", "Update the driver to 580"),
        ([replace(RTX, capability=(6, 1))], ABSENT, "older than what CUDA 13 supports", ""),
    ],
)
def test_a_card_that_lies_idle_is_met_with_one_step(cards, torch, why, step):
    said = cuda.why_no_cuda(cards, torch)
    assert why in said[0] and step in said[1] and bool(step) == bool(said[1])


def test_an_idle_card_is_in_the_advice_and_in_words(monkeypatch):
    monkeypatch.setattr(cuda, "ask_nvidia", lambda: [RTX])
    found = doctor.diagnose()
    if found["cuda"]["runs"]:
        pytest.skip("this machine has a card that works")
    assert doctor.works(found) and found["cuda"]["step"] in found["advice"]
    assert "CUDA: no. RTX 4090" in doctor.in_words(found)


@pytest.mark.parametrize(
    ("tracks", "bakes", "free", "said", "step"),
    [
        (True, True, 7.5, "yes, tracks and bakes on RTX 4090, 24 GB, 7.5 GB of it free", ""),
        (True, True, 1.2, "1.2 GB of it free", "Close other programs that use the graphics card"),
        (True, False, 7.5, "RTX 4090, 24 GB answers, but it tracks there alone", "Update the graphics driver"),
        (False, False, 7.5, "but the engine computes on the processor", "Update the graphics driver"),
    ],
)
def test_what_a_card_does_is_said_with_the_step_that_mends_the_rest(monkeypatch, tracks, bakes, free, said, step):
    there = ABSENT | {"version": "2", "cuda": "13.0", "card": "RTX 4090, 24 GB", "free_gb": free}
    monkeypatch.setattr(cuda, "ask_torch", lambda: there)
    monkeypatch.setattr(cuda, "why_not_tracked_on_cuda", lambda: "" if tracks else "it finds vertices 3 px off")
    monkeypatch.setattr(cuda, "why_not_baked_on_cuda", lambda: "" if bakes else "RuntimeError: no kernel image")
    found = doctor.diagnose()
    assert (
        said in doctor.in_words(found) and step in found["cuda"]["step"] and bool(step) == bool(found["cuda"]["step"])
    )
    runs = {method["method"]: method["runs"] for method in found["methods"] if method["device"] == "cuda"}
    assert (runs["gauss-newton"], runs["bake inverse"]) == (tracks, bakes)
    assert doctor.works(found)


@pytest.mark.parametrize(
    "why",
    [
        "OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB.",
        "RuntimeError: CUDA error: out of memory",
        "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ],
)
def test_a_card_whose_memory_is_spent_is_not_a_matter_of_its_driver(monkeypatch, why):
    there = ABSENT | {"version": "2", "cuda": "13.0", "card": "RTX 4090, 24 GB", "free_gb": 0.1}
    monkeypatch.setattr(cuda, "ask_torch", lambda: there)
    monkeypatch.setattr(cuda, "why_not_tracked_on_cuda", lambda: why)
    monkeypatch.setattr(cuda, "why_not_baked_on_cuda", lambda: why)
    found = doctor.diagnose()
    assert "Close other programs" in found["cuda"]["step"] and "0.1 GB" in found["cuda"]["step"]
    assert "driver" not in found["cuda"]["step"] and "memory was spent" in doctor.in_words(found)
    monkeypatch.setattr(cuda, "why_not_baked_on_cuda", lambda: "it is 4 % unlike")  # wrong numbers are no memory
    assert "driver" in doctor.diagnose()["cuda"]["step"]


@pytest.mark.parametrize(
    "job", [lambda: jobs.choose_device("cuda"), lambda: jobs.choose_bake_device("cuda", "inverse")]
)
def test_a_refusal_of_cuda_and_doctor_say_the_same(job):
    if jobs.cuda_name():
        pytest.skip("this machine has a card that works")
    found = doctor.diagnose()
    with pytest.raises(RequestError) as refused:
        job()
    assert found["cuda"]["why"] in str(refused.value) and found["cuda"]["step"] in str(refused.value)
    assert "CUDA: no. " + found["cuda"]["why"] in doctor.in_words(found)
    assert "Nothing is missing." not in doctor.in_words(found)


def test_the_exit_status_says_whether_the_engine_runs(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    result = CliRunner().invoke(cli.main, ["doctor"])
    assert result.exit_code == 1 and "does not run: numba missing or broken" in result.stdout
