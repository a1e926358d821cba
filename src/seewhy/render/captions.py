"""Words above, beside and below pictures: broken into lines before there is a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seewhy.render.page import LINE
from seewhy.render.text import Lettering, bold, lettering, wrap

if TYPE_CHECKING:
    from seewhy.render.page import Page


@dataclass(frozen=True)
class Written:
    """Lines in one font, size and colour.

    Attributes:
        lines: from above.
        font: its file.
        size: in points.
        color: as CSS writes it.
    """

    lines: tuple[str, ...]
    font: str
    size: float
    color: str

    @property
    def height(self) -> float:
        """In points."""
        return LINE * self.size * len(self.lines)


def written(
    text: str,
    size: float,
    width: float,
    lines: int,
    *,
    color: str = "black",
    strong: bool = False,
) -> Written:
    """The text in at most so many lines of a width; no line for no text."""
    line = lettering(text)
    font = bold(line.font) if strong else line.font
    broken = wrap(Lettering(line.text, font), size, width, lines) if line.text else []
    return Written(tuple(broken), font, size, color)


def height_of(words: Sequence[Written]) -> float:
    """In points, one below the other."""
    return sum(one.height for one in words)


def write(page: Page, words: Sequence[Written], x: float, top: float) -> None:
    """One below the other, from their left edge."""
    for one in words:
        page.write(one.lines, one.font, one.size, x, top, color=one.color)
        top += one.height
