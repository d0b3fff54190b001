"""What the panels share."""

import bpy

from ..bridge.session import SESSION
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


def big_button(layout: bpy.types.UILayout, operator: str, icon: str) -> None:
    """The one button that a panel is there for."""
    row = layout.row()
    row.scale_y = 1.6
    row.operator(operator, icon=icon)


def settings_of(layout: bpy.types.UILayout) -> bpy.types.UILayout:
    """`fields` that rest while a job runs: what it was started with holds."""
    column = fields(layout)
    column.enabled = SESSION.job is None
    return column


def draw_message(layout: bpy.types.UILayout, *kinds: str) -> None:
    """What became of the last job, its hint and its warnings, if it was of one of these `kinds`."""
    if SESSION.about not in kinds:
        return
    if SESSION.job is None and SESSION.message:
        draw_sentence(layout, SESSION.message, icon="ERROR" if SESSION.alert else "CHECKMARK", alert=SESSION.alert)
        if SESSION.hint:
            draw_sentence(layout, SESSION.hint)
    for sentence in SESSION.warnings[-3:]:
        draw_sentence(layout, sentence, icon="ERROR")
