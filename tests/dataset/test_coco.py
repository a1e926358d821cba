"""COCO's JSON: boxes and masks by hand, and against pycocotools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dataset.drawn import picture, write_json
from seewhy.dataset import Box, read_dataset
from seewhy.dataset.segmentation import decode, decode_runs, fill_polygon
from seewhy.errors import DataError

SQUARE = [1, 1, 4, 1, 4, 3, 1, 3]


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Two pictures of 6 × 5 pixels around annotations/instances_val.json."""
    folder = tmp_path / "images" / "val"
    folder.mkdir(parents=True)
    for name in ("1.jpg", "2.jpg"):
        picture(folder / name, 6, 5)
    write_json(tmp_path / "annotations" / "captions_val.json", {})
    return write_json(tmp_path / "annotations" / "instances_val.json", content())


def content() -> dict[str, Any]:
    crowd = {"size": [5, 6], "counts": [25, 2, 3]}
    return {
        "images": [
            {"id": 2, "file_name": "2.jpg", "width": 6, "height": 5},
            {"id": 1, "file_name": "1.jpg", "width": 6, "height": 5},
        ],
        "categories": [{"id": 17, "name": "cat"}, {"id": 18, "name": "dog"}],
        "annotations": [
            annotation(1, 17, [1, 1, 3, 2], [SQUARE]),
            annotation(1, 18, [0, 0, 6, 5], [[0, 0, 6, 0, 0, 5], [5, 4, 6, 4, 6, 5, 5, 5]]),
            annotation(1, 17, [5, 0, 1, 2], crowd, iscrowd=1),
        ],
    }


def annotation(
    image: int, category: int, bbox: list[float], segmentation: Any, **more: Any
) -> dict[str, Any]:
    return {
        "image_id": image,
        "category_id": category,
        "bbox": bbox,
        "segmentation": segmentation,
        **more,
    }


def test_boxes_and_masks_by_hand(coco: Path, no_picture_is_decoded: None) -> None:
    dataset = read_dataset(coco.parent.parent)
    assert (dataset.kind, dataset.labels, dataset.problems) == ("coco", ("cat", "dog"), ())
    empty, record = dataset.records  # in the JSON's order
    assert (empty.id, empty.labels, empty.boxes) == ("2.jpg", (), ())
    assert record.labels == ("cat", "dog")
    assert record.boxes == (
        Box(1, 1, 4, 3, "cat"),
        Box(0, 0, 6, 5, "dog"),
        Box(5, 0, 6, 2, "cat", difficult=True),
    )
    cat = record.mask("cat")
    assert cat is not None
    by_hand = ["000001", "011101", "011100", "000000", "000000"]
    assert cat.dtype == bool
    assert ["".join(str(int(each)) for each in row) for row in cat] == by_hand
    dog = record.mask("dog")
    assert dog is not None
    # The triangle's edge is x/6 + y/5 = 1: a pixel centre is inside where that sum is below.
    centres = [[(x + 0.5) / 6 + (y + 0.5) / 5 < 1 for x in range(6)] for y in range(5)]
    centres[4][5] = True
    assert dog.tolist() == centres
    assert record.mask("horse") is None
    assert record.ignored() is None


def test_bad_annotations_are_named_with_their_reason(coco: Path) -> None:
    wrong = content()
    for number in range(3, 10):
        wrong["images"].append(
            {"id": number, "file_name": f"{number}.jpg", "width": 6, "height": 5}
        )
        picture(coco.parent.parent / "images" / "val" / f"{number}.jpg", 6, 5)
    (coco.parent.parent / "images" / "val" / "9.jpg").unlink()
    wrong["annotations"] += [
        annotation(3, 99, [0, 0, 2, 2], [SQUARE]),
        annotation(4, 17, [0, 0, 0, 2], [SQUARE]),
        annotation(5, 17, [0, 0, 9, 2], [SQUARE]),
        annotation(6, 17, [0, 0, 2, 2], [[1, 1, 2, 2]]),
        annotation(7, 17, [0, 0, "wide", 2], [SQUARE]),
        annotation(8, 17, [0, 0, 2, 2], {"size": [5, 6]}),
        annotation(77, 17, [0, 0, 2, 2], [SQUARE]),
    ]
    wrong["images"].append({"id": 1000})
    write_json(coco, wrong)
    dataset = read_dataset(coco)
    assert [record.id for record in dataset.records] == ["2.jpg", "1.jpg"]
    found = {problem.name: problem.reason for problem in dataset.problems}
    assert found.keys() == {*(f"{n}.jpg" for n in range(3, 10)), "annotation 9", "image 9"}
    assert found["3.jpg"] == "annotation 3: category 99 is not among the categories"
    assert "has no area" in found["4.jpg"]
    assert "lies outside" in found["5.jpg"]
    assert "fewer than 3 corners" in found["6.jpg"]
    assert "does not consist of numbers" in found["7.jpg"]
    assert "without counts" in found["8.jpg"]
    assert "there is no file" in found["9.jpg"]
    assert found["annotation 9"] == "belongs to no picture (77)"
    assert found["image 9"] == "has the file_name None, which is not the name of a file"


def test_a_label_with_one_object_undrawn_has_no_mask(coco: Path) -> None:
    wrong = content()
    wrong["annotations"][2]["segmentation"] = []
    write_json(coco, wrong)
    record = read_dataset(coco).records[1]
    assert record.mask("cat") is None
    assert record.mask("dog") is not None


