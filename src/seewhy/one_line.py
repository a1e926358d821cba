"""Text that is safe to print: names and labels may hold anything, a terminal obeys some of it."""

from __future__ import annotations

import unicodedata

_JOINERS = "\u200c\u200d"  # of letters in Persian and of emoji; they move nothing on a terminal


def one_line(text: object) -> str:
    """The text on one line: white space becomes single spaces, control characters are escaped."""
    return printable(" ".join(str(text).split()))


def printable(text: object) -> str:
    r"""The text with its control characters as Python writes them: `\x1b`, `\n`.

    So are halves of surrogate pairs, which no encoding has, and marks that change the direction of
    writing, by which one file name can look like another. All else stays as it is.
    """
    return "".join(c if _harmless(c) else _escaped(c) for c in str(text))


def printable_lines(text: object) -> str:
    """The same of a text whose line breaks are meant."""
    return "\n".join(printable(line) for line in str(text).split("\n"))


def _harmless(character: str) -> bool:
    category = unicodedata.category(character)
    return category not in ("Cc", "Cf", "Cs", "Zl", "Zp") or character in _JOINERS


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")
