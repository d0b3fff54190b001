"""Rules that every class of the extension keeps."""

from __future__ import annotations

import re

import pytest

bpy = pytest.importorskip("bpy")
pytestmark = pytest.mark.bpy

from topo4d_blender import registration  # noqa: E402

OPERATORS = [cls for cls in registration.CLASSES if issubclass(cls, bpy.types.Operator)]
PANELS = [cls for cls in registration.CLASSES if issubclass(cls, bpy.types.Panel)]


@pytest.mark.parametrize("cls", OPERATORS, ids=lambda cls: cls.__name__)
def test_operators_are_named_and_described(cls):
    assert cls.bl_idname.startswith("topo4d.") and cls.__name__ == f"TOPO4D_OT_{cls.bl_idname.removeprefix('topo4d.')}"
    description = cls.__doc__.strip()
    assert description[0].isupper() and not description.endswith("."), "tooltips: one sentence, no full stop"


def test_panels_share_one_tab_and_have_an_order():
    roots = [cls for cls in PANELS if not hasattr(cls, "bl_parent_id")]
    assert [cls.bl_order for cls in roots] == list(range(len(roots)))
    assert {cls.bl_category for cls in PANELS} == {"Topo4D"}
    labels = [cls.bl_label for cls in roots]
    assert labels == ["", "Engine", "Take", "Subject", "Track", "Review", "Texture", "Export"]
    assert all(re.fullmatch(r"TOPO4D_PT_[a-z_]+", cls.bl_idname) for cls in PANELS)
