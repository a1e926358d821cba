from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from reference import localisation as reference

from seewhy.boxes import Box, boxes, mask, sweep
from seewhy.errors import ImageError, MethodError

# Few different values, so that ties and plateaus are common.
small_maps = arrays(
    np.float32,
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    elements=st.sampled_from(np.float32([-1, 0, 0.1, 0.15, 0.3, 0.5, 0.75, 1]).tolist()),
)
shares = st.sampled_from([0.0, 0.1, 0.15, 0.29, 0.5, 0.99])

#   0 1 2 3 4 5 6
HAND = np.array(
    [
        [0, 0, 0, 0, 0, 0, 0],
        [0, 3, 4, 0, 0, 0, 2],
        [0, 2, 3, 0, 0, 10, 0],
        [0, 0, 0, 2, 0, 0, 0],
        [1, 0, 0, 0, 0, 0, 0],
    ],
    np.float32,
)


def test_by_hand():
    # 15 % of 10 is 1.5: the 1 is out. The 2 in the middle touches a corner of the square of 4.
    assert boxes(HAND) == (Box(1, 1, 4, 4, score=4),)
    assert boxes(HAND, largest=False) == (Box(1, 1, 4, 4, score=4), Box(5, 1, 7, 3, score=10))
    assert boxes(HAND, largest=False, connectivity=4) == (
        Box(1, 1, 3, 3, score=4), Box(6, 1, 7, 2, score=2), Box(5, 2, 6, 3, score=10),
        Box(3, 3, 4, 4, score=2),
    )  # fmt: skip
    # 30 % of 10 is 3, and 3 is not above it.
    assert boxes(HAND, threshold=0.3, largest=False) == (
        Box(2, 1, 3, 2, score=4),
        Box(5, 2, 6, 3, score=10),
    )
    assert mask(HAND, threshold=0.3).sum() == 2
    assert mask(HAND, largest=True).sum() == 5
    assert mask(HAND).sum() == 7
    assert boxes(HAND)[0].as_tuple() == (1, 1, 4, 4)


@settings(deadline=None)
@given(small_maps, shares, st.booleans(), st.sampled_from([4, 8]))
def test_as_the_flood_fill(map_, threshold, largest, connectivity):
    map_ = map_.astype(np.float64)
    found = boxes(map_, threshold=threshold, largest=largest, connectivity=connectivity)
    wanted = reference.boxes(map_, threshold, largest=largest, connectivity=connectivity)
    assert [box.as_tuple() for box in found] == wanted
    inside = mask(map_, threshold=threshold, connectivity=connectivity)
    assert {tuple(pixel) for pixel in np.argwhere(inside).tolist()} == reference.above(
        map_, threshold
    )
    for box in found:
        part = map_[box.y0 : box.y1, box.x0 : box.x1]
        assert box.score in part


@settings(deadline=None)
@given(small_maps, st.lists(shares, min_size=1, max_size=6), st.sampled_from([4, 8]))
def test_the_sweep_finds_what_each_threshold_finds(map_, thresholds, connectivity):
    found = sweep(map_, thresholds, connectivity=connectivity)
    largest = found.largest()
    for place, threshold in enumerate(thresholds):
        each = boxes(map_, threshold=threshold, largest=False, connectivity=connectivity)
        rows = found.thresholds == place
        order = np.lexsort((found.firsts[rows], -found.areas[rows]))
        assert found.boxes[rows][order].tolist() == [list(box.as_tuple()) for box in each]
        assert largest.boxes[largest.thresholds == place].tolist() == [
            list(box.as_tuple()) for box in each[:1]
        ]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31))
def test_the_sweep_in_blocks_is_the_sweep_at_once(seed):
    from seewhy import boxes as module

    map_ = np.random.default_rng(seed).random((20, 30))
    thresholds = np.linspace(0, 0.99, 37)
    whole = sweep(map_, thresholds)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MOST_AT_ONCE", 500)
        parts = sweep(map_, thresholds)
    for one in (whole, parts):
        assert set(one.thresholds) == set(range(37))
    order = [np.lexsort((one.firsts, one.thresholds)) for one in (whole, parts)]
    assert np.array_equal(whole.boxes[order[0]], parts.boxes[order[1]])
    assert np.array_equal(whole.areas[order[0]], parts.areas[order[1]])


@pytest.mark.parametrize("value", [0.0, -2.0, np.nan, -np.inf])
def test_nothing_speaks_for_the_target(value):
    map_ = np.full((4, 5), value)
    assert boxes(map_) == ()
    assert not mask(map_).any()
    assert len(sweep(map_, [0.0, 0.5]).areas) == 0
    assert len(sweep(map_, [0.0, 0.5]).largest().areas) == 0


def test_a_constant_positive_map_is_a_box_of_all():
    map_ = np.full((4, 5), 0.5, np.float32)
    assert boxes(map_) == (Box(0, 0, 5, 4, score=0.5),)
    assert mask(map_).all()
    assert sweep(map_, [0.0, 0.99]).boxes.tolist() == [[0, 0, 5, 4]] * 2


def test_what_is_not_finite_belongs_to_nothing():
    map_ = np.array([[1.0, np.nan, np.inf], [1.0, 0.9, -5.0]])
    assert np.array_equal(mask(map_), [[True, False, False], [True, True, False]])
    assert boxes(map_) == (Box(0, 0, 2, 2, score=1.0),)


def test_negative_values_change_nothing():
    assert boxes(np.where(HAND == 0, -100, HAND)) == boxes(HAND)


def test_whole_numbers_are_a_map():
    assert boxes(HAND.astype(np.uint8)) == boxes(HAND)


def test_what_cannot_be_read_is_said():
    for wrong in (np.zeros(3), np.zeros((2, 3, 4)), np.zeros((0, 3))):
        for function in (mask, boxes):
            with pytest.raises(ImageError, match="one map"):
                function(wrong)
    for wrong in (-0.1, 1, 15, np.nan):
        with pytest.raises(MethodError, match=r"at least 0 and below 1 .*such as 0\.15"):
            boxes(HAND, threshold=wrong)
    with pytest.raises(MethodError, match=r"connectivity must be 8 .* or 4 .*, not 6"):
        boxes(HAND, connectivity=6)
    with pytest.raises(MethodError, match=r"connectivity must be 8 .* or 4 .*, not 6"):
        mask(HAND, connectivity=6, largest=True)
    with pytest.raises(MethodError, match=r"connectivity must be 8 .* or 4 .*, not 6"):
        sweep(HAND, [0.5], connectivity=6)


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int16, np.int64, np.float16])
def test_a_map_of_whole_numbers_or_of_bools_is_read_like_one_of_floats(kind):
    map_ = (HAND > 2).astype(kind) if kind is bool else HAND.astype(kind)
    floats = map_.astype(np.float64)
    thresholds = (0.0, 0.15, 0.29, 0.5, 0.99)
    for threshold in thresholds:
        assert np.array_equal(mask(map_, threshold=threshold), mask(floats, threshold=threshold))
        for largest in (False, True):
            got = boxes(map_, threshold=threshold, largest=largest)
            assert got == boxes(floats, threshold=threshold, largest=largest)
            assert len(got) > 0
    got, wanted = sweep(map_, thresholds), sweep(floats, thresholds)
    assert np.array_equal(got.areas, wanted.areas)
    assert np.array_equal(got.boxes, wanted.boxes)
    assert not mask(np.zeros((3, 3), kind)).any()


def test_the_area_of_a_box_counts_from_its_own_corner():
    assert Box(2, 3, 7, 5).area == 10
