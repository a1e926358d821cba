"""The grid pointing game of `evaluate`: which pictures are laid together, and what is measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from reference import localisation as reference
from torch import Tensor, nn

from seewhy.dataset import Dataset, read_dataset
from seewhy.dataset.results import read_results
from seewhy.errors import MetricError
from seewhy.evaluation import evaluate
from seewhy.evaluation.collages import choose
from seewhy.images import Preprocess

SIDE = 16
COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "yellow": (1, 1, 0)}
PLAIN = Preprocess(size=(SIDE, SIDE), resize=None, mean=(0.0,) * 3, std=(1.0,) * 3)
SOME = {"grid-pointing": {"count": 5}}


class Pure(nn.Module):
    """Four classes, and channels that answer to one pure colour each."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
        self.head = nn.Linear(4, 4, bias=False)
        with torch.no_grad():
            weight = [[1, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, -2]]
            self.features[0].weight.copy_(torch.tensor(weight)[..., None, None])
            self.features[0].bias.copy_(torch.tensor([0.0, 0, 0, -1]))
            self.head.weight.copy_(60 * torch.eye(4))

    def forward(self, pictures: Tensor) -> Tensor:
        return self.head(self.features(pictures).mean((2, 3)))


class OneSize(Pure):
    """Takes no other size than its own."""

    def forward(self, pictures: Tensor) -> Tensor:
        assert pictures.shape[-1] == SIDE, "wrong size"
        return super().forward(pictures)


def bright(inputs: Tensor) -> Tensor:
    """A map that looks at no class."""
    return inputs.sum(1)


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    """Twenty pictures, five a class, their boxes of different sizes."""
    entries = []
    (tmp_path / "data" / "images").mkdir(parents=True)
    for number in range(20):
        label = list(COLOURS)[number % 4]
        picture = np.full((SIDE, SIDE, 3), 40, np.uint8)
        bottom = 8 + number % 8
        picture[2:bottom, 3:13] = 255 * np.array(COLOURS[label])
        Image.fromarray(picture).save(tmp_path / "data" / "images" / f"{number}.png")
        entries.append({"file": f"{number}.png", "label": label, "boxes": [[3, 2, 13, bottom]]})
    (tmp_path / "data" / "annotations.json").write_text(json.dumps(entries))
    return read_dataset(tmp_path / "data" / "annotations.json")


def run(data: Dataset, **more: Any) -> Any:
    given: dict[str, Any] = {"metrics": ["grid-pointing"], "metric_options": SOME} | more
    model = given.pop("model", None) or Pure().eval()
    return evaluate(model, data, preprocess=PLAIN, labels=list(COLOURS), **given)


def test_the_figures_are_those_of_collages_pasted_together(data: Dataset) -> None:
    found = run(data, methods=[bright, "grad-cam"])
    ids = found.values["bright", "grid-pointing"].ids
    labels = {record.id: record.labels[0] for record in data.records}
    assert len({id_.split("\t")[0] for id_ in ids}) == found.counts["collages"] == 5
    wholes = sorted({id_.split("\t")[0] for id_ in ids})
    assert sorted(" + ".join(wholes).split(" + ")) == sorted(labels)  # each picture once
    assert len(ids) == 4 * found.counts["collages"] == found.result("bright", "grid-pointing")["n"]
    for id_ in ids:
        whole, label = id_.split("\t")
        names = whole.split(" + ")
        assert sorted(labels[name] for name in names) == sorted(COLOURS)
        cells = [
            np.asarray(Image.open(data.records[0].image.parent / name)) / 255 for name in names
        ]
        pasted = np.block([[cells[0].sum(2), cells[1].sum(2)], [cells[2].sum(2), cells[3].sum(2)]])
        cell = [labels[name] for name in names].index(label)
        wanted = reference.grid_pointing(pasted, cell, 2)
        assert found.values["bright", "grid-pointing"][id_] == pytest.approx(wanted, abs=1e-6)
    # A map for the class alone lies in its cell alone; one that says nothing in all alike.
    assert found.result("grad-cam", "grid-pointing")["mean"] == pytest.approx(1)
    assert found.result("whole image", "grid-pointing")["mean"] == 0.25
    assert found.counts["explained"] == 20
    (one,) = (x for x in found.differences if (x["method"], x["to"]) == ("grad-cam", "bright"))
    assert one["mean"] == pytest.approx(1 - found.result("bright", "grid-pointing")["mean"])
    assert one["low"] < 0 < one["high"]  # five collages are too few to say that it is always so
    assert found.metrics[0]["protocol"] == {
        "side": 2, "confidence": 0.9, "count": 5, "seed": 0,
    }  # fmt: skip


