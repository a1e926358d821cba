"""What the metrics do to a raw map before they use it."""

from __future__ import annotations

import torch
from torch import Tensor

from seewhy.errors import MetricError
from seewhy.scaling import resize_map


def to_size(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps `(n, h, w)` resized to `(n, *size)`, bilinear, corners not aligned.

    Values are float32 or wider: half precision would tie pixels that differ.
    """
    if maps.ndim != 3:
        raise MetricError(
            f"maps came with the shape {tuple(maps.shape)}; (images, height, width) is wanted, one "
            "map an image."
        )
    wide = torch.promote_types(maps.dtype, torch.float32)
    maps = maps.detach().to(wide)
    if maps.shape[1:] == tuple(size):
        return maps
    return resize_map(maps, size)


def positive_part(maps: Tensor) -> Tensor:
    """Negative values set to 0, then over the greatest: 0 stays 0 (Grad-CAM++'s code)."""
    maps = maps.relu()
    greatest = maps.amax((1, 2), keepdim=True)
    return maps / torch.where(greatest == 0, 1, greatest)
