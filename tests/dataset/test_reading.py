"""Folders, Pascal VOC and tables: counts, boxes by hand, masks, and what is wrong with a record."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from dataset.drawn import index_png, picture, voc_xml, write_json
from seewhy.dataset import Box, Dataset, Problem, read_dataset
from seewhy.errors import DataError


def reasons(dataset: Dataset) -> dict[str, str]:
    return {problem.name: problem.reason for problem in dataset.problems}


@pytest.fixture
def no_picture_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a picture was opened")

    monkeypatch.setattr(PIL.Image, "open", refuse)


# A folder by class


def test_a_folder_by_class_in_reading_order(tmp_path: Path, no_picture_is_opened: None) -> None:
    for name in ("dog/img10.jpg", "dog/img2.jpg", "cat/a.PNG", "cat/.hidden.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"not even a picture: nobody looks")
    dataset = read_dataset(tmp_path)
    assert (dataset.kind, dataset.labels) == ("folder", ("cat", "dog"))
    assert [r.id for r in dataset.records] == ["cat/a.PNG", "dog/img2.jpg", "dog/img10.jpg"]
    assert dataset.records[1].labels == ("dog",)
    assert dataset.records[1].image == tmp_path / "dog" / "img2.jpg"
    assert dataset.records[1].boxes == ()
    assert dataset.records[1].mask("dog") is None
    assert dataset.problems == ()


def test_what_is_no_picture_in_a_class_is_named(tmp_path: Path) -> None:
    picture(tmp_path / "cat" / "a.jpg")
    picture(tmp_path / "cat" / "more" / "b.jpg")
    (tmp_path / "cat" / "notes.txt").touch()
    (tmp_path / "empty").mkdir()
    dataset = read_dataset(tmp_path)
    assert len(dataset) == 1
    assert reasons(dataset) == {
        "cat/more": "is a folder within a class's folder",
        "cat/notes.txt": "has not the ending of a picture",
        "empty": "is a folder without pictures",
    }


def test_the_folder_above_the_right_one_gets_a_hint(tmp_path: Path) -> None:
    picture(tmp_path / "pets" / "cat" / "a.jpg")
    with pytest.raises(DataError, match="there is one in 'pets': give its path"):
        read_dataset(tmp_path)
    with pytest.raises(DataError, match="no pictures in one folder per class"):
        read_dataset(tmp_path, kind="folder")


# Pascal VOC


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Two pictures of 12 × 8 pixels; in the first a cat, two dogs and masks by class and object."""
    for stem in ("one", "two"):
        picture(tmp_path / "JPEGImages" / f"{stem}.jpg")
    voc_xml(
        tmp_path,
        "one",
        [("dog", (1, 1, 2, 3)), ("cat", (5, 2, 8, 4)), ("dog", (10, 8, 12, 8))],
        difficult=[2],
    )
    voc_xml(tmp_path, "two", [("cat", (1.5, 1, 12, 8))])
    by_class = np.zeros((8, 12), int)
    by_class[0:3, 0:2] = 12  # VOC's dog
    by_class[1:4, 4:8] = 8  # and cat
    by_class[7, 9:12] = 12
    by_class[4, 4:8] = 255
    index_png(tmp_path / "SegmentationClass" / "one.png", by_class.tolist())
    return tmp_path


def test_voc_boxes_count_from_one_and_include_their_last_pixel(
    voc: Path, no_picture_is_decoded: None
) -> None:
    dataset = read_dataset(voc)
    assert (dataset.kind, dataset.labels, dataset.problems) == ("voc", ("cat", "dog"), ())
    one, two = dataset.records
    assert one.labels == ("dog", "cat")
    assert one.boxes == (
        Box(0, 0, 2, 3, "dog"),
        Box(4, 1, 8, 4, "cat"),
        Box(9, 7, 12, 8, "dog", difficult=True),
    )
    assert [box.area for box in one.boxes_of("dog")] == [6, 3]
    assert (two.id, two.boxes) == ("two", (Box(0.5, 0, 12, 8, "cat"),))


