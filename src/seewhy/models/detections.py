"""What object detectors return, read as one tensor.

Detections are `(batch, n, 4 + classes)`: a box x1, y1, x2, y2, then a score for each class, 0 to 1.
In pixels of the input, except where a head gives shares of it and the input's size is not known.
Autograd follows them back to the model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot, pad

from seewhy.errors import ModelError

ROWS, CLASSES = 512, 128
"""A list of detections is padded to a multiple of these. How many are found differs from version
to version of an image, and a rerun compares its outputs with the first run's."""

Size = Sequence[int]
"""Height and width."""


def detections(outputs: Any, size: Size | None = None) -> Tensor | None:
    """The detections in an output whose form is unmistakable; None for any other.

    Raises:
        ModelError: for boxes whose scores can be read in two ways.
    """
    if _is_list_of_detections(outputs):
        return from_lists(outputs)
    if isinstance(outputs, (tuple, list)) and len(outputs) > 1:
        return _from_cells(*outputs[:2])
    logits, boxes = _logits_and_boxes(outputs)
    if logits is None or boxes is None:
        return None
    name = type(outputs).__name__
    if name.endswith("ObjectDetectionOutput"):  # transformers: as each image processor reads it
        softmax = name.startswith(("Detr", "Yolos", "TableTransformer"))
        return (from_detr if softmax else from_detr_sigmoid)(outputs, size)
    raise ModelError(
        "the scores of these boxes are a softmax whose last column is 'no object' (DETR), or a "
        "sigmoid for each class (Deformable DETR, DINO, RT-DETR), and nothing in the output says "
        "which: say output='detr' or output='detr-sigmoid'."
    )


def from_lists(outputs: Any, _size: Size | None = None) -> Tensor:
    """torchvision's: for each image a dict of boxes `(n, 4)`, scores and labels `(n,)`.

    A detection's score stands in its label's column, all others are 0; rows beyond what an image
    has are 0.
    """
    if not _is_list_of_detections(outputs):
        raise _unfit(outputs, "a list with a dict of boxes, scores and labels for each image")
    labels = [one["labels"] for one in outputs]
    classes = _padded(
        1 + max((int(each.max()) for each in labels if len(each)), default=0), CLASSES
    )
    rows = _padded(max((len(each) for each in labels), default=0), ROWS)
    found = []
    for one in outputs:
        scores = one["scores"][:, None] * one_hot(one["labels"].long(), classes)
        each = torch.cat((one["boxes"], scores.to(one["boxes"])), 1)
        found.append(pad(each, (0, 0, 0, rows - len(each))))
    return torch.stack(found)


def from_yolo(outputs: Any, _size: Size | None = None) -> Tensor:
    """YOLOv8's and later: `(batch, 4 + classes, anchors)`, centre x, y, width, height, scores."""
    rows = _first(outputs).transpose(1, 2)
    return torch.cat((_corners(rows[..., :4]), rows[..., 4:]), 2)


def from_yolov5(outputs: Any, _size: Size | None = None) -> Tensor:
    """YOLOv5's: `(batch, anchors, 5 + classes)` with the objectness, which scales the scores."""
    rows = _first(outputs)
    return torch.cat((_corners(rows[..., :4]), rows[..., 4:5] * rows[..., 5:]), 2)


def from_rows(outputs: Any, _size: Size | None = None) -> Tensor:
    """YOLOv10's, without duplicates: `(batch, n, 6)`, x1, y1, x2, y2, a score and its class."""
    rows = _first(outputs)
    if rows.shape[2] < 6:
        raise _unfit(outputs, "(batch, n, 6)")
    return from_lists(
        [{"boxes": one[:, :4], "scores": one[:, 4], "labels": one[:, 5].long()} for one in rows]
    )


def from_detr(outputs: Any, size: Size | None = None) -> Tensor:
    """DETR's: logits with a last column for 'no object', boxes as shares of the input."""
    logits, boxes = _needed(outputs)
    return torch.cat((_in_pixels(_corners(boxes), size), logits.softmax(-1)[..., :-1]), 2)


def from_detr_sigmoid(outputs: Any, size: Size | None = None) -> Tensor:
    """Deformable DETR's and its successors': a sigmoid a class, boxes as shares of the input."""
    logits, boxes = _needed(outputs)
    return torch.cat((_in_pixels(_corners(boxes), size), logits.sigmoid()), 2)


READINGS: dict[str, Callable[[Any, Size | None], Tensor]] = {
    "boxes": from_lists,
    "yolo": from_yolo,
    "yolov5": from_yolov5,
    "yolov10": from_rows,
    "detr": from_detr,
    "detr-sigmoid": from_detr_sigmoid,
}
"""What `output=` may say where the form of a detector's output does not."""


def _is_list_of_detections(outputs: Any) -> bool:
    return (
        isinstance(outputs, (tuple, list))
        and len(outputs) > 0
        and all(
            isinstance(one, Mapping)
            and all(isinstance(one.get(key), Tensor) for key in ("boxes", "scores", "labels"))
            for one in outputs
        )
    )


def _from_cells(first: Any, rest: Any) -> Tensor | None:
    """A YOLO head's predictions, with the feature maps that they were made from beside them."""
    if not (isinstance(first, Tensor) and first.ndim == 3):
        return None
    maps = [each for each in _tensors(rest) if each.ndim >= 4 and len(each) == len(first)]
    grids = sum(each.shape[-2] * each.shape[-1] for each in maps if each.ndim == 4)
    if grids and grids == first.shape[2]:  # (batch, channels, height, width) each
        return from_yolo(first)
    cells = sum(each[0, ..., 0].numel() for each in maps if each.ndim == 5)
    if cells and cells == first.shape[1]:  # (batch, anchors, height, width, 5 + classes) each
        return from_yolov5(first)
    return None


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors(part)


def _logits_and_boxes(outputs: Any) -> tuple[Tensor | None, Tensor | None]:
    if dataclasses.is_dataclass(outputs) or isinstance(outputs, Mapping):
        parts = outputs if isinstance(outputs, Mapping) else vars(outputs)
        logits, boxes = parts.get("pred_logits", parts.get("logits")), parts.get("pred_boxes")
        if all(isinstance(each, Tensor) and each.ndim == 3 for each in (logits, boxes)):
            return logits, boxes
    return None, None


def _needed(outputs: Any) -> tuple[Tensor, Tensor]:
    logits, boxes = _logits_and_boxes(outputs)
    if logits is None or boxes is None:
        raise _unfit(outputs, "logits (batch, n, classes) and pred_boxes (batch, n, 4)")
    return logits, boxes


def _first(outputs: Any) -> Tensor:
    while isinstance(outputs, Sequence) and len(outputs):
        outputs = outputs[0]
    if not isinstance(outputs, Tensor) or outputs.ndim != 3:
        raise _unfit(outputs, "a tensor of three dimensions")
    return outputs


def _corners(boxes: Tensor) -> Tensor:
    """x1, y1, x2, y2 from centre x, y, width, height."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat((centre - half, centre + half), -1)


def _in_pixels(shares: Tensor, size: Size | None) -> Tensor:
    if size is None:
        return shares
    height, width = size
    return shares * shares.new_tensor((width, height, width, height))


def _padded(count: int, step: int) -> int:
    return max(1, -(-count // step)) * step


def _unfit(outputs: Any, wanted: str) -> ModelError:
    came = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
    return ModelError(f"the output is {came}, where this reading of boxes wants {wanted}.")
