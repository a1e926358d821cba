"""What the drawings take: anything with these values. Who has them is no concern of theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np


class Window(Protocol):
    """The part of a picture that the model saw: its edges, in the picture's pixels."""

    @property
    def left(self) -> float:
        """The left edge."""

    @property
    def top(self) -> float:
        """The upper edge."""

    @property
    def right(self) -> float:
        """The right edge."""

    @property
    def bottom(self) -> float:
        """The lower edge."""


class Box(Protocol):
    """A rectangle in the picture's pixels, with exclusive ends."""

    @property
    def x0(self) -> float:
        """The left edge."""

    @property
    def y0(self) -> float:
        """The upper edge."""

    @property
    def x1(self) -> float:
        """The right edge."""

    @property
    def y1(self) -> float:
        """The lower edge."""


class Named(Protocol):
    """Where something comes from, by name."""

    @property
    def layer(self) -> str:
        """The layer."""

    @property
    def model(self) -> str:
        """The model."""


class OfOnePicture(Named, Protocol):
    """Something that was found in one picture."""

    @property
    def picture(self) -> np.ndarray:
        """The original picture, uint8 RGB (height, width, 3)."""

    @property
    def window(self) -> Window:
        """The part of it that the model saw."""

    @property
    def image(self) -> str | None:
        """The file's name; None for a picture that came as an array."""


class Predicted(Protocol):
    """One of the classes that the model named."""

    @property
    def label(self) -> str:
        """Its name."""

    @property
    def probability(self) -> float | None:
        """Its probability; None where there is none."""


class Explained(OfOnePicture, Protocol):
    """One map of one picture, and what it says in words and numbers."""

    @property
    def map(self) -> np.ndarray:
        """The raw map (height, width)."""

    @property
    def heatmap(self) -> np.ndarray:
        """The map as it lies on the picture, one value a pixel."""

    @property
    def signed(self) -> bool:
        """Whether the map has values below 0."""

    @property
    def label(self) -> str:
        """The target in words."""

    @property
    def score(self) -> float:
        """The target's value."""

    @property
    def probability(self) -> float | None:
        """The probability of the target's class; None where it has none."""

    @property
    def predictions(self) -> Sequence[Predicted]:
        """The classes that the model named first, the first one first."""

    @property
    def method(self) -> str:
        """The method's name."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is wrong with the map, in words."""


class Truth(Protocol):
    """What is known of a picture's class."""

    @property
    def label(self) -> str:
        """The true class."""

    @property
    def right(self) -> bool:
        """Whether the model named it first."""


class Channels(OfOnePicture, Protocol):
    """Channels of a layer for one picture, in drawing order."""

    @property
    def maps(self) -> np.ndarray:
        """(channels, height, width), raw."""

    @property
    def channels(self) -> np.ndarray:
        """(channels,) the index of each."""

    @property
    def sorted_by(self) -> str:
        """What they were sorted by."""

    @property
    def label(self) -> str | None:
        """The target in words, where they were sorted by their contribution to it."""


class Answer(Protocol):
    """What the network says of one class."""

    @property
    def score(self) -> float:
        """The class's score."""

    @property
    def probability(self) -> float | None:
        """The class's probability; None where there is none."""


class Parts(Named, Protocol):
    """A layer's activations in some pictures, in non-negative parts."""

    @property
    def maps(self) -> Sequence[np.ndarray]:
        """For each picture (parts, height, width)."""

    @property
    def directions(self) -> np.ndarray:
        """(parts, channels)."""

    @property
    def names(self) -> Sequence[Sequence[str]]:
        """For each part the names of its classes."""

    @property
    def classes(self) -> Sequence[Sequence[Answer]]:
        """For each part what the network says of these classes."""

    @property
    def explained(self) -> float:
        """The share of the layer's energy that is in all parts."""

    @property
    def pictures(self) -> Sequence[np.ndarray]:
        """The original pictures, uint8 RGB (height, width, 3)."""

    @property
    def windows(self) -> Sequence[Window]:
        """The part of each that the model saw."""

    @property
    def images(self) -> Sequence[str | None]:
        """The files' names."""


class Measured(Protocol):
    """What methods' maps scored by metrics; each list holds mappings of names to plain values."""

    @property
    def protocol(self) -> Mapping[str, Any]:
        """`model` and `data`, by name."""

    @property
    def methods(self) -> Sequence[Mapping[str, Any]]:
        """`name`, and whether it is a `baseline`."""

    @property
    def metrics(self) -> Sequence[Mapping[str, Any]]:
        """`name`, `title`, and which values are `better`: "higher" or "lower"."""

    @property
    def results(self) -> Sequence[Mapping[str, Any]]:
        """Of `method`, `metric` and `subset`: `n`, `mean`, `low` and `high`."""
