"""Data sets as the field's programs export them: recognised and read, or named with what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dataset.drawn import index_png, picture, voc_xml, write_json
from seewhy.dataset import Box, Dataset, read_dataset
from seewhy.errors import DataError

CAT, DOG = Box(2, 2, 8, 6, "cat"), Box(0, 0, 6, 4, "dog")
CAT_LINE, DOG_LINE = "0 0.416667 0.5 0.5 0.5\n", "1 0.25 0.25 0.5 0.5\n"  # of 12 × 8 pixels


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def coco(path: Path, *files: str) -> Path:
    """A cat in each picture."""
    return write_json(
        path,
        {
            "images": [
                {"id": number, "file_name": file, "width": 12, "height": 8}
                for number, file in enumerate(files)
            ],
            "categories": [{"id": 0, "name": "animals"}, {"id": 1, "name": "cat"}],
            "annotations": [
                {"id": number, "image_id": number, "category_id": 1, "bbox": [2, 2, 6, 4]}
                for number, _ in enumerate(files)
            ],
        },
    )


def xml(root: Path, folder: str, stem: str, ending: str = ".xml") -> None:
    """VOC's annotation of a cat, in a folder of any name."""
    voc_xml(root / "made", stem, [("cat", (3, 3, 8, 6))])
    target = root / folder / f"{stem}{ending}"
    target.parent.mkdir(parents=True, exist_ok=True)
    (root / "made" / "Annotations" / f"{stem}.xml").rename(target)
    for inner in ("Annotations", ""):
        (root / "made" / inner).rmdir()


def boxes(dataset: Dataset) -> dict[str, tuple[Box, ...]]:
    assert dataset.problems == ()
    return {record.id: record.boxes for record in dataset.records}


# COCO


def test_roboflow_s_coco(tmp_path: Path) -> None:
    for part, files in (("train", ("a.jpg", "b.jpg")), ("valid", ("c.jpg",))):
        for file in files:
            picture(tmp_path / part / file)
        coco(tmp_path / part / "_annotations.coco.json", *files)
    assert boxes(read_dataset(tmp_path / "train")) == {"a.jpg": (CAT,), "b.jpg": (CAT,)}
    for split in ("valid", "val"):
        assert boxes(read_dataset(tmp_path, split=split)) == {"c.jpg": (CAT,)}
    with pytest.raises(DataError, match=r"2 ways: train/_annotations.coco.json \(coco\), valid/.*"
                       "choose a part with split='train'"):  # fmt: skip
        read_dataset(tmp_path)
    with pytest.raises(DataError, match=r"no split 'test'\. Its splits are train, valid"):
        read_dataset(tmp_path, split="test")


def test_a_single_part_is_the_data_set(tmp_path: Path) -> None:
    picture(tmp_path / "train" / "a.jpg")
    coco(tmp_path / "train" / "_annotations.coco.json", "a.jpg")
    assert boxes(read_dataset(tmp_path)) == {"a.jpg": (CAT,)}


@pytest.mark.parametrize(
    ("file", "folder"),
    [
        ("labels.json", "data"),  # FiftyOne
        ("result.json", "images"),  # Label Studio
        ("annotations/instances_default.json", "images/default"),  # CVAT
        ("annotations/instances_default.json", "images"),
        ("annotations/train.json", "train"),
        ("Annotations/anything.json", "images"),
        ("my cats.json", "."),
    ],
)
def test_coco_by_many_names(tmp_path: Path, file: str, folder: str) -> None:
    picture(tmp_path / folder / "a.jpg")
    coco(tmp_path / file, "a.jpg")
    dataset = read_dataset(tmp_path)
    assert dataset.kind == "coco"
    assert boxes(dataset) == {"a.jpg": (CAT,)}


def test_coco_of_two_parts_in_one_folder(tmp_path: Path) -> None:
    for part in ("train2017", "val2017"):
        picture(tmp_path / part / f"{part}.jpg")
        coco(tmp_path / "annotations" / f"instances_{part}.json", f"{part}.jpg")
        write_json(tmp_path / "annotations" / f"captions_{part}.json", {})
    for split in ("val", "val2017"):
        assert boxes(read_dataset(tmp_path, split=split)) == {"val2017.jpg": (CAT,)}
    with pytest.raises(DataError, match="split='train2017'"):
        read_dataset(tmp_path)


# YOLO


def yolo(root: Path, images: str, labels: str, *stems: str) -> None:
    for stem in stems:
        picture(root / images / f"{stem}.jpg")
        text(root / labels / f"{stem}.txt", CAT_LINE + DOG_LINE)


