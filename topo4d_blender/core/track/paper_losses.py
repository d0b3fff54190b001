"""The paper's priors over one-ring links and hinges (3.2), each a plain function of the mesh, in torch.

All lengths are in the paper's unit (see `paper_settings`). What the paper writes as a sum over rings divided by twice
the number of edges is a mean over links in both directions here.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..splat.torch_reference import rotation_matrices
from .paper_settings import PAPER_EDGE, PaperSettings

Array = np.ndarray
_TINY = 1e-20  # under a root, so that its slope at 0 is 0


class MeshPrior:
    """Holds a mesh together, to its previous frame and to the template."""

    def __init__(
        self,
        vertices: Tensor,  # [V, 3] the template
        edges: Array,  # [E, 2]
        triangles: Array,  # [T, 3]
        settings: PaperSettings,
        stiffness: Array | None = None,  # [V] at least 1: multiplies the weight of links
    ) -> None:
        """Prepare links, hinges and their measures in the template."""
        self._settings = settings
        device = vertices.device
        self.i, self.j = (torch.as_tensor(e.astype(np.int64), device=device) for e in edges.T)
        self.lengths = _length(vertices[self.j] - vertices[self.i])  # [E]
        coarser = max(1.0, float(self.lengths.median()) / PAPER_EDGE)  # or the weights of a coarse mesh would vanish
        self.weights = torch.exp(-settings.falloff * (self.lengths / coarser) ** 2)
        if stiffness is not None:
            stiff = np.maximum(*stiffness[edges.T]).astype(np.float32)
            self.weights = self.weights * torch.as_tensor(stiff, device=device)
        degree = np.bincount(edges.ravel(), minlength=len(vertices))
        self.degree = torch.as_tensor(degree, device=device).to(vertices).clamp(min=1)[:, None]  # [V, 1]
        self.linked = torch.as_tensor(degree > 0, device=device)[:, None]
        self.hinges = torch.as_tensor(find_hinges(triangles), device=device)  # [H, 4]
        self.folds = hinge_angles(vertices, self.hinges)

    def __call__(self, means: Tensor, quats: Tensor, means_before: Tensor, quats_before: Tensor) -> Tensor:
        """The weighted sum for a frame, given the previous one; all [V, 3] or [V, 4]."""
        s = self._settings
        turned = relative_rotation(quats, quats_before)
        return (
            s.rotation * self.rotation(turned)
            + s.isometry * self.isometry(means)
            + s.rigidity * self.rigidity(means, turned, means_before)
            + s.position * self.position(means)
            + s.flatness * self.flatness(means)
        )

    def rotation(self, turned: Tensor) -> Tensor:
        """L_rot: neighbours turn alike since the previous frame. `turned` [V, 4] as from `relative_rotation`."""
        return (self.weights * _length(turned[self.j] - turned[self.i])).mean()

    def isometry(self, means: Tensor) -> Tensor:
        """L_iso: links keep the length they have in the template."""
        return (self.weights * (self.lengths - _length(means[self.j] - means[self.i])).abs()).mean()

    def rigidity(self, means: Tensor, turned: Tensor, before: Tensor) -> Tensor:
        """The code's local rigidity: seen from a vertex as it turned, its neighbours are where they were."""
        back = rotation_matrices(turned).transpose(1, 2)
        now, then = means[self.j] - means[self.i], before[self.j] - before[self.i]
        strain = sum(_length((back[end] @ now[:, :, None])[..., 0] - then) for end in (self.i, self.j))
        return (self.weights * strain).mean() / 2

    def position(self, means: Tensor) -> Tensor:
        """L_pos: every vertex lies near the mean of its ring."""
        ring = torch.zeros_like(means).index_add(0, self.i, means[self.j]).index_add(0, self.j, means[self.i])
        return (self.linked * (means - ring / self.degree) ** 2).sum() / len(means)

    def flatness(self, means: Tensor) -> Tensor:
        """L_flat: hinges keep the angle they have in the template."""
        cosine, sine = hinge_angles(means, self.hinges)
        return (1 - (cosine * self.folds[0] + sine * self.folds[1])).sum()


def scale_loss(scales: Tensor, first: Tensor, limit: float) -> Tensor:
    """L_scale: Gaussians [V, 3] are thin, and not much larger than they were at `first` [V]."""
    return scales.min(dim=1).values.sum() + torch.relu(scales.max(dim=1).values - limit * first).sum()


def relative_rotation(quats: Tensor, before: Tensor) -> Tensor:
    """q q_before^-1 of quaternions w x y z of any length.  # [V, 4], unit."""
    w, x, y, z = torch.nn.functional.normalize(quats, dim=1).unbind(dim=1)
    a, b, c, d = torch.nn.functional.normalize(before, dim=1).unbind(dim=1)
    return torch.stack(
        [
            w * a + x * b + y * c + z * d,
            x * a - w * b - y * d + z * c,
            y * a - w * c - z * b + x * d,
            z * a - w * d - x * c + y * b,
        ],
        dim=1,
    )


def find_hinges(triangles: Array) -> Array:
    """Edges between exactly two triangles: both ends, and the corner opposite on either side.  # [H, 4] int64."""
    sides = np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=2).reshape(-1, 2).astype(np.int64)
    opposite = np.roll(triangles, -2, axis=1).ravel()
    _, edge, count = np.unique(np.sort(sides, axis=1), axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(edge, kind="stable")
    pairs = order[count[edge[order]] == 2].reshape(-1, 2)
    return np.concatenate([sides[pairs[:, 0]], opposite[pairs]], axis=1).astype(np.int64)


def hinge_angles(means: Tensor, hinges: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the angle between the two triangles of each hinge.  # [H], [H]."""
    a, b, c, d = (means[hinges[:, k]] for k in range(4))
    along = torch.nn.functional.normalize(b - a, dim=1)
    left = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=1)
    right = torch.nn.functional.normalize(torch.linalg.cross(d - a, b - a), dim=1)
    return (left * right).sum(dim=1), (torch.linalg.cross(left, right) * along).sum(dim=1)


def _length(vectors: Tensor) -> Tensor:
    return torch.sqrt((vectors**2).sum(dim=1) + _TINY)
