"""Long work shows how far it has come: to a listener, or under the cell of a notebook."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import seewhy
from seewhy import progress
from seewhy.progress import NotebookBar, listening, notebook_bar, report

NETWORK = nn.Sequential(
    nn.Conv2d(3, 4, 3, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
)  # fmt: skip
IMAGE = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """All that a notebook is told to show, where no work is too short and no change too soon."""
    told: list[dict[str, str]] = []

    def update(data: dict[str, str], *, raw: bool) -> None:
        assert raw
        told.append(data)

    def display(data: dict[str, str], *, raw: bool, display_id: bool) -> Any:
        assert display_id
        update(data, raw=raw)
        return SimpleNamespace(update=update)

    ipython, displays = ModuleType("IPython"), ModuleType("IPython.display")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=object())  # type: ignore[attr-defined]
    displays.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", displays)
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    monkeypatch.setattr(progress, "_BETWEEN", 0.0)
    return told


def texts(shown: list[dict[str, str]]) -> list[str]:
    return [one["text/plain"] for one in shown]


def test_a_long_method_shows_a_bar_and_takes_it_away(shown: list[dict[str, str]]) -> None:
    seewhy.attribute(NETWORK, IMAGE, target=1, method="rise", masks=200)
    assert texts(shown)[0].startswith("running the network: ")
    assert texts(shown)[0].endswith(" of 200")
    counts = [int(text.split()[3]) for text in texts(shown)[:-1]]
    assert counts == sorted(counts)
    assert '<progress value="' in shown[0]["text/html"]
    assert shown[-1] == {"text/plain": "", "text/html": ""}


def test_many_pictures_show_a_bar(shown: list[dict[str, str]]) -> None:
    prepare = seewhy.Preprocess(size=(32, 32), resize=32, mean=(0.5,) * 3, std=(0.5,) * 3)
    explainer = seewhy.Explainer(NETWORK, preprocess=prepare, batch_size=1)
    pictures = [torch.rand(3, 32, 32) for _ in range(3)]
    assert len(list(explainer.many(pictures))) == 3
    assert texts(shown) == ["explaining: 1 of 3", "explaining: 2 of 3", ""]
    shown.clear()
    assert len(list(explainer.many(iter(pictures)))) == 3
    assert texts(shown) == ["explaining: 1", "explaining: 2", "explaining: 3", ""]
    shown.clear()
    explainer(pictures[0])
    assert shown == [], "one picture is soon done"


def test_a_reader_who_leaves_early_leaves_no_bar(shown: list[dict[str, str]]) -> None:
    def interrupted() -> None:
        with notebook_bar("explaining", 5) as advance:
            advance(2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert texts(shown) == ["explaining: 2 of 5", ""]


def test_a_listener_hears_instead(shown: list[dict[str, str]]) -> None:
    heard: list[tuple[int, int]] = []
    with listening(lambda done, of: heard.append((done, of))):
        report(3, 8)
    assert heard == [(3, 8)]
    assert shown == []


def test_short_work_and_other_programs_show_nothing(
    shown: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 3600.0)
    NotebookBar("explaining", 9).move(4)
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: None)
    NotebookBar("explaining", 9).move(4)
    monkeypatch.delitem(sys.modules, "IPython")
    NotebookBar("explaining", 9).move(4)
    assert shown == []


def test_what_broke_off_does_not_count_for_the_next(shown: list[dict[str, str]]) -> None:
    report(6, 8)
    report(2, 8)
    assert texts(shown) == ["running the network: 6 of 8", "", "running the network: 2 of 8"]
    report(8, 8)
    assert texts(shown)[-1] == ""
