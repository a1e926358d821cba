"""What object detectors return, read as one tensor.

Detections are `(batch, n, 4 + classes)`: a box x1, y1, x2, y2, then a score for each class, 0 to 1.
In pixels of the input, except where a head gives shares of it and the input's size is not known.
Autograd follows them back to the model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
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
        return from_rt_detr(outputs, size) if _is_rt_detr(outputs) else _from_cells(outputs)
    logits, boxes = _logits_and_boxes(outputs)
    if logits is None or boxes is None:
        return None
    name = type(outputs).__name__
    if name.endswith(
        ("ObjectDetectionOutput", "SegmentationOutput")
    ):  # transformers: as each image processor reads it
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


def from_yolo(outputs: Any, _size: Size | None = None, classes: int | None = None) -> Tensor:
    """YOLOv8's and later: `(batch, 4 + classes, anchors)`, centre x, y, width, height, scores.

    What heads for masks, keypoints or oriented boxes put behind the scores (coefficients, places,
    an angle) is left out, as far as it is told how many classes there are, or stands beside.

    Args:
        outputs: the predictions, alone or with what stands beside them.
        classes: how many there are; None: as what stands beside the predictions says.

    Raises:
        ModelError: if what stands behind the boxes cannot all be scores, and it is not known how
            much of it is.
    """
    rows = _first(outputs).transpose(1, 2)
    columns = rows.shape[2] - 4
    if classes is None:
        classes = _classes_beside(outputs, rows)
    if classes is None:
        strange = [i for i, one in enumerate(rows[..., 4:].unbind(2)) if not _are_scores(one)]
        if strange:
            raise ModelError(
                f"after the boxes the output has {columns} numbers per anchor, and number "
                f"{strange[0]} is not a score from 0 to 1 (it may be a mask's coefficient, "
                "a keypoint or an angle). Say how many of the numbers are classes: "
                "output='yolo:80' for 80."
            )
        classes = columns
    if classes > columns:
        raise ModelError(
            f"{classes} classes were asked for, but the output has only {columns} "
            "numbers per anchor after its boxes."
        )
    return torch.cat((_corners(rows[..., :4]), rows[..., 4 : 4 + classes]), 2)


def from_yolov5(outputs: Any, _size: Size | None = None) -> Tensor:
    """YOLOv5's: `(batch, anchors, 5 + classes)` with the objectness, which scales the scores."""
    rows = _first(outputs)
    return torch.cat((_corners(rows[..., :4]), rows[..., 4:5] * rows[..., 5:]), 2)


def from_rows(outputs: Any, _size: Size | None = None) -> Tensor:
    """YOLOv10's, without duplicates: `(batch, n, 6)`, x1, y1, x2, y2, a score and its class."""
    rows = _first(outputs)
    if rows.shape[2] < 6:  # more: an angle, keypoints or a mask's coefficients
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


def from_rt_detr(outputs: Any, size: Size | None = None) -> Tensor:
    """Ultralytics' RT-DETR: `(batch, n, 4 + classes)`, a centre and sizes as shares, scores."""
    rows = _first(outputs)
    return torch.cat((_in_pixels(_corners(rows[..., :4]), size), rows[..., 4:]), 2)


