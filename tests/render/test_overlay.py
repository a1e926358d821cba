from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seewhy.errors import ImageError
from seewhy.images import Window, place
from seewhy.render.colormap import colorize
from seewhy.render.crop import inside
from seewhy.render.overlay import overlay
from seewhy.render.style import blend

from .stand_ins import grey_picture, whole


def test_each_pixel_is_the_mean_of_picture_and_colour_at_half_opacity():
    picture = np.array([[[10, 20, 30], [200, 100, 0]]], np.uint8)
    heatmap = np.array([[0, 4.0]])
    # jet: (0, 0, 127) at 0, (127, 0, 0) at the largest value.
    got = np.asarray(overlay(picture, heatmap, whole(picture), colormap="jet"))
    assert got.tolist() == [[[5, 10, 79], [164, 50, 0]]]


def test_opacity_of_a_veil_goes_from_the_picture_to_the_map():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (5, 7, 3), np.uint8)
    heatmap = rng.random((5, 7))
    window = whole(picture)
    drawn = overlay(picture, heatmap, window, style="veil", opacity=0, scale="zero")
    assert np.array_equal(drawn, picture)
    full = overlay(picture, heatmap, window, style="veil", opacity=1, scale="zero")
    assert np.array_equal(full, colorize(heatmap / heatmap.max()))


@given(st.integers(0, 255), st.integers(0, 255), st.floats(0, 1))
def test_blending_is_off_by_less_than_one_level(below, above, opacity):
    got = blend(np.array([below], np.uint8), np.array([above], np.uint8), opacity)
    assert abs(int(got[0]) - ((1 - opacity) * below + opacity * above)) <= 1


@pytest.mark.parametrize("style", ["clear", "print"])
def test_a_zero_map_leaves_the_picture_as_it_is_and_says_so(style):
    picture = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    got = np.asarray(overlay(picture, np.zeros((300, 400)), whole(picture), style=style))
    changed = np.flatnonzero((got != picture).any((1, 2)))
    assert changed[0] > 270  # the words stand on a band along the lower edge
    assert np.array_equal(got[: changed[0]], picture[: changed[0]])
    assert (got[285:] == 255).any()
    # Where there is no room for words, there is the picture alone.
    small = picture[:20, :30]
    assert np.array_equal(overlay(small, np.zeros((20, 30)), whole(small), style=style), small)


def test_nan_is_striped_and_leaves_the_other_values_their_range():
    picture = grey_picture()
    heatmap = np.zeros((60, 80))
    heatmap[0, 0], heatmap[1, 1], heatmap[30:, :] = np.nan, 7, np.nan
    got = np.asarray(overlay(picture, heatmap, whole(picture), style="veil", opacity=1))
    assert got[1, 1].tolist() == colorize(np.ones(1))[0].tolist()
    stripes = got[30:].reshape(-1, 3)
    assert np.unique(stripes, axis=0).tolist() == [[90] * 3, [165] * 3]
    all_missing = np.asarray(overlay(picture, np.full((60, 80), np.nan), whole(picture)))
    assert set(np.unique(all_missing)) == {90, 165}


def test_limits_given_are_the_values_of_the_end_colours():
    heatmap = np.array([[0, 5, 10.0]])
    blank = np.zeros((1, 3, 3), np.uint8)
    drawn = overlay(blank, heatmap, whole(blank), style="veil", opacity=1, limits=(5, 20))
    got = np.asarray(drawn)[0]
    expected = colorize(np.array([0, 0, 1 / 3]))
    assert got.tolist() == expected.tolist()


def test_negative_values_take_the_diverging_map_with_zero_in_the_middle():
    blank = np.zeros((1, 3, 3), np.uint8)
    drawn = overlay(blank, np.array([[-1, 0, 4.0]]), whole(blank), style="veil", opacity=1)
    assert np.asarray(drawn)[0].tolist() == colorize(np.array([3 / 8, 0.5, 1]), "RdBu_r").tolist()


def test_a_hot_cell_lies_at_its_place_on_the_picture():
    picture = grey_picture(100, 200)
    window = Window(60, 10, 140, 90)  # 80 × 80: cells of 20 pixels
    cells = np.zeros((4, 4), np.float32)
    cells[1, 2] = 3
    heatmap = place(cells, window, (100, 200))
    drawn = overlay(picture, heatmap, window, colormap="gray", opacity=1, scale="zero")
    got = np.asarray(drawn).astype(int)
    seen = got[10:90, 60:140, 0]
    hottest = np.argwhere(seen == seen.max())
    # Row 1 of 20 pixels below 10, column 2 of 20 pixels right of 60: the centre is (40, 110).
    assert hottest.mean(axis=0) + 0.5 == pytest.approx([30, 50], abs=0.5)


def test_what_the_model_never_saw_is_grey_pale_and_fenced_off():
    picture = grey_picture(90, 120)
    picture[..., 0] = 220  # red
    window = Window(15, 0, 105, 90)
    got = np.asarray(overlay(picture, np.zeros((90, 120)), window)).astype(int)
    assert np.array_equal(got[:, 15:105], picture[:, 15:105])  # untouched where it looked
    outside = got[:, :11]
    assert (np.ptp(outside, axis=2) == 0).all()  # no colour
    assert outside.mean() > picture.mean()  # and paler
    # Beside it two hairlines and what is between them, from the inside out.
    assert (got[:, 14] == got[:, 12]).all()
    assert (got[:, 14].max(), got[:, 13].min()) == (20, outside.min())
    assert np.array_equal(got[:, 105:108], got[:, 14:11:-1])


