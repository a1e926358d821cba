from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seewhy.render import text
from seewhy.render.text import (
    fonts,
    lettering,
    plain_font,
    short_number,
    short_probability,
    text_width,
    wrap,
    wrap_with_end,
)


def has_all_glyphs(line: text.Lettering) -> bool:
    from matplotlib.ft2font import FT2Font

    glyphs = FT2Font(line.font).get_charmap()
    return all(glyphs.get(ord(character), 0) for character in line.text)


@pytest.fixture
def only_plain(monkeypatch):
    monkeypatch.setattr(text, "fonts", lambda: (plain_font(),))
    monkeypatch.setattr(text, "fonts_not_listed", lambda: ())


@pytest.mark.parametrize(
    "label", ["tabby, tabby cat", "Müller’s čaj", "кошка", "γάτα", "a · b × c"]
)
def test_latin_greek_and_cyrillic_are_drawn_as_they_are(label):
    assert lettering(label) == text.Lettering(label, plain_font())


def test_what_no_font_has_is_escaped(only_plain):
    assert lettering("小猫 cat").text == "\\u5c0f\\u732b cat"
    assert lettering("\U0002000b!").text == "\\U0002000b!"


def test_a_font_of_the_system_that_has_the_glyphs_is_taken():
    from matplotlib.ft2font import FT2Font

    # A font that comes with matplotlib stands in for a system's Chinese one.
    other = next(font for font in fonts() if font.endswith("STIXGeneral.ttf"))
    ours = FT2Font(plain_font()).get_charmap()
    theirs = FT2Font(other).get_charmap()
    only_theirs = next(
        chr(number)
        for number in sorted(theirs)
        if number not in ours and unicodedata.category(chr(number)) in ("Lu", "Ll", "Sm", "So")
    )
    line = lettering(f"cat {only_theirs}")
    assert line.font != plain_font()
    assert line.text == f"cat {only_theirs}"
    assert has_all_glyphs(line)


def test_the_font_with_the_most_glyphs_is_taken_and_the_rest_escaped(monkeypatch):
    known = {"plain": "cat ", "chinese": "cat 小猫", "symbols": "☃"}
    for name in known:
        known[name] += "" if name == "symbols" else ".\\uUx0123456789abcdef"

    def characters(font: str) -> np.ndarray:
        return np.array(sorted(map(ord, known[font])))

    monkeypatch.setattr(text, "_characters", characters)
    monkeypatch.setattr(text, "plain_font", lambda: "plain")
    monkeypatch.setattr(text, "fonts", lambda: ("plain", "symbols", "chinese"))
    monkeypatch.setattr(text, "fonts_not_listed", lambda: ())
    text._lettering.cache_clear()
    assert lettering("cat") == text.Lettering("cat", "plain")
    assert lettering("小猫 cat") == text.Lettering("小猫 cat", "chinese")
    assert lettering("小猫 ☃") == text.Lettering("小猫 \\u2603", "chinese")
    assert lettering("☃") == text.Lettering(
        "\\u2603", "plain"
    )  # symbols could not write the escape
    text._lettering.cache_clear()


def test_a_font_that_was_installed_after_matplotlib_made_its_list_is_found(monkeypatch, tmp_path):
    """The list is kept on the disk, and a Chinese font is often what is installed last."""
    import shutil

    from matplotlib import font_manager

    other = next(font for font in fonts() if font.endswith("STIXGeneral.ttf"))
    new = tmp_path / "JustInstalledSans.ttf"
    shutil.copy(other, new)
    ours = set(text._characters(plain_font()).tolist())
    only = next(
        chr(number)
        for number in text._characters(other).tolist()
        if number not in ours and unicodedata.category(chr(number)) in ("Lu", "Ll", "Sm", "So")
    )
    listed = [one for one in font_manager.fontManager.ttflist if one.name == "DejaVu Sans"]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", listed)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(new), plain_font()])
    text.fonts_not_listed.cache_clear()
    text._lettering.cache_clear()
    try:
        assert lettering(f"cat {only}") == text.Lettering(f"cat {only}", str(new))
    finally:
        text.fonts_not_listed.cache_clear()
        text._lettering.cache_clear()


