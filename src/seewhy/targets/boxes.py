"""A class's score at a box: what a detector found, or missed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from seewhy.errors import TargetError
from seewhy.targets.kinds import Labels, Outcome, class_column, class_index, class_words
from seewhy.targets.outputs import as_detections

SAME = 0.7
"""Boxes of one class that overlap by more (IoU) are one object: heads give many of each."""


@dataclass(frozen=True)
class BoxScore(Outcome):
    """The best of all detections by IoU with a box × the class's score: D-RISE (Petsiuk 2021).

    D-RISE's similarity is IoU × the cosine of the class vectors × the objectness. With one class a
    detection the cosine is 1 or 0 and this is the same, the score being the objectness. Where a
    head scores every class, this reads the class's own score where D-RISE compares all of them.

    The IoU weighs the detections and no gradient runs through it: at a detection's own box it has
    a kink, where the gradient's sign is a matter of rounding, and elsewhere the gradient of the
    edges, in pixels, drowns that of the score.

    Args:
        index: Number of the class, or its name.
        box: x1, y1, x2, y2, in the units of the network's boxes (as a rule its input's pixels).
        label: The class's label, for printing only.
    """

    index: int | str
    box: tuple[float, float, float, float]
    label: str | None = field(default=None, compare=False)
    bounded = True

    def __init__(self, index: int | str, box: Sequence[float], label: str | None = None) -> None:
        object.__setattr__(self, "index", class_index(index))
        object.__setattr__(self, "box", tuple(float(each) for each in box))
        object.__setattr__(self, "label", label)
        if len(self.box) != 4 or not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise TargetError(f"a box is x1, y1, x2, y2 with x1 < x2 and y1 < y2, not {box!r}")

    def settled(self, outputs: Tensor, labels: Labels = None) -> BoxScore:
        """With the class's label, once it is sure that the outputs hold such boxes."""
        self(outputs.detach())
        index = class_column(self.index, as_detections(outputs).shape[2] - 4)
        label = labels[index] if labels and index < len(labels) else self.label
        return BoxScore(index, self.box, label)

    def _score(self, outputs: Tensor) -> Tensor:
        found = as_detections(outputs)
        scores = found[..., 4 + class_column(self.index, found.shape[2] - 4)]
        weights = overlaps(found.new_tensor(self.box), found[..., :4].detach())
        return (weights * scores).max(1).values

    def chance(self, outputs: Tensor, sigmoid: bool) -> Tensor:  # noqa: ARG002
        """Its score: a detector's scores are probabilities."""
        return self._score(outputs)

    def _words(self, labels: Labels) -> str:
        box = ", ".join(f"{each:.4g}" for each in self.box)
        return f"{class_words(self.index, self.label, labels)} in box ({box})"


def overlaps(own: Tensor, boxes: Tensor) -> Tensor:
    """Intersection over union of one box `(4,)` and many `(..., 4)`."""
    low = torch.maximum(own[:2], boxes[..., :2])
    high = torch.minimum(own[2:], boxes[..., 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    areas = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)
    return shared / (areas + (own[2:] - own[:2]).prod() - shared)


def detected(
    outputs: Tensor, most: int, index: int | None = None
) -> list[list[tuple[BoxScore, float]]]:
    """For each image the boxes it holds with their scores, the highest first, at most `most`.

    Of boxes of one class that overlap by more than `SAME` the highest-scored stays.

    Args:
        outputs: detections `(batch, n, 4 + classes)`.
        most: see above.
        index: only boxes of this class, by its score; None: of any, each by its highest.
    """
    found = []
    for rows in as_detections(outputs.detach()).cpu():
        boxes = rows[:, :4]
        if index is None:
            scores, classes = rows[:, 4:].max(1)
        else:
            scores, classes = rows[:, 4 + index], torch.full((len(rows),), index)
        left = (scores > 0) & (boxes[:, 2:] > boxes[:, :2]).all(1)
        kept: list[tuple[BoxScore, float]] = []
        while left.any() and len(kept) < most:
            best = int(torch.where(left, scores, -1.0).argmax())
            left &= (overlaps(boxes[best], boxes) <= SAME) | (classes != classes[best])
            left[best] = False
            one = BoxScore(int(classes[best]), boxes[best].tolist())
            kept.append((one, float(scores[best])))
        found.append(kept)
    return found
