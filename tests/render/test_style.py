"""What a reader can get back out of the overlay, and what it leaves of the picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seewhy.errors import ImageError
from seewhy.render.oklab import encoded_of, light_of, oklab_of, rgb_of
from seewhy.render.style import CLEAR, greyed, paint, style_of

from .reading import error_of_reading, moved, seen_as


def photograph(seed: int, side: int = 96) -> np.ndarray:
    """Something as colourful and as uneven as a photograph: blobs of colours, and grain."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side] / side
    picture = np.zeros((side, side, 3)) + rng.random(3)
    for _ in range(12):
        y, x, size = rng.random(), rng.random(), 0.05 + 0.25 * rng.random()
        weight = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * size**2))[..., None]
        picture += weight * (rng.random(3) - picture)
    picture += rng.normal(0, 0.04, (side, side, 1))
    return np.rint(255 * picture.clip(0, 1)).astype(np.uint8)


def coarse_map(seed: int, side: int = 96, cells: int = 7, signed: bool = False) -> np.ndarray:
    from seewhy.images import Window, place

    rng = np.random.default_rng(seed)
    raw = rng.random((cells, cells)) ** 3
    raw -= 0.4 * rng.random((cells, cells)) if signed else 0.9 * raw.min()
    values = place(raw.astype(np.float32), Window(0, 0, side, side), (side, side))
    return values / np.abs(values).max()


KINDS = {
    "mixed": photograph(0),
    "bright": np.maximum(photograph(1), 200),
    "dark": photograph(2) // 5,
    "red": (photograph(3) * np.array([1.0, 0.25, 0.2])).astype(np.uint8),
    "grey": greyed(photograph(4)),
}


@pytest.mark.parametrize("signed", [False, True])
def test_a_reader_with_the_key_reads_values_as_exactly_as_was_measured(signed):
    errors: dict[str, list[float]] = {"normal": [], "deutan": []}
    shifts = []
    for seed, picture in enumerate(KINDS.values()):
        shares = coarse_map(seed, signed=signed)
        drawn = paint(picture, shares, CLEAR, signed=signed)
        for who, found in errors.items():
            found.append(error_of_reading(drawn, shares, CLEAR, signed=signed, who=who)[0])
        shifts.append(moved(picture, drawn, shares))
    assert np.mean(errors["normal"]) <= 0.06
    assert np.mean(errors["deutan"]) <= 0.10
    assert np.nanmean(shifts) <= 0.03


def test_the_measure_tells_a_good_overlay_from_a_bad_one():
    """The old veil moves the picture where the map says nothing, and a faint one cannot be read."""
    picture, shares = KINDS["mixed"], coarse_map(0)
    veil, faint = style_of("veil"), style_of("clear", opacity=0.1)
    drawn = paint(picture, shares, veil, signed=False)
    assert moved(picture, drawn, shares) > 0.1
    drawn = paint(picture, shares, faint, signed=False)
    assert error_of_reading(drawn, shares, faint, signed=False, who="normal")[0] > 0.1


@pytest.mark.parametrize("base", ["picture", "grey"])
def test_where_the_map_says_nothing_the_base_is_left_to_the_last_bit(base):
    picture = np.random.default_rng(0).integers(0, 256, (64, 65, 3), np.uint8)
    drawn = paint(picture, np.zeros((64, 65)), style_of(base=base), signed=True)
    assert np.array_equal(drawn, picture if base == "picture" else greyed(picture))


def test_the_strongest_value_has_seven_tenths_of_the_ramps_last_colour():
    picture = np.full((1, 3, 3), 100, np.uint8)
    (drawn,) = paint(picture, np.array([[1, 1, -1]]), CLEAR, signed=True)
    expected = [0.3 * 100 + 0.7 * np.array(color) for color in ((255, 138, 0), (30, 144, 255))]
    assert drawn[0] == pytest.approx(expected[0], abs=1)
    assert drawn[2] == pytest.approx(expected[1], abs=1)
    (drawn,) = paint(picture, np.array([[1, 1, 1]]), CLEAR, signed=False)
    assert drawn[0] == pytest.approx(0.3 * 100 + 0.7 * np.array([255, 196, 0]), abs=1)