def test_voc_masks_by_class_fill_the_boxes_drawn_for_them(voc: Path) -> None:
    one, two = read_dataset(voc).records
    for label, pixels in (("cat", 12), ("dog", 9)):
        mask = one.mask(label)
        assert mask is not None
        assert (mask.dtype, mask.shape, mask.sum()) == (bool, (8, 12), pixels)
        by_hand = np.zeros((8, 12), bool)
        for box in one.boxes_of(label):
            by_hand[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)] = True
        assert np.array_equal(mask, by_hand)
    ignored = one.ignored()
    assert ignored is not None
    assert np.argwhere(ignored).tolist() == [[4, 4], [4, 5], [4, 6], [4, 7]]
    assert one.mask("horse") is None
    assert two.mask("cat") is None
    assert two.ignored() is None


def test_voc_masks_by_object_serve_labels_that_voc_has_not(voc: Path) -> None:
    voc_xml(voc, "two", [("wolf", (1, 1, 2, 2)), ("hare", (4, 4, 4, 4)), ("wolf", (6, 6, 6, 6))])
    by_object = np.zeros((8, 12), int)
    by_object[0:2, 0:2], by_object[3, 3], by_object[5, 5] = 1, 2, 3
    index_png(voc / "SegmentationObject" / "two.png", by_object.tolist())
    # Masks by class are there too, but nothing says what their values mean.
    index_png(voc / "SegmentationClass" / "two.png", by_object.tolist())
    wolves = read_dataset(voc).records[1].mask("wolf")
    assert wolves is not None
    assert np.argwhere(wolves).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [5, 5]]


def test_voc_reads_a_split_in_its_order(voc: Path) -> None:
    lists = voc / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("two\none\nthree\n")
    (lists / "cat_val.txt").write_text("two  1\none -1\n")
    dataset = read_dataset(voc, split="val")
    assert [record.id for record in dataset.records] == ["two", "one"]
    assert reasons(dataset).keys() == {"three"}
    assert [record.id for record in read_dataset(voc, split="cat_val").records] == ["two"]
    with pytest.raises(DataError, match="no split 'test' in ImageSets; it has cat_val, val"):
        read_dataset(voc, split="test")


def test_every_bad_voc_record_is_named_with_its_reason(voc: Path) -> None:
    for stem in ("bare", "flat", "gone", "number", "outside", "torn", "unnamed", "unsized"):
        if stem != "gone":
            picture(voc / "JPEGImages" / f"{stem}.jpg")
    voc_xml(voc, "gone", [("cat", (1, 1, 2, 2))])
    voc_xml(voc, "outside", [("cat", (1, 1, 2, 2)), ("cat", (5, 5, 14, 8))])
    voc_xml(voc, "flat", [("cat", (5, 5, 4, 8))])
    voc_xml(voc, "number", [("cat", (5, "five", 9, 8))])
    voc_xml(voc, "unnamed", [("", (5, 5, 9, 8))])
    voc_xml(voc, "unsized", [("cat", (1, 1, 12, 8))], size=None, filename="wrong_name.jpg")
    torn = voc / "Annotations" / "torn.xml"
    torn.write_text((voc / "Annotations" / "one.xml").read_text()[:90])
    dataset = read_dataset(voc)
    assert [record.id for record in dataset.records] == ["one", "two", "unsized"]
    found = reasons(dataset)
    assert found.keys() == {"bare", "flat", "gone", "number", "outside", "torn", "unnamed"} - {
        "bare"
    } | {"bare.jpg"}
    assert found["bare.jpg"] == "has no XML file in Annotations"
    assert "has no area" in found["flat"]
    assert "there is no file" in found["gone"]
    assert "does not consist of numbers" in found["number"]
    assert found["outside"] == (
        "the box 4, 4, 14, 8 of 'cat' lies outside of its picture of 12 × 8 pixels"
    )
    assert "damaged XML" in found["torn"]
    assert found["unnamed"] == "object 1 has no name"


def test_a_box_a_pixel_too_large_is_cut_at_the_edge(voc: Path) -> None:
    voc_xml(voc, "two", [("cat", (0, 1, 13, 8))])
    assert read_dataset(voc).records[1].boxes == (Box(0, 0, 12, 8, "cat"),)


def test_a_damaged_mask_is_an_error_of_one_sentence(voc: Path) -> None:
    path = voc / "SegmentationClass" / "one.png"
    record = read_dataset(voc).records[0]
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=r"one\.png' cannot be read"):
        record.mask("cat")
    picture(path)
    with pytest.raises(DataError, match="has mode RGB, but a mask needs one integer per pixel"):
        record.mask("cat")


