"""A face that stands still, filmed with sensor noise: what is solved anew every frame may add little to the noise."""

from dataclasses import replace

import bake_scenes as scenes
import numpy as np
from bake_scenes import Board

from topo4d_blender.core.texture.frame import Canvas, paint, solve_frame

FRAMES, NOISE = 8, 4.0


def pores(u, v):
    return 128 + 30 * (np.sin(70 * u + 3 * np.sin(9 * v)) * np.cos(70 * v))[..., None] * np.ones(3)


def test_maps_flicker_no_more_than_the_noise_of_the_plates_they_are_averaged_from():
    board = Board((-0.5, -0.5, 0.5, 0.5), 0.0, (0.05, 0.05, 0.65, 0.65), pores)
    template, cameras = scenes.template_of([board]), scenes.rig(6)
    canvas, clean = Canvas.of(template, 128), [scenes.film(c, [board]) for c in cameras]
    rng = np.random.default_rng(0)
    first, maps, frozen = None, [], []
    for _ in range(FRAMES):
        plates = [np.rint(p + rng.normal(0, NOISE, p.shape)).clip(0, 255).astype(np.uint8) for p in clean]
        before = first and (first.colours, first.choice)
        solved = solve_frame(
            canvas, template.vertices, cameras, [(k, p, None) for k, p in enumerate(plates)], lambda: None, before
        )
        first = first or solved
        texture, coverage = paint(canvas, solved, np.uint16)
        maps.append(texture / 257)
        # The noise's own: everything that is solved held as it was, only the pixels are new.
        frozen.append(paint(canvas, replace(first, views=solved.views), np.uint16)[0] / 257)
    seen = coverage > 0
    own, all_of_it = np.std(frozen, axis=0)[seen], np.std(maps, axis=0)[seen]
    assert own.mean() < NOISE  # it is averaged
    assert np.sqrt((all_of_it**2).mean()) < 1.2 * np.sqrt((own**2).mean())
