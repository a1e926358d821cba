"""What `evaluate` says is what the pure functions say, whatever interrupts it."""

from __future__ import annotations

import csv
import dataclasses
import functools
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import seewhy
from seewhy.dataset import Dataset, read_dataset
from seewhy.dataset.results import read_results
from seewhy.errors import DataError, ImageError, MethodError, MetricError, TargetError
from seewhy.evaluation import evaluate
from seewhy.evaluation.cases import chosen_classes
from seewhy.evaluation.curves import halves_of
from seewhy.evaluation.decisions import decisions_of
from seewhy.evaluation.picking import pictures_to_show
from seewhy.evaluation.protocol import default_metrics, sample
from seewhy.images import Preprocess
from seewhy.methods.cam import layer_cam
from seewhy.metrics import (
    METRICS,
    find_metric,
    imputation,
    intervals,
    localisation,
    masked_confidence,
    walk,
)
from seewhy.metrics.accumulate import PerImage
from seewhy.metrics.metric import PLACED

sys.path.insert(0, str(Path(__file__).parent / "cli"))
from reference import localisation as reference
from tiny_networks import Colours

SIDE = 32
NAMES = ("red", "green", "blue")
LIGHT = Preprocess(size=(SIDE, SIDE), resize=None, mean=(0.0,) * 3, std=(1.0,) * 3)
# Small options for what runs the network often.
QUICK: dict[str, dict[str, Any]] = {
    "deletion": {"step": 0.25},
    "insertion": {"step": 0.25},
    "pixel-flipping": {"flips": 3},
    "road": {"shares": (0.2, 0.5)},
    "infidelity": {"samples": 5},
    "infidelity-scaled": {"samples": 5},
    "sensitivity-n": {"samples": 3, "shares": (0.1, 0.5)},
    "saco": {"groups": 3},
    "max-sensitivity": {"draws": 2},
    "seed-agreement": {"seeds": (0, 1)},
    "sanity-cascading": {"stages": 2},
    "sanity-independent": {"stages": 2},
}


def patch(colour: str, box: tuple[int, int, int, int]) -> np.ndarray:
    """Grey, with a box of one colour and a little of every colour so that all classes score."""
    picture = np.full((SIDE, SIDE, 3), 60, np.uint8)
    x0, y0, x1, y1 = box
    picture[y0:y1, x0:x1, NAMES.index(colour)] = 250
    return picture


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    return read_dataset(written(tmp_path / "data"))


