"""What a network's outputs hold: logits, classes, predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias, cast

import torch
from torch import Tensor

from seewhy.errors import TargetError

Ending: TypeAlias = Literal["softmax", "sigmoid"] | None
"""What a network does to its logits last. Behind either its outputs are probabilities already: of
classes that exclude one another (softmax), or of each class on its own (sigmoid). None: logits."""

ONE_NUMBER = (
    "the model returns one number per image. Use target='positive' or "
    "'negative' for a two-class logit, or target='output:0' for a value"
)


def checked_outputs(outputs: Tensor) -> Tensor:
    """The outputs in float32 or wider, once it is sure that they are numbers with a batch axis."""
    if not isinstance(outputs, Tensor):
        raise TargetError(f"the network's output is a {type(outputs).__name__}, not a tensor")
    if not outputs.is_floating_point() or outputs.ndim == 0:
        raise TargetError(
            "the network's output must be floats of shape (batch, classes), not "
            f"{outputs.dtype} of shape {tuple(outputs.shape)}"
        )
    return outputs.float() if outputs.dtype.itemsize < 4 else outputs


def without_single_axes(outputs: Tensor) -> Tensor:
    """The outputs as (batch, classes) where all axes behind the classes have one position.

    So networks end whose head is a convolution over the whole picture: (batch, classes, 1, 1).
    """
    single = outputs.ndim > 2 and all(size == 1 for size in outputs.shape[2:])
    return outputs.flatten(1) if single and outputs.shape[1] else outputs


def as_logits(outputs: Tensor) -> Tensor:
    """The outputs as (batch, classes); one number an image is one class."""
    outputs = without_single_axes(checked_outputs(outputs))
    if outputs.ndim > 2 or (outputs.ndim == 2 and outputs.shape[1] == 0):
        raise TargetError(
            "the network's output must have shape (batch, classes) or (batch,), not "
            f"{tuple(outputs.shape)}; {_instead(outputs)}give as target a function of "
            "the output that returns one number per image, shape (batch,)"
        )
    return outputs[:, None] if outputs.ndim == 1 else outputs


def _instead(outputs: Tensor) -> str:
    """Which targets such outputs have."""
    if is_detections(outputs):
        return "use a class, 'CLASS@x1,y1,x2,y2' or 'box:0' for boxes, or "
    if is_maps(outputs):
        some = "their only class, 0," if outputs.shape[1] == 1 else "a class,"
        return f"use {some} 'CLASS@x,y' or Region(class, mask) for maps, or "
    if outputs.ndim == 3:
        return (
            "use 'token:NUMBER' or Sentence(tokens) for (batch, positions, "
            "vocabulary), use Region(class, mask) for (batch, classes, length), say "
            "how to read the head of a detector with output= ('yolo', 'detr', ...), "
            "give output=lambda out: out[:, None] for one map per image (batch, "
            "height, width), or "
        )
    return ""


def is_maps(outputs: Tensor) -> bool:
    """Whether the outputs have a map of two or three axes per class, with several positions."""
    return without_single_axes(outputs).ndim in (4, 5) and 0 not in outputs.shape


def is_detections(outputs: Tensor) -> bool:
    """Whether the outputs are (batch, n, 4 + classes): every row a box and scores, 0 to 1.

    Where no corner lies beyond 1 these are boxes told as shares of the picture, or probabilities of
    something else, of which a few rows, but not many, may rise like corners by chance.
    """
    if outputs.ndim != 3 or outputs.shape[2] < 5:
        return False
    left, upper, right, lower = outputs[..., :4].unbind(2)
    scores = outputs[..., 4:]
    return bool(
        ((left <= right) & (upper <= lower)).all()
        and ((scores >= 0) & (scores <= 1)).all()
        and ((outputs[..., 2:4] > 1).any() or outputs[..., 0].numel() >= 8 or not outputs.any())
    )


def as_maps(outputs: Tensor) -> Tensor:
    """The outputs as (batch, classes, *size), a map for each class."""
    outputs = checked_outputs(outputs)
    if outputs.ndim not in (3, 4, 5) or 0 in outputs.shape:
        raise TargetError(
            "a region is a part of a map (batch, classes, height, width), but the "
            f"network's output has shape {tuple(outputs.shape)}. Name only the class"
        )
    return outputs


def as_detections(outputs: Tensor) -> Tensor:
    """The outputs as (batch, n, 4 + classes): x1, y1, x2, y2 and a score for each class."""
    outputs = checked_outputs(outputs)
    if not is_detections(outputs):
        raise TargetError(
            "boxes need an output of shape (batch, n, 4 + classes): x1, y1, x2, y2, "
            f"then scores from 0 to 1. The network's output {tuple(outputs.shape)} is "
            "not of this form, so say how to read it with output= ('yolo', 'detr', "
            "..., or a function of the output)"
        )
    return outputs


def as_positions(outputs: Tensor) -> Tensor:
    """The outputs as (batch, positions, vocabulary)."""
    outputs = checked_outputs(outputs)
    if outputs.ndim != 3 or 0 in outputs.shape:
        raise TargetError(
            "tokens need an output of shape (batch, positions, vocabulary), but the "
            f"network's output has shape {tuple(outputs.shape)}"
        )
    return outputs


def predicted_positions(maps: Tensor, ending: Ending = None) -> Tensor:
    """Where each class is predicted: boolean, of the shape of the maps (batch, classes, *size).

    Each position has the class with the highest score. Where a position may have several classes
    or none (a single map, or behind a sigmoid), a class is predicted where it is the more likely
    answer: where its logit is at least 0, or its probability at least one half.
    """
    if ending == "sigmoid":
        return maps >= 0.5
    if maps.shape[1] == 1:
        return maps >= 0
    highest = maps.argmax(1, keepdim=True)
    return torch.zeros_like(maps, dtype=torch.bool).scatter_(1, highest, True)


def class_count(outputs: Tensor, labels: Sequence[str] | None) -> int:
    """Classes of the network; two for one output with two labels, 1 for a number of no meaning."""
    if is_detections(outputs):
        return outputs.shape[2] - 4  # more than there are labels: they are padded
    maps = is_maps(outputs)
    outputs_an_image = outputs.shape[1] if maps else as_logits(outputs).shape[1]
    binary = outputs_an_image == 1 and not maps and labels is not None and len(labels) == 2
    if labels and len(labels) != outputs_an_image and not binary:
        raise TargetError(
            f"{len(labels)} labels were given, but the network has {outputs_an_image} "
            f"{'output' if outputs_an_image == 1 else 'classes'}. Give one label per "
            "class"
        )
    return 2 if binary else outputs_an_image


def ranking(
    outputs: Tensor, labels: Sequence[str] | None, ending: Ending = None
) -> list[list[int]]:
    """For each image the classes from the highest score to the lowest."""
    classes = class_count(outputs, labels)
    if classes == 1:
        raise TargetError(ONE_NUMBER)
    scores = as_logits(outputs.detach()).cpu()
    missing = scores.isnan().any(dim=1).nonzero()[:, 0].tolist()
    if missing:
        which = ", ".join(map(str, missing[:5])) + (" and more" if len(missing) > 5 else "")
        raise TargetError(
            f"the network's output contains NaN ({len(missing)} of {len(scores)} "
            f"images), so no class is predicted for image {which} (counted from 0). Run "
            "the network in float32 and check the input"
        )
    if scores.shape[1] == 1:
        even = 0 if ending is None else 0.5
        return [[1, 0] if score >= even else [0, 1] for score in scores[:, 0].tolist()]
    return cast(list[list[int]], scores.argsort(dim=1, descending=True, stable=True).tolist())


def nearest_classes(outputs: Tensor, index: int, count: int, ending: Ending = None) -> list[int]:
    """The other classes whose logits are nearest to class `index`'s, at most `count`, in order.

    Classes that are ruled out (−inf) are near to none. Equal distances rank by index.

    Args:
        outputs: of one image, (1, classes).
        index, count: see above.
        ending: what the network does to its logits last; they are had back from probabilities.

    Raises:
        TargetError: The class's own logit is no finite number, or there is no other class.
    """
    logits = as_logits(outputs.detach())[0].cpu().double()
    if ending is not None:
        logits = logits.log() if ending == "softmax" else logits.logit()
    if not logits[index].isfinite():
        raise TargetError(
            f"the logit of class {index} is {float(logits[index])}, so no class is "
            "similar to it. Run the network in float32 and check the input"
        )
    distances = (logits - logits[index]).abs()
    distances[index] = math.inf
    order = distances.nan_to_num(nan=math.inf).argsort(stable=True)
    near = [each for each in order.tolist() if distances[each].isfinite()][:count]
    if not near:
        raise TargetError(f"there is no other class to compare class {index} with")
    return near


def ending_of(outputs: Tensor) -> Ending:
    """What the outputs' values prove of the network's end: a softmax, or nothing."""
    outputs = without_single_axes(outputs)
    if outputs.ndim == 3 and not is_detections(outputs):  # of a vocabulary, or of classes
        proven = _add_up_to_one(outputs) or _add_up_to_one(outputs.transpose(1, 2))
        return "softmax" if proven else None
    return "softmax" if looks_like_probabilities(outputs) else None


def looks_like_probabilities(outputs: Tensor) -> bool:
    """Whether the outputs are probabilities already: none negative, the classes' sum to 1 ± 1e-3.

    A network with the softmax inside; taken for logits, its probabilities would come out flat.
    """
    outputs = without_single_axes(outputs)
    return (outputs.ndim == 2 or is_maps(outputs)) and _add_up_to_one(outputs)


def are_log_probabilities(outputs: Tensor) -> bool:
    """Whether the outputs are the logarithms of probabilities: what a log-softmax gives."""
    outputs = without_single_axes(outputs.detach())
    flat = outputs.ndim == 2 or is_maps(outputs)
    return flat and bool((outputs <= 0).all()) and _add_up_to_one(outputs.exp())


def _add_up_to_one(outputs: Tensor) -> bool:
    """Whether (batch, classes, ...) holds no negative number, and the classes' sum to 1 ± 1e-3."""
    if outputs.shape[1] < 2 or not outputs.numel() or not bool((outputs >= 0).all()):
        return False
    values = checked_outputs(outputs.detach()).cpu().double()
    return bool(((values.sum(dim=1) - 1).abs() <= 1e-3).all())


def may_be_probabilities(outputs: Tensor) -> bool:
    """Whether all numbers of classes or their maps lie between 0 and 1, and not all at these ends.

    So they do behind a sigmoid; that there is one, the values alone cannot prove.
    """
    outputs = without_single_axes(outputs.detach())
    if outputs.ndim > 2 and not is_maps(outputs):
        return False
    within = bool(((outputs >= 0) & (outputs <= 1)).all())
    return within and bool(((outputs > 0) & (outputs < 1)).any())
