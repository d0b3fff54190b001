"""The time left, on made-up clocks: what is done once at the start must not be counted for every step to come."""

import pytest

from topo4d_blender.core.pace import Pace


def told(pace: Pace, steps: list[tuple[int, float]], total: int) -> list[float | None]:
    """What is said after each of `steps`: steps done, seconds since the stage began."""
    said = []
    for done, now in steps:
        pace.advance(done, now)
        said.append(pace.left(done, total, now))
    return said


def test_nothing_is_said_before_a_steady_step_and_then_the_compile_is_not_counted():
    steps = [(1, 15.0), (2, 65.0), (3, 70.0), (4, 75.0), (12, 115.0)]
    assert told(Pace(), steps, 12) == [None, None, pytest.approx(45.0), pytest.approx(40.0), 0.0]


def test_frames_of_an_earlier_run_are_no_pace():
    steps = [(5, 0.0), (6, 50.0), (7, 56.0)]
    assert told(Pace(), steps, 12) == [None, None, pytest.approx(30.0)]


def test_where_steps_are_parts_of_frames_the_whole_first_frame_is_left_out():
    pace = Pace(by_frame=True)
    assert told(pace, [(1, 1.0), (2, 2.0), (3, 30.0)], 8) == [None, None, None]
    pace.frame()
    assert told(pace, [(4, 31.0), (5, 32.0), (6, 34.0)], 8) == [None, pytest.approx(3.0), pytest.approx(3.0)]


def test_time_left_at_one_moment_is_that_of_the_steps_done():
    pace = Pace()
    told(pace, [(1, 10.0), (2, 60.0), (4, 70.0)], 10)
    assert pace.left(4, 10, 70.0) == pytest.approx(30.0)


def test_the_first_whole_frame_corrects_what_was_said_before_it():
    pace = Pace()
    told(pace, [(1, 1.0), (2, 2.0), (3, 100.0)], 8)
    pace.frame()
    assert told(pace, [(4, 101.0), (5, 102.0)], 8) == [None, pytest.approx(3.0)]
