r"""Text in any script: a font that has the glyphs, or else the character's number, never boxes.

A character that no font on this machine can draw is written as Python writes it: `\u5c0f`.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import ImageFont

# Fonts that have a glyph for a character, but not the character's: a box with the block's name
# (Last Resort), nothing at all (Blank), TeX's pieces in places of their own (cm*, STIXNonUni).
_NOT_FOR_TEXT = ("lastresort", "last resort", "blank", "notdef", "tofu", "stixnonuni", "stixsiz")
_ESCAPES = "\\uU0123456789abcdefx"
_TEX = ("cmb10", "cmex10", "cmmi10", "cmr10", "cmss10", "cmsy10", "cmti10", "cmtt10")
# Small letters are drawn wider than large ones, fitted to whole pixels: matplotlib's by up to 3 %.
_WIDENED = 1.05


@dataclass(frozen=True)
class Lettering:
    """A text, and the file of a font that has every one of its characters."""

    text: str
    font: str


def lettering(text: str) -> Lettering:
    """`text` as it can be drawn on one line, with the font to draw it in.

    Line breaks become spaces, invisible characters go, and what no font has is escaped.
    """
    text = _plain(text)
    plain = plain_font()
    if _has(plain, text):
        return Lettering(text, plain)
    found = _lettering(text, fonts())
    if found.text != text:  # a font that was installed after matplotlib made its list may have it
        found = _lettering(text, (*fonts(), *fonts_not_listed()))
    return found


@lru_cache(maxsize=4096)
def _lettering(text: str, candidates: tuple[str, ...]) -> Lettering:
    wanted = _numbers(text)
    best, missing = candidates[0], wanted - _coverage(candidates[0], wanted)
    for candidate in candidates[1:]:
        if not missing:
            break
        lacking = wanted - _coverage(candidate, wanted)
        if len(lacking) < len(missing) and (not lacking or _has(candidate, _ESCAPES)):
            best, missing = candidate, lacking
    drawable = "".join(_escaped(c) if ord(c) in missing else c for c in text)
    return Lettering(drawable, best)


def fonts() -> tuple[str, ...]:
    """Font files, DejaVu Sans (which ships with matplotlib) first, then by how plain they are."""
    from matplotlib import font_manager

    def plainness(entry: font_manager.FontEntry) -> tuple[object, ...]:
        weight = entry.weight if isinstance(entry.weight, int) else 400
        return (
            entry.style != "normal",
            abs(weight - 400),
            entry.stretch != "normal",
            "sans" not in entry.name.lower(),
            entry.name,
            entry.fname,
        )

    usable = sorted(
        (
            entry
            for entry in font_manager.fontManager.ttflist
            if entry.name.lower() not in _TEX
            and not any(name in entry.name.lower() for name in _NOT_FOR_TEXT)
        ),
        key=plainness,
    )
    return tuple(dict.fromkeys([plain_font(), *(str(entry.fname) for entry in usable)]))


@lru_cache(maxsize=1)
def fonts_not_listed() -> tuple[str, ...]:
    """Font files that matplotlib's list, which it keeps on the disk, does not have yet."""
    from matplotlib import font_manager

    listed = {str(Path(entry.fname)) for entry in font_manager.fontManager.ttflist}
    found = {str(Path(file)) for file in font_manager.findSystemFonts()} - listed
    names = {file: Path(file).stem.lower().replace("-", "").replace("_", "") for file in found}
    usable = [
        file
        for file, name in names.items()
        if not any(one.replace(" ", "") in name for one in (*_NOT_FOR_TEXT, *_TEX))
    ]

    def plainness(file: str) -> tuple[object, ...]:
        slanted = any(word in names[file] for word in ("italic", "oblique"))
        heavy = any(word in names[file] for word in ("bold", "black", "light", "thin", "heavy"))
        return slanted, heavy, "sans" not in names[file], file

    return tuple(sorted(usable, key=plainness))


@lru_cache(maxsize=1)
def plain_font() -> str:
    """The file of DejaVu Sans, which ships with matplotlib; matplotlib is not loaded for it."""
    found = find_spec("matplotlib")
    if found is not None and found.origin is not None:
        file = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if file.exists():
            return str(file)
    from matplotlib import font_manager  # as a system's package it has its files elsewhere

    return str(font_manager.findfont("DejaVu Sans"))


def bold(font: str) -> str:
    """The file of the font's bold letters, where it is DejaVu Sans; else the font itself."""
    return font.replace("DejaVuSans.ttf", "DejaVuSans-Bold.ttf") if font == plain_font() else font


def wrap(line: Lettering, size: float, width: float, lines: int = 10**6) -> list[str]:
    """`line` broken into pieces of at most `width` at a font size of `size` (the same unit).

    Broken at spaces; a word too wide for a line is broken behind a hyphen, slash, dot or
    underline if it has one. What does not fit into `lines` is cut off, and dots say so.
    """
    words = line.text.split(" ")
    broken: list[str] = []
    current = ""
    while words:
        word = words.pop(0)
        longer = f"{current} {word}" if current else word
        if text_width(longer, line.font, size) <= width:
            current = longer
        elif current:
            broken.append(current)
            current = ""
            words.insert(0, word)
        else:
            fitting = _longest_start(word, line.font, size, width)
            behind = max(word.rfind(mark, 0, fitting) for mark in "-/._") + 1
            fitting = behind if behind > fitting / 3 else fitting
            broken.append(word[:fitting])
            words.insert(0, word[fitting:])
        if len(broken) > lines:
            break
    broken.append(current)
    if len(broken) > lines:
        last = _shortened(" ".join(broken[lines - 1 :]), line.font, size, width)
        broken = [*broken[: lines - 1], last]
    return broken


