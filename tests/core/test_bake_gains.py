"""Cameras that see colours differently agree on the surface, and frames keep to the first one's colours."""

import bake_scenes as scenes
import numpy as np
import pytest
from bake_scenes import Board
from PIL import Image

from topo4d_blender.core.texture import bake_take
from topo4d_blender.core.texture.gains import solve_gains
from topo4d_blender.core.texture.reference import NAME, before, read_reference

WALL = Board((-0.5, -0.5, 0.5, 0.5), 0.0, (0.05, 0.05, 0.65, 0.65), scenes.smooth)
GAINS = np.array([[1.1, 1.0, 0.9], [0.85, 1.0, 1.1], [1.0, 1.12, 1.0], [1.0, 0.9, 1.1]])
OFFSETS = np.array([[4.0, -3, 0], [-6, 2, 1], [3, 0, -4], [-1, 1, 3]])


def seen(rng, count=3000, noise=1.0):
    """Colours of a surface through cameras with GAINS and OFFSETS, each sample seen by some of them."""
    truth = rng.uniform(30, 200, (count, 1, 3))
    colours = (truth - OFFSETS) / GAINS + rng.normal(0, noise, (count, 4, 3))
    weights = rng.random((count, 4)) * (rng.random((count, 4)) < 0.6)
    return truth[:, 0], colours.astype(np.float32), weights.astype(np.float32)


def test_gains_and_offsets_are_found_up_to_what_all_share():
    rng = np.random.default_rng(0)
    truth, colours, weights = seen(rng)
    bad = rng.random(weights.shape) < 0.1
    colours[bad] += 60  # gloss
    gains, offsets = solve_gains(colours, weights)
    both = gains * colours + offsets
    clean = np.where(bad | (weights == 0), np.nan, 1)[..., None] * both
    some = np.isfinite(clean[..., 0]).any(axis=1)
    assert np.nanmean(np.nanstd(clean[some], axis=1)) < 1.5  # untreated: 14
    np.testing.assert_allclose(np.log(gains).mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(gains / GAINS, np.broadcast_to((gains / GAINS).mean(axis=0), (4, 3)), atol=0.02)


def test_a_reference_holds_what_all_share():
    truth, colours, weights = seen(np.random.default_rng(1))
    known = truth.copy()
    known[::3] = np.nan
    gains, offsets = solve_gains(colours, weights, known)
    np.testing.assert_allclose(gains, GAINS, atol=0.02)
    np.testing.assert_allclose(offsets, OFFSETS, atol=1.0)


def test_a_camera_that_shares_nothing_keeps_what_was_expected():
    truth, colours, weights = seen(np.random.default_rng(2))
    weights[:, 2] = 0
    gains, offsets = solve_gains(colours, weights, None, np.full((4, 3), 1.3, np.float32))
    np.testing.assert_allclose(gains[2], 1.3, rtol=1e-6)
    assert not offsets[2].any()
    gains, offsets = solve_gains(colours, np.zeros_like(weights))
    np.testing.assert_array_equal(gains, 1)


@pytest.fixture
def flickering(tmp_path):
    """A wall that stands still for three frames while light and cameras change."""
    take, capture = scenes.make_take(tmp_path, [WALL], scenes.rig(4), (1, 2, 3))
    rng = np.random.default_rng(3)
    for frame in (2, 3):
        for path in capture.images[frame].values():
            with Image.open(path) as picture:
                pixels = np.asarray(picture) * rng.uniform(0.85, 1.1, 3) * (0.9, 1, 1)[frame % 3] + rng.uniform(-3, 3)
            Image.fromarray(np.rint(pixels).clip(0, 255).astype(np.uint8)).save(path)
    return take, capture


def read(take, frame):
    with Image.open(take.texture_path(frame)) as picture:
        return np.asarray(picture).astype(float)


def test_frames_keep_the_first_ones_colours_also_when_resumed(flickering):
    take, capture = flickering
    bake_take(take, capture, 64)
    maps = [read(take, frame) for frame in (1, 2, 3)]
    for later in maps[1:]:
        assert np.abs(later - maps[0]).mean() < 1.0 and np.abs((later - maps[0]).mean(axis=(0, 1))).max() < 0.5
    assert read_reference(take.folder).frame == 1
    take.texture_path(3).unlink()
    assert bake_take(take, capture, 64, resume=True) == [3]
    np.testing.assert_array_equal(read(take, 3), maps[2])


def test_another_choice_of_cameras_begins_with_its_own_reference(flickering):
    take, capture = flickering
    bake_take(take, capture, 64, (2,))
    assert read_reference(take.folder).frame == 2
    (take.folder / NAME).write_bytes(b"broken")
    assert read_reference(take.folder) is None
    bake_take(take, capture, 64, (3,))
    assert read_reference(take.folder).frame == 3
    kept, triangles = read_reference(take.folder), len(take.template.triangles)
    names = tuple(camera.name for camera in capture.cameras)
    images = kept.images
    assert before(kept, 1, names, images, triangles) is not None
    assert before(kept, 3, names, images, triangles) is None  # its own frame, baked again
    assert before(kept, 1, names[:3], images, triangles) is None
    assert before(kept, 1, names, images, triangles + 1) is None
    assert before(kept, 1, names, "graded/capture.json", triangles) is None  # other plates have other colours
