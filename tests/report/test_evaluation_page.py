"""The page of an evaluation, read back as a browser does."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import math
import re
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from report.sample import METHODS, SUBSETS, sample
from seewhy.errors import DataError
from seewhy.report.evaluation import evaluation_page
from seewhy.report.markup import Scale
from seewhy.report.plots import apart, ticks

VOID = {"meta", "br", "img", "col", "link", "input", "hr"}
# File names and labels can be anything.
HASTY = "‹awkward› <b>&amp;\"' onerror=alert(1) </script><!--"


@dataclass
class Node:
    tag: str
    attributes: dict[str, str | None]
    children: list[Node | str] = field(default_factory=list, repr=False)

    @property
    def text(self) -> str:
        parts = (child if isinstance(child, str) else child.text for child in self.children)
        if self.tag in ("td", "th", "tr", "div", "figcaption", "dl"):
            return re.sub(" +", " ", " ".join(parts))
        return "".join(parts)

    def all(self, tag: str, style: str | None = None) -> list[Node]:
        found = []
        for child in self.children:
            if isinstance(child, Node):
                styles = (child.attributes.get("class") or "").split()
                if child.tag == tag and (style is None or style in styles):
                    found.append(child)
                found += child.all(tag, style)
        return found


class Reader(HTMLParser):
    """A tree; an element that is closed wrongly or never fails the test."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Node("root", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"{tag} has an attribute twice"
        node = Node(tag, dict(attrs))
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Node(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert tag not in VOID
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def read(page: str) -> Node:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == [reader.root]
    return reader.root


def section(root: Node, place: str) -> Node | None:
    found = [
        node
        for node in root.all("section")
        if any(head.attributes.get("id") == place for head in node.all("h2"))
    ]
    assert len(found) <= 1
    return found[0] if found else None


def there(root: Node, place: str) -> Node:
    found = section(root, place)
    assert found is not None, f"no section {place}"
    return found


def rows(table: Node) -> dict[str, list[Node]]:
    """The cells behind each row's name."""
    return {
        row.all("th")[0].text.strip(): row.all("td")
        for body in table.all("tbody")
        for row in body.all("tr")
        if row.all("td")
    }


def card(place: Node, title: str, below: str = "") -> Node:
    found = [
        one
        for one in place.all("div", "card")
        if one.all("h3")[0].text.startswith(title)
        and below in (one.all("h4")[0].text if one.all("h4") else "")
    ]
    assert len(found) == 1, f"{len(found)} cards of {title} {below}"
    return found[0]


def numbers(words: str) -> list[float]:
    plain = words.replace("\u2212", "-").replace(",", " ")
    return [float(one) for one in re.findall(r"-?\d+(?:\.\d+)?", plain)]


def written(value: float, decimals: int = 3) -> str:
    return f"{value:.{decimals}f}".replace("-", "\u2212")


def test_every_mean_stands_in_its_row_and_column_with_its_interval() -> None:
    values = sample()
    root = read(evaluation_page(values))
    tables = there(root, "results").all("table")
    assert len(tables) == 1
    heads = [head.all("span", "by")[0].text for head in tables[0].all("thead")[0].all("th")]
    assert heads == ["Method", "Deletion", "ROAD, combined", "Pointing game", "Infidelity"]
    found = rows(tables[0])
    assert list(found) == [*METHODS, "centre point", "random map"]
    order = [metric["name"] for metric in values["metrics"]]
    told = 0
    for result in values["results"]:
        if result["subset"] != "all":
            continue
        cell = found[result["method"]][order.index(result["metric"])]
        assert float(cell.attributes["data-value"] or "nan") == result["mean"]
        unit = 1e-5 if result["metric"] == "infidelity" else 1.0
        decimals = 2 if unit < 1 else 3
        shown = [written(result[part] / unit, decimals) for part in ("mean", "low", "high")]
        assert f"{shown[0]} [{shown[1]}, {shown[2]}]" in cell.text
        told += 1
    assert told == 10
    assert sum(cell.text == "–" for cells in found.values() for cell in cells) == 16 - told
    assert "n = 185, 2 undefined" in found["grad-cam"][1].text
    heads_text = [head.text for head in tables[0].all("thead")[0].all("th")]
    assert "↓ lower is better" in heads_text[1]
    assert "n = 187" in heads_text[1]
    assert "↑ higher is better" in heads_text[2]
    assert "× 10⁻⁵" in heads_text[4]
    assert "better" not in heads_text[4]


def test_baselines_stand_apart() -> None:
    table = there(read(evaluation_page(sample())), "results").all("table")[0]
    bodies = table.all("tbody")
    assert len(bodies) == 2
    assert "Baselines" in bodies[1].text
    assert "grad-cam" not in bodies[1].text
    assert "centre point" not in bodies[0].text


def marked(values: dict[str, Any]) -> list[tuple[str, int]]:
    table = there(read(evaluation_page(values)), "results").all("table")[0]
    return [
        (name, column)
        for name, cells in rows(table).items()
        for column, cell in enumerate(cells)
        if "best" in (cell.attributes.get("class") or "")
    ]


def test_the_best_is_marked_where_the_paired_difference_is_clear_of_zero() -> None:
    assert marked(sample()) == [("layer-cam", 0)]
    values = sample()
    gap = next(one for one in values["differences"] if one["metric"] == "deletion")
    gap["high"] = 0.0001
    assert marked(values) == []
    gap["high"] = -0.0001
    assert marked(values) == [("layer-cam", 0)]
    gap["p"] = 0.051  # once it is corrected for the number of differences
    assert marked(values) == []
    gap["p"] = None
    assert marked(values) == []
    gap["p"], gap["low"] = 0.001, None
    assert marked(values) == []
    # Clear of 0 on the wrong side: the mean of other images than the pairs.
    gap["low"], gap["high"] = 0.01, 0.02
    assert marked(values) == []


def test_no_mark_where_a_pair_was_not_compared() -> None:
    values = sample()
    values["methods"].insert(2, {"name": "cam", "baseline": False})
    values["results"].append(
        {"method": "cam", "metric": "deletion", "subset": "all", "n": 187, "undefined": 0,
         "mean": 0.3, "low": 0.29, "high": 0.31}
    )  # fmt: skip
    assert marked(values) == []
    values["differences"].append(
        {"method": "cam", "to": "layer-cam", "metric": "deletion", "subset": "all", "n": 187,
         "mean": 0.14, "low": 0.1, "high": 0.2, "p": 0.001}
    )  # fmt: skip
    assert marked(values) == [("layer-cam", 0)]


def test_a_metric_without_a_better_side_has_no_mark() -> None:
    values = sample()
    for metric in values["metrics"]:
        metric["better"] = None
    assert marked(values) == []


def test_a_baseline_that_is_as_good_is_named() -> None:
    values = sample()
    assert "A baseline is as good" not in evaluation_page(values)
    for result in values["results"]:
        if (result["method"], result["subset"]) == ("centre point", "all"):
            result["mean"] = 0.9031  # layer-cam's
    note = there(read(evaluation_page(values)), "results").all("p")[-1].text
    assert note.startswith("A baseline is as good")
    assert "Pointing game (centre point)" in note


def test_a_verdict_stands_in_its_cell_and_is_explained() -> None:
    values = sample()
    assert "is a test" not in evaluation_page(values)
    values["metrics"][0]["passes_below"] = 0.5
    first = values["metrics"][0]["name"]
    for result in values["results"]:
        if (result["method"], result["metric"]) == ("grad-cam", first):
            result["verdict"] = "fails"
    place = there(read(evaluation_page(values)), "results")
    assert "fails" in rows(place.all("table")[0])["grad-cam"][0].text
    assert "passes if its mean is below 0.500, fails if it is above" in " ".join(
        note.text for note in place.all("p", "note")
    )


def test_subsets_stand_beside_all_images() -> None:
    values = sample()
    place = there(read(evaluation_page(values)), "hard")
    assert len(place.all("div", "card")) == 2
    for result in values["results"]:
        if result["metric"] not in ("deletion", "pointing-game"):
            continue
        title = {"deletion": "Deletion", "pointing-game": "Pointing game"}[result["metric"]]
        cell = rows(card(place, title))[result["method"]][SUBSETS.index(result["subset"])]
        shown = [written(result[part]) for part in ("mean", "low", "high")]
        assert cell.text.split(" n = ")[0] == f"{shown[0]} [{shown[1]}, {shown[2]}]"
    heads = card(place, "Deletion").all("thead")[0].text
    assert all(f"n = {n}" in heads for n in (187, 41, 63))


def test_differences_are_written_and_drawn() -> None:
    values = sample()
    place = there(read(evaluation_page(values)), "differences")
    for gap in values["differences"]:
        title = next(m["title"] for m in values["metrics"] if m["name"] == gap["metric"])
        below = "All images" if gap["subset"] == "all" else gap["subset"].capitalize()
        shown = card(place, title, below)
        assert f"n = {gap['n']}" in shown.text
        drawn, told = rows(shown)[gap["method"]]
        unit = 1e-5 if gap["metric"] == "infidelity" else 1.0
        known = numbers(told.text)
        assert known == pytest.approx(
            [gap[part] / unit for part in ("mean", "low", "high")], abs=0.0051 if unit < 1 else 6e-4
        )
        if drawn.all("text", "beyond"):
            assert gap["method"] in ("random map", "centre point")
            continue
        clear = gap["p"] < 0.05
        assert len(drawn.all("circle", "dot")) == clear
        assert len(drawn.all("circle", "ring")) == (not clear)
        # Where they lie: on one axis with the zero line.
        zero = share(drawn.all("line", "zero")[0].attributes["x1"])
        middle = share(drawn.all("circle")[0].attributes["cx"])
        bar = drawn.all("line", "bar")[0].attributes
        low, high = share(bar["x1"]), share(bar["x2"])
        assert low <= middle <= high
        scale = (high - low) / (gap["high"] - gap["low"])
        assert middle - zero == pytest.approx(scale * gap["mean"], abs=0.05)
        assert low - zero == pytest.approx(scale * gap["low"], abs=0.05)


def share(percent: str | None) -> float:
    assert percent is not None
    assert percent.endswith("%")
    assert 0 <= float(percent[:-1]) <= 100
    return float(percent[:-1])


def test_the_better_side_is_said() -> None:
    place = there(read(evaluation_page(sample())), "differences")
    assert "← better" in card(place, "Deletion", "All images").text
    assert "better →" in card(place, "Pointing game", "All images").text
    assert "better" not in card(place, "Infidelity").text


def test_a_small_difference_keeps_a_digit() -> None:
    values = sample()
    gap = next(one for one in values["differences"] if one["metric"] == "deletion")
    gap |= {"mean": -0.002, "low": -0.004, "high": -0.0003}
    place = there(read(evaluation_page(values)), "differences")
    assert "[−0.0040, −0.0003]" in card(place, "Deletion", "All images").text


def test_curves_go_through_their_points_and_are_labelled() -> None:
    values = sample()
    place = there(read(evaluation_page(values)), "curves")
    for metric, title in (("deletion", "Deletion"), ("road", "ROAD, combined")):
        shown = card(place, title)
        (chart,) = shown.all("svg", "chart")
        own = [curve for curve in values["curves"] if curve["metric"] == metric]
        assert [text.text for text in chart.all("text", "label")] == [
            curve["method"] for curve in sorted(own, key=lambda curve: -curve["mean"][-1])
        ]
        assert {text.text for text in chart.all("text", "title")} == {
            own[0]["x_title"], own[0]["y_title"],
        }  # fmt: skip
        drawn = [
            [
                tuple(map(float, point.split(",")))
                for point in str(path.attributes["d"])[1:].split("L")
            ]
            for path in chart.all("path", "line")
        ]
        assert len(drawn) == len(chart.all("path", "band")) == len(own)
        # One affine map takes all points of all curves to where they are drawn.
        (left, top), (right, bottom) = drawn[0][0], drawn[0][-1]
        first = own[0]
        across = (right - left) / (first["x"][-1] - first["x"][0])
        down = (bottom - top) / (first["mean"][-1] - first["mean"][0])
        assert across > 0 > down
        for curve, points in zip(own, drawn, strict=True):
            for x, mean, (drawn_x, drawn_y) in zip(curve["x"], curve["mean"], points, strict=True):
                assert drawn_x == pytest.approx(left + across * (x - first["x"][0]), abs=0.2)
                assert drawn_y == pytest.approx(top + down * (mean - first["mean"][0]), abs=0.3)
        told = [
            numbers(" ".join(cell.text for cell in row.all("td")))
            for row in shown.all("table")[0].all("tbody")[0].all("tr")
        ]
        wanted = [
            point
            for curve in own
            for point in zip(curve["x"], curve["mean"], curve["low"], curve["high"], strict=True)
        ]
        assert len(told) == len(wanted)
        for one, other in zip(told, wanted, strict=True):
            assert one == pytest.approx(other, abs=6e-4)
    assert [one.text for one in place.all("ul", "legend")[0].all("li")] == [
        *METHODS, "random map",
    ]  # fmt: skip


def test_a_method_has_one_colour_everywhere_and_no_other_has_it() -> None:
    root = read(evaluation_page(sample()))
    style_of: dict[str, set[str]] = {}
    for named in root.all("span", "name"):
        (sample_line,) = named.all("svg", "key")
        style = (sample_line.attributes["class"] or "").removeprefix("key ")
        style_of.setdefault(named.text, set()).add(style)
    assert set(style_of) == {*METHODS, "centre point", "random map"}
    assert all(len(styles) == 1 for styles in style_of.values())
    assert len(set.union(*style_of.values())) == len(style_of)
    groups = there(root, "curves").all("svg", "chart")[0].all("g")
    for group in groups:
        if group.all("title"):
            assert style_of[group.all("title")[0].text] == {group.attributes["class"]}


def test_an_image_is_shown_as_it_is_and_with_each_methods_map() -> None:
    values = sample()
    place = there(read(evaluation_page(values)), "images")
    titles = [head.text for head in place.all("h3")]
    assert titles == ["By Deletion ↓ lower is better", "By ROAD, combined ↑ higher is better"]
    compared = place.all("div", "images")
    assert len(compared) == 2 * 2 * 3  # metrics, kinds, images
    entries = zip(values["images"][::2], values["images"][1::2], strict=True)
    for shown, (first, second) in zip(compared, entries, strict=True):
        plain, *maps = shown.all("figure")
        words = [line.text for line in plain.all("span")]
        assert words == [f"the {first['kind']}", first["record"]]
        assert plain.all("b")[0].text == first["label"]
        for figure, entry in zip([plain, *maps], [first, first, second], strict=True):
            (picture,) = figure.all("img")
            kind = "plain" if figure is plain else "picture"
            assert picture.attributes["src"] == entry[kind]
            assert picture.attributes["alt"] == f"{entry['label']}, {entry['record']}"
        assert [one.all("span")[0].text for one in maps] == list(METHODS)
        told = [one.all("b")[0].text for one in maps]
        assert told == [written(one["value"]) for one in (first, second)]


@pytest.mark.parametrize(
    ("label", "said"),
    [("big cat", ["labelled big cat"]), ("tabby", []), ("281", []), ("n02123045", [])],
)
def test_a_picture_says_which_class_its_map_is_for(label: str, said: list[str]) -> None:
    values = sample()
    values["images"] = [dict(values["images"][0], label=label, explained="tabby")]
    plain, _ = there(read(evaluation_page(values)), "images").all("figure")
    assert plain.all("b")[0].text == "tabby"
    assert [one.text for one in plain.all("span")] == ["the worst", *said, "val/worst_00000.jpg"]


def test_accuracy_confusion_and_wrong_pictures() -> None:
    place = there(read(evaluation_page(sample())), "decisions")
    assert place.all("p")[0].text == (
        "The first class of 187 of 190 images is right: an accuracy of 0.984 [0.955, 0.997] "
        "(95 % interval, Clopper-Pearson)."
    )
    confusion, listed = place.all("table")
    told = [
        [cell.text for cell in (*row.all("th"), *row.all("td"))] for row in confusion.all("tr")[1:]
    ]
    assert told == [["tabby", "lynx", "2"], ["golden retriever", "beagle", "1"]]
    figures = place.all("figure")
    assert [figure.all("span")[0].text for figure in figures[:2]] == [
        "predicted: lynx", "true: tabby",
    ]  # fmt: skip
    assert [figure.all("b")[0].text for figure in figures[:2]] == ["0.900", "0.000"]
    wrong = sample()["decisions"]["wrong"]
    sources = [figure.all("img")[0].attributes["src"] for figure in figures]
    assert sources == [one["pictures"][kind] for one in wrong[:2] for kind in ("predicted", "true")]
    assert [row.all("th")[0].text for row in listed.all("tr")[1:]] == [
        one["record"] for one in wrong
    ]


def test_all_right_leaves_no_empty_list() -> None:
    values = sample()
    values["decisions"] |= {"right": 190, "accuracy": 1.0, "confusion": [], "wrong": []}
    root = read(evaluation_page(values))
    assert len(there(root, "decisions").all("p")) == 1
    no_empty_boxes(root)


def test_why_a_mean_has_no_interval_is_said() -> None:
    values = sample()
    assert "No interval" not in evaluation_page(values)
    for result in values["results"]:
        if result["metric"] == "infidelity":
            result |= {"low": None, "high": None, "interval": "none, fewer than 20 images"}
    root = read(evaluation_page(values))
    notes = [note.text for note in there(root, "results").all("p", "note")]
    assert "No interval: fewer than 20 images (Infidelity)." in notes
    assert "Interval: Clopper-Pearson." in card(there(root, "protocol"), "Pointing game").text


def test_problems_counts_and_protocol_are_there_in_full() -> None:
    values = sample()
    root = read(evaluation_page(values))
    problems = there(root, "problems")
    told = {group.all("dt")[0].text: group.all("dd")[0].text for group in problems.all("div")
            if group.all("dt") and len(group.all("dt")) == 1}  # fmt: skip
    assert told == {name: str(count) for name, count in values["counts"].items()}
    assert {name: cells[0].text for name, cells in rows(problems.all("table")[0]).items()} == {
        problem["record"]: problem["reason"] for problem in values["problems"]
    }
    protocol = there(root, "protocol")
    run = card(protocol, "The run").text
    for leaf in leaves(values["protocol"]):
        assert leaf in run
    for metric in values["metrics"]:
        shown = card(protocol, metric["title"])
        assert metric["says"] in shown.text
        assert metric["source"] in shown.text
        for option, setting in metric["protocol"].items():
            (told_option,) = [
                group for group in shown.all("div")
                if group.all("dt") and group.all("dt")[0].text == option.replace("_", " ")
            ]  # fmt: skip
            for leaf in leaves(setting):
                assert leaf in told_option.text
    methods = rows(protocol.all("table")[0])
    assert [cell.text for cell in methods["layer-cam"]] == [
        "blocks.6", "relu: yes, power: 1.5", "0.0247",
    ]  # fmt: skip
    assert [cell.text for cell in methods["random map"]] == ["–", "seed: 7", "–"]


def leaves(setting: Any) -> list[str]:
    if isinstance(setting, dict):
        return [leaf for one in setting.values() for leaf in leaves(one)] or ["none"]
    if isinstance(setting, list):
        return [leaf for one in setting for leaf in leaves(one)]
    if setting is None or isinstance(setting, bool):
        return [{True: "yes", False: "no", None: "none"}[setting]]
    return [str(setting)]


def test_what_was_measured_is_one_sentence() -> None:
    lead = read(evaluation_page(sample())).all("p", "lead-in")[0].text
    assert lead == (
        "The maps of 2 methods and 2 baselines, measured by 4 metrics on 187 of 250 images (those "
        "that the model classifies correctly); each map is for the class that the image is "
        "labelled with."
    )


def test_nothing_is_fetched_from_elsewhere() -> None:
    page = evaluation_page(sample())
    root = read(page)
    words = re.sub(r"data:image/jpeg;base64,[\w+/=]+", "", page)
    assert len(words) < len(page)
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<link|<iframe|<base", words, re.IGNORECASE)
    for tag in ("img", "a", "script", "svg"):
        for node in root.all(tag):
            source = node.attributes.get("src") or node.attributes.get("href")
            assert source is None or source.startswith(("data:image/", "#"))
    targets = {node.attributes["href"] for node in root.all("a")}
    assert targets == {f"#{node.attributes['id']}" for node in root.all("h2")}


def test_the_policy_lets_only_the_pages_own_script_run() -> None:
    root = read(evaluation_page(sample()))
    (script,) = root.all("script")
    (policy,) = [
        node.attributes["content"] or "" for node in root.all("meta")
        if node.attributes.get("http-equiv") == "Content-Security-Policy"
    ]  # fmt: skip
    digest = base64.b64encode(hashlib.sha256(script.text.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_a_picture_that_is_an_address_is_left_out() -> None:
    values = sample()
    addresses = [
        "https://example.org/x.jpg", "file:///etc/passwd", "data:text/html;base64,AAAA",
        'data:image/jpeg;base64,AAAA" onerror="x', None, "",
    ]  # fmt: skip
    values["images"] = [dict(values["images"][0], picture=address) for address in addresses]
    for image, place in zip(values["images"], itertools.count()):
        image["record"] = f"{place}.jpg"
        image["plain"] = image["picture"]
    place = there(read(evaluation_page(values)), "images")
    assert len(place.all("figure")) == len(addresses)
    assert not place.all("img")
    assert "example.org" not in evaluation_page(values)


def everywhere(value: Any, words: str) -> Any:
    """Every free text of the values, and every key that is free, with `words` behind it."""
    if isinstance(value, dict):
        fixed = ("format", "subset", "better", "picture", "plain", "pictures", "target")
        return {key: one if key in fixed else everywhere(one, words) for key, one in value.items()}
    if isinstance(value, list):
        return [everywhere(one, words) for one in value]
    return value + words if isinstance(value, str) else value


@pytest.mark.parametrize("words", [HASTY, "\u202e\x00\x1b", "\udcff", "]]>", "&lt;", "${x}`"])
def test_texts_from_outside_stay_texts(words: str) -> None:
    values = everywhere(sample(), words)
    page = evaluation_page(values)
    page.encode("utf-8")
    plain, root = read(evaluation_page(sample())), read(page)
    assert tags(root) == tags(plain)
    assert [node.text for node in root.all("script")] == [node.text for node in plain.all("script")]
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", page)
    if words in (HASTY, "]]>", "&lt;", "${x}`"):
        assert f"val/broken.jpg{words}" in root.text
        assert f"demo{words} on ilsvrc_val{words}" == root.all("h1")[0].text
        images = [node.attributes["alt"] for node in root.all("img")]
        assert f"tabby{words}, val/best_00000.jpg{words}" in images


def tags(node: Node) -> list[str]:
    found = [node.tag]
    for child in node.children:
        if isinstance(child, Node):
            found += tags(child)
    return found


def test_a_free_subset_and_kind_are_escaped() -> None:
    values = sample()
    for entry in [*values["results"], *values["differences"]]:
        if entry["subset"] != "all":
            entry["subset"] += HASTY
    for image in values["images"]:
        image["kind"] += HASTY
    assert tags(read(evaluation_page(values))) == tags(read(evaluation_page(sample())))


PLACES = (
    "verdict",
    "results",
    "hard",
    "decisions",
    "differences",
    "curves",
    "images",
    "problems",
    "protocol",
)


@pytest.mark.parametrize(
    ("missing", "gone"),
    [
        (["results"], {"verdict", "results", "hard"}),
        (["differences"], {"differences"}),
        (["curves"], {"curves"}),
        (["images"], {"images"}),
        (["decisions"], {"decisions"}),
        (["problems", "counts"], {"problems"}),
        (["protocol", "metrics", "methods"], {"verdict", "protocol"}),
        (
            ["results", "differences", "curves", "images", "problems", "counts", "protocol",
             "methods", "metrics", "decisions"],
            set(PLACES),
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("how", ["absent", "empty", "null"])
def test_a_missing_part_leaves_no_empty_box(missing: list[str], gone: set[str], how: str) -> None:
    values = sample()
    for part in missing:
        if how == "absent":
            del values[part]
        else:
            values[part] = None if how == "null" else type(values[part])()
    root = read(evaluation_page(values))
    assert {place for place in PLACES if section(root, place) is None} == gone
    assert len(root.all("a")) == len(PLACES) - len(gone)
    no_empty_boxes(root)


def no_empty_boxes(root: Node) -> None:
    for tag in ("section", "table", "tbody", "ul", "dl", "p", "figure", "h2", "h3", "h4", "small"):
        for node in root.all(tag):
            assert node.text.strip(), f"an empty {tag}"
    for node in [*root.all("div", "card"), *root.all("div", "cards"), *root.all("div", "scroll")]:
        assert node.text.strip()


@pytest.mark.parametrize("undefined", [None, math.nan])
def test_what_is_not_defined_is_a_dash(undefined: float | None) -> None:
    values = sample()
    for result in values["results"]:
        if result["metric"] == "road":
            result |= dict.fromkeys(("mean", "low", "high"), undefined)
            result |= {"n": 0, "undefined": 187}
        elif result["metric"] == "deletion":
            result |= dict.fromkeys(("low", "high"), undefined)
    for gap in values["differences"]:
        gap |= dict.fromkeys(("mean", "low", "high"), undefined)
    for curve in values["curves"]:
        curve["mean"] = [undefined] * len(curve["mean"])
    for image in values["images"]:
        image["value"] = undefined
        image.pop("plain", None)
    page = evaluation_page(values)
    root = read(page)
    assert not re.search(r"\bnan\b|>None<", re.sub(r"<script>.*?</script>", "", page, flags=re.S))
    found = rows(there(root, "results").all("table")[0])
    assert found["grad-cam"][0].text.strip() == "0.184"
    assert "–" in found["grad-cam"][1].text
    assert found["grad-cam"][1].attributes["data-value"] == ""
    assert "187 undefined" in found["grad-cam"][1].text
    assert section(root, "differences") is None
    assert section(root, "curves") is None
    figures = there(root, "images").all("figure")
    assert {figure.all("b")[-1].text for figure in figures} == {"–"}
    no_empty_boxes(root)


def test_a_curve_with_a_gap_is_two_strokes() -> None:
    values = sample()
    values["curves"] = values["curves"][:1]
    values["curves"][0]["mean"][10] = math.nan
    values["curves"][0]["low"][4] = None
    chart = there(read(evaluation_page(values)), "curves").all("svg", "chart")[0]
    assert len(chart.all("path", "line")) == len(chart.all("path", "band")) == 2


@pytest.mark.parametrize(("low", "high"), [(0.9, 1.4), (0.0401, 0.96), (-3e-6, 2e-6), (7, 7)])
def test_an_axis_has_numbers_whatever_its_range(low: float, high: float) -> None:
    values = sample()
    curve = {"x": [low, high], "mean": [low, high], "low": [low, high], "high": [low, high]}
    values["curves"] = [values["curves"][0] | curve]
    chart = there(read(evaluation_page(values)), "curves").all("svg", "chart")[0]
    texts = [text for text in chart.all("text") if not text.attributes.get("class")]
    across = [text.text for text in texts if text.attributes["text-anchor"] == "middle"]
    up = [text.text for text in texts if text.attributes["text-anchor"] == "end"]
    assert len(set(across)) == len(across) >= 2
    assert len(set(up)) == len(up) >= 2
    for line in chart.all("line"):
        assert 0 <= float(line.attributes["y1"] or "nan") <= 270


def test_a_flat_curve_and_one_point_are_drawn() -> None:
    values = sample()
    flat = dict(values["curves"][0], x=[0, 1], mean=[0.0, 0.0], low=[], high=[])
    point = dict(values["curves"][1], x=[3], mean=[0.5], low=[0.4], high=[0.6])
    values["curves"] = [flat, point]
    place = there(read(evaluation_page(values)), "curves")
    assert len(place.all("svg", "chart")) == 2
    assert len(place.all("circle", "dot")) == 1
    assert len(place.all("path", "line")) == 1


def test_one_method_has_neither_mark_nor_differences() -> None:
    values = sample()
    values["methods"] = values["methods"][:1]
    for part in ("results", "curves", "images"):
        values[part] = [one for one in values[part] if one["method"] == "grad-cam"]
    values["differences"] = []
    page = evaluation_page(values)
    assert marked(values) == []
    assert "Marked is" not in page
    assert section(read(page), "differences") is None
    assert "The maps of 1 method, measured" in page
    no_empty_boxes(read(page))


def test_a_long_table_is_parted_for_the_printed_page() -> None:
    values = sample()
    for place in range(20):
        name = f"metric {place}"
        values["metrics"].append({"name": name, "title": name, "better": "higher"})
        values["results"].append(dict(values["results"][0], metric=name, mean=place / 100))
    tables = there(read(evaluation_page(values)), "results").all("table")
    heads = [len(table.all("thead")[0].all("th")) - 1 for table in tables]
    assert sum(heads) == 24
    assert max(heads) <= 9


def test_the_page_is_the_same_from_what_json_gives_back() -> None:
    values = sample()
    assert evaluation_page(json.loads(json.dumps(values))) == evaluation_page(values)
    assert values == sample()


@pytest.mark.parametrize("values", [{}, {"format": "seewhy evaluation 2"}, [], None])
def test_other_values_are_refused(values: Any) -> None:
    with pytest.raises(DataError, match=r"'seewhy evaluation 1' is wanted"):
        evaluation_page(values)


def test_no_torch_and_no_matplotlib_are_needed() -> None:
    code = (
        "import sys, seewhy.report.evaluation;"
        "assert not {'torch', 'matplotlib', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_marks_are_round_and_span_the_range() -> None:
    assert ticks(0, 1, 4) == pytest.approx([0, 0.5, 1])
    assert ticks(-0.037, 0.016, 3) == pytest.approx([-0.04, -0.02, 0, 0.02])
    assert ticks(0, 0, 3)[0] <= 0 < ticks(0, 0, 3)[-1]


@given(
    st.floats(-1e6, 1e6, allow_subnormal=False), st.floats(1e-6, 1e6), st.integers(2, 8)
)  # fmt: skip
def test_marks_hold_any_range(low: float, span: float, count: int) -> None:
    marks = ticks(low, low + span, count)
    step = marks[1] - marks[0]
    assert 2 <= len(marks) <= count + 3
    slack = 1e-6 * step + 4 * np.spacing(abs(low) + span)  # a million has no ten digits behind it
    assert marks[0] <= low + slack
    assert marks[-1] >= low + span - slack


@given(st.lists(st.floats(0, 100), min_size=1, max_size=8))
def test_labels_keep_apart_and_inside(places: list[float]) -> None:
    moved = apart(sorted(places), 10.0, 0.0, 100.0)
    assert all(-1e-9 <= one <= 100 + 1e-9 for one in moved)
    assert all(b - a >= 10 - 1e-9 for a, b in itertools.pairwise(moved))


@given(st.floats(-1e12, 1e12, allow_subnormal=False))
def test_a_number_is_written_to_three_digits(value: float) -> None:
    scale = Scale.of([value])
    (shown,) = [float(scale.number(value).replace(",", "").replace("\u2212", "-"))]
    assert shown * 10.0**scale.power == pytest.approx(value, rel=0.006, abs=1e-300)


def test_numbers_of_one_scale() -> None:
    scale = Scale.of([0.5, -0.03, None, math.nan])
    assert scale == Scale(3)
    assert scale.number(-0.0001) == "0.000"
    assert scale.number(None) == "–"
    assert scale.finer([-0.0001]).number(-0.0001) == "−0.0001"
    assert Scale.of([12.5]).number(12.5) == "12.5"
    assert Scale.of([3.2e-5]).unit == "× 10⁻⁵"
    assert Scale.of([]).number(0) == "0.000"
