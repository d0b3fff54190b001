"""The linear system of one Gauss-Newton step: mesh-shaped, 3 unknowns a vertex, solved by preconditioned CG.

H + stiffness * B (x) I3 is never formed: H lives as symmetric 3x3 blocks on vertices and edges, B as a scalar matrix.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, SuperLU, cg, splu

from .surface import Surface
from .system_kernels import conjugate_gradients, gather, multiply

Array = np.ndarray
Factors = dict[float, SuperLU]  # prior, relative to the median photometric stiffness -> factorisation, of float32
DAMPING = 1e-3  # Levenberg damping of every vertex, relative to the median photometric stiffness
STIFF = 2.0  # a prior this many times stiffer than the plates is solved with a factorisation, see `prepare`
PREPARED = (10.0, 100.0, 1e3, 1e4)  # priors, relative to the median photometric stiffness: one is never far
ITERATIONS = 60
# Of a step's residual. More digits are wasted: the next step makes up for it, and what the last one leaves is nothing
# beside the plates' noise (0.03, and 0.02 of the last step alone, gave the same error on captures).
TOLERANCE = 0.1


class MeshSystem:
    """Assembles and solves the steps of one take in buffers of its own."""

    def __init__(self, surface: Surface):
        """Buffers and lists for the matrix of `surface`."""
        self.surface = surface
        count, edges = surface.vertex_count, len(surface.edges)
        self.diagonal = np.zeros((count, 6))
        self.edge_blocks = np.zeros((edges, 6))
        self.gradient = np.zeros((count, 3))
        ends = np.concatenate([surface.edges, surface.edges[:, ::-1]])
        order = np.argsort(ends[:, 0], kind="stable")
        self._blocks = (
            np.concatenate([[0], np.cumsum(np.bincount(ends[:, 0], minlength=count))]).astype(np.int32),
            ends[order, 1].astype(np.int32),
            np.tile(np.arange(edges, dtype=np.int32), 2)[order],
        )
        self._prior_pattern = (surface.bending.indptr.astype(np.int32), surface.bending.indices.astype(np.int32))
        self.bending = surface.bending
        self._factors: Factors = {}

    def assemble(self, hessian: Array, gradient: Array) -> None:
        """Sum triangles' normal equations (`kernels.normal_equations`) onto vertices and edges."""
        s = self.surface
        gather(s.corner_starts, s.corners, hessian[:, :3].reshape(-1, 6), self.diagonal)
        gather(s.side_starts, s.sides, hessian[:, 3:].reshape(-1, 6), self.edge_blocks)
        gather(s.corner_starts, s.corners, gradient.reshape(-1, 3), self.gradient)

    def median_stiffness(self) -> float:
        """Median photometric stiffness of the vertices that are seen: what all prior weights are relative to."""
        trace = (self.diagonal[:, 0] + self.diagonal[:, 3] + self.diagonal[:, 5]) / 3
        seen = trace > 0
        return float(np.median(trace[seen])) if seen.any() else 0.0

    def relative_stiffness(self) -> Array:
        """Photometric stiffness of every vertex, relative to the median of those that are seen.  # [V]."""
        trace = (self.diagonal[:, 0] + self.diagonal[:, 3] + self.diagonal[:, 5]) / 3
        return trace / max(self.median_stiffness(), 1e-300)

    @property
    def bending(self) -> sp.csr_matrix:
        """The prior's matrix [V, V]; another has the pattern of the surface's."""
        return self._bending

    @bending.setter
    def bending(self, matrix: sp.csr_matrix) -> None:
        self._bending = matrix
        self._prior = (*self._prior_pattern, matrix.data)
        self._prior_diagonal = matrix.diagonal()

    def times(self, x: Array, stiffness: float) -> Array:
        """(H + stiffness * B (x) I3) x.  # [V, 3] -> [V, 3]."""
        y = np.empty_like(x)
        multiply(self.diagonal, *self._blocks, self.edge_blocks, *self._prior, stiffness, x, y)
        return y

    def solve(self, prior_gradient: Array, stiffness: float, factors: Factors | None = None) -> Array:
        """The step [V, 3]: minus the solution for J'Wr + `prior_gradient`; `stiffness` is absolute.

        `factors` are those of a system like this one (see `factorise`); without, those that `prepare` made.
        """
        unit = self.median_stiffness()
        right = -(self.gradient + prior_gradient)
        factors = self._factors if factors is None else factors
        if stiffness > STIFF * unit and factors:
            return self._solve_stiff(right, stiffness, unit, factors)
        diagonal = self.diagonal.copy()
        diagonal[:, [0, 3, 5]] += DAMPING * unit
        blocks = diagonal[:, [[0, 1, 2], [1, 3, 4], [2, 4, 5]]]
        blocks[:, [0, 1, 2], [0, 1, 2]] += stiffness * self._prior_diagonal[:, None]
        step = np.empty_like(right)
        conjugate_gradients(
            diagonal, *self._blocks, self.edge_blocks, *self._prior, stiffness, np.linalg.inv(blocks), right, TOLERANCE,
            ITERATIONS, step,
        )  # fmt: skip
        return step

    def _solve_stiff(self, right: Array, stiffness: float, unit: float, factors: Factors) -> Array:
        """Where the prior rules, CG preconditioned by the factorised scalar system that puts the median stiffness of
        each vertex for its 3x3 block, of the prior nearest to this one: it moves a whole jaw in one step, where a
        diagonal needs hundreds."""
        shape, n = right.shape, right.size
        nearest = min(factors, key=lambda relative: abs(np.log(relative * unit / stiffness)))
        factor = factors[nearest]

        def matvec(x: Array) -> Array:
            x = np.ascontiguousarray(x.reshape(shape))
            return (self.times(x, stiffness) + DAMPING * unit * x).ravel()

        def precondition(x: Array) -> Array:
            return factor.solve(x.reshape(shape).astype(np.float32)).ravel() / unit

        step, _ = cg(  # dtype: SciPy would else find it out by a product more of each
            LinearOperator((n, n), matvec, dtype=float), right.ravel(), rtol=TOLERANCE, maxiter=ITERATIONS,
            M=LinearOperator((n, n), precondition, dtype=float),
        )  # fmt: skip
        return step.reshape(shape)

    def prepare(self) -> None:
        """Factorise for the priors of `PREPARED`, from the system as it is assembled now."""
        self._factors = self.factorise(PREPARED)

    def factorise(self, priors: Iterable[float]) -> Factors:
        """Factorisations of the system as it is assembled now, for `priors` relative to the median stiffness.

        In single precision, half to read and enough to precondition with; so is the surface's bending for another.
        """
        held = sp.diags(self.relative_stiffness() + DAMPING)
        return {
            relative: splu(
                (held + relative * self.surface.bending).tocsc().astype(np.float32),
                permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True},
            )
            for relative in priors
        }  # fmt: skip
