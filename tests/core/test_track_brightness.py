"""How the brightness of vertices is asked for: the cosine at which a camera sees them, against the world's formula."""

import numpy as np
from track_scenes import sheet_level

from topo4d_blender.core.track.appearance import locate
from topo4d_blender.core.track.brightness import _facing


def test_facing_is_the_cosine_in_the_world():
    rng = np.random.default_rng(2)
    level = sheet_level()
    vertices, normals = rng.normal(0, 0.4, (30, 3)), rng.normal(0, 1, (30, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    facing = _facing(normals, locate(vertices, level)[0], level)
    assert all(np.abs(turn - turn.T).max() > 0.01 for turn in level.rotations[1:])  # a turn and its inverse differ
    for k, centre in enumerate(level.centres):
        way = vertices - centre
        cosine = (normals * way).sum(axis=1) / np.linalg.norm(way, axis=1)
        np.testing.assert_allclose(facing[k], cosine, atol=1e-5)
