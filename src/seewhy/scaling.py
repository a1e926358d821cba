"""Maps at another size, and scaled to 0..1: signals', pictures' and volumes' alike."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from seewhy.errors import MethodError

LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
"""Torch's names for linear interpolation, by the number of spatial dimensions."""


def resize_map(maps: Tensor, size: Sequence[int], *, align_corners: bool = False) -> Tensor:
    """Maps at another size, linear between the centres of their cells, level beyond the last.

    Args:
        maps: `(..., *spatial)`, such as `attribute` gives them: of signals `(batch, length)`, of
            pictures `(batch, height, width)`, of volumes `(batch, depth, height, width)`.
        size: 1 to 3 numbers, one for each spatial dimension: `inputs.shape[2:]`.
        align_corners: whether the corners' centres stay where they are; otherwise their edges do.

    Returns:
        `(..., *size)`, of the maps' floating type.

    Raises:
        MethodError: for maps or a size that are something else.

    Example:
        >>> import seewhy, torch
        >>> seewhy.resize_map(torch.rand(4, 7, 7), (224, 224)).shape
        torch.Size([4, 224, 224])
    """
    size = [int(side) for side in size]
    leading, spatial = maps.shape[: -len(size)], maps.shape[-len(size) :]
    if len(size) not in LINEAR or min(size) < 1 or len(spatial) < len(size) or 0 in spatial:
        raise MethodError(
            f"maps {tuple(maps.shape)} cannot be resized to {tuple(size)}; one positive number for "
            "each of 1 to 3 spatial dimensions is wanted, and maps that have those last."
        )
    rows = maps.reshape(math.prod(leading), 1, *spatial)
    made = interpolate(rows, size, mode=LINEAR[len(size)], align_corners=align_corners)
    return made.reshape(*leading, *size)


def unit_range(maps: Tensor) -> Tensor:
    """Each row `(rows, ...)` from its least value, 0, to its greatest, 1; a constant one is 0."""
    over = tuple(range(1, maps.ndim))
    low = maps.amin(over, keepdim=True)
    spread = maps.amax(over, keepdim=True) - low
    return (maps - low) / torch.where(spread == 0, 1, spread)