def test_fonts_of_boxes_and_of_pieces_are_never_taken():
    names = [font.rsplit("/", 1)[-1] for font in fonts()]
    assert names[0] == "DejaVuSans.ttf"
    assert not [name for name in names if name.startswith(("LastResort", "cm", "STIXSiz"))]


def test_a_font_that_is_gone_counts_as_empty(tmp_path):
    damaged = tmp_path / "damaged.ttf"
    damaged.write_bytes(b"not a font")
    assert text._characters(str(damaged)).size == 0
    assert text._characters(str(tmp_path / "gone.ttf")).size == 0


def test_line_breaks_and_controls_are_harmless():
    assert lettering("a\nb\tc\r\n d\u2028e").text == "a b c d e"
    assert lettering("a\x1b[31mb\x00").text == "a\\u001b[31mb\\u0000"
    assert lettering("abc\u202edef\u200b\ufe0f").text == "abcdef"  # no turning round
    assert lettering("x\ud83dy").text == "x\\ud83dy"
    assert lettering("e\u0301") == lettering("é")


@settings(deadline=None)
@given(st.text(max_size=40))
def test_every_text_is_drawable(label):
    line = lettering(label)
    assert has_all_glyphs(line)
    assert line.text.isprintable()


@settings(deadline=None)
@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"])), st.integers(20, 300))
def test_wrapped_lines_fit_and_lose_nothing(label, width):
    line = lettering(label)
    broken = wrap(line, 10, width)
    assert "".join(broken).replace(" ", "") == line.text.replace(" ", "")
    assert all(text_width(one, line.font, 10) <= width for one in broken)


def test_words_stay_whole_and_long_ones_break_behind_a_mark():
    line = lettering("the quick brown fox")
    room = text_width("brown fox", line.font, 10) + 1
    assert wrap(line, 10, room) == ["the quick", "brown fox"]
    name = lettering("torchvision/resnet50")
    room = text_width("torchvision/resn", name.font, 10)
    assert wrap(name, 10, room) == ["torchvision/", "resnet50"]


def test_what_does_not_fit_is_cut_off_with_dots():
    line = lettering("word " * 100)
    broken = wrap(line, 10, 100, lines=2)
    assert len(broken) == 2
    assert broken[1].endswith("...")
    assert all(text_width(one, line.font, 10) <= 100 for one in broken)


@pytest.mark.parametrize("label", ["tabby", "word " * 100, "x" * 500, "小猫" * 100, ""])
def test_the_numbers_survive_however_long_the_label(label):
    lines, font = wrap_with_end(label, "p 0.62 · score 8.31", 10, 200, lines=2)
    assert len(lines) <= 2
    assert " ".join(lines).endswith("p 0.62 · score 8.31")
    assert all(text_width(one, font, 10) <= 200 for one in lines)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (8.3141, "8.31"), (0.00012345, "0.000123"), (-0.0, "0"), (1234.56, "1235"),
        (99999.4, "99999"), (123456, "1.23e+05"), (-2.5, "-2.5"), (1e-9, "1e-09"),
        (float("nan"), "nan"), (float("-inf"), "-inf"),
    ],
)  # fmt: skip
def test_numbers_have_three_digits(value, expected):
    assert short_number(value) == expected


@pytest.mark.parametrize(
    ("probability", "expected"),
    [
        (0.6213, "0.62"), (0.05, "0.05"), (0.00312, "0.0031"), (1.0, "1.00"), (0.997, "0.997"),
        (0.9996, "0.9996"), (0.99999999, "> 0.9999"), (0.0, "0"), (float("nan"), "nan"),
    ],
)  # fmt: skip
def test_only_certainty_is_printed_as_one(probability, expected):
    assert short_probability(probability) == expected
