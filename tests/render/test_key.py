from __future__ import annotations

import numpy as np

from seewhy.render.key import key_image, marks, notes
from seewhy.render.scale import scale_of
from seewhy.render.style import CLEAR, paint, style_of

POSITIVE = scale_of([np.array([0, 8.25])])
SIGNED = scale_of([np.array([-12, 5.0])])
FLOATING = scale_of([np.array([0.54, 0.67])])


def test_the_key_has_the_colours_of_the_overlay():
    """A grey pixel under a value has the key's colour in the column of its grey."""
    for style in (
        CLEAR,
        style_of(base="grey"),
        style_of("veil"),
        style_of("clear", colormap="jet"),
    ):
        key = np.asarray(key_image(64, 201, style, SIGNED))
        for row, share in ((0, 1.0), (20, 0.8), (100, 0.0), (180, -0.8), (200, -1.0)):
            for column, grey in ((0, 20), (63, 242)):
                pixel = np.full((1, 1, 3), grey, np.uint8)
                (expected,) = paint(pixel, np.array([[share]]), style, signed=True)[0]
                assert np.abs(key[row, column].astype(int) - expected).max() <= 2, (style, share)


def test_the_numbers_say_what_the_ends_and_the_lines_stand_for():
    assert [one.text for one in marks(POSITIVE, CLEAR)] == ["8.25", "4.12", "0"]
    assert [one.text for one in marks(SIGNED, CLEAR)] == [
        "+12 for", "+6", "0", "-6", "-12 against"
    ]  # fmt: skip
    assert [one.share for one in marks(POSITIVE, style_of("print"))] == [1, 0.75, 0.5, 0.25, 0]
    assert [one.text for one in marks(FLOATING, CLEAR)] == ["0.67", "0.605", "0.54"]
    given = scale_of([np.array([0, 8.25])], limits=(2, 4))
    assert marks(given, CLEAR)[0].text == "4 or more"


def test_what_the_line_is_stands_below():
    assert notes(CLEAR, POSITIVE) == ("over dark → light", "line: half the maximum")
    assert notes(CLEAR, FLOATING)[1] == "line: half of the scale"
    assert notes(CLEAR, SIGNED)[2] == "dashed: against"
    assert notes(style_of("veil"), POSITIVE) == ("over dark → light",)


def test_a_scale_that_does_not_start_at_zero_has_a_break_and_an_empty_one_no_colour():
    with_break = np.asarray(key_image(40, 200, CLEAR, FLOATING))
    without = np.asarray(key_image(40, 200, CLEAR, POSITIVE))
    changed = np.flatnonzero((with_break != without).any((1, 2)))
    assert changed.min() > 170
    assert changed.max() < 200
    empty = np.asarray(key_image(40, 200, CLEAR, scale_of([np.zeros(3)]))).astype(int)
    assert (np.ptp(empty, axis=2) == 0).all()
