"""How long Blender takes to show a frame of a take: `python benchmarks/playback.py [--frames 600] [--vertices 26000]`.

Prints milliseconds a frame (median and worst of a scrub through all frames: frame_set plus the evaluated mesh) for the
add-on's absolute keys and for the relative ones that exporters need.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import bpy
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from topo4d_blender.bridge import shape_keys


def main() -> None:
    """Build a grid with one key a frame, scrub it in both modes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--vertices", type=int, default=26000)
    arguments = parser.parse_args()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    side = round(arguments.vertices**0.5)
    bpy.ops.mesh.primitive_grid_add(x_subdivisions=side - 1, y_subdivisions=side - 1)
    obj = bpy.context.object
    rest = np.array([vertex.co for vertex in obj.data.vertices], np.float32)
    frames = range(1, arguments.frames + 1)
    began = time.perf_counter()
    shape_keys.build(obj, frames, lambda frame: rest + np.float32(frame * 1e-4))
    print(f"bpy {bpy.app.version_string}, {len(rest)} vertices, {arguments.frames} frames")
    print(f"build     {time.perf_counter() - began:8.2f} s")
    print("absolute  {:8.2f} ms a frame, worst {:.2f}".format(*scrub(obj, frames)))
    with shape_keys.relative(obj):
        print("relative  {:8.2f} ms a frame, worst {:.2f}".format(*scrub(obj, frames)))


def scrub(obj: bpy.types.Object, frames: range) -> tuple[float, float]:
    """Median and worst time of a frame, ms."""
    times = []
    for frame in frames:
        began = time.perf_counter()
        bpy.context.scene.frame_set(frame)
        len(obj.evaluated_get(bpy.context.evaluated_depsgraph_get()).data.vertices)
        times.append(1e3 * (time.perf_counter() - began))
    return float(np.median(times)), max(times)


if __name__ == "__main__":
    main()
