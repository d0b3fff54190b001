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


def bake(frames: int, start_up: float, late: bool) -> list[tuple[float | None, float]]:
    """(time left as told, as it was) after every step of a bake: frames of 80 steps, nearly all at no cost.

    With `late` a frame is said to be whole when the next one is done, as it is written meanwhile.
    """
    costs = [0.01] * 45 + [5.0] + [0.01] * 20 + [2.0] + [0.01] * 13
    times = [
        cost + (start_up if f == 0 and s in (12, 45) else 0.0) for f in range(frames) for s, cost in enumerate(costs)
    ]
    pace, now, said, total = Pace(by_frame=True), 0.0, [], len(times)
    for done, cost in enumerate(times, 1):
        now += cost
        if done % len(costs) == 0 and not (late and done == len(costs)):
            pace.frame()
        pace.advance(done, now)
        said.append((pace.left(done, total, now), sum(times) - now))
    return said


@pytest.mark.parametrize("late", [False, True])
def test_where_steps_are_parts_of_frames_whole_frames_tell_the_pace(late):
    said = bake(6, start_up=60.0, late=late)
    silent = 80 * (3 if late else 2) - 1
    assert all(told is None for told, _ in said[:silent]) and all(told is not None for told, _ in said[silent:])
    assert all(abs(told - true) < 0.05 for told, true in said[silent:])


def test_a_slow_frame_does_not_count_below_nothing():
    pace = Pace(by_frame=True)
    for done, now in ((4, 10.0), (8, 12.0)):
        pace.frame()
        pace.advance(done, now)
    pace.advance(9, 100.0)
    assert pace.left(9, 12, 100.0) == 0.0


def test_time_left_at_one_moment_is_that_of_the_steps_done():
    pace = Pace()
    told(pace, [(1, 10.0), (2, 60.0), (4, 70.0)], 10)
    assert pace.left(4, 10, 70.0) == pytest.approx(30.0)
