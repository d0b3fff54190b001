"""Takes that changed under a bake or between two: nothing old passes for new, and what does not fit is said."""

import json

import bake_scenes as scenes
import numpy as np
import pytest
from bake_scenes import Board
from PIL import Image

from topo4d_blender.core.errors import RequestError
from topo4d_blender.core.progress import Progress
from topo4d_blender.core.take.maps import PROXY
from topo4d_blender.core.texture import bake_take
from topo4d_blender.core.texture.reference import NAME

WALL = Board((-0.5, -0.5, 0.5, 0.5), 0.0, (0.05, 0.05, 0.65, 0.65), scenes.smooth)


class Said(Progress):
    """Hears what is said, and may do something while a frame is baked."""

    def __init__(self, meanwhile=None):
        self.sentences, self._meanwhile, self._calls = [], meanwhile, 0

    def warning(self, sentence):
        self.sentences.append(sentence)

    def advance(self, steps):
        self._calls += 1
        if self._meanwhile and self._calls == 10:  # the plates of the first frame are read, its map is not written
            self._meanwhile()


def maps_of(take):
    """The frames that anything of a map is left of, by folder, and those that the journal speaks of."""
    found = {
        name: sorted(int(p.name.split(".")[0]) for p in (take.folder / name).glob("*"))
        for name in ("texture", "texture_2k", "coverage")
    }
    lines = (take.folder / "texture.jsonl").read_text().splitlines()
    return found | {"journal": sorted({json.loads(line)["frame"] for line in lines})}


@pytest.fixture
def baked(tmp_path):
    take, capture = scenes.make_take(tmp_path, [WALL], scenes.rig(3), (1, 2, 3))
    bake_take(take, capture, 32, format="jpeg")
    return take, capture


def test_a_map_deleted_by_hand_is_baked_again_and_leaves_nothing_behind(baked):
    take, capture = baked
    for frame in (2, 3):
        take.texture_path(frame).unlink()
    assert take.textured_frames() == [1]
    assert bake_take(take, capture, 32, (1, 2), resume=True, format="jpeg") == [2]
    assert maps_of(take) == dict.fromkeys(("texture", "texture_2k", "coverage", "journal"), [1, 2])
    take.texture_path(2).unlink()
    assert bake_take(take, capture, 32, (1,), resume=True, format="jpeg") == []  # also where nothing is to be baked
    assert maps_of(take) == dict.fromkeys(("texture", "texture_2k", "coverage", "journal"), [1])


@pytest.mark.parametrize("folder", ["coverage", "texture_2k"])
def test_a_map_that_lacks_what_belongs_beside_it_is_baked_again(baked, folder):
    take, capture = baked
    lost = next((take.folder / folder).glob("000002*"))
    before = lost.read_bytes()
    lost.unlink()
    assert bake_take(take, capture, 32, resume=True, format="jpeg") == [2]
    assert lost.read_bytes() == before


def test_a_folder_of_maps_deleted_by_hand_leaves_no_coverage_of_another_size(baked):
    take, capture = baked
    for path in (take.folder / "texture").iterdir():
        path.unlink()
    assert bake_take(take, capture, 2 * PROXY, (2,), format="jpeg") == [2]
    assert maps_of(take) == dict.fromkeys(("texture", "texture_2k", "coverage", "journal"), [2])
    with Image.open(take.maps.coverage(2)) as picture:
        assert picture.size == (PROXY, PROXY)


def test_maps_of_which_nothing_says_how_they_were_baked_are_replaced_as_a_whole(baked):
    take, capture = baked
    (take.folder / "texture.json").unlink()
    with pytest.raises(RequestError, match="in a way that is not known.*--overwrite"):
        bake_take(take, capture, 32, resume=True)
    assert bake_take(take, capture, 32, overwrite=True) == [1, 2, 3]
    assert {p.suffix for p in (take.folder / "texture").iterdir()} == {".png"}