def test_ultralytics_folders_with_data_yaml(tmp_path: Path) -> None:
    for part in ("train", "val"):
        yolo(tmp_path, f"images/{part}", f"labels/{part}", f"{part}1")
    picture(tmp_path / "images" / "val" / "nothing.jpg")
    text(tmp_path / "data.yaml", "path: .\ntrain: images/train\nval: images/val\ntest:\n"
         "names:\n  0: cat\n  1: dog\n")  # fmt: skip
    dataset = read_dataset(tmp_path, split="val")
    assert dataset.kind == "yolo"
    assert boxes(dataset) == {"val1.jpg": (CAT, DOG), "nothing.jpg": ()}
    with pytest.raises(DataError, match=r"data\.yaml, train \(yolo\), data\.yaml, val \(yolo\)"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("names", ["names: ['cat', 'dog']", "nc: 2\nnames: [cat, dog]"])
@pytest.mark.parametrize("start", ["../", "", "./"])
def test_roboflow_s_yolo(tmp_path: Path, names: str, start: str) -> None:
    root = tmp_path / "export"
    for part in ("train", "valid", "test"):
        yolo(root, f"{part}/images", f"{part}/labels", f"{part}1")
    text(root / "data.yaml", f"train: {start}train/images\nval: {start}valid/images\n"
         f"test: {start}test/images\n\n{names}\n")  # fmt: skip
    for split in ("val", "valid"):
        assert boxes(read_dataset(root, split=split)) == {"valid1.jpg": (CAT, DOG)}


def test_a_data_yaml_that_names_lists_of_pictures(tmp_path: Path) -> None:
    yolo(tmp_path, "images/deep", "labels/deep", "a", "b")
    text(tmp_path / "train.txt", "./images/deep/a.jpg\n")
    text(tmp_path / "val.txt", "images/deep/b.jpg\n")
    file = text(tmp_path / "my.yml", "train: train.txt\nval: [val.txt]\nnames: [cat, dog]\n")
    assert boxes(read_dataset(file, split="val")) == {"images/deep/b.jpg": (CAT, DOG)}
    assert len(read_dataset(file, split="train")) == 1


@pytest.mark.parametrize(
    ("images", "labels", "names"),
    [
        ("images", "labels", "classes.txt"),  # Label Studio
        ("images", "labels", "labels/classes.txt"),  # LabelImg
        (".", ".", "classes.txt"),
        ("images/a", "labels/a", "classes.txt"),
        ("data", "data", "obj.names"),  # FiftyOne's YOLOv4
        ("train", "train", "train/_darknet.labels"),  # Roboflow's darknet
    ],
)
def test_yolo_without_a_yaml(tmp_path: Path, images: str, labels: str, names: str) -> None:
    yolo(tmp_path, images, labels, "a", "b")
    text(tmp_path / names, "cat\ndog\n")
    dataset = read_dataset(tmp_path)
    assert dataset.kind == "yolo"
    assert {Path(name).name: some for name, some in boxes(dataset).items()} == {
        "a.jpg": (CAT, DOG), "b.jpg": (CAT, DOG),
    }  # fmt: skip


@pytest.mark.parametrize("layout", ["{}/images {}/labels", "images/{} labels/{}"])
def test_yolo_in_parts_without_a_yaml(tmp_path: Path, layout: str) -> None:
    for part in ("train", "valid"):
        yolo(tmp_path, *(words.format(part) for words in layout.split()), f"{part}1")
    text(tmp_path / "classes.txt", "cat\ndog\n")
    assert boxes(read_dataset(tmp_path, split="val")) == {"valid1.jpg": (CAT, DOG)}
    with pytest.raises(DataError, match=r"2 ways.*split='train'"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("names", ["data.yaml", "classes.txt"])
@pytest.mark.parametrize("given", ["train", "train/images"])
def test_a_part_of_yolo_has_its_classes_from_above(tmp_path: Path, names: str, given: str) -> None:
    for part in ("train", "valid"):
        yolo(tmp_path, f"{part}/images", f"{part}/labels", f"{part}1")
    if names == "data.yaml":
        text(tmp_path / names, "train: train/images\nval: valid/images\nnames: [cat, dog]\n")
    else:
        text((tmp_path / given).parent / names, "cat\ndog\n")
    if (names, given) == ("data.yaml", "train/images"):  # two folders below it
        with pytest.raises(DataError, match="names the classes"):
            read_dataset(tmp_path / given)
        return
    assert boxes(read_dataset(tmp_path / given)) == {"train1.jpg": (CAT, DOG)}


def test_classes_that_nothing_names_are_no_guess(tmp_path: Path) -> None:
    yolo(tmp_path, "images", "labels", "a")
    with pytest.raises(DataError, match=r"names the classes of its texts\. Add a data\.yaml"):
        read_dataset(tmp_path)


def test_words_of_yaml_stay_words(tmp_path: Path) -> None:
    yolo(tmp_path, "images", "labels", "a")
    text(tmp_path / "data.yaml", "train: images\nnames: [no, 1.0]\n")
    assert read_dataset(tmp_path).labels == ("1.0", "no")


def test_outlines_and_key_points_of_yolo(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.jpg")
    label = text(tmp_path / "labels" / "a.txt", "0 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75\n")
    yaml = text(tmp_path / "data.yaml", "train: images\nnames: [cat]\n")
    (record,) = read_dataset(tmp_path).records
    assert record.boxes == (Box(3, 2, 9, 6, "cat"),)
    mask = record.mask("cat")
    assert mask is not None
    assert mask[2:6, 3:9].all()
    assert mask.sum() == 24
    label.write_text("0 0.25 0.25 0.5 0.5 0.1 0.2 2 0.3 0.4 1\n")
    yaml.write_text("train: images\nnames: [cat]\nkpt_shape: [2, 3]\n")
    (record,) = read_dataset(tmp_path).records
    assert (record.boxes, record.masks) == ((Box(0, 0, 6, 4, "cat"),), None)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("2 0.5 0.5 0.5 0.5", "class '2', but .*names 2 classes, from 0"),
        ("cat 0.5 0.5 0.5 0.5", "class 'cat'"),
        ("-1 0.5 0.5 0.5 0.5", "class '-1'"),
        ("0 6 4 6 4", "are not shares of the picture's sides, from 0 to 1"),
        ("0 0.5 0.5 0.5", "3 numbers after the class"),
        ("0 0.5 0.5 0.5 0.5 0.9", "5 numbers after the class"),
        ("0 0.5 0.5 0.5 wide", "does not consist of numbers"),
        ("0 0.5 0.5 0 0.5", "has no area"),
        ("0 0.9 0.5 0.9 0.5", "lies outside"),
        ("0 nan 0.5 0.9 0.5", "is not finite"),
    ],
)
def test_bad_lines_of_yolo_are_named(tmp_path: Path, line: str, reason: str) -> None:
    yolo(tmp_path, "images", "labels", "a", "b")
    text(tmp_path / "labels" / "b.txt", f"{CAT_LINE}{line}\n")
    text(tmp_path / "data.yaml", "train: images\nnames: [cat, dog]\n")
    dataset = read_dataset(tmp_path)
    assert [record.id for record in dataset.records] == ["a.jpg"]
    (problem,) = dataset.problems
    assert problem.name == "b.jpg"
    with pytest.raises(AssertionError, match=f"line 2: .*{reason}"):
        raise AssertionError(problem.reason)


@pytest.mark.parametrize(
    ("yaml", "reason"),
    [
        ("train: gone/images\nnames: [cat]\n", "which does not exist. Correct path, train and val"),
        ("train: images\nnames: 5\n", "names '5', but names must be a list"),
        ("train: [\n", "cannot be read as YAML"),
        ("train: other\nnames: [cat]\n", r"none of the 1 pictures .* it would be"),
        ("train: empty\nnames: [cat]\n", r"has no pictures in the folders that it names: .*empty"),
    ],
)
def test_a_data_yaml_that_is_wrong_says_so(tmp_path: Path, yaml: str, reason: str) -> None:
    yolo(tmp_path, "images", "labels", "a")
    picture(tmp_path / "other" / "a.jpg")
    (tmp_path / "empty").mkdir()
    text(tmp_path / "data.yaml", yaml)
    with pytest.raises(DataError, match=reason):
        read_dataset(tmp_path)


# Pascal VOC


@pytest.mark.parametrize(
    ("images", "annotations"),
    [
        ("JPEGImages", "Annotations"),
        ("VOCdevkit/VOC2007/JPEGImages", "VOCdevkit/VOC2007/Annotations"),
        ("VOC2012/JPEGImages", "VOC2012/Annotations"),
        ("images", "annotations"),
        ("images", "annotations/xmls"),  # Oxford's pets
        ("data", "labels"),  # FiftyOne
        (".", "."),  # LabelImg
        ("train", "train"),  # Roboflow
        ("images", "images"),
    ],
)
def test_voc_by_many_names(tmp_path: Path, images: str, annotations: str) -> None:
    picture(tmp_path / images / "a.jpg")
    picture(tmp_path / images / "b.PNG")
    xml(tmp_path, annotations, "a")
    xml(tmp_path, annotations, "b", ".XML")
    if images == "images" == annotations:
        with pytest.raises(DataError, match="there is one in 'images': give its path"):
            read_dataset(tmp_path)
        tmp_path /= "images"
    dataset = read_dataset(tmp_path)
    assert dataset.kind == "voc"
    assert boxes(dataset) == {"a": (CAT,), "b": (CAT,)}


def test_xml_of_something_else_is_no_annotation(tmp_path: Path) -> None:
    picture(tmp_path / "cat" / "a.jpg")
    text(tmp_path / "project.xml", "<project/>")
    assert read_dataset(tmp_path).kind == "folder"


def test_two_years_of_voc(tmp_path: Path) -> None:
    for year in ("VOC2007", "VOC2012"):
        picture(tmp_path / "VOCdevkit" / year / "JPEGImages" / "a.jpg")
        xml(tmp_path, f"VOCdevkit/{year}/Annotations", "a")
    with pytest.raises(DataError, match=r"VOC2007/Annotations/\*\.xml.*give the path of one"):
        read_dataset(tmp_path)
    assert len(read_dataset(tmp_path / "VOCdevkit" / "VOC2012")) == 1


# Masks


def test_masks_beside_images(tmp_path: Path) -> None:
    for name in ("a.jpg", "deep/b.png", "c.jpg"):
        picture(tmp_path / "images" / name, 3, 2)
    index_png(tmp_path / "masks" / "a.png", [[0, 1, 1], [2, 255, 0]])
    index_png(tmp_path / "masks" / "deep" / "b.png", [[0, 0, 0], [0, 0, 0]], mode="L")
    with pytest.raises(DataError, match=r"names the classes of its masks\. Add classes\.json"):
        read_dataset(tmp_path)
    write_json(tmp_path / "classes.json", {"0": "background", "1": "cat", "2": "dog"})
    dataset = read_dataset(tmp_path)
    assert (dataset.kind, dataset.labels) == ("masks", ("cat", "dog"))
    assert {record.id: record.labels for record in dataset.records} == {
        "a.jpg": ("cat", "dog"), "deep/b.png": (),
    }  # fmt: skip
    assert [str(problem) for problem in dataset.problems] == [
        f"c.jpg: has no mask in '{tmp_path / 'masks'}'"
    ]
    a = dataset.records[0]
    dog, ignored = a.mask("dog"), a.ignored()
    assert dog is not None
    assert ignored is not None
    assert dog.tolist() == [[False] * 3, [True, False, False]]
    assert ignored.tolist() == [[False] * 3, [False, True, False]]


@pytest.mark.parametrize(
    ("classes", "labels"),
    [
        ({"1": "cat", "2": "dog"}, ("cat", "dog")),
        ({"0": "background", "1": "background", "2": "dog"}, ("background", "dog")),
        ({"0": "cat", "1": "Background", "2": "dog"}, ("cat", "dog")),
        ({"0": "cat", "1": "cow", "2": "dog"}, ("cat", "cow", "dog")),
    ],
)
def test_which_value_is_the_background(
    tmp_path: Path, classes: dict[str, str], labels: tuple[str, ...]
) -> None:
    picture(tmp_path / "images" / "a.jpg", 3, 2)
    index_png(tmp_path / "masks" / "a.png", [[0, 1, 1], [2, 2, 0]])
    write_json(tmp_path / "classes.json", classes)
    assert read_dataset(tmp_path).labels == labels


def test_roboflow_s_masks(tmp_path: Path) -> None:
    for part in ("train", "valid"):
        picture(tmp_path / part / "a.jpg", 3, 2)
        index_png(tmp_path / part / "a_mask.png", [[0, 1, 1], [0, 0, 0]], mode="L")
        text(tmp_path / part / "_classes.csv", "Pixel Value, Class\n0, background\n1, cat\n")
    dataset = read_dataset(tmp_path, split="val")
    assert [(r.id, r.labels) for r in dataset.records] == [("a.jpg", ("cat",))]
    assert dataset.problems == ()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([[0, 7, 1], [0, 0, 0]], r"has the values \[7\], which no class has.*'1: cat'"),
        ([[0, 1]], "for a picture of 2 × 1 pixels, but the file has 3 × 2"),
    ],
)
def test_a_mask_that_does_not_fit_is_named(tmp_path: Path, values: Any, reason: str) -> None:
    for name in ("a", "b"):
        picture(tmp_path / "images" / f"{name}.jpg", 3, 2)
        index_png(tmp_path / "masks" / f"{name}.png", [[0, 1, 1], [0, 0, 0]])
    index_png(tmp_path / "masks" / "b.png", values)
    write_json(tmp_path / "classes.json", {"1": "cat"})
    dataset = read_dataset(tmp_path)
    assert [record.id for record in dataset.records] == ["a.jpg"]
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(dataset.problems[0].reason)


