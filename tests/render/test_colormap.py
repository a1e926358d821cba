from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from seewhy.errors import ImageError
from seewhy.render.colormap import (
    DIVERGING,
    NOT_A_NUMBER,
    SEQUENTIAL,
    checked_limits,
    color_range,
    colorize,
    default_colormap,
    to_unit,
    value_range,
)


@pytest.mark.parametrize("name", ["inferno", "viridis", "jet", "RdBu_r", "tab10"])
def test_colours_are_those_that_matplotlib_gives(name):
    from matplotlib import colormaps

    values = np.linspace(0, 1, 1001)
    expected = colormaps[name](values, bytes=True)[:, :3]
    # A float32 may fall into the neighbouring bin: at a bin's edge only.
    differs = (colorize(values, name) != expected).any(axis=1)
    assert differs.sum() <= 2
    assert colorize(np.array([0.0, 1.0]), name).tolist() == expected[[0, -1]].tolist()


def test_jet_runs_from_blue_to_red_in_rgb_order():
    low, middle, high = colorize(np.array([0, 0.5, 1]), "jet").astype(int)
    assert low.tolist() == [0, 0, 127]
    assert middle[1] == 255
    assert high.tolist() == [127, 0, 0]


def test_values_beyond_the_range_take_the_end_colours_and_nan_is_grey():
    got = colorize(np.array([[-1, 2, np.nan, np.inf, -np.inf]]))
    first, last = colorize(np.array([0, 1.0]))
    assert got.shape == (1, 5, 3)
    assert got.dtype == np.uint8
    expected = [first, last, np.array(NOT_A_NUMBER), last, first]
    assert got[0].tolist() == [color.tolist() for color in expected]


@given(arrays(np.float32, array_shapes(min_dims=0, max_dims=3, min_side=0)))
def test_any_shape_gains_a_colour_axis(values):
    assert colorize(values).shape == (*values.shape, 3)


def test_an_unknown_colour_map_is_named_with_those_that_are_near():
    with pytest.raises(ImageError, match="no colour map 'infernal'; did you mean inferno"):
        colorize(np.zeros(1), "infernal")
    with pytest.raises(ImageError, match="no colour map 'zzzzzzzz'; try inferno"):
        colorize(np.zeros(1), "zzzzzzzz")


def test_the_range_starts_at_zero_or_is_centred_there():
    maps = [np.array([[0.5, 2]]), np.array([[-3, 1.0]])]
    assert value_range(maps, signed=False) == (0, 2)
    assert value_range(maps, signed=True) == (-3, 3)
    assert value_range([np.full((2, 2), 4.0)], signed=False) == (0, 4)


def test_few_of_many_positions_lie_beyond_the_colours():
    layer = np.linspace(0, 1, 196).reshape(14, 14)
    assert color_range([layer], signed=False) == (0, 1)
    pixels = np.arange(1000.0).reshape(20, 50)
    assert color_range([pixels], signed=False) == (0, 995)  # and 996 to 999 share its colour
    assert color_range([-pixels], signed=True) == (-995, 995)
    assert color_range([pixels, 2000 * layer], signed=False) == (0, 2000)
    spot = np.zeros((20, 50))
    spot[3, 4] = 7
    assert color_range([spot], signed=False) == (0, 7)  # else nothing would be drawn
    assert color_range([np.zeros((20, 50))], signed=True) == (0, 0)
    assert color_range([-pixels], signed=False) == (0, 0)
    assert color_range([np.full((20, 50), np.nan)], signed=False) == (0, 0)


@pytest.mark.parametrize("signed", [False, True])
def test_the_range_of_nothing_is_empty_and_nan_does_not_count(signed):
    assert value_range([np.zeros((2, 2))], signed) == (0, 0)
    assert value_range([], signed) == (0, 0)
    assert value_range([np.array([np.nan, np.inf, -np.inf])], signed) == (0, 0)
    assert value_range([np.array([np.nan, 1.5, np.inf])], signed)[1] == 1.5


def test_a_share_of_the_range():
    assert to_unit(np.array([-1, 0, 1, 3, 9]), (-1, 3)).tolist() == [0, 0.25, 0.5, 1, 1]
    assert to_unit(np.zeros(3), (0, 0)).tolist() == [0, 0, 0]
    assert np.isnan(to_unit(np.array([np.nan]), (0, 0))).all()


@given(
    arrays(np.float32, 5),
    st.tuples(*[st.floats(-1e30, 1e30)] * 2).map(lambda pair: tuple(sorted(pair))),
)
def test_a_share_is_never_outside_0_and_1(values, limits):
    shares = to_unit(values, limits)
    assert np.array_equal(np.isnan(shares), np.isnan(values))
    known = shares[~np.isnan(shares)]
    assert ((known >= 0) & (known <= 1)).all()


def test_the_smallest_numbers_are_still_told_apart():
    tiny = np.array([0, 1e-44, 2e-44], np.float32)
    shares = to_unit(tiny, value_range([tiny], signed=False))
    assert shares[0] == 0
    assert shares[2] == 1
    assert 0.4 < shares[1] < 0.6


def test_only_a_range_centred_at_zero_takes_the_diverging_map():
    assert default_colormap((-2, 2)) == DIVERGING
    assert default_colormap((0, 2)) == SEQUENTIAL
    assert default_colormap((-1, 2)) == SEQUENTIAL
    assert default_colormap((0, 0)) == SEQUENTIAL


def test_zero_is_the_middle_of_the_diverging_map():
    zero = colorize(to_unit(np.zeros(1), (-3, 3)), DIVERGING)[0].astype(int)
    assert zero.min() > 235  # next to white
    against, for_it = colorize(to_unit(np.array([-3, 3]), (-3, 3)), DIVERGING).astype(int)
    assert against[2] > against[0]
    assert for_it[0] > for_it[2]


@pytest.mark.parametrize(
    "limits", [(1, 0), (0, np.nan), (-np.inf, 0), (1,), (1, 2, 3), "ab", None, 5]
)
def test_limits_that_are_no_range_are_refused(limits):
    with pytest.raises(ImageError, match="two finite numbers are wanted"):
        checked_limits(limits)
