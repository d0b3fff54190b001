"""The timer that lets the session breathe, and the handlers that keep the .blend in step with the take folders."""

from __future__ import annotations

import bpy
from bpy.app.handlers import persistent

from . import show, takes
from .errors import BridgeError
from .install.errand import INSTALL
from .session import SESSION

INTERVAL_S = 0.1
IDLE_S = 0.5


def register() -> None:
    """Start the timer and listen to undo and to files being opened."""
    for handlers, function in _handlers():
        handlers.append(function)
    bpy.app.timers.register(tick, first_interval=INTERVAL_S, persistent=True)


def unregister() -> None:
    """Stop everything that could call back, then the worker."""
    if bpy.app.timers.is_registered(tick):
        bpy.app.timers.unregister(tick)
    for handlers, function in _handlers():
        if function in handlers:
            handlers.remove(function)
    SESSION.close_engine()
    INSTALL.close()


def tick() -> float:
    """One beat; returns the seconds to the next. A timer that raises is dropped by Blender, so nothing may."""
    try:
        changed = INSTALL.step()
        changed = SESSION.step() or changed
        if SESSION.ready is not None:
            _commit()
            changed = True
        if changed:
            _redraw()
    except Exception as error:  # a bug: say it and go on, rather than fall silent with a worker still running
        SESSION.message, SESSION.alert = f"Topo4D stumbled: {error!r}", True
    return INTERVAL_S if SESSION.engine is not None or INSTALL.job else IDLE_S


def _commit() -> None:
    """Run the operator that shows the result, in a window if there is one: operators push undo steps there alone."""
    windows = bpy.context.window_manager.windows
    if len(windows):
        with bpy.context.temp_override(window=windows[0]):
            bpy.ops.topo4d.commit(
                "EXEC_DEFAULT", True
            )  # True: push an undo step, which Python's calls do not otherwise
    else:
        bpy.ops.topo4d.commit()


def _redraw() -> None:
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in ("VIEW_3D", "PREFERENCES"):
                area.tag_redraw()


@persistent
def _after_undo(*_args: object) -> None:
    SESSION.resync()


@persistent
def _after_load(*_args: object) -> None:
    """The take folder is the truth: a file saved while its take was still being solved catches up when it is opened."""
    for scene in bpy.data.scenes:
        for obj in scene.objects:
            if obj.type == "MESH" and obj.library is None and show.is_behind(obj):
                try:
                    show.show_take(obj, scene.topo4d.root, takes.folder_of(obj), scene)
                except BridgeError as error:
                    SESSION.message, SESSION.alert = str(error), True


def _handlers() -> tuple[tuple[list, object], ...]:
    handlers = bpy.app.handlers
    return (
        (handlers.undo_post, _after_undo),
        (handlers.redo_post, _after_undo),
        (handlers.load_post, _after_load),
    )
