"""Other topologies of a head for the captures: a part of it, one with n-gons, a coarse one of triangles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import bpy
import numpy as np
from mathutils.bvhtree import BVHTree

from topo4d_blender.core.template import Template
from topo4d_blender.studio.scene import make_mesh

Array = np.ndarray


def part(template: Template, vertices: int) -> Template:
    """The faces of `template` all of whose corners are among its first `vertices`, with these."""
    sizes = np.diff(template.face_starts)
    face = np.repeat(np.arange(len(sizes)), sizes)
    kept = np.bincount(face, template.loops >= vertices) == 0
    loops = kept[face]
    return Template(
        template.vertices[:vertices],
        template.loops[loops],
        np.concatenate([[0], np.cumsum(sizes[kept])]).astype(np.int32),
        template.uv[loops],
    )


def with_ngons(template: Template, share: float, seed: int) -> Template:
    """`template` with a share of its faces merged in pairs across their common edge: hexagons where two quads were.

    Two faces are merged only where they share one edge and the UV map is whole there. Merged faces come last.
    """
    faces = [list(range(a, b)) for a, b in zip(template.face_starts[:-1], template.face_starts[1:], strict=True)]
    pairs = _neighbours(template, faces)
    whole, merged = dict(enumerate(faces)), []
    for turn in np.random.default_rng([seed, 106]).permutation(len(pairs)):
        (a, at_a), (b, at_b) = pairs[turn]
        if 2 * len(merged) >= share * len(faces):
            break
        if a not in whole or b not in whole:
            continue
        one, two = _from(faces[a], at_a), _from(faces[b], at_b)
        seam = not np.allclose(template.uv[one[:2]], template.uv[[two[1], two[0]]], atol=1e-6)
        if not seam and not set(template.loops[one[2:]]) & set(template.loops[two[2:]]):
            merged.append(one[1:] + two[1:])
            del whole[a], whole[b]
    result = [*whole.values(), *merged]
    order = np.concatenate(result)
    starts = np.concatenate([[0], np.cumsum([len(face) for face in result])]).astype(np.int32)
    return replace(template, loops=template.loops[order], face_starts=starts, uv=template.uv[order])


def _neighbours(template: Template, faces: list[list[int]]) -> list[list[tuple[int, int]]]:
    """For every edge of two faces: both, each with its loop at which the edge begins."""
    sides: dict[tuple[int, int], list] = {}
    for index, loops in enumerate(faces):
        for here, there in zip(loops, loops[1:] + loops[:1], strict=True):
            edge = sorted((int(template.loops[here]), int(template.loops[there])))
            sides.setdefault((edge[0], edge[1]), []).append((index, here))
    return [pair for pair in sides.values() if len(pair) == 2]


def _from(face: list[int], first: int) -> list[int]:
    """The loops of `face`, beginning with `first`."""
    at = face.index(first)
    return face[at:] + face[:at]


def decimated(template: Template, vertices: int) -> tuple[Template, Callable[[Array], Array]]:
    """A coarser triangle mesh on `template`, and what carries a shape of the fine one to it: fixed weights."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    subject = make_mesh(template)
    modifier = subject.modifiers.new("Decimate", "DECIMATE")
    modifier.ratio = vertices / len(template.vertices)
    modifier.use_collapse_triangulate = True
    mesh = subject.evaluated_get(bpy.context.evaluated_depsgraph_get()).to_mesh()
    points = np.array([vertex.co for vertex in mesh.vertices], np.float64)
    loops = np.array([loop.vertex_index for loop in mesh.loops], np.int32)
    uv = np.array([item.uv for item in mesh.uv_layers.active.data], np.float32)
    tree = BVHTree.FromPolygons(template.vertices.tolist(), template.triangles.tolist(), all_triangles=True)
    nearest = [tree.find_nearest(point) for point in points.tolist()]
    triangles = template.triangles[[hit[2] for hit in nearest]]
    weights = _barycentric(np.array([hit[0] for hit in nearest]), template.vertices[triangles])

    def carry(shape: Array) -> Array:
        return np.einsum("vc,vck->vk", weights, shape[triangles])

    starts = np.arange(0, len(loops) + 1, 3, dtype=np.int32)
    return Template(carry(template.vertices), loops, starts, uv), carry


def _barycentric(points: Array, corners: Array) -> Array:
    """Weights [N, 3] of the corners [N, 3, 3] of triangles at points [N, 3] that lie on them."""
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    p = points - corners[:, 0]
    aa, ab, bb = (a * a).sum(1), (a * b).sum(1), (b * b).sum(1)
    pa, pb = (p * a).sum(1), (p * b).sum(1)
    area = aa * bb - ab * ab
    second, third = (bb * pa - ab * pb) / area, (aa * pb - ab * pa) / area
    return np.stack([1.0 - second - third, second, third], axis=1)
