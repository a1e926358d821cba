"""What exporters leave out or write otherwise: read where that is safe, or named as what it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from dataset.drawn import index_png, picture, write_json
from seewhy.dataset import Box, read_dataset
from seewhy.errors import DataError

IMAGE = {"id": 1, "file_name": "a.jpg", "width": 12, "height": 8}
CAT = {"id": 1, "name": "cat"}
ANNOTATION = {"image_id": 1, "category_id": 1, "bbox": [2, 2, 6, 4]}
OUTLINE = [2, 2, 8, 2, 8, 6, 2, 6]
BOX = Box(2, 2, 8, 6, "cat")


def coco(root: Path, image: Any = IMAGE, cat: Any = CAT, annotation: Any = ANNOTATION) -> Path:
    picture(root / "a.jpg")
    content = {"images": [image], "categories": [cat], "annotations": [annotation]}
    return write_json(root / "coco.json", content)


def without(entry: dict[str, Any], *names: str, **more: Any) -> dict[str, Any]:
    return {**{name: value for name, value in entry.items() if name not in names}, **more}


# COCO


@pytest.mark.parametrize(
    "parts",
    [
        {"image": without(IMAGE, "width", "height")},
        {"image": {**IMAGE, "width": None}},
        {"image": {**IMAGE, "id": "1"}},
        {"image": {**IMAGE, "id": 1.0}},
        {"image": {**IMAGE, "file_name": "..\\{}\\a.jpg"}},
        {"image": without(IMAGE, "file_name", coco_url="http://x.org/val2017/a.jpg")},
        {"cat": {**CAT, "id": "1"}},
        {"annotation": without(ANNOTATION, "bbox", segmentation=[OUTLINE])},
        {"annotation": {**ANNOTATION, "bbox": None, "segmentation": OUTLINE}},
        {"annotation": {**ANNOTATION, "bbox": [], "segmentation": [OUTLINE]}},
        {
            "annotation": without(
                ANNOTATION, "bbox", segmentation={"size": [8, 12], "counts": [18, 4] +
                                                  [4, 4] * 5 + [34]}
            )
        },
        {"annotation": {**ANNOTATION, "iscrowd": None}},
    ],
)  # fmt: skip
def test_coco_is_read_where_it_is_safe(tmp_path: Path, parts: dict[str, Any]) -> None:
    root = tmp_path / "set"
    if "image" in parts and "{}" in parts["image"].get("file_name", ""):
        parts["image"]["file_name"] = parts["image"]["file_name"].format("set")
    (record,) = read_dataset(coco(root, **parts)).records
    assert record.boxes == (BOX,)


@pytest.mark.parametrize(
    ("parts", "cause"),
    [
        ({"image": without(IMAGE, "file_name")}, "image 0: has the file_name None"),
        ({"image": {**IMAGE, "file_name": "http://x.org/a.jpg"}}, "is a web address"),
        ({"image": {**IMAGE, "file_name": "gone.jpg"}}, "there is no file 'gone.jpg' in"),
        ({"image": {**IMAGE, "file_name": "/data/upload/a.jpg"}}, "correct its path in the annot"),
        ({"image": {**IMAGE, "width": "wide"}}, "'wide' and height 8, which are not numbers"),
        ({"image": 5}, r"belongs to no picture \(1\)"),
        ({"cat": without(CAT, "name")}, "annotation 0: category 1 has no name"),
        ({"cat": without(CAT, "id")}, "needs an id and a name"),
        ({"annotation": without(ANNOTATION, "bbox")}, "it has neither a bbox nor a segmentation"),
        ({"annotation": {**ANNOTATION, "bbox": [1, 2, 3]}}, r"its bbox must be .* not \[1, 2, 3\]"),
        ({"annotation": without(ANNOTATION, "category_id")}, "it has no category_id"),
        ({"annotation": {**ANNOTATION, "segmentation": {"size": [9, 9], "counts": [81]}}},
         r"run lengths of size \[9, 9\] came for \[8, 12\]"),
        ({"annotation": {**ANNOTATION, "segmentation": "x"}}, "segmentation must be .* not a str"),
        ({"annotation": {**ANNOTATION, "segmentation": [[1, 2, 3, 4]]}}, "fewer than 3 corners"),
    ],
)  # fmt: skip
def test_what_coco_lacks_is_named(tmp_path: Path, parts: dict[str, Any], cause: str) -> None:
    with pytest.raises(DataError, match=cause):
        read_dataset(coco(tmp_path, **parts))


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ({"images": [IMAGE], "annotations": [ANNOTATION]}, "no list of categories: nothing names"),
        ({"images": [IMAGE], "categories": [CAT]}, "has no list of annotations"),
        ({"images": [IMAGE], "annotations": [{"image_id": 1, "caption": "a cat"}]}, "captions"),
        ([{**ANNOTATION, "score": 0.5}], "a list of detections"),
    ],
)
def test_coco_s_other_files_are_named(tmp_path: Path, content: Any, cause: str) -> None:
    picture(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=cause):
        read_dataset(write_json(tmp_path / "coco.json", content))


def test_two_pictures_or_categories_of_one_id_are_named(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        picture(tmp_path / name)
    content = {
        "images": [
            IMAGE,
            {**IMAGE, "file_name": "b.jpg"},
            {**IMAGE, "id": 2, "file_name": "c.jpg"},
        ],
        "categories": [CAT],
        "annotations": [ANNOTATION, {**ANNOTATION, "image_id": 2}],
    }
    dataset = read_dataset(write_json(tmp_path / "coco.json", content))
    assert [record.id for record in dataset.records] == ["c.jpg"]
    assert [problem.name for problem in dataset.problems] == ["a.jpg", "b.jpg"]
    assert "has the same id 1 as another picture" in dataset.problems[0].reason
    content["categories"] = [CAT, {"id": 1, "name": "dog"}]
    content["images"], content["annotations"] = content["images"][:1], [ANNOTATION]
    with pytest.raises(DataError, match="category 1 has several names: 'cat', 'dog'"):
        read_dataset(write_json(tmp_path / "coco.json", content))


def test_an_object_without_the_centre_of_a_pixel_has_no_mask(tmp_path: Path) -> None:
    tiny = {**ANNOTATION, "segmentation": [[2, 2, 2.3, 2, 2.3, 2.3, 2, 2.3]]}
    (record,) = read_dataset(coco(tmp_path, annotation=tiny)).records
    assert record.mask("cat") is None


# CSV

HEADER = "image,label,x0,y0,x1,y1"
ROW = "a.jpg,cat,2,2,8,6"


@pytest.mark.parametrize(
    "content",
    [
        f"{HEADER}\n{ROW}\n".replace(",", ";"),
        f"{HEADER}\n{ROW}\n".replace(",", "\t"),
        f"{HEADER}\n{ROW}\n".replace(",", ", ").replace("\n", "\r\n"),
        f"{HEADER},width,height\n{ROW},12.0,8.0\n",
        f"{HEADER}\n{ROW},\n",
        f'"image";"label";"x0";"y0";"x1";"y1";"said"\n{ROW.replace(",", ";")};"one; two, three"\n',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_a_csv_is_read_as_programs_write_it(tmp_path: Path, content: str, encoding: str) -> None:
    picture(tmp_path / "a.jpg")
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    path = tmp_path / "t.csv"
    path.write_bytes((mark + content).encode(encoding))
    assert read_dataset(path).records[0].boxes == (BOX,)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (f"{HEADER}\na.jpg,cat,0.1,0.2,0.9,0.8\n", "shares of the sides"),
        (f'{HEADER}\na.jpg,cat,"2,5",2,8,6\n', "has decimal commas; write decimal points"),
        (f"{HEADER}\na.jpg;cat;2;2;8;6\n", "names no picture|there is no file"),
        (f"{HEADER}\n{ROW},extra\n", "line 2: it has more values than there are columns"),
        (f"{HEADER}\na.jpg,cat,2\n", "line 2: the box"),
        # Python 3.10 does not read such a line at all.
        (f"{HEADER}\na\0.jpg,cat,2,2,8,6\n", "there is no file|line contains NUL"),
        (f"{HEADER},width,height\n{ROW},x,y\n", "are 'x' and 'y', which are not numbers"),
        ("filename,width,height,class,xmin,ymin,xmax,ymax\n",
         "Rename filename to image, class to label, xmin to x0, ymin to y0"),
        ("ImageID,LabelName,XMin,XMax,YMin,YMax\n", "Rename ImageID to image"),
        ("", "has the columns none"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_csv_is_named(tmp_path: Path, content: str, cause: str) -> None:
    picture(tmp_path / "a.jpg")
    path = tmp_path / "t.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=cause):
        read_dataset(path)


def test_a_csv_that_is_not_utf_8_says_so(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(f"{HEADER}\ngr\xfcn.jpg,cat,,,,\n".encode("latin-1"))
    with pytest.raises(DataError, match="Save it as UTF-8"):
        read_dataset(path)


# VOC


def voc(root: Path, content: bytes, name: str = "a.xml") -> Path:
    picture(root / "JPEGImages" / "a.jpg")
    path = root / "Annotations" / name
    path.parent.mkdir()
    path.write_bytes(content)
    return root


def xml(label: str = "cat", filename: str = "a.jpg", size: str = "") -> str:
    return (
        f"<filename>{filename}</filename>{size}<object><name>{label}</name><bndbox><xmin>3</xmin>"
        "<ymin>3</ymin><xmax>8</xmax><ymax>6</ymax></bndbox></object></annotation>"
    )


@pytest.mark.parametrize("encoding", ["gb2312", "gbk", "big5", "shift_jis", "utf-16", "utf-8"])
def test_xml_in_the_encoding_that_it_declares(tmp_path: Path, encoding: str) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?>\n<annotation>' + xml("中")
    (record,) = read_dataset(voc(tmp_path, text.encode(encoding))).records
    assert record.labels == ("中",)


def test_xml_in_a_namespace(tmp_path: Path) -> None:
    text = '<v:annotation xmlns:v="http://example.org/voc">' + xml().replace("<", "<v:")
    text = text.replace("<v:/", "</v:")
    (record,) = read_dataset(voc(tmp_path, text.encode())).records
    assert record.boxes == (BOX,)
    (tmp_path / "Annotations" / "a.xml").write_text('<annotation xmlns="http://e.org">' + xml())
    assert read_dataset(tmp_path).records[0].boxes == (BOX,)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("<annotation>" + xml().replace("bndbox", "polygon"), "no bndbox but a polygon"),
        ("<annotation>" + xml().replace("bndbox", "robndbox"), "no bndbox but a robndbox"),
        ('<?xml version="1.0" encoding="none"?><annotation>' + xml(), "damaged XML .*none"),
        ("<annotation>" + xml()[:-4], "damaged XML"),
    ],
)
def test_what_xml_lacks_is_named(tmp_path: Path, text: str, cause: str) -> None:
    with pytest.raises(DataError, match=cause):
        read_dataset(voc(tmp_path, text.encode()))


def test_a_windows_path_as_the_file_s_name(tmp_path: Path) -> None:
    picture(tmp_path / "JPEGImages" / "other.jpg")
    text = "<annotation>" + xml(filename="C:\\photos\\other.jpg")
    dataset = read_dataset(voc(tmp_path, text.encode()))
    assert dataset.records[0].image.name == "other.jpg"


# Masks


def test_values_that_match_no_pixel_are_named(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg", 3, 2)
    index_png(tmp_path / "masks" / "a.png", [[0, 8, 8], [0, 0, 255]])
    entry = {"file": "a.jpg", "labels": ["cat", "dog"], "mask": "a.png",
             "mask_values": {"cat": 8, "dog": [12, 13]}}  # fmt: skip
    (record,) = read_dataset(write_json(tmp_path / "annotations.json", [entry])).records
    cat = record.mask("cat")
    assert cat is not None
    assert cat.sum() == 2
    with pytest.raises(DataError, match="has no pixel of 'dog', whose value is 12, 13; its values "
                       "are 0, 8, 255"):  # fmt: skip
        record.mask("dog")


# Names and links


def test_names_that_are_not_utf_8_are_readable_ids(tmp_path: Path) -> None:
    picture(tmp_path / "cat" / os.fsdecode(b"caf\xe9.jpg"))
    (tmp_path / "cat" / os.fsdecode(b"t\xe9xt.txt")).touch()
    dataset = read_dataset(tmp_path)
    (record,) = dataset.records
    assert record.id == "cat/caf\\xe9.jpg"
    assert record.image.stat().st_size
    assert str(dataset.problems[0]).encode("utf-8").startswith(b"cat/t\\xe9xt.txt")


def test_the_class_is_the_link_s_own_folder(tmp_path: Path) -> None:
    picture(tmp_path / "store" / "dog" / "1.jpg")
    (tmp_path / "set" / "cat").mkdir(parents=True)
    (tmp_path / "set" / "cat" / "a.jpg").symlink_to(tmp_path / "store" / "dog" / "1.jpg")
    (tmp_path / "set" / "hound").symlink_to(tmp_path / "store" / "dog")
    dataset = read_dataset(tmp_path / "set")
    assert {record.id: record.labels for record in dataset.records} == {
        "cat/a.jpg": ("cat",), "hound/1.jpg": ("hound",),
    }  # fmt: skip


def test_links_that_run_in_circles_end(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.jpg", 3, 2)
    index_png(tmp_path / "masks" / "a.png", [[0, 1, 1], [0, 0, 0]])
    write_json(tmp_path / "classes.json", {"1": "cat"})
    (tmp_path / "images" / "more").symlink_to(tmp_path / "images")
    (tmp_path / "masks" / "more").symlink_to(tmp_path / "masks")
    assert [record.id for record in read_dataset(tmp_path).records] == ["a.jpg"]


def test_links_to_nothing_are_named(tmp_path: Path) -> None:
    for root in ("yolo/images", "voc", "masks/images", "by class/cat"):
        picture(tmp_path / root / "a.jpg", 3, 2)
        (tmp_path / root / "b.jpg").symlink_to(tmp_path / "gone.jpg")
    (tmp_path / "yolo" / "labels").mkdir()
    (tmp_path / "yolo" / "data.yaml").write_text("train: images\nnames: [cat]\n")
    write_json(tmp_path / "masks" / "classes.json", {"1": "cat"})
    for stem in ("a", "b"):
        (tmp_path / "yolo" / "labels" / f"{stem}.txt").write_text("0 0.5 0.5 1 1\n")
        (tmp_path / "voc" / f"{stem}.xml").write_text("<annotation>" + xml(filename=f"{stem}.jpg"))
        index_png(tmp_path / "masks" / "masks" / f"{stem}.png", [[0, 1, 1], [0, 0, 0]])
    picture(tmp_path / "voc" / "a.jpg")
    for kind in ("yolo", "voc", "masks"):
        dataset = read_dataset(tmp_path / kind)
        assert (dataset.kind, len(dataset)) == (kind, 1)
        (problem,) = dataset.problems
        assert problem.name.startswith("b")
        assert "b.jpg" in problem.reason
    by_class = read_dataset(tmp_path / "by class")
    assert [record.id for record in by_class.records] == ["cat/a.jpg", "cat/b.jpg"]


def test_emoji_as_pairs_of_surrogates_are_characters(tmp_path: Path) -> None:
    """As JSON in ASCII writes them, which YAML reads as two halves."""
    picture(tmp_path / "images" / "a.jpg")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 1 1\n1 0.5 0.5 1 1\n")
    (tmp_path / "data.yaml").write_text('train: images\nnames: ["\\ud83d\\ude00", "\\ud83d"]\n')
    assert read_dataset(tmp_path).labels == ("\\ud83d", "😀")


def test_the_folder_of_the_xml_finds_the_pictures_beside_it(tmp_path: Path) -> None:
    root = voc(tmp_path, ("<annotation>" + xml()).encode())
    assert read_dataset(root / "Annotations").records[0].boxes == (BOX,)
