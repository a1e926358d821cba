from __future__ import annotations

import numpy as np
import pytest

from seewhy.errors import ImageError
from seewhy.render.scale import scale_of


def test_a_positive_map_starts_at_zero():
    scale = scale_of([np.array([[0.5, 4.0]])])
    assert (scale.low, scale.high, scale.signed) == (0, 4, False)
    assert scale.words() == "scale from 0 to 4"
    assert scale.shares(np.array([0, 1, 4, 9])).tolist() == [0, 0.25, 1, 1]


def test_a_map_that_floats_above_zero_starts_at_its_minimum_and_says_why():
    scale = scale_of([np.array([[0.54, 0.67]])])
    assert (scale.low, scale.high) == (0.54, 0.67)
    assert scale.words() == (
        "scale from 0.54 to 0.67: it starts at the minimum, because that is 81 % of the maximum"
    )
    assert scale.shares(np.array([0.54, 0.605, 0.67])) == pytest.approx([0, 0.5, 1], abs=1e-6)
    assert scale_of([np.array([[0.54, 0.67]])], start="zero").low == 0
    assert scale_of([np.array([[0.16, 0.67]])]).low == 0  # 24 %
    assert scale_of([np.array([[0.16, 0.67]])], start="min").low == 0.16
    # On one scale all of them must float.
    assert scale_of([np.array([0.54, 0.67]), np.array([0, 0.5])]).low == 0


def test_a_map_is_signed_from_two_percent_below_zero():
    assert not scale_of([np.array([[-0.019, 1.0]])]).signed
    signed = scale_of([np.array([[-0.021, 1.0]])])
    assert (signed.low, signed.high, signed.signed) == (-1, 1, True)
    assert signed.shares(np.array([-2, -0.5, 0, 1])).tolist() == [-1, -0.5, 0, 1]
    against = scale_of([np.array([[-3.0, -1.0]])])
    assert (against.low, against.high, against.signed) == (-3, 3, True)
    assert "as far below 0 as above it" in against.words()


def test_few_pixels_of_many_may_lie_beyond():
    spots = np.full((20, 50), 0.25)
    spots[0, :3] = 9
    spots[1, 0] = 0
    scale = scale_of([spots])
    assert (scale.low, scale.high, scale.largest) == (0, 0.25, 9)
    assert scale.words() == "scale from 0 to 0.25 (the largest value is 9)"


def test_limits_given_need_not_be_centred():
    scale = scale_of([np.array([0, 5.0])], limits=(-1, 4))
    assert scale.signed
    assert scale.ends == (-0.25, 1)
    assert scale.shares(np.array([-9, -1, 0, 2, 9])).tolist() == [-0.25, -0.25, 0, 0.5, 1]
    assert scale.words() == "scale from -1 to 4 (the largest value is 5): the limits are given"
    assert scale.value(0.5) == 2


@pytest.mark.parametrize(
    "values", [np.zeros((2, 2)), np.full((2, 2), np.nan), np.full((2, 2), np.inf), np.zeros((0, 3))]
)
@pytest.mark.filterwarnings("error")
def test_a_map_without_values_has_an_empty_scale(values):
    scale = scale_of([values])
    assert scale.empty
    assert scale.words() == "no scale, because all values are the same"
    assert (np.nan_to_num(scale.shares(values)) == 0).all()


def test_a_flat_map_starts_at_zero():
    scale = scale_of([np.full((2, 2), 3.0)])
    assert (scale.low, scale.high) == (0, 3)


def test_the_smallest_numbers_do_not_overflow():
    scale = scale_of([np.array([0, 1e-44], np.float32)])
    assert scale.shares(np.array([0, 1e-44], np.float32)).tolist() == [0, 1]


def test_what_is_no_scale_is_refused():
    with pytest.raises(ImageError, match="scale is 'max'; 'zero' or 'min' is wanted"):
        scale_of([], start="max")
    with pytest.raises(ImageError, match="limits is"):
        scale_of([], limits=(2, 1))
    with pytest.raises(ImageError, match="give one of them"):
        scale_of([], limits=(1, 2), start="zero")
