"""Tensors inside what a model or a layer returns: tuples, lists, dicts and dataclasses of them."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor

from seewhy.errors import ModelError
from seewhy.models.detections import READINGS, Size, detections

OutputSelector = str | int | Callable[[Any], Tensor]
"""Which part of the model's output holds the scores: a path (`"logits"`, `"heads.0"`), an index, a
function of the output, or how to read boxes where their form does not say it (`"yolo"`, ...)."""

NAMES = ("logits", "out", "logits_per_image", "image_embeds", "pooler_output")
"""What scores or embeddings are called, in torchvision and transformers; the first that is there is
taken."""


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
    """The scores in a model's output.

    Without a selector: the output itself if it is a tensor; a detector's boxes with their scores,
    `(batch, n, 4 + classes)` (see `detections`); otherwise the tensor that has one of `NAMES`, the
    only floating tensor, or the only one of shape (batch, classes).

    Args:
        outputs: what the model returned.
        selector: where the scores are, or how to read them.
        size: height and width of the input, in which boxes given as shares of it are then told.

    Raises:
        ModelError: if it is not clear which tensor is meant, or the selector does not find one.
    """
    if callable(selector):
        chosen = selector(outputs)
        if not isinstance(chosen, Tensor):
            raise ModelError(
                f"output= is a function that gave {type(chosen).__name__}; a tensor is wanted."
            )
        return chosen
    found = {path: tensor for path, tensor in tensors_in(outputs) if tensor.is_floating_point()}
    if selector is not None:
        if str(selector) in found:
            return found[str(selector)]
        if selector in READINGS:
            return READINGS[str(selector)](outputs, size)
        raise ModelError(f"output={selector!r} is not in the model's output; {_listing(found)}")
    boxes = detections(outputs, size)
    if boxes is not None:
        return boxes
    if len(found) == 1:
        return next(iter(found.values()))
    named = [
        [tensor for path, tensor in found.items() if path == name or path.endswith(f".{name}")]
        for name in NAMES
    ]
    flat = [tensor for tensor in found.values() if tensor.ndim == 2]
    for candidates in (*named, flat):
        if len(candidates) == 1:
            return candidates[0]
    raise ModelError(
        f"it is not clear which part of the model's output holds the scores; {_listing(found)} "
        "Name it with output=, a path, an index, or a function of the output."
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
        return "it holds no floating-point tensor."
    shapes = (f"{path or 'the output'} {tuple(tensor.shape)}" for path, tensor in found.items())
    return f"it holds {', '.join(shapes)}."