@pytest.mark.parametrize(
    ("window", "where"),
    [
        (Window(30, 40, 370, 380), "above"),
        (Window(60, 0, 340, 400), "left"),
        (Window(0, 0, 300, 400), "right"),
        (Window(0, 0, 400, 300), "below"),
    ],
)
def test_a_tab_outside_of_it_says_what_the_frame_is(window, where):
    picture = grey_picture(400, 400)
    got = np.asarray(overlay(picture, np.ones((400, 400)), window, opacity=0))
    rows, columns = np.nonzero(got.min(2) > 215)  # the letters: nothing else is so light
    beyond = {
        "above": rows < 40, "left": columns < 60, "right": columns >= 300, "below": rows >= 300,
    }  # fmt: skip
    assert beyond[where].all()
    assert len(rows) > 50


def test_boxes_are_drawn_over_a_framed_picture():
    picture = grey_picture(400, 400)
    window, box = Window(30, 40, 370, 380), Corners(100, 100, 200, 200)
    heatmap = np.ones((400, 400))
    plain = np.asarray(overlay(picture, heatmap, window))
    got = np.asarray(overlay(picture, heatmap, window, boxes=[box]))
    changed = np.argwhere((got != plain).any(2))
    assert (changed.min(0).tolist(), changed.max(0).tolist()) == ([100, 100], [199, 199])


def test_no_tab_where_it_could_not_be_read():
    picture = grey_picture(60, 60)
    got = np.asarray(overlay(picture, np.zeros((60, 60)), Window(10, 10, 50, 50)))
    assert not (got == 255).any()


def test_no_fence_where_the_window_reaches_or_leaves_the_picture():
    picture = grey_picture()
    for window in (whole(picture), Window(-5, -5, 85, 65)):
        got = np.asarray(overlay(picture, np.zeros((60, 80)), window))
        assert np.array_equal(got, picture)


def test_a_window_beside_the_picture_is_drawn_all_muted():
    picture = grey_picture()
    got = np.asarray(overlay(picture, np.zeros((60, 80)), Window(200, 200, 300, 300)))
    assert len(np.unique(got)) == 1
    assert got[0, 0, 0] > 100


@given(
    st.tuples(*[st.integers(1, 30)] * 2),
    st.tuples(*[st.floats(-10, 40)] * 2),
    st.tuples(*[st.floats(0.5, 40)] * 2),
)
def test_the_pixels_coloured_are_those_on_which_the_map_is_placed(size, corner, extent):
    window = Window(*corner, corner[0] + extent[0], corner[1] + extent[1])
    placed = place(np.ones((1, 1), np.float32), window, size)
    marked = np.zeros(size)
    marked[inside(window, size)] = 1
    assert np.array_equal(placed, marked)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 3)])
def test_the_smallest_pictures_are_drawn(size):
    picture = grey_picture(*size)
    assert overlay(picture, np.ones(size), whole(picture)).size == size[::-1]


def test_what_does_not_fit_together_is_refused_in_a_sentence():
    picture = grey_picture()
    with pytest.raises(ImageError, match=r"heatmap is \(6, 8\) on a picture of \(60, 80\)"):
        overlay(picture, np.zeros((6, 8)), whole(picture))
    with pytest.raises(ImageError, match=r"picture is float64 \(60, 80, 3\); uint8"):
        overlay(picture / 255, np.zeros((60, 80)), whole(picture))
    for opacity in (-0.1, 1.5, np.nan):
        with pytest.raises(ImageError, match="opacity is"):
            overlay(picture, np.zeros((60, 80)), whole(picture), opacity=opacity)
    with pytest.raises(ImageError, match="heatmap is"):
        overlay(picture, np.zeros((2, 60, 80)), whole(picture))


def test_the_callers_arrays_are_left_as_they_were():
    picture, heatmap = grey_picture(), np.random.default_rng(0).random((60, 80))
    before = picture.copy(), heatmap.copy()
    overlay(picture, heatmap, Window(10, 10, 50, 50))
    assert np.array_equal(picture, before[0])
    assert np.array_equal(heatmap, before[1])


@dataclass(frozen=True)
class Corners:
    x0: float
    y0: float
    x1: float
    y1: float


def test_a_box_is_outlined_inside_of_itself():
    picture = grey_picture()
    plain = np.asarray(overlay(picture, np.zeros((60, 80)), whole(picture)))
    got = np.asarray(
        overlay(picture, np.zeros((60, 80)), whole(picture), boxes=[Corners(10, 20, 50, 40)])
    )
    changed = np.argwhere((got != plain).any(2))
    assert changed.min(0).tolist() == [20, 10]
    assert changed.max(0).tolist() == [39, 49]
    # Across the left edge: a black pixel, two white ones, a black one; then the picture again.
    assert got[30, 9:15, 0].tolist() == [plain[30, 9, 0], 0, 255, 255, 0, plain[30, 14, 0]]


@given(st.lists(st.integers(-5, 35), min_size=4, max_size=4))
def test_any_box_is_drawn_within_itself_or_has_no_pixel(corners):
    x0, y0, x1, y1 = corners
    picture = grey_picture(30, 30)
    plain = np.asarray(overlay(picture, np.zeros((30, 30)), whole(picture)))
    got = np.asarray(
        overlay(picture, np.zeros((30, 30)), whole(picture), boxes=[Corners(*corners)])
    )
    outside = np.ones((30, 30), bool)
    outside[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = False
    assert np.array_equal(got[outside], plain[outside])
    if x0 >= 0 and y0 >= 0 and not outside.all():
        assert (got[y0, x0] == 0).all()
