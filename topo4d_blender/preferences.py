"""Facts about this machine: where the engine's Python is and what it may compute on."""

import textwrap
from pathlib import Path

import bpy
from bpy.props import EnumProperty, StringProperty

from . import __package__ as base_package
from .bridge.session import SESSION

NO_PYTHON = "Choose the Python that has the Topo4D engine"


def _forget_engine(_preferences: bpy.types.AddonPreferences, _context: bpy.types.Context) -> None:
    """What is known of an engine is not true of another Python's."""
    if SESSION.job is None:
        SESSION.close_engine()
        SESSION.failure = ""


class TOPO4D_AP_preferences(bpy.types.AddonPreferences):
    """Edit > Preferences > Add-ons > Topo4D."""

    bl_idname = base_package

    python: StringProperty(
        name="Engine Python",
        description="Python interpreter of the environment that the engine is installed in",
        subtype="FILE_PATH",
        update=_forget_engine,
    )
    device: EnumProperty(
        name="Device",
        description="What the engine computes on",
        items=[
            ("auto", "Automatic", "The fastest that the engine finds"),
            ("cpu", "CPU", "The processor alone"),
            ("cuda", "CUDA", "An NVIDIA graphics card"),
        ],
    )

    def draw(self, _context: bpy.types.Context) -> None:
        """The path, a test, and what the test found."""
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "python")
        if not self.python:
            layout.label(text=f"{NO_PYTHON}: 'topo4d doctor' prints its path", icon="INFO")
        layout.prop(self, "device")
        row = layout.row()
        row.enabled = bool(self.python)
        row.operator("topo4d.test_engine", icon="CHECKMARK")
        draw_engine(layout)


def draw_engine(layout: bpy.types.UILayout) -> None:
    """What is known of the engine: its hello, that it is starting, or why it is of no use."""
    column = layout.column(align=True)
    if SESSION.failure:
        draw_sentence(column, SESSION.failure, icon="ERROR", alert=True)
    elif SESSION.hello:
        hello = {name: "-" if value is None else value for name, value in SESSION.hello.items()}
        column.label(text=f"Engine {hello.get('engine')} on {hello.get('device')} is ready", icon="CHECKMARK")
        column.label(text=f"Python {hello.get('python')}, numba {hello.get('numba')}, torch {hello.get('torch')}")
        column.label(text=f"{hello.get('cores')} cores, {hello.get('memory_gb')} GB of memory")
    elif SESSION.engine is not None:
        column.label(text="The engine is starting", icon="TIME")


def draw_sentence(layout: bpy.types.UILayout, sentence: str, icon: str = "NONE", alert: bool = False) -> None:
    """A sentence over as many lines as it needs: labels do not wrap, and the half that is cut off is the useful one."""
    column = layout.column(align=True)
    column.alert = alert
    region = bpy.context.region
    width = region.width / bpy.context.preferences.system.ui_scale if region else 280
    letters = max(20, int((width - 90) / 6.2))  # tabs, margins and icon; a letter of the default font
    for i, line in enumerate(textwrap.wrap(sentence, letters, break_on_hyphens=False)):
        column.label(text=line, icon=icon if i == 0 else "BLANK1" if icon != "NONE" else "NONE")


def get_preferences(context: bpy.types.Context) -> TOPO4D_AP_preferences | None:
    """This extension's preferences; None where it runs without being enabled."""
    addon = context.preferences.addons.get(base_package)
    return addon.preferences if addon else None


def engine_python(context: bpy.types.Context) -> str:
    """The engine's Python as an absolute path; "" while none is chosen."""
    preferences = get_preferences(context)
    return bpy.path.abspath(preferences.python) if preferences and preferences.python else ""


def engine_log() -> Path:
    """Where the engine's stderr goes: the extension's own folder, the only one it may write to unasked."""
    try:
        folder = bpy.utils.extension_path_user(base_package, create=True)
    except ValueError:  # run from a checkout, not as an extension
        folder = bpy.app.tempdir
    return Path(folder) / "engine.log"


CLASSES = (TOPO4D_AP_preferences,)
