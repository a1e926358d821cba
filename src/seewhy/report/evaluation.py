"""The page of an evaluation: one HTML file from the values of its `evaluation.json`, nothing else.

It stands by itself: style, script and pictures are in it, it names no address, and the browser is
told to fetch none. Without its script everything is there but sorting.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from seewhy.errors import DataError
from seewhy.report.account import problems_of, protocol_of, single_images
from seewhy.report.decisions import right_and_wrong
from seewhy.report.intervals import mean_curves, paired_differences
from seewhy.report.markup import finite, name, text
from seewhy.report.style import SCRIPT, STYLE
from seewhy.report.tables import hard_subsets, main_table
from seewhy.report.values import Entry, Measured, mapping, read
from seewhy.report.verdict import verdict
from seewhy.report.words import counted, whole

FORMAT = "seewhy evaluation 1"


def evaluation_page(results: dict[str, Any]) -> str:
    """The page of what `evaluation.json` holds.

    Args:
        results: the JSON's values. A part that is missing or empty has no place on the page; null
            and NaN are not defined and shown as a dash.

    Returns:
        The text of the HTML file, to be written as UTF-8.

    Raises:
        DataError: these are no values of an evaluation.
    """
    if not isinstance(results, dict) or results.get("format") != FORMAT:
        came = results.get("format") if isinstance(results, dict) else type(results).__name__
        raise DataError(
            f"an evaluation of the format {came!r} came; '{FORMAT}' is wanted, as "
            "`seewhy evaluate` writes it to evaluation.json."
        )
    evaluation = read(results)
    sections = [
        ("verdict", "Verdict", verdict(evaluation)),
        ("results", "Results", main_table(evaluation)),
        ("images", "The maps", single_images(results, evaluation)),
        ("decisions", "Right and wrong", right_and_wrong(results, evaluation)),
        ("hard", "Hard subsets", hard_subsets(evaluation)),
        ("differences", "Paired differences", paired_differences(evaluation)),
        ("curves", "Curves", mean_curves(results, evaluation)),
        ("problems", "Records and problems", problems_of(results)),
        ("protocol", "Protocol", protocol_of(results, evaluation)),
    ]
    sections = [section for section in sections if section[2]]
    links = "".join(f'<a href="#{place}">{title}</a>' for place, title, _ in sections)
    body = "".join(
        f'<section><h2 id="{place}">{title}</h2>{inner}</section>'
        for place, title, inner in sections
    )
    allowed = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{allowed}'; base-uri 'none'; form-action 'none'"
    )
    protocol = mapping(results, "protocol")
    model, data = (protocol.get(part) for part in ("model", "data"))
    heading = " on ".join(name(part) for part in (model, data) if part) or "Evaluation"
    title = " on ".join(str(part) for part in (model, data) if part) or "evaluation"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)} · seewhy evaluation</title><style>{STYLE}</style></head>\n<body>"
        f'<header><p class="over">seewhy evaluation</p><h1>{heading}</h1>'
        f"{_lead(results, evaluation)}<nav>{links}</nav></header>\n<main>{body}</main>\n"
        '<footer class="note">Written by seewhy from evaluation.json, which has these numbers in '
        f"full.</footer><script>{SCRIPT}</script></body></html>\n"
    )


def _lead(results: Entry, evaluation: Measured) -> str:
    """One sentence: what was measured on what."""
    protocol, counts = mapping(results, "protocol"), mapping(results, "counts")
    methods = sum(not method.baseline for method in evaluation.methods)
    baselines = len(evaluation.methods) - methods
    who = f"{counted(methods, 'method')}" + (
        f" and {counted(baselines, 'baseline')}" if baselines else ""
    )
    used, records = counts.get("used", protocol.get("images")), counts.get("records")
    images = ""
    if finite(used) is not None and finite(records) is not None and records != used:
        images = f" on {whole(used)} of {counted(records, 'image')}"
    elif finite(used) is not None:
        images = f" on {counted(used, 'image')}"
    if protocol.get("only_correct"):
        images += " (those that the model classifies correctly)"
    target = protocol.get("target")
    known = {
        "label": "the class that the image is labelled with",
        "predicted": "the class that the model predicts",
    }
    aim = f"; each map is for {known.get(str(target), name(target))}" if target else ""
    return (
        f'<p class="lead-in">The maps of {who}, measured by '
        f"{counted(len(evaluation.metrics), 'metric')}{images}{aim}.</p>"
    )
