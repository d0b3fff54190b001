"""Installing the engine: from a folder of wheels, or from the package index after a look at how much that is."""

import bpy
from bpy.props import StringProperty

from ..bridge.install.errand import INSTALL
from ..bridge.interpreter import Interpreter
from ..bridge.session import SESSION
from ..preferences import base_python, engines_folder, get_preferences, install_log
from .common import is_free


def can_install(cls: type[bpy.types.Operator], context: bpy.types.Context) -> bool:
    """Whether the installer could start now; says why not in the tooltip."""
    if INSTALL.job:
        cls.poll_message_set("The installer is at work: wait for it, or cancel it")
    elif not base_python(context):
        cls.poll_message_set("Choose the Python that is to run the engine")
    else:
        return is_free(cls)
    return False


def can_download(cls: type[bpy.types.Operator], context: bpy.types.Context) -> bool:
    """`can_install`, with the network; nothing goes out while Blender's own setting forbids it."""
    if not bpy.app.online_access:
        cls.poll_message_set("Allow online access in Blender's preferences > System first")
        return False
    return can_install(cls, context)


def start(context: bpy.types.Context, job: dict, installs: bool = True) -> set[str]:
    """Send the installer on its way; the operator's own return value."""
    then = _use_installed if installs else None
    INSTALL.start(Interpreter(base_python(context)), job, install_log(), then)
    return {"CANCELLED"} if INSTALL.failure else {"FINISHED"}


def _use_installed(_summary: dict) -> None:
    """A new engine is the one to use: that is what the click asked for. Called by the timer."""
    if SESSION.job is None:
        SESSION.close_engine()
        SESSION.failure = ""
    preferences = get_preferences(bpy.context)
    if preferences and preferences.python:
        preferences.python = ""


class TOPO4D_OT_install_engine_folder(bpy.types.Operator):
    """Install the engine from a folder of wheels, without a network"""

    bl_idname = "topo4d.install_engine_folder"
    bl_label = "Install from Folder..."
    bl_options = {"INTERNAL"}

    directory: StringProperty(subtype="DIR_PATH")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """While nothing else is at work."""
        return can_install(cls, context)

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Ask for the folder."""
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Start the installer; the preferences show how far it is."""
        wheels = bpy.path.abspath(self.directory)
        return start(context, {"job": "folder", "wheels": wheels, "engines": str(engines_folder())})


class TOPO4D_OT_look_up_engine(bpy.types.Operator):
    """Ask the package index how large the engine for this machine is; nothing is downloaded yet"""

    bl_idname = "topo4d.look_up_engine"
    bl_label = "Look Up Download..."
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Where Blender may go online."""
        return can_download(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Start the installer's look."""
        preferences = get_preferences(context)
        INSTALL.found = None
        return start(context, {"job": "look", "torch": preferences.torch, "index": preferences.index}, installs=False)


class TOPO4D_OT_download_engine(bpy.types.Operator):
    """Download the engine that was looked up, and install it beside the old one"""

    bl_idname = "topo4d.download_engine"
    bl_label = "Download"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """After a look."""
        if INSTALL.found is None:
            cls.poll_message_set("Look up the download first")
            return False
        return can_download(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Start the download."""
        index = get_preferences(context).index
        job = {"job": "download", "engines": str(engines_folder()), "found": INSTALL.found, "index": index}
        return start(context, job)


class TOPO4D_OT_cancel_install(bpy.types.Operator):
    """Stop the installer; the engine that was there stays as it is"""

    bl_idname = "topo4d.cancel_install"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Only while it is at work."""
        return bool(INSTALL.job)

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Ask; the timer sees to it that it obeys."""
        INSTALL.cancel()
        return {"FINISHED"}


class TOPO4D_OT_show_install_log(bpy.types.Operator):
    """Open the log of the last installation"""

    bl_idname = "topo4d.show_install_log"
    bl_label = "Show Log"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Once there is one."""
        return INSTALL.log is not None

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Whatever this system opens text with."""
        bpy.ops.wm.path_open(filepath=str(INSTALL.log))
        return {"FINISHED"}


CLASSES = (
    TOPO4D_OT_install_engine_folder,
    TOPO4D_OT_look_up_engine,
    TOPO4D_OT_download_engine,
    TOPO4D_OT_cancel_install,
    TOPO4D_OT_show_install_log,
)
