"""`seewhy evaluate`: what is printed, written, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_networks import TINY

COLOURS = ("red", "green", "blue")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Five pictures with a coloured box each."""
    entries = []
    for number in range(5):
        colour, at = COLOURS[number % 3], 3 * number
        picture = np.full((32, 32, 3), 50, np.uint8)
        picture[at : at + 16, at : at + 16, COLOURS.index(colour)] = 250
        name = f"{colour}-{number}.png"
        (tmp_path / "data" / "images").mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(tmp_path / "data" / "images" / name)
        entries.append({"file": name, "label": colour, "boxes": [[at, at, at + 16, at + 16]]})
    path = tmp_path / "data" / "annotations.json"
    path.write_text(json.dumps(entries))
    return path.relative_to(tmp_path)


def words(data: Path, labels: Path, *more: Any) -> tuple[Any, ...]:
    return ("evaluate", *TINY, "--labels", labels, "--data", data, *more)


def test_the_table_and_the_files(
    seewhy: Callable[..., Any], data: Path, labels: Path, tmp_path: Path
) -> None:
    done = seewhy(*words(data, labels, "--method", "grad-cam,layer-cam"))
    assert done.exit_code == 0, done.output
    for word in (
        "grad-cam", "layer-cam", "centre point", "whole image", "random map", "all: 5",
        "small object: 5", "pointing", "energy", "lower is better: drop", "5 pictures, 5 used",
    ):  # fmt: skip
        assert word in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines()[:20])
    out = tmp_path / "seewhy-out" / "evaluation"
    assert {"evaluation.json", "evaluation.html", "table.csv", "rows.jsonl"} <= {
        path.name for path in out.iterdir()
    }


def test_json_is_a_line_a_result_with_its_protocol(
    seewhy: Callable[..., Any], data: Path, labels: Path
) -> None:
    done = seewhy(
        *words(data, labels, "--json", "--metrics", "deletion,energy", "--set",
               "deletion.step=0.5,deletion.score=logit,energy.scaling=min-max")
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    first, *lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert first["decisions"]["accuracy"] == 1
    (one,) = (
        x for x in lines
        if (x["method"], x["metric"], x["subset"]) == ("grad-cam", "deletion", "all")
        and "to" not in x
    )  # fmt: skip
    assert one["n"] == 5
    assert one["protocol"]["step"] == 0.5
    assert one["protocol"]["score"] == "logit"
    assert {x["protocol"]["scaling"] for x in lines if x["metric"] == "energy"} == {"min-max"}


def test_a_second_run_goes_on_and_another_protocol_is_refused(
    seewhy: Callable[..., Any], data: Path, labels: Path, tmp_path: Path
) -> None:
    first = seewhy(*words(data, labels, "--metrics", "energy", "--limit", 2))
    rows = tmp_path / "seewhy-out" / "evaluation" / "rows.jsonl"
    before = rows.read_bytes()
    second = seewhy(*words(data, labels, "--metrics", "energy"))
    assert first.exit_code == second.exit_code == 0
    assert rows.read_bytes().startswith(before)
    assert "5 pictures, 5 used" in second.stdout
    other = words(data, labels, "--metrics", "energy", "--set", "energy.scaling=min-max")
    refused = seewhy(*other)
    assert refused.exit_code == 2
    assert "metrics.energy.scaling was 'none' and is 'min-max' now" in refused.stderr
    assert seewhy(*other, "--restart").exit_code == 0


def test_a_bad_picture_is_named_and_the_status_is_1(
    seewhy: Callable[..., Any], data: Path, labels: Path, tmp_path: Path
) -> None:
    (tmp_path / "data" / "images" / "green-1.png").write_bytes(b"nothing")
    # The table reader opens pictures whose size is not said, so it is told.
    entries = json.loads((tmp_path / data).read_text())
    (tmp_path / data).write_text(json.dumps([{**one, "size": [32, 32]} for one in entries]))
    done = seewhy(*words(data, labels, "--metrics", "energy"))
    assert done.exit_code == 1
    assert "green-1.png" in done.stderr
    assert "5 pictures, 4 used; 1 unreadable" in done.stdout
    content = json.loads((tmp_path / "seewhy-out/evaluation/evaluation.json").read_text())
    assert content["problems"][0]["record"] == "green-1.png"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--metrics", "pointin"), "did you mean pointing"),
        (("--metrics", "energy", "--set", "energy.colour=1"), "no option 'colour'"),
        (("--metrics", "energy", "--set", "road.noise=1"), "'road' is not measured"),
        (("--metrics", "road", "--set", "road.noise=much"), "a value like 0.01 is wanted"),
        (("--metrics", "energy", "--set", "energy.=1"), "cannot be read"),
        (("--method", "grad-cat"), "did you mean grad-cam"),
        (("--only", "purple"), "has no label 'purple'"),
        (("--classes", "nothing.json"), "nothing.json"),
    ],
)
def test_a_wrong_command_ends_with_2_and_one_line(
    seewhy: Callable[..., Any], data: Path, labels: Path, more: tuple[str, ...], said: str
) -> None:
    done = seewhy(*words(data, labels, *more))
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_labels_are_mapped_by_a_file_and_chosen(
    seewhy: Callable[..., Any], data: Path, labels: Path, tmp_path: Path
) -> None:
    entries = json.loads((tmp_path / data).read_text())
    for one in entries:
        one["label"] = {"red": "rosso", "green": "verde", "blue": "azzurro"}[one["label"]]
    (tmp_path / data).write_text(json.dumps(entries))
    refused = seewhy(*words(data, labels, "--metrics", "energy"))
    assert refused.exit_code == 2
    assert "'rosso'" in refused.stderr
    mapping = tmp_path / "classes.json"
    mapping.write_text(json.dumps({"rosso": "red", "verde": 1, "azzurro": None}))
    done = seewhy(*words(data, labels, "--metrics", "energy", "--classes", mapping))
    assert done.exit_code == 0, done.output
    assert "5 pictures, 4 used; 1 without a class of the model" in done.stdout
    only = seewhy(
        *words(data, labels, "--metrics", "energy", "--classes", mapping, "--only", "rosso",
               "--out", "only")
    )  # fmt: skip
    assert "2 pictures, 2 used" in only.stdout


