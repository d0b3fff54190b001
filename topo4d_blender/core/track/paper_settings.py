"""What the paper's tracker may be told. Lengths are in the paper's own unit, whatever the capture's is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .settings import checked

Array = np.ndarray
PAPER_DIAGONAL = 2.345  # the paper's own example, a head with neck, measures 1.320 x 1.563 x 1.147 of its units

PAPER_EDGE = 0.025  # units, about: 8,280 vertices on a head of that size


@dataclass(frozen=True)
class PaperSettings:
    """Settings of "Topo4D" (ECCV 2024), with the values of the paper, or of its public code where the paper is silent.

    The paper's constants belong to a mesh of one size; here a template of any size is brought to that size first, so
    that a unit below is about a fifth of a metre on a head.
    """

    iterations: int = 1000  # a frame, one view each
    first_frame_iterations: int = 7000  # for colours, scales, rotations and camera gains
    seed: int = 0  # of the order of views
    working_pixels: int = 200_000  # larger plates are reduced to at most this: 4096 x 3000 to 512 x 375
    image_l1: float = 0.8
    image_ssim: float = 0.2
    rotation: float = 20.0
    isometry: float = 20.0
    rigidity: float = 3.5  # of the code; D3DG's "local rigidity"
    position: float = 1e3
    flatness: float = 2e-4
    scale: float = 10.0  # frame 1
    scale_limit: float = 3.0  # lambda_init: how many times its first size a Gaussian may grow to at no cost
    falloff: float = 2000.0  # lambda_w, 1 / unit^2: how fast a neighbour's weight falls with distance; see `MeshPrior`
    position_rate: float = 1.6e-5  # units an iteration
    rotation_rate: float = 1e-3
    colour_rate: float = 2.5e-3  # frame 1, as the next two
    scale_rate: float = 1e-3
    gain_rate: float = 1e-4
    margin: float = 0.1  # units around the mesh that are looked at, beside it
    near: float = 0.01  # units: nothing nearer to a camera is drawn

    @classmethod
    def from_dict(cls, values: dict) -> PaperSettings:
        """Settings from a take's JSON. Raises RequestError for a name or a value that cannot be."""
        return checked(cls, "splat", values, ("working_pixels",))


def paper_unit(vertices: Array, triangles: Array) -> float:
    """The length of the paper's unit for a template [V, 3], in capture units, by the diagonal of its bounding box."""
    return float(np.linalg.norm(np.ptp(vertices[np.unique(triangles)], axis=0))) / PAPER_DIAGONAL
