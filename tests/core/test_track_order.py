"""In which order frames are solved, from which each starts, and what a change of order or anchors makes stale."""

import pytest

from topo4d_blender.core.capture.patterns import frames_as_written
from topo4d_blender.core.errors import RequestError
from topo4d_blender.core.take.order import moved_last, outwards, parents, solved_alike
from topo4d_blender.core.track.plan import plan_walks, solved_together, touched


def test_outwards_from_the_start():
    assert outwards(50, range(48, 53)) == (50, 51, 52, 49, 48)
    assert outwards(1, [1, 50, 51]) == (1, 50, 51) and outwards(60, [58, 59, 60]) == (60, 59, 58)
    assert outwards(7, []) == (7,)


def test_each_frame_starts_from_its_nearest_neighbour():
    assert parents((50, 51, 52, 49, 48)) == {51: 50, 52: 51, 49: 50, 48: 49}
    assert parents((1, 50, 51)) == {50: 1, 51: 50}
    assert parents((7,)) == {} == parents(())


def test_frames_solved_again_start_from_what_stays():
    first = tuple(range(1, 10))
    assert parents(moved_last(first, (5, 6, 7, 8, 9))) == parents(first)
    back = parents(moved_last(first, (4, 3, 2)))
    assert (back[4], back[3], back[2], back[5]) == (5, 4, 3, 1)  # 5 is there already; nobody solves it again
    alone = moved_last(first, (5,))
    assert alone[-1] == 5 and parents(alone)[5] == 4
    assert moved_last(first, (1, 2))[:1] == (1,)  # the template's own frame is given


def test_a_longer_or_two_sided_order_keeps_what_is_solved():
    assert solved_alike({1, 2}, (1, 2, 3), (1, 2, 3, 4))
    assert solved_alike({50, 51}, (50, 51, 52), (50, 51, 52, 49))
    assert solved_alike(set(), (1, 2), (1, 9))
    assert not solved_alike({1, 3}, (1, 2, 3), (1, 3))  # 3 was solved from 2
    assert not solved_alike({1, 2}, (1, 2, 3), (1, 3))
    assert not solved_alike({1}, (1, 2), (2, 1))


def test_frames_as_a_person_writes_them():
    there = range(1, 100)
    assert frames_as_written("60-57", there) == [60, 59, 58, 57]
    assert frames_as_written("50-52,49-48,51", there) == [50, 51, 52, 49, 48]
    assert frames_as_written("98-120", there) == [98, 99] and frames_as_written("20-1:5", there) == [20, 15, 10, 5]
    for text in ("", "  ", "a", "1-", "1--2"):
        with pytest.raises(RequestError, match="1-120"):
            frames_as_written(text, there)


def walks(frames, anchors):
    return [(w.given, w.frames, w.between) for w in plan_walks(frames, anchors)]


def test_without_anchors_there_is_one_walk():
    assert walks((3, 4, 5, 2, 1), []) == [(3, (4, 5, 2, 1), None)]
    assert walks((3,), []) == []


def test_between_two_given_frames_both_ways_and_outwards_beyond():
    assert walks(tuple(range(1, 10)), [4, 7]) == [
        (1, (2, 3), (1, 4)),
        (4, (3, 2), (1, 4)),
        (4, (5, 6), (4, 7)),
        (7, (6, 5), (4, 7)),
        (7, (8, 9), None),
    ]
    assert walks((5, 6, 4, 3, 2), [3]) == [(3, (4,), (3, 5)), (5, (4,), (3, 5)), (5, (6,), None), (3, (2,), None)]
    assert walks((1, 2), [2]) == []


def test_every_frame_that_is_not_given_is_walked():
    frames = (20, *range(21, 31), *range(19, 9, -1))
    for anchors in ([], [10], [30], [15, 25], [21, 22, 19]):
        made = plan_walks(frames, anchors)
        assert {f for w in made for f in w.frames} == set(frames) - {20, *anchors}
        assert all(w.parents.keys() == set(w.frames) for w in made)


def test_between_anchors_frames_are_solved_together():
    assert solved_together(tuple(range(1, 10)), [5], [3, 7]) == {2, 3, 4, 7}
    assert solved_together(tuple(range(1, 10)), [], [1, 2]) == {2}


def test_a_new_anchor_touches_what_lies_between_those_that_stay():
    frames = tuple(range(1, 12))
    assert touched(frames, {}, {6: "a"}) == set(range(2, 12))
    assert touched(frames, {6: "a"}, {6: "a", 9: "b"}) == {7, 8, 9, 10, 11}
    assert touched(frames, {6: "a", 9: "b"}, {6: "c", 9: "b"}) == set(range(2, 9))
    assert touched(frames, {6: "a", 9: "b"}, {6: "a", 9: "b"}) == set()
    assert touched((6, *range(7, 12), *range(5, 0, -1)), {}, {9: "b"}) == set(range(7, 12))