def test_wide_tables_are_parted_to_the_terminal(
    seewhy: Callable[..., Any], data: Path, labels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = ("--metrics", "pointing,energy,box-iou,box-accuracy,drop,gain,increase")
    narrow = seewhy(*words(data, labels, *more))
    monkeypatch.setenv("COLUMNS", "160")
    wide = seewhy(*words(data, labels, *more))
    assert narrow.stdout.count("all: 5") == 2
    assert wide.stdout.count("all: 5") == 1


def test_a_test_says_of_whom_it_cannot_tell(
    seewhy: Callable[..., Any], data: Path, labels: Path, tmp_path: Path
) -> None:
    done = seewhy(
        *words(data, labels, "--method", "cam,eigen-cam", "--metrics", "energy,sanity-class",
               "--pictures", 1)
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    said = "another class's map: too few pictures to decide on cam, eigen-cam"
    assert said in done.stdout
    content = json.loads((tmp_path / "seewhy-out/evaluation/evaluation.json").read_text())
    verdicts = {x["method"]: x["verdict"] for x in content["results"] if x["subset"] == "all"
                and "verdict" in x}  # fmt: skip
    assert verdicts == {"cam": "open", "eigen-cam": "open"}  # 1 each time, but of 5 pictures
    shown = [one for one in content["images"] if one["method"] == "cam"]
    assert [one["kind"] for one in shown] == ["apart"]
    assert shown[0]["plain"].startswith("data:image/jpeg")


def test_collages_of_too_few_classes_are_a_problem_that_is_said(
    seewhy: Callable[..., Any], data: Path, labels: Path
) -> None:
    done = seewhy(*words(data, labels, "--metrics", "energy,grid-pointing"))
    assert done.exit_code == 1
    assert "a collage of 2 × 2 pictures needs 4 different classes" in done.stderr
    assert "5 pictures, 5 used;" in done.stdout


def test_wrong_pictures_are_counted_and_listed(
    seewhy: Callable[..., Any], data: Path, labels: Path, tmp_path: Path
) -> None:
    entries = json.loads((tmp_path / data).read_text())
    for one in entries[:2]:
        one["label"] = "blue"
    (tmp_path / data).write_text(json.dumps(entries))
    asked = words(data, labels, "--metrics", "energy", "--wrong", 1)
    left_out = seewhy(*asked)
    assert "5 pictures, 3 used; 2 misclassified and left out" in left_out.stdout
    kept = seewhy(*asked, "--misclassified", "--target", "predicted", "--out", "kept")
    assert "5 pictures, 5 used" in kept.stdout
    for done in (left_out, kept):
        assert done.exit_code == 0, done.output
        assert "accuracy 0.600 (0.147..0.947): 3 of 5 pictures are right, 2 wrong" in done.stdout
        assert "confused: blue → red 1, blue → green 1" in done.stdout
        assert "red-0.png" in done.stdout
        assert "green-1.png" in done.stdout
    content = json.loads((tmp_path / "kept" / "evaluation.json").read_text())
    assert [len(one["pictures"]) for one in content["decisions"]["wrong"]] == [2, 0]


def test_corrected_annotations_are_computed_anew_and_said(
    seewhy: Callable[..., Any], data: Path, labels: Path, tmp_path: Path
) -> None:
    asked = words(data, labels, "--metrics", "energy")
    entries = json.loads((tmp_path / data).read_text())
    wrong = [{**one, "boxes": [[20, 0, 32, 4]]} for one in entries[:2]]
    (tmp_path / data).write_text(json.dumps([*wrong, *entries[2:]]))
    first = seewhy(*asked)
    assert "computed again" not in first.stdout
    (tmp_path / data).write_text(json.dumps(entries))
    second = seewhy(*asked)
    assert "2 computed again, because the picture or its annotation has changed" in second.stdout
    seewhy(*asked, "--out", "fresh")
    results = [
        json.loads((tmp_path / folder / "evaluation.json").read_text())["results"]
        for folder in ("seewhy-out/evaluation", "fresh")
    ]
    assert results[0] == results[1]
    assert "computed again" not in seewhy(*asked).stdout
