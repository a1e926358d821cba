"""What the drawings read of an Explanation and of FeatureMaps, without a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from seewhy.images import Window, place


@dataclass
class Predicted:
    label: str
    probability: float | None


@dataclass
class Explained:
    map: np.ndarray
    picture: np.ndarray
    window: Window
    label: str = "tabby"
    score: float = 8.314
    probability: float | None = 0.6213
    method: str = "grad-cam"
    layer: str = "layer4"
    model: str = "torchvision/resnet50"
    image: str | None = "cat.jpg"
    warnings: tuple[str, ...] = ()
    predictions: tuple[Predicted, ...] = (Predicted("tabby", 0.6213),)

    @property
    def heatmap(self) -> np.ndarray:
        return place(self.map, self.window, self.picture.shape[:2])

    @property
    def signed(self) -> bool:
        return bool((self.map < 0).any())


@dataclass
class Channels:
    maps: np.ndarray
    channels: np.ndarray
    picture: np.ndarray
    window: Window
    values: np.ndarray | None = None
    sorted_by: str = "index"
    layer: str = "features.10"
    model: str = "torchvision/alexnet"
    image: str | None = "both.jpg"
    label: str | None = None


def grey_picture(height: int = 60, width: int = 80, value: int = 100) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def whole(picture: np.ndarray) -> Window:
    return Window(0, 0, picture.shape[1], picture.shape[0])


def explained(height: int = 60, width: int = 80, **fields: Any) -> Explained:
    picture = fields.pop("picture", grey_picture(height, width))
    fields.setdefault("window", whole(picture))
    fields.setdefault("map", np.array([[0, 1], [2, 8.25]], np.float32))
    return Explained(picture=picture, **fields)


def channels(maps: Any, height: int = 60, width: int = 60, **fields: Any) -> Channels:
    maps = np.asarray(maps, np.float32)
    picture = fields.pop("picture", grey_picture(height, width))
    fields.setdefault("window", whole(picture))
    fields.setdefault("channels", np.arange(len(maps)))
    return Channels(maps=maps, picture=picture, **fields)


def texts(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.texts]


def pixels(figure: Any) -> np.ndarray:
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
