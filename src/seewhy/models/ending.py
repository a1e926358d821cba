"""What a network does last to the numbers that it gives: a sigmoid, a linear map, a normalisation.

Values alone cannot tell: logits may lie between 0 and 1 by chance. Autograd's record of a run says
which operation came last. Where it has none, the picture is changed far beyond what pictures are:
logits leave 0 to 1 then, and what a sigmoid gives does not.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from seewhy.models.bound import Bound
from seewhy.models.placing import Key, holds_for
from seewhy.models.undisturbed import undisturbed

_SIGMOIDS = {"Sigmoid", "Hardsigmoid", "Softmax"}
_UNBOUNDED = {
    "Addbmm", "Addmm", "Addmv", "Baddbmm", "Bmm", "Convolution", "Elu", "Gelu", "LeakyRelu", "Mm",
    "Mv", "Relu", "Silu", "Softplus",
}  # fmt: skip
"""Operations that give any number, or any above 0."""
_NORMALISING = {"NativeLayerNorm", "FusedRmsNorm"}
_MOVING = {
    "Alias", "AsStrided", "Cat", "Clone", "Expand", "Index", "IndexSelect", "Gather", "Permute",
    "Reshape", "ReshapeAlias", "Select", "Slice", "Split", "SplitWithSizes", "Squeeze", "Stack",
    "T", "ToCopy", "Transpose", "Unbind", "UnsafeView", "Unsqueeze", "View",
}  # fmt: skip
"""Operations that put numbers elsewhere and leave their values."""
_BETWEEN = {
    "AdaptiveAvgPool", "AdaptiveMaxPool", "Amax", "AvgPool", "Max", "MaxPool", "Mean",
    "UpsampleBilinear", "UpsampleLinear", "UpsampleNearest", "UpsampleTrilinear",
}  # fmt: skip
"""Operations whose results lie between the values that they take."""

_AROUND = 1e-5
"""So much a resize may leave the range of what it resizes, by rounding."""


def ends_in_sigmoid(model: Bound, inputs: Tensor, outputs: Tensor) -> bool:
    """Whether the outputs are what a sigmoid gives, or as good as that.

    It costs nothing where an output lies outside of 0 to 1, or where autograd has followed the
    run; else a forward pass of one image, and one of four where that leaves it open. The answer is
    remembered with the model.

    Args:
        model: the model, bound to what it is called with; no part of it is being watched.
        inputs: the pictures `(batch, channels, *axes)`.
        outputs: what it gave for them.
    """
    if not _within(outputs):
        return False
    key = holds_for(model, model.module, inputs, tuple(outputs.shape[1:]))
    known = _known.get(model.module)
    if known is not None and known[0] == key is not None:
        return known[1]
    seen = set(last_operations(outputs))
    alone, image = model.image(0), inputs[:1]
    if not seen:
        seen = set(last_operations(_followed(alone, image)))
    if seen and seen <= _SIGMOIDS:
        found = True
    elif seen & _UNBOUNDED:
        found = False
    else:
        found = _stays_within(alone, image)
    _known[model.module] = key, found
    return found


def ends_in_normalisation(model: Bound, inputs: Tensor, outputs: Tensor) -> bool:
    """Whether the outputs are what a layer normalisation gives: a hidden state, not scores."""
    seen = set(last_operations(outputs))
    if not seen:
        seen = set(last_operations(_followed(model.image(0), inputs[:1])))
    return bool(seen & _NORMALISING)


# Remembered outside the models, which stay untouched, and forgotten with them.
_known: weakref.WeakKeyDictionary[nn.Module, tuple[Key, bool]] = weakref.WeakKeyDictionary()


def last_operations(outputs: Tensor) -> Iterator[str]:
    """What autograd knows of the operations that made the outputs' values, without their number.

    Operations that only move numbers, or take a mean or the largest of them, are looked through;
    a product of probabilities is one as well. Where numbers are scaled or shifted by constants,
    that is named, and what is behind it too. Nothing where no gradient was followed.
    """
    waiting, met = [outputs.grad_fn], {outputs.grad_fn}
    while waiting:
        node = waiting.pop()
        if node is None:
            continue
        name = _name(node)
        behind = [one for one, _ in node.next_functions]
        through = name in _MOVING or name in _BETWEEN or (name == "Mul" and None not in behind)
        if not through:
            yield name
            if not _is_affine(name, behind):
                continue
        for one in behind:
            if one not in met:
                met.add(one)
                waiting.append(one)


def _is_affine(name: str, behind: list[Any]) -> bool:
    """Whether an operation scales or shifts one tensor by constants."""
    if name == "Div" and behind[0] is None:
        return False
    return (
        name in ("Add", "Div", "Mul", "Neg", "Rsub", "Sub")
        and sum(one is not None for one in behind) == 1
    )


def _name(node: Any) -> str:
    """`Addmm` of `AddmmBackward0`, `MaxPool` of `MaxPool2DWithIndicesBackward0`."""
    name: str = node.name().split("Backward")[0]
    for kind in _BETWEEN:
        if name.startswith(kind) and (name == kind or name[len(kind)].isdigit()):
            return kind
    return name


def _followed(model: Bound, image: Tensor) -> Tensor:
    """The outputs for one image, of a run that autograd has followed."""
    with undisturbed(model), torch.enable_grad():
        outputs: Tensor = model(image.detach().clone().requires_grad_())
    return outputs


def _stays_within(model: Bound, image: Tensor) -> bool:
    """Whether all outputs stay between 0 and 1 even for inputs that are not pictures."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(image.shape, generator=generator).to(image)
    spread = image.float().std().to(image).clamp(min=1e-3)
    far = 1e6 if image.dtype.itemsize >= 4 else 30.0  # half precision would overflow inside
    changed = torch.cat([-image, far * image, -far * image, far * spread * noise])
    with undisturbed(model), torch.no_grad():
        found = model(changed.to(image))
    known = found[~found.isnan()]  # what overflowed inside says nothing
    return len(known) > 0 and _within(known)


def _within(outputs: Tensor) -> bool:
    values = outputs.detach()
    return bool(((values >= -_AROUND) & (values <= 1 + _AROUND)).all())