def test_a_journal_that_needs_nothing_stays_as_it_is(baked):
    take, capture = baked
    journal = take.folder / "texture.jsonl"
    journal.write_bytes(b'{"torn\n' + journal.read_bytes())
    before = journal.read_bytes()
    assert bake_take(take, capture, 32, resume=True, format="jpeg") == []
    assert journal.read_bytes() == before


def test_a_frame_tracked_again_while_it_is_baked_is_not_current(tmp_path):
    take, capture = scenes.make_take(tmp_path, [WALL], scenes.rig(3), (1, 2))
    moved = take.read_geometry(1) + np.float32(0.01)
    said = Said(lambda: take.write_geometry(1, moved, {}))
    assert bake_take(take, capture, 32, None, said) == [1, 2]
    assert [
        s
        for s in said.sentences
        if "Frame 1 was tracked again or taken away while it was baked" in s and "--resume" in s
    ]
    assert len(said.sentences) == 1
    before = take.texture_path(1).read_bytes()
    assert bake_take(take, capture, 32, resume=True) == [1]
    assert take.texture_path(1).read_bytes() != before
    assert bake_take(take, capture, 32, resume=True) == []


def test_a_frame_deleted_while_it_is_baked_is_not_current_either(tmp_path):
    take, capture = scenes.make_take(tmp_path, [WALL], scenes.rig(3), (1, 2))
    vertices = take.read_geometry(1)
    said = Said(lambda: take.geometry_path(1).unlink())
    assert bake_take(take, capture, 32, None, said) == [1, 2]
    assert len(said.sentences) == 1
    take.write_geometry(1, vertices + np.float32(0.01), {})
    assert bake_take(take, capture, 32, resume=True) == [1]


def spoil(take, **changes):
    with np.load(take.folder / NAME) as file:
        arrays = dict(file)
    np.savez(take.folder / NAME, **(arrays | changes))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda take: spoil(take, format=2), "is of an older format (2)"),
        (lambda take: (take.folder / NAME).unlink(), "is gone"),
        (lambda take: (take.folder / NAME).write_bytes(b"torn"), "is damaged"),
        (lambda take: spoil(take, gains=np.ones((1, 3))), "is damaged"),
    ],
)
def test_colours_that_cannot_be_kept_to_are_spoken_of(tmp_path, harm, words):
    take, capture = scenes.make_take(tmp_path, [WALL], scenes.rig(3), (1, 2, 3))
    bake_take(take, capture, 32, (1, 2))
    harm(take)
    said = Said()
    assert bake_take(take, capture, 32, resume=True, progress=said) == [3]
    (sentence,) = said.sentences
    assert sentence.startswith(f"{take.folder / NAME} {words}: the maps of frames 1-2 keep")
    assert "--overwrite" in sentence
    harm(take)
    said = Said()
    assert bake_take(take, capture, 32, overwrite=True, progress=said) == [1, 2, 3]
    assert said.sentences == []  # no map stays


def test_colours_of_a_newer_format_are_not_thrown_away(tmp_path):
    take, capture = scenes.make_take(tmp_path, [WALL], scenes.rig(3), (1, 2))
    bake_take(take, capture, 32, (1,))
    spoil(take, format=99)
    before = (take.folder / NAME).read_bytes()
    with pytest.raises(RequestError, match=f"{NAME} was written by a newer Topo4D .format 99.; update"):
        bake_take(take, capture, 32, (2,))
    with pytest.raises(RequestError, match="newer Topo4D"):
        bake_take(take, capture, 64, (1,), overwrite=True)
    assert (take.folder / NAME).read_bytes() == before and take.textured_frames() == [1]


def test_a_frame_of_another_topology_is_refused_and_not_passed_over(tmp_path):
    take, capture = scenes.make_take(tmp_path, [WALL], scenes.rig(3), (1, 2))
    np.save(take.geometry_path(2), np.zeros((7, 3), np.float32))
    with pytest.raises(RequestError, match="000002.npy has 7 vertices and the template of .* 169: .*another template"):
        bake_take(take, capture, 32)
    assert bake_take(take, capture, 32, (1,)) == [1]
