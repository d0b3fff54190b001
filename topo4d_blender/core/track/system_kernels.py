"""The hot loops of the linear system of a step, in numba: sums onto vertices, matrix times vector, conjugate gradients.

All have slow plain twins in tests/core/twins.py. Threads share the work by vertex, and every sum has one owner and one
order: the same input gives the same bits on any number of threads. Knows of meshes only that V vertices have E edges.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from .kernels import inline, jit


@jit
def gather(
    starts,  # [N + 1] int32
    members,  # [M] int32: rows of `source` that belong to each of the N owners
    source,  # [R, C] float64
    target,  # out [N, C] float64
):
    """target[n] = sum of source[m] over the members of n, in order."""
    for n in nb.prange(target.shape[0]):
        for c in range(target.shape[1]):
            total = 0.0
            for i in range(starts[n], starts[n + 1]):
                total += source[members[i], c]
            target[n, c] = total


@inline
def _row(
    i,
    diagonal,
    block_starts,
    block_column,
    block_edge,
    edge_blocks,
    prior_starts,
    prior_column,
    prior_value,
    stiffness,
    x,
):
    """Row i of (H + stiffness * B (x) I3) x, for the mesh-shaped matrix H and the scalar prior B."""
    y0 = y1 = y2 = 0.0
    for j in range(prior_starts[i], prior_starts[i + 1]):
        n = prior_column[j]
        b = prior_value[j]
        y0 += b * x[n, 0]
        y1 += b * x[n, 1]
        y2 += b * x[n, 2]
    y0 *= stiffness
    y1 *= stiffness
    y2 *= stiffness
    a = diagonal[i]
    y0 += a[0] * x[i, 0] + a[1] * x[i, 1] + a[2] * x[i, 2]
    y1 += a[1] * x[i, 0] + a[3] * x[i, 1] + a[4] * x[i, 2]
    y2 += a[2] * x[i, 0] + a[4] * x[i, 1] + a[5] * x[i, 2]
    for j in range(block_starts[i], block_starts[i + 1]):
        a = edge_blocks[block_edge[j]]
        n = block_column[j]
        y0 += a[0] * x[n, 0] + a[1] * x[n, 1] + a[2] * x[n, 2]
        y1 += a[1] * x[n, 0] + a[3] * x[n, 1] + a[4] * x[n, 2]
        y2 += a[2] * x[n, 0] + a[4] * x[n, 1] + a[5] * x[n, 2]
    return y0, y1, y2


@jit
def multiply(
    diagonal,  # [V, 6] float64: symmetric blocks (xx xy xz yy yz zz)
    block_starts,  # [V + 1] int32
    block_column,  # [2E] int32
    block_edge,  # [2E] int32
    edge_blocks,  # [E, 6] float64: symmetric, the same for both directions
    prior_starts,  # [V + 1] int32: the prior's scalar matrix B, CSR
    prior_column,  # [N] int32
    prior_value,  # [N] float64
    stiffness,  # the prior's factor
    x,  # [V, 3]
    y,  # out [V, 3]
):
    """y = (H + stiffness * B (x) I3) x."""
    for i in nb.prange(x.shape[0]):
        y[i, 0], y[i, 1], y[i, 2] = _row(
            i, diagonal, block_starts, block_column, block_edge, edge_blocks, prior_starts, prior_column, prior_value,
            stiffness, x,
        )  # fmt: skip


@nb.njit(cache=True, nogil=True)
def _add_up(parts):
    """Sum in order: inside a parallel function `sum()` is split among the threads, and its bits with it."""
    total = 0.0
    for part in parts:
        total += part
    return total


PARTS = 64  # sums are made in this many parts, each by one thread, so that their order never changes


@jit
def conjugate_gradients(
    diagonal, block_starts, block_column, block_edge, edge_blocks, prior_starts, prior_column, prior_value, stiffness,
    inverse,  # [V, 3, 3]: the preconditioner, inverse diagonal blocks of the whole matrix
    residual,  # [V, 3]: in the right hand side, out what is left of it
    tolerance,  # of the residual's preconditioned norm, relative to the right hand side's
    iterations,
    x,  # out [V, 3]
):  # fmt: skip
    """Solve (H + stiffness * B (x) I3) x = residual by block-Jacobi preconditioned CG; returns the steps taken."""
    count = x.shape[0]
    z = np.empty_like(x)
    p = np.zeros_like(x)
    q = np.empty_like(x)
    sums = np.empty(PARTS)
    x[:] = 0.0
    rz = 1.0
    first = 0.0
    for step in range(iterations):
        for part in nb.prange(PARTS):
            total = 0.0
            for i in range(part * count // PARTS, (part + 1) * count // PARTS):
                for d in range(3):
                    z[i, d] = (
                        inverse[i, d, 0] * residual[i, 0]
                        + inverse[i, d, 1] * residual[i, 1]
                        + inverse[i, d, 2] * residual[i, 2]
                    )
                    total += z[i, d] * residual[i, d]
            sums[part] = total
        new = _add_up(sums)
        if step == 0:
            first = new
        if not new > tolerance * tolerance * first:
            return step
        beta = new / rz if step > 0 else 0.0
        rz = new
        for i in nb.prange(count):
            for d in range(3):
                p[i, d] = z[i, d] + beta * p[i, d]
        for part in nb.prange(PARTS):
            total = 0.0
            for i in range(part * count // PARTS, (part + 1) * count // PARTS):
                q[i, 0], q[i, 1], q[i, 2] = _row(
                    i, diagonal, block_starts, block_column, block_edge, edge_blocks, prior_starts, prior_column,
                    prior_value, stiffness, p,
                )  # fmt: skip
                total += p[i, 0] * q[i, 0] + p[i, 1] * q[i, 1] + p[i, 2] * q[i, 2]
            sums[part] = total
        alpha = rz / _add_up(sums)
        for i in nb.prange(count):
            for d in range(3):
                x[i, d] += alpha * p[i, d]
                residual[i, d] -= alpha * q[i, d]
    return iterations
