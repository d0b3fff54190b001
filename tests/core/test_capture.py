"""Captures: capture.json, where the images lie, which frames are chosen, and every way in which that goes wrong."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from topo4d_blender.core.capture import Camera, describe, open_capture, write_capture_json
from topo4d_blender.core.capture import calibration as calibration_module
from topo4d_blender.core.capture.choice import choose_cameras
from topo4d_blender.core.errors import RequestError

SCHEMA = "capture.schema.json"


def camera(name: str, width: int = 40, height: int = 30) -> Camera:
    pose = np.eye(4)
    pose[:3, 3] = (0.01, -0.02, 1.0)
    return Camera(name, width, height, 50.0, 51.0, 21.0, 14.0, pose, (-0.1, 0.02, 0.001, -0.002, 0.003))


def picture(path: Path, size: tuple[int, int] = (40, 30)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (10, 20, 30)).save(path)


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """Two cameras, frames 8 to 11, images/{camera}/{frame}.png."""
    write_capture_json(tmp_path / "capture.json", [camera("left"), camera("right")], 1000.0)
    for name in ("left", "right"):
        for frame in range(8, 12):
            picture(tmp_path / "images" / name / f"{frame:06d}.png")
    return tmp_path


def edit(folder: Path, **changes: object) -> None:
    path = folder / "capture.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def refused(path: Path, *words: str, **options: object) -> None:
    with pytest.raises(RequestError) as error:
        open_capture(path, **options)
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_reads_back_what_was_written(capture):
    read = open_capture(capture)
    assert read.source == capture / "capture.json"
    assert read.frames == (8, 9, 10, 11) and read.unit_mm == 1000.0 and read.warnings == ()
    assert read.images[9]["right"] == capture / "images/right/000009.png"
    for got, wanted in zip(read.cameras, (camera("left"), camera("right")), strict=True):
        assert describe_one(got) == describe_one(wanted)


def describe_one(c: Camera) -> tuple:
    pose = tuple(np.round(c.world_to_camera, 12).ravel())
    return (c.name, c.width, c.height, c.fx, c.fy, c.cx, c.cy, c.distortion, pose)


def test_file_and_folder_are_the_same(capture):
    assert open_capture(capture / "capture.json").images == open_capture(capture).images


def test_one_of_ours_under_another_name(capture):
    (capture / "capture.json").rename(capture / "rig.json")
    assert open_capture(capture / "rig.json").frames == (8, 9, 10, 11)


def test_describe_is_plain_json(capture):
    told = json.loads(json.dumps(describe(open_capture(capture))))
    assert set(told) == {"source", "unit_mm", "frames", "warnings", "cameras", "images"}
    assert told["images"]["10"]["left"] == str(capture / "images/left/000010.png")
    assert told["cameras"][0]["distortion"] == [-0.1, 0.02, 0.001, -0.002, 0.003]
    assert np.shape(told["cameras"][1]["world_to_camera"]) == (4, 4)


def test_schema_in_docs_is_the_one_in_use():
    root = Path(calibration_module.__file__).parent
    assert (root / SCHEMA).read_bytes() == (root.parents[2] / "docs" / SCHEMA).read_bytes()


def test_example_in_docs_is_valid(tmp_path):
    docs = Path(calibration_module.__file__).parents[3] / "docs" / "formats.md"
    example = docs.read_text(encoding="utf-8").split("```json")[1].split("```")[0]
    (tmp_path / "capture.json").write_text(example)
    picture(tmp_path / "images/cam00/1.png", (375, 512))
    read = open_capture(tmp_path).cameras[0]
    assert (read.width, read.height, read.cx, read.cy) == (375, 512, 187.5, 256.0)


@pytest.mark.parametrize(
    "layout",
    ["images/{c}/{f:06d}.png", "{f:06d}/{c}.jpg", "images/{f}/{c}.tif", "{c}/{f:04d}.jpeg"],
)
def test_common_layouts_are_found(tmp_path, layout):
    write_capture_json(tmp_path / "capture.json", [camera("a[1]"), camera("b")], 1000.0)
    for name in ("a[1]", "b"):
        for frame in (1, 20):
            picture(tmp_path / layout.format(c=name, f=frame))
    read = open_capture(tmp_path)
    assert read.frames == (1, 20) and set(read.images[20]) == {"a[1]", "b"} and read.warnings == ()


def test_cameras_called_by_numbers_are_not_frames(tmp_path):
    write_capture_json(tmp_path / "capture.json", [camera("1"), camera("2")], 1000.0)
    for frame in ("3", "4", "5", "1"):
        for name in ("1", "2"):
            picture(tmp_path / frame / f"{name}.png")
    read = open_capture(tmp_path)
    assert read.frames == (1, 3, 4, 5)
    assert read.images[3]["2"] == tmp_path / "3/2.png"


def test_pattern_of_the_capture(tmp_path):
    write_capture_json(
        tmp_path / "capture.json", [camera("A"), camera("B")], 1.0, "plates/{camera}/{camera}_f{frame}.png"
    )
    for name in ("A", "B"):
        picture(tmp_path / f"plates/{name}/{name}_f0012.png")
    picture(tmp_path / "images/A/000099.png")  # the capture says where: nothing else is looked for
    assert open_capture(tmp_path).frames == (12,)


def test_pattern_without_camera_serves_one_camera_only(tmp_path):
    write_capture_json(tmp_path / "capture.json", [camera("A")], 1.0, "shot.{frame}.png")
    picture(tmp_path / "shot.0003.png")
    assert open_capture(tmp_path).images == {3: {"A": tmp_path / "shot.0003.png"}}
    write_capture_json(tmp_path / "capture.json", [camera("A"), camera("B")], 1.0, "shot.{frame}.png")
    refused(tmp_path, str(tmp_path / "capture.json"), "{camera}")


def test_masks_are_found(capture):
    picture(capture / "masks/left/000009.png")
    read = open_capture(capture)
    assert read.masks == {9: {"left": capture / "masks/left/000009.png"}}


def test_png_before_jpg_of_the_same_plate(capture):
    picture(capture / "images/left/000008.jpg")
    assert open_capture(capture).images[8]["left"].suffix == ".png"


def test_images_at_a_fraction_of_the_calibrated_size(capture):
    for path in (capture / "images/left").iterdir():
        picture(path, (20, 15))
    read = open_capture(capture).cameras[0]
    assert (read.width, read.fx, read.cx, read.cy) == (20, 25.0, 10.5, 7.0)


def test_unit_can_be_told(capture):
    assert open_capture(capture, unit_mm=10).unit_mm == 10.0
    refused(capture, "-1", unit_mm=-1)


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        ("8-9", (8, 9)),
        ("11,8", (8, 11)),
        (" 9 - 10 , 8", (8, 9, 10)),
        ("10", (10,)),
        ("9-9", (9,)),
        ("11-9", (9, 10, 11)),
    ],
)
def test_frames_are_chosen(capture, text, frames):
    read = open_capture(capture, text)
    assert read.frames == frames and set(read.images) == set(frames) and read.warnings == ()


def test_range_beyond_the_capture_is_cut_and_said(capture):
    read = open_capture(capture, "10-120")
    assert read.frames == (10, 11)
    assert "10-11" in read.warnings[0] and "10-120" in read.warnings[0]


@pytest.mark.parametrize("text", ["", "1-", "a", "1;2", "-3", "8-9-10", "1-3", "9,40"])
def test_frames_that_are_none(capture, text):
    refused(capture, "frame", frames=text)


# Bad input


def test_no_such_folder(tmp_path):
    refused(tmp_path / "nowhere", str(tmp_path / "nowhere"))


def test_no_calibration(tmp_path):
    refused(tmp_path, str(tmp_path), "capture.json")


@pytest.mark.parametrize(
    ("name", "format_name"),
    [
        ("cameras.bin", "COLMAP"),
        ("sparse/0/cameras.txt", "COLMAP"),
        ("transforms_train.json", "transforms.json"),
        ("poses_bounds.npy", "LLFF"),
        ("intri.yml", "EasyMocap"),
        ("image_0001.xmp", "RealityCapture"),
        ("KRT", "Multiface"),
    ],
)
def test_calibration_of_a_format_not_read(tmp_path, name, format_name):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    refused(tmp_path, str(path), format_name, "not read yet")
    refused(path, str(path), format_name, "not read yet")


def test_a_file_that_is_no_calibration(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("hello")
    refused(path, str(path), "not a calibration")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"unit_mm": 0}, ["unit_mm"]),
        ({"unit_mm": "1000"}, ["unit_mm"]),
        ({"unit_mm": float("nan")}, ["NaN"]),
        ({"cameras": []}, ["cameras"]),
        ({"version": 2}, ["version 2", "update"]),
        ({"images": "images/{camera}.png"}, ["images"]),
        ({"unit": 3}, ["unit"]),
        ({"format": "other"}, ["format"]),
    ],
)
def test_capture_json_that_breaks_the_schema(capture, change, words):
    edit(capture, **change)
    refused(capture, str(capture / "capture.json"), *words)


@pytest.mark.parametrize(
    ("key", "value"),
    [("fx", -1), ("width", 0), ("distortion", [0, 0, 0, 0]), ("world_to_camera", [[1, 0, 0, 0]]), ("name", "a/b")],
)
def test_camera_that_breaks_the_schema(capture, key, value):
    cameras = json.loads((capture / "capture.json").read_text())["cameras"]
    cameras[1][key] = value
    edit(capture, cameras=cameras)
    refused(capture, str(capture / "capture.json"), f"cameras[1].{key}")


@pytest.mark.parametrize("scale", [2.0, -1.0])
def test_pose_that_is_not_rigid(capture, scale):
    cameras = json.loads((capture / "capture.json").read_text())["cameras"]
    cameras[1]["world_to_camera"] = np.diag([scale, scale, scale, 1.0]).tolist()
    edit(capture, cameras=cameras)
    refused(capture, str(capture / "capture.json"), "right", "rotation")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"unit_mm": NaN}'])
def test_capture_json_that_is_no_json_of_ours(capture, text):
    (capture / "capture.json").write_text(text)
    refused(capture, str(capture / "capture.json"))


def test_lens_value_that_is_nan(capture):
    path = capture / "capture.json"
    path.write_text(path.read_text().replace('"fx": 50.0', '"fx": NaN', 1))
    refused(capture, str(path), "NaN")
    path.write_text(path.read_text().replace('"fx": NaN', '"fx": 1e999', 1))
    refused(capture, str(path), "left")


def test_two_cameras_of_one_name(capture):
    write_capture_json(capture / "capture.json", [camera("left"), camera("left")], 1000.0)
    refused(capture, str(capture / "capture.json"), "two cameras called left")


def test_no_images(capture):
    for path in capture.rglob("*.png"):
        path.unlink()
    refused(capture, str(capture), "no images", "images/{camera}/{frame}")


def test_no_image_of_any_camera(capture):
    write_capture_json(capture / "capture.json", [camera("c1"), camera("c2")], 1000.0)
    refused(capture, "c1", "left", "capture.json")


def test_a_camera_without_images_is_refused_with_both_ways_out(capture):
    write_capture_json(capture / "capture.json", [camera(n) for n in ("left", "right", "top", "up")], 1000.0)
    refused(capture, str(capture / "images/top/"), "top", "up", "--without-cameras top,up", "disable")
    assert [c.name for c in open_capture(capture, cameras=["-top", "-up"]).cameras] == ["left", "right"]
    document = json.loads((capture / "capture.json").read_text())
    for entry in document["cameras"][2:]:
        entry["enabled"] = False
    edit(capture, cameras=document["cameras"])
    read = open_capture(capture)
    assert [c.name for c in read.cameras] == ["left", "right"] and read.warnings == () and read.choice is None


def test_images_without_a_camera_are_refused_with_both_ways_out(capture):
    picture(capture / "images/witness/000008.png")
    refused(capture, str(capture / "images/witness/000008.png"), "--without-cameras witness", "add it")
    read = open_capture(capture, cameras=["-witness"])
    assert set(read.images[8]) == {"left", "right"} and read.warnings == ()
    assert read.choice == ("left", "right"), "a take remembers that the witness was left out"
    cameras = json.loads((capture / "capture.json").read_text())["cameras"]
    edit(capture, cameras=[*cameras, {**cameras[0], "name": "witness", "enabled": False}])
    assert set(open_capture(capture).images[8]) == {"left", "right"}


def test_a_camera_without_images_in_the_chosen_frames_alone_is_said(capture):
    (capture / "images/right/000008.png").unlink()
    read = open_capture(capture, "8")
    assert [c.name for c in read.cameras] == ["left"] and "right" in read.warnings[0]


@pytest.mark.parametrize(
    ("parts", "names"),
    [
        (["left"], ["left"]),
        (["r*", "left"], ["left", "right"]),
        (["-left"], ["right"]),
        (["*", "-r?ght"], ["left"]),
        (["[!l]*"], ["right"]),
    ],
)
def test_cameras_are_chosen(capture, parts, names):
    read = open_capture(capture, cameras=parts)
    assert [c.name for c in read.cameras] == names and read.choice == (None if len(names) == 2 else tuple(names))
    assert all(list(plates) == names for plates in read.images.values())


def test_cameras_that_are_not_chosen_are_not_looked_at(capture):
    write_capture_json(capture / "capture.json", [camera(n) for n in ("left", "right", "top")], 1000.0)
    picture(capture / "images/witness/000008.png")
    picture(capture / "images/right/000008.png", (30, 40))  # of no use
    (capture / "images/right/000009.png").unlink()
    picture(capture / "images/right/000012.png")  # a frame that left has not
    read = open_capture(capture, cameras=["left"])
    assert [c.name for c in read.cameras] == ["left"] and read.frames == (8, 9, 10, 11) and read.warnings == ()


def test_a_choice_of_cameras_that_is_none(capture):
    picture(capture / "images/witness/000008.png")
    source = str(capture / "capture.json")
    refused(capture, "'up'", source, "left, right", cameras=["left", "up"])
    refused(capture, "'side*'", source, cameras=["-side*"])
    refused(capture, source, "at least one", cameras=["-*"])
    refused(capture, "witness", "does not name", cameras=["witness"])
    cameras = json.loads((capture / "capture.json").read_text())["cameras"]
    edit(capture, cameras=[{**c, "enabled": c["name"] == "left"} for c in cameras])
    refused(capture, "right", "disabled", source, cameras=["right"])
    edit(capture, cameras=[{**c, "enabled": False} for c in cameras])
    refused(capture, source, "no camera that is enabled")


def test_names_are_themselves_before_they_are_patterns():
    names = ("a[1]", "a1", "-b", "b")
    assert choose_cameras(["a[1]"], names, "x") == ("a[1]",)
    assert choose_cameras(["-a[1]"], names, "x") == ("a1", "-b", "b")
    assert choose_cameras(["-b"], names, "x") == ("-b",)
    assert choose_cameras(["b"], names, "x") == ("b",)


def test_frame_missing_in_one_camera_is_said(capture):
    for frame in (9, 10):
        (capture / f"images/right/{frame:06d}.png").unlink()
    read = open_capture(capture)
    assert read.frames == (8, 9, 10, 11) and set(read.images[9]) == {"left"}
    assert len(read.warnings) == 1 and "right" in read.warnings[0] and "9-10" in read.warnings[0]
    assert open_capture(capture, "11").warnings == ()  # only what was asked for is said


def test_image_of_another_shape_than_the_calibration(capture):
    for path in (capture / "images/right").iterdir():
        picture(path, (30, 40))
    refused(capture, str(capture / "images/right/000008.png"), "right", "30x40", "40x30")


def test_first_image_empty(capture):
    path = capture / "images/left/000008.png"
    path.write_bytes(b"")
    refused(capture, str(path), "empty")


def test_a_frame_that_no_camera_has_is_said(tmp_path):
    from synthetic import make_capture

    capture = make_capture(tmp_path / "c", frames=4, cameras=3, size=(48, 64), vertices=200).parent
    for plate in capture.rglob("*000002.png"):
        plate.unlink()
    opened = open_capture(capture)
    assert opened.frames == (1, 3, 4)
    assert any("frame 2" in sentence for sentence in opened.warnings)
    assert not any("frame 2" in sentence for sentence in open_capture(capture, "3-4").warnings)
