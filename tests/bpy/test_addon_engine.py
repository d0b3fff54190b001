"""The engine in the preferences: what is said and offered in each state, and that nothing goes out or runs unasked."""

from __future__ import annotations

import sys

import pytest

bpy = pytest.importorskip("bpy")
pytestmark = pytest.mark.bpy

import addon_utils  # noqa: E402
import bridge_scenes as scenes  # noqa: E402

from topo4d_blender import preferences as prefs  # noqa: E402
from topo4d_blender.bridge import pump  # noqa: E402
from topo4d_blender.bridge.install import engines  # noqa: E402
from topo4d_blender.bridge.install.errand import INSTALL  # noqa: E402
from topo4d_blender.bridge.interpreter import Interpreter  # noqa: E402
from topo4d_blender.bridge.session import SESSION  # noqa: E402
from topo4d_blender.core import pins  # noqa: E402
from topo4d_blender.panels import engine as panel  # noqa: E402

FOUND = {"why": "A card.", "size": 212_000_000, "packages": 28, "unknown": []}


class Layout:
    """Writes down what is drawn into it, boxes and rows alike."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.operators: list[str] = []
        self.fields: list[str] = []

    def _inside(self, **_: object) -> Layout:
        return self

    box = row = column = _inside

    def label(self, text: str = "", **_: object) -> None:
        self.texts.append(text)

    def operator(self, name: str, text: str = "", **_: object) -> None:
        self.operators.append(name.removeprefix("topo4d."))
        self.texts.append(text)

    def prop(self, _data: object, name: str, **_: object) -> None:
        self.fields.append(name)

    def progress(self, factor: float, text: str, **_: object) -> None:
        self.texts.append(f"{100 * factor:.0f} % {text}")

    @property
    def said(self) -> str:
        return " ".join(self.texts)


@pytest.fixture
def own():
    """The extension's preferences, while nothing is installed and nothing runs."""
    scenes.fresh()
    addon_utils.enable("topo4d_blender", default_set=True)
    INSTALL.__init__()
    yield bpy.context.preferences.addons["topo4d_blender"].preferences
    INSTALL.close()
    INSTALL.__init__()
    addon_utils.disable("topo4d_blender", default_set=True)
    SESSION.__init__()


@pytest.fixture
def online(own):
    bpy.context.preferences.system.use_online_access = True
    if not bpy.app.online_access:
        pytest.skip("this Blender was started offline")
    yield own
    bpy.context.preferences.system.use_online_access = False


def drawn(own) -> Layout:
    layout = Layout()
    prefs.draw_installation(layout, own)
    prefs.draw_engine(layout)
    return layout


def installed(folder) -> None:
    folder.mkdir()
    engines.make_ready(folder, engines.Ready("0.1.0", pins.tag(), "none", pins.engine_pins(), 558_000_000))
    INSTALL.find(folder.parent, pins.tag())


def test_without_an_engine_the_ways_to_one_are_offered(own):
    layout = drawn(own)
    assert "No engine is installed here yet" in layout.said and "allow online access" in layout.said
    assert layout.operators == ["install_engine_folder"] and layout.fields == []
    assert prefs.engine_python(bpy.context) is None
    assert not bpy.ops.topo4d.look_up_engine.poll() and not bpy.ops.topo4d.download_engine.poll()
    with pytest.raises(RuntimeError, match="Allow online access"):
        bpy.ops.topo4d.look_up_engine()


def test_online_a_download_is_looked_up_first_and_its_size_is_on_the_button(online):
    layout = drawn(online)
    assert layout.operators == ["install_engine_folder", "look_up_engine"]
    assert not bpy.ops.topo4d.download_engine.poll()
    INSTALL.found = FOUND
    layout = drawn(online)
    assert layout.operators == ["install_engine_folder", "download_engine"]
    assert "Download 212 MB (28 packages)" in layout.said and "A card." in layout.said
    INSTALL.found = FOUND | {"unknown": ["torch"]}
    assert "Download at least 212 MB" in drawn(online).said
    assert bpy.ops.topo4d.download_engine.poll()


def test_a_running_errand_shows_its_progress_and_nothing_but_cancel(own):
    INSTALL.job, INSTALL.stage, INSTALL.done, INSTALL.total = "folder", "Installing 28 packages", 1, 4
    layout = drawn(own)
    assert "25 % Installing 28 packages" in layout.said and layout.operators == ["cancel_install"]
    assert not bpy.ops.topo4d.install_engine_folder.poll() and bpy.ops.topo4d.cancel_install.poll()
    INSTALL.job = ""


def test_a_failure_is_said_with_its_log(own):
    INSTALL.failure = "The disk is full."
    layout = drawn(own)
    assert "The disk is full." in layout.said and layout.operators[-1] == "show_install_log"


def test_an_installed_engine_is_used_unless_an_existing_python_is_chosen(own, tmp_path):
    installed(tmp_path / "0.1.0-a")
    assert "Engine 0.1.0 for Python 3.11, without torch, 0.6 GB" in drawn(own).said
    assert prefs.engine_python(bpy.context) == Interpreter(sys.executable, str(tmp_path / "0.1.0-a"))
    own.python = "/some/python"
    assert prefs.engine_python(bpy.context) == Interpreter("/some/python")
    own.python, own.base_python = "", "/another/python"
    assert prefs.engine_python(bpy.context) == Interpreter("/another/python", str(tmp_path / "0.1.0-a"))
    own.base_python = ""


def test_a_blender_whose_python_is_too_new_asks_for_one(own, monkeypatch, tmp_path):
    monkeypatch.setattr(prefs, "OWN_PYTHON", "3.99")
    layout = drawn(own)
    assert "Blender's own Python is 3.99; the engine needs 3.11" in layout.said and layout.fields == ["base_python"]
    with pytest.raises(RuntimeError, match="Choose the Python that is to run the engine"):
        bpy.ops.topo4d.install_engine_folder(directory=str(tmp_path))


def test_a_folder_that_is_none_is_said_by_the_installer(own, tmp_path):
    assert bpy.ops.topo4d.install_engine_folder(directory=str(tmp_path)) == {"FINISHED"}
    while INSTALL.job:
        pump.tick()
    assert "holds no wheelhouse.json" in INSTALL.failure and prefs.install_log().is_file()


def test_what_the_doctor_found_is_said_with_the_one_step_that_mends_it(own):
    INSTALL.doctor = {"can": ["Tracks.", "CUDA: no."], "advice": ["Update the driver.", "Something later."]}
    said = drawn(own).said
    assert "Tracks." in said and "CUDA: no." in said and "Update the driver." in said and "later" not in said


def test_an_engine_of_another_version_is_not_used_and_said_so(own, tmp_path):
    (tmp_path / "0.0.9-a").mkdir()
    packages = pins.engine_pins() | {"numba": "0.1"}
    engines.make_ready(tmp_path / "0.0.9-a", engines.Ready("0.0.9", pins.tag(), "none", packages, 1))
    INSTALL.find(tmp_path, pins.tag())
    assert "another version's: install the one for this version" in drawn(own).said
    assert prefs.engine_python(bpy.context) is None and "another version's" in panel.what_is_missing()
    installed(tmp_path / "0.1.0-b")
    assert "No engine yet" in panel.what_is_missing() and prefs.engine_python(bpy.context) is not None
