"""The linear system of one Gauss-Newton step on the device: `system.MeshSystem` without a factorisation.

A GPU is poor at the sparse triangular solves that serve stiff priors on a CPU. Here block-Jacobi takes what is short on
the surface, and a coarse space what is long: displacements that interpolate a few hundred handles as smoothly as the
bending prior can (`coarse_space`). Diagonalised once, the coarse system is inverted for any stiffness by a division.

Everything here is float64 on vertices; the host never waits, and launches a solution on CUDA at once (`Recorded`).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
import scipy.sparse as sp
import torch
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu
from torch import Tensor

from .surface import Surface, numbers_of
from .system import DAMPING
from .torch_graph import Recorded
from .torch_kernels import median, sum_segments, symmetric

Array = np.ndarray
# Always so many: asking how much is left would mean to wait. On a head of 14,062 vertices, twice as many bring the
# solved frame no nearer to the truth.
ITERATIONS = 60
HANDLES = 32  # vertices a handle of the coarse space
MOST_HANDLES = 512


class TorchSystem:
    """Assembles and solves the steps of one take."""

    def __init__(self, surface: Surface, vertices: Array, device: torch.device):
        """For `surface` with the template at `vertices` [V, 3]."""
        count, edges = surface.vertex_count, len(surface.edges)

        def tensor(values: Array) -> Tensor:
            return torch.as_tensor(np.ascontiguousarray(values), device=device)

        self._corners, self._corner_counts = (
            tensor(surface.corners).long(),
            tensor(np.diff(surface.corner_starts)).long(),
        )
        self._sides, self._side_counts = tensor(surface.sides).long(), tensor(np.diff(surface.side_starts)).long()
        ends = np.concatenate([surface.edges, surface.edges[:, ::-1]])
        order = np.argsort(ends[:, 0], kind="stable")
        self._neighbour = tensor(ends[order, 1]).long()
        self._edge = tensor(np.tile(np.arange(edges), 2)[order])
        self._neighbours = tensor(np.bincount(ends[:, 0], minlength=count))
        b = surface.bending
        # A copy: on the processor a tensor would be the array, and another bending would be put into the surface.
        self._prior = tensor(b.indices).long(), tensor(b.data.copy())[:, None], tensor(np.diff(b.indptr)).long()
        self._prior_diagonal = tensor(b.diagonal())
        self._pieces = _Pieces.of(*merged_pattern(b, surface.edges), b, count + edges, device)
        self._bending, self._interpolation = b, coarse_space(b, vertices)
        self._coarse: tuple[Tensor, Tensor] | None = None
        self._steps: Recorded | None = None
        self.diagonal = torch.zeros(count, 3, 3, dtype=torch.float64, device=device)
        self.gradient = torch.zeros(count, 3, dtype=torch.float64, device=device)
        self._sides_sum = torch.zeros(edges, 3, 3, dtype=torch.float64, device=device)

    def assemble(self, hessian: Tensor, gradient: Tensor) -> None:
        """Sum triangles' normal equations [T, 6, 6] and [T, 3, 3] onto vertices and edges."""
        hessian, gradient = hessian.double(), gradient.double()
        corners = hessian[:, :3].reshape(-1, 6)[self._corners]
        sides = hessian[:, 3:].reshape(-1, 6)[self._sides]
        self.diagonal = symmetric(sum_segments(corners, self._corner_counts))
        self._sides_sum = symmetric(sum_segments(sides, self._side_counts))
        self.gradient = sum_segments(gradient.reshape(-1, 3)[self._corners], self._corner_counts)

    def put(self, diagonal: Tensor, gradient: Tensor) -> None:
        """Normal equations [V, 3, 3] and [V, 3] of vertices by themselves, for those of triangles."""
        self.diagonal, self.gradient = diagonal, gradient
        self._sides_sum = torch.zeros_like(self._sides_sum)

    def another(self) -> TorchSystem:
        """A system for the same surface, of which `prepare` knows nothing yet."""
        other = copy.copy(self)
        column, value, counts = self._prior
        other._prior, other._prior_diagonal = (column, value.clone(), counts), self._prior_diagonal.clone()
        other._pieces = replace(self._pieces, prior=self._pieces.prior.clone())
        other._coarse = other._steps = None
        return other

    def put_bending(self, bending: sp.csr_matrix) -> None:
        """Another matrix [V, V] of the prior, of the surface's pattern; where it lies on the device stays the same."""
        device = self.gradient.device
        values = torch.as_tensor(bending.data, device=device)
        self._prior[1].copy_(values[:, None])
        self._prior_diagonal.copy_(torch.as_tensor(bending.diagonal(), device=device))
        self._pieces.put_prior(values)

    def relative_stiffness(self) -> Tensor:
        """Photometric stiffness of every vertex, relative to the median of those that are seen.  # [V]."""
        return _stiffness(self.diagonal) / self.median_stiffness().clamp(min=1e-300)

    def median_stiffness(self) -> Tensor:
        """Median photometric stiffness of the vertices that are seen; 0 where none is."""
        return _median_stiffness(self.diagonal)

    def prepare(self, relative: Array) -> None:
        """The coarse space for vertices whose plates hold them as stiffly as `relative` [V] to the median."""
        self._steps = self._coarse = None  # what was recorded reads them
        p = self._interpolation
        held = p.T @ ((relative + DAMPING)[:, None] * p)
        values, vectors = scipy.linalg.eigh(p.T @ (self._bending @ p), held)
        device = self.gradient.device
        self._coarse = (
            torch.as_tensor((p @ vectors).astype(np.float32), device=device),
            torch.as_tensor(np.maximum(values, 0.0), device=device),
        )
        unknown = torch.zeros_like(self.gradient)
        self._steps = Recorded(self._step, self.diagonal, self._sides_sum, unknown, unknown[0, 0])

    def bend(self, x: Tensor) -> Tensor:
        """The prior's matrix times `x` [V, C].  # [V, C]."""
        column, value, counts = self._prior
        return sum_segments(value * x[column], counts)

    def times(self, x: Tensor) -> Tensor:
        """The photometric matrix times `x` [V, 3].  # [V, 3]."""
        around = (self._sides_sum[self._edge] @ x[self._neighbour, :, None])[..., 0]
        return (self.diagonal @ x[..., None])[..., 0] + sum_segments(around, self._neighbours)

    def solve(self, prior_gradient: Tensor, stiffness: Tensor) -> Tensor:
        """The step [V, 3]: minus the solution for J'Wr + `prior_gradient`; `stiffness` is absolute.

        Zero where the plates say nothing at all.
        """
        return self._steps(self.diagonal, self._sides_sum, self.gradient + prior_gradient, stiffness)

    def _step(self, diagonal: Tensor, sides: Tensor, gradient: Tensor, stiffness: Tensor) -> Tensor:
        """`solve` for the photometric blocks of vertices [V, 3, 3] and edges [E, 3, 3], and the gradient [V, 3].

        Vectors are [3, V] and blocks [3 (of the vector), ..., 3 (of the product), V]: a warp reads neighbours.
        """
        unit = _median_stiffness(diagonal)
        some = unit > 0
        unit, stiffness = torch.where(some, unit, 1.0), torch.where(some, stiffness, 1.0)
        eye = torch.eye(3, dtype=torch.float64, device=unit.device)
        held = diagonal + (DAMPING * unit) * eye
        inverse = _inverse(held + (stiffness * self._prior_diagonal)[:, None, None] * eye).permute(2, 1, 0).contiguous()
        blocks = torch.cat([held, sides, torch.zeros_like(held[:1])]).permute(2, 1, 0).contiguous()
        blocks = self._pieces.spread(blocks, stiffness)
        basis, bending = self._coarse
        soft = (1.0 / (unit + stiffness * bending)).float()

        def precondition(r: Tensor) -> Tensor:
            return (inverse * r[:, None]).sum(0) + ((soft * (r.float() @ basis)) @ basis.T).double()

        r = -gradient.T.contiguous()
        x = torch.zeros_like(r)
        z = precondition(r)
        p, rz = z, _dot(r, z)
        for _ in range(ITERATIONS):
            q = self._pieces.times(blocks, p)
            pq = _dot(p, q)
            alpha = torch.where(pq > 0, rz / pq, 0.0)  # nothing is left: stay
            x, r = torch.addcmul(x, alpha, p), torch.addcmul(r, -alpha, q)
            z = precondition(r)
            rz, before = _dot(r, z), rz
            p = torch.addcmul(z, torch.where(before > 0, rz / before, 0.0), p)
        return torch.where(some, x, 0.0).T.contiguous()


