"""Joins a frame solved forward from one anchor with the same frame solved backward from the next."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from .pose import HeadFit, move, move_back

Array = np.ndarray


def blend(head: HeadFit, forward: Array, backward: Array, share: float) -> Array:
    """The vertices [V, 3] that lie `share` (0..1) of the way from `forward` to `backward` [V, 3].

    The face is blended in the head's own space and the head's motion apart, so nothing shrinks where the two passes
    disagree about how the head is turned.
    """
    first, second = head(forward), head(backward)
    turn = Slerp([0.0, 1.0], Rotation.from_matrix([first[:3, :3], second[:3, :3]]))(share).as_matrix()
    face = (1 - share) * move_back(first, forward) + share * move_back(second, backward)
    centre = face.mean(axis=0)  # goes straight; about the world's origin a turn would swing it
    way = (1 - share) * move(first, centre) + share * move(second, centre)
    return (face - centre) @ turn.T + way
