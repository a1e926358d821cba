"""A model bound to all that it is called with beside the picture.

Everything else in this package sees one thing: `model(picture)`, which gives one tensor. What a
model takes besides (a text, metadata, a mask), how it takes its picture, and where in its output
the scores are, is settled here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from seewhy.errors import ModelError
from seewhy.models.exported import made_for
from seewhy.models.layout import COLOURS, Form, brought, form_of, has_channels_last
from seewhy.models.modules import modules_of, unwrap
from seewhy.models.outputs import OutputSelector, find_scores, replace_tensor, tensors_in


class Bound(nn.Module):
    """A model that is called with its picture alone, and gives one tensor; made by `bind`.

    Attributes:
        module: the caller's model, without what torch.compile and DataParallel put around it.
        output: where in the model's output the scores are.
        at_once: how many images the model takes, no more and no fewer; None for any number, as
            with all but exported programs. A longer batch goes through it in parts.
        each: so many rows of a longer batch lie side by side for one image (one for each target).
        channels_last: whether the model takes its pictures as `(batch, *axes, channels)`.
        form: how the model gave its scores in the last run.
        scores_at: where in the model's output they were.
    """

    module: nn.Module
    form: Form = "as wanted"
    scores_at: str = ""
    channels_last = False

    def __init__(
        self,
        module: nn.Module,
        *,
        inputs: Any,
        path: str,
        batch: int,
        shared: frozenset[str],
        frames_first: bool,
        output: OutputSelector | None,
    ) -> None:
        super().__init__()
        self.module = module
        self.each = 1
        self._inputs, self._path, self._batch = inputs, path, batch
        self._shared, self._frames_first, self.output = shared, frames_first, output
        shape = made_for(module)
        self.at_once = shape[0] if shape else None
        self.training = getattr(module, "training", False)  # frozen TorchScript has none

    def forward(self, picture: Tensor) -> Tensor:
        """The scores for `(n, channels, *axes)`: the batch, copies of it, or versions of an image.

        What is given beside the picture is repeated as the images are.
        """
        return self.run(self.module, picture)

    def run(self, module: Callable[..., Any], picture: Tensor) -> Tensor:
        """The same with another module in the model's place (a copy in another precision)."""
        rows, at_once = self._whose(len(picture)), self.at_once
        if at_once is None or at_once == len(picture):
            return self._scores(module, picture, rows)
        if any(one._forward_hooks for one in modules_of(self.module)[1:]):  # a layer is watched
            raise ModelError(
                f"the program was exported for batches of {at_once}, but {len(picture)} "
                f"images were given. A method that uses a layer needs batches of {at_once}, "
                "or a program exported with dynamic_shapes=({0: "
                'torch.export.Dim("batch")},).'
            )
        found = []
        for start in range(0, len(picture), at_once):  # the last is filled up
            which = torch.arange(start, start + at_once).clamp(max=len(picture) - 1)
            found.append(self._scores(module, picture[which.to(picture.device)], rows[which]))
        return torch.cat(found)[: len(picture)]

    def _scores(self, module: Callable[..., Any], picture: Tensor, rows: Tensor) -> Tensor:
        shape = picture.shape
        if self._frames_first:
            picture = picture.transpose(1, 2)
        if self.channels_last:
            picture = picture.movedim(1, -1)
        beside = self._rows(rows, picture.dtype) if self._path else self._inputs
        given = replace_tensor(beside, self._path, picture)
        if isinstance(given, Tensor):
            outputs = module(given)
        elif isinstance(given, Mapping):
            outputs = module(**given)
        else:
            outputs = module(*given)
        self.scores_at, scores = find_scores(outputs, self.output, size=shape[-2:])
        self.form = form_of(scores.shape, shape)
        return brought(scores, self.form)

    @property
    def beside(self) -> bool:
        """Whether it is called with more than the picture."""
        return bool(self._path)

    def image(self, index: int) -> Bound:
        """The model bound to what belongs to one image of the batch."""
        if not self._path:
            return self
        return self._with(self._rows(torch.tensor([index])), 1)

    def with_other_pictures(self, noise: Callable[[Tensor], Tensor]) -> Bound | None:
        """The model bound to other pictures beside its own; None where there are none.

        Args:
            noise: what is added to each of them, from what it is.
        """
        if not self._path:
            return None
        inputs = self._inputs
        least = dict(tensors_in(inputs))[self._path].ndim
        for path, tensor in tensors_in(self._inputs):
            if path != self._path and tensor.is_floating_point() and tensor.ndim >= least:
                inputs = replace_tensor(inputs, path, tensor + noise(tensor))
        return None if inputs is self._inputs else self._with(inputs, self._batch)

    def integers(self) -> list[Tensor]:
        """What it is called with that holds integers: a text's tokens, say."""
        whole = (one for _, one in tensors_in(self._inputs) if not one.is_floating_point())
        return [one for one in whole if not one.is_complex()] if self._path else []

    def calling_form(self) -> Hashable:
        """The form of what it is called with beside the picture; None where that cannot be told.

        These are the shapes of tensors and the values of all else.
        """
        beside = _form(self._inputs) if self._path else ()
        form = (self._path, self._frames_first, self.channels_last, self._shared, beside)
        return None if beside is None else form

    def _with(self, inputs: Any, batch: int) -> Bound:
        other = Bound(
            self.module, inputs=inputs, path=self._path, batch=batch, shared=self._shared,
            frames_first=self._frames_first, output=self.output,
        )  # fmt: skip
        other.channels_last = self.channels_last
        return other

    def _whose(self, count: int) -> Tensor:
        """To which image of the batch each of so many pictures belongs."""
        rows = torch.arange(count)
        return rows if count == self._batch else rows % (self._batch * self.each) // self.each

    def _rows(self, rows: Tensor, dtype: torch.dtype | None = None) -> Any:
        """The inputs with these rows of all that goes with the images."""
        inputs = self._inputs
        for path, tensor in tensors_in(self._inputs):
            if path == self._path:
                continue
            if tensor.ndim and len(tensor) == self._batch and not _named(path, self._shared):
                tensor = tensor[rows.to(tensor.device)]
            if dtype is not None and tensor.is_floating_point():
                tensor = tensor.to(dtype)
            inputs = replace_tensor(inputs, path, tensor)
        return inputs


