"""Small networks with random weights whose outputs have the forms that networks give."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

KINDS = ("grad-cam", "hires-cam", "eigen-cam", "score-cam", "ablation-cam", "recipro-cam",
         "saliency", "integrated-gradients", "rise", "occlusion", "smooth-grad-cam++")  # fmt: skip
"""One method of every kind: of gradients, activations, reruns, pixels, noise and masks."""

OPTIONS: dict[str, dict[str, int]] = {
    "rise": {"masks": 12, "cells": 4},
    "occlusion": {"window": 8, "stride": 8},
    "integrated-gradients": {"steps": 4},
    "smooth-grad-cam++": {"samples": 2},
}
"""What makes the long methods short."""


def convolutions(channels: int = 3, width: int = 8) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, 2, 1), nn.ReLU(), nn.Conv2d(width, width, 3, 2, 1), nn.ReLU()
    )


class Classifier(nn.Module):
    """Logits `(batch, classes)`, and what `end` makes of them."""

    def __init__(
        self, classes: int = 4, end: Callable[[Tensor], Tensor] = lambda z: z, scale: float = 8
    ) -> None:
        super().__init__()
        self.features, self.head = convolutions(), nn.Linear(8, classes)
        self.end, self.scale = end, scale

    def logits(self, x: Tensor) -> Tensor:
        return self.scale * self.head(self.features(x).mean((2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.logits(x))


class Segmenter(nn.Module):
    """Maps `(batch, classes, height, width)` of the picture's size over `stride`, and their end."""

    def __init__(
        self, classes: int = 1, end: Callable[[Tensor], Tensor] = lambda z: z, stride: int = 1
    ) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, stride, 1), nn.ReLU())
        self.head, self.end, self.shift = nn.Conv2d(8, classes, 1), end, 0.0

    def logits(self, x: Tensor) -> Tensor:
        return 8 * (self.head(self.features(x)) - self.shift)

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.logits(x))


def predicting(share: float, network: Segmenter, x: Tensor) -> Segmenter:
    """The network, shifted so that its first class's logit is above 0 in that share of pixels."""
    with torch.no_grad():
        first = network.head(network.features(x))[:, 0].flatten().sort().values
    at = min(len(first) - 2, int((1 - share) * len(first)))
    network.shift = float(first[at : at + 2].mean())  # between two, where rounding decides nothing
    return network.eval()
