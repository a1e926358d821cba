"""Which axis of a picture, and of what a model makes of it, holds the channels or the classes.

Everything else sees `(batch, channels, *axes)` and `(batch, classes, *size)`. A model may take its
pictures with the channels last and give its maps with the classes last, or one map an image
without an axis for its class. The sizes say which; a change in two corners of the picture shows
whether it is so.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from seewhy.errors import ModelError
from seewhy.models.exported import made_for
from seewhy.models.grid import Grid
from seewhy.models.trace import Call, trace
from seewhy.models.undisturbed import undisturbed

COLOURS = (1, 3, 4)
"""Channels that a picture may have, where it is open which axis they are."""

Form = Literal["as wanted", "classes last", "one map", "one map of one image", "one number"]
"""How a model gives its scores: `(batch, classes, *size)`, `(batch, *size, classes)`,
`(batch, *size)`, `size`, or a number without an axis for a batch of one."""


# --- What goes in ---------------------------------------------------------------------------------


def has_channels_last(model: nn.Module, module: nn.Module, inputs: Tensor) -> bool:
    """Whether pictures came as `(batch, *axes, channels)`, to a model that takes them so.

    Where the shape says so, one picture is run, and the first convolution shows how it comes there.

    Args:
        model: runs pictures that are laid out as they came.
        module: the caller's own model in it.
        inputs: the pictures as they came.

    Raises:
        ModelError: if the channels are last, and the model does not take them so.
    """
    first = next((one for one in module.modules() if isinstance(one, _CONVOLUTIONS)), None)
    shape = tuple(inputs.shape)
    if not _looks_channels_last(shape, None if first is None else first.in_channels):
        return False
    known = _taken.get(module)
    if known is None or known[0] != shape[1:]:
        _taken[module] = known = (shape[1:], _takes_channels_last(model, module, inputs))
    return known[1]


def _takes_channels_last(model: nn.Module, module: nn.Module, inputs: Tensor) -> bool:
    shape = tuple(inputs.shape)
    calls: Sequence[Call] = ()
    try:
        if made_for(module) or any(isinstance(x, torch.jit.ScriptModule) for x in module.modules()):
            with undisturbed(model), torch.no_grad():  # such a model shows no calls
                model(inputs[:1])
        else:
            _, calls = trace(model, inputs[:1], module)
    except ModelError:  # of its outputs, so it has run
        raise
    except Exception as error:
        order = (0, inputs.ndim - 1, *range(1, inputs.ndim - 1))
        raise ModelError(
            f"inputs have shape {shape}, with their {shape[-1]} channels last, and the model does "
            f"not take them so ({_first_line(error)}); give them with the channels behind the "
            f"batch: inputs.permute{order}."
        ) from error
    for call in calls:
        entered = call.entered or ()
        if isinstance(call.module, _CONVOLUTIONS) and len(entered) == len(shape):
            return entered[1:] == (shape[-1], *shape[1:-1])
    return shape[-1] in COLOURS


_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)

# Remembered outside the models, which stay untouched, and forgotten with them.
_taken: weakref.WeakKeyDictionary[nn.Module, tuple[tuple[int, ...], bool]]
_taken = weakref.WeakKeyDictionary()


def _looks_channels_last(shape: tuple[int, ...], taken: int | None) -> bool:
    """Whether the last axis alone can be the channels: as many as the model takes, or colours.

    The second may be the channels of a picture, the third those of a video.
    """
    others = shape[1:3] if len(shape) == 5 else shape[1:2]
    if len(shape) < 3 or taken in others:
        return False
    if taken == shape[-1]:
        return True
    return len(shape) > 3 and shape[-1] in COLOURS and not set(others) & set(COLOURS)


# --- What comes out -------------------------------------------------------------------------------


def form_of(shape: Sequence[int], picture: Sequence[int]) -> Form:
    """How scores of that shape are laid out, for pictures `(batch, channels, *axes)`."""
    shape, axes, batch = tuple(shape), tuple(picture[2:]), picture[0]
    if batch == 1 and not shape:
        return "one number"
    if len(axes) < 2:
        return "as wanted"
    if shape == (batch, *axes):
        return "one map"
    if batch == 1 and shape == axes:
        return "one map of one image"
    if (
        len(shape) == len(axes) + 2
        and _lies(shape[1:-1], picture)
        and not _lies(shape[2:], picture)
    ):
        return "classes last"
    return "as wanted"


def brought(outputs: Tensor, form: Form) -> Tensor:
    """The scores as `(batch, classes, *size)` or `(batch,)`.

    Raises:
        ModelError: for a number without an axis, of more than one image.
    """
    if form == "classes last":
        return outputs.movedim(-1, 1)
    if form == "one map":
        return outputs[:, None]
    if form == "one map of one image":
        return outputs[None, None]
    if form == "one number":
        return outputs[None]
    if outputs.ndim == 0:
        raise ModelError(
            "the model returns one number for the whole batch, but a row of scores for "
            "each image is needed."
        )
    return outputs


def as_given(outputs: Tensor, form: Form) -> Tensor:
    """Scores that `brought` has brought into order, as the model gave them.

    Where the model leaves out the axis of the batch for a single image, that axis stays.
    """
    if form == "classes last":
        return outputs.movedim(1, -1)
    return outputs[:, 0] if form in ("one map", "one map of one image") else outputs


def is_open(shape: Sequence[int], form: Form, picture: Sequence[int]) -> bool:
    """Whether the sizes of maps, as `brought` gives them, leave it open which axis is the classes'.

    Also where they do not, but something else than a map could have such a size.
    """
    if form in ("classes last", "one map", "one map of one image"):
        return True
    if _may_be_one_map(shape, picture):
        return True
    fits = len(shape) == len(picture) > 3 and _lies(shape[2:], picture)
    return fits and shape[1] > 1 and _lies(shape[1:-1], picture)


def _may_be_one_map(shape: Sequence[int], picture: Sequence[int]) -> bool:
    """Whether scores `(batch, a, b)` may be a smaller map, or positions and a vocabulary."""
    return len(shape) == len(picture) - 1 == 3 and min(shape[1:]) > 1 and _lies(shape[1:], picture)


def check_form(
    model: nn.Module,
    run: Callable[[Tensor], Tensor],
    image: Tensor,
    outputs: Tensor,
    form: Form,
    output: object,
) -> str | None:
    """Looks where maps change when corners of the picture are changed, and says what it cannot see.

    It runs the model on three pictures, once for each model and size; each time where the scores
    are chosen by a function, which may be another one.

    Args:
        model: with what is remembered.
        run: gives the scores as `brought` has brought them into order.
        image: one picture, `(1, channels, *axes)`.
        outputs: the scores for it.
        form: how the model gives them.
        output: by what they are chosen among the model's outputs.

    Raises:
        ModelError: if the classes are on another axis than the sizes said.
    """
    key = (tuple(image.shape), tuple(outputs.shape[1:]), form, output)
    known = _known.get(model)
    if callable(output):
        known = None, _moves(run, image)
    elif known is None or known[0] != key:
        _known[model] = known = (key, _moves(run, image))
    moved = known[1]
    came = tuple(as_given(outputs[:1], form).shape)
    # The axis that would be the classes' if the others were the picture's, and these others.
    turned = -1 if form == "as wanted" else 1
    others = [one for axis, one in enumerate(moved) if axis != turned % len(moved)]
    maps = outputs.ndim == image.ndim
    shows = min(others) > _FAR and moved[0] > max(moved[turned], 0) + _FAR
    if maps and form in ("as wanted", "classes last") and shows:
        order = (0, outputs.ndim - 1, *range(1, outputs.ndim - 1))
        found = "first" if form == "classes last" else "last"
        raise ModelError(
            f"the output {came} has its classes {found}, as a change in a corner of the picture "
            "shows, and not where its size would have them. Say with output= how to read it, a "
            "function of what the model returns that gives (batch, classes, height, width)"
            + (f": output=lambda out: out.permute{order}." if found == "last" else ".")
        )
    if _may_be_one_map(outputs.shape, image.shape):
        return _ONE_MAP.format(came) if min(moved) > _FAR else None
    if max(moved[1:]) > _FAR:
        return None
    return (
        f"the output {came} is read as {_READ_AS[form]} by its size alone, because a change in a "
        "corner of the picture changes it everywhere; if it is something else, say so with "
        "output=, a function that gives (batch, classes, height, width)"
    )


_ONE_MAP = (
    "the output {} is one map an image, as a change in a corner of the picture shows, and is read "
    "as something else for want of an axis for its class: say output=lambda out: out[:, None] (out "
    "being what the model returns)"
)
_READ_AS = {
    "as wanted": "maps with the classes first",
    "classes last": "maps with the classes last",
    "one map": "one map an image",
    "one map of one image": "one map",
}
_FAR = 0.25
"""So much of an axis a change must move, when it goes from corner to corner of the picture."""

_known: weakref.WeakKeyDictionary[nn.Module, tuple[object, list[float]]]
_known = weakref.WeakKeyDictionary()


def _moves(run: Callable[[Tensor], Tensor], image: Tensor) -> list[float]:
    """How far along each axis of the outputs a change moves, as a share of the axis.

    The change goes from the first corner of the picture to the last, and is the same in both.
    """
    generator = torch.Generator().manual_seed(0)
    size = [max(1, each // 3) for each in image.shape[2:]]
    drawn = torch.randn((*image.shape[:2], *size), generator=generator).to(image)
    change = drawn * image.float().std().to(image).clamp(min=1e-2)
    changed = []
    for last in (False, True):
        version = image.clone()
        place = (slice(-each, None) if last else slice(0, each) for each in size)
        version[(slice(None), slice(None), *place)] += change
        changed.append(version)
    plain, *others = (run(one).detach().double()[0] for one in (image, *changed))
    low, high = (_centres((one - plain).abs()) for one in others)
    return [b - a for a, b in zip(low, high, strict=True)]


def _centres(change: Tensor) -> list[float]:
    """Where the change lies along each axis, 0 to 1; the middle where there is none."""
    found = []
    for axis, size in enumerate(change.shape):
        along = change.movedim(axis, 0).reshape(size, -1).sum(1)
        total = along.sum()
        places = torch.linspace(0, 1, size, dtype=along.dtype, device=along.device)
        known = size > 1 and bool(total > 0)
        found.append(float((along * places).sum() / total) if known else 0.5)
    return found


def _lies(size: Sequence[int], picture: Sequence[int]) -> bool:
    """Whether one stride along all axes of the picture leaves these positions, or one factor."""
    factors = {a / b for a, b in zip(size, picture[2:], strict=True)}
    return Grid(tuple(size)).fits(picture) or (len(factors) == 1 and min(factors) >= 1)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
