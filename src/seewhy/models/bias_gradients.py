"""What every bias of a network adds to a score, seen call by call.

A network that is linear in pieces is, around an image, its gradient times the image plus the
gradient at each bias times that bias. `BiasGradients` sees convolutions, linear maps, batch
normalisations and activation functions as they are called, as modules or as functions, by the
calling thread only. So a module used twice counts twice, and one with an activation of its own
inside (timm's BatchNormAct2d) is seen in its parts. What it cannot see: biases inside a composite
function of PyTorch (attention), TorchScript or a custom `autograd.Function`, and additions spelt
out. And what multiplies two activations (gates) or divides by their size (LayerNorm) is not linear
in pieces: there the parts do not add up to the score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from seewhy.models.undisturbed import Seeing
from seewhy.precision import at_least_float32


class BiasGradients(Seeing):
    """A context in which forward passes have bias times gradient kept when gradients are taken.

    An explicit bias is a convolution's or a linear map's. Implicit ones (Srinivas 2019, sec. 3) are
    a batch normalisation's, beta − mean gamma / sigma, and an activation function's,
    f(x) − f'(x) x, which is 0 for a ReLU, and 6 where a ReLU6 is at its ceiling.

    Attributes:
        parts: for each bias that a gradient has reached, bias times gradient: `(rows, channels)`
            and then the positions.
    """

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[Tensor] = []
        self._channels_last: set[int] = set()  # tensors of how many dimensions have them last

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Called by torch in place of `func`, with this mode switched off meanwhile."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").split(".")[0].strip("_")
        if not torch.is_grad_enabled() or "out" in kwargs:
            return func(*args, **kwargs)
        if name in _LINEAR:
            outputs = func(*args, **kwargs)
            if isinstance(outputs, Tensor) and outputs.requires_grad:
                return self._kept(outputs, *_explicit(name, *args, **kwargs))
            return outputs
        if name == "batch_norm":
            outputs = func(*args, **kwargs)
            if outputs.requires_grad:
                find = _functional_batch_norm if func is functional.batch_norm else _batch_norm
                return self._kept(outputs, find(*args, **kwargs), 1)
            return outputs
        if name in _ACTIVATIONS:
            inputs = args[0] if args else kwargs.get("input")
            if isinstance(inputs, Tensor) and inputs.requires_grad:
                bias = _implicit(func, args, kwargs)
                return self._kept(func(*args, **kwargs), bias, None)
        return func(*args, **kwargs)

    def _kept(self, outputs: Tensor, bias: Tensor | None, channel: int | None) -> Tensor:
        """The outputs, whose gradient times `bias` will be kept.

        `channel` is the dimension that the bias lies along; None where it has the outputs' shape.
        """
        if bias is None:
            return outputs
        bias = at_least_float32(bias.detach())
        last = channel is not None and channel > 1
        if last:
            self._channels_last.add(outputs.ndim)
        flat = channel is None and outputs.ndim in self._channels_last  # we know no positions

        def keep(gradient: Tensor) -> None:
            part = at_least_float32(gradient.detach())
            if last:
                part = part.movedim(-1, 1)
            if channel is not None:
                part = part * bias.reshape(-1, *(1,) * (part.ndim - 2))
            else:
                part = part * bias
            self.parts.append(part.flatten(1) if flat else part)

        if outputs._is_view():  # changed in place, a view's hook would no longer be on the way
            outputs = outputs.clone()
        # A hook on the tensor: it sees the gradient from before a change in place, and dies with
        # the graph.
        outputs.register_hook(keep)  # type: ignore[no-untyped-call]
        return outputs


_LINEAR = {
    "conv1d": 3,
    "conv2d": 4,
    "conv3d": 5,
    "conv_transpose1d": 3,
    "conv_transpose2d": 4,
    "conv_transpose3d": 5,
    "linear": 0,
}  # and how many dimensions a batch has

_ACTIVATIONS = {
    "celu",
    "clamp",
    "clamp_max",
    "clamp_min",
    "clip",
    "elu",
    "gelu",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "log_sigmoid",
    "logsigmoid",
    "mish",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "softsign",
    "tanh",
    "threshold",
}  # those with f(cx) = c f(x) for c > 0 (ReLU, LeakyReLU, PReLU) have no bias


def _explicit(
    name: str,
    input: Tensor,
    weight: Tensor,  # noqa: ARG001
    bias: Tensor | None = None,
    *args: Any,  # noqa: ARG001
    **kwargs: Any,  # noqa: ARG001
) -> tuple[Tensor | None, int]:
    """The bias, and the outputs' dimension along which it lies."""
    if _LINEAR[name] not in (0, input.ndim) or input.ndim < 2:
        return None, 1  # a single image without its batch dimension
    return bias, 1 if _LINEAR[name] else input.ndim - 1


def _batch_norm(
    input: Tensor,  # noqa: ARG001
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,  # noqa: ARG001
    eps: float,
    cudnn_enabled: bool = True,  # noqa: ARG001
) -> Tensor | None:
    """Beta − mean gamma / sigma; None where mean and sigma are the batch's own: not linear."""
    if training or running_mean is None or running_var is None:
        return None
    shift = -running_mean / (running_var + eps).sqrt()
    if weight is not None:
        shift = shift * weight
    return shift if bias is None else shift + bias


def _functional_batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor | None:
    return _batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps)


def _implicit(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """f(x) − f'(x) x of an activation function, before it is called."""
    kwargs = dict(kwargs)
    inputs = args[0] if args else kwargs.pop("input")
    leaf = inputs.detach().clone().requires_grad_()
    outputs: Tensor = func(leaf.clone(), *args[1:], **kwargs)
    (slope,) = torch.autograd.grad(outputs.sum(), leaf)
    bias: Tensor = (outputs - slope * leaf).detach()
    return bias
