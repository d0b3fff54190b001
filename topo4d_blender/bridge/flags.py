"""What the engine found wrong in a frame (metrics.jsonl, docs/formats.md), in an artist's words, and where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import bpy
import numpy as np

from . import shape_keys
from .errors import BridgeError

WORDS = {
    "missing_plates": "No plate from",
    "dark_plates": "Nothing to be seen on the plate of",
    "lost_region": "A part of the face wears other colours than its own",
    "folded_triangles": "The mesh is folded over",
    "implausible_motion": "Vertices jump, or the head leaps",
    "lost": "Lost: no other frame was started from this one",
}


@dataclass(frozen=True)
class Flag:
    """One thing that is wrong in one frame."""

    frame: int
    name: str
    text: str
    anywhere: bool  # whether vertices are named


def found(metrics: Mapping[int, dict]) -> list[Flag]:
    """The flags in `metrics` (`takes.read_metrics`), by frame."""
    flags = []
    for frame in sorted(metrics):
        names = metrics[frame].get("flags")
        for name in names if isinstance(names, list) else ():
            where = _where(metrics[frame], name)
            text = WORDS.get(name, str(name).replace("_", " "))  # an engine newer than this knows more
            if cameras := where.get("cameras"):
                text = f"{text} {', '.join(map(str, cameras))}"
            elif count := where.get("count"):
                text = f"{text} ({count} {'vertex' if count == 1 else 'vertices'})"
            flags.append(Flag(frame, str(name), text, bool(where.get("vertices"))))
    return flags


def vertices_of(metrics: Mapping[int, dict], frame: int, name: str) -> list[int]:
    """The vertices that the flag `name` of `frame` names, the worst first; none where it names none."""
    return [int(vertex) for vertex in _where(metrics.get(frame, {}), name).get("vertices") or ()]


def select(obj: bpy.types.Object, vertices: list[int], frame: int, layer: bpy.types.ViewLayer) -> None:
    """Select `vertices` of `obj` and nothing else of it, in Edit Mode, on the key of `frame`.

    Raises BridgeError if the mesh has no such vertices, or is not in `layer`.
    """
    mesh = obj.data
    if not vertices or max(vertices) >= len(mesh.vertices):
        raise BridgeError(f"Frame {frame} names no vertices of '{obj.name}'; load its take again.")
    if obj.name not in layer.objects:
        raise BridgeError(f"'{obj.name}' is not in this view layer; include its collection.")
    layer.objects.active = obj
    if obj.mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")
    for elements in (mesh.polygons, mesh.edges, mesh.vertices):
        elements.foreach_set("select", np.zeros(len(elements), bool))
    chosen = np.zeros(len(mesh.vertices), bool)
    chosen[vertices] = True
    mesh.vertices.foreach_set("select", chosen)
    shape_keys.activate(obj, frame)
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.context.scene.tool_settings.mesh_select_mode = (True, False, False)


def _where(line: dict, name: str) -> dict:
    where = line.get("where")
    found_there = where.get(name) if isinstance(where, dict) else None
    return found_there if isinstance(found_there, dict) else {}
