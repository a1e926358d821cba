"""Which maps are the same but for a factor: two methods that agree show one thing twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from seewhy.render.takes import Explained

# Of the cosine of the angle between two maps; the same sum in another order differs by less.
_ROUNDING = 1e-6


def same_but_for_a_factor(maps: Sequence[np.ndarray]) -> list[int | None]:
    """For each map, the first one before it of which it is a positive multiple; None if none is.

    A map that is 0 everywhere, or has a value that is not finite, is like no other.
    """
    first: list[int | None] = []
    directions: list[np.ndarray | None] = []
    for one in maps:
        values = np.asarray(one, np.float64)
        length = float(np.linalg.norm(values)) if np.isfinite(values).all() else 0.0
        direction = values / length if length > 0 else None
        found = None
        if direction is not None:
            for place, other in enumerate(directions):
                if (
                    other is not None
                    and other.shape == direction.shape
                    and float((other * direction).sum()) > 1 - _ROUNDING
                ):
                    found = place
                    break
        first.append(found)
        directions.append(direction)
    return first


def likeness(explanations: Sequence[Explained | None]) -> list[str]:
    """For each explanation, which earlier one of its picture has the same map, in words, or ""."""
    words = [""] * len(explanations)
    groups: list[list[int]] = []
    for place, one in enumerate(explanations):
        if one is None:
            continue
        for group in groups:
            other = explanations[group[0]]
            assert other is not None
            if other.picture is one.picture or np.array_equal(other.picture, one.picture):
                group.append(place)
                break
        else:
            groups.append([place])
    for group in groups:
        members = [one for place in group if (one := explanations[place]) is not None]
        for place, first in enumerate(same_but_for_a_factor([one.map for one in members])):
            if first is not None:
                words[group[place]] = _said(members[first], members[place])
    return words


def _said(first: Explained, later: Explained) -> str:
    names = [
        str(getattr(first, name))
        for name in ("model", "method", "layer", "label")
        if getattr(first, name) != getattr(later, name)
    ]
    factor = float(np.abs(later.map).max()) / float(np.abs(first.map).max())
    times = "" if abs(factor - 1) < 1e-3 else f", × {factor:.3g}"
    return f"the same map as {' · '.join(names) or 'before'}{times}"
