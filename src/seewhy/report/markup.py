"""Text and numbers as a page shows them."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

MINUS, NOTHING = "\u2212", "\u2013"
_MOST_SHOWN = 24  # options of one list; more are folded away
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def text(value: Any) -> str:
    """Any value as HTML text, or within double quotes as an attribute's value.

    Half surrogate pairs (a file name that is no UTF-8) and control characters, which no page may
    hold, are written as Python writes them.
    """
    plain = str(value).encode("utf-8", "backslashreplace").decode("utf-8")
    plain = re.sub(
        r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", lambda found: f"\\x{ord(found[0]):02x}", plain
    )
    return html.escape(plain, quote=True)


def name(value: Any) -> str:
    """A name from outside, whose direction of writing stays its own."""
    return f"<bdi>{text(value)}</bdi>"


def finite(value: Any) -> float | None:
    """A number, or None for what is none: null, NaN, infinite."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


@dataclass(frozen=True)
class Scale:
    """How the numbers that are compared with each other are written: all alike.

    Attributes:
        decimals: of each.
        power: of ten, by which they are divided; 0 but for very small and very large ones.
    """

    decimals: int = 3
    power: int = 0

    @classmethod
    def of(cls, values: Iterable[Any]) -> Scale:
        """Three digits for the largest: 3 decimals for shares."""
        largest = max((abs(v) for v in map(finite, values) if v is not None), default=0.0)
        if largest == 0:
            return cls()
        if not 1e-3 <= largest < 1e6:
            return cls(2, math.floor(math.log10(largest)))
        return cls(max(3 - math.ceil(math.log10(largest)), 0))

    def finer(self, values: Iterable[Any]) -> Scale:
        """With one more decimal, where that keeps a value that is not 0 from being written so."""
        known = [abs(v) for v in map(finite, values) if v]
        lost = [one for one in known if not round(one / 10.0**self.power, self.decimals)]
        return replace(self, decimals=self.decimals + 1) if lost else self

    @property
    def unit(self) -> str:
        """What each number is to be multiplied by, as text; empty for 1."""
        return f"× 10{str(self.power).translate(_RAISED)}" if self.power else ""

    def number(self, value: Any) -> str:
        """One of them; a dash for what is not defined."""
        known = finite(value)
        return NOTHING if known is None else number(known / 10.0**self.power, self.decimals)

    def interval(self, low: Any, high: Any) -> str:
        """Its two ends in brackets; nothing where there is none."""
        if finite(low) is None or finite(high) is None:
            return ""
        return f"[{self.number(low)}, {self.number(high)}]"


def number(value: float, decimals: int) -> str:
    """With a minus that is as wide as a plus, and none before 0."""
    written = f"{value:,.{decimals}f}"
    if not any(digit in written for digit in "123456789"):
        written = written.removeprefix("-")
    return written.replace("-", MINUS)


def value(setting: Any) -> str:
    """An option's value as HTML, exactly: mappings as lists, lists with commas."""
    if isinstance(setting, dict):
        return settings(setting) if setting else "none"
    if isinstance(setting, (list, tuple)):
        if any(isinstance(one, (dict, list, tuple)) for one in setting):
            return f"<ul>{''.join(f'<li>{value(one)}</li>' for one in setting)}</ul>"
        return ", ".join(value(one) for one in setting) or "none"
    if isinstance(setting, bool):
        return "yes" if setting else "no"
    if setting is None or setting == "":
        return "none"
    return name(setting)


def settings(options: dict[str, Any]) -> str:
    """Options by name; a long list, such as the classes of each label, is folded away."""
    rows = "".join(
        f"<div><dt>{text(str(key).replace('_', ' '))}</dt><dd>{value(setting)}</dd></div>"
        for key, setting in options.items()
    )
    if len(options) > _MOST_SHOWN:
        return f"<details><summary>{len(options):,} entries</summary><dl>{rows}</dl></details>"
    return f"<dl>{rows}</dl>" if rows else ""
