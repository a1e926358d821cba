"""The sentences on top of an evaluation's page follow from its figures."""

from __future__ import annotations

import re
from typing import Any

import pytest

from seewhy.report.values import read
from seewhy.report.verdict import verdict

METHODS = ("one", "two")


def evaluation(
    means: dict[str, dict[str, float]],
    clear: tuple[tuple[str, str, str], ...] = (),
    n: int = 100,
    tests: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Values of an evaluation in which the differences of `clear` (metric, method, to) are clear.

    The differences are to "one"; a metric's higher mean is better.
    """
    results = [
        {"method": method, "metric": metric, "subset": "all", "n": n, "mean": mean}
        for metric, own in means.items()
        for method, mean in own.items()
    ]
    results += [
        {
            "method": method,
            "metric": "sanity",
            "subset": "all",
            "n": n,
            "mean": 0.9,
            "verdict": said,
        }
        for method, said in (tests or {}).items()
    ]
    differences = []
    for metric, own in means.items():
        for method in own:
            if method == "one":
                continue
            gap = own[method] - own["one"]
            told = (metric, method, "one") in clear
            ends = (gap / 2, gap * 1.5) if told else (-1.0, 1.0)
            differences.append(
                {
                    "method": method, "to": "one", "metric": metric, "subset": "all",
                    "mean": gap, "low": min(ends), "high": max(ends), "p": 0.01 if told else 0.5,
                }
            )  # fmt: skip
    names = dict.fromkeys(name for own in means.values() for name in own)
    titles = [*means, *(["sanity"] if tests else [])]
    return {
        "methods": [{"name": name, "baseline": name.startswith("base")} for name in names],
        "metrics": [
            {"name": name, "title": name.capitalize(), "better": "higher"} for name in titles
        ],
        "results": results,
        "differences": differences,
    }


def said(values: dict[str, Any]) -> tuple[str, list[str]]:
    """The heading, and the sentences below it, without their tags."""
    html = verdict(read(values))
    heading = re.findall(r'<p class="verdict">(.*?)</p>', html)
    items = re.findall("<li>(.*?)</li>", html)
    plain = [re.sub("<[^>]*>", "", one) for one in [*heading, *items]]
    return plain[0], plain[1:]


def test_the_one_that_none_beats() -> None:
    means = {"road": {"one": 0.5, "two": 0.3}, "energy": {"one": 0.5, "two": 0.52}}
    heading, rest = said(evaluation(means, (("road", "two", "one"),)))
    assert heading == "Use one: no other method is clearly better by any metric."
    assert rest == [
        "two is clearly worse by Road (0.300, one 0.500).",
        "No two methods differ clearly by Energy.",
    ]


def test_each_is_beaten_once() -> None:
    means = {"road": {"one": 0.5, "two": 0.3}, "energy": {"one": 0.5, "two": 0.7}}
    clear = (("road", "two", "one"), ("energy", "two", "one"))
    heading, rest = said(evaluation(means, clear))
    assert heading.startswith("No method is best throughout")
    assert len(rest) == 2


def test_none_differs() -> None:
    means = {"road": {"one": 0.5, "two": 0.49}}
    assert said(evaluation(means)) == ("No metric clearly separates one and two.", [])
    heading, _ = said(evaluation(means, n=8))
    assert heading.startswith("No verdict: on 8 images the methods cannot be told apart.")


def test_a_failed_test_outweighs_the_figures() -> None:
    means = {"road": {"one": 0.5, "two": 0.3}}
    values = evaluation(means, (("road", "two", "one"),), tests={"one": "fails", "two": "open"})
    heading, rest = said(values)
    assert heading.startswith("No method is best throughout")
    assert any(one.startswith("one fails Sanity: its map hardly changes") for one in rest)
    assert "two: Sanity stays open; more images would decide it." in rest


@pytest.mark.parametrize("clear", [True, False])
def test_a_baseline_that_does_as_well_is_named(clear: bool) -> None:
    means = {"pointing": {"one": 0.9, "base": 0.8}}
    values = evaluation(means, (("pointing", "base", "one"),) if clear else ())
    heading, rest = said(values)
    if clear:
        assert heading == "one is clearly better than every baseline by Pointing."
        assert rest == []
    else:
        assert heading == "one was measured; it is not clearly better than the baselines."
        assert rest == [
            "Pointing says nothing for these maps: no method is clearly better than the baseline "
            "base, which looks at no model."
        ]


def test_nothing_was_measured() -> None:
    assert verdict(read({"methods": [], "metrics": [], "results": []})) == ""
