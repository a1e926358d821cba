"""From maps to objects: what a model's evidence marks in a picture, to be written as labels."""

from __future__ import annotations

import numpy as np

from seewhy.boxes import components
from seewhy.dataset.labelled import FoundObject
from seewhy.dataset.records import Box
from seewhy.dataset.segmentation import run_lengths


def find_objects(
    heatmap: np.ndarray,
    label: str,
    probability: float | None,
    *,
    threshold: float = 0.15,
    all_components: bool = False,
    connectivity: int = 8,
) -> tuple[FoundObject, ...]:
    """The largest connected component above a share of the map's maximum, or each, as an object.

    Args:
        heatmap: (height, width) on the picture.
        label, probability: of the class that the map explains.
        threshold, connectivity: as `seewhy.boxes.boxes` takes them.
        all_components: an object for each component; none where nothing speaks for the class.
    """
    numbers, found = components(heatmap, threshold=threshold, connectivity=connectivity)
    objects = []
    for number, place in enumerate(found if all_components else found[:1], start=1):
        own = numbers == number
        box = Box(*place.as_tuple(), label)
        objects.append(FoundObject(box, probability, int(own.sum()), run_lengths(own)))
    return tuple(objects)
