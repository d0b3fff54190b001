"""How much goes through a card at once: halved as often as its memory is spent, then said to be spent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

from ..errors import WorkError
from ..track.torch_solver import SPENT

Result = TypeVar("Result")
MOST = 2**19  # texels at once, of sixteen views each: about 1 GB
LEAST = 2**12


@dataclass
class Budget:
    """What all steps on one device share."""

    device: torch.device
    most: int = MOST  # rows of the widest step; the others take it times what they are narrower

    def fitting(self, work: Callable[[int], Result]) -> Result:
        """`work(most)`, again with half as much as often as memory is spent. Raises WorkError where nothing fits."""
        while True:
            try:
                return work(self.most)
            except torch.OutOfMemoryError:
                if self.most <= LEAST:
                    raise WorkError(SPENT) from None
            self.most //= 2
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