# A folder by class


@pytest.mark.parametrize(
    "names",
    [
        ("images",),
        ("images", "masks"),
        ("Images", "Labels"),
        ("data",),
        ("image", "label"),
        ("train", "test"),
        ("cat", "images"),
        ("JPEGImages", "SegmentationClass"),
    ],
)
def test_folders_that_are_no_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        picture(tmp_path / name / f"{name}.jpg")
    with pytest.raises(DataError, match="if its folders are classes, name the kind 'folder'"):
        read_dataset(tmp_path)
    assert set(read_dataset(tmp_path, kind="folder").labels) == set(names)


@pytest.mark.parametrize("names", [("mask", "no mask"), ("bus", "train"), ("cat",), ("0", "1")])
def test_folders_that_are_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        picture(tmp_path / name / "a.jpg")
    picture(tmp_path / "__MACOSX" / "a.jpg")
    (tmp_path / names[0] / "Thumbs.db").touch()
    dataset = read_dataset(tmp_path)
    assert (dataset.kind, dataset.labels, dataset.problems) == ("folder", names, ())


def test_folders_by_class_in_parts(tmp_path: Path) -> None:
    for part in ("train", "val"):
        picture(tmp_path / part / "cat" / f"{part}.jpg")
    assert [one.id for one in read_dataset(tmp_path, split="val").records] == ["cat/val.jpg"]
    with pytest.raises(DataError, match="choose a part with split='train'"):
        read_dataset(tmp_path)


