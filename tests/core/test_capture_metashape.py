"""Metashape's cameras.xml: conventions against hand-computed values, and the traps of real exports."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from topo4d_blender.core.capture import open_capture
from topo4d_blender.core.capture.calibration import read_calibration
from topo4d_blender.core.errors import RequestError

TURN_Z = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])  # 90 degrees about z
TURN_X = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])  # 90 degrees about x


def pose(rotation: np.ndarray, centre: tuple[float, float, float]) -> str:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, centre
    return f"<transform>{' '.join(map(str, matrix.ravel()))}</transform>"


def transform(scale: float, rotation: np.ndarray, translation: tuple[float, float, float]) -> str:
    return (
        f"<transform><rotation locked='true'>{' '.join(map(str, rotation.ravel()))}</rotation>"
        f"<translation>{' '.join(map(str, translation))}</translation><scale>{scale}</scale></transform>"
    )


LENS = "<f>5000</f><cx>-12</cx><cy>7</cy><k1>-0.1</k1><k2>0.2</k2><k3>0.3</k3><p1>0.001</p1><p2>0.002</p2>"
SIZE = "<resolution width='3000' height='4000'/>"


def adjusted(lens: str = LENS, kind: str = "adjusted") -> str:
    return f"<calibration type='frame' class='{kind}'>{SIZE}{lens}</calibration>"


@dataclass
class Export:
    """The parts of a camera export, to be put together by `write`."""

    cameras: str = f"<camera id='0' sensor_id='0' component_id='0' label='A'>{pose(TURN_X, (1, 2, 3))}</camera>"
    sensor: str = field(default_factory=adjusted)
    component: str = transform(2.0, TURN_Z, (10, 20, 30))
    chunk: str = ""
    sensor_type: str = "frame"

    def write(self, folder: Path) -> Path:
        path = folder / "cameras.xml"
        path.write_text(
            f"<?xml version='1.0' encoding='UTF-8'?><document version='2.0.0'><chunk label='Chunk 1'><sensors>"
            f"<sensor id='0' type='{self.sensor_type}'>{SIZE}{self.sensor}</sensor></sensors>"
            f"<components><component id='0'>{self.component}</component></components>"
            f"<cameras>{self.cameras}</cameras>{self.chunk}</chunk></document>"
        )
        return path


def read(folder: Path, **parts: str):
    return read_calibration(Export(**parts).write(folder))


def refused(folder: Path, *words: str, **parts: str) -> None:
    with pytest.raises(RequestError) as error:
        read(folder, **parts)
    for word in (str(folder / "cameras.xml"), *words):
        assert word in str(error.value)


def test_pose_by_hand(tmp_path):
    """World = 2 Rz c + (10, 20, 30): the centre (1, 2, 3) goes to 2 (-2, 1, 3) + t; axes turn by Rz Rx, unscaled."""
    camera = read(tmp_path).cameras[0]
    assert np.allclose(camera.centre, (6, 22, 36))
    assert np.allclose(camera.rotation, (TURN_Z @ TURN_X).T)
    # The camera looks along its z axis, which Rx turns to -y and Rz then to +x: a point there is straight ahead.
    pixel, depth = camera.project(np.array([[6 + 5, 22, 36]]))
    assert np.allclose(depth, 5) and np.allclose(pixel, (1500 - 12, 2000 + 7))


def test_lens_by_hand(tmp_path):
    """Metashape's own formulas (manual, appendix on camera models) at one point."""
    calibration = read(
        tmp_path, component="", cameras=f"<camera id='0' sensor_id='0' label='A'>{pose(np.eye(3), (0, 0, 0))}</camera>"
    )
    camera = calibration.cameras[0]
    assert camera.distortion == (-0.1, 0.2, 0.002, 0.001, 0.3)
    x, y = 0.21, -0.33
    r2 = x * x + y * y
    radial = 1 - 0.1 * r2 + 0.2 * r2**2 + 0.3 * r2**3
    xd = x * radial + 0.001 * (r2 + 2 * x * x) + 2 * 0.002 * x * y
    yd = y * radial + 0.002 * (r2 + 2 * y * y) + 2 * 0.001 * x * y
    wanted = (3000 * 0.5 - 12 + 5000 * xd, 4000 * 0.5 + 7 + 5000 * yd)
    assert np.allclose(camera.project(np.array([[x, y, 1.0]]))[0], wanted)


def test_without_transform_the_world_is_the_chunk_and_the_unit_a_guess(tmp_path):
    calibration = read(tmp_path, component="")
    assert np.allclose(calibration.cameras[0].centre, (1, 2, 3))
    assert calibration.unit_mm == 1000.0 and "scale is not known" in calibration.warnings[0]
    told = read_calibration(tmp_path / "cameras.xml", unit_mm=10.0)
    assert told.unit_mm == 10.0


def test_transform_of_the_chunk_serves_where_the_component_has_none(tmp_path):
    by_parts = read(tmp_path, component="", chunk=transform(2.0, TURN_Z, (10, 20, 30)))
    assert np.allclose(by_parts.cameras[0].centre, (6, 22, 36)) and by_parts.warnings == ()
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = 2 * TURN_Z, (10, 20, 30)
    whole = read(tmp_path, component="", chunk=f"<transform>{' '.join(map(str, matrix.ravel()))}</transform>")
    assert np.allclose(whole.cameras[0].world_to_camera, by_parts.cameras[0].world_to_camera)


