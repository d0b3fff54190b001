"""Job: what runs now, above everything else, whatever is open below it."""

import bpy

from ..bridge.session import SESSION, Job
from .common import Tab

_WORDS = {"open": "Loading Capture", "track": "Tracking", "bake": "Baking Textures"}


class TOPO4D_PT_job(Tab, bpy.types.Panel):
    """Progress, time left and Cancel. Its header says how far the job is and can cancel it too, if it is closed."""

    bl_idname = "TOPO4D_PT_job"  # with a header: Blender would move the whole tab to the front for a panel without one
    bl_label = ""
    bl_order = 0

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """While a job runs."""
        return SESSION.job is not None

    def draw_header(self, _context: bpy.types.Context) -> None:
        """What it is, and how far in a figure."""
        job = SESSION.job
        far = f"  {100 * job.fraction:.0f} %" if job.total else ""
        self.layout.label(text=f"{_WORDS[job.kind]}{far}", icon="SORTTIME")

    def draw_header_preset(self, _context: bpy.types.Context) -> None:
        """The way out, in the corner."""
        self.layout.enabled = not SESSION.job.cancelling
        self.layout.operator("topo4d.cancel", text="", icon="X", emboss=False)

    def draw(self, _context: bpy.types.Context) -> None:
        """How far, of which take, and the way out in large."""
        layout, job = self.layout, SESSION.job
        layout.progress(factor=job.fraction, text=progress_text(job), type="BAR")
        if job.folder:
            layout.label(text=job.folder.name, icon="FILE_FOLDER")
        row = layout.row()
        row.scale_y = 1.3
        row.enabled = not job.cancelling
        row.operator("topo4d.cancel", icon="CANCEL")


def progress_text(job: Job) -> str:
    """How far `job` is: "Frame 3 of 12, 40 s left", "60 %, preparing"; the name of what it does before it can count."""
    if job.cancelling:
        return "Stopping"
    if not job.total:
        return job.stage
    if job.kind == "track":
        far = f"Frame {min(job.done + 1, job.total)} of {job.total}"
    else:
        far = f"{100 * job.fraction:.0f} %"
    return f"{far}, {_left(job.eta_s)}"


def _left(eta_s: float | None) -> str:
    """Seconds as a person says them."""
    if eta_s is None:
        return "preparing"
    if eta_s >= 5400:
        return f"{eta_s / 3600:.1f} h left"
    return f"{eta_s / 60:.0f} min left" if eta_s >= 90 else f"{eta_s:.0f} s left"


CLASSES = (TOPO4D_PT_job,)
