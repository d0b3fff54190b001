"""What the panels share."""

import bpy

from ..bridge.session import SESSION, Job
from ..preferences import draw_sentence


class Tab:
    """A panel of the tab."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Topo4D"


def fields(layout: bpy.types.UILayout) -> bpy.types.UILayout:
    """A column of named fields."""
    layout.use_property_split = True
    layout.use_property_decorate = False
    return layout.column()


def next_step(layout: bpy.types.UILayout, sentence: str) -> None:
    """The one thing to do before a panel is of use."""
    draw_sentence(layout, sentence, icon="INFO")


def draw_job(layout: bpy.types.UILayout, kind: str) -> bool:
    """Progress, time left and Cancel of the running job if it is of this `kind`; whether it is."""
    job = SESSION.job
    if job is None or job.kind != kind:
        return False
    text = "Stopping" if job.cancelling else job.stage
    if job.total and not job.cancelling:
        text = f"{text} {job.done}/{job.total}{_left(job)}"
    layout.progress(factor=job.fraction, text=text, type="BAR")
    row = layout.row()
    row.scale_y = 1.3
    row.enabled = not job.cancelling
    row.operator("topo4d.cancel", icon="CANCEL")
    return True


def draw_message(layout: bpy.types.UILayout) -> None:
    """What became of the last job, its hint and its warnings."""
    if SESSION.job is None and SESSION.message:
        draw_sentence(layout, SESSION.message, icon="ERROR" if SESSION.alert else "CHECKMARK", alert=SESSION.alert)
        if SESSION.hint:
            draw_sentence(layout, SESSION.hint)
    for sentence in SESSION.warnings[-3:]:
        draw_sentence(layout, sentence, icon="ERROR")


def _left(job: Job) -> str:
    if job.eta_s is None:
        return ""
    seconds = int(job.eta_s)
    return f", {seconds // 60} min left" if seconds >= 90 else f", {seconds} s left"