@dataclass(frozen=True)
class _Pieces:
    """The rows of a sparse matrix of blocks, cut into pieces of one length, so that all are summed alike.

    The first V pieces begin the V rows; what is longer goes on in the pieces after them, in the rows' order.
    """

    column: Tensor  # [W, R] int64: of every piece's entries
    source: Tensor  # [W, R] int64: which of the blocks
    value: Tensor  # [W, R] int64: which of the prior's matrix, or the number of those for none
    prior: Tensor  # [W, R] float64: these
    more: Tensor | None  # [V] int64: how many pieces a row has beyond its first; None if no row has any

    @classmethod
    def of(
        cls, rows: Array, columns: Array, source: Array, value: Array, bending: sp.csr_matrix, nothing: int,
        device: torch.device,
    ) -> _Pieces:  # fmt: skip
        """As `merged_pattern` gives them of `bending`; `nothing` is the number of a block of zeros."""
        count = bending.shape[0]
        lengths = np.bincount(rows, minlength=count)
        width = min(range(1, int(lengths.max()) + 1), key=lambda w: (w + 1) * int(np.ceil(lengths / w).sum()))
        pieces = np.ceil(lengths / width).astype(np.int64)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        beyond = count + np.cumsum(pieces - 1) - (pieces - 1)  # the first piece beyond a row's own
        piece = np.where(within < width, rows, beyond[rows] + within // width - 1)
        shape = (width, int(pieces.sum()))

        def spread(values: Array, filler: int) -> Tensor:
            whole = np.full(shape, filler, values.dtype)
            whole[within % width, piece] = values
            return torch.as_tensor(whole, device=device)

        more = torch.as_tensor(pieces - 1, device=device) if (pieces > 1).any() else None
        column, source, value = (
            spread(values.astype(np.int64), filler)
            for values, filler in ((columns, 0), (source, nothing), (value, bending.nnz))
        )
        made = cls(column, source, value, torch.zeros(shape, dtype=torch.float64, device=device), more)
        made.put_prior(torch.as_tensor(bending.data, device=device))
        return made

    def put_prior(self, values: Tensor) -> None:
        """The prior's `values` [N], where the last ones lay."""
        self.prior.copy_(torch.cat([values, values.new_zeros(1)])[self.value])

    def spread(self, blocks: Tensor, stiffness: Tensor) -> Tensor:
        """The matrix of `blocks` [3, 3, B] and the prior's times `stiffness`.  # [3 W, 3, R]."""
        width, count = self.column.shape
        whole = blocks[:, :, self.source.flatten()].view(3, 3, width, count).transpose(1, 2).contiguous()
        eye = torch.eye(3, dtype=blocks.dtype, device=blocks.device)[:, None, :, None]
        return torch.addcmul(whole, stiffness * self.prior[None, :, None], eye).view(3 * width, 3, count)

    def times(self, blocks: Tensor, x: Tensor) -> Tensor:
        """The matrix as `spread` gives it times `x` [3, V].  # [3, V]."""
        pieces = (blocks * x[:, self.column.flatten()].view(len(blocks), 1, -1)).sum(0)
        if self.more is None:
            return pieces
        count = len(self.more)
        return pieces[:, :count] + sum_segments(pieces[:, count:].T.contiguous(), self.more).T


def _stiffness(diagonal: Tensor) -> Tensor:
    """Photometric stiffness of vertices, of their blocks [V, 3, 3].  # [V]."""
    return diagonal.diagonal(dim1=1, dim2=2).mean(1)


def _median_stiffness(diagonal: Tensor) -> Tensor:
    """The median one of the vertices that are seen; 0 where none is."""
    stiffness = _stiffness(diagonal)
    return torch.nan_to_num(median(torch.where(stiffness > 0, stiffness, torch.nan)))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return torch.dot(a.flatten(), b.flatten())


def _inverse(blocks: Tensor) -> Tensor:
    """Inverses of symmetric `blocks` [V, 3, 3] by their cofactors (torch's own waits for the device)."""
    a, b, c = blocks.unbind(1)
    rows = torch.stack([torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)], 2)
    return rows / (a * torch.linalg.cross(b, c)).sum(1)[:, None, None]