def wrap_with_end(
    label: str, end: str, size: float, width: float, lines: int
) -> tuple[list[str], str]:
    """`label` and `end` on at most so many lines, and their font; only the label is shortened."""
    whole = lettering(f"{label} · {end}" if label and end else label + end)
    broken = wrap(whole, size, width)
    if len(broken) <= lines:
        return broken, whole.font
    label = lettering(label).text
    low, high = 0, len(label)
    while high - low > 1:
        middle = (low + high) // 2
        shorter = lettering(f"{label[:middle].rstrip()}... · {end}")
        if len(wrap(shorter, size, width)) <= lines:
            low = middle
        else:
            high = middle
    shorter = lettering(f"{label[:low].rstrip()}... · {end}")
    return wrap(shorter, size, width, lines), shorter.font


def text_width(text: str, font: str, size: float) -> float:
    """How wide `text` is at most, at a font size of `size`, in the same unit."""
    return sum(_advance(font, character) for character in text) * size * _WIDENED


@lru_cache(maxsize=1 << 16)
def _advance(font: str, character: str) -> float:
    """How far a character moves the next one, at a font size of 1: letters are asked for often."""
    return float(pillow_font(font, 64).getlength(character)) / 64


@lru_cache(maxsize=64)
def pillow_font(font: str, size: float) -> ImageFont.FreeTypeFont:
    """The font file as Pillow draws it, `size` pixels."""
    from PIL import ImageFont

    return ImageFont.truetype(font, size, layout_engine=ImageFont.Layout.BASIC)


def short_number(value: float) -> str:
    """Three significant digits, in plain ASCII."""
    value = float(value)
    if not math.isfinite(value):
        return str(value)
    if 1000 <= abs(value) < 99999.5:
        return f"{value:.0f}"
    return f"{value + 0.0:.3g}"  # + 0.0: no "-0"


def short_probability(probability: float) -> str:
    """Two digits, more near 1, so that 1 is printed for nothing but 1."""
    if probability < 0.1 or not math.isfinite(probability):
        return f"{probability:.2g}"
    for digits in (2, 3, 4):
        text = f"{probability:.{digits}f}"
        if probability == 1 or float(text) < 1:
            return text
    return "> 0.9999"


def sentence(parts: Sequence[str | None]) -> str:
    """The parts that there are, with dots between."""
    return " · ".join(part for part in parts if part)


def _plain(text: str) -> str:
    characters = []
    for character in unicodedata.normalize("NFC", str(text)):
        category = unicodedata.category(character)
        if character.isspace():
            characters.append(" ")
        elif category in ("Cc", "Cs"):  # controls; halves of surrogate pairs, which are no text
            characters.append(_escaped(character))
        elif category != "Cf" and not 0xFE00 <= ord(character) <= 0xFE0F:
            # Left out: marks of direction, joiners, soft hyphens, variation selectors.
            characters.append(character)
    return " ".join("".join(characters).split())


def _escaped(character: str) -> str:
    number = ord(character)
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"


def _numbers(text: str) -> frozenset[int]:
    """The characters that a font must have, those that `wrap` may add among them."""
    return frozenset(map(ord, text + " ."))


def _has(font: str, text: str) -> bool:
    wanted = _numbers(text)
    return wanted == _coverage(font, wanted)


def _coverage(font: str, wanted: frozenset[int]) -> frozenset[int]:
    """Which of the characters `font` has."""
    known = _characters(font)
    if not known.size:
        return frozenset()
    asked = np.fromiter(wanted, np.int64, len(wanted))
    places = np.searchsorted(known, asked).clip(0, known.size - 1)
    return frozenset(int(number) for number in asked[known[places] == asked])


@lru_cache(maxsize=4096)
def _characters(font: str) -> np.ndarray:
    """The numbers of all characters of a font, sorted; none for a file that cannot be read.

    As an array: a set of a Chinese font's 60,000 would take 4 MB, and a machine may have hundreds.
    """
    from matplotlib.ft2font import FT2Font

    try:
        opened = FT2Font(font)
        if not opened.scalable:  # pictures of emoji, which matplotlib cannot draw
            return np.empty(0, np.int64)
        glyphs = opened.get_charmap()
    except (OSError, RuntimeError):  # gone since the list was made, or damaged
        return np.empty(0, np.int64)
    return np.array(sorted(number for number, glyph in glyphs.items() if glyph), np.int64)


def _longest_start(word: str, font: str, size: float, width: float) -> int:
    """How many of the word's first characters fit, at least one."""
    low, high = 1, len(word)
    while low < high:
        middle = (low + high + 1) // 2
        if text_width(word[:middle], font, size) <= width:
            low = middle
        else:
            high = middle - 1
    return low


def _shortened(text: str, font: str, size: float, width: float) -> str:
    room = width - text_width("...", font, size)
    return text[: _longest_start(text, font, size, room)].rstrip() + "..."
