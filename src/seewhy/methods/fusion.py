"""Maps of several layers made one: each scaled by itself, resized to the largest, then combined."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from seewhy.errors import MethodError
from seewhy.methods.positions import at_positions
from seewhy.scaling import resize_map


def to_unit(maps: Tensor) -> Tensor:
    """Each map over its largest absolute value; a map of zeros stays one."""
    return _divided(maps, maps.abs())


def layer_cam_scale(maps: Tensor) -> Tensor:
    """tanh(2 M / max M), which lifts the weak maps of shallow layers (Jiang 2021, eq. 9)."""
    return torch.tanh(2 * _divided(maps, maps))


FUSIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "mean": (to_unit, lambda maps: maps.mean(0)),
    "max": (to_unit, lambda maps: maps.amax(0)),
    "scaled-max": (layer_cam_scale, lambda maps: maps.amax(0)),
}
"""How each layer's map is scaled, and how the scaled maps are combined."""


def fuse(maps: Sequence[Tensor], how: str) -> Tensor:
    """One map from the maps of several layers.

    Args:
        maps: raw maps, each `(batch, *spatial)`; the sizes may differ. Each is scaled at its own
            resolution, then resized linearly to the largest size in each dimension.
        how: `"mean"`, `"max"` or `"scaled-max"` (LayerCAM's).

    Raises:
        MethodError: for another `how`.
    """
    if how not in FUSIONS:
        raise MethodError(f"fuse={how!r} is not a fusion; choose one of {', '.join(FUSIONS)}.")
    scale, combine = FUSIONS[how]
    size = [max(sides) for sides in zip(*(m.shape[1:] for m in maps), strict=True)]
    return combine(torch.stack([resize_map(scale(m), size) for m in maps]))


def _divided(maps: Tensor, sizes: Tensor) -> Tensor:
    largest = at_positions(sizes.flatten(1).amax(1), maps)
    return torch.where(largest > 0, maps / largest, 0)
