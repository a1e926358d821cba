"""Whether two runs of a network gave the same."""

from __future__ import annotations

import torch
from torch import Tensor


def is_half(tensor: Tensor) -> bool:
    """Whether a network that such tensors go through computes in half precision."""
    return tensor.dtype.itemsize < 4 or torch.is_autocast_enabled(tensor.device.type)


def near(one: Tensor, other: Tensor, tolerance: float) -> bool:
    """Whether two tensors differ by no more than this share of the largest value."""
    return bool((one - other).abs().max() <= tolerance * other.abs().max())
