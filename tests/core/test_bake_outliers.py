"""What the template lacks stands before some of the cameras: teeth between lips, a hair, a hand before one lens."""

import bake_scenes as scenes
import numpy as np
from bake_scenes import Board

from topo4d_blender.core.texture.blend import OUTLIER, _hold_down_outliers
from topo4d_blender.core.texture.frame import Canvas, bake_frame
from topo4d_blender.core.texture.plan import CANDIDATES

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


def test_weight_is_taken_off_by_the_distance_from_the_median():
    rng = np.random.default_rng(0)
    for used in range(1, CANDIDATES + 1):
        for _ in range(20):
            colour = rng.uniform(0, 255, (CANDIDATES, 3)).astype(np.float32)
            colour[:used] = colour[rng.integers(0, used, used)] if rng.random() < 0.5 else colour[:used]  # some alike
            weight = rng.uniform(0.1, 1, CANDIDATES).astype(np.float32)
            luma = colour[:used] @ np.array([0.3, 0.6, 0.1])
            expected = weight[:used] / (1 + ((luma - np.median(luma)) / OUTLIER) ** 2)
            _hold_down_outliers(colour, weight, np.zeros(CANDIDATES, np.float32), used)
            np.testing.assert_allclose(weight[:used], expected, rtol=1e-4)
