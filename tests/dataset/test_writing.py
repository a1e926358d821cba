"""Pseudo-labels: what is written is what the readers of each format read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from seewhy.dataset import Box
from seewhy.dataset.formats import WRITTEN
from seewhy.dataset.labelled import FoundObject, LabelledPicture
from seewhy.dataset.links import is_turned, link_upright
from seewhy.dataset.masks import palette
from seewhy.dataset.segmentation import decode_runs, run_lengths
from seewhy.dataset.writing import write_labels
from seewhy.errors import DataError
from seewhy.labels import find_objects

# pycocotools 2.0.11 has not followed numpy 2.
reads_coco = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

masks = arrays(bool, st.tuples(st.integers(1, 8), st.integers(1, 8)))

HEATMAP = np.zeros((30, 40), np.float32)
HEATMAP[5:15, 10:20] = 4
HEATMAP[20:24, 30:38] = 2
OTHER = np.zeros((30, 40), np.float32)
OTHER[8:12, 12:16] = 1


@pytest.fixture
def pictures(tmp_path: Path) -> list[LabelledPicture]:
    """A square of one class with a smaller one of another inside it; nothing; a large one."""
    folder = tmp_path / "photos"
    files = [folder / name for name in ("a b.png", "deep/a b.jpg", "c.webp")]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), "gray").save(file)
    objects = (
        (*find_objects(HEATMAP, "tabby", 0.75), *find_objects(OTHER, '<ox> & "co"', None)),
        (),
        find_objects(HEATMAP, "tabby", 0.5, all_components=True),
    )
    return [
        LabelledPicture(file, file.relative_to(folder).as_posix(), (30, 40), found)
        for file, found in zip(files, objects, strict=True)
    ]


def written(folder: Path, pictures: list[LabelledPicture], format_: str) -> Path:
    out = folder / format_
    out.mkdir()
    write_labels(out, pictures, format_, {"method": "grad-cam"}, photos=folder / "photos")
    assert json.loads((out / "protocol.json").read_text()) == {"method": "grad-cam"}
    assert not (out / "preview.png").exists()
    return out


def test_objects_of_a_map():
    (large,) = find_objects(HEATMAP, "tabby", 0.75)
    assert large.box == Box(10, 5, 20, 15, "tabby")
    assert (large.area, large.label, large.probability) == (100, "tabby", 0.75)
    assert np.array_equal(large.mask((30, 40)), HEATMAP == 4)
    first, second = find_objects(HEATMAP, "tabby", None, all_components=True)
    assert first.box == large.box
    assert second.box == Box(30, 20, 38, 24, "tabby")
    assert np.array_equal(second.mask((30, 40)), HEATMAP == 2)
    assert find_objects(np.zeros((3, 3)), "tabby", 1.0) == ()
    assert len(find_objects(HEATMAP, "tabby", 1.0, threshold=0.6, all_components=True)) == 1


@settings(deadline=None)
@given(masks)
def test_run_lengths_are_coco_s_and_come_back(mask):
    runs = run_lengths(mask)
    assert runs.sum() == mask.size
    assert np.array_equal(decode_runs({"counts": runs}, mask.shape), mask)
    column_major = [bool(mask[row, column]) for column in range(mask.shape[1])
                    for row in range(mask.shape[0])]  # fmt: skip
    expected, value = [], False
    place = 0
    while place < len(column_major):
        length = 0
        while place < len(column_major) and column_major[place] == value:
            length, place = length + 1, place + 1
        expected.append(length)
        value = not value
    assert runs.tolist() == expected


@reads_coco
@settings(deadline=None)
@given(masks)
def test_run_lengths_are_read_by_pycocotools(mask):
    coco = pytest.importorskip("pycocotools.mask")
    runs = {"size": list(mask.shape), "counts": run_lengths(mask).tolist()}
    assert np.array_equal(coco.decode(coco.frPyObjects(runs, *mask.shape)), mask)


@reads_coco
def test_coco_is_read_by_pycocotools_and_torchvision(pictures, tmp_path):
    out = written(tmp_path, pictures, "coco")
    pytest.importorskip("pycocotools")
    datasets = pytest.importorskip("torchvision.datasets")
    data = datasets.CocoDetection(str(tmp_path / "photos"), str(out / "annotations.json"))
    assert len(data) == 3
    names = {one["id"]: one["name"] for one in data.coco.loadCats(data.coco.getCatIds())}
    assert names == {1: '<ox> & "co"', 2: "tabby"}
    for (image, read), picture in zip(data, pictures, strict=True):
        assert image.size == (40, 30)
        assert len(read) == len(picture.objects)
        for annotation, found in zip(read, picture.objects, strict=True):
            x, y, width, height = annotation["bbox"]
            assert (x, y, x + width, y + height) == found.box.as_tuple()
            assert names[annotation["category_id"]] == found.label
            assert annotation.get("score") == found.probability
            mask = data.coco.annToMask(annotation)
            assert np.array_equal(mask, found.mask(picture.size))
            assert mask.sum() == annotation["area"] == found.area


@reads_coco
def test_coco_labels_are_detections_that_cocoeval_scores(pictures, tmp_path):
    out = written(tmp_path, pictures, "coco")
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    truth = coco.COCO(str(out / "annotations.json"))
    found = [{**one, "score": 1.0} for one in truth.dataset["annotations"]]
    for kind in ("bbox", "segm"):
        scored = evaluation.COCOeval(truth, truth.loadRes(found), kind)
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
        assert scored.stats[0] == pytest.approx(1)


def test_voc_is_read_by_torchvision(pictures, tmp_path):
    out = written(tmp_path, pictures, "voc")
    datasets = pytest.importorskip("torchvision.datasets")
    data = datasets.VOCDetection(str(out), year="2012", image_set="trainval")
    assert len(data) == 3
    for (image, target), picture in zip(data, pictures, strict=True):
        image.load()
        annotation = target["annotation"]
        assert annotation["size"] == {"width": "40", "height": "30", "depth": "3"}
        objects = annotation.get("object", [])
        assert [one["name"] for one in objects] == [one.label for one in picture.objects]
        for one, found in zip(objects, picture.objects, strict=True):
            corners = {name: int(value) for name, value in one["bndbox"].items()}
            assert corners == {
                "xmin": found.box.x0 + 1, "ymin": found.box.y0 + 1,
                "xmax": found.box.x1, "ymax": found.box.y1,
            }  # fmt: skip
            assert one["difficult"] == "0"
    assert len({Path(path).name for path in data.images}) == 3  # two pictures are called 'a b'


def test_yolo_by_hand(pictures, tmp_path):
    out = written(tmp_path, pictures, "yolo")
    lines = (out / "labels" / "a-b.txt").read_text().splitlines()
    # x 10 to 20 of 40, y 5 to 15 of 30: centre, then width and height, as shares.
    assert lines[0] == "1 0.375000 0.333333 0.250000 0.333333"
    assert lines[1] == "0 0.350000 0.333333 0.100000 0.133333"
    assert (out / "labels" / "deep-a-b.txt").read_text() == ""
    assert len((out / "labels" / "c.txt").read_text().splitlines()) == 2
    images = {path.stem for path in (out / "images").iterdir()}
    assert images == {path.stem for path in (out / "labels").iterdir()}
    for path in (out / "images").iterdir():
        with Image.open(path) as image:
            assert image.size == (40, 30)
    text = (out / "data.yaml").read_text()
    assert "train: images\n" in text
    assert yaml.safe_load(text)["names"] == {0: '<ox> & "co"', 1: "tabby"}


def test_masks_hold_classes_the_smaller_object_on_top(pictures, tmp_path):
    out = written(tmp_path, pictures, "masks")
    names = json.loads((out / "classes.json").read_text())
    assert names == {"0": "background", "1": '<ox> & "co"', "2": "tabby"}
    with Image.open(out / "masks" / "a b.png") as image:
        assert image.mode == "P"
        assert image.getpalette()[3:9] == [128, 0, 0, 0, 128, 0]
        values = np.asarray(image)
    assert np.array_equal(values, np.where(OTHER > 0, 1, np.where(HEATMAP == 4, 2, 0)))
    with Image.open(out / "masks" / "deep" / "a b.png") as image:
        assert not np.asarray(image).any()
    with Image.open(out / "masks" / "c.png") as image:
        assert np.array_equal(np.asarray(image), 2 * (HEATMAP > 0))


def test_masks_of_pictures_that_differ_in_their_ending_do_not_meet(pictures, tmp_path):
    one, other, third = pictures
    same = LabelledPicture(other.path, "a b.jpg", other.size, other.objects)
    out = written(tmp_path, [one, same, third], "masks")
    assert sorted(path.name for path in (out / "masks").iterdir()) == [
        "a b.jpg.png", "a b.png.png", "c.png",
    ]  # fmt: skip


def test_the_palette_is_pascal_vocs():
    colors = palette()
    assert colors[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert colors[15].tolist() == [192, 128, 128]  # person
    assert colors[255].tolist() == [224, 224, 192]  # the border
    assert len(np.unique(colors, axis=0)) == 256


@pytest.mark.parametrize(("classes", "mode"), [(255, "P"), (256, "I;16")])
def test_masks_have_room_for_any_number_of_classes(pictures, tmp_path, classes, mode):
    found = pictures[0].objects[0]
    many = tuple(
        FoundObject(Box(*found.box.as_tuple(), f"class {number:03}"), None, found.area, found.runs)
        for number in range(classes)
    )
    one = LabelledPicture(pictures[0].path, "a.png", (30, 40), many)
    out = written(tmp_path, [one], "masks")
    with Image.open(out / "masks" / "a.png") as image:
        assert image.mode == mode
        assert np.unique(np.asarray(image)).tolist() == [0, classes]
    names = json.loads((out / "classes.json").read_text())
    assert names[str(classes)] == f"class {classes - 1:03}"


@pytest.mark.parametrize("format_", WRITTEN)
def test_pictures_without_objects_are_kept(pictures, tmp_path, format_):
    out = written(tmp_path, [pictures[1]], format_)
    assert sum(path.is_file() for path in out.rglob("*")) >= 2
    if format_ == "coco":
        data = json.loads((out / "annotations.json").read_text())
        assert len(data["images"]) == 1
        assert data["annotations"] == data["categories"] == []
    if format_ == "yolo":
        assert (out / "data.yaml").read_text().endswith("names: {}\n")


def test_what_is_not_written_is_refused(pictures, tmp_path):
    with pytest.raises(
        DataError, match=r"'folder' cannot be written\. Choose one of coco, voc, yolo"
    ):
        write_labels(tmp_path, pictures, "folder", {}, photos=tmp_path / "photos")


def test_turned_pictures_become_upright_copies(tmp_path):
    turned, plain = tmp_path / "turned.jpg", tmp_path / "plain.jpg"
    image = Image.new("RGB", (40, 30), "red")
    image.paste("blue", (0, 0, 20, 30))  # stored on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise: the left is then above
    image.save(turned, exif=exif)
    image.save(plain)
    assert is_turned(turned)
    assert not is_turned(plain)
    link_upright(turned, tmp_path / "copy.jpg")
    assert not (tmp_path / "copy.jpg").is_symlink()
    with Image.open(tmp_path / "copy.jpg") as copy:
        assert copy.size == (30, 40)
        assert not is_turned(tmp_path / "copy.jpg")
        red, _, blue = copy.getpixel((15, 5))
        assert blue > 200 > red
    link_upright(plain, tmp_path / "link.jpg")
    assert (tmp_path / "link.jpg").resolve() == plain.resolve()


def test_where_there_are_no_links_there_are_copies(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError("not here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    Image.new("RGB", (4, 3)).save(tmp_path / "a.png")
    link_upright(tmp_path / "a.png", tmp_path / "b.png")
    assert not (tmp_path / "b.png").is_symlink()
    assert (tmp_path / "b.png").read_bytes() == (tmp_path / "a.png").read_bytes()
