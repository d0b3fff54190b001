"""The paper's tracker: render the Gaussian Mesh by splatting, compare with one plate, step by Adam; frame by frame.

Source: "Topo4D: Topology-Preserving Gaussian Splatting for High-Fidelity 4D Head Capture", ECCV 2024. Losses, weights,
rates and counts are the paper's (`paper_settings`). What differs from its public code, and why:

* The template is brought to the size the constants belong to, so any unit tracks alike; cameras may be any.
* One step-by-step prior for every vertex: no regions of one topology. The role t4d_ignore takes the place of the
  face parser's mask, t4d_stiff that of hand-made weights. Nothing is pinned in space: heads move.
* The paper films before black and renders onto black. Here every camera has a background: its reference plate, filled
  in where the mesh covered it. The loss counts pixels on the mesh at the frame's start and a margin around it.
* Views come in shuffled rounds, so each is used as often as any other; Adam begins afresh in every frame.
* Gains and offsets learnt in the reference frame are used in all others.
* Rotations are not carried from frame to frame: a frame begins with those that the rings of the previous mesh show. So
  a frame depends on the reference and the previous vertices alone, and a resumed take gives the same bits.
* Vertices are not pushed out along their normals afterwards: the template lies at the Gaussians' centres by definition,
  and pushing would be a step between the first frame and the second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from ..capture import Camera
from ..template import Template
from .paper_appearance import Appearance, first_appearance, fit_appearance
from .paper_image import Target
from .paper_losses import MeshPrior
from .paper_scene import Scene, quaternion_product, ring_rotations
from .paper_settings import PaperSettings
from .solver import LEAST_SCALE, Solution

Array = np.ndarray


class PaperSolver:
    """`methods.Solver` by the paper's method. The reference's appearance is fitted when the first frame is solved."""

    def __init__(
        self, template: Template, cameras: tuple[Camera, ...], settings: PaperSettings, device: str = "cpu"
    ) -> None:
        """Prepare for `template` seen by `cameras` (no lens distortion), on "cpu" or "cuda"."""
        self.settings = settings
        self._device = device
        self._scene = Scene(template, cameras, settings)
        self.scales = self._scene.scales
        self._edges = template.edges
        stiff = template.roles.get("t4d_stiff")
        self._stiffness = None if stiff is None else 1.0 + 100.0 * stiff
        self._reference: tuple[Array, list[Array | None]] | None = None
        self._appearance: Appearance | None = None
        self._visible = np.zeros(len(self._scene.triangles), bool)

    def pyramid(self, plates: list[Array | None]) -> list[Array | None]:
        """The plates of a frame, float32 [H, W, 3] at working size, as they are."""
        return plates

    def remember(self, vertices: Array, images: list[Array | None]) -> float:
        """Take `vertices` [V, 3] and their plates as the reference; returns the share of triangles any camera sees."""
        points = self._scene.inside(vertices)
        self._reference, self._appearance = (points, images), None
        self._visible = self._seen(points, images)
        return float(self._visible.mean())

    def solve(
        self,
        images: list[Array | None],
        previous: Array,
        guess: Array,
        template: Array,
        check: Callable[[], None] = lambda: None,
        before: list[Array | None] | None = None,
        earlier: Sequence[Array] = (),
    ) -> Solution:
        """Vertices of a frame, from `guess` [V, 3]; `previous` [V, 3] is the frame the prior holds them to.

        `template`, `before` and `earlier` are of no use to this method.

        The order of views comes from the seed alone, so frames may be solved in any order. `check` is called before
        every iteration and may raise `Cancelled`.
        """
        s, scene = self.settings, self._scene
        with _one_thread():
            appearance, prior = self._prepare(check)
            start, held = scene.inside(guess), self._tensor(scene.inside(previous))
            reference = scene.outside(self._reference[0])
            held_quats = self._turned(appearance, reference, previous)
            means = self._tensor(start).clone().requires_grad_()
            quats = self._turned(appearance, reference, guess).requires_grad_()
            targets = self._targets(images, start, appearance)
            optimiser = torch.optim.Adam(
                [{"params": [means], "lr": s.position_rate}, {"params": [quats], "lr": s.rotation_rate}], eps=1e-15
            )
            views = self._views(targets, s.iterations)
            for k in views.tolist():
                check()
                optimiser.zero_grad()
                picture = appearance.picture(means, quats, scene, k, s.near)
                loss = targets[k].loss(picture, s.image_l1, s.image_ssim)
                (loss + prior(means, quats, held, held_quats)).backward()
                optimiser.step()
            means, quats = means.detach(), quats.detach()
            residual = self._residuals(means, quats, images, targets, appearance)
        points = means.cpu().numpy()
        seen = (self._seen(points, images) & self._visible).sum() / max(1, self._visible.sum())
        return Solution(scene.outside(points), residual, float(seen), len(views))

    def _prepare(self, check: Callable[[], None]) -> tuple[Appearance, MeshPrior]:
        """The reference's appearance, fitted once, and the prior."""
        if self._reference is None:
            raise ValueError("remember a reference before solving a frame")
        if self._appearance is None:
            s, (points, plates) = self.settings, self._reference
            begun = first_appearance(self._scene, points, self._edges, plates, self._device)
            targets = self._targets(plates, points, begun)
            views = self._views(targets, s.first_frame_iterations)
            means = self._tensor(points)
            fitted = fit_appearance(begun, self._scene, means, targets, s, views, check)
            self._prior = MeshPrior(means, self._edges, self._scene.triangles, s, self._stiffness)
            self._appearance = fitted
        return self._appearance, self._prior

    def _targets(self, images: list[Array | None], points: Array, appearance: Appearance) -> list[Target | None]:
        """What each camera's pictures are compared with; None for one without a plate here or in the reference."""
        targets: list[Target | None] = []
        for k, (image, background) in enumerate(zip(images, appearance.backgrounds, strict=True)):
            missing = image is None or background is None
            targets.append(
                None if missing else Target.of(self._tensor(image), background, self._scene.looked_at(points, k))
            )
        return targets

    def _views(self, targets: list[Target | None], count: int) -> Array:
        """A camera for each of `count` iterations, in shuffled rounds of all that see something; none if none does."""
        usable = np.array([k for k, target in enumerate(targets) if target is not None], int)
        if not len(usable):
            return usable
        rng = np.random.default_rng(self.settings.seed)
        return np.concatenate([rng.permutation(usable) for _ in range(-(-count // len(usable)) or 1)])[:count]

    def _turned(self, appearance: Appearance, reference: Array, vertices: Array) -> Tensor:
        """The reference's rotations, turned as the rings of `vertices` are.  # [V, 4]."""
        turn = ring_rotations(reference, vertices, self._edges)
        return self._tensor(quaternion_product(turn, appearance.quats.cpu().numpy()))

    def _seen(self, points: Array, images: list[Array | None]) -> Array:
        """Triangles that some camera with a plate sees.  # [T] bool."""
        seen = np.zeros(len(self._scene.triangles), bool)
        for k, image in enumerate(images):
            if image is not None:
                ids = self._scene.draw(points, k)[0]
                seen[ids[ids >= 0]] = True
        return seen

    def _residuals(
        self,
        means: Tensor,
        quats: Tensor,
        images: list[Array | None],
        targets: list[Target | None],
        appearance: Appearance,
    ) -> Array:
        """Each camera's residual in pixels: the colour residual over the colour slope, robustly.  # [K], NaN: none."""
        found = np.full(len(images), np.nan)
        for k, target in enumerate(targets):
            if target is None:
                continue
            picture = appearance.picture(means, quats, self._scene, k, self.settings.near).cpu().numpy()
            mask = self._scene.draw(means.cpu().numpy(), k)[0] >= 0
            if not mask.any():
                continue
            r2 = ((picture - images[k]) ** 2).sum(axis=2)[mask]
            slope2 = sum((g**2).sum(axis=2)[mask] for g in np.gradient(picture, axis=(0, 1)))
            scale2 = max(LEAST_SCALE, 6 * 1.4826 * float(np.median(np.sqrt(r2)))) ** 2
            w = (scale2 / (scale2 + r2)) ** 2
            with np.errstate(divide="ignore", invalid="ignore"):
                found[k] = np.sqrt(2 * (w * r2).sum() / (w * slope2).sum())
        return found

    def _tensor(self, values: Array) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(values, np.float32), device=self._device)


@contextmanager
def _one_thread() -> Iterator[None]:
    """torch on one thread: its work here is small, and its sums then have one order whatever the machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