def test_pictures_elsewhere_are_named(coco: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    (coco.parent.parent / "images" / "val").rename(moved)
    with pytest.raises(DataError, match="there is no file"):
        read_dataset(coco)
    assert len(read_dataset(coco, images=moved)) == 2
    with pytest.raises(DataError, match="is not a folder"):
        read_dataset(coco, images=tmp_path / "nowhere")


def test_the_json_is_read_once_and_may_be_told_by_kind(
    coco: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    loads = json.loads

    def counting(text: str) -> Any:
        reads.append(text)
        return loads(text)

    monkeypatch.setattr(json, "loads", counting)
    assert read_dataset(coco.parent.parent, kind="coco") == read_dataset(coco)
    assert len(reads) == 2
    with pytest.raises(DataError, match="no record that can be used as table"):
        read_dataset(coco, kind="table")
    write_json(coco.parent / "instances_train.json", content())
    with pytest.raises(
        DataError, match=r"2 ways: annotations/instances_train\.json.*split='train'"
    ):
        read_dataset(coco.parent.parent)
    assert read_dataset(coco.parent.parent, split="val") == read_dataset(coco)
    with pytest.raises(DataError, match=r"no split 'test'\. Its splits are train, val"):
        read_dataset(coco.parent.parent, split="test")


def test_a_polygon_by_hand() -> None:
    assert fill_polygon(SQUARE, (4, 6)).astype(int).tolist() == [
        [0, 0, 0, 0, 0, 0],
        [0, 1, 1, 1, 0, 0],
        [0, 1, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 0],
    ]
    # Half a pixel further right and down it holds the same centres, until it passes them.
    moved = [value + 0.49 for value in SQUARE]
    assert np.array_equal(fill_polygon(moved, (4, 6)), fill_polygon(SQUARE, (4, 6)))
    assert fill_polygon([v + 0.51 for v in SQUARE], (4, 6))[1].sum() == 0
    # Beyond the picture it is cut off; a hole is drawn by crossing itself.
    assert fill_polygon([-5, -5, 50, -5, 50, 50, -5, 50], (4, 6)).all()
    ring = [0, 0, 6, 0, 6, 6, 0, 6, 0, 0, 2, 2, 4, 2, 4, 4, 2, 4, 2, 2]
    assert fill_polygon(ring, (6, 6)).sum() == 32


corner = st.floats(-3, 12, allow_nan=False, width=32)


@settings(deadline=None)
@given(st.lists(st.tuples(corner, corner), min_size=3, max_size=8))
def test_a_polygon_holds_the_centres_that_a_ray_says(corners: list[tuple[float, float]]) -> None:
    mask = fill_polygon([value for point in corners for value in point], (8, 9))
    for row in range(8):
        for column in range(9):
            x, y = column + 0.5, row + 0.5
            crossings = 0
            for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
                if (y0 <= y) != (y1 <= y):
                    at = x0 + (y - y0) * (x1 - x0) / (y1 - y0)
                    if abs(at - x) < 1e-6:  # on the edge itself, rounding decides
                        break
                    crossings += at > x
            else:
                assert mask[row, column] == (crossings % 2 == 1)


def test_run_lengths_by_hand() -> None:
    mask = decode_runs({"size": [2, 3], "counts": [1, 2, 1, 2]}, (2, 3))
    assert mask.astype(int).tolist() == [[0, 1, 1], [1, 0, 1]]
    # 40 = 01000 + 1 × 32 → groups 8 and 1: chr(8 + 32 + 48), chr(1 + 48).
    assert decode_runs({"counts": "X1X1"}, (8, 10)).sum() == 40
    for wrong in ([1, 2], [-1, 7], [7]):
        with pytest.raises(DataError, match="do not add up"):
            decode_runs({"counts": wrong}, (2, 3))
    with pytest.raises(DataError, match="end within a number"):
        decode_runs({"counts": "X"}, (2, 3))
    with pytest.raises(DataError, match="came for"):
        decode_runs({"size": [3, 2], "counts": [6]}, (2, 3))


@settings(deadline=None, max_examples=60)
@given(arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_run_lengths_agree_with_pycocotools(mask: np.ndarray) -> None:
    tool = pytest.importorskip("pycocotools.mask")
    runs = tool.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert np.array_equal(decode(runs, mask.shape), mask)
    as_text = {"size": runs["size"], "counts": runs["counts"].decode()}
    assert np.array_equal(decode(as_text, mask.shape), mask)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # its own
def test_shared_tinycoco_against_pycocotools(shared_data: Path) -> None:
    path = shared_data / "tinycoco" / "annotations" / "instances_train2017.json"
    dataset = read_dataset(path)
    assert (len(dataset), dataset.problems) == (32, ())
    assert sum(len(record.boxes) for record in dataset.records) == 288
    assert sum(box.difficult for record in dataset.records for box in record.boxes) == 4
    tool = pytest.importorskip("pycocotools.mask")
    content = json.loads(path.read_text())
    sizes = {each["id"]: (each["height"], each["width"]) for each in content["images"]}
    worst = 1.0
    for one in content["annotations"]:
        size, segmentation = sizes[one["image_id"]], one["segmentation"]
        if isinstance(segmentation, dict):
            runs = tool.frPyObjects(segmentation, *size)
            assert np.array_equal(decode(segmentation, size), tool.decode(runs).astype(bool))
            continue
        theirs = tool.decode(tool.merge(tool.frPyObjects(segmentation, *size))).astype(bool)
        ours = decode(segmentation, size)
        if theirs.sum() >= 400:
            worst = min(worst, (ours & theirs).sum() / (ours | theirs).sum())
        # They round corners to a fifth of a pixel: what differs lies along the outline.
        outline = sum(
            np.abs(np.diff(np.reshape(p + p[:2], (-1, 2)), axis=0)).sum() for p in segmentation
        )
        assert (ours ^ theirs).sum() <= 0.15 * outline + 2
    assert worst > 0.96
