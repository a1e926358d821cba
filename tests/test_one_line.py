"""Text that is safe to print."""

from __future__ import annotations

import pytest

from seewhy.one_line import one_line, printable, printable_lines


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("tabby, tabby cat", "tabby, tabby cat"),
        (
            "Müller × 小猫 👩‍🔬 ❤️ נ",
            "Müller × 小猫 👩‍🔬 ❤️ נ",
        ),
        ("می‌خواهم", "می‌خواهم"),
        ("a  b\u00a0c", "a  b\u00a0c"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x9b31m", r"\x9b31m"),  # the same in one character
        ("a\tb\r\n\x00\x7f", r"a\tb\r\n\x00\x7f"),
        ("gpj.\u202egnp", r"gpj.\u202egnp"),
        ("a\u2028b", r"a\u2028b"),
        ("\udcff.png", r"\udcff.png"),
        (3, "3"),
    ],
)
def test_controls_are_escaped_and_all_else_stays(text: object, printed: str) -> None:
    assert printable(text) == printed
    printable(text).encode()


def test_white_space_becomes_single_spaces_on_one_line() -> None:
    assert one_line(" a\n  b\t\x1b c ") == r"a b \x1b c"


def test_meant_line_breaks_stay() -> None:
    assert printable_lines("a\n\x1bb\r\n\n") == "a\n\\x1bb\\r\n\n"
