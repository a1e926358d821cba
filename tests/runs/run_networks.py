"""Networks and pictures for runs: built in no time, sure of what they see, some of them deadly."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import seewhy
from seewhy.images import Preprocess

SIDE = 32
PREPROCESS = Preprocess(size=(SIDE, SIDE), resize=SIDE, mean=(0, 0, 0), std=(1, 1, 1))
LABELS = ("red", "green", "blue")
DEADLY = (1, 2, 3)
"""The colour of a picture that ends the process."""


class Colours(nn.Module):
    """Three classes: how red, how green, how blue a picture is."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1, stride=4), nn.ReLU())
        self.head = nn.Linear(3, 3)
        with torch.no_grad():
            for layer in (self.features[0], self.head):
                layer.bias.zero_()
                layer.weight.zero_()
            seeded = torch.Generator().manual_seed(0)  # the same in every process
            for channel in range(3):
                self.features[0].weight[channel, channel] = torch.rand(3, 3, generator=seeded) + 0.1
                self.head.weight[channel, channel] = 1

    def forward(self, pictures: Tensor) -> Tensor:
        return self.head(self.features(pictures).mean((2, 3)))


class Deadly(Colours):
    """Ends its process at a picture of one colour, as a decoder with a fault does."""

    def __init__(self, how: int = signal.SIGSEGV) -> None:
        super().__init__()
        self.how = how

    def forward(self, pictures: Tensor) -> Tensor:
        deadly = torch.tensor(DEADLY).reshape(3, 1, 1) / 255
        if bool(((pictures - deadly).abs().flatten(1).amax(1) < 1e-6).any()):
            os.kill(os.getpid(), self.how)
        return super().forward(pictures)


class Slow(Colours):
    """Takes its time, so that a test can interrupt it."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def forward(self, pictures: Tensor) -> Tensor:
        time.sleep(self.seconds)
        return super().forward(pictures)


def loaded(module: nn.Module | None = None) -> seewhy.LoadedModel:
    """A network with its preprocessing and labels."""
    network = (Colours() if module is None else module).eval()
    return seewhy.LoadedModel(network, PREPROCESS, LABELS, "colours", ())


def write_pictures(folder: Path, count: int, ending: str = "png") -> list[Path]:
    """Pictures that all differ, called so that names sort as they were made."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        random = np.random.default_rng(number)
        pixels = random.integers(0, 256, (40, 48, 3), np.uint8)
        pixels[..., number % 3] |= 128
        paths.append(folder / f"{number:04d}.{ending}")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def write_deadly(path: Path) -> None:
    """A picture that ends the process of `Deadly`."""
    Image.new("RGB", (SIDE, SIDE), DEADLY).save(path)
