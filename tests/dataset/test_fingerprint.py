"""A record's fingerprint: what changes it, and what does not."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dataset.drawn import index_png, picture, write_json
from seewhy.dataset import Box, Record, fingerprint, read_dataset
from seewhy.dataset.frames import Turned
from seewhy.dataset.segmentation import Segmentations
from seewhy.errors import DataError

OUTLINE = [[1, 1, 4, 1, 4, 3]]


@pytest.fixture
def record(tmp_path: Path) -> Record:
    picture(tmp_path / "set" / "a.png")
    index_png(tmp_path / "set" / "masks" / "a.png", [[1] * 12] * 8)
    entry = {"file": "a.png", "label": "cat", "boxes": [[0, 0, 4, 4]], "mask": "a.png",
             "mask_values": {"cat": 1}}  # fmt: skip
    return read_dataset(write_json(tmp_path / "set" / "annotations.json", [entry])).records[0]


def test_the_same_content_elsewhere_has_the_same_fingerprint(
    record: Record, tmp_path: Path
) -> None:
    assert fingerprint(record) == fingerprint(record)
    assert len(fingerprint(record)) == 32
    shutil.copytree(tmp_path / "set", tmp_path / "moved")
    moved = read_dataset(tmp_path / "moved").records[0]
    assert moved.image != record.image
    assert fingerprint(moved) == fingerprint(record)
    assert fingerprint(replace(record, id="other")) == fingerprint(record)


@pytest.mark.parametrize(
    "change",
    [
        {"labels": ("dog",)},
        {"labels": ("cat", "dog")},
        {"boxes": ()},
        {"boxes": (Box(0, 0, 4, 5, "cat"),)},
        {"boxes": (Box(0, 0, 4, 4, "dog"),)},
        {"boxes": (Box(0, 0, 4, 4, "cat", difficult=True),)},
        {"masks": None},
        {"masks": Segmentations((8, 12), {"cat": (OUTLINE,)})},
    ],
)
def test_a_corrected_annotation_changes_it(record: Record, change: dict[str, Any]) -> None:
    assert fingerprint(replace(record, **change)) != fingerprint(record)


def test_corrected_files_change_it(record: Record, tmp_path: Path) -> None:
    before = fingerprint(record)
    index_png(tmp_path / "set" / "masks" / "a.png", [[1] * 12] * 7 + [[2] * 12])
    with_mask = fingerprint(record)
    assert with_mask != before
    Image.fromarray(np.full((8, 12, 3), 9, np.uint8)).save(record.image)
    assert fingerprint(record) not in (before, with_mask)
    record.image.unlink()
    with pytest.raises(DataError, match=r"a\.png' cannot be read"):
        fingerprint(record)


def test_outlines_their_label_and_their_frame_count(record: Record) -> None:
    masks = [
        Segmentations((8, 12), {"cat": (OUTLINE,)}),
        Segmentations((8, 12), {"dog": (OUTLINE,)}),
        Segmentations((8, 12), {"cat": (OUTLINE, OUTLINE)}),
        Segmentations((8, 12), {"cat": ({"size": [8, 12], "counts": b"X1"},)}),
        Segmentations((8, 12), {"cat": ({"size": [8, 12], "counts": [90, 6]},)}),
    ]
    several = [*masks, Turned(masks[0], 3), Turned(masks[0], 2)]
    found = {fingerprint(replace(record, masks=one)) for one in several}
    assert len(found) == len(several)
