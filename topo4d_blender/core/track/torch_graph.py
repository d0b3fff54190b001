"""A computation of fixed shapes, recorded once on a CUDA device and replayed by a single call.

A step's solution is some thousand kernels of a few microseconds each, which a host in Python launches more slowly than
the device runs them. A CUDA graph holds the launches; what they read and write stays at the same addresses, so what is
given is copied there and what is found is copied out. Elsewhere the computation is simply called.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_WARM = 2  # calls before it is recorded: libraries set up their workspaces


class Recorded:
    """`work` of tensors that keep their shapes; it must not wait for the device and must not keep anything."""

    def __init__(self, work: Callable[..., Tensor], *like: Tensor):
        """Record `work` of tensors such as `like`; whatever else it uses must stay as and where it is."""
        self._work, self._graph = work, None
        if like[0].device.type == "cuda":
            with torch.cuda.device(like[0].device):
                self._record(*like)
            self._work = None  # whose object often holds this one: it would keep the device's memory until it is found

    def _record(self, *like: Tensor) -> None:
        work, self._given = self._work, [values.clone() for values in like]
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM):
                work(*self._given)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._found = work(*self._given)
        self._graph = graph

    def __call__(self, *given: Tensor) -> Tensor:
        """`work` of what is `given`."""
        if self._graph is None:
            return self._work(*given)
        for place, values in zip(self._given, given, strict=True):
            if place.shape != values.shape or place.dtype != values.dtype:
                raise ValueError(f"recorded for {place.dtype} {place.shape}, given {values.dtype} {values.shape}")
            place.copy_(values)
        self._graph.replay()
        return self._found.clone()
