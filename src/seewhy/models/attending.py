"""Attention as it is computed, with nothing swapped in the module tree.

Every attention of this thread is seen as it is called, fused or not: as
`scaled_dot_product_attention`, inside `nn.MultiheadAttention`, or as a softmax over the last of
`(batch, heads, queries, keys)`. While it is looked at, a fused one is computed openly, so that its
probabilities exist. What cannot be seen: attention inside TorchScript, compiled code, a custom
`autograd.Function` or kernels from outside torch (xformers, flash-attn).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import multi_head_attention_forward, scaled_dot_product_attention

from seewhy.models.undisturbed import Seeing
from seewhy.precision import at_least_float32

See = Callable[[Tensor, torch.Size], None]
"""Shown the probabilities of an attention, and their shape `(..., heads, queries, keys)`."""


class Attending(Seeing):
    """Shows `see` the probabilities of every attention, in the order of the calls.

    Those of `nn.MultiheadAttention` are shown as torch has them, `(batch * heads, queries, keys)`.

    Args:
        see: what is shown them.
        differentiate: autograd is on from the first attention, and reaches all that are shown.
    """

    def __init__(self, see: See, *, differentiate: bool) -> None:
        super().__init__()
        self._see, self._differentiate = see, differentiate

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Called by torch in place of `func`, with this mode switched off meanwhile."""
        kwargs = kwargs or {}
        if func is scaled_dot_product_attention:
            return self._scaled_dot_product(*args, **kwargs)
        if func is multi_head_attention_forward:
            return self._multi_head(*args, **kwargs)
        outputs = func(*args, **kwargs)
        name = getattr(func, "__name__", "").split(".")[0]
        softmax = name in ("softmax", "special_softmax") and "out" not in kwargs
        if softmax and _is_attention(outputs, args, kwargs):
            return self._shown(outputs)
        return outputs

    def _shown(self, probabilities: Tensor) -> Tensor:
        """What runs on in their place."""
        if not self._differentiate:
            self._see(probabilities, probabilities.shape)
            return probabilities
        torch.set_grad_enabled(True)  # until whoever switched it off ends
        probabilities = _differentiable(probabilities)
        self._see(probabilities, probabilities.shape)
        return probabilities.clone()  # what is done to it in place changes it alone

    def _scaled_dot_product(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """What torch computes in one kernel, in float32 or better up to the probabilities."""
        if enable_gqa:
            key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
            value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
        scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
        # Scaled first: in half precision (under autocast) the product may be too large otherwise.
        logits = at_least_float32(at_least_float32(query) * scale @ at_least_float32(key).mT)
        if is_causal:
            attn_mask = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).tril()
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            logits = logits.masked_fill(~attn_mask, -math.inf)
        elif attn_mask is not None:
            logits = logits + attn_mask
        nowhere = None if attn_mask is None else (logits == -math.inf).all(-1, keepdim=True)
        if nowhere is not None:  # a query that may look at no key gets zeros, as from the kernel
            logits = logits.masked_fill(nowhere, 0)
        probabilities = logits.softmax(-1)
        if nowhere is not None:
            probabilities = probabilities.masked_fill(nowhere, 0)
        probabilities = self._shown(probabilities).to(value.dtype)
        if dropout_p > 0:
            probabilities = torch.dropout(probabilities, dropout_p, True)
        return probabilities @ value

    def _multi_head(
        self, query: Tensor, key: Tensor, value: Tensor, *others: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor | None]:
        """By torch's own function, which gives the probabilities where they are asked for."""
        if self._differentiate:
            torch.set_grad_enabled(True)
            # Once each: torch looks whether they are the same tensor.
            once = {id(one): _differentiable(one) for one in (query, key, value)}
            query, key, value = once[id(query)], once[id(key)], once[id(value)]
        asked = {**kwargs, "need_weights": True, "average_attn_weights": False}
        outputs, weights = multi_head_attention_forward(query, key, value, *others, **asked)
        assert weights is not None
        # What comes back is a view of what was multiplied with the values.
        self._see(weights if weights._base is None else weights._base, weights.shape)
        if not kwargs["need_weights"]:
            return outputs, None
        return outputs, weights.mean(-3) if kwargs["average_attn_weights"] else weights


def _is_attention(outputs: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a softmax is over the last axis of `([batch, [windows,]] heads, queries, keys)`."""
    dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
    return (
        isinstance(outputs, Tensor)
        and outputs.ndim in (3, 4, 5)
        and dim in (-1, outputs.ndim - 1)
        and outputs.shape[-1] > 1
    )


def _differentiable(tensor: Tensor) -> Tensor:
    return tensor if tensor.requires_grad else tensor.detach().requires_grad_()
