"""gsplat's renderer: what it is asked, and where CUDA is, that it draws the twin's picture."""

import sys

import numpy as np
import pytest
import torch
from splat_scenes import NEAR, make_camera, make_cloud, tensors

from topo4d_blender.core.errors import RequestError
from topo4d_blender.core.splat import gsplat_renderer, torch_reference
from topo4d_blender.core.splat.gaussians import Gaussians


def test_gsplat_is_asked_for_one_view_of_plain_colours():
    cloud, camera = make_cloud(7, dtype=torch.float32), make_camera()
    asked = gsplat_renderer.arguments(cloud, camera, NEAR)
    shapes = {name: tuple(asked[name].shape) for name in ("means", "quats", "scales", "opacities", "colors")}
    assert shapes == {"means": (7, 3), "quats": (7, 4), "scales": (7, 3), "opacities": (7,), "colors": (7, 3)}
    assert asked["viewmats"].shape == (1, 4, 4) and asked["Ks"].shape == (1, 3, 3)
    assert {asked[name].dtype for name in ("means", "viewmats", "Ks")} == {torch.float32}
    points = np.random.default_rng(0).normal(size=(5, 3))
    seen = points @ asked["viewmats"][0, :3, :3].numpy().T + asked["viewmats"][0, :3, 3].numpy()
    pixels = seen @ asked["Ks"][0].numpy().T
    assert np.allclose(pixels[:, :2] / pixels[:, 2:], camera.project(points)[0], atol=1e-4)
    assert (asked["width"], asked["height"], asked["near_plane"], asked["eps2d"]) == (37, 29, NEAR, 0.3)


def test_without_gsplat_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gsplat", None)  # importing it raises
    with pytest.raises(RequestError, match="gsplat==1.5.3"):
        gsplat_renderer.rasterise(make_cloud(3, dtype=torch.float32), make_camera(), NEAR)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device and gsplat")
def test_it_draws_the_twins_picture():
    pytest.importorskip("gsplat")
    cloud, camera = make_cloud(60, dtype=torch.float32), make_camera()
    twin = torch_reference.rasterise(cloud, camera, NEAR)
    found = gsplat_renderer.rasterise(Gaussians(*(t.cuda() for t in tensors(cloud))), camera, NEAR)
    for a, b in zip(found, twin, strict=True):
        assert torch.allclose(a.cpu(), b, atol=2e-4)