# Tables


def test_a_csv_with_a_row_a_box(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.jpg", "c.jpg"):
        picture(tmp_path / "images" / name)
    table = tmp_path / "annotations.csv"
    table.write_text(
        "image,label,x0,y0,x1,y1,difficult\n"
        "b.jpg,cat,0,0,4,4,\n"
        "a.jpg,dog,1.5,2,12,8,1\n"
        "b.jpg,dog,5,5,6,6,\n"
        "c.jpg,cat,,,,,\n"
    )
    dataset = read_dataset(tmp_path)
    assert dataset == read_dataset(table)
    assert dataset.kind == "csv"
    assert [record.id for record in dataset.records] == ["b.jpg", "a.jpg", "c.jpg"]
    b, a, c = dataset.records
    assert b.labels == ("cat", "dog")
    assert b.boxes == (Box(0, 0, 4, 4, "cat"), Box(5, 5, 6, 6, "dog"))
    assert a.boxes == (Box(1.5, 2, 12, 8, "dog", difficult=True),)
    assert (c.labels, c.boxes) == (("cat",), ())


def test_a_csv_that_states_the_sizes(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg", 300, 200)
    (tmp_path / "t.csv").write_text(
        "image,label,x0,y0,x1,y1,width,height\na.jpg,cat,0,0,300,200,300,200.0\n"
    )
    assert read_dataset(tmp_path / "t.csv").records[0].boxes == (Box(0, 0, 300, 200, "cat"),)


def test_a_bad_line_of_a_csv_spoils_its_picture_and_no_other(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg", "d.jpg", "e.jpg"):
        picture(tmp_path / name)
    (tmp_path / "e.jpg").write_bytes(b"torn")
    (tmp_path / "t.csv").write_text(
        "image,label,x0,y0,x1,y1\n"
        "a.jpg,cat,0,0,4,4\n"
        "b.jpg,cat,0,0,4,4\n"
        "b.jpg,cat,0,0,x,4\n"
        "c.jpg,cat,0,0,4,4\n"
        "d.jpg,,0,0,4,4\n"
        ",cat,0,0,4,4\n"
        "e.jpg,cat,0,0,4,4\n"
    )
    dataset = read_dataset(tmp_path / "t.csv")
    assert [record.id for record in dataset.records] == ["a.jpg"]
    found = reasons(dataset)
    assert found["b.jpg"].startswith("line 4: the box")
    assert "there is no file" in found["c.jpg"]
    assert found["d.jpg"] == "line 6: the label is empty"
    assert found["line 7"] == "names no picture"
    assert "cannot be read" in found["e.jpg"]
    assert len(found) == 5


def test_a_csv_without_the_columns_says_which(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,class,x0,y0,x1,y1\n")
    with pytest.raises(DataError, match="label is missing"):
        read_dataset(tmp_path / "t.csv")


def test_a_json_of_classes_and_boxes(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        picture(tmp_path / "images" / name)
    rows = [
        {"file": "a.jpg", "label": 7, "name": "cock", "boxes": [[0, 0, 4, 4], [1, 1, 3, 8]]},
        {"image": "b.jpg", "labels": ["8", "9"]},
    ]
    path = write_json(tmp_path / "annotations.json", rows)
    dataset = read_dataset(path)
    assert (dataset.kind, dataset.labels) == ("table", ("7", "8", "9"))
    assert dataset.records[0].boxes == (Box(0, 0, 4, 4, "7"), Box(1, 1, 3, 8, "7"))
    assert dataset.records[1].labels == ("8", "9")
    by_name = read_dataset(path, label="name")
    assert by_name.labels == ("cock",)
    assert reasons(by_name) == {"b.jpg": "no label; add one of name"}


def test_a_json_with_masks_and_objects(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.jpg", 3, 2)
    index_png(tmp_path / "masks" / "a.png", [[8, 12, 255], [0, 12, 3]], mode="L")
    content = {
        "mask_values": {"cat": 8, "dog": [12, 3], "cow": 10},
        "imagenet_ids": {"cat": "281-283", "dog": [151, 152]},
        "images": [
            {
                "file": "a.jpg",
                "mask": "a.png",
                "size": [3, 2],
                "objects": {"cat": [[0, 0, 1, 1]], "dog": [[1, 0, 2, 2], [2, 1, 3, 2]]},
            }
        ],
    }
    dataset = read_dataset(write_json(tmp_path / "annotations.json", content))
    (record,) = dataset.records
    assert record.labels == ("cat", "dog")
    assert len(record.boxes_of("dog")) == 2
    cat, dog, ignored = record.mask("cat"), record.mask("dog"), record.ignored()
    assert cat is not None
    assert dog is not None
    assert ignored is not None
    assert cat.tolist() == [[True, False, False], [False, False, False]]
    assert dog.tolist() == [[False, True, False], [False, True, True]]
    assert ignored.tolist() == [[False, False, True], [False, False, False]]
    assert record.mask("cow") is None  # a value, but no cow in this picture
    assert dataset.imagenet_ids == {"cat": (281, 282, 283), "dog": (151, 152)}


def test_bad_entries_of_a_json_are_named(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg", "d.jpg"):
        picture(tmp_path / name)
    rows = [
        {"file": "a.jpg", "label": "cat", "boxes": [[0, 0, 4, 4]]},
        {"file": "b.jpg", "label": "cat", "boxes": [[0, 0, 4]]},
        {"file": "c.jpg", "label": "cat", "boxes": 5},
        {"file": "d.jpg", "boxes": []},
        {"file": "a.jpg", "label": "dog"},
        {"file": "e.jpg", "label": "cat"},
        {"label": "cat"},
        "f.jpg",
    ]
    dataset = read_dataset(write_json(tmp_path / "t.json", rows))
    assert [record.id for record in dataset.records] == ["a.jpg"]
    assert dataset.records[0].labels == ("cat",)
    found = reasons(dataset)
    assert found["a.jpg"] == "a second record called 'a.jpg'"
    assert "needs the 4 numbers x0, y0, x1, y1" in found["b.jpg"]
    assert "is not laid out as expected" in found["c.jpg"]
    assert "no label" in found["d.jpg"]
    assert "there is no file" in found["e.jpg"]
    assert "no picture is named" in found["entry 6"]
    assert "it is a str" in found["entry 7"]
    assert len(dataset.problems) == len(rows) - 1


def test_boxes_are_in_the_upright_picture(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[274] = 6  # stored lying on its side
    PIL.Image.new("RGB", (12, 8)).save(tmp_path / "a.jpg", exif=exif)
    rows = [{"file": "a.jpg", "label": "cat", "boxes": [[0, 0, 8, 12]]}]
    dataset = read_dataset(write_json(tmp_path / "t.json", rows))
    assert dataset.records[0].boxes == (Box(0, 0, 8, 12, "cat"),)


# The door


def test_the_kind_can_be_told_where_looking_finds_several(tmp_path: Path) -> None:
    for folder in ("JPEGImages", "images", "cat"):
        picture(tmp_path / folder / "a.jpg")
    with pytest.raises(DataError, match="if its folders are classes, name the kind 'folder'"):
        read_dataset(tmp_path)
    write_json(tmp_path / "annotations.json", [{"file": "a.jpg", "label": "horse"}])
    assert read_dataset(tmp_path).labels == ("horse",)
    voc_xml(tmp_path, "a", [("dog", (1, 1, 2, 2))])
    with pytest.raises(
        DataError, match=r"2 ways: Annotations/\*\.xml \(voc\), annotations\.json \("
    ):
        read_dataset(tmp_path)
    assert read_dataset(tmp_path, kind="voc").labels == ("dog",)
    assert read_dataset(tmp_path, kind="table").labels == ("horse",)
    assert read_dataset(tmp_path / "annotations.json").labels == ("horse",)
    assert read_dataset(tmp_path, kind="folder").labels == ("JPEGImages", "cat", "images")


def test_what_cannot_be_read_says_so_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no"):
        read_dataset(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"kind 'tfrecord' is not known; choose one of coco"):
        read_dataset(tmp_path, kind="tfrecord")
    with pytest.raises(DataError, match=r"is not laid out as yolo\. It holds nothing\. Looked for"):
        read_dataset(tmp_path, kind="yolo")
    with pytest.raises(DataError, match="is not laid out as any of"):
        read_dataset(tmp_path)
    picture(tmp_path / "cat" / "a.jpg")
    with pytest.raises(DataError, match="of kind folder, which takes no split"):
        read_dataset(tmp_path, split="val")
    bad = tmp_path / "bad.json"
    bad.write_text("{")
    with pytest.raises(DataError, match="cannot be read as JSON"):
        read_dataset(bad)
    write_json(bad, {"pictures": []})
    with pytest.raises(DataError, match="contains no list of pictures"):
        read_dataset(bad)
    write_json(bad, [{"file": "gone.jpg", "label": 1}])
    with pytest.raises(DataError, match=r"no record that can be used .* gone\.jpg: there is no"):
        read_dataset(bad)


def test_only_some_labels(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        picture(tmp_path / name)
    rows = [
        {"file": "a.jpg", "objects": {"cat": [[0, 0, 1, 1]], "cow": [[2, 2, 3, 3]]}},
        {"file": "b.jpg", "objects": {"cow": [[2, 2, 3, 3]]}},
    ]
    dataset = read_dataset(write_json(tmp_path / "t.json", rows))
    cats = dataset.only(["cat"])
    assert cats.labels == ("cat",)
    assert [(r.id, r.labels, r.boxes) for r in cats.records] == [
        ("a.jpg", ("cat",), (Box(0, 0, 1, 1, "cat"),))
    ]
    assert len(dataset) == 2
    with pytest.raises(DataError, match="has no label 'horse'; it has 'cat', 'cow'"):
        dataset.only(["horse"])


def test_a_hundred_thousand_files_ask_the_disk_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(50):
        (tmp_path / f"{number}.jpg").touch()
    rows = [{"file": f"{n}.jpg", "label": "cat", "size": [9, 9]} for n in range(50)]
    path = write_json(tmp_path / "t.json", rows)
    asked: list[str] = []
    scandir = os.scandir

    def counting(folder: str) -> object:
        asked.append(folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", counting)
    assert len(read_dataset(path)) == 50
    assert len(asked) <= 2  # images, which is not there, and the table's folder


# The shared photographs


def test_shared_ilsvrc(shared_data: Path) -> None:
    dataset = read_dataset(shared_data / "ilsvrc_val")
    rows = json.loads((shared_data / "ilsvrc_val" / "annotations.json").read_text())
    assert (dataset.kind, len(dataset), dataset.problems) == ("table", 800, ())
    assert [record.id for record in dataset.records] == [row["file"] for row in rows]
    assert sum(len(record.boxes) for record in dataset.records) == sum(
        len(row["boxes"]) for row in rows
    )
    first = dataset.records[1]
    assert (first.labels, first.boxes) == (("300",), (Box(37.7, 52.7, 190.2, 202.3, "300"),))
    assert len(read_dataset(shared_data / "ilsvrc_val_layercam9", label="name")) == 9


def test_shared_voc_animals(shared_data: Path) -> None:
    dataset = read_dataset(shared_data / "voc_animals")
    assert (len(dataset), dataset.problems) == (517, ())
    assert dataset.labels == ("cat", "cow", "dog", "horse", "sheep")
    assert sum({"cat", "dog"} <= set(record.labels) for record in dataset.records) == 17
    content = json.loads((shared_data / "voc_animals" / "annotations.json").read_text())
    for record, row in list(zip(dataset.records, content["images"], strict=True))[::40]:
        for label, area in row["mask_area"].items():
            mask = record.mask(label)
            assert mask is not None
            assert mask.shape == (row["size"][1], row["size"][0])
            assert mask.mean() == pytest.approx(area, abs=6e-5)


def test_shared_coral_images_with_masks_in_words_are_problems(shared_data: Path) -> None:
    dataset = read_dataset(shared_data / "coral_cc_images")
    assert len(dataset) == 15
    assert [problem.name for problem in dataset.problems] == [
        "bird_segmentation.png",
        "dog_segmentation_256.png",
    ]
    assert dataset.imagenet_ids["cat"] == (281, 282, 285)
    pets = next(record for record in dataset.records if record.id == "pets.jpg")
    assert len(pets.boxes) == 2


def test_shared_folder_by_class(shared_data: Path) -> None:
    dataset = read_dataset(shared_data / "cats_dogs" / "test")
    assert (dataset.kind, len(dataset), dataset.labels) == ("folder", 400, ("cats", "dogs"))
    assert Problem("a", "b") not in dataset.problems
    assert dataset.problems == ()