# Several at once, and none


def test_several_formats_say_which_and_how_to_choose(tmp_path: Path) -> None:
    yolo(tmp_path, "images", "labels", "a")
    text(tmp_path / "classes.txt", "cat\ndog\n")
    xml(tmp_path, "Annotations", "a")
    index_png(tmp_path / "masks" / "a.png", [[0]])
    with pytest.raises(DataError, match="can be read in 2 ways"):
        read_dataset(tmp_path)  # nothing says what the masks' values are
    write_json(tmp_path / "classes.json", {"0": "background"})
    with pytest.raises(DataError, match="can be read in 3 ways") as error:
        read_dataset(tmp_path)
    assert "Annotations/*.xml (voc), labels/*.txt (yolo), masks/*.png (masks)" in str(error.value)
    assert "name the kind (voc, yolo, masks)" in str(error.value)
    assert boxes(read_dataset(tmp_path, kind="yolo")) == {"a.jpg": (CAT, DOG)}
    assert boxes(read_dataset(tmp_path, kind="voc")) == {"a": (CAT,)}


def test_annotations_say_more_than_names_of_folders(tmp_path: Path) -> None:
    picture(tmp_path / "dogs" / "a.jpg")
    coco(tmp_path / "annotations.json", "dogs/a.jpg")
    assert boxes(read_dataset(tmp_path)) == {"dogs/a.jpg": (CAT,)}
    assert read_dataset(tmp_path, kind="folder").labels == ("dogs",)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("samples.json", {}, "FiftyOne's own export: export fiftyone.types.COCODetectionDataset"),
        ("labels.json", {"classes": [], "labels": {}}, "FiftyOne's own export"),
        ("a.json", {"shapes": []}, "LabelMe's, about one picture: convert it to COCO's JSON"),
        ("a.parquet", None, "Parquet tables: convert it"),
        ("a.tfrecord", None, "TFRecords"),
        ("a.zip", None, "an archive: unpack it"),
        ("notes.md", None, r"It holds 1 folders \('data'\), 1 files with "),
    ],
)
def test_formats_that_are_not_read_are_named(
    tmp_path: Path, file: str, content: Any, said: str
) -> None:
    picture(tmp_path / "a.jpg")
    (tmp_path / "data").mkdir()
    write_json(tmp_path / file, content)
    with pytest.raises(DataError, match=said) as error:
        read_dataset(tmp_path)
    assert "Looked for: coco: COCO's JSON" in str(error.value)
    with pytest.raises(DataError):
        read_dataset(tmp_path / file)
