"""release/gsplat_wheel.py as far as no compiler is needed: it says what is missing, and takes no other source."""

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from release import gsplat_wheel
from topo4d_blender.core import pins

ROOT = Path(__file__).resolve().parents[2]


def test_a_source_with_other_bytes_is_refused(tmp_path):
    source = tmp_path / gsplat_wheel.SOURCE
    with ZipFile(source, "w") as file:
        file.writestr("gsplat/__init__.py", "")
    with pytest.raises(gsplat_wheel.CannotBuild, match="another hash"):
        gsplat_wheel.unpack(source, tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


def test_the_index_s_wheel_becomes_a_tree_that_can_be_built(tmp_path, monkeypatch):
    source = tmp_path / gsplat_wheel.SOURCE
    with ZipFile(source, "w") as file:
        file.writestr("gsplat/cuda/ext.cpp", "")
        file.writestr("gsplat-1.5.3.dist-info/licenses/LICENSE", "Apache")
        file.writestr("gsplat-1.5.3.dist-info/METADATA", "")
    monkeypatch.setattr(gsplat_wheel, "SOURCE_SHA256", gsplat_wheel.sha256(source))
    gsplat_wheel.unpack(source, tmp_path / "tree")
    assert {path.name for path in (tmp_path / "tree").iterdir()} == {"gsplat", "LICENSE"}


def test_the_version_says_what_it_is_linked_with():
    told, torch = gsplat_wheel.told("13.0"), pins.engine_pins()["torch"]
    assert told["version"] == f"{pins.gsplat_pins()['gsplat']}+torch{torch}.cu130"
    assert f"torch=={torch}" in told["needs"] and not any("ninja" in need for need in told["needs"])


@pytest.mark.parametrize(
    ("name", "inside", "fine"),
    [
        ("gsplat-1.5.3-cp311-cp311-linux_x86_64.whl", "gsplat/csrc.cpython-311-x86_64-linux-gnu.so", True),
        ("gsplat-1.5.3-cp311-cp311-win_amd64.whl", "gsplat/csrc.cp311-win_amd64.pyd", True),
        ("gsplat-1.5.3-cp311-cp311-linux_x86_64.whl", "gsplat/__init__.py", False),
        ("gsplat-1.5.3-py3-none-any.whl", "gsplat/csrc.so", False),
    ],
)
def test_a_wheel_without_kernels_is_none(tmp_path, name, inside, fine):
    with ZipFile(tmp_path / name, "w") as file:
        file.writestr(inside, "")
    if fine:
        gsplat_wheel.check(tmp_path / name)
    else:
        with pytest.raises(gsplat_wheel.CannotBuild, match="no compiled kernels"):
            gsplat_wheel.check(tmp_path / name)


def test_without_torch_for_cuda_it_says_so_in_one_sentence(tmp_path):
    torch = pytest.importorskip("torch")
    if torch.version.cuda:
        pytest.skip("this torch is the build for CUDA")
    words = [sys.executable, "-m", "release.gsplat_wheel", "--out", str(tmp_path / "out")]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "linked with torch" in done.stderr and not (tmp_path / "out").exists()
