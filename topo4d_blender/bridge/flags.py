"""What the engine found wrong in a frame (metrics.jsonl, docs/formats.md), in an artist's words, and where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import bpy
import numpy as np

from ..core.flags import flags_of, where_of, words_of
from . import shape_keys
from .errors import BridgeError


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
        for name in flags_of(metrics[frame]):
            where, text = where_of(metrics[frame], name), words_of(name)
            if cameras := where.get("cameras"):
                text = f"{text} {', '.join(map(str, cameras))}"
            elif count := where.get("count"):
                text = f"{text} ({count} {'vertex' if count == 1 else 'vertices'})"
            flags.append(Flag(frame, name, text, bool(where.get("vertices"))))
    return flags


def vertices_of(metrics: Mapping[int, dict], frame: int, name: str) -> list[int]:
    """The vertices that the flag `name` of `frame` names, the worst first; none where it names none."""
    return [int(vertex) for vertex in where_of(metrics.get(frame, {}), name).get("vertices") or ()]


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
