"""What is explained: a class in a picture, and where it truly is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seewhy.dataset import Box, Record
from seewhy.errors import DataError
from seewhy.explainer import Prepared
from seewhy.metrics.localisation import centre_misses, covers_little, region
from seewhy.targets import Target

CENTRE_MISSES, SMALL_OBJECT, SEVERAL_CLASSES = "centre misses", "small object", "several classes"
SUBSETS = (CENTRE_MISSES, SMALL_OBJECT, SEVERAL_CLASSES)
"""Where the centre of the picture is not on the object; where the object covers less than a third
of the picture; and pictures in which several of the classes are explained, each of its own."""


@dataclass(frozen=True, eq=False)
class Truth:
    """Where a label's objects are in the upright picture.

    Attributes:
        boxes: those not marked as difficult.
        filled: bool (height, width), the pixels in any of its boxes; None without boxes.
        mask: bool (height, width), its pixels; None where nothing is known.
        ignored: bool (height, width), pixels that count for no class; None for none.
    """

    boxes: tuple[Box, ...]
    filled: np.ndarray | None
    mask: np.ndarray | None
    ignored: np.ndarray | None

    @classmethod
    def of(cls, record: Record, label: str, size: tuple[int, int], *, masks: bool) -> Truth:
        """Of one label of a record.

        Args:
            record: whose picture is `size`.
            label: one of its labels.
            size: (height, width).
            masks: whether the masks' file is read.

        Raises:
            DataError: a mask that cannot be read or is of another size than the picture.
        """
        boxes = record.boxes_of(label)
        mask = record.mask(label) if masks else None
        ignored = record.ignored() if masks else None
        for one in (mask, ignored):
            if one is not None and one.shape != size:
                raise DataError(
                    f"the mask of '{record.id}' is {one.shape}, but its picture is {size} "
                    "(height, width). A mask must have the size of its picture."
                )
        return cls(
            tuple(box for box in boxes if not box.difficult),
            region(boxes, size) if boxes else None,
            mask,
            ignored,
        )

    def region(self, on: str) -> np.ndarray | None:
        """The object's pixels: its boxes filled, or its mask; None where it has none."""
        return self.mask if on == "mask" else self.filled

    @property
    def subsets(self) -> tuple[str, ...]:
        """Which of the hard subsets the object belongs to, by its boxes, or else by its mask."""
        place = self.mask if self.filled is None else self.filled
        if place is None or not place.any():
            return ()
        found = (CENTRE_MISSES, bool(centre_misses(place))), (SMALL_OBJECT, covers_little(place))
        return tuple(name for name, belongs in found if belongs)


@dataclass(frozen=True, eq=False)
class Case:
    """A class explained in a picture.

    Attributes:
        record: of the data.
        label: the data's own, whose place is the truth.
        prepared: the picture, and what the model sees of it.
        target: the model's class.
        probability: the model's; None where the target has none.
        truth: where the label's objects are.
    """

    record: Record
    label: str
    prepared: Prepared
    target: Target
    probability: float | None
    truth: Truth

    @property
    def size(self) -> tuple[int, int]:
        """Of the picture: (height, width)."""
        height, width = self.prepared.picture.shape[:2]
        return height, width


def chosen_classes(
    labels: Sequence[str],
    classes: Mapping[str, Sequence[int]],
    ranked: Sequence[int],
    target: str,
) -> dict[str, int]:
    """For each label that is explained the class that is: of several the one ranked first.

    Args:
        labels: the record's.
        classes: of each label the model's classes; none for a label that is left out.
        ranked: the model's classes for this picture, the best first.
        target: `"label"`: each label's own class; `"predicted"`: the predicted class, whose truth
            is that of the label it belongs to, or of the first label where the model is wrong.
    """
    place = {index: rank for rank, index in enumerate(ranked)}
    known = {label: classes[label] for label in labels if classes.get(label)}
    if target == "label":
        return {label: min(own, key=lambda i: place[i]) for label, own in known.items()}
    right = [label for label, own in known.items() if ranked[0] in own]
    return dict.fromkeys((right or list(known))[:1], ranked[0])


def subsets_of(subsets: Sequence[str], labels: Mapping[str, Any]) -> list[str]:
    """With the subset that the whole record belongs to, of what labels it has."""
    return [*subsets, *[SEVERAL_CLASSES] * (len(labels) > 1)]
