"""Tensors inside what a model or a layer returns: tuples, lists, dicts and dataclasses of them."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from seewhy.errors import ModelError
from seewhy.models.detections import READINGS, Size, detections, from_yolo

OutputSelector = str | int | Callable[[Any], Tensor]
"""Which part of the model's output holds the scores: a path (`"logits"`, `"heads.0"`), an index, a
function of the output, or how to read boxes where their form does not say it (`"yolo"`, `"yolo:80"`
for 80 classes, ...)."""

SCORES = ("logits", "out", "logits_per_image")
"""What scores are called, in torchvision and transformers."""

EMBEDDINGS = ("image_embeds", "pooler_output")
"""What embeddings of a picture are called; they are taken where there are no scores."""


def tensors_in(value: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor in a nested value with its dotted path; the path of a bare tensor is empty."""
    if isinstance(value, Tensor):
        yield path, value
        return
    for key, part in _parts(value):
        yield from tensors_in(part, f"{path}.{key}" if path else str(key))


def has_numbers(tensor: Tensor) -> bool:
    """Whether the tensor holds floating-point numbers, or integers that stand for such."""
    return tensor.is_floating_point() or tensor.is_quantized


def replace_tensor(value: Any, path: str, tensor: Tensor) -> Any:
    """A copy of the nested `value` with another tensor at `path`; the rest is shared."""
    if not path:
        return tensor
    key, part, rest = next(
        (key, part, rest)
        for key, part in _parts(value)
        for rest, _ in tensors_in(part)
        if (f"{key}.{rest}" if rest else str(key)) == path  # a key may itself hold a dot
    )
    changed = replace_tensor(part, rest, tensor)
    if isinstance(value, Mapping):
        fresh = copy.copy(value)
        fresh[key] = changed  # type: ignore[index]  # a mapping that a layer returned is a dict
        return fresh
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(value, **{key: changed})
    items = [changed if index == key else item for index, item in enumerate(value)]
    return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)


def find_logits(
    outputs: Any, selector: OutputSelector | None = None, *, size: Size | None = None
) -> Tensor:
    """The scores in a model's output; see `find_scores`, which also says where they are."""
    return find_scores(outputs, selector, size=size)[1]


def find_scores(
    outputs: Any, selector: OutputSelector | None = None, *, size: Size | None = None
) -> tuple[str, Tensor]:
    """Where the scores are in a model's output, and the scores.

    Without a selector: the output itself if it is a tensor; a detector's boxes with their scores,
    `(batch, n, 4 + classes)` (see `detections`); otherwise the tensor that has one of the names in
    `SCORES`, or else in `EMBEDDINGS`, the nearest to the top before what lies deeper; the only
    floating tensor; or the only one of shape (batch, classes), where of logits and their own
    probabilities the logits are taken.

    Args:
        outputs: what the model returned.
        selector: where the scores are, or how to read them.
        size: height and width of the input, in which boxes given as shares of it are then told.

    Returns:
        The path of the tensor, empty for what was read or computed, and the tensor.

    Raises:
        ModelError: if it is not clear which tensor is meant, or the selector does not find one.
    """
    if callable(selector):
        chosen = selector(outputs)
        if not isinstance(chosen, Tensor):
            raise ModelError(
                "output= must be a function that returns a tensor, but it returned "
                f"{type(chosen).__name__}."
            )
        return "", _with_rows(chosen, "output= is a function that gave")
    found = {path: tensor for path, tensor in tensors_in(outputs) if tensor.is_floating_point()}
    if selector is not None:
        return _selected(outputs, found, selector, size)
    boxes = detections(outputs, size)
    if boxes is not None:
        return "", boxes
    if "" in found:
        return "", found[""]
    found = {path: tensor for path, tensor in found.items() if tensor.ndim}
    if len(found) == 1:
        return next(iter(found.items()))
    flat = [path for path, tensor in found.items() if tensor.ndim == 2]
    for likely in (_highest(found, SCORES), _highest(found, EMBEDDINGS, 2), flat):
        likely = _without_probabilities(found, likely)
        if len(likely) == 1:
            return likely[0], found[likely[0]]
        if likely:
            break
    raise ModelError(
        "it is not clear which part of the model's output contains the scores; "
        f"{_listing(found)} Name it with output=: a path, an index, or a function "
        "of the output."
    )


