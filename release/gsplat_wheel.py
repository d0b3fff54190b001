"""Builds a wheel of gsplat with its kernels compiled, so that no artist's machine needs a compiler.

    python -m release.gsplat_wheel --archs "7.5;8.6;8.9;12.0+PTX" --out dist/wheels

Run it with the Python that the wheel is for, on its system, where torch's build for CUDA (the pinned one), pip,
setuptools and ninja are installed and CUDA_HOME names CUDA's compiler of the same major version. No card is needed. The
sources are those inside the wheel that the index has, held against the hash below; nothing in them is changed. Then
`build_addon.py --offline ... --torch cuda --wheels-from dist/wheels` takes it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from zipfile import ZipFile

from topo4d_blender.bridge.install.wheels import sha256
from topo4d_blender.core import pins

VERSION = pins.gsplat_pins()["gsplat"]
SOURCE = f"gsplat-{VERSION}-py3-none-any.whl"
SOURCE_SHA256 = "515a3773641f5e7f7717acab6276c0b1d6dbcad087b7968ca653337c3189a982"
ARCHS = "7.5;8.6;8.9;12.0+PTX"  # Turing, Ampere, Ada and Blackwell for desks; PTX for what comes after
EPOCH = "315619200"  # 1980-01-02: the dates inside the wheel
# As its own METADATA says, but for ninja, which only compiles, and with the one torch that the kernels are linked with.
NEEDS = ("numpy", "jaxtyping", "rich>=12")
_SETUP = """\
from pathlib import Path

from setuptools import find_packages, setup
from torch.utils.cpp_extension import BuildExtension, CUDAExtension

told = {told}
cuda = Path("gsplat", "cuda")
sources = sorted(str(p) for kind in ("*.cu", "*.cpp") for p in (cuda / "csrc").glob(kind)) + [str(cuda / "ext.cpp")]
here = Path(__file__).resolve().parent
include = [str(here / cuda / "include"), str(here / cuda / "csrc" / "third_party" / "glm"), *told["include"]]
flags = {{"cxx": told["cxx"], "nvcc": ["-O3", "-use_fast_math"]}}
setup(
    name="gsplat",
    version=told["version"],
    license="Apache-2.0 AND MIT",  # the latter: GLM's headers, compiled into the kernels
    license_files=["LICENSE", "gsplat/cuda/csrc/third_party/glm/copying.txt"],
    packages=find_packages(),
    install_requires=told["needs"],
    python_requires=told["python"],
    ext_modules=[CUDAExtension("gsplat.csrc", sources, include_dirs=include, extra_compile_args=flags)],
    cmdclass={{"build_ext": BuildExtension}},
)
"""


class CannotBuild(Exception):
    """Why no wheel can be built here, in a sentence."""


def main() -> int:
    """Build, say where it is; exit status 0, or 1 with a sentence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archs", default=ARCHS, help="compute capabilities (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("dist") / "wheels", help="default: %(default)s")
    parser.add_argument("--source", type=Path, help=f"{SOURCE}, where no index can be asked")
    parser.add_argument("--jobs", type=int, default=2, help="compilers at once, 2 GB of memory each (default: 2)")
    arguments = parser.parse_args()
    try:
        cuda = check_tools()
        wheel = build(arguments.source, arguments.out.resolve(), cuda, arguments.archs, arguments.jobs)
    except CannotBuild as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{wheel} ({wheel.stat().st_size / 1e6:.1f} MB, sha256 {sha256(wheel)})")
    return 0


def check_tools() -> str:
    """The CUDA version that torch was built with. Raises CannotBuild where something to build with is missing."""
    wanted = pins.engine_pins()["torch"]
    try:
        import torch
        from torch.utils.cpp_extension import CUDA_HOME
    except (ImportError, OSError) as error:
        raise CannotBuild(f"torch does not load in this Python ({error}); install torch=={wanted} for CUDA.") from None
    if torch.__version__.partition("+")[0] != wanted or not torch.version.cuda:
        raise CannotBuild(f"This is torch {torch.__version__}; the kernels are linked with torch {wanted} for CUDA.")
    nvcc = Path(CUDA_HOME or "", "bin", "nvcc.exe" if sys.platform == "win32" else "nvcc")
    if CUDA_HOME is None or not nvcc.exists():
        raise CannotBuild(f"CUDA's compiler is not found; let CUDA_HOME name a CUDA {torch.version.cuda} toolkit.")
    said = subprocess.run([str(nvcc), "--version"], capture_output=True, text=True).stdout
    release = re.search(r"release (\d+)", said)
    if release is None or release[1] != torch.version.cuda.split(".")[0]:
        raise CannotBuild(f"{nvcc} is of CUDA {release and release[1]}; torch was built with {torch.version.cuda}.")
    for tool in ("setuptools", "pip"):
        if importlib.util.find_spec(tool) is None:
            raise CannotBuild(f"This Python has no {tool}; install it.")
    if shutil.which("ninja") is None and importlib.util.find_spec("ninja") is None:
        raise CannotBuild("ninja is not found; install the package ninja.")
    return torch.version.cuda


