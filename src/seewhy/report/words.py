"""Names, counts and headings of an evaluation's page, written alike everywhere."""

from __future__ import annotations

from typing import Any

from seewhy.report.markup import NOTHING, Scale, finite, name, text
from seewhy.report.plots import key
from seewhy.report.values import ALL, Method, Metric


def named(method: Method) -> str:
    """A method's name behind the sample of its line."""
    return f'<span class="name">{key(method.style)}<span>{name(method.name)}</span></span>'


def better_side(metric: Metric) -> str:
    """Which side is better, as a small note; nothing where none is."""
    words = {"higher": "↑ higher is better", "lower": "↓ lower is better"}
    said = words.get(metric.better or "")
    return f' <small class="way">{said}</small>' if said else ""


def heading(metric: Metric) -> str:
    """A metric's title with its better side and its unit."""
    return f"<h3>{text(metric.title)}{better_side(metric)}{unit(metric.scale)}</h3>"


def unit(scale: Scale) -> str:
    """What the numbers are to be multiplied by, as a small note."""
    return f' <small class="way">{scale.unit}</small>' if scale.unit else ""


def subset_title(subset: str) -> str:
    """A subset's name as a heading."""
    return "All images" if subset == ALL else subset.capitalize()


def counted(count: Any, thing: str) -> str:
    """A count and its noun: `1 image`, `2 images`."""
    return f"{whole(count)} {thing}{'' if count == 1 else 's'}"


def whole(count: Any) -> str:
    """A count with commas between thousands; any other value as it is."""
    known = finite(count)
    return text(count) if known is None or known != int(known) else f"{int(known):,}"


def exact(known: float | None) -> str:
    """A number as short as it can be said; a dash for none."""
    return NOTHING if known is None else f"{known:g}".replace("-", "\u2212")


def class_attribute(style: str) -> str:
    """The attribute that gives an element a style; nothing for no style."""
    return f' class="{style}"' if style else ""
