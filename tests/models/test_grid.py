"""Every layer's positions are laid on the picture, or refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from seewhy.models.grid import Grid, find_grid

SQUARE = (1, 3, 224, 224)


@pytest.mark.parametrize(
    ("shape", "picture", "wanted"),
    [
        ((1, 512, 7, 7), SQUARE, Grid((7, 7))),
        ((1, 7, 7, 768), SQUARE, Grid((7, 7), "channels last")),
        ((1, 196, 192), SQUARE, Grid((14, 14), "tokens")),
        ((1, 197, 192), SQUARE, Grid((14, 14), "tokens", 1)),
        ((1, 198, 192), SQUARE, Grid((14, 14), "tokens", 2)),
        ((1, 201, 192), SQUARE, Grid((14, 14), "tokens", 5)),
        ((1, 50, 768), SQUARE, Grid((7, 7), "tokens", 1)),
        ((1, 281, 192), (1, 3, 224, 320), Grid((14, 20), "tokens", 1)),
        ((1, 14, 20, 96), (1, 3, 224, 320), Grid((14, 20), "channels last")),
        ((1, 226, 64), (1, 3, 250, 250), Grid((15, 15), "tokens", 1)),  # 250 = 15·16 + 10
        # A stride of 32 and nine more. 7 × 11 would leave two, at 29 one way and 32 the other.
        ((1, 79, 64), (1, 3, 224, 320), Grid((7, 10), "tokens", 9)),
        ((1, 205, 192), SQUARE, Grid((14, 14), "tokens", 9)),  # a class and eight registers
        ((1, 206, 192), SQUARE, None),
        ((1, 12, 8), (1, 3, 96, 96), Grid((3, 3), "tokens", 3)),  # a third of the grid at most
        ((1, 13, 8), (1, 3, 96, 96), None),
        ((1, 6, 8), (1, 3, 64, 64), Grid((2, 2), "tokens", 2)),  # and two before a small one
        ((1, 512, 7, 7), (1, 3, 480, 640), Grid((7, 7))),  # pooled to a fixed size
        ((2, 16, 100), (2, 1, 400), Grid((100,))),
        ((2, 8, 4, 10, 10), (2, 1, 8, 40, 40), Grid((4, 10, 10))),
        ((2, 4, 10, 10, 32), (2, 1, 8, 40, 40), Grid((4, 10, 10), "channels last")),
        ((1, 1569, 96), (1, 3, 16, 224, 224), None),  # 8·14·14, or 2·28·28
        ((8, 64, 7, 7), (1, 3, 8, 224, 224), Grid((8, 7, 7), "frames")),
        ((64, 49, 96), SQUARE, None),  # the windows of an attention
        ((1, 1000), SQUARE, None),
        ((1, 15, 8), (1, 3, 8, 8), None),
    ],
)
def test_the_grid_follows_from_the_picture(
    shape: tuple[int, ...], picture: tuple[int, ...], wanted: Grid | None
) -> None:
    assert find_grid(shape, picture) == wanted


def test_what_the_shape_leaves_open_the_last_weights_decide() -> None:
    shape = (1, 28, 28, 28)
    assert find_grid(shape, SQUARE, nn.Conv2d(3, 28, 3)) == Grid((28, 28))
    assert find_grid(shape, SQUARE, nn.LayerNorm(28)) == Grid((28, 28), "channels last")


def test_as_many_channels_as_positions() -> None:
    class Block(nn.Module):
        """A ConvNeXt's: its linear maps work along the last axis, its output has channels first."""

        def __init__(self) -> None:
            super().__init__()
            self.depthwise = nn.Conv2d(28, 28, 3, padding=1, groups=28)
            self.norm = nn.LayerNorm(28)
            self.linear = nn.Linear(28, 28)

    class LayerNorm2d(nn.LayerNorm):
        """Over the channels of a map that has them first, as torchvision's and timm's."""

    shape = (1, 28, 28, 28)
    assert find_grid(shape, SQUARE, Block()) == Grid((28, 28))
    assert find_grid(shape, SQUARE, LayerNorm2d(28)) == Grid((28, 28))
    last = Grid((28, 28), "channels last")
    assert find_grid(shape, SQUARE, nn.Sequential(nn.LayerNorm(28), nn.Linear(28, 28))) == last


def test_what_a_signals_norms_scales_and_recurrent_layers_give_are_tokens() -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gamma = nn.Parameter(torch.ones(12))

    signal, tokens = (1, 2, 64), Grid((16,), "tokens")
    parts = (nn.RMSNorm(12), Scale(), nn.LSTM(12, 12), nn.Sequential(nn.Linear(4, 12), Scale()))
    assert [find_grid((1, 16, 12), signal, part) for part in parts] == [tokens] * 4
    for part in (nn.BatchNorm1d(16), nn.Conv1d(2, 16, 3), nn.ReLU()):
        assert find_grid((1, 16, 12), signal, part) == Grid((12,))


def test_tokens_of_a_picture_reduced_unlike_along_its_axes_follow_a_known_map() -> None:
    picture = (1, 1, 128, 1000)
    assert find_grid((1, 8 * 100 + 1, 64), picture) is None
    known = ((8, 100),)
    assert find_grid((1, 801, 64), picture, None, known) == Grid((8, 100), "tokens", 1)
    # Here 4 × 4 positions behind two class tokens would be one stride.
    square = (1, 3, 48, 48)
    assert find_grid((1, 18, 8), square) == Grid((4, 4), "tokens", 2)
    assert find_grid((1, 18, 8), square, None, ((3, 6),)) == Grid((3, 6), "tokens")
    video = (1, 3, 16, 224, 224)
    wanted = Grid((8, 14, 14), "tokens", 1)
    assert find_grid((1, 1569, 96), video, None, ((8, 14, 14),)) == wanted


