"""A first run of the model whose pixels' gradients can be taken afterwards."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from seewhy.models.bound import Bound
from seewhy.models.relu_rules import ReluRule, Rule
from seewhy.models.undisturbed import undisturbed
from seewhy.precision import at_least_float32


@dataclass(frozen=True)
class FirstRun:
    """A run of the model from which the gradients of its pixels can be taken.

    Attributes:
        relu: what ReLUs do while the gradient passes.
        seeing: what made them do it.
        leaf: the pixels.
        logits: what the model gave.
    """

    relu: str
    seeing: AbstractContextManager[Any]
    leaf: Tensor
    logits: Tensor


def differentiable_run(model: Bound, inputs: Tensor, relu: str) -> FirstRun:
    """Run the model so that its pixels' gradients can be taken afterwards."""
    with undisturbed(model), torch.enable_grad(), seeing_as(relu) as seeing:
        leaf = inputs.detach().clone().requires_grad_()
        logits = at_least_float32(model(leaf.clone()))
    return FirstRun(relu, seeing, leaf, logits)


def seeing_as(relu: str) -> AbstractContextManager[Any]:
    """What makes ReLUs pass the gradient as a rule has it; `"own"` leaves them as they are."""
    return nullcontext() if relu == "own" else ReluRule(cast(Rule, relu))
