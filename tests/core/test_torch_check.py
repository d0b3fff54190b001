"""Asking a device whether it tracks: it does where it agrees with the processor, and says why where it does not."""

import pytest
from torch_devices import DEVICES

from topo4d_blender.core.track import torch_check, torch_solver


@pytest.mark.parametrize("device", DEVICES)
def test_a_device_that_agrees_is_used(device):
    assert torch_check.tracks_on(device) == (True, "")


def test_the_sheet_that_is_asked_about_moves():
    template = torch_check.make_sheet()
    cameras = tuple(torch_check.make_camera(k, *size) for k, size in enumerate(torch_check.SIZES))
    plates = [[torch_check.make_plate(k, s, shift) for k, s in enumerate(torch_check.SIZES)] for shift in (0, 1)]
    solution = torch_check._solve(template, cameras, plates, "cpu")
    moved = cameras[0].project(solution.vertices)[0] - cameras[0].project(template.vertices)[0]
    assert abs(moved).mean() > 0.3 and solution.seen > 0.8


def test_a_device_that_is_not_there_says_so():
    works, why = torch_check.tracks_on("cuda:77")
    assert not works and why


def test_a_device_that_computes_otherwise_is_not_used(monkeypatch):
    judge, asked = torch_solver.TorchSolver._judge, []

    def wrong(self, vertices, *arguments):
        asked.append(0)
        return judge(self, vertices * (1.01 if len(asked) == 1 else 1.0), *arguments)

    monkeypatch.setattr(torch_solver.TorchSolver, "_judge", wrong)
    works, why = torch_check.tracks_on("cpu")
    assert not works and "px from where the processor does" in why
