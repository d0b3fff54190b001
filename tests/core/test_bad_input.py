"""Bad input from the command line, item by item: one sentence, exit status 2, and nothing lost.

Every refusal is met twice: by a new take, and by one that goes on and has a frame already. When the input is mended,
`--resume` ends where an undisturbed track ends, to the last bit.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numba
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from synthetic import make_capture

from topo4d_blender.core import cli

ROOT = Path(__file__).parents[2]
MM = 1000.0  # the film is in metres


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """So small a film gains nothing from threads, and on a busy machine they wait for each other."""
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    yield
    numba.set_num_threads(before)


@pytest.fixture(scope="module")
def whole_film(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "film"
    make_capture(folder, frames=3, cameras=4, size=(48, 64), vertices=120)
    return folder


@pytest.fixture
def film(whole_film, tmp_path) -> Path:
    """A copy to be harmed."""
    return shutil.copytree(whole_film, tmp_path / "a film")


@pytest.fixture(scope="module")
def undisturbed(whole_film) -> dict[str, bytes]:
    """Geometry of the film, tracked as it is."""
    done = track(whole_film)
    assert done.exit_code == 0, done.stderr
    return geometry(take_of(whole_film))


def topo4d(*args: object) -> Result:
    return CliRunner().invoke(cli.main, [str(a) for a in args])


def take_of(film: Path) -> Path:
    return film.parent / "take"


def track(film: Path, *more: object, out: Path | None = None) -> Result:
    return topo4d("track", film, "--template", film / "start.obj", "--out", out or take_of(film), *more)


def geometry(take: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((take / "geometry").glob("*.npy"))}


def solved(take: Path, frame: int) -> np.ndarray:
    return np.load(take / "geometry" / f"{frame:06d}.npy")


def refused(done: Result, *words: object) -> None:
    """Exit status 2 and one sentence, the last of stderr, that holds `words`; no results, no traceback."""
    assert (done.exit_code, done.stdout) == (2, ""), done.output
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert errors == done.stderr.splitlines()[-1:] and "Traceback" not in done.stderr, done.stderr
    for word in words:
        assert str(word) in errors[0], errors[0]


def went_on(done: Result, *words: str) -> None:
    """Exit status 0, and a warning that holds `words` if there are any."""
    assert done.exit_code == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == bool(words) and all(word in warnings[0] for word in words), done.stderr


# Refused: what is done to the film, and what the sentence must name


def no_such_folder(film: Path) -> list:
    shutil.rmtree(film / "images")
    (film / "capture.json").unlink()
    film.rename(film.parent / "elsewhere")
    return [film]


def no_calibration(film: Path) -> list:
    (film / "capture.json").unlink()
    return [film, "capture.json"]


def calibration_of_another_format(film: Path) -> list:
    (film / "sparse" / "0").mkdir(parents=True)
    (film / "capture.json").rename(film / "sparse" / "0" / "cameras.bin")
    return [film / "sparse" / "0" / "cameras.bin", "COLMAP", "not read"]


def camera_without_images(film: Path) -> list:
    shutil.rmtree(film / "images" / "cam02")
    return [film / "images" / "cam02", "capture.json", "--without-cameras cam02", "disable"]


def images_without_a_camera(film: Path) -> list:
    shutil.copytree(film / "images" / "cam02", film / "images" / "witness")
    return [film / "images" / "witness", "capture.json", "--without-cameras witness", "add it"]


def first_image_of_another_size(film: Path) -> list:
    return resize(film / "images" / "cam02" / "000001.png")


def image_of_another_size(film: Path) -> list:
    return resize(film / "images" / "cam02" / "000003.png")


def resize(path: Path) -> list:
    Image.open(path).resize((50, 64)).save(path)
    return [path, "50x64", "48x64"]


def truncated_image(film: Path) -> list:
    path = film / "images" / "cam02" / "000003.png"
    path.write_bytes(path.read_bytes()[:-2000])
    return [path, "truncated"]


def empty_image(film: Path) -> list:
    path = film / "images" / "cam02" / "000003.png"
    path.write_bytes(b"")
    return [path, "empty"]


def template_with_nan(film: Path) -> list:
    lines = (film / "start.obj").read_text().split("\n")
    lines[7] = "v 0.1 nan 0.2"
    (film / "start.obj").write_text("\n".join(lines))
    return [film / "start.obj", "vertex 7"]


@pytest.mark.parametrize(
    "harm",
    [
        no_such_folder,
        no_calibration,
        calibration_of_another_format,
        camera_without_images,
        images_without_a_camera,
        first_image_of_another_size,
        image_of_another_size,
        truncated_image,
        empty_image,
        template_with_nan,
    ],
)
def test_refused_with_one_sentence_and_nothing_lost(film, whole_film, undisturbed, harm):
    take = take_of(film)
    went_on(track(film, "--frames", "1"))
    words = harm(film)
    refused(track(film, out=film.parent / "new"), *words)
    refused(track(film, "--resume"), *words)
    kept = geometry(take)
    assert {**undisturbed, **kept} == undisturbed and "000001.npy" in kept
    assert geometry(film.parent / "new").keys() <= {"000001.npy", "000002.npy"}
    shutil.rmtree(film, ignore_errors=True)
    shutil.copytree(whole_film, film)  # mended
    went_on(track(film, "--resume"))
    assert geometry(take) == undisturbed


@pytest.mark.parametrize("harm", [camera_without_images, images_without_a_camera])
def test_refused_by_bake_too(film, whole_film, harm):
    assert track(film).exit_code == 0
    words = harm(film)
    refused(topo4d("bake", take_of(film), "--resolution", 32), *words)
    assert maps(film) == set()
    name = "witness" if harm is images_without_a_camera else "cam02"
    went_on(topo4d("bake", take_of(film), "--resolution", 32, "--without-cameras", name))


def maps(film: Path) -> set[str]:
    return {path.name for path in take_of(film).glob("texture/*")}


@pytest.mark.parametrize("harm", [image_of_another_size, truncated_image, empty_image])
def test_bake_skips_a_frame_with_a_plate_of_no_use_and_resume_bakes_it_when_it_is_mended(film, whole_film, harm):
    assert track(film).exit_code == 0
    words = harm(film)
    went_on(topo4d("bake", take_of(film), "--resolution", 32), str(words[0]), "frame 3 is skipped")
    assert maps(film) == {"000001.png", "000002.png"}
    refused(topo4d("bake", take_of(film), "--resolution", 32, "--resume"), *words)  # nothing else is left to do
    shutil.copytree(whole_film / "images", film / "images", dirs_exist_ok=True)  # mended
    went_on(topo4d("bake", take_of(film), "--resolution", 32, "--resume"))
    assert maps(film) == {"000001.png", "000002.png", "000003.png"}


def test_maps_that_are_there_are_not_lost_to_another_bake(film):
    assert track(film).exit_code == 0
    take = take_of(film)
    went_on(topo4d("bake", take, "--resolution", 32, "--frames", "1-3:2"))
    before = {path: path.read_bytes() for path in take.rglob("*.png")}
    assert maps(film) == {"000001.png", "000003.png"}
    refused(topo4d("bake", take, "--resolution", 32), take, "frame 1, 3", "--resume", "--overwrite")
    for other in (["--resolution", 64], ["--format", "jpeg"], ["--without-cameras", "cam02"]):
        refused(topo4d("bake", take, "--resolution", 32, *other, "--resume"), take, "--overwrite")
    refused(topo4d("bake", take, "--resolution", 64, "--frames", "1", "--overwrite"), take, "frame 3")
    refused(topo4d("bake", take, "--resolution", 32, "--base-texture", film / "skin.png", "--resume"), "skin.png")
    refused(topo4d("bake", take, "--format", "webp"), "webp", "exr")
    refused(topo4d("bake", take, "--frames", "1-3:0"), "1-3:0", "1-100:5")
    assert {path: path.read_bytes() for path in take.rglob("*.png")} == before


def test_a_take_tracked_on_another_template_is_not_baked(film):
    assert track(film, "--frames", "1").exit_code == 0
    with np.load(take_of(film) / "template.npz") as file:
        arrays = dict(file)
    np.savez(take_of(film) / "template.npz", **{**arrays, "vertices": arrays["vertices"] + 1})
    refused(topo4d("bake", take_of(film), "--resolution", 32), take_of(film) / "template.npz", "not the template")
    assert maps(film) == set()
    # All of another take but the frames: nothing of them fits.
    make_capture(film.parent / "other", frames=1, cameras=4, size=(48, 64), vertices=150)
    assert track(film.parent / "other", "--frames", "1", out=film.parent / "t2").exit_code == 0
    for name in ("take.json", "template.npz"):
        shutil.copy(film.parent / "t2" / name, take_of(film) / name)
    refused(topo4d("bake", take_of(film), "--resolution", 32), "000001.npy", "tracked on another template", "--resume")
    assert maps(film) == set()


def test_the_ways_out_that_the_sentence_names(film, undisturbed):
    images_without_a_camera(film)
    went_on(track(film, "--without-cameras", "witness"))
    assert geometry(take_of(film)) == undisturbed
    assert json.loads((take_of(film) / "take.json").read_text())["cameras"] == ["cam00", "cam01", "cam02", "cam03"]
    camera_without_images(film)
    out = film.parent / "three"
    went_on(track(film, "--cameras", "cam0*,-cam02", "--without-cameras", "witness", out=out))
    assert json.loads((out / "take.json").read_text())["cameras"] == ["cam00", "cam01", "cam03"]
    assert all(set(line["residual_px"]) <= {"cam00", "cam01", "cam03"} for line in metrics(out))
    went_on(topo4d("bake", out, "--resolution", 32))  # with the cameras that were tracked with
    refused(track(film, "--cameras", "cam00,cam01", "--resume", out=out), out, "cameras")
    refused(track(film, "--cameras", "left"), "'left'", "cam00")


def metrics(take: Path) -> list[dict]:
    return [json.loads(line) for line in (take / "metrics.jsonl").read_text().splitlines()]


def test_a_template_nowhere_in_view_is_refused_with_a_picture(film):
    lines = (film / "start.obj").read_text().split("\n")
    moved = [f"v {float(x) + 50:.9g} {y} {z}" for x, y, z in (ln.split()[1:] for ln in lines if ln.startswith("v "))]
    (film / "start.obj").write_text("\n".join(moved + lines[len(moved) :]))
    picture = take_of(film) / "not_in_view.png"
    refused(track(film), picture, film / "capture.json", "template")
    with Image.open(picture) as shown:
        assert np.ptp(np.asarray(shown.convert("L"))) > 100
    assert geometry(take_of(film)) == {}


def test_an_out_folder_with_another_take_is_refused(film):
    take = take_of(film)
    went_on(track(film, "--frames", "1-2"))
    before = geometry(take), (take / "take.json").read_bytes()
    refused(track(film, "--frames", "1-2"), take, "--resume", "another folder")
    refused(track(film), take, "another", "--resume")
    for options in (["--frames", "2-3"], ["--frames", "1"], ["--unit-mm", "10"], ["--cameras", "cam00,cam01"]):
        refused(track(film, "--resume", *options), take, "another take", "another folder")
    assert (geometry(take), (take / "take.json").read_bytes()) == before


def test_a_take_goes_on_with_more_frames_than_were_asked_for_at_first(film, undisturbed):
    went_on(track(film, "--frames", "1-2"))
    went_on(track(film, "--resume"))
    assert geometry(take_of(film)) == undisturbed
    assert json.loads((take_of(film) / "take.json").read_text())["frames"] == [1, 2, 3]


# Met with a warning, or read


def test_a_frame_missing_in_one_camera_is_gone_on_without(film, undisturbed):
    (film / "images" / "cam02" / "000002.png").unlink()
    went_on(track(film), "cam02", "frame 2")
    got = geometry(take_of(film))
    assert got.keys() == undisturbed.keys() and got["000001.npy"] == undisturbed["000001.npy"]
    assert "cam02" not in metrics(take_of(film))[1]["residual_px"]
    went_on(topo4d("bake", take_of(film), "--resolution", 32), "cam02", "frame 2")


def rgba(path: Path) -> None:
    with Image.open(path) as picture:
        picture.putalpha(128)
        picture.save(path)


def sixteen_bit(path: Path) -> None:
    cv2.imwrite(str(path), cv2.imread(str(path)).astype(np.uint16) * 257)


def gray(path: Path) -> None:
    with Image.open(path) as picture:
        picture.convert("L").save(path)


def sixteen_bit_gray(path: Path) -> None:
    cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).astype(np.uint16) * 257)


@pytest.mark.parametrize(
    ("change", "mm"), [(rgba, 0.0), (sixteen_bit, 0.01), (gray, 1.0), (sixteen_bit_gray, 1.0)], ids=lambda v: str(v)
)
def test_rgba_16_bit_and_gray_are_read(film, whole_film, undisturbed, change, mm):
    for path in film.glob("images/*/*.png"):
        change(path)
    went_on(track(film))
    face = np.load(film / "truth.npz")["face_mask"]
    for frame in (1, 2, 3):
        apart = np.linalg.norm(solved(take_of(film), frame) - solved(take_of(whole_film), frame), axis=1) * MM
        assert apart[face].mean() <= mm, "as far from the RGB run's"
    went_on(topo4d("bake", take_of(film), "--resolution", 32))


def edit_faces(film: Path, edit) -> None:
    """Give the template other faces: lists of "vertex/uv"."""
    lines = (film / "start.obj").read_text().splitlines()
    rest = [line for line in lines if not line.startswith("f ")]
    faces = [line.split()[1:] for line in lines if line.startswith("f ")]
    extra, faces = edit(faces)
    (film / "start.obj").write_text("\n".join([*rest, *extra, *("f " + " ".join(face) for face in faces)]) + "\n")


def test_a_template_without_uv_is_tracked_and_not_baked(film, undisturbed):
    edit_faces(film, lambda faces: ([], [[corner.split("/")[0] for corner in face] for face in faces]))
    went_on(track(film), "no UV map")
    assert geometry(take_of(film)) == undisturbed
    refused(topo4d("bake", take_of(film)), "UV")
    assert not (take_of(film) / "texture").exists() and geometry(take_of(film)) == undisturbed


def test_loose_vertices_are_said_and_the_rest_is_tracked(film):
    count = len(np.load(film / "truth.npz")["face_mask"])
    edit_faces(film, lambda faces: (["v 0.3 0.2 0.1"], faces))
    went_on(track(film), "start.obj", f"vertex {count} belongs to no face")
    assert solved(take_of(film), 3).shape == (count + 1, 3) and np.isfinite(solved(take_of(film), 3)).all()
    close_to_truth(film)


def test_n_gons_are_said_and_tracked(film):
    def join(faces: list) -> tuple[list, list]:
        """The first two quads of a row become a face of six corners."""
        a, b = faces[16], faces[17]
        return [], [*faces[:16], [a[0], a[1], b[1], b[2], b[3], a[3]], *faces[18:]]

    edit_faces(film, join)
    went_on(track(film), "start.obj", "face 16 has more than four corners")
    close_to_truth(film)


def test_non_manifold_edges_are_said_and_tracked(film):
    edit_faces(film, lambda faces: ([], [*faces, [faces[30][0], faces[30][1], faces[80][2]]]))
    went_on(track(film), "start.obj", "non-manifold")
    assert len(geometry(take_of(film))) == 3 and all(np.isfinite(solved(take_of(film), f)).all() for f in (1, 2, 3))


def close_to_truth(film: Path) -> None:
    truth = np.load(film / "truth.npz")
    face = np.flatnonzero(truth["face_mask"])
    apart = np.linalg.norm(solved(take_of(film), 3)[face] - truth["vertices"][2][face], axis=1) * MM
    assert apart.mean() < 1.0, "the film moves by up to 6 mm, a pixel is 4.8 mm"


# The disk


def test_a_place_below_a_file_cannot_be_written(film):
    refused(track(film, out=film / "start.obj" / "take"), film / "start.obj", "cannot be written")


# Runs in a mount namespace of its own, so that it may mount and nothing of it is left. Prints a JSON list of
# [what, exit status, stderr, whether the frames and maps that were there are still the same].
SMALL_DISK = """
import json, shutil, subprocess, sys
from pathlib import Path
root, film, disk = sys.argv[1:]
sys.path[:0] = [root, root + "/tests/core"]
from test_bad_input import geometry, topo4d

