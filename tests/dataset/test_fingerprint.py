"""A record's fingerprint changes with what it says, and with nothing else."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from seewhy.dataset import Box, IndexMasks, Record
from seewhy.dataset.coco import Segmentations
from seewhy.dataset.fingerprint import fingerprint


@pytest.fixture
def record(tmp_path: Path) -> Record:
    for name in ("picture.png", "mask.png"):
        Image.fromarray(np.zeros((4, 5), np.uint8)).save(tmp_path / name)
    return Record(
        "a", tmp_path / "picture.png", ("cat", "dog"), (Box(0, 0, 2, 3, "cat"),),
        IndexMasks(tmp_path / "mask.png", {"cat": (1,), "dog": (2,)}),
    )  # fmt: skip


def test_it_is_the_same_each_time_and_wherever_the_files_lie(
    record: Record, tmp_path: Path
) -> None:
    first = fingerprint(record)
    assert first == fingerprint(record)
    assert len(first) == 32
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    image = record.image.rename(moved / "other.png")
    assert fingerprint(dataclasses.replace(record, image=image)) == first


def changed(record: Record, **parts: Any) -> bool:
    return fingerprint(dataclasses.replace(record, **parts)) != fingerprint(record)


def test_every_part_of_the_annotation_counts(record: Record) -> None:
    (box,), masks = record.boxes, record.masks
    assert isinstance(masks, IndexMasks)
    assert changed(record, labels=("cat",))
    assert changed(record, labels=("dog", "cat"))
    assert changed(record, boxes=())
    assert changed(record, boxes=(box, box))
    for part in (
        {"x0": 1}, {"y0": 1}, {"x1": 2.5}, {"y1": 2}, {"label": "dog"}, {"difficult": True}
    ):  # fmt: skip
        assert changed(record, boxes=(dataclasses.replace(box, **part),)), part
    assert changed(record, masks=None)
    assert changed(record, masks=dataclasses.replace(masks, values={"cat": (2,), "dog": (1,)}))
    assert changed(record, masks=dataclasses.replace(masks, void=()))


def test_the_files_contents_count(record: Record) -> None:
    assert isinstance(record.masks, IndexMasks)
    seen = {fingerprint(record)}
    for path in (record.image, record.masks.path):
        Image.fromarray(np.ones((4, 5), np.uint8)).save(path)
        seen.add(fingerprint(record))
        path.write_bytes(b"")
        seen.add(fingerprint(record))
        path.unlink()
        seen.add(fingerprint(record))
    assert len(seen) == 7


def test_masks_of_any_kind_count(record: Record) -> None:
    class Drawn:
        """No data class: known by what it says alone."""

        def __init__(self, value: bool) -> None:
            self.value = value

        def of(self, label: str) -> np.ndarray | None:
            return np.full((4, 5), self.value) if label == "cat" else None

        def ignored(self) -> None:
            return None

    polygons = Segmentations((4, 5), {"cat": (((0, 0, 4, 0, 4, 4),),)})
    others = Segmentations((4, 5), {"cat": (((0, 0, 4, 0, 4, 3),),)})
    made = {
        fingerprint(dataclasses.replace(record, masks=masks))
        for masks in (Drawn(True), Drawn(False), polygons, others)
    }
    assert len(made) == 4
    again = dataclasses.replace(record, masks=Drawn(True))
    assert fingerprint(again) == fingerprint(dataclasses.replace(record, masks=Drawn(True)))
