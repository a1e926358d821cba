"""Annotations damaged at random end in a problem or in one error, never in a crash."""

from __future__ import annotations

import contextlib
import random
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataset.drawn import index_png, picture, voc_xml, write_json
from seewhy.dataset import read_dataset
from seewhy.errors import DataError

VALUES = (
    None, True, -1, 0, 1.5, float("nan"), 1e400, 10**400, "", "1", "\0", "\ud800", "a.jpg", [], {},
    [None], [[]], {"id": 1}, ["a"], [1, 2, 3], {"counts": "x"}, [float("inf")] * 4,
)  # fmt: skip


def places(content: Any) -> list[tuple[Any, Any]]:
    """Every container in a JSON with each of its keys."""
    if isinstance(content, dict):
        keys: list[Any] = list(content)
    elif isinstance(content, list):
        keys = list(range(len(content)))
    else:
        return []
    return [(content, key) for key in keys] + [
        place for key in keys for place in places(content[key])
    ]


def survives(path: Path) -> None:
    """Reads it, with every mask."""
    with contextlib.suppress(DataError):
        dataset = read_dataset(path)
        for record in dataset.records:
            record.id.encode("utf-8")
            for label in record.labels:
                with contextlib.suppress(DataError):
                    record.mask(label)
        for problem in dataset.problems:
            str(problem).encode("utf-8")


def coco() -> Any:
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4], "iscrowd": 0}
    return {
        "info": {"pictures_in": ["."]},
        "images": [{"id": 1, "file_name": "a.jpg", "width": 12, "height": 8},
                   {"id": 2, "file_name": "b.jpg", "width": 12, "height": 8}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [
            {**annotation, "segmentation": [[1, 1, 4, 1, 4, 4]]},
            {**annotation, "image_id": 2, "segmentation": {"size": [8, 12], "counts": [90, 6]}},
        ],
    }  # fmt: skip


def table() -> Any:
    return {
        "imagenet_ids": {"cat": [281]},
        "mask_values": {"cat": 1},
        "images": [
            {"file": "a.jpg", "label": "cat", "boxes": [[0, 0, 4, 4]], "size": [12, 8]},
            {"file": "b.jpg", "objects": {"cat": [[0, 0, 4, 4]]}, "mask": "b.png"},
            {"file": "b.jpg", "label": "dog", "imagenet_ids": [1, 2]},
        ],
    }


@pytest.mark.parametrize("make", [coco, table])
def test_json_with_a_wrong_value_somewhere(tmp_path: Path, make: Callable[[], Any]) -> None:
    generator = random.Random(0)
    for name in ("a.jpg", "b.jpg"):
        picture(tmp_path / name)
    index_png(tmp_path / "masks" / "b.png", [[1] * 12] * 8)
    survives(write_json(tmp_path / "annotations.json", make()))
    count = len(places(make()))
    for number in range(count):
        for value in generator.sample(VALUES, 8):
            content = make()
            container, key = places(content)[number]
            container[key] = value
            survives(write_json(tmp_path / "annotations.json", content))
        content = make()
        container, key = places(content)[number]
        del container[key]
        survives(write_json(tmp_path / "annotations.json", content))


def test_texts_with_wrong_bytes(tmp_path: Path) -> None:
    generator = random.Random(0)
    picture(tmp_path / "voc" / "JPEGImages" / "a.jpg")
    voc_xml(tmp_path / "voc", "a", [("cat", (1, 1, 4, 4)), ("dog", (2, 2, 3, 3))])
    picture(tmp_path / "csv" / "a.jpg")
    (tmp_path / "csv" / "annotations.csv").write_text(
        "image,label,x0,y0,x1,y1,width,height\na.jpg,cat,0,0,4,4,12,8\na.jpg,dog,1,1,2,2,12,8\n"
    )
    picture(tmp_path / "yolo" / "images" / "a.jpg")
    (tmp_path / "yolo" / "labels").mkdir()
    (tmp_path / "yolo" / "labels" / "a.txt").write_text(
        "0 0.5 0.5 0.5 0.5\n1 0.1 0.1 0.4 0.1 1 1\n"
    )
    (tmp_path / "yolo" / "data.yaml").write_text("train: images\nval: images\nnames: [cat, dog]\n")
    for file in ("voc/Annotations/a.xml", "csv/annotations.csv", "yolo/data.yaml",
                 "yolo/labels/a.txt"):  # fmt: skip
        path = tmp_path / file
        whole = path.read_bytes()
        survives(tmp_path / file.split("/")[0])
        for _ in range(120):
            content = bytearray(whole)
            for _ in range(generator.randint(1, 4)):
                at = generator.randrange(len(content))
                way = generator.randrange(4)
                if way == 0:
                    content[at] = generator.randrange(256)
                elif way == 1:
                    content[at : at + generator.randint(1, 9)] = b""
                elif way == 2:
                    content[at:at] = generator.choice(string.punctuation + "\n\t 09").encode()
                else:
                    content[at:] = content[at : at + 9] * generator.randint(0, 3)
                if not content:
                    break
            path.write_bytes(content)
            survives(tmp_path / file.split("/")[0])
        path.write_bytes(whole)


def test_json_that_is_nested_too_deeply_says_so(tmp_path: Path) -> None:
    (tmp_path / "annotations.json").write_text("[" * 200_000)
    with pytest.raises(DataError, match="cannot be read as JSON"):
        read_dataset(tmp_path)