def build(source: Path | None, out: Path, cuda: str, archs: str, jobs: int) -> Path:
    """The wheel in `out`, gsplat_wheel.json beside it. Raises CannotBuild."""
    with tempfile.TemporaryDirectory(prefix="gsplat-") as scratch:
        tree, made = Path(scratch) / "source", Path(scratch) / "made"
        unpack(source or fetch(Path(scratch)), tree)
        (tree / "setup.py").write_text(_SETUP.format(told=repr(told(cuda))), "utf-8")
        environment = {
            **os.environ,
            "TORCH_CUDA_ARCH_LIST": archs,
            "MAX_JOBS": str(jobs),
            "SOURCE_DATE_EPOCH": EPOCH,
        }
        environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])
        command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
        log = out / "gsplat_wheel.log"
        out.mkdir(parents=True, exist_ok=True)
        with log.open("w", encoding="utf-8") as file:
            words = [*command, "--verbose", "--wheel-dir", str(made), str(tree)]
            done = subprocess.run(words, stdout=file, stderr=subprocess.STDOUT, env=environment)
        wheels = list(made.glob("gsplat-*.whl"))
        if done.returncode or len(wheels) != 1:
            raise CannotBuild(f"The kernels cannot be compiled; what the compiler said is in {log}.")
        check(wheels[0])
        wheel = out / wheels[0].name
        shutil.move(wheels[0], wheel)
    record = {
        "wheel": wheel.name,
        "sha256": sha256(wheel),
        "size": wheel.stat().st_size,
        "source_sha256": SOURCE_SHA256,
        "torch": metadata.version("torch"),
        "cuda": cuda,
        "archs": archs,
    }
    (out / "gsplat_wheel.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    return wheel


def fetch(folder: Path) -> Path:
    """The index's wheel, by pip. Raises CannotBuild."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    done = subprocess.run([*command, "--dest", str(folder), f"gsplat=={VERSION}"], capture_output=True, text=True)
    if done.returncode:
        raise CannotBuild(f"pip cannot fetch {SOURCE} ({done.stderr.strip()[-200:]}); name it with --source.")
    return folder / SOURCE


def unpack(source: Path, folder: Path) -> None:
    """The sources of the index's wheel `source` as a tree that can be built. Raises CannotBuild for other bytes."""
    if not source.is_file() or sha256(source) != SOURCE_SHA256:
        raise CannotBuild(f"{source} is not the {SOURCE} of the index (another hash); fetch it again.")
    with ZipFile(source) as file:
        file.extractall(folder)
    (facts,) = folder.glob("gsplat-*.dist-info")
    shutil.move(facts / "licenses" / "LICENSE", folder / "LICENSE")
    shutil.rmtree(facts)


def told(cuda: str) -> dict:
    """What the build is told: names, versions, flags, and where the headers of NVIDIA's wheels lie."""
    torch = metadata.version("torch").partition("+")[0]
    places = [Path(place) / "nvidia" / f"cu{cuda.split('.')[0]}" / "include" for place in sys.path if place]
    return {
        "version": f"{VERSION}+torch{torch}.cu{cuda.replace('.', '')}",
        "needs": [*NEEDS, f"torch=={torch}"],
        "python": f"=={pins.tag()}.*",
        "cxx": ["/O2"] if sys.platform == "win32" else ["-O3", "-Wno-attributes"],
        "include": [str(place) for place in places if place.is_dir()],
    }


def check(wheel: Path) -> None:
    """Raises CannotBuild unless `wheel` holds the compiled module for one platform."""
    with ZipFile(wheel) as file:
        compiled = [name for name in file.namelist() if re.fullmatch(r"gsplat/csrc\..*(so|pyd)", name)]
    if not compiled or wheel.name.endswith("-none-any.whl"):
        raise CannotBuild(f"{wheel.name} holds no compiled kernels.")


if __name__ == "__main__":
    sys.exit(main())