def bind(
    model: nn.Module,
    inputs: Any,
    *,
    picture: str | int | None = None,
    shared: Sequence[str | int] = (),
    output: OutputSelector | None = None,
) -> tuple[Bound, Tensor]:
    """The model bound to its inputs, and the picture `(batch, channels, *axes)` in them.

    Args:
        model: any module.
        inputs: a picture, a tuple of positional or a mapping of keyword arguments. All tensors
            are moved to the model's device, floating ones to its type.
        picture: which of several inputs the maps lie on, by number or name.
        shared: which of the others belong to all images together and not a row to each, as the
            texts that CLIP compares; needed only where there are as many as images.
        output: where in the model's output the scores are (see `find_logits`).

    Raises:
        ModelError: for inputs of which none, or more than one, can be the picture.
    """
    model = unwrap(model)
    if isinstance(inputs, Tensor):
        found, path = inputs, ""
    elif isinstance(inputs, (Mapping, tuple, list)):
        inputs = dict(inputs) if isinstance(inputs, Mapping) else tuple(inputs)
        found, path = _picture_among(inputs, picture)
    else:
        found, path = inputs, ""  # the next line says what is wanted
    found = to_model(model, found)
    unknown = [
        one for one in shared if not any(_named(p, {str(one)}) for p, _ in tensors_in(inputs))
    ]
    if unknown:
        raise ModelError(
            f"shared={unknown[0]!r} is not one of the inputs. The inputs are {_listing(inputs)}."
        )
    frames_first = found.ndim == 5 and _has_frames_first(model, found)
    for other, tensor in tensors_in(inputs) if path else ():
        if other != path:
            moved = tensor.to(found.device)
            moved = moved.to(found.dtype) if tensor.is_floating_point() else moved
            inputs = replace_tensor(inputs, other, moved)
    if path:
        inputs = replace_tensor(inputs, path, found[:0])  # the picture itself is given each time
    bound = Bound(
        model, inputs=inputs if path else found[:0], path=path, batch=len(found),
        shared=frozenset(map(str, shared)), frames_first=frames_first, output=output,
    )  # fmt: skip
    if frames_first:
        return bound, found.transpose(1, 2)
    if has_channels_last(bound, model, found):
        bound.channels_last = True
        return bound, found.movedim(-1, 1)
    return bound, found


