"""An artist's hands and eyes in a Blender window: runs inside Blender, on its standard library and bpy alone.

A walk is a generator: it does one thing and yields the seconds to wait before the next. A timer drives it, so that
Blender draws, handles events and runs the add-on's own timers between two steps, as it does for a person.
"""

from __future__ import annotations

import subprocess
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import bpy

Walk = Iterator[float]


class Hands:
    """One window, one folder for what is seen in it: hands.log and numbered pictures."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pictures = 0
        self._hint = None  # where the last button was: the next one is probably near
        self._began = time.monotonic()

    def log(self, *words: object) -> None:
        """Add a line to hands.log: stdout is lost if Blender is killed."""
        with open(self.folder / "hands.log", "a", encoding="utf-8") as file:
            print(f"{time.monotonic() - self._began:7.2f}", *words, file=file, flush=True)

    def picture(self, name: str) -> str:
        """Keep a picture of the screen, return its file's name (Blender's own are black under a software OpenGL)."""
        self._pictures += 1
        path = self.folder / f"{self._pictures:02d}-{name}.png"
        subprocess.run(["import", "-window", "root", str(path)], check=True, timeout=30)
        self.log("picture", path.name)
        return path.name

    @property
    def window(self) -> bpy.types.Window:
        return bpy.context.window_manager.windows[0]

    @property
    def area(self) -> bpy.types.Area:
        return next(area for area in self.window.screen.areas if area.type == "VIEW_3D")

    @property
    def sidebar(self) -> bpy.types.Region:
        return next(region for region in self.area.regions if region.type == "UI")

    def in_view(self):
        """Context override as if the mouse were over the 3D view: what operators called from a script need."""
        region = next(region for region in self.area.regions if region.type == "WINDOW")
        return bpy.context.temp_override(window=self.window, area=self.area, region=region)

    def open_tab(self, name: str) -> Walk:
        """Show the sidebar at tab `name`."""
        self.area.spaces.active.show_region_ui = True
        yield 0.5  # the tab can only be chosen once the sidebar was drawn
        self.sidebar.active_panel_category = name
        self.area.tag_redraw()
        yield 0.5

    def press(self, operator: str) -> Walk:
        """Find the sidebar's button of `operator` ("topo4d.track") with the mouse and press it; log where it was."""
        place = yield from self._find(f"bpy.ops.{operator}(")
        if place is None:
            self.picture("no-button")
            raise AssertionError(f"no button of {operator} in the sidebar")
        self._hint = place[1]
        self.log("press", operator, "at", place)
        for value in ("PRESS", "RELEASE"):
            self.window.event_simulate(type="LEFTMOUSE", value=value, x=place[0], y=place[1])
            yield 0.1
        self.window.event_simulate(type="MOUSEMOVE", value="NOTHING", x=self.area.x + 200, y=self.area.y + 200)
        yield 0.1

    def _find(self, command: str) -> Iterator[float]:
        """Move the mouse over the sidebar, row by row, until the button under it is the one that runs `command`.

        Blender tells nobody where a button is, but its "Copy Python Command" tells which one the mouse is over.
        """
        sidebar = self.sidebar
        rows = list(range(sidebar.y + sidebar.height - 8, sidebar.y + 4, -9))
        if self._hint is not None:
            rows.sort(key=lambda y: abs(y - self._hint))
        for share in (0.5, 0.25, 0.75, 0.06, 0.96):  # buttons side by side are each met by one of these columns
            x = sidebar.x + int(share * (sidebar.width - 40))
            before = rows[0]
            for y in rows:
                self.window.event_simulate(type="MOUSEMOVE", value="NOTHING", x=x, y=y)
                yield 0.03
                if self._under_the_mouse(sidebar).startswith(command):
                    for near in (y, before):  # a busy machine may not have followed the mouse to this row yet
                        self.window.event_simulate(type="MOUSEMOVE", value="NOTHING", x=x, y=near)
                        yield 0.5
                        if self._under_the_mouse(sidebar).startswith(command):
                            return x, near
                before = y
        return None

    def _under_the_mouse(self, region: bpy.types.Region) -> str:
        """The Python command of the button under the mouse, "" if there is none."""
        with bpy.context.temp_override(window=self.window, area=self.area, region=region):
            if not bpy.ops.ui.copy_python_command_button.poll():
                return ""
            bpy.ops.ui.copy_python_command_button()
        return bpy.context.window_manager.clipboard

    def wait(self, until: Callable[[], bool], what: str, seconds: float) -> Walk:
        """Look five times a second whether `until()` holds; AssertionError, with a picture, if it never does."""
        end = time.monotonic() + seconds
        while not until():
            if time.monotonic() > end:
                self.picture("waited-in-vain")
                raise AssertionError(f"waited {seconds:.0f} s in vain until {what}")
            yield 0.2

    def walk(self, steps: Walk, seconds: float) -> None:
        """Drive `steps` and quit Blender at their end, at their first error, or after `seconds`. The log says which."""

        def tick() -> float | None:
            try:
                if time.monotonic() - self._began > seconds:
                    self.picture("too-long")
                    raise AssertionError(f"not at the end after {seconds:.0f} s")
                return next(steps)
            except StopIteration:
                self.log("end")
            except BaseException:
                self.log(traceback.format_exc())
            bpy.ops.wm.quit_blender()
            return None

        bpy.app.timers.register(tick, first_interval=2.0)
