"""How often the model is right, what it confuses, and the pictures that it gets wrong."""

from __future__ import annotations

from collections.abc import Sequence

from seewhy.report.account import drawn
from seewhy.report.markup import Scale, finite, name
from seewhy.report.values import Entry, Measured, entries, mapping
from seewhy.report.words import counted, whole

_CONFUSED = 20  # pairs of classes that are shown at once; the others are folded away
_SHARE = Scale(3)


def right_and_wrong(results: Entry, evaluation: Measured) -> str:
    """The accuracy with its interval, the confusion, the wrong pictures with both maps."""
    decisions = mapping(results, "decisions")
    count = finite(decisions.get("count"))
    if not count:
        return ""
    wrong = entries(decisions, "wrong")
    spread = _SHARE.interval(decisions.get("low"), decisions.get("high"))
    said = (
        f"<p>The first class of {whole(decisions.get('right'))} of {counted(count, 'image')} is "
        f"right: an accuracy of <b>{_SHARE.number(decisions.get('accuracy'))}</b> {spread} "
        f"({evaluation.level}, Clopper-Pearson).</p>"
    )
    return said + _confusion(decisions) + _both_maps(decisions, wrong) + _listed(wrong)


def _confusion(decisions: Entry) -> str:
    confused = [one for one in entries(decisions, "confusion") if not one.get("right")]
    if not confused:
        return ""
    shown = _pairs(confused[:_CONFUSED])
    more = confused[_CONFUSED:]
    folded = (
        f"<details><summary>{counted(len(more), 'more pair')}</summary>{_pairs(more)}</details>"
        if more
        else ""
    )
    return f"<h3>What is taken for what</h3>{shown}{folded}"


def _pairs(confused: Sequence[Entry]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{name(one.get("label_name"))}</th>'
        f"<td>{name(one.get('predicted'))}</td>"
        f'<td class="figure">{whole(one.get("count"))}</td></tr>'
        for one in confused
    )
    return (
        '<div class="scroll"><table class="words"><thead><tr><th scope="col">Label</th>'
        '<th scope="col">Predicted</th><th scope="col">Images</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _both_maps(decisions: Entry, wrong: Sequence[Entry]) -> str:
    shown = [one for one in wrong if mapping(one, "pictures")]
    if not shown:
        return ""
    cards = "".join(f'<div class="card pair">{_pair(one)}</div>' for one in shown)
    method = f", by {name(decisions['method'])}" if decisions.get("method") else ""
    return (
        "<h3>Wrong images, the surest first</h3><p>Left the map of the predicted class, right that "
        f'of the true one{method}.</p><div class="cards">{cards}</div>'
    )


def _pair(one: Entry) -> str:
    figures = []
    for kind, class_, probability in (
        ("predicted", "predicted_name", "probability"),
        ("true", "true_name", "true_probability"),
    ):
        called = str(one.get(class_))
        picture = drawn(mapping(one, "pictures").get(kind), f"{called}, {one.get('record')}")
        figures.append(
            f"<figure>{picture}<figcaption><b>{_SHARE.number(one.get(probability))}</b>"
            f"<span>{kind}: {name(called)}</span></figcaption></figure>"
        )
    label = one.get("label")
    said = f", labelled {name(label)}" if label != one.get("true_name") else ""
    return (
        f'<div class="row two">{"".join(figures)}</div>'
        f'<p class="note">{name(one.get("record"))}{said}</p>'
    )


def _listed(wrong: Sequence[Entry]) -> str:
    if not wrong:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{name(one.get("record"))}</th>'
        f"<td>{', '.join(name(label) for label in one.get('labels') or ())}</td>"
        f'<td class="figure">{_SHARE.number(one.get("true_probability"))}</td>'
        f"<td>{name(one.get('predicted_name'))}</td>"
        f'<td class="figure">{_SHARE.number(one.get("probability"))}</td></tr>'
        for one in wrong
    )
    return (
        f"<details><summary>All {counted(len(wrong), 'wrong image')}</summary>"
        '<div class="scroll"><table class="words"><thead><tr><th scope="col">Image</th>'
        '<th scope="col">Labels</th><th scope="col">Probability</th>'
        '<th scope="col">Predicted</th><th scope="col">Probability</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></details>"
    )