def merged_pattern(bending: sp.csr_matrix, edges: Array) -> tuple[Array, Array, Array, Array]:
    """The entries of the prior's and the photometric matrix together, in rows: one product an iteration, not three.

    Returns rows, columns, where each one's photometric block is among those of vertices, then `edges` [E, 2], then a
    zero, and which of the values of `bending` [V, V] is its, or how many there are for none; each [N].
    """
    count = bending.shape[0]
    ends = np.concatenate([edges, edges[:, ::-1]])
    numbers = sp.coo_matrix((np.tile(np.arange(len(edges)), 2) + 1, ends.T), shape=(count, count)).tocsr()
    there = (abs(bending) + numbers + sp.eye(count)).tocsr()
    there.sort_indices()
    rows, columns = there.nonzero()
    edge = np.asarray(numbers[rows, columns]).ravel()
    source = np.where(edge > 0, count + edge - 1, count + len(edges))
    value = numbers_of(bending, rows, columns)
    value = np.where(value < 0, bending.nnz, value)
    return rows, columns, np.where(rows == columns, rows, source), value


def coarse_space(bending: sp.csr_matrix, vertices: Array) -> Array:
    """Smoothest displacements that are 1 at one handle and 0 at the others.  # [V, H] float64.

    Handles are spread evenly over `vertices` [V, 3] (farthest points first), and every island has one.
    """
    count = len(vertices)
    _, island = connected_components(bending, directed=False)
    chosen = list(np.unique(island, return_index=True)[1])
    distance = np.full(count, np.inf)
    for first in chosen:
        distance = np.minimum(distance, ((vertices - vertices[first]) ** 2).sum(axis=1))
    while len(chosen) < min(MOST_HANDLES, count // HANDLES):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, ((vertices - vertices[chosen[-1]]) ** 2).sum(axis=1))
    at = sp.coo_matrix((np.ones(len(chosen)), (chosen, np.arange(len(chosen)))), shape=(count, len(chosen))).tocsc()
    hold = 1e3 * bending.diagonal().max()
    matrix = (bending + hold * (at @ at.T) + 1e-13 * hold * sp.eye(count)).tocsc()
    factor = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    return factor.solve(hold * at.toarray())