def written(root: Path) -> Path:
    """Three classes, six pictures, boxes and masks; the last one is misclassified."""
    entries = []
    boxes = [(4, 4, 24, 24), (0, 0, 12, 12), (18, 16, 30, 30), (2, 10, 28, 30), (20, 2, 31, 13)]
    for number, box in enumerate([*boxes, (8, 8, 26, 26)]):
        colour = NAMES[number % 3]
        shown = "green" if number == 5 else colour
        name = f"{number}.png"
        picture = patch(shown, box)
        for folder in ("images", "masks"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(root / "images" / name)
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[box[1] : box[3], box[0] : box[2]] = 1
        Image.fromarray(mask).save(root / "masks" / name)
        entries.append(
            {"file": name, "label": colour, "boxes": [box], "mask": name,
             "mask_values": {colour: 1}, "size": [SIDE, SIDE]}
        )  # fmt: skip
    path = root / "annotations.json"
    path.write_text(json.dumps(entries))
    return path


def run(data: Dataset, **more: Any) -> Any:
    model = more.pop("model", None) or Colours().eval()
    return evaluate(model, data, preprocess=LIGHT, labels=NAMES, **more)


def perfect(inputs: torch.Tensor) -> torch.Tensor:
    """1 on the object, 0 elsewhere: the truth, as the pictures are drawn."""
    return (inputs.amax(1) > 0.5).float()


def test_the_figures_are_those_of_the_pure_functions(data: Dataset) -> None:
    network = Colours().eval()
    found = run(
        data, model=network, methods=["grad-cam"],
        metrics=["pointing", "energy", "box-iou", "mask-iou", "deletion", "drop", "road"],
        metric_options={"pointing": {"tolerance": 3.0}, "road": {"shares": (0.2, 0.5)},
                        "deletion": {"step": 0.1}},
    )  # fmt: skip
    assert found.counts["used"] == 5
    assert found.counts["misclassified"] == 1
    by_hand: dict[str, dict[str, float]] = {}
    for record in data.records[:5]:
        label = record.labels[0]
        index = NAMES.index(label)
        why = seewhy.explain(
            network, str(record.image), index, preprocess=LIGHT, labels=NAMES, method="grad-cam"
        )
        place = localisation.region(record.boxes, (SIDE, SIDE))
        image = LIGHT(why.picture)[None]
        raw = torch.from_numpy(why.map)[None]

        def score(images: torch.Tensor, rows: torch.Tensor, index: int = index) -> torch.Tensor:
            return network(images).softmax(1)[:, index]

        by_hand[f"{record.id}\t{label}"] = {
            # The tolerance counts on a shorter side of 224.
            "pointing": localisation.pointing_game(why.heatmap, place, tolerance=3 * SIDE / 224),
            "energy": localisation.energy_pointing(why.heatmap, place),
            "box-iou": localisation.box_overlap(why.heatmap, record.boxes),
            "mask-iou": localisation.mask_overlap(
                why.heatmap, record.mask(label), ignore=record.ignored()
            ),
            "deletion": walk.deletion(score, image, raw, step=0.1).area.item(),
            "drop": masked_confidence.masked_confidence(score, image, raw).drop.item(),
            "road": imputation.road(score, image, raw, shares=(0.2, 0.5)).combined.item(),
        }
    for metric in next(iter(by_hand.values())):
        values = PerImage({id_: one[metric] for id_, one in by_hand.items()})
        own = found.values["grad-cam", metric]
        assert own.ids == values.ids
        np.testing.assert_allclose(own.array(), values.array(), atol=1e-5)
        estimate = values.estimate(bounds=METRICS[metric].bounds)
        result = found.result("grad-cam", metric)
        assert result["n"] == 5
        assert result["mean"] == pytest.approx(estimate.value, abs=1e-5)
        assert result["low"] == pytest.approx(estimate.low, abs=1e-5)
        assert result["high"] == pytest.approx(estimate.high, abs=1e-5)


def test_the_truth_as_a_map_scores_perfectly_and_the_baselines_do_not(data: Dataset) -> None:
    found = run(
        data, methods=[perfect],
        metrics=["pointing", "energy", "box-iou", "box-accuracy", "max-box-accuracy",
                 "max-box-accuracy-v2", "mask-iou", "pxap"],
        metric_options={"pointing": {"tolerance": 0.0}},
    )  # fmt: skip
    for metric in found.metrics:
        assert found.result("perfect", metric["name"])["mean"] == pytest.approx(1), metric["name"]
    assert found.result("centre point", "pointing")["mean"] < 1
    assert found.result("whole image", "box-iou")["mean"] == pytest.approx(
        np.mean([box.area / SIDE**2 for record in data.records[:5] for box in record.boxes])
    )
    assert found.result("whole image", "energy")["mean"] == pytest.approx(
        found.result("whole image", "pxap")["mean"]
    )
    assert found.result("centre Gaussian", "mask-iou")["mean"] < 1
    hard = found.result("centre point", "pointing", "centre misses")
    assert hard["mean"] == 0
    assert hard["n"] == 3
    assert found.result("perfect", "energy", "small object")["n"] == 3


def test_differences_are_paired_and_to_the_first_method(data: Dataset) -> None:
    found = run(data, methods=["grad-cam", perfect], metrics=["energy"])
    (one,) = (d for d in found.differences if d["method"] == "perfect" and d["subset"] == "all")
    assert one["to"] == "grad-cam"
    wanted = found.values["perfect", "energy"].minus(
        found.values["grad-cam", "energy"], bounds=(0, 1)
    )
    assert (one["mean"], one["low"], one["high"]) == (wanted.value, wanted.low, wanted.high)
    assert one["interval"] == wanted.how
    assert wanted.p is not None  # corrected for the number of differences
    assert one["p"] >= wanted.p


@pytest.mark.parametrize("method", ["grad-cam", "eigen-cam", "occlusion", "saliency", perfect])
def test_every_metric_takes_every_kind_of_method(data: Dataset, method: Any) -> None:
    metrics = [name for name, metric in METRICS.items() if metric.needs != "collage"]
    found = run(
        data, methods=[method], metrics=metrics, limit=3, metric_options=QUICK,
    )  # fmt: skip
    name = method if isinstance(method, str) else method.__name__
    for metric in metrics:
        result = found.result(name, metric)
        assert result["n"] + result["undefined"] == found.counts["explained"] > 0
    text = json.dumps(found.to_json(), allow_nan=False)
    assert json.loads(text)["format"] == "seewhy evaluation 1"
    curves = {(c["metric"], c["method"]): c for c in found.curves}
    deleted = curves["deletion", name]
    assert deleted["x"] == [0, 0.25, 0.5, 0.75, 1]
    assert len(deleted["mean"]) == 5


def test_nothing_depends_on_the_batches(data: Dataset) -> None:
    metrics = ["energy", "deletion", "drop", "sensitivity-n"]
    one, all_ = (
        run(data, metrics=metrics, metric_options={m: QUICK.get(m, {}) for m in metrics},
            batch_size=size)
        for size in (1, 8)
    )  # fmt: skip
    for key, values in one.values.items():
        np.testing.assert_allclose(values.array(), all_.values[key].array(), atol=1e-4)


class Stopped(Exception):
    pass


def test_a_run_that_was_interrupted_goes_on_without_losing_or_repeating(
    data: Dataset, tmp_path: Path
) -> None:
    counted = Counted()
    whole = run(data, model=counted, methods=["grad-cam", "layer-cam"], metrics=["energy", "drop"])
    calls = 0

    def stop_in_the_middle() -> None:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise Stopped

    out = tmp_path / "out"
    again: dict[str, Any] = {
        "methods": ["grad-cam", "layer-cam"], "metrics": ["energy", "drop"], "out": out,
        "batch_size": 2,
    }  # fmt: skip
    with pytest.raises(Stopped):
        run(data, model=counted, **again, advance=stop_in_the_middle)
    rows = out / "rows.jsonl"
    kept = len(read_results(rows).rows)
    assert kept > 0
    with rows.open("ab") as file:  # what a kill in the middle of a line leaves
        file.write(b'{"record": "5.pn')
    first = rows.read_bytes()[: -len(b'{"record": "5.pn')]

    found = run(data, model=counted, **again)
    assert rows.read_bytes().startswith(first)
    keys = [row.key for row in read_results(rows).rows]
    assert len(keys) == len(set(keys)) > kept
    for key, values in whole.values.items():
        np.testing.assert_allclose(values.array(), found.values[key].array(), atol=1e-5)
    assert found.counts == whole.counts

    before, counted.pictures = rows.read_bytes(), 0
    once_more = run(data, model=counted, **again)
    assert rows.read_bytes() == before
    assert once_more.results == found.results
    # One black picture to count the classes, and those drawn once more: logits and the method, for
    # each method and picture that is shown and for the one that is wrong.
    shown = {(x["method"], x["record"], x["label"]) for x in pictures_to_show(found, 4)}
    assert counted.pictures == 1 + 2 * (len(shown) + 1)


class Counted(Colours):
    """Counts the pictures it sees."""

    pictures = 0

    def __init__(self) -> None:
        super().__init__()
        self.eval()

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        self.pictures += len(pictures)
        return super().forward(pictures)


def test_another_protocol_is_refused_with_what_differs(data: Dataset, tmp_path: Path) -> None:
    run(data, metrics=["energy"], out=tmp_path / "out")
    with pytest.raises(DataError, match=r"metrics.energy.scaling was 'none' and is 'min-max' now"):
        run(data, metrics=["energy"], out=tmp_path / "out",
            metric_options={"energy": {"scaling": "min-max"}})  # fmt: skip
    changed = Colours().eval()
    with torch.no_grad():
        changed.head.weight.mul_(2)
    with pytest.raises(DataError, match="weights was"):
        run(data, model=changed, metrics=["energy"], out=tmp_path / "out")
    found = run(data, model=changed, metrics=["energy"], out=tmp_path / "out", restart=True)
    assert found.counts["used"] == 5


def test_more_methods_and_pictures_go_on_from_what_is_there(data: Dataset, tmp_path: Path) -> None:
    small = run(data, metrics=["energy"], out=tmp_path / "out", limit=3)
    assert small.counts["records"] == 3
    large = run(data, methods=["layer-cam", "grad-cam"], metrics=["energy"], out=tmp_path / "out")
    whole = run(data, methods=["layer-cam", "grad-cam"], metrics=["energy"])
    assert large.counts == whole.counts
    for key, values in whole.values.items():
        np.testing.assert_allclose(values.array(), large.values[key].array(), atol=1e-5)
    fewer = run(data, metrics=["energy"], out=tmp_path / "out", limit=3)
    assert fewer.results == small.results


def test_a_bad_picture_is_named_skipped_and_counted(data: Dataset, tmp_path: Path) -> None:
    data.records[1].image.write_bytes(b"no picture")
    heard = []
    found = run(
        data, metrics=["energy"], on_error=lambda name, reason: heard.append((name, reason)),
        out=tmp_path / "out",
    )  # fmt: skip
    assert [name for name, _ in heard] == [data.records[1].id]
    assert found.counts["unreadable"] == 1
    assert found.counts["used"] == 4
    assert found.problems[0]["record"] == data.records[1].id
    Image.fromarray(patch("green", (0, 0, 12, 12))).save(data.records[1].image, format="PNG")
    mended = run(data, metrics=["energy"], out=tmp_path / "out")
    assert mended.counts["used"] == 5
    assert not mended.problems


def test_a_method_that_fails_on_one_picture_is_told_from_one_that_never_works(
    data: Dataset,
) -> None:
    def choosy(inputs: torch.Tensor, activations: torch.Tensor) -> torch.Tensor:
        if (inputs[:, 2] > 0.5).any():
            raise RuntimeError("no blue, please")
        return inputs.amax(1)

    def broken(inputs: torch.Tensor) -> torch.Tensor:
        raise MethodError("never works")

    found = run(data, methods=[choosy, "grad-cam"], metrics=["energy"])
    assert found.counts["failed with a method"] == 1
    assert "no blue" in found.problems[0]["reason"]
    assert found.result("choosy", "energy")["n"] == 4
    with pytest.raises(MethodError, match="never works"):
        run(data, methods=[broken], metrics=["energy"])


class Brightness:
    """A method that is an object."""

    def __call__(self, inputs: torch.Tensor, *, power: float = 1.0) -> torch.Tensor:
        return inputs.amax(1) ** power


def test_a_partial_and_an_object_are_methods_too(data: Dataset) -> None:
    partial = functools.partial(layer_cam)
    found = run(
        data, methods=[partial, Brightness(), "layer-cam"], metrics=["energy"],
        options={"power": 2.0},
    )  # fmt: skip
    names = [one["name"] for one in found.methods if not one["baseline"]]
    assert names == ["layer_cam", "Brightness", "layer-cam"]
    assert found.methods[1]["options"] == {"power": 2.0}
    first, named = (found.values[name, "energy"] for name in ("layer_cam", "layer-cam"))
    np.testing.assert_array_equal(first.array(), named.array())
    plain = run(data, methods=[Brightness()], metrics=["energy"])
    assert (
        found.result("Brightness", "energy")["mean"] > plain.result("Brightness", "energy")["mean"]
    )
    with pytest.raises(MethodError, match="layer_cam is given twice"):
        run(data, methods=[partial, functools.partial(partial)], metrics=["energy"])


def test_several_labels_are_several_rows_and_one_image(tmp_path: Path) -> None:
    root = tmp_path / "both"
    (root / "images").mkdir(parents=True)
    picture = patch("red", (0, 0, 14, 14))
    picture[18:30, 18:30, 1] = 250
    for name in ("a.png", "b.png"):
        Image.fromarray(picture).save(root / "images" / name)
    objects = {"red": [[0, 0, 14, 14]], "green": [[18, 18, 30, 30]]}
    entries = [{"file": name, "objects": objects} for name in ("a.png", "b.png")]
    (root / "annotations.json").write_text(json.dumps(entries))
    found = run(
        read_dataset(root), metrics=["energy", "pointing"],
        metric_options={"pointing": {"tolerance": 0.0}},
    )  # fmt: skip
    assert found.counts["used"] == 2
    assert found.counts["explained"] == 4
    assert found.values["grad-cam", "energy"].ids == (
        "a.png\tgreen", "a.png\tred", "b.png\tgreen", "b.png\tred",
    )  # fmt: skip
    # Each class's map lies on its own object.
    for label in ("red", "green"):
        result = found.result("grad-cam", "energy", f"several classes, {label}")
        assert result["n"] == 2
        assert result["mean"] > 2 * found.result("whole image", "energy")["mean"]
        assert found.result("grad-cam", "pointing", f"several classes, {label}")["mean"] == 1
    assert found.result("grad-cam", "energy", "several classes")["n"] == 4
    # Two equal pictures whose classes count together: what was not seen of two pictures.
    energy, unseen = found.result("grad-cam", "energy"), 1 - 0.025**0.5
    assert energy["low"] == pytest.approx(energy["mean"] * (1 - unseen))
    assert energy["high"] == pytest.approx(energy["mean"] + unseen * (1 - energy["mean"]))


def test_which_class_is_explained() -> None:
    classes = {"cat": (1, 2), "dog": (3,), "cow": ()}
    ranked = [3, 2, 1, 0]
    both = ("cat", "dog", "cow")
    assert chosen_classes(both, classes, ranked, "label") == {"cat": 2, "dog": 3}
    assert chosen_classes(both, classes, ranked, "predicted") == {"dog": 3}
    assert chosen_classes(("cat",), classes, ranked, "predicted") == {"cat": 3}
    assert chosen_classes(("cow",), classes, ranked, "label") == {}


def test_misclassified_pictures_count_when_asked_for(data: Dataset) -> None:
    assert run(data, metrics=["energy"], only_correct=False).counts["used"] == 6


def test_a_larger_sample_holds_the_smaller_one() -> None:
    records: Any = list(range(50))
    few, many = sample(records, 7, 3), sample(records, 20, 3)
    assert len(few) == 7
    assert set(few) <= set(many)
    assert few == sorted(few)
    assert sample(records, 7, 4) != few


def test_the_threshold_of_a_picture_is_chosen_on_others(data: Dataset) -> None:
    """A picture whose own best threshold differs gains nothing from it."""
    found = run(data, methods=["grad-cam"], metrics=["max-box-accuracy"])
    ids = found.values["grad-cam", "max-box-accuracy"].ids
    halves = halves_of(ids, 0)
    assert sorted(map(len, halves)) == [2, 3]
    sides = {id_: side for side, half in enumerate(halves) for id_ in half}
    overlaps = {}
    for record in data.records[:5]:
        why = seewhy.explain(
            Colours().eval(), str(record.image), NAMES.index(record.labels[0]), preprocess=LIGHT
        )
        overlaps[f"{record.id}\t{record.labels[0]}"] = localisation.box_overlaps(
            why.heatmap, record.boxes, thresholds=np.arange(100) / 100, largest=True
        )
    for id_ in ids:
        others = np.stack([overlaps[one] for one in ids if sides[one] != sides[id_]])
        place = (others >= 0.5).mean(0).argmax()
        hit = float(overlaps[id_][place] >= 0.5)
        assert found.values["grad-cam", "max-box-accuracy"][id_] == hit


def test_the_pixels_of_all_pictures_are_pooled(data: Dataset, tmp_path: Path) -> None:
    """PxAP by the paper's equations, and each picture with as much weight whatever its size."""
    Image.fromarray(patch("red", (4, 4, 24, 24))).resize((2 * SIDE, 2 * SIDE), 0).save(
        data.records[0].image
    )
    mask = np.zeros((2 * SIDE, 2 * SIDE), np.uint8)
    mask[8:48, 8:48] = 1
    Image.fromarray(mask).save(data.records[0].image.parent.parent / "masks" / "0.png")
    data = read_dataset(_without_sizes(tmp_path / "data" / "annotations.json"))
    found = run(data, methods=["grad-cam", "layer-cam"], metrics=["pxap"], out=tmp_path / "out")
    maps, regions = [], []
    for record in data.records[:5]:
        why = seewhy.explain(
            Colours().eval(), str(record.image), NAMES.index(record.labels[0]), preprocess=LIGHT
        )
        # The others' pixels four times, so that they weigh as much as the large picture's.
        times = 4 if why.heatmap.shape == (SIDE, SIDE) else 1
        maps += [reference.scaled(why.heatmap)] * times
        regions += [record.mask(record.labels[0])] * times
    edges = [place / 100 for place in range(101)]
    result = found.result("grad-cam", "pxap")
    wanted = reference.pixel_average_precision(maps, regions, edges)
    assert result["mean"] == pytest.approx(wanted, abs=1e-5)
    own = found.values["grad-cam", "pxap"]
    assert result["n"] == len(own) == 5
    assert result["mean"] != pytest.approx(float(own.mean()), abs=1e-3)
    assert result["low"] < result["mean"] < result["high"]
    (gap,) = (
        one["mean"] for one in found.differences
        if (one["method"], one["subset"], one["to"]) == ("layer-cam", "all", "grad-cam")
    )  # fmt: skip
    assert gap == pytest.approx(found.result("layer-cam", "pxap")["mean"] - result["mean"])


def _without_sizes(path: Path) -> Path:
    entries = json.loads(path.read_text())
    for one in entries:
        del one["size"]
    entries[0]["boxes"] = [[8, 8, 48, 48]]
    path.write_text(json.dumps(entries))
    return path


def edges(inputs: torch.Tensor) -> torch.Tensor:
    return inputs.std(1)


def test_a_test_ends_in_a_verdict_where_the_pictures_are_enough(
    data: Dataset, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {
        "methods": ["grad-cam", edges], "metrics": ["sanity-cascading", "energy"],
        "metric_options": {"sanity-cascading": {"stages": 2, "fresh": "normal"}},
    }  # fmt: skip
    few = run(data, **asked)
    result = few.result("edges", "sanity-cascading")
    assert (result["mean"], result["verdict"]) == (pytest.approx(1), "open")
    assert "verdict" not in few.result("edges", "energy")
    many = run(read_dataset(copies(tmp_path / "many", 24)), **asked)
    result = many.result("edges", "sanity-cascading")
    assert (result["mean"], result["verdict"]) == (pytest.approx(1), "fails")
    assert result["p"] < 0.05
    rows = list(csv.DictReader(io.StringIO(many.table())))
    assert {row["verdict"] for row in rows if row["metric"] == "energy"} == {""}
    assert "fails" in {row["verdict"] for row in rows if row["method"] == "edges"}
    assert {row["interval"] for row in rows} <= {
        intervals.BOUNDED, intervals.EXACT, "none, fewer than 2 images"
    }  # fmt: skip


def copies(root: Path, count: int) -> Path:
    """Red pictures whose boxes differ a little."""
    entries = []
    (root / "images").mkdir(parents=True)
    for number in range(count):
        box = (2 + number % 5, 3 + number % 4, 16 + number % 7, 20)
        Image.fromarray(patch("red", box)).save(root / "images" / f"{number}.png")
        entries.append({"file": f"{number}.png", "label": "red", "boxes": [box]})
    (root / "annotations.json").write_text(json.dumps(entries))
    return root / "annotations.json"


@pytest.mark.parametrize("only_correct", [True, False])
@pytest.mark.parametrize("target", ["label", "predicted"])
def test_what_the_model_decided_is_in_every_evaluation(
    data: Dataset, tmp_path: Path, only_correct: bool, target: str
) -> None:
    found = run(
        data, methods=["layer-cam"], metrics=["energy"], only_correct=only_correct, target=target,
        out=tmp_path / "out",
    )  # fmt: skip
    assert found.counts["misclassified"] == 1
    assert found.counts["misclassified and left out"] == (1 if only_correct else 0)
    made = found.decisions
    wanted = intervals.proportion(5, 6)
    assert (made.right, made.count, made.low, made.high) == (5, 6, *wanted)
    assert {(one.label, one.predicted, one.count, one.right) for one in made.confusion} == {
        ("red", "red", 2, True), ("green", "green", 2, True), ("blue", "blue", 1, True),
        ("blue", "green", 1, False),
    }  # fmt: skip
    (wrong,) = made.wrong
    assert (wrong.record, wrong.labels, wrong.label) == ("5.png", ("blue",), "blue")
    assert (wrong.predicted_name, wrong.true_name) == ("green", "blue")
    assert wrong.used == (not only_correct)
    with torch.no_grad():
        scores = Colours().eval()(LIGHT(np.asarray(Image.open(data.records[5].image)))[None])
    probabilities = scores.softmax(1)[0].tolist()
    assert wrong.probability == pytest.approx(probabilities[1], abs=1e-5)
    assert wrong.true_probability == pytest.approx(probabilities[2], abs=1e-5)
    assert set(wrong.pictures) == {"predicted", "true"}
    assert wrong.pictures["predicted"] != wrong.pictures["true"]
    content = json.loads((tmp_path / "out" / "evaluation.json").read_text())["decisions"]
    assert content["wrong"][0]["pictures"] == dict(wrong.pictures)
    assert content["accuracy"] == pytest.approx(5 / 6)
    assert wrong.pictures["true"] in (tmp_path / "out" / "evaluation.html").read_text()


def test_the_class_a_map_is_for_stands_beside_it(data: Dataset, tmp_path: Path) -> None:
    found = run(
        data, metrics=["energy"], only_correct=False, target="predicted", out=tmp_path / "out",
        pictures=6, wrong=0,
    )  # fmt: skip
    shown = {one["record"]: (one["label"], one["explained"]) for one in found.images}
    assert shown["5.png"] == ("blue", "green")
    assert shown["0.png"] == ("red", "red")
    assert not found.decisions.wrong[0].pictures


def test_decisions_of_labels_with_several_classes() -> None:
    status = {
        "a": decided(1, True, cat=(1, 0.6)),
        "b": decided(3, False, cat=(2, 0.2)),
        "c": decided(3, True, cat=(2, 0.2), dog=(3, 0.7)),
        "d": decided(9, False, cat=(2, 0.3), dog=(3, 0.4)),
        "e": decided(9, False),  # no label that has a class
    }
    made = decisions_of(status, {"cat": (1, 2), "dog": (3,)}, None)
    assert (made.right, made.count) == (2, 4)
    assert {(one.label, one.predicted, one.count) for one in made.confusion} == {
        ("cat", "cat", 1), ("cat", "dog", 1), ("dog", "dog", 1), ("dog", "class 9", 1),
    }  # fmt: skip
    assert [(one.record, one.true_name) for one in made.wrong] == [
        ("b", "class 2"),
        ("d", "class 3"),
    ]
    names = ["a", "tabby", "lynx", "Dog"]
    made = decisions_of({"f": decided(1, False, dog=(3, 0.1))}, {"07": (1,), "dog": (3,)}, names)
    (one,) = made.confusion  # a label that is a number says nothing by itself
    assert (one.label, one.label_name, one.predicted) == ("dog", "dog", "07 (tabby)")
    nothing = decisions_of({}, {}, None)
    assert nothing.count == 0
    assert np.isnan([nothing.accuracy, nothing.low, nothing.high]).all()


def decided(predicted: int, right: bool, **truth: tuple[int, float]) -> dict[str, Any]:
    return {
        "status": "used", "right": right, "predicted": predicted, "probability": 0.5,
        "truth": {label: {"class": c, "probability": p} for label, (c, p) in truth.items()},
    }  # fmt: skip


def changed_boxes(data: Dataset) -> Dataset:
    box = dataclasses.replace(data.records[1].boxes[0], x0=20.0, y0=20.0, x1=31.0, y1=31.0)
    return with_record(data, 1, boxes=(box,))


def changed_label(data: Dataset) -> Dataset:
    box = dataclasses.replace(data.records[5].boxes[0], label="green")
    return with_record(data, 5, labels=("green",), boxes=(box,), masks=None)


def changed_mask(data: Dataset) -> Dataset:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[:4] = 1
    Image.fromarray(mask).save(data.records[1].image.parent.parent / "masks" / "1.png")
    return data


def changed_picture(data: Dataset) -> Dataset:
    Image.fromarray(patch("green", (18, 18, 30, 30))).save(data.records[1].image)
    return data


def with_record(data: Dataset, place: int, **parts: Any) -> Dataset:
    records = list(data.records)
    records[place] = dataclasses.replace(records[place], **parts)
    return dataclasses.replace(data, records=tuple(records))


@pytest.mark.parametrize("change", [changed_boxes, changed_label, changed_mask, changed_picture])
def test_what_was_corrected_is_computed_anew_and_nothing_else(
    data: Dataset, tmp_path: Path, change: Any
) -> None:
    asked: dict[str, Any] = {"metrics": ["energy", "mask-iou", "drop"], "out": tmp_path / "out"}
    counted = Counted()
    before = run(data, model=counted, **asked, pictures=0, wrong=0)
    assert before.counts["computed anew"] == 0
    corrected = change(data)
    fresh = run(corrected, metrics=asked["metrics"])
    counted.pictures = 0
    found = run(corrected, model=counted, **asked, pictures=0, wrong=0)
    assert len(found.changed) == found.counts["computed anew"] == 1
    assert found.results == fresh.results != before.results
    assert found.decisions == fresh.decisions
    # A black picture to count the classes; the one picture, its map, and its drops' two runs each
    # for the map and the random one.
    assert counted.pictures <= 1 + 1 + 1 + 4
    counted.pictures = 0
    again = run(corrected, model=counted, **asked, pictures=0, wrong=0)
    assert again.results == found.results
    assert again.changed == []
    assert counted.pictures == 1


def test_two_data_sets_of_one_name_are_not_mixed(data: Dataset, tmp_path: Path) -> None:
    other = written(tmp_path / "other" / "data")
    for number, record in enumerate(read_dataset(other).records):
        picture = np.asarray(Image.open(record.image))[:, ::-1]
        if number:
            Image.fromarray(np.ascontiguousarray(picture)).save(record.image)
    run(data, metrics=["energy"], out=tmp_path / "out")
    mirrored = read_dataset(other)
    found = run(mirrored, metrics=["energy"], out=tmp_path / "out")
    assert found.counts["computed anew"] == 5
    assert found.results == run(mirrored, metrics=["energy"]).results


def test_options_are_checked_and_written_beside_the_figures(data: Dataset) -> None:
    with pytest.raises(MetricError, match="has no option nothing; it has tolerance"):
        run(data, metrics=["pointing"], metric_options={"pointing": {"nothing": 1}})
    with pytest.raises(MetricError, match="probability is wanted"):
        run(data, metrics=["drop"], metric_options={"drop": {"score": "logit"}})
    with pytest.raises(MetricError, match="did you mean pointing"):
        find_metric("pointin")
    with pytest.raises(TargetError, match="target must be label or predicted, not 'truth'"):
        run(data, target="truth")
    with pytest.raises(MethodError, match="Name each method once"):
        run(data, methods=["grad-cam", "grad-cam"])
    found = run(data, metrics=["deletion"], metric_options={"deletion": {"step": 0.5}})
    assert found.metrics[0]["protocol"] == {
        "step": 0.5, "baseline": "zero", "seed": 0, "score": "probability",
    }  # fmt: skip
    assert "step=0.5; baseline=zero" in found.table()


def test_a_logit_and_a_probability_are_different_scores(data: Dataset) -> None:
    one, other = (
        run(data, metrics=["deletion"], metric_options={"deletion": {"step": 0.5, "score": kind}})
        for kind in ("logit", "probability")
    )
    assert one.result("grad-cam", "deletion")["mean"] != pytest.approx(
        other.result("grad-cam", "deletion")["mean"]
    )


def test_every_metric_has_its_entry() -> None:
    for name, metric in METRICS.items():
        assert metric.with_options({}) == metric.options, name
        assert metric.says
        assert metric.source
        assert not metric.says.endswith(".")
        assert bool(metric.baselines) or metric.needs not in (*PLACED, "collage", "score"), name


def test_what_is_measured_by_default_is_what_the_data_allows(data: Dataset, tmp_path: Path) -> None:
    assert default_metrics(data) == [
        "pointing", "energy", "box-accuracy", "mask-iou", "drop", "increase",
    ]  # fmt: skip
    for name in NAMES:
        (tmp_path / "by" / name).mkdir(parents=True)
        Image.fromarray(patch(name, (3, 3, 20, 20))).save(tmp_path / "by" / name / "one.png")
    folder = read_dataset(tmp_path / "by")
    assert default_metrics(folder) == ["drop", "increase"]
    found = run(folder)
    assert found.counts["used"] == 3
    assert {one["subset"] for one in found.results} == {"all"}


def test_the_files_it_leaves(data: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = run(data, methods=["grad-cam", "layer-cam"], metrics=["energy", "deletion"], out=out,
                metric_options={"deletion": {"step": 0.25}})  # fmt: skip
    content = json.loads((out / "evaluation.json").read_text())
    assert content == json.loads(json.dumps(found.to_json()))
    assert content["protocol"]["metrics"]["deletion"]["step"] == 0.25
    assert content["protocol"]["versions"]["torch"] == torch.__version__
    kinds = [one["kind"] for one in content["images"] if one["method"] == "grad-cam"]
    assert kinds == ["worst", "worst", "best", "best"]  # the two methods draw the same maps
    assert sum("plain" in one for one in content["images"]) == 4
    assert all(one["picture"].startswith("data:image/jpeg;base64,") for one in content["images"])
    lines = (out / "table.csv").read_text().splitlines()
    assert len(lines) == len(found.results) + 1
    page = (out / "evaluation.html").read_text()
    assert "grad-cam" in page
    assert "layer-cam" in page


def test_it_shows_and_saves_itself_as_every_result_does(data: Dataset, tmp_path: Path) -> None:
    found = run(data, methods=["grad-cam", "layer-cam"], metrics=["energy", "pointing"])
    said = repr(found)
    assert said.startswith("<Evaluation of grad-cam, layer-cam by 2 metrics on ")
    assert said.isprintable()
    assert len(said) < 200
    assert found._repr_png_().startswith(b"\x89PNG")
    for ending in ("png", "pdf"):
        assert found.save(tmp_path / f"a.{ending}").stat().st_size > 1000
    assert found.save(tmp_path / "a.csv").read_text() == found.table()
    assert json.loads(found.save(tmp_path / "a.json").read_text()) == json.loads(
        json.dumps(found.to_json())
    )
    with pytest.raises(ImageError, match=r"\.svg, \.csv or \.json; '\.npz'"):
        found.save(tmp_path / "a.npz")


def test_rows_as_parquet(data: Dataset, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    run(data, metrics=["energy"], out=tmp_path / "out")
    table = parquet.read_table(tmp_path / "out" / "rows.parquet")
    assert {one.name: str(one.type) for one in table.schema} == {
        "record": "string", "label": "string", "method": "string", "metric": "string",
        "value": "double",
    }  # fmt: skip
    kept = {
        (row.record, row.target, row.method, metric): value
        for row in read_results(tmp_path / "out" / "rows.jsonl").rows if row.method
        for metric, value in row.values["metrics"].items()
    }  # fmt: skip
    assert len(kept) == 5 * 3  # the method and two baselines
    there = {(r["record"], r["label"], r["method"], r["metric"]): r["value"]
             for r in table.to_pylist()}  # fmt: skip
    assert there == kept


def test_on_photographs(shared_data: Path) -> None:
    model = pytest.importorskip("timm") and seewhy.load_model("demo")
    found = evaluate(
        model, read_dataset(shared_data / "ilsvrc_val"), methods=["grad-cam"], limit=20,
        metrics=["pointing", "energy", "drop"],
    )  # fmt: skip
    assert found.counts["records"] == 20
    assert found.counts["used"] > 12
    assert found.result("grad-cam", "pointing")["mean"] > 0.8
    assert (
        found.result("grad-cam", "energy")["mean"] > found.result("whole image", "energy")["mean"]
    )


def test_the_papers_sanity_result(shared_data: Path) -> None:
    """Adebayo 2018: Grad-CAM depends on what the model has learned, guided backpropagation not."""
    model = pytest.importorskip("timm") and seewhy.load_model("demo")
    found = evaluate(
        model, read_dataset(shared_data / "ilsvrc_val"), methods=["grad-cam", "guided-backprop"],
        limit=30, metrics=["sanity-cascading"],
    )  # fmt: skip
    assert found.result("grad-cam", "sanity-cascading")["verdict"] == "passes"
    assert found.result("guided-backprop", "sanity-cascading")["verdict"] == "fails"
    assert found.result("guided-backprop", "sanity-cascading")["mean"] > 0.9


def test_the_probabilities_of_a_network_that_ends_in_a_sigmoid_are_its_own(tmp_path: Path) -> None:
    """They were turned into some again: 0.57 for 0.27."""
    from torch import nn

    from seewhy.evaluation.measuring import Examined

    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
        nn.Sigmoid(),
    ).eval()  # fmt: skip
    examined = Examined(net, None, None, None, 1)
    image = torch.rand(1, 3, 16, 16)
    target = examined.target_of([1], examined.read(image))
    score = examined.score([target], "probability")(image, torch.tensor([0]))
    torch.testing.assert_close(score, net(image)[:, 1].detach())
