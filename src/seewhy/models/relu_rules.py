"""Backpropagation with another rule at the ReLUs, with nothing swapped in the module tree.

`ReluRule` sees every activation function as it is called, as a module or as a function, in place
or not, by the calling thread only. What it cannot see: activations inside TorchScript, compiled
code or a custom `autograd.Function`, ones that a network spells out in other operations
(`x * sigmoid(x)`, `maximum(x, 0)`), and ones that run in the backward pass only (activation
checkpointing: switch it off). There the ordinary derivative holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import hardtanh

from seewhy.models.undisturbed import Seeing

Rule = Literal["guided", "deconvnet"]


class ReluRule(Seeing):
    """A context in which forward passes are differentiated with a rule at each activation function.

    What they compute is unchanged. Rectifiers are ReLU in every form: `ReLU`, `ReLU6`, `Hardtanh`,
    `Threshold` and `clamp` where they cut at 0 from below.

    `"guided"`: a gradient passes where it is positive and the input was (Springenberg 2015).
    `"deconvnet"`: a gradient passes where it is positive, whatever the input was (Zeiler 2014).
    Neither paper knows other activation functions (SiLU, GELU, LeakyReLU, ...). Here they stop
    negative gradients, and multiply positive ones by their own derivative, under both rules:
    our generalisation, which for a ReLU is the guided rule. Sigmoid and tanh, which
    networks use as gates, are left as they are.

    The gradients may be taken inside the block or behind it.

    Attributes:
        rectifiers: how many calls of a ReLU it has met where a gradient passes.
        others: which other activation functions it has met there.
    """

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self.rule = rule
        self.rectifiers = 0
        self.others: set[str] = set()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the map should know about the network's activations, in words."""
        if not self.rectifiers and not self.others:
            return (
                "no ReLU was met between the image and the score, so the map is that of the plain "
                "gradient (the network has none, or spells its activations out, or is TorchScript)",
            )
        if self.others:
            names = ", ".join(sorted(self.others))
            return (
                f"the network uses {names}, which the method's paper does not treat: positive "
                "gradients pass there, times the activation's own derivative",
            )
        return ()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Called by torch in place of `func`, with this mode switched off meanwhile."""
        kwargs = kwargs or {}
        # torch.relu, Tensor.relu_, functional.relu, aten.relu.default: all say what they are.
        full_name = getattr(func, "__name__", "").split(".")[0]
        name = full_name.strip("_")
        if (
            (name not in _CUTS and name not in _OTHERS)
            or "out" in kwargs
            or not torch.is_grad_enabled()
        ):
            return func(*args, **kwargs)
        inputs, args, kwargs = _inputs_apart(args, kwargs)
        if not isinstance(inputs, Tensor) or not inputs.requires_grad:
            return func(inputs, *args, **kwargs)

        def activation(tensor: Tensor) -> Any:
            return func(tensor, *args, **kwargs)

        if name in _OTHERS:
            self.others.add(name)
            return _in_place_safe(inputs, activation, _stop_negative)
        cut = _CUTS[name](*args, **kwargs)
        if not _is_rectifier(cut):
            return activation(inputs)
        self.rectifiers += 1
        rectify: Callable[[Tensor], Any] = activation
        if name.startswith("cl"):  # clamp passes a gradient at exactly 0, where a ReLU does not
            rectify = _as_relu(cut, in_place=full_name.endswith("_"))
        if self.rule == "guided":
            return _in_place_safe(inputs, rectify, _stop_negative)
        return _in_place_safe(inputs, lambda tensor: _Deconvolved.apply(tensor, rectify))


# Where a function cuts its input, from the arguments that follow the input; None: nowhere.
_CUTS: dict[str, Callable[..., tuple[Any, Any] | None]] = {
    "relu": lambda inplace=False: (0, None),  # noqa: ARG005
    "relu6": lambda inplace=False: (0, 6),  # noqa: ARG005
    "hardtanh": lambda min_val=-1, max_val=1, inplace=False: (min_val, max_val),  # noqa: ARG005
    "threshold": lambda threshold, value, inplace=False: (  # noqa: ARG005
        (threshold, None) if threshold == value else None
    ),
    "clamp": lambda min=None, max=None: (min, max),
    "clip": lambda min=None, max=None: (min, max),
    "clamp_min": lambda min: (min, None),
}

_OTHERS = {
    "celu",
    "elu",
    "gelu",
    "hardswish",
    "leaky_relu",
    "mish",
    "prelu",
    "rrelu",
    "selu",
    "silu",
    "softplus",
}


def _is_rectifier(cut: tuple[Any, Any] | None) -> bool:
    """Whether what is cut off is the negative half, and perhaps what is above some ceiling."""
    if cut is None or isinstance(cut[0], Tensor) or isinstance(cut[1], Tensor):
        return False
    low, high = cut
    return low == 0 and (high is None or high > 0)


def _as_relu(cut: tuple[Any, Any] | None, *, in_place: bool) -> Callable[[Tensor], Tensor]:
    """The function whose values are those of clamp and whose derivative is a ReLU's."""
    ceiling = math.inf if cut is None or cut[1] is None else cut[1]

    def rectify(inputs: Tensor) -> Tensor:
        # Copies, as relu needs its result later, and hardtanh its input: what clamp gives and what
        # it was given may be changed in place.
        if ceiling == math.inf:
            outputs = torch.relu(inputs)
        else:
            outputs = hardtanh(inputs.clone(), 0.0, ceiling)
        return inputs.copy_(outputs) if in_place else outputs.clone()

    return rectify


def _inputs_apart(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """The tensor that an activation function is given, and its other arguments."""
    if args:
        return args[0], args[1:], kwargs
    others = dict(kwargs)
    return others.pop("input", others.pop("self", None)), args, others


def _in_place_safe(
    inputs: Tensor,
    activation: Callable[[Tensor], Any],
    then: Callable[[Tensor], Any] = lambda outputs: None,  # noqa: ARG005
) -> Any:
    """What `activation` gives, after `then` has seen it.

    A view (a chunk of a tensor, say) that is changed in place carries its base's history, where
    neither a hook nor a Function of ours would be on the way of all gradients: the change is made
    to a copy and written back.
    """
    given = inputs.clone() if inputs._is_view() else inputs
    outputs = activation(given)
    then(outputs)
    if outputs is given and given is not inputs:
        return inputs.copy_(outputs)
    return outputs


def _stop_negative(outputs: Tensor) -> None:
    """Lets only the positive part of the gradient into the function that made `outputs`.

    A hook rather than a Function: what an in-place activation has kept for its own derivative
    stays valid, the result may be changed in place where it might before, and nothing is copied.
    The hook dies with the graph.
    """
    outputs.register_hook(torch.relu)  # type: ignore[no-untyped-call]


class _Deconvolved(torch.autograd.Function):
    """A rectifier whose backward pass looks at the gradient only."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, activation: Callable[[Tensor], Tensor]) -> Tensor:
        outputs = activation(inputs)
        if outputs is inputs:
            ctx.mark_dirty(inputs)
        return outputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:  # noqa: ARG004
        return gradients[0].relu(), None