def test_adjusted_calibration_is_preferred(tmp_path):
    both = adjusted("<f>1</f>", "initial") + adjusted("<f>4321</f>")
    assert read(tmp_path, sensor=both).cameras[0].fy == 4321
    assert read(tmp_path, sensor=adjusted("<f>1234</f>", "initial")).cameras[0].fy == 1234


def test_b1_widens_fx(tmp_path):
    camera = read(tmp_path, sensor=adjusted("<f>5000</f><b1>3</b1>")).cameras[0]
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (5003, 5000, 1500, 2000)


def test_cameras_in_groups_not_aligned_or_off(tmp_path):
    def one(number: int, extra: str = "", inside: str = pose(np.eye(3), (0, 0, 0))) -> str:
        return f"<camera id='{number}' sensor_id='0' component_id='0' label='c{number}.JPG' {extra}>{inside}</camera>"

    cameras = (
        one(0)
        + f"<group id='0' label='Group 1'>{one(1)}<group id='1'>{one(2)}</group></group>"
        + one(3, inside="")
        + one(4, "enabled='false'")
    )
    calibration = read(tmp_path, cameras=cameras)
    assert [c.name for c in calibration.cameras] == ["c0", "c1", "c2"]
    assert any("c3" in w and "not aligned" in w for w in calibration.warnings)
    assert any("c4" in w and "not enabled" in w for w in calibration.warnings)


def test_components_aligned_apart(tmp_path):
    cameras = "".join(
        f"<camera id='{i}' sensor_id='0' component_id='{c}' label='c{i}'>{pose(np.eye(3), (0, 0, 0))}</camera>"
        for i, c in enumerate("011")
    )
    calibration = read(tmp_path, component="", cameras=cameras)
    assert [c.name for c in calibration.cameras] == ["c1", "c2"]
    assert any("aligned apart" in w and "c0" in w for w in calibration.warnings)


def test_images_at_an_exact_fraction(tmp_path):
    Export().write(tmp_path)
    (tmp_path / "000007").mkdir()
    Image.new("RGB", (375, 500)).save(tmp_path / "000007" / "A.jpg")
    capture = open_capture(tmp_path)
    camera = capture.cameras[0]
    assert capture.frames == (7,) and capture.unit_mm == 1000.0
    assert (camera.width, camera.height, camera.fx, camera.cx, camera.cy) == (375, 500, 625, 186, 250.875)


# Bad input


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"cameras": "<camera id='0' sensor_id='0' label='A'/>"}, ["no aligned camera"]),
        ({"sensor": ""}, ["A", "no lens calibration"]),
        ({"sensor": adjusted("<fx>5000</fx><fy>5000</fy>")}, ["A", "<f>"]),
        ({"sensor": adjusted("<f>0</f>")}, ["A", "focal length"]),
        ({"sensor": adjusted("<f>nan</f>")}, ["A", "nan"]),
        ({"sensor": adjusted(LENS + "<k4>0.5</k4>")}, ["A", "k4", "px"]),
        ({"sensor": adjusted(LENS + "<b2>4</b2>")}, ["A", "b2", "px"]),
        ({"sensor_type": "fisheye"}, ["A", "fisheye"]),
        ({"component": transform(0.0, TURN_Z, (0, 0, 0))}, ["scale"]),
        ({"component": transform(1.0, np.diag([1.0, 1.0, -1.0]), (0, 0, 0))}, ["mirrored"]),
        ({"cameras": "<camera id='0' sensor_id='0' label='A'><transform>1 2 3</transform></camera>"}, ["A", "1 2 3"]),
    ],
)
def test_refused_with_a_sentence(tmp_path, parts, words):
    refused(tmp_path, *words, **parts)


def test_small_lens_terms_are_dropped_and_said(tmp_path):
    warnings = read(tmp_path, sensor=adjusted(LENS + "<b2>0.1</b2>")).warnings
    assert len(warnings) == 1 and "dropped" in warnings[0]


@pytest.mark.parametrize(
    "text", ["", "<document>", "<calibration><fx>1</fx></calibration>", "<document><chunk/></document>"]
)
def test_xml_that_is_no_camera_export(tmp_path, text):
    path = tmp_path / "cameras.xml"
    path.write_text(text)
    with pytest.raises(RequestError, match=r"cameras\.xml"):
        read_calibration(tmp_path)


def test_two_cameras_of_one_name(tmp_path):
    cameras = Export().cameras
    refused(tmp_path, "two cameras called A", cameras=cameras + cameras)


def test_several_xml_files(tmp_path):
    for name in ("a.xml", "b.xml"):
        Export().write(tmp_path).rename(tmp_path / name)
    with pytest.raises(RequestError, match=r"a\.xml, b\.xml"):
        read_calibration(tmp_path)
    assert read_calibration(tmp_path / "b.xml").cameras[0].name == "A"
