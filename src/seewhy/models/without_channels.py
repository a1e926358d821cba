"""What a model gives without single channels of a layer.

Only the tail is rerun, for versions of the activations in which one channel is zero. Where all
that stands between the layer and the first linear map works on each channel by itself (pooling,
ReLU, flattening: most classifiers' last layer), a channel has a share of that map's output, and
without the channel the output lacks its share. Then nothing has to be computed twice but what
comes behind the linear map: of VGG-16's head an eighth, of a ResNet's nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from seewhy.models.rerun import Rerun, is_out_of_memory

SHARES_AT_ONCE = 16
"""Channels whose shares are one product: the more, the more of its factors are zeros."""


@dataclass(eq=False)
class _Shares:
    """A linear map in which each channel has inputs of its own.

    Attributes:
        module: the linear map.
        output: what it gives for the unchanged activations, `(1, features)`.
        inputs: how its inputs change with a channel, `(channels, inputs a channel)`.
    """

    module: nn.Linear
    output: Tensor
    inputs: Tensor

    def without(self, channels: Tensor) -> Tensor:
        """The map's outputs without each of `channels`, and unchanged: `(n + 1, features)`."""
        each = self.inputs.shape[1]
        made = []
        for some in torch.split(channels, SHARES_AT_ONCE):
            first, last = int(some.min()), int(some.max()) + 1
            inputs = self.inputs.new_zeros(len(some), last - first, each)
            inputs[torch.arange(len(some)), some - first] = self.inputs[some]
            weight = self.module.weight.detach()[:, first * each : last * each]
            made.append(self.output - linear(inputs.flatten(1), weight))
        return torch.cat([*made, self.output])


class WithoutChannels:
    """A model that is run without single channels of the layer that `tail` was made for."""

    def __init__(self, tail: Rerun) -> None:
        self._tail = tail
        self._shares = _shares(tail)
        self._versions, self._holes = tail.activations[:0], torch.arange(0)
        self._untouched: int | None = None  # the versions' count of changes when handed out

    @property
    def shared(self) -> bool:
        """Whether only what comes behind the first linear map is computed for each version."""
        return self._shares is not None

    @property
    def version(self) -> Tensor:
        """What one version takes of memory, about."""
        return self._tail.activations if self._shares is None else self._shares.output

    def __call__(self, channels: Tensor) -> Any:
        """The model's outputs, as for a batch: in each version one of `channels` is zero.

        Args:
            channels: `(versions,)`, int64.
        """
        if self._shares is not None:
            try:
                return self._tail.from_first_linear(self._shares.without(channels))
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                self._shares = None  # a network that changes from run to run; the tail will tell
        return self._tail(self._made(channels))

    def _made(self, channels: Tensor) -> Tensor:
        """The versions, written into the memory of those before.

        There only the holes have to be filled: copying everything anew took longer than the head
        of a ResNet-50. A network that changed what it was given (ReLU in place) gets a new copy.
        """
        activations = self._tail.activations[0]
        rows = torch.arange(len(channels), device=activations.device)
        reusable = self._untouched is not None and len(self._versions) == len(channels)
        if reusable and self._versions._version == self._untouched:
            self._versions[rows, self._holes] = activations[self._holes]
        else:
            self._versions = activations.repeat(len(channels), *(1,) * activations.ndim)
        self._holes = channels.to(activations.device)
        self._versions[rows, self._holes] = 0
        # Tensors made in inference mode keep no count.
        self._untouched = None if self._versions.is_inference() else self._versions._version
        return self._versions


def _shares(tail: Rerun) -> _Shares | None:
    """Each channel's share; None where channels meet before the first linear map.

    To test this, half of the channels are switched off at a time, by one bit of their number. Any
    two channels differ in some bit, so a channel that changes another's inputs is always found.
    """
    first, channels = tail.first_linear, tail.activations.shape[1]
    if first is None:
        return None
    if first.inputs.ndim != 2 or len(first.inputs) != 2 or first.inputs.shape[1] % channels:
        return None
    numbers = torch.arange(channels, device=tail.activations.device)
    bits = torch.arange(max(1, (channels - 1).bit_length()), device=numbers.device)
    with_bit = (numbers >> bits[:, None]) % 2 == 1
    gone = torch.cat([with_bit, ~with_bit])
    without, unchanged = first.inputs
    each = len(unchanged) // channels
    expected = torch.where(gone.repeat_interleave(each, 1), without, unchanged)
    try:
        holes = gone.reshape(*gone.shape, *(1,) * (tail.activations.ndim - 2))
        inputs = tail.into_first_linear(torch.where(holes, 0, tail.activations))
        # Rows of a batch may be pooled in another order; mixing changes more than the last digits.
        near = 8 * torch.finfo(inputs.dtype).eps * unchanged.abs().max()
        if not bool(((inputs - expected).abs() <= near).all()):
            return None
        # What passes the linear map by would be left as it was.
        if not tail.alike(tail.from_first_linear(first.outputs.clone()), tail.outputs_of_zeros):
            return None
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return None  # the size of the batch counts in between, say
    inputs_of_channels = (unchanged - without).reshape(channels, each)
    return _Shares(first.module, first.outputs[1:], inputs_of_channels)
