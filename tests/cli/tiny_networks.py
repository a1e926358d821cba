"""Networks for `--model tiny_networks:...`: built in no time, and sure of what they see."""

from __future__ import annotations

import torch
from torch import Tensor, nn

TINY = (
    "--model", "tiny_networks:Colours", "--size", "32", "--mean", "0", "--std", "1",
)  # fmt: skip


class Colours(nn.Module):
    """Three classes: how red, how green, how blue a picture is."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1, stride=2), nn.ReLU())
        self.mixed = nn.Conv2d(3, 3, 1)
        self.head = nn.Linear(3, 3)
        with torch.no_grad():
            for layer in (self.features[0], self.mixed, self.head):
                layer.bias.zero_()
                layer.weight.zero_()
                for channel in range(3):
                    layer.weight[channel, channel] = 1

    def forward(self, pictures: Tensor) -> Tensor:
        return self.head(self.mixed(self.features(pictures)).mean((2, 3)))


class AfraidOfBlue(Colours):
    """Gives NaN for a picture that is mostly blue."""

    def forward(self, pictures: Tensor) -> Tensor:
        scores = super().forward(pictures)
        return torch.where(scores[:, 2:] > scores[:, :1], torch.nan, scores)


class ManyOnes(Colours):
    """No global average pooling before its head."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 16 * 16, 3)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.head(self.mixed(self.features(pictures)).flatten(1))
