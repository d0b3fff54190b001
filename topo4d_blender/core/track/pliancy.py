"""How freely each part of the face bends in a frame, as its motion by optical flow says.

One stiffness for all of a face is too stiff where it plays and too soft where it rests: at the corners of lips that
part, neighbours move millimetres apart, while a forehead hardly bends at all. What bends away from the prior's base is
seen by flow before anything is solved, so each vertex's bending is weighed by how little flow bends around it, relative
to the median vertex: a line process (Black and Rangarajan, IJCV 1996) set once a frame, not within the solution, where
noise would set it (bending of the solution itself gave a per cent back). By a power well below the reciprocal, because
flow exaggerates; within limits, because it errs. Vertices that no camera saw keep their weight: softer, they no longer
hold the rims of lips. Knows no plates; runs on the host for every device.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from .surface import Surface, neighbourhoods, numbers_of

Array = np.ndarray
POWER = 0.35  # of the squared bending: the reciprocal (1) breaks lips, 0.25 and 0.5 are a per cent behind
SOFTEST, STIFFEST = 0.1, 3.0  # of the weight a vertex has without; wider limits gave the same error
RINGS = 5  # rounds of averaging over neighbours
FLAT = 1e-4  # of an edge's length: bends of less are none, rounding does not decide
SEEN = 0.05  # of the median vertex's photometric stiffness: less is not seen


class Pliancy:
    """Weighs a surface's bending frame by frame; keeps nothing of any."""

    def __init__(self, surface: Surface, stiffness: Array):
        """For the photometric `stiffness` [V] of the reference, relative to the median's."""
        self._surface, self._seen = surface, stiffness > SEEN
        self._values = _values_by_row(surface.laplacian, surface.bending)
        ring = neighbourhoods(surface)
        self._mean = sp.diags(1 / np.asarray(ring.sum(axis=1)).ravel()) @ ring

    def __call__(self, moved: Array, base: Array) -> sp.csr_matrix:
        """The bending matrix [V, V] where flow has `moved` the surface and the prior pulls to `base`, each [V, 3].

        It has the pattern of `Surface.bending`, and is that where nothing bends.
        """
        if not self._seen.any():
            return self._surface.bending
        bent = ((self._surface.laplacian @ (moved - base)) ** 2).sum(axis=1)
        for _ in range(RINGS):
            bent = self._mean @ bent
        flat = (FLAT * self._surface.edge_length) ** 2
        ratio = (float(np.median(bent[self._seen])) + flat) / (bent + flat)
        weight = np.clip(ratio**POWER, SOFTEST, STIFFEST)
        weight = self._surface.stiffness * np.where(self._seen, weight, 1.0)
        b = self._surface.bending
        return sp.csr_matrix((self._values @ weight, b.indices, b.indptr), shape=b.shape)


def _values_by_row(laplacian: sp.csr_matrix, bending: sp.csr_matrix) -> sp.csr_matrix:
    """What each row of the Laplacian gives to the values of L' S L, which are this times S [V].  # [N, V]."""
    starts, lengths = laplacian.indptr, np.diff(laplacian.indptr)
    pairs = lengths**2
    row = np.repeat(np.arange(len(lengths)), pairs)
    within = np.arange(pairs.sum()) - np.repeat(np.cumsum(pairs) - pairs, pairs)
    a, b = (starts[row] + part for part in np.divmod(within, lengths[row]))
    entry = numbers_of(bending, laplacian.indices[a], laplacian.indices[b])
    product = laplacian.data[a] * laplacian.data[b]
    return sp.coo_matrix((product, (entry, row)), shape=(bending.nnz, len(lengths))).tocsr()
