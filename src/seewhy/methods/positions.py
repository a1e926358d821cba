"""Positions of a layer or an input in as many dimensions as it has: signals, pictures, volumes."""

from __future__ import annotations

from torch import Tensor


def spatial(values: Tensor) -> tuple[int, ...]:
    """The dimensions of `(batch, channels, *spatial)` that are positions."""
    return tuple(range(2, values.ndim))


def at_positions(numbers: Tensor, like: Tensor) -> Tensor:
    """Numbers `(batch, channels)` or `(batch,)` that apply at every position of `like`."""
    return numbers.reshape(*numbers.shape, *(1,) * (like.ndim - numbers.ndim))
