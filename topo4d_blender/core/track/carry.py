"""Vertices that no camera saw in the reference: inner lips, sockets, the back of the head.

Nothing measures them, so nothing but the prior may place them, and it must do so without memory of its own: their
displacement from the template (moved rigidly with the head) is the smoothest one that agrees with the vertices that
were seen. As it is solved from the template anew in every frame, it never drifts, and lips that shut come back.

The smoothest displacement of a surface goes on beyond the last seen vertex as it was going there: from the rim of a lip
far into the mouth. But behind a lip lies flesh, and on its other side skin that cameras see. So a hidden vertex also
leans on the displacement of the skin across the flesh from it (see `flesh`).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from .flesh import across_flesh
from .rigid import align
from .surface import bending_matrix

Array = np.ndarray
SEEN = 1.0  # photometric stiffness, relative to the median, at which a vertex holds its place this firmly:
# Against the bending of one edge. In proportion: its square let go of rims that few pixels show (0.119 mm for 0.121).
HOLD = 1.0
LEAST = 1e-6  # so that an island nobody sees moves rigidly with the head
HIDDEN = 0.3  # of HOLD: what holds less leans on the skin across the flesh, the more the less it holds


class Carrier:
    """Carries hidden vertices along with seen ones; factorised once a take."""

    def __init__(self, vertices: Array, triangles: Array, edges: Array, stiffness: Array):
        """For the template's `vertices` [V, 3], `triangles` [T, 3] and `edges` [E, 2].

        `stiffness` [V] is photometric, relative to the median.
        """
        self.template = vertices
        self.hold = HOLD * np.minimum(stiffness / SEEN, 10.0) + LEAST
        hidden = np.maximum(1 - self.hold / (HIDDEN * HOLD), 0.0)
        across, draw = across_flesh(vertices, triangles, edges, hidden)
        self._load = sp.diags(self.hold) + sp.diags(draw) @ across
        matrix = (bending_matrix(vertices, edges) + sp.diags(self.hold + draw)).tocsc()
        self._factor = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})

    def __call__(self, vertices: Array) -> Array:
        """`vertices` [V, 3] with the hidden ones placed.  # [V, 3]."""
        rotation, shift = align(self.template, vertices, self.hold)
        rest = self.template @ rotation.T + shift
        return rest + self._factor.solve(self._load @ (vertices - rest))
