from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

import seewhy
from seewhy.errors import ImageError
from seewhy.render.colormap import colorize
from seewhy.render.signal import SEQUENTIAL, draw_signal, stretches

from .stand_ins import pixels, texts
from .test_figure import assert_all_texts_are_inside_and_apart


def test_stretches_cover_all_samples_and_lose_no_peak() -> None:
    heat = np.zeros(10_000)
    heat[[1234, 7000]] = 3, -5
    parts = stretches(heat)
    assert len(parts) == 1500
    covered = sorted((part.start, part.end) for part in parts)
    assert covered[0][0] == 0
    assert covered[-1][1] == 10_000
    assert all(end == start for (_, end), (start, _) in pairwise(covered))
    assert [part.value for part in parts[-3:]] == [0, 3, -5]  # drawn last, over the others
    assert [part.value for part in stretches(np.array([1.0, -3, np.nan, 2]))][1:] == [1, 2, -3]


def test_the_colours_lie_along_the_curve_where_the_map_is() -> None:
    """A level signal: the band's colours across the page are the resized map's."""
    map_ = np.array([0.0, 1, 4, 2])
    drawn = draw_signal(np.zeros(800), map_)
    box = drawn.axes[0].get_window_extent()
    image = pixels(drawn)
    middle = image.shape[0] - round(box.y0 + box.height / 2)
    band = image[middle - 4]  # beside the black curve, within the coloured band
    heat = seewhy.resize_map(torch.tensor(map_)[None], [800])[0].numpy()
    for place in (0.3, 0.45, 0.55, 0.625, 0.7, 0.9):
        expected = colorize(np.array([heat[round(place * 799)] / 4]), SEQUENTIAL)[0]
        found = band[round(box.x0 + place * box.width)]
        # The strongest is drawn last, with a round end of half the band's width.
        assert np.abs(found.astype(int) - expected).max() <= 45, place
    strongest = colorize(np.array([1.0]), SEQUENTIAL)[0]
    left = band[: round(box.x0 + 0.4 * box.width)].astype(int)
    assert np.abs(left - strongest).max(1).min() > 60


def test_each_channel_has_its_own_curve_range_and_name() -> None:
    signal = np.stack([np.linspace(-2, 3, 50), np.linspace(0, 10, 50), np.full(50, 7.0)])
    drawn = draw_signal(signal, np.ones(5), names=["I", "II", "aVR"], rate=25, title="beat")
    said = texts(drawn)
    assert {"I", "II", "aVR", "beat", "seconds", "3", "-2", "10", "7.5", "6.5"} <= set(said)
    assert {"0", "0.5", "1", "1.5"} <= set(said)
    assert "raw map 5, 1 everywhere" in said
    assert len(drawn.axes) == 4  # three curves and the colour bar
    curves = [axes.collections[-1].get_segments()[0] for axes in drawn.axes[:3]]
    for curve, channel in zip(curves, signal, strict=True):
        np.testing.assert_array_equal(curve[:, 1], channel)
        np.testing.assert_allclose(curve[:, 0], np.arange(50) / 25)
    assert "samples" in texts(draw_signal(signal[0], np.ones(5)))


def test_a_signed_map_is_centred_at_zero_and_nan_is_grey() -> None:
    drawn = draw_signal(np.zeros(40), np.array([-1.0, 4, np.nan, 0]))
    assert {"4", "-4", "0"} <= set(texts(drawn))
    assert any("grey: not a number" in said for said in texts(drawn))
    colors = drawn.axes[0].collections[0].get_edgecolors()[:, :3]
    assert np.isclose(colors, 128 / 255).all(1).any()


@pytest.mark.parametrize("channels", [1, 2, 3, 12])
@pytest.mark.parametrize("length", [1, 2, 30, 5000])
def test_nothing_overlaps(channels: int, length: int) -> None:
    signal = np.random.default_rng(0).normal(size=(channels, length)) * 1234.5
    names = [f"channel {number} of the recording" for number in range(channels)]
    drawn = draw_signal(
        signal, np.arange(7.0), names=names, rate=250, title="a beat too soon · p 0.93"
    )
    assert_all_texts_are_inside_and_apart(drawn)


def test_tensors_are_taken() -> None:
    drawn = seewhy.draw_signal(torch.randn(2, 30), torch.rand(6))
    assert len(drawn.axes) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"signal": np.zeros((1, 2, 9))}, r"the signal is \(1, 2, 9\); \(length,\) or"),
        ({"signal": np.zeros(0)}, r"the signal is \(0,\)"),
        ({"map_": np.zeros((1, 9))}, r"the map is \(1, 9\); \(length,\) is wanted"),
        ({"names": ["a", "b"]}, "2 names came for 1 channels"),
        ({"rate": 0}, "rate=0; a positive number"),
        ({"limits": (2, 1)}, "limits is"),
        ({"colormap": "infernal"}, "did you mean inferno"),
    ],
)
def test_what_cannot_be_drawn_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        draw_signal(**{"signal": np.zeros(9), "map_": np.zeros(3), **change})
