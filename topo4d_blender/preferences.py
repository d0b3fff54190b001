"""Facts about this machine: where the engine is, how it is installed, and what it may compute on."""

import sys
import textwrap
from pathlib import Path

import bpy
from bpy.props import EnumProperty, StringProperty

from . import __package__ as base_package
from .bridge.install.errand import INSTALL
from .bridge.interpreter import Interpreter
from .bridge.session import SESSION
from .core import pins

NO_PYTHON = "Install the engine, or choose the Python that has it"
OUTDATED = "The engine installed here is another version's: install the one for this version of Topo4D"
OWN_PYTHON = pins.tag()  # Blender's


def _forget_engine(_preferences: bpy.types.AddonPreferences, _context: bpy.types.Context) -> None:
    """What is known of an engine is not true of another Python's."""
    if SESSION.job is None:
        SESSION.close_engine()
        SESSION.failure = ""
        INSTALL.doctor = None


class TOPO4D_AP_preferences(bpy.types.AddonPreferences):
    """Edit > Preferences > Add-ons > Topo4D."""

    bl_idname = base_package

    python: StringProperty(
        name="Existing Python",
        description="Python of an environment that has the engine already; empty: the engine installed here",
        subtype="FILE_PATH",
        update=_forget_engine,
    )
    base_python: StringProperty(
        name="Base Python",
        description=f"Python {' or '.join(pins.pythons())} that runs the engine installed here; empty: Blender's own",
        subtype="FILE_PATH",
        update=_forget_engine,
    )
    torch: EnumProperty(
        name="Torch",
        description="What a download brings for the method splat and for graphics cards",
        items=[
            ("auto", "As this Machine Needs", "With CUDA where an NVIDIA card and its driver can use it"),
            ("none", "None", "The processor alone: the smallest download"),
            (
                "usual",
                "Usual Build",
                "What the package index has for this system: on Linux that is the large one with CUDA",
            ),
        ],
    )
    index: StringProperty(
        name="One More Index",
        description="Address of a package index to look in besides the usual: a studio's, or one with torch for CUDA",
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
        """The engine that is there, how to get one, a test, and what the test found."""
        layout = self.layout
        layout.use_property_split = True
        draw_installation(layout, self)
        layout.prop(self, "python")
        layout.prop(self, "device")
        row = layout.row()
        row.enabled = engine_python(bpy.context) is not None
        row.operator("topo4d.test_engine", icon="CHECKMARK")
        draw_engine(layout)


def draw_installation(layout: bpy.types.UILayout, preferences: TOPO4D_AP_preferences) -> None:
    """The engine installed here, and the ways to install one; while one is being installed, how far it is."""
    box = layout.box()
    ready = INSTALL.ready
    if ready is None:
        draw_sentence(box, OUTDATED if INSTALL.outdated else "No engine is installed here yet.", icon="INFO")
    else:
        torch = "without torch" if ready.torch == "none" else f"torch for {ready.torch.upper()}"
        words = f"Engine {ready.engine} for Python {ready.python}, {torch}, {ready.size / 1e9:.1f} GB"
        draw_sentence(box, words, icon="CHECKMARK")
    if INSTALL.job:
        draw_errand(box)
        return
    if OWN_PYTHON not in pins.pythons():
        tested = ", ".join(pins.pythons())
        draw_sentence(
            box, f"Blender's own Python is {OWN_PYTHON}; the engine needs {tested}: choose one.", icon="ERROR"
        )
        box.prop(preferences, "base_python")
    column = box.column()
    column.operator("topo4d.install_engine_folder", icon="FILE_FOLDER")
    if bpy.app.online_access:
        column.prop(preferences, "torch")
        column.prop(preferences, "index")
        found = INSTALL.found
        if found is None:
            column.operator("topo4d.look_up_engine", icon="VIEWZOOM")
        else:
            draw_sentence(column, found["why"])
            least = "at least " if found["unknown"] else ""
            size = f"Download {least}{found['size'] / 1e6:.0f} MB ({found['packages']} packages)"
            column.operator("topo4d.download_engine", text=size, icon="IMPORT")
    else:
        draw_sentence(column, "To download it instead, allow online access in Blender's preferences > System.", "INFO")
    if INSTALL.failure:
        draw_sentence(box, INSTALL.failure, icon="ERROR", alert=True)
        box.operator("topo4d.show_install_log", icon="TEXT")


def draw_errand(layout: bpy.types.UILayout) -> None:
    """How far the installer is, and the way out."""
    text = "Stopping" if INSTALL.cancelling else INSTALL.stage
    layout.progress(factor=INSTALL.fraction, text=text, type="BAR")
    row = layout.row()
    row.enabled = not INSTALL.cancelling
    row.operator("topo4d.cancel_install", icon="CANCEL")


def draw_engine(layout: bpy.types.UILayout) -> None:
    """What is known of the engine: its hello, that it is starting, or why it is of no use; what its doctor found."""
    column = layout.column(align=True)
    if SESSION.failure:
        draw_sentence(column, SESSION.failure, icon="ERROR", alert=True)
    elif SESSION.hello:
        hello = {name: "-" if value is None else value for name, value in SESSION.hello.items()}
        column.label(text=f"Engine {hello.get('engine')} is ready", icon="CHECKMARK")
        column.label(text=f"Python {hello.get('python')}, numba {hello.get('numba')}, torch {hello.get('torch')}")
        column.label(text=f"{hello.get('cores')} cores, {hello.get('memory_gb')} GB of memory")
    elif SESSION.engine is not None:
        column.label(text="The engine is starting", icon="TIME")
    if INSTALL.doctor:
        for sentence in INSTALL.doctor["can"]:
            draw_sentence(column, sentence, icon="DOT")
        for sentence in INSTALL.doctor["advice"][:1]:
            draw_sentence(column, sentence, icon="INFO")


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


def base_python(context: bpy.types.Context) -> str:
    """The path of the Python that runs an engine installed here: the one chosen, else Blender's; "" if none fits."""
    preferences = get_preferences(context)
    if preferences and preferences.base_python:
        return bpy.path.abspath(preferences.base_python)
    return sys.executable if OWN_PYTHON in pins.pythons() else ""


def engine_python(context: bpy.types.Context) -> Interpreter | None:
    """What runs the engine: the existing Python that was chosen, else the engine installed here; None: nothing yet."""
    preferences = get_preferences(context)
    if preferences and preferences.python:
        return Interpreter(bpy.path.abspath(preferences.python))
    if INSTALL.engine is not None and (python := base_python(context)):
        return Interpreter(python, str(INSTALL.engine))
    return None


def own_folder() -> Path:
    """The extension's own folder, the only one it may write to unasked: engines/, engine.log, install.log."""
    try:
        folder = bpy.utils.extension_path_user(base_package, create=True)
    except ValueError:  # run from a checkout, not as an extension
        folder = bpy.app.tempdir
    return Path(folder)


def engines_folder() -> Path:
    """Where engines are installed."""
    return own_folder() / "engines"


def find_installed() -> None:
    """Look for an installed engine once, when the extension is enabled: nothing that is drawn looks at the disk."""
    INSTALL.find(engines_folder(), OWN_PYTHON if OWN_PYTHON in pins.pythons() else None)


def engine_log() -> Path:
    """Where the engine's stderr goes."""
    return own_folder() / "engine.log"


def install_log() -> Path:
    """Where the installer's and pip's words go."""
    return own_folder() / "install.log"


CLASSES = (TOPO4D_AP_preferences,)