@given(st.tuples(*[st.integers(0, 255)] * 3), st.floats(0, 1))
def test_a_pixel_is_its_grey_and_its_colour_mixed_with_the_ramps(rgb, share):
    """The tables give what the formula says: chroma gone from 15 %, opacity 0.7 of the value."""
    pixel = np.array([[rgb]], np.uint8)
    (got,) = paint(pixel, np.array([[share]], np.float32), CLEAR, signed=False)[0]
    grey = greyed(pixel)[0, 0].astype(float)
    base = grey + max(0, 1 - share / 0.15) * (pixel[0, 0] - grey)
    stops = oklab_of(np.array([[0x8E, 0x0E, 0x6E], [0xE8, 0x35, 0x2B], [0xFF, 0xC4, 0]]) / 255)
    lab = [np.interp(share, (0, 0.5, 1), plane) for plane in stops.T]
    color = 255 * rgb_of(np.array(lab))
    # A table has 256 steps, and the picture's own colour is kept in steps of 1/128.
    assert got == pytest.approx(base + 0.7 * share * (color - base), abs=6)


def test_grey_is_as_light_as_the_colour_was():
    picture = photograph(5)
    light = (light_of(picture / 255) @ [0.2126, 0.7152, 0.0722])[..., None].repeat(3, 2)
    assert np.abs(greyed(picture) - 255 * encoded_of(light)).max() < 1.5


def test_oklab_is_the_one_that_its_author_gives():
    # From https://bottosson.github.io/posts/oklab/: XYZ (0.950, 1.000, 1.089) is (1, 0, 0).
    assert oklab_of(np.ones(3)) == pytest.approx([1, 0, 0], abs=1e-3)
    assert oklab_of(np.array([1.0, 0, 0])) == pytest.approx([0.628, 0.225, 0.126], abs=1e-3)
    colors = np.random.default_rng(0).random((50, 3))
    assert rgb_of(oklab_of(colors)) == pytest.approx(colors, abs=1e-6)


def test_for_and_against_are_apart_for_everybody():
    ends = np.array([[0xFF, 0x8A, 0], [0x1E, 0x90, 0xFF]]) / 255
    apart = {
        who: float(np.linalg.norm(np.subtract(*oklab_of(seen_as(ends, who)))))
        for who in ("normal", "deutan", "protan", "tritan")
    }
    assert min(apart.values()) > 0.25


def test_a_colour_map_alone_means_a_veil_of_it_and_with_a_style_the_styles_ramp():
    assert style_of(colormap="jet").name == "veil"
    assert style_of(colormap="jet").opacity == 0.5
    assert style_of("clear", colormap="viridis").name == "clear"
    picture = np.full((1, 1, 3), 255, np.uint8)
    drawn = paint(picture, np.ones((1, 1)), style_of("clear", colormap="gray"), signed=False)
    assert drawn[0, 0] == pytest.approx([255] * 3, abs=1)


def test_print_is_the_picture_with_lines():
    style = style_of("print")
    assert [share for share, _ in style.lines] == [0.25, 0.5, 0.75]
    picture = photograph(6)
    assert np.array_equal(paint(picture, coarse_map(0), style, signed=False), picture)


def test_what_there_is_not_is_refused():
    with pytest.raises(ImageError, match="style is 'loud'; 'clear', 'veil' or 'print' is wanted"):
        style_of("loud")
    with pytest.raises(ImageError, match="base is 'gray'; 'picture' or 'grey' is wanted"):
        style_of(base="gray")
    with pytest.raises(ImageError, match="no colour map"):
        style_of(colormap="infarno")
    for opacity in (-0.1, 1.5, np.nan):
        with pytest.raises(ImageError, match="opacity is"):
            style_of(opacity=opacity)
