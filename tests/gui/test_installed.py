"""The released zip in a Blender window that never saw the checkout: an engine from a folder of wheels, then a track.

install_job.py does it once per window, without a network and with no Python but Blender's own. Pictures of every step
stay in the folder TOPO4D_GUI_PICTURES, if that is set.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from synthetic import make_capture
from wheelhouses import find_or_make
from windows import Window, roots_named, why_not

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FRAMES = 3
SECONDS = 900  # for a whole visit, on two busy cores; Blender quits by itself before that
WHEELS = "wheels with spaces é"

ROOTS = roots_named()
if not ROOTS:
    pytest.skip("TOPO4D_GUI_ROOTS names no Blender window; tests/gui/make_window.sh makes one", allow_module_level=True)

pytestmark = [pytest.mark.gui, pytest.mark.timeout(SECONDS + 300)]


@pytest.fixture(scope="module", params=ROOTS, ids=[root.name for root in ROOTS])
def visit(request, tmp_path_factory) -> tuple[Path, dict]:
    """The folder of the visit, and what was seen."""
    if reason := why_not(request.param):
        pytest.skip(reason)
    window = Window(request.param, bind=())
    work = tmp_path_factory.mktemp("installed")
    (work / "out").mkdir()
    tell = "import sys; print(f'{sys.version_info.major}.{sys.version_info.minor}')"
    python = window.run(work, "python3", "-c", tell, seconds=60).stdout.strip()
    wheels = find_or_make(python, tmp_path_factory.mktemp("made"))
    shutil.copytree(wheels, work / WHEELS)
    make_capture(work / "capture", frames=FRAMES, cameras=4, motion_mm=2.0)
    subprocess.run([sys.executable, ROOT / "build_addon.py", "--out", work / "dist"], check=True)
    (built,) = (work / "dist").glob("*.zip")
    shutil.move(built, work / "topo4d.zip")
    for script in ("hands.py", "install_job.py"):
        shutil.copy(HERE / script, work)
    job = {"wheels": f"/w/{WHEELS}", "seconds": SECONDS - 60}
    (work / "job.json").write_text(json.dumps(job), encoding="utf-8")
    screen = ["xvfb-run", "-a", "-s", "-screen 0 1600x1200x24"]
    done = window.run(work, *screen, "blender", "--enable-event-simulate", "-P", "/w/install_job.py", seconds=SECONDS)
    if folder := os.environ.get("TOPO4D_GUI_PICTURES"):
        shutil.copytree(work / "out", Path(folder) / f"{window.root.name}-installed", dirs_exist_ok=True)
    log = (work / "out" / "hands.log").read_text("utf-8") if (work / "out" / "hands.log").exists() else "no log"
    if not log.rstrip().endswith("end"):
        words = [path.read_text("utf-8", "replace")[-2000:] for path in (work / "resources").rglob("*.log")]
        pytest.fail("\n".join([f"The walk broke off:\n{log}", done.stdout[-3000:], *words]), pytrace=False)
    return work, json.loads((work / "out" / "seen.json").read_text("utf-8"))


def test_the_engine_comes_from_the_folder_alone(visit):
    work, seen = visit
    assert seen["install"] == ["FINISHED"] and seen["failure"] == ""
    assert [stage.split()[0] for stage in seen["stages"][-2:]] == ["Installing", "Testing"]  # those before may be short
    engine = work / Path(seen["engine"]).relative_to("/w")
    assert engine.is_relative_to(work / "resources"), "only the extension's own folder is written"
    assert json.loads((engine / "ready.json").read_text("utf-8"))["packages"]["numba"]
    assert not seen["online"] and not seen["may_look_up"], "offline, there is nothing to look up"


def test_the_preferences_say_what_this_machine_can_do(visit):
    assert visit[1]["can"][0].startswith("Tracks and bakes on the processor")


def test_shape_keys_arrive_and_are_near_the_truth(visit):
    work, _ = visit
    truth = np.load(work / "capture" / "truth.npz")
    keys = np.load(work / "out" / "keys.npy")
    assert keys.shape == truth["vertices"].shape
    error_mm = np.linalg.norm(keys - truth["vertices"], axis=2)[:, truth["face_mask"]] * float(truth["unit_mm"])
    assert error_mm.mean() < 0.3
