"""What the template lacks stands before some of the cameras: teeth between lips, a hair, a hand before one lens."""

import bake_scenes as scenes
import numpy as np
from bake_scenes import Board

from topo4d_blender.core.texture.frame import Canvas, bake_frame

WALL = Board((-0.5, -0.5, 0.5, 0.5), 0.0, (0.05, 0.05, 0.65, 0.65), scenes.smooth)
TEETH = Board(
    (-0.07, -0.05, 0.07, 0.05), 0.5, (0.7, 0.7, 0.9, 0.9), scenes.plain(250, 250, 250)
)  # 50 and more brighter


def test_what_the_template_lacks_is_outvoted_by_the_views_that_see_past_it():
    cameras = scenes.rig(9, spread_deg=40)
    template = scenes.template_of([WALL])
    canvas = Canvas.of(template, 128)
    given = [
        (k, np.rint(scenes.film(c, [WALL, TEETH])).clip(0, 255).astype(np.uint8), None) for k, c in enumerate(cameras)
    ]
    texture, seen = bake_frame(canvas, template.vertices, cameras, given)
    truth, owner = scenes.truth([WALL], 128)
    inner = (owner == 0) & seen
    error = np.abs(texture.astype(float) - truth)[inner]
    assert error.mean() < 4
    assert (error.max(axis=-1) > 60).mean() < 0.005  # teeth as they are nowhere, or all but nowhere