def test_one_tokens_attention_is_no_row_of_positions() -> None:
    picture = (1, 3, 192, 256)  # made 384×384 by the network itself
    wanted = Grid((24, 24), "tokens", 1)
    assert find_grid((1, 577, 8), picture, None, ((1, 577), (24, 24))) == wanted
    assert find_grid((1, 33, 8), (1, 3, 8, 70), None, ((1, 33),)) == Grid((1, 33), "tokens")


def test_queries_are_not_laid_on_the_picture() -> None:
    """Ten of them would be two rows of four behind two class tokens, if one stride were not one."""
    picture, known = (1, 3, 64, 96), ((8, 12), (2, 3))
    assert find_grid((1, 10, 4), picture, None, known) is None
    assert find_grid((1, 97, 4), picture, None, known) == Grid((8, 12), "tokens", 1)
    assert find_grid((1, 24, 4), picture, None, known) == Grid((4, 6), "tokens")
    assert find_grid((1, 1 + 96 + 10, 4), picture, None, known) is None  # YOLOS: behind them
    large, backbone = (1, 3, 800, 1066), ((25, 34), (50, 67))
    assert find_grid((1, 100, 256), large, None, backbone) is None
    assert find_grid((1, 850, 256), large, None, backbone) == Grid((25, 34), "tokens")


@given(
    batch=st.integers(1, 3),
    channels=st.integers(1, 5),
    height=st.integers(2, 4),
    width=st.integers(2, 4),
    extra=st.integers(0, 3),
)
def test_there_and_back(batch: int, channels: int, height: int, width: int, extra: int) -> None:
    made = torch.arange(batch * channels * height * width).reshape(batch, channels, height, width)
    first = Grid((height, width))
    assert torch.equal(first.of(made), made)
    rows = made.flatten(2).mT
    tokens = torch.cat([-torch.ones(batch, extra, channels, dtype=rows.dtype), rows], 1)
    as_tokens = Grid((height, width), "tokens", extra)
    assert torch.equal(as_tokens.of(tokens), made)
    assert torch.equal(as_tokens.back(made, tokens[:1]), tokens)
    last = Grid((height, width), "channels last")
    assert torch.equal(last.of(made.permute(0, 2, 3, 1)), made)
    assert torch.equal(last.back(made, made), made.permute(0, 2, 3, 1))
    video = Grid((batch, height, width), "frames")
    assert torch.equal(video.of(made), made.movedim(0, 1)[None])
    assert torch.equal(video.back(video.of(made), made), made)


FORMS = {
    "channels first": (2, 5, 3, 4),
    "channels last": (2, 3, 4, 5),
    "tokens": (2, 1 + 12, 5),
}


@pytest.mark.parametrize(("form", "shape"), FORMS.items())
def test_a_layers_channels_are_counted_where_they_are(form: Any, shape: tuple[int, ...]) -> None:
    grid = Grid((3, 4), form, 1 if form == "tokens" else 0)
    assert grid.channels(shape) == 5
    assert grid.of(torch.zeros(shape)).shape == (2, 5, 3, 4)


def test_frames_have_their_channels_behind_the_frames() -> None:
    grid = Grid((2, 3, 4), "frames")
    assert grid.channels((6, 5, 3, 4)) == 5
    assert grid.of(torch.zeros(6, 5, 3, 4)).shape == (3, 5, 2, 3, 4)


def test_several_versions_go_back_with_one_images_extra_tokens() -> None:
    maps = torch.arange(3.0 * 5 * 12).reshape(3, 5, 3, 4)
    image = torch.cat([torch.full((1, 2, 5), -7.0), torch.zeros(1, 12, 5)], 1)
    back = Grid((3, 4), "tokens", 2).back(maps, image)
    assert back.shape == (3, 14, 5)
    assert (back[:, :2] == -7).all()
    assert torch.equal(back[:, 2:], maps.flatten(2).mT)
    last = Grid((3, 4), "channels last").back(maps, torch.zeros(1, 3, 4, 5))
    assert torch.equal(last, maps.permute(0, 2, 3, 1))
    assert last.is_contiguous()  # what comes next may view it
    assert Grid((3, 4)).back(maps, torch.zeros(1, 5, 3, 4)) is maps
    video = torch.arange(2.0 * 5 * 3 * 12).reshape(2, 5, 3, 3, 4)  # two versions of three frames
    frames = Grid((3, 3, 4), "frames").back(video, torch.zeros(3, 5, 3, 4))
    assert frames.shape == (6, 5, 3, 4)
    assert torch.equal(frames[4], video[1, :, 1])


def test_a_grid_in_words() -> None:
    assert str(Grid((14, 20), "tokens", 1)) == "14×20 tokens"
    assert str(Grid((14, 20))) == "14×20"
    assert str(Grid((14, 20), "channels last")) == "14×20"
    assert str(Grid((8, 7, 7), "frames")) == "8×7×7"
    assert str(Grid((50,), "tokens")) == "50 tokens"


def test_one_stride_leaves_the_positions_or_it_does_not() -> None:
    assert Grid((7, 10)).fits((1, 3, 224, 320))
    assert Grid((7, 10)).fits((1, 3, 223, 319))
    assert not Grid((7, 7)).fits((1, 3, 224, 320))
    assert not Grid((400, 400)).fits((1, 3, 224, 224))
    assert Grid((4, 7, 7)).fits((1, 3, 16, 224, 224))  # frames have a stride of their own