READINGS: dict[str, Callable[[Any, Size | None], Tensor]] = {
    "boxes": from_lists,
    "yolo": from_yolo,
    "yolov5": from_yolov5,
    "yolov10": from_rows,
    "detr": from_detr,
    "detr-sigmoid": from_detr_sigmoid,
    "rt-detr": from_rt_detr,
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


def _is_rt_detr(outputs: Any) -> bool:
    """Whether rows stand before the decoder's boxes and logits that they were made from."""
    rows = _predictions(outputs)
    beside = [one for one in _tensors(outputs[1:]) if one.ndim == 4]
    if rows is None or len(beside) < 2:
        return False
    boxes, logits = (one[-1] for one in beside[:2])
    made = boxes.shape[-1] == 4 and boxes.shape[:2] == logits.shape[:2] == rows.shape[:2]
    return made and torch.equal(rows, torch.cat((boxes, logits.sigmoid()), -1))


def _from_cells(outputs: Any) -> Tensor | None:
    """A YOLO head's predictions, with what they were made from beside them."""
    first = _predictions(outputs)
    if first is None:
        return None
    rest = list(outputs[1:])
    one2one = _part(rest, "one2one")  # a head without duplicates, with a row for each box
    if one2one is not None and first.shape[2] >= 6:
        if isinstance(one2one, Mapping) and "angle" in one2one:  # its boxes have a centre
            first = torch.cat((_corners(first[..., :4]), first[..., 4:]), 2)
        return from_rows(first)
    scores = _part(rest, "scores")
    if isinstance(scores, Tensor) and scores.ndim == 3 and scores.shape[2] == first.shape[2]:
        return from_yolo(outputs)
    maps = [each for each in _tensors(rest) if each.ndim >= 4 and len(each) == len(first)]
    grids = _leading_grids(maps)
    if first.shape[2] in grids:  # (batch, channels, height, width) each
        return from_yolo(outputs)
    cells = sum(each[0, ..., 0].numel() for each in maps if each.ndim == 5)
    if cells and cells == first.shape[1]:  # (batch, anchors, height, width, 5 + classes) each
        return from_yolov5(first)
    return None


def _leading_grids(maps: Sequence[Tensor]) -> list[int]:
    """How many positions the first one, two, ... of the maps have together.

    Behind the maps that the anchors lie on may stand others: the prototypes of masks.
    """
    sizes = [each.shape[-2] * each.shape[-1] for each in maps if each.ndim == 4]
    return list(accumulate(sizes))


def _predictions(outputs: Any) -> Tensor | None:
    """The predictions `(batch, rows, anchors)` of a head, which may have prototypes beside them."""
    first = outputs[0]
    if isinstance(first, (tuple, list)) and first:  # ((predictions, prototypes), ...)
        first = first[0]
    return first if isinstance(first, Tensor) and first.ndim == 3 else None


def _part(beside: Any, name: str) -> Any:
    """What a mapping among the things beside the predictions has under a name."""
    if isinstance(beside, Mapping):
        return beside.get(name)
    for one in beside if isinstance(beside, (tuple, list)) else ():
        if isinstance(one, Mapping) and name in one:
            return one[name]
    return None


def _classes_beside(outputs: Any, rows: Tensor) -> int | None:
    """How many classes what stands beside the predictions says there are.

    The scores that they were made from; or what is left of the numbers behind a box without the
    coefficients, keypoints or angles that stand beside, a number of them for each anchor.

    Raises:
        ModelError: if that leaves nothing, or what is left are no scores.
    """
    if not isinstance(outputs, (tuple, list)) or len(outputs) < 2:
        return None
    rest, columns, anchors = list(outputs[1:]), rows.shape[2] - 4, rows.shape[1]
    scores = _part(rest, "scores")
    if isinstance(scores, Tensor) and scores.ndim == 3:
        classes = scores.shape[1]
    else:
        parts = _tensors(rest, but=("boxes",))  # from which those of the predictions were decoded
        beside = [x.shape[1] for x in parts if x.ndim == 3 and x.shape[2] == anchors]
        classes = columns - sum(beside)
    if not 0 < classes <= columns or not _are_scores(rows[..., 4 : 4 + classes]):
        raise ModelError(
            f"behind the boxes the output has {columns} numbers an anchor, and what stands beside "
            f"says that {classes} of them are scores of classes, which does not hold; say how many "
            "are: output='yolo:80' for 80."
        )
    return classes


def _are_scores(values: Tensor) -> bool:
    values = values.detach()
    return bool(((values >= 0) & (values <= 1)).all())


def _tensors(value: Any, but: Sequence[str] = ()) -> Iterator[Tensor]:
    """The tensors in a nested value, but for what mappings have under some names."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            if key not in but:
                yield from _tensors(part, but)
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors(part, but)


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
    return ModelError(f"this way of reading boxes needs {wanted}, but the output is {came}.")
