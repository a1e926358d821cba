"""Maps made tile by tile: equal to the whole image's where a tile's edges have no say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import pad

import seewhy
from seewhy.errors import ImageError, MethodError, SeewhyError, TargetError

STRIDE = 4


def patches(dimensions: int = 2) -> nn.Module:
    """Every position sees its own 4 × 4 pixels and no others."""
    conv = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dimensions]
    pool = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}[dimensions]
    torch.manual_seed(1)
    return nn.Sequential(
        conv(2, 6, STRIDE, stride=STRIDE), nn.ReLU(), pool(1), nn.Flatten(), nn.Linear(6, 3)
    ).eval()


def whole(model: nn.Module, image: Tensor, **options: Any) -> Tensor:
    """The map of the image with zeros up to a multiple of the stride."""
    beyond = [amount for side in reversed(image.shape[1:]) for amount in (0, -side % STRIDE)]
    return seewhy.attribute(model, pad(image, beyond)[None], 1, **options)[0]


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(5, 40), st.integers(5, 40)),
    tile=st.tuples(st.integers(2, 5), st.integers(2, 5)),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 0.9]),
    batch_size=st.integers(1, 5),
)
def test_it_is_the_whole_images_map_where_positions_see_only_themselves(
    size: tuple[int, int], tile: tuple[int, int], overlap: float, batch_size: int
) -> None:
    model, image = patches(), torch.randn(2, *size)
    sides = [STRIDE * side for side in tile]
    made = seewhy.attribute_tiles(
        model, image, 1, tile=sides, overlap=overlap, batch_size=batch_size, method="cam", layer="1"
    )
    torch.testing.assert_close(made, whole(model, image, method="cam", layer="1"))


@pytest.mark.parametrize("dimensions", [1, 3])
def test_signals_and_volumes(dimensions: int) -> None:
    model, image = patches(dimensions), torch.randn(2, *(30, 13, 22)[:dimensions])
    made = seewhy.attribute_tiles(model, image, 1, tile=8, method="cam", layer="1")
    torch.testing.assert_close(made, whole(model, image, method="cam", layer="1"))


def test_a_map_of_pixels_needs_no_multiple() -> None:
    model, image = patches(), torch.randn(2, 30, 21)
    made = seewhy.attribute_tiles(
        model, image, 1, tile=12, overlap=0, method="input-times-gradient"
    )
    assert made.shape == (30, 21)
    alone = seewhy.attribute(model, image[None, :, 12:24, :12], 1, method="input-times-gradient")[0]
    torch.testing.assert_close(made[12:18, :9], alone[:6, :9])  # where no other tile reaches


def test_the_further_from_its_edges_the_more_a_tile_counts_by_hand() -> None:
    """Tiles of 4 positions at 0 and 2 say 1 and 2: between them (2·1 + 1·2)/3 and (1·1 + 2·2)/3."""
    said = iter([1.0, 2.0])

    def method(activations: Tensor) -> Tensor:
        return torch.full_like(activations[:, 0], next(said))

    made = seewhy.attribute_tiles(
        patches(1), torch.randn(2, 24), 1, tile=16, batch_size=1, method=method, layer="1"
    )
    torch.testing.assert_close(made, torch.tensor([1, 1, 4 / 3, 5 / 3, 2, 2]))


class OfOneSize(nn.Module):
    """As transformers with learned positions are."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = patches()

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[2:] == (12, 12)
        return self.inner(x)


def test_a_model_that_takes_one_size_is_tiled_in_that() -> None:
    model, image = OfOneSize(), torch.randn(2, 30, 25)
    made = seewhy.attribute_tiles(model, image, 1, tile=12, method="cam", layer="inner.1")
    torch.testing.assert_close(made, whole(model.inner, image, method="cam", layer="1"))


class Recorded:
    """An image of which it is known how much was read at once."""

    def __init__(self, values: np.ndarray) -> None:
        self._values, self.largest = values, 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self._values.shape

    def __getitem__(self, place: Any) -> np.ndarray:
        read = self._values[place]
        self.largest = max(self.largest, read.size)
        return read


def test_no_more_than_a_tile_is_read_at_once(tmp_path: Path) -> None:
    values = np.memmap(tmp_path / "slide", np.uint8, "w+", shape=(2, 100, 90))
    values[:] = np.random.default_rng(0).integers(0, 256, values.shape)
    slide = Recorded(values)

    def prepare(read: np.ndarray) -> Tensor:
        return torch.from_numpy(read / 255).float()

    model = patches()
    made = seewhy.attribute_tiles(
        model, slide, 1, tile=32, prepare=prepare, method="cam", layer="1"
    )
    assert slide.largest == 2 * 32 * 32
    expected = whole(model, prepare(np.asarray(values)), method="cam", layer="1")
    torch.testing.assert_close(made, expected)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"image": torch.zeros(8)}, ImageError, r"must be \(channels, \*spatial\).* not \(8,\)"),
        ({"image": torch.zeros(2, 0, 8)}, ImageError, "the image must be"),
        ({"tile": (8, 8, 8)}, MethodError, "one for each of 2 dimensions"),
        ({"tile": 0}, MethodError, "tile must be a positive number"),
        ({"overlap": 1}, MethodError, "overlap must be a share.* not 1"),
        ({"batch_size": 0}, MethodError, "at least 1"),
        ({"target": None}, TargetError, "Name a class"),
        ({"target": (1, 2)}, TargetError, "the same target"),
        ({"target": "predicted"}, TargetError, "each tile would predict its own class"),
        ({"target": "2 vs predicted"}, TargetError, "each tile would predict its own class"),
        ({"target": "top2"}, TargetError, "each tile would predict its own class"),
        ({"layer": ["0", "1"]}, MethodError, "several layers give several maps"),
        ({"tile": (8, 9)}, MethodError, "9 pixels gives 2 positions along dimension 1"),
        ({"tile": 10}, MethodError, "10 pixels gives 2 positions along dimension 0, but a tile of "
         "20 gives 5. Choose a tile that is a multiple"),
    ],
)  # fmt: skip
def test_what_cannot_be_tiled_is_refused(
    change: dict[str, Any], kind: type[SeewhyError], message: str
) -> None:
    arguments = {
        "image": torch.zeros(2, 30, 30), "target": 1, "tile": 8, "layer": "1", **change,
    }  # fmt: skip
    with pytest.raises(kind, match=message):
        seewhy.attribute_tiles(patches(), **arguments)
