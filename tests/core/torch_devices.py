"""The devices that tests of torch code run on: the processor always, CUDA where there is one."""

import pytest
import torch

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=CUDA)]
