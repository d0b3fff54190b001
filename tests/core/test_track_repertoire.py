"""What the prior takes for the shape: a mixture of earlier shapes where they tell of this one, else the last one."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from track_scenes import grid

from topo4d_blender.core.track.plan import Walk
from topo4d_blender.core.track.repertoire import Repertoire
from topo4d_blender.core.track.surface import laplacian
from topo4d_blender.core.track.walker import Walker

TEMPLATE, TRIANGLES = grid(12, 10)
SIDES = np.concatenate([TRIANGLES[:, [0, 1]], TRIANGLES[:, [1, 2]], TRIANGLES[:, [2, 0]]])
EDGES = np.unique(np.sort(SIDES, axis=1), axis=0)
LAPLACIAN = laplacian(TEMPLATE, EDGES)
SEEN = np.ones(len(TEMPLATE))


def shape(seed: int, size: float = 0.1) -> np.ndarray:
    """A smooth expression's displacement [V, 3]."""
    rng = np.random.default_rng(seed)
    x, y = TEMPLATE[:, :2].T
    waves = [np.sin(3 * rng.normal() * x + 3 * rng.normal() * y + rng.normal()) for _ in range(3)]
    return size * np.stack(waves, axis=1)


def turned(vertices: np.ndarray, degrees: float) -> np.ndarray:
    rotation = Rotation.from_euler("zxy", [degrees, 0.4 * degrees, degrees], degrees=True).as_matrix()
    return vertices @ rotation.T + degrees


def off(a: np.ndarray, b: np.ndarray) -> float:
    """How differently two surfaces bend."""
    return float(np.linalg.norm(LAPLACIAN @ (a - b)))


def test_a_mixture_of_what_was_shown_is_found_wherever_the_head_is():
    smile, jaw = shape(0), shape(1)
    before, earlier = TEMPLATE + 0.8 * smile + 0.2 * jaw, TEMPLATE + 0.3 * smile + 0.6 * jaw
    now = turned(TEMPLATE + 0.5 * smile + 0.9 * jaw, 20)
    base = turned(before, 20)
    mixed = Repertoire(LAPLACIAN, SEEN)(now, base, TEMPLATE, [turned(earlier, -7)])
    assert off(mixed, now) < 0.2 * off(base, now)
    alone = Repertoire(LAPLACIAN, SEEN)(now, base, TEMPLATE, [])
    assert off(mixed, now) < 0.5 * off(alone, now) < 0.5 * off(base, now)


def test_what_was_never_shown_leaves_the_frame_before():
    """Also flow's own noise, which no shape resembles."""
    before = TEMPLATE + shape(0)
    now = before + np.random.default_rng(5).normal(0, 0.02, TEMPLATE.shape)
    mixed = Repertoire(LAPLACIAN, SEEN)(now, before, TEMPLATE, [TEMPLATE + shape(2)])
    assert off(mixed, before) < 0.1 * off(now, before)


def test_vertices_that_no_camera_sees_do_not_ask():
    seen = np.where(TEMPLATE[:, 0] < 0.3, 1.0, 0.0)
    before, earlier = TEMPLATE + shape(0), TEMPLATE + shape(1)
    now = TEMPLATE + 0.6 * shape(0) + 0.5 * shape(1)
    wild = now + np.where(TEMPLATE[:, :1] > 0.55, 1.0, 0.0) * shape(3, 1.0)
    calm, led = (Repertoire(LAPLACIAN, seen)(m, before, TEMPLATE, [earlier]) for m in (now, wild))
    trusting = Repertoire(LAPLACIAN, SEEN)(wild, before, TEMPLATE, [earlier])
    assert off(led, calm) < 0.05 * off(trusting, calm)


def test_a_still_take_stays_the_frame_before():
    """No shape bends away from the template: nothing to mix."""
    base = turned(TEMPLATE, 3)
    mixed = Repertoire(LAPLACIAN, SEEN)(base, base, TEMPLATE, [TEMPLATE])
    np.testing.assert_allclose(mixed, base, atol=1e-9)


class Kept:
    """A store of a hundred frames, each all its own number."""

    def __init__(self, lost: tuple[int, ...] = ()):
        self.lines = {f: {"flags": ["lost"] if f in lost else []} for f in range(1, 101)}

    def read(self, frame: int) -> np.ndarray:
        return np.full((4, 3), frame, np.float32)


@pytest.mark.parametrize(
    ("start", "lost", "expected"),
    [
        (50, (), [49, 48, 46, 42, 34, 18]),
        (50, (48, 20), [49, 47, 45, 41, 33, 16]),
        (3, (), [2, 1]),
        (1, (), []),
    ],
)
def test_earlier_frames_are_those_before_the_start_that_were_not_lost(start, lost, expected):
    walk = Walk(1, tuple(range(2, 101)))
    walker = Walker(*[None] * 7)
    found = walker._earlier(start, walk, Kept(lost))
    assert [int(vertices[0, 0]) for vertices in found] == expected
