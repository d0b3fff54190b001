"""What the prior takes for the face's shape in a frame: a mixture of what this performance has shown before.

A prior that knows only the frame before it remembers that frame's errors, and takes a jaw that goes on opening for a
surprise. The bending of a face in motion lies near what few shapes span: the template's and those of earlier frames.
So the prior's base is their affine mixture that bends most like the surface which optical flow has moved,

    B = R + sum_j c_j (X_j - R),    min_c |L (B - F)|^2 + ridge |c - e|^2,

with the template R, earlier frames X_j moved rigidly to this one, the flow's surface F, the Laplacian L over vertices
that are seen, and e that picks the frame before. It is a base, not a limit: what has never been shown bends away from
it as from any other. The earlier frames are given anew each time, so a take that is gone on with gives the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from .rigid import align

Array = np.ndarray
RIDGE = 0.03  # of the shapes' mean bending: towards the frame before
LEAST = 1e-6  # of a vertex that nobody sees, so that there is something to move a mesh by


class Repertoire:
    """Mixes earlier shapes; holds none of them."""

    def __init__(self, laplacian: sp.csr_matrix, stiffness: Array):
        """For the reference's `laplacian` [V, V] and the photometric `stiffness` [V] relative to the median's."""
        self._seen = np.minimum(stiffness, 1.0) + LEAST
        self._bend = sp.diags(self._seen) @ laplacian

    def __call__(self, moved: Array, base: Array, template: Array, earlier: Sequence[Array]) -> Array:
        """The base of the prior, where flow has `moved` the frame before; `base` is that frame moved rigidly.

        `earlier` are shapes of other frames, in any order; all are [V, 3].  # [V, 3].
        """
        rest = self._onto(template, moved)
        shapes = np.stack([shape - rest for shape in (base, *(self._onto(shape, moved) for shape in earlier))])
        bends = np.stack([(self._bend @ shape).ravel() for shape in shapes])
        gram = bends @ bends.T
        ridge = RIDGE * np.trace(gram) / len(gram)
        if not ridge > 0:
            return base
        # Of what differs from the frame before: the ridge then pulls towards it.
        short = (self._bend @ (moved - rest)).ravel() - bends[0]
        wanted = np.einsum("jn,n->j", bends, short)  # the same bits on any number of threads
        more = np.linalg.solve(gram + ridge * np.eye(len(gram)), wanted)
        return base + np.einsum("j,jvc->vc", more, shapes)

    def _onto(self, shape: Array, vertices: Array) -> Array:
        """`shape` [V, 3] moved rigidly onto `vertices` [V, 3]."""
        rotation, shift = align(shape, vertices, self._seen)
        return shape @ rotation.T + shift
