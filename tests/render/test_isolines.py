from __future__ import annotations

import numpy as np

from seewhy.render.isolines import draw_lines


def ramp(side: int = 60) -> np.ndarray:
    return np.linspace(0, 1, side, dtype=np.float32)[None].repeat(side, 0)


def drawn(shares: np.ndarray, levels=((0.5, 1.0),), **options) -> np.ndarray:
    picture = np.full((*shares.shape, 3), 120, np.uint8)
    options.setdefault("signed", False)
    draw_lines(picture, shares, levels, **options)
    return picture[..., 0].astype(int)


def test_a_white_line_in_a_dark_casing_lies_where_the_value_is():
    got = drawn(ramp())
    assert (got == got[0]).all()
    changed = np.flatnonzero(got[0] != 120)
    assert changed.min() >= 26
    assert changed.max() <= 33
    assert abs(changed.mean() - 29.5) < 0.6  # the level lies between 29 and 30
    assert got[0].max() > 190  # between two pixels, which share it
    assert got[0].min() < 60


def test_lines_against_are_dashed_and_lines_for_are_not():
    shares = 2 * ramp() - 1
    got = drawn(shares.T, signed=True)
    rows = np.flatnonzero((got != 120).any(1))
    against, solid = got[rows.min() : 30], got[30:]
    assert (solid.max(0) > 200).all()
    assert 0.3 < (against.max(0) > 200).mean() < 0.7


def test_a_wider_line_is_wider_and_one_without_the_value_is_none():
    assert (drawn(ramp(), width=3.0)[0] != 120).sum() > 2 * (drawn(ramp())[0] != 120).sum()
    assert (drawn(0.4 * ramp()) == 120).all()
    assert (drawn(np.zeros((1, 5), np.float32)) == 120).all()


def test_specks_have_no_lines_and_small_pictures_do():
    specks = np.zeros((200, 200), np.float32)
    specks[::9, ::9] = 1
    assert (drawn(specks) == 120).all()
    small = np.zeros((12, 12), np.float32)
    small[4:7, 4:7] = 1
    assert (drawn(small) != 120).any()


def test_nan_has_no_line():
    shares = ramp()
    shares[:20] = np.nan
    got = drawn(shares)
    assert (got[:18] == 120).all()
    assert (got[25] != 120).any()
