"""Frames as a person writes them, for track and bake alike: numbers, ranges and every n-th of a range."""

import pytest

from topo4d_blender.core.capture.patterns import choose_frames
from topo4d_blender.core.errors import RequestError


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("1-20:5", (1, 6, 11, 16)),
        ("2-20:5", (2, 7, 12, 17)),
        ("1-20:5, 3, 19-20", (1, 3, 6, 11, 16, 19, 20)),
        (" 1 - 9 : 4 ", (1, 5, 9)),
        ("7-7:3", (7,)),
        ("18-20:100", (18,)),
    ],
)
def test_every_nth_of_a_range(text, chosen):
    assert choose_frames(text, range(1, 21)) == (chosen, [])


def test_every_nth_counts_from_the_number_that_was_written():
    chosen, warnings = choose_frames("0-30:10", range(5, 26))
    assert chosen == (10, 20) and len(warnings) == 1 and "only the frames 10-20 of 0-30:10" in warnings[0]


@pytest.mark.parametrize("text", ["1-20:0", "1:5", "1-20:", "1-20:-5", "1-20:2:2", ":5"])
def test_what_is_no_such_list_is_refused_with_an_example(text):
    with pytest.raises(RequestError, match="1-100:5"):
        choose_frames(text, range(1, 21))


def test_a_step_over_every_frame_there_is_is_refused():
    with pytest.raises(RequestError, match="no frame 2-20:7"):
        choose_frames("2-20:7", (1, 3, 4, 10, 17))