def sh(*command):
    subprocess.run(command, check=True, capture_output=True)

def everything():
    return {p: p.read_bytes() for p in Path(disk).rglob("*") if p.suffix in (".npy", ".npz", ".png", ".json")}

def attempt(what, *command):
    before = everything()
    done = topo4d(*command)
    after = everything()
    told.append([what, done.exit_code, done.stderr, all(after.get(p) == c for p, c in before.items())])

told = []
sh("mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", disk)
take = disk + "/take"
track = ["track", film, "--template", film + "/start.obj", "--out"]
bake = ["bake", take, "--resolution", 32, "--resume"]
attempt("tracked", *track, take)
attempt("baked", *bake)
for name in ("geometry/000003.npy", "texture/000003.png"):
    Path(take, name).unlink()
try:
    Path(disk, "ballast").write_bytes(bytes(2**20))
except OSError:
    pass
attempt("full disk, a new take", *track, disk + "/new")
attempt("full disk, track", *track, take, "--resume")
Path(disk, "ballast").unlink()
attempt("room again", *track, take, "--resume")
try:
    Path(disk, "ballast").write_bytes(bytes(2**20))
except OSError:
    pass
attempt("full disk, bake", *bake)
Path(disk, "ballast").unlink()
Path(take, "geometry/000003.npy").unlink()
sh("mount", "-o", "remount,ro", disk)
attempt("read-only, a new take", *track, disk + "/new")
attempt("read-only, track", *track, take, "--resume")
sh("mount", "-o", "remount,rw", disk)
attempt("writable again", *track, take, "--resume")
attempt("baked again", *bake)
print(json.dumps([told, sorted(str(p.relative_to(disk)) for p in Path(disk).rglob("*.tmp"))]))
"""


@pytest.fixture(scope="module")
def small_disk(whole_film, tmp_path_factory) -> dict[str, list]:
    """What happened on a disk that fills and closes."""
    disk = tmp_path_factory.mktemp("disk")
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("no unshare here, so no small disk can be mounted")
    probe = [unshare, "-rm", "mount", "-t", "tmpfs", "tmpfs", str(disk)]
    may = subprocess.run(probe, capture_output=True, text=True)
    if may.returncode:
        pytest.skip(f"no small disk can be mounted here: {may.stderr.strip()}")
    command = [unshare, "-rm", sys.executable, "-c", SMALL_DISK, str(ROOT), str(whole_film), str(disk)]
    environment = {**os.environ, "NUMBA_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told, left_over = json.loads(done.stdout)
    assert left_over == []
    return {what: [status, errors, kept] for what, status, errors, kept in told}


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("full disk, a new take", ["disk is full", "/new/"]),
        ("full disk, track", ["disk is full", "000003.npy"]),
        ("full disk, bake", ["maps of 1 frame(s)", "need about", "0 kB free"]),
        ("read-only, a new take", ["cannot be written", "Read-only", "/new"]),
        ("read-only, track", ["cannot be written", "Read-only", "000003.npy"]),
    ],
)
def test_a_disk_that_is_full_or_not_writable_is_refused_and_nothing_is_lost(small_disk, what, words):
    status, errors, kept = small_disk[what]
    lines = errors.splitlines()
    assert status == 2 and kept and "Traceback" not in errors
    assert [line.startswith("error: ") for line in lines].count(True) == 1 and lines[-1].startswith("error: ")
    assert all(word in lines[-1] for word in words), errors


@pytest.mark.parametrize("what", ["tracked", "baked", "room again", "writable again", "baked again"])
def test_the_disk_takes_what_fits(small_disk, what):
    status, errors, kept = small_disk[what]
    assert status == 0 and kept, errors
