"""Vertices that no camera saw in the reference: inner lips, sockets, the back of the head.

Nothing measures them, so nothing but the prior may place them, and it must do so without memory of its own: their
displacement from the template (moved rigidly with the head) is the smoothest one that agrees with the vertices that
were seen. As it is solved from the template anew in every frame, it never drifts, and lips that shut come back.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from .rigid import align
from .surface import bending_matrix

Array = np.ndarray
SEEN = 1.0  # photometric stiffness, relative to the median, at which a vertex holds its place this firmly:
# Against the bending of one edge. In proportion: its square let go of rims that few pixels show (0.119 mm for 0.121).
HOLD = 1.0
LEAST = 1e-6  # so that an island nobody sees moves rigidly with the head


class Carrier:
    """Carries hidden vertices along with seen ones; factorised once a take."""

    def __init__(self, vertices: Array, edges: Array, stiffness: Array):
        """For the template's `vertices` [V, 3] and `edges` [E, 2]; `stiffness` [V] relative to the median."""
        self.template = vertices
        self.hold = HOLD * np.minimum(stiffness / SEEN, 10.0) + LEAST
        matrix = (bending_matrix(vertices, edges) + sp.diags(self.hold)).tocsc()
        self._factor = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})

    def __call__(self, vertices: Array) -> Array:
        """`vertices` [V, 3] with the hidden ones placed.  # [V, 3]."""
        rotation, shift = align(self.template, vertices, self.hold)
        rest = self.template @ rotation.T + shift
        return rest + self._factor.solve(self.hold[:, None] * (vertices - rest))
