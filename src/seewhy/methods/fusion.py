"""Maps of several layers made one: each scaled by itself, resized to the largest, then combined."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from seewhy.errors import MethodError


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
        maps: raw maps, each `(batch, height, width)`; the sizes may differ. Each is scaled at its
            own resolution, then resized bilinearly to the largest height and width.
        how: `"mean"`, `"max"` or `"scaled-max"` (LayerCAM's).

    Raises:
        MethodError: for another `how`.
    """
    if how not in FUSIONS:
        raise MethodError(f"fuse={how!r} is not a fusion; choose one of {', '.join(FUSIONS)}.")
    scale, combine = FUSIONS[how]
    size = [max(m.shape[1] for m in maps), max(m.shape[2] for m in maps)]
    resized = [
        interpolate(scale(m)[:, None], size, mode="bilinear", align_corners=False)[:, 0]
        for m in maps
    ]
    return combine(torch.stack(resized))


def _divided(maps: Tensor, sizes: Tensor) -> Tensor:
    largest = sizes.amax((-2, -1), keepdim=True)
    return torch.where(largest > 0, maps / largest, 0)
