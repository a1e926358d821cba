"""What stands behind the figures: single images, problems, and the protocol."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from seewhy.report.markup import NOTHING, Scale, finite, name, settings, text, value
from seewhy.report.values import Entry, Measured, Metric, entries, mapping, names
from seewhy.report.words import better_side, class_attribute, named, whole

# The only pictures that go onto the page: an address would be fetched from elsewhere.
_PICTURE = re.compile(r"data:image/(?:jpeg|png|webp|gif);base64,[A-Za-z0-9+/]+=*")


_KINDS = {
    "apart": "the methods differ most here",
    "worst": "the worst",
    "best": "the best",
}
_NUMBER = re.compile(r"n?\d+")  # a class's number, or ImageNet's name for it


def single_images(results: Entry, evaluation: Measured) -> str:
    """By each metric that separates, some images with the maps of all methods side by side."""
    images = entries(results, "images")
    parts = []
    for metric in evaluation.metrics:
        own = [image for image in images if str(image.get("metric")) == metric.name]
        rows = "".join(
            _compared([one for one in own if _shown(one) == shown], evaluation, metric)
            for shown in dict.fromkeys(map(_shown, own))
        )
        if rows:
            parts.append(
                f"<h3>By {text(metric.title)}{better_side(metric)}</h3>"
                f'<div class="sheet">{rows}</div>'
            )
    return "".join(parts)


def _shown(image: Entry) -> tuple[str, str, str]:
    """Which image, for which label, and why it is shown."""
    return (str(image.get("kind")), str(image.get("record")), str(image.get("label")))


def _compared(images: Sequence[Entry], evaluation: Measured, metric: Metric) -> str:
    """One image: as it is, and with each method's map."""
    first = images[0]
    record, label, explained = (first.get(part) for part in ("record", "label", "explained"))
    shown = next((one for one in (explained, label) if one not in (None, "")), "")
    class_ = name(shown) if shown else ""
    alt = ", ".join(str(one) for one in (label, record) if one not in (None, ""))
    kind = str(first.get("kind"))
    told = [class_ and f"<b>{class_}</b>", f"<span>{text(_KINDS.get(kind, kind))}</span>"]
    if explained not in (None, "", label) and not _NUMBER.fullmatch(str(label)):
        told.append(f"<span>labelled {name(label)}</span>")
    told.append(f"<span>{name(record)}</span>" if record else "")
    words = "".join(told)
    cells = []
    plain = next((drawn(one["plain"], alt) for one in images if one.get("plain")), "")
    if plain:
        cells.append(f"<figure>{plain}<figcaption>{words}</figcaption></figure>")
    for method in evaluation.methods:
        for one in images:
            if str(one.get("method")) != method.name:
                continue
            said = "" if plain or cells else words
            cells.append(
                f"<figure>{drawn(one.get('picture'), alt)}<figcaption>{said}"
                f"<b>{metric.scale.number(one.get('value'))}</b>"
                f"<span>{name(method.name)}</span></figcaption></figure>"
            )
    return f'<div class="images">{"".join(cells)}</div>'


def drawn(source: Any, alt: str) -> str:
    """A picture that is in the page itself; nothing for an address or for none."""
    if not _PICTURE.fullmatch(str(source or "")):
        return ""
    return f'<img src="{source}" alt="{text(alt)}">'


def problems_of(results: Entry) -> str:
    """How many records became what, and why some could not be used."""
    counts, problems = mapping(results, "counts"), entries(results, "problems")
    parts = []
    if counts:
        rows = "".join(
            f"<div><dt>{text(str(one).replace('_', ' '))}</dt><dd>{whole(count)}</dd></div>"
            for one, count in counts.items()
        )
        parts.append(f'<dl class="counts">{rows}</dl>')
    if problems:
        rows = "".join(
            f'<tr><th scope="row">{name(problem.get("record", NOTHING))}</th>'
            f"<td>{name(problem.get('reason', NOTHING))}</td></tr>"
            for problem in problems
        )
        parts.append(
            '<p>These are in no figure of this page.</p><div class="scroll">'
            '<table class="words"><thead><tr><th scope="col">Record</th>'
            f'<th scope="col">Reason</th></tr></thead><tbody>{rows}</tbody></table></div>'
        )
    return "".join(parts)


def protocol_of(results: Entry, evaluation: Measured) -> str:
    """Everything that moves the figures: the run, each metric, each method."""
    parts = []
    protocol = mapping(results, "protocol")
    cards = []
    if protocol:
        cards.append(f'<div class="card"><h3>The run</h3>{settings(dict(protocol))}</div>')
    for metric in evaluation.metrics:
        entry = metric.entry
        says = f"<p>{text(entry['says'])}</p>" if entry.get("says") else ""
        source = f'<p class="note">{text(entry["source"])}</p>' if entry.get("source") else ""
        options = settings(dict(mapping(entry, "protocol")))
        own = [row for row in evaluation.results.values() if row.get("metric") == metric.name]
        kinds = [one for one in names(own, "interval") if one]
        if kinds and entry:
            source += f'<p class="note">Interval: {text("; ".join(kinds))}.</p>'
        if says or source or options:
            cards.append(
                f'<div class="card"><h3>{text(metric.title)}{better_side(metric)}</h3>'
                f"{says}{source}{options}</div>"
            )
    if cards:
        parts.append(
            "<p>A figure is only comparable under the same protocol.</p>"
            f'<div class="cards protocol">{"".join(cards)}</div>'
        )
    parts.append(_method_table(evaluation))
    inner = "".join(parts)
    if not inner:
        return ""
    summary = "<summary>Everything that moves the figures</summary>"
    return f'<details class="folded">{summary}{inner}</details>'


def _method_table(evaluation: Measured) -> str:
    """What each method was run with, and what it cost; columns that say nothing are left out."""
    described = [method for method in evaluation.methods if method.entry]
    scale = Scale.of(method.entry.get("seconds") for method in described)
    columns = {
        "Layer": {m.name: name(m.entry["layer"]) for m in described if m.entry.get("layer")},
        "Options": {
            m.name: ", ".join(
                f"{text(option)}: {value(setting)}"
                for option, setting in m.entry["options"].items()
            )
            for m in described
            if mapping(m.entry, "options")
        },
        f"Seconds an image {scale.unit}".strip(): {
            m.name: scale.number(m.entry.get("seconds"))
            for m in described
            if finite(m.entry.get("seconds")) is not None
        },
    }
    columns = {title: column for title, column in columns.items() if column}
    if not columns:
        return ""
    side = {
        title: class_attribute("figure" if title.startswith("Seconds") else "") for title in columns
    }
    heads = "".join(f'<th scope="col">{title}</th>' for title in columns)
    rows = "".join(
        f'<tr><th scope="row">{named(method)}</th>'
        + "".join(
            f"<td{side[title]}>{column.get(method.name, NOTHING)}</td>"
            for title, column in columns.items()
        )
        + "</tr>"
        for method in described
    )
    return (
        '<div class="scroll protocol"><table class="words"><thead><tr><th scope="col">Method</th>'
        f"{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
