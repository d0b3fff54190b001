"""The plan of stages: from the head's size down to a pixel, the same in every unit."""

import dataclasses

import pytest

from topo4d_blender.core.errors import RequestError
from topo4d_blender.core.track.paper_settings import PaperSettings
from topo4d_blender.core.track.settings import TrackSettings, plan_stages

SETTINGS = TrackSettings()


@pytest.mark.parametrize("pixel", [0.05, 0.3, 2.4])  # mm
def test_blurs_halve_from_a_share_of_the_head_to_the_finest(pixel):
    rigid, *surface = plan_stages(SETTINGS, pixel, edge=4.0, radius=90.0)
    assert rigid.rigid and not any(stage.rigid for stage in surface)
    assert surface[-1].blur == SETTINGS.finest_blur
    for coarse, fine in zip(surface, surface[1:], strict=False):
        assert coarse.blur == pytest.approx(2 * fine.blur)
    coarsest = surface[0].blur * pixel / 90.0
    assert 0.75 * SETTINGS.coarsest_blur <= coarsest < 1.5 * SETTINGS.coarsest_blur or len(surface) == 1
    assert rigid.blur * pixel / 90.0 >= SETTINGS.rigid_blur - 1e-9 and rigid.blur >= surface[0].blur
    finest = [SETTINGS.refine_iterations] * (SETTINGS.after_flow - 1) + [SETTINGS.finest_iterations]
    count = min(len(surface), SETTINGS.after_flow)
    assert [stage.iterations for stage in surface[-count:]] == finest[-count:]
    assert all(stage.iterations == SETTINGS.iterations for stage in (rigid, *surface[:-count]))


def test_sharper_plates_have_more_stages():
    counts = [len(plan_stages(SETTINGS, pixel, 4.0, 90.0)) for pixel in (4.8, 2.4, 1.2, 0.6, 0.3)]
    assert counts[2:] == [counts[2], counts[2] + 1, counts[2] + 2] and counts == sorted(counts)


def test_pixels_wider_than_the_coarsest_blur_leave_one_stage_of_the_surface():
    rigid, surface = plan_stages(SETTINGS, 50.0, 4.0, 90.0)
    assert surface.blur == SETTINGS.finest_blur and rigid.blur >= surface.blur


@pytest.mark.parametrize("unit", [1000.0, 10.0, 150.0, 1e-3])
def test_no_stage_depends_on_the_unit(unit):
    plan = plan_stages(SETTINGS, 0.6, 4.0, 90.0)
    other = plan_stages(SETTINGS, 0.6 / unit, 4.0 / unit, 90.0 / unit)
    for a, b in zip(plan, other, strict=True):
        assert b.bending == pytest.approx(a.bending) and b.blur == pytest.approx(a.blur)
        assert (b.iterations, b.rigid) == (a.iterations, a.rigid)


def test_the_prior_is_at_most_as_stiff_as_asked_where_the_blur_is_an_edge_wide_and_stiffer_above():
    _, *surface = plan_stages(SETTINGS, 1.0, edge=SETTINGS.finest_blur, radius=90.0)
    limits = (SETTINGS.softest, SETTINGS.stiffest)
    assert surface[-1].bending == pytest.approx(limits)
    assert surface[-2].bending == pytest.approx([8 * limit for limit in limits])


def test_settings_are_read_by_name_and_an_unknown_one_is_refused_in_words():
    assert TrackSettings.from_dict({"iterations": 7}) == dataclasses.replace(SETTINGS, iterations=7)
    with pytest.raises(RequestError, match="stifness.*iterations.*stiffness"):
        TrackSettings.from_dict({"stifness": 1})


@pytest.mark.parametrize("kind", [TrackSettings, PaperSettings])
@pytest.mark.parametrize(
    ("name", "value"),
    [("iterations", -1), ("iterations", 2.5), ("working_pixels", 0), ("iterations", "3"), ("iterations", float("inf"))],
)
def test_a_value_that_cannot_be_is_refused_in_words(kind, name, value):
    with pytest.raises(RequestError, match=f"{name}.*number"):
        kind.from_dict({name: value})


@pytest.mark.parametrize("name", ["iterations", "after_flow", "finest_blur"])
def test_what_nothing_can_be_solved_without_is_not_zero(name):
    with pytest.raises(RequestError, match=f"{name}.*above 0"):
        TrackSettings.from_dict({name: 0})


def test_a_whole_number_written_as_another_is_taken():
    assert type(TrackSettings.from_dict({"iterations": 4.0}).iterations) is int