def to_model(model: nn.Module, inputs: Tensor) -> Tensor:
    """The picture on the model's device and in its floating type, after a look at its shape."""
    if not isinstance(inputs, Tensor):
        raise ModelError(
            "inputs must be a prepared tensor (batch, channels, height, width), or a "
            f"tuple or mapping with one, not {type(inputs).__name__}. seewhy.explain() "
            "accepts paths, pictures and arrays."
        )
    if not 3 <= inputs.ndim <= 5 or 0 in inputs.shape or _is_one_picture(model, inputs):
        raise ModelError(
            "inputs must have shape (batch, channels, height, width), or one or three "
            f"axes after the channels, not {tuple(inputs.shape)}. For a single image "
            "pass inputs[None]."
        )
    if not inputs.is_floating_point():
        raise ModelError(
            f"inputs must be prepared floating-point values, not {inputs.dtype}. "
            "seewhy.explain() prepares a picture as the model expects it."
        )
    parameter = next((p for p in model.parameters() if p.is_floating_point()), None)
    if parameter is None:
        return inputs
    autocast = torch.is_autocast_enabled(parameter.device.type)
    return inputs.to(parameter.device, inputs.dtype if autocast else parameter.dtype)


def _is_one_picture(model: nn.Module, inputs: Tensor) -> bool:
    """Whether what came for a network of pictures has no batch axis."""
    if inputs.ndim != 3 or len(inputs) not in COLOURS:
        return False
    return isinstance(_first_convolution(model), nn.Conv2d)


def _has_frames_first(model: nn.Module, video: Tensor) -> bool:
    """Whether it is `(batch, frames, channels, ...)`: as many channels as the model takes there."""
    first, (second, third) = _first_convolution(model), video.shape[1:3]
    if first is not None and first.in_channels in (second, third):
        return second != first.in_channels
    return second not in COLOURS and third in COLOURS


def _first_convolution(model: nn.Module) -> nn.Conv1d | nn.Conv2d | nn.Conv3d | None:
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    return next((one for one in model.modules() if isinstance(one, kinds)), None)


def _picture_among(inputs: Any, picture: str | int | None) -> tuple[Tensor, str]:
    tensors = dict(tensors_in(inputs))
    if picture is not None:
        if str(picture) not in tensors:
            raise ModelError(
                f"picture={picture!r} is not one of the inputs. The inputs are {_listing(inputs)}."
            )
        chosen = tensors[str(picture)]
        if chosen.ndim < 3 and chosen.is_floating_point():
            raise ModelError(
                f"picture={picture!r} has shape {tuple(chosen.shape)}, in which no picture can be "
                "found: (batch, channels, height, width) is wanted. If the picture was cut into "
                "rows of numbers before the model (as for Qwen2-VL), wrap the model in a module "
                "that takes the picture and cuts it up itself, and take a method that looks at no "
                "layer (saliency, integrated-gradients, rise)."
            )
        return chosen, str(picture)
    floating = {path: one for path, one in tensors.items() if one.is_floating_point()}
    for least in (4, 3):
        likely = [(one, path) for path, one in floating.items() if one.ndim >= least]
        if len(likely) == 1:
            return likely[0]
    rows = ""
    if not likely and any(one.ndim == 2 and len(one) > 3 for one in floating.values()):
        rows = (
            " A picture that was cut into rows of numbers before the model (as for Qwen2-VL) can "
            "carry no map: wrap the model in a module that takes the picture (batch, channels, "
            "height, width) and cuts it up itself, and take a method that looks at no layer "
            "(saliency, integrated-gradients, rise)."
        )
    raise ModelError(
        f"{len(likely)} of the inputs could be the picture: {_listing(inputs)}. "
        f"Choose one with picture=, a number or a name.{rows}"
    )


def _form(value: Any) -> Hashable:
    if isinstance(value, Tensor):
        return tuple(value.shape), value.dtype
    if isinstance(value, Mapping):
        parts = [(key, _form(part)) for key, part in value.items()]
    elif isinstance(value, (tuple, list)):
        parts = [(index, _form(part)) for index, part in enumerate(value)]
    else:
        return (value,) if value is None or isinstance(value, (bool, int, float, str)) else None
    return None if any(form is None for _, form in parts) else (type(value), *parts)


def _named(path: str, names: frozenset[str] | set[str]) -> bool:
    return path in names or path.split(".")[0] in names


def _listing(inputs: Any) -> str:
    shapes = [f"{path} {tuple(tensor.shape)}" for path, tensor in tensors_in(inputs)]
    return ", ".join(shapes) or "no tensors"
