"""How many digits the maths of a map is done in."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """Half precision widened: the maths of a map is done in float32 or better."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