def _selected(
    outputs: Any, found: Mapping[str, Tensor], selector: str | int, size: Size | None
) -> tuple[str, Tensor]:
    """What a path, an index or the name of a reading stands for."""
    path = str(selector)
    if path in found:
        return path, _with_rows(found[path], f"output={selector!r} is")
    reading, _, classes = path.partition(":")
    if reading == "yolo" and classes.isdecimal() and int(classes):
        return "", from_yolo(outputs, size, int(classes))
    if path in READINGS:
        return "", READINGS[path](outputs, size)
    raise ModelError(f"output={selector!r} is not in the model's output; {_listing(found)}")


def _with_rows(tensor: Tensor, what: str) -> Tensor:
    if tensor.ndim == 0:
        raise ModelError(
            f"{what} one number for the whole batch (a loss?), which says nothing about "
            "a single image. Scores with one row per image are needed."
        )
    return tensor


def _highest(
    found: Mapping[str, Tensor], names: Sequence[str], axes: int | None = None
) -> list[str]:
    """The paths that end in one of the names and lie nearest to the top, of the first such name.

    Args:
        found: tensors by path.
        names: see above.
        axes: how many axes the tensor has; None for any number.
    """
    ranked: dict[tuple[int, int], list[str]] = {}
    for path, tensor in found.items():
        *above, last = path.split(".")
        if last in names and (axes is None or tensor.ndim == axes):
            ranked.setdefault((len(above), names.index(last)), []).append(path)
    return ranked[min(ranked)] if ranked else []


def _without_probabilities(found: Mapping[str, Tensor], paths: Sequence[str]) -> list[str]:
    """The paths without those whose tensor holds the probabilities of another's logits."""
    return [
        path
        for path in paths
        if not any(_probabilities_of(found[path], found[other]) for other in paths if other != path)
    ]


def _probabilities_of(one: Tensor, other: Tensor) -> bool:
    """Whether one tensor is the softmax or the sigmoid of another."""
    if one.shape != other.shape or one.ndim < 2:
        return False
    one, logits = one.detach().float(), other.detach().float()
    made = (logits.softmax(1), logits.sigmoid())
    return any(bool(torch.allclose(one, each, rtol=1e-3, atol=1e-5)) for each in made)


def are_embeddings(path: str) -> bool:
    """Whether the name of a part of the output says that it holds no scores but hidden states."""
    name = path.rpartition(".")[2] if not path.rpartition(".")[2].isdecimal() else path
    return bool(_HIDDEN.search(name))


_HIDDEN = re.compile(
    r"(^|_|\.)(embeds?|embeddings?|hidden_states?|features?|pooled|pooler)(_|\.|$)"
)


def _parts(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return list(value.items())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    if isinstance(value, (tuple, list)):
        return list(enumerate(value))
    return []


def _listing(found: Mapping[str, Tensor]) -> str:
    if not found:
        return "it contains no floating-point tensor."
    shapes = (
        f"{path or 'the output'} {tuple(tensor.shape)}{_told(tensor)}"
        for path, tensor in found.items()
    )
    return f"it contains {', '.join(shapes)}."


def _told(tensor: Tensor) -> str:
    """What the values of a tensor `(batch, classes)` show of what it holds."""
    values = tensor.detach().float()
    if tensor.ndim != 2 or tensor.shape[1] < 2 or not bool((values >= 0).all()):
        return ""
    return " (probabilities)" if bool(((values.sum(1) - 1).abs() < 1e-3).all()) else ""