def test_only_pictures_that_the_model_is_sure_of_are_laid_together(data: Dataset) -> None:
    def values(right: bool = True, probability: float = 0.995, **labels: int) -> dict[str, Any]:
        return {
            "right": right,
            "labels": {
                name: {"class": index, "probability": probability} for name, index in labels.items()
            },
        }

    status = {
        "0.png": values(red=0), "1.png": values(green=1), "2.png": values(blue=2),
        "3.png": values(yellow=3), "4.png": values(red=0, probability=0.98),
        "5.png": values(green=1, right=False), "6.png": values(blue=2, yellow=3),
    }  # fmt: skip
    how: dict[str, Any] = {"side": 2, "count": 30, "seed": 0}
    found = choose(data.records, status, confidence=0.99, **how)
    assert {r.id for one in found for r in one.records} == {"0.png", "1.png", "2.png", "3.png"}
    assert len(found) == 1  # each picture lies in one collage
    assert found[0].labels == tuple(
        {"0": "red", "1": "green", "2": "blue", "3": "yellow"}[r.id[0]] for r in found[0].records
    )
    less_sure = [
        choose(data.records, status, confidence=0.9, **{**how, "seed": seed}) for seed in range(9)
    ]
    assert any("4.png" in {r.id for r in one.records} for (one,) in less_sure)
    with pytest.raises(MetricError, match="Of 20 pictures, 0 are suitable, of 0 classes"):
        choose(data.records, status, confidence=0.999, **how)


class Stopped(Exception):
    pass


def test_a_run_that_was_interrupted_goes_on(data: Dataset, tmp_path: Path) -> None:
    methods = ["grad-cam", "layer-cam"]
    whole = run(data, methods=methods)
    ticks = iter(range(10**6))

    def stop() -> None:
        if next(ticks) == 2 * 20 + 5:  # behind the pictures, amid the collages
            raise Stopped

    again: dict[str, Any] = {"methods": methods, "out": tmp_path / "out", "batch_size": 4}
    with pytest.raises(Stopped):
        run(data, **again, advance=stop)
    before = len(read_results(tmp_path / "out" / "rows.jsonl").rows)
    assert before > 20
    found = run(data, **again)
    keys = [row.key for row in read_results(tmp_path / "out" / "rows.jsonl").rows]
    assert len(keys) == len(set(keys)) > before
    assert found.results == whole.results
    more = run(data, **{**again, "methods": [*methods, "eigen-cam"]})
    assert more.result("grad-cam", "grid-pointing") == whole.result("grad-cam", "grid-pointing")
    assert more.result("eigen-cam", "grid-pointing")["n"] == 4 * whole.counts["collages"]


def test_every_step_is_told(data: Dataset) -> None:
    ticks = []
    run(data, methods=["grad-cam", "layer-cam"], advance=lambda: ticks.append(1))
    assert len(ticks) == 2 * (20 + 5)


def test_beside_other_metrics(data: Dataset, tmp_path: Path) -> None:
    found = run(data, metrics=["grid-pointing", "energy"], out=tmp_path)
    assert found.result("grad-cam", "energy")["n"] == 20
    assert found.result("grad-cam", "energy")["mean"] == pytest.approx(1)
    assert {(one["metric"], one["subset"]) for one in found.results} >= {
        ("energy", "small object"), ("grid-pointing", "all"),
    }  # fmt: skip
    assert not any(
        one["metric"] == "grid-pointing" and one["subset"] != "all" for one in found.results
    )
    assert {one["metric"] for one in found.images} == {"energy"}  # no picture is a collage


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        (OneSize, {"count": 5}, "needs inputs of 32 × 32 pixels"),
        (Pure, {"count": 5, "confidence": 1.0}, "Give more pictures or a lower grid-pointing"),
        (Pure, {"count": 5, "side": 3}, "a collage of 3 × 3 pictures needs 9 different classes"),
    ],
)
def test_what_cannot_be_laid_together_is_said_and_the_rest_measured(
    data: Dataset, model: type[nn.Module], options: dict[str, Any], said: str
) -> None:
    found = run(
        data, model=model().eval(), metrics=["grid-pointing", "energy"],
        metric_options={"grid-pointing": options},
    )  # fmt: skip
    (problem,) = found.problems
    assert problem["record"] == "grid-pointing"
    assert said in problem["reason"]
    assert found.counts["unreadable"] == 0
    assert found.result("grad-cam", "energy")["n"] == 20
    assert not any(one["metric"] == "grid-pointing" for one in found.results)


def test_a_method_that_fails_on_one_collage_is_told(data: Dataset) -> None:
    def choosy(inputs: Tensor) -> Tensor:
        red_first = (inputs[:, 0, 4, 5] > 0.9) & (inputs[:, 1, 4, 5] < 0.9)
        if inputs.shape[-1] > SIDE and red_first.any():
            raise RuntimeError("no red in the first cell, please")
        return inputs.sum(1)

    found = run(data, methods=[choosy], metric_options={"grid-pointing": {"count": 20, "seed": 2}})
    assert 0 < len(found.problems) < found.counts["collages"]
    assert all("choosy: no red" in one["reason"] for one in found.problems)
    left = found.counts["collages"] - len(found.problems)
    assert found.result("choosy", "grid-pointing")["n"] == 4 * left
