"""The main job in a real Blender window: install, load, press Track Sequence, watch, bake, cancel, go on.

main_job.py does it once per window and writes down what it saw; the tests here judge that, each one promise. Pictures
of every step stay in the folder TOPO4D_GUI_PICTURES, if that is set.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synthetic import make_capture
from windows import Window, roots_named, why_not

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FRAMES = 40  # so many that the engine is still at work when the mouse has found a button
CAMERAS = 6
SECONDS = 780  # for a whole visit, on two busy cores; Blender quits by itself before that

ROOTS = roots_named()
if not ROOTS:
    pytest.skip("TOPO4D_GUI_ROOTS names no Blender window; tests/gui/make_window.sh makes one", allow_module_level=True)
if all(REASONS := [why_not(root) for root in ROOTS]):
    pytest.skip("; ".join(REASONS), allow_module_level=True)

pytestmark = [pytest.mark.gui, pytest.mark.timeout(SECONDS + 120)]


class Visit:
    """What one walk through a window left behind."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.out = work / "out"
        self.seen = json.loads((self.out / "seen.json").read_text("utf-8"))
        truth = np.load(work / "capture" / "truth.npz")
        self.truth, self.face, self.unit_mm = truth["vertices"], truth["face_mask"], float(truth["unit_mm"])

    def geometry(self, frame: int) -> np.ndarray:
        """Vertices that the engine wrote for `frame` of the first take."""
        return np.load(self.outside(self.seen["take"]) / "geometry" / f"{frame:06d}.npy")

    def outside(self, path: str) -> Path:
        """Where a path of in there is out here."""
        return self.work / Path(path).relative_to("/w")


@pytest.fixture(scope="module", params=ROOTS, ids=[root.name for root in ROOTS])
def visit(request, tmp_path_factory) -> Visit:
    if reason := why_not(request.param):
        pytest.skip(reason)
    window = Window(request.param)
    work = tmp_path_factory.mktemp("window")
    (work / "out").mkdir()
    make_capture(work / "capture", frames=FRAMES, cameras=CAMERAS, motion_mm=2.0, turn_deg=0.3)
    subprocess.run([sys.executable, ROOT / "build_addon.py", "--out", work / "dist"], check=True)
    (built,) = (work / "dist").glob("*.zip")
    shutil.copy(built, work / "topo4d.zip")
    for script in ("hands.py", "main_job.py"):
        shutil.copy(HERE / script, work)
    job = {"python": sys.executable, "bake": "1-2", "seconds": SECONDS - 60}
    (work / "job.json").write_text(json.dumps(job), encoding="utf-8")
    screen = ["xvfb-run", "-a", "-s", "-screen 0 1600x1200x24"]
    done = window.run(work, *screen, "blender", "--enable-event-simulate", "-P", "/w/main_job.py", seconds=SECONDS)
    if folder := os.environ.get("TOPO4D_GUI_PICTURES"):
        shutil.copytree(work / "out", Path(folder) / window.root.name, dirs_exist_ok=True)
    log = (work / "out" / "hands.log").read_text("utf-8") if (work / "out" / "hands.log").exists() else "no log"
    if not log.rstrip().endswith("end"):
        pytest.fail(f"The walk broke off:\n{log}\nBlender said:\n{done.stdout[-3000:]}", pytrace=False)
    return Visit(work)


def test_the_capture_stands_in_the_scene(visit):
    assert visit.seen["load"] == ["FINISHED"]
    assert visit.seen["cameras"] == [f"cam{i:02d}" for i in range(CAMERAS)]
    assert visit.seen["timeline"] == [1, FRAMES]


def test_a_loaded_capture_is_looked_at_through_its_camera_without_dashed_lines(visit):
    assert visit.seen["view_after_load"] == ["CAMERA", False]


def test_the_mesh_can_be_seen_as_wires_over_the_plate_and_back(visit):
    assert visit.seen["wireframe"] == ["TEXTURED", "WIRE", "TEXTURED"]


def test_keys_arrive_while_the_engine_still_works(visit):
    first = visit.seen["arrived_while_working"]
    assert first["busy"] and first["keys"] > 0 and not visit.seen["new_take_while_working"]
    assert len(first["solved"]) < FRAMES


def test_every_key_is_the_geometry_on_disk(visit):
    assert visit.seen["solved"] == list(range(1, FRAMES + 1))
    names = list(visit.seen["keys"])
    assert len(names) == FRAMES
    for frame, name in zip(visit.seen["solved"], names, strict=True):
        np.testing.assert_array_equal(np.load(visit.out / f"key_{name}.npy"), visit.geometry(frame))


def test_scrubbing_shows_the_geometry_of_each_frame(visit):
    size = np.ptp(visit.truth[0], axis=0).max()
    for frame in range(1, FRAMES + 1):
        shown = np.load(visit.out / f"scrub_{frame:06d}.npy")
        np.testing.assert_allclose(shown, visit.geometry(frame), rtol=0, atol=1e-6 * size)


def test_every_key_is_near_the_truth(visit):
    for frame, name in enumerate(visit.seen["keys"], 1):
        key = np.load(visit.out / f"key_{name}.npy")
        error_mm = np.linalg.norm(key - visit.truth[frame - 1], axis=1)[visit.face] * visit.unit_mm
        moved_mm = np.linalg.norm(visit.truth[frame - 1] - visit.truth[0], axis=1)[visit.face] * visit.unit_mm
        assert error_mm.mean() < 0.3
        assert np.percentile(error_mm, 95) < 1.0
        assert frame == 1 or error_mm.mean() < 0.2 * moved_mm.mean()


def test_the_mesh_wears_the_baked_sequence_on_its_own_uv_map(visit):
    assert visit.seen["bake"] == ["FINISHED"]
    (texture,) = visit.seen["textures"]
    assert texture["source"] == "SEQUENCE" and texture["colours"]
    assert texture["size"] == [1024, 1024]
    assert (texture["first_frame"], texture["frames"]) == (1, 2)
    assert texture["uv_map"] in texture["uv_maps"]
    assert visit.outside(texture["path"]).is_file()


def test_the_texture_is_seen_in_the_window(visit):
    """Neither the gray of an untextured mesh nor the plain pink of a missing image."""
    x, y, width, height = visit.seen["view"]
    middle = (x + width // 2 - 100, y + height // 2 - 100, x + width // 2 + 100, y + height // 2 + 100)
    with Image.open(visit.out / visit.seen["baked"]) as picture:
        pixels = np.asarray(picture.convert("RGB").crop(middle), float)
    chroma = pixels - pixels.mean(axis=2, keepdims=True)
    assert chroma.std(axis=(0, 1)).max() > 15


def test_cancel_stops_the_engine_and_keeps_what_is_finished(visit):
    cancelled = visit.seen["cancelled"]
    assert 0 < len(cancelled["solved"]) < FRAMES
    assert cancelled["keys"] == len(cancelled["solved"])
    assert cancelled["take"] != visit.seen["take"]
    assert sorted(path.stem for path in (visit.outside(visit.seen["take"]) / "geometry").iterdir()) == [
        f"{frame:06d}" for frame in range(1, FRAMES + 1)
    ]


def test_track_sequence_goes_on_where_cancel_stopped(visit):
    assert visit.seen["resumed"] == {"solved": list(range(1, FRAMES + 1)), "keys": FRAMES}
