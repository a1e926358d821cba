"""Overlays of chosen rows on one page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from seewhy.errors import DataError
from seewhy.render.sheet import Sample, sheet
from seewhy.runs.overlays import smaller

if TYPE_CHECKING:
    from seewhy.explanation import Explanation
    from seewhy.render.drawing import Drawing

MOST = 1200
"""Overlays of a page: more make a picture that few programs open."""

_PIXELS = 160  # of an overlay's longer side where there are many
_MANY = 300


def sheet_of(explanations: Iterable[Explanation], count: int, note: str) -> Drawing:
    """The overlays of some explanations, each with its target.

    Args:
        explanations: one is in memory at a time.
        count: how many there are at most.
        note: written below them all.

    Raises:
        DataError: there is none, or there are too many.
    """
    if not 0 < count <= MOST:
        raise DataError(f"{count} rows were given for a sheet; 1 to {MOST} are wanted.")
    samples = []
    for explanation in explanations:
        small = smaller(explanation, _PIXELS if count > _MANY else 2 * _PIXELS)
        probability = explanation.probability
        caption = explanation.label
        if probability is not None:
            caption += f" {probability:.2g}"
        samples.append(Sample(small.overlay(), caption))
    if not samples:
        raise DataError("none of the rows has a map; their errors say why.")
    return sheet(samples, note)
