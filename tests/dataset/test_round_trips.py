"""What is written in each format is read back alone, equal in boxes, classes and masks."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seewhy.dataset import FORMATS, Box, Record, read_dataset
from seewhy.dataset.formats import WRITTEN, load_format
from seewhy.dataset.labelled import FoundObject, LabelledPicture
from seewhy.dataset.links import distinct_stems
from seewhy.dataset.segmentation import run_lengths
from seewhy.dataset.writing import write_labels
from seewhy.errors import DataError

# pycocotools 2.0.11 has not followed numpy 2.
reads_coco = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIZE = (37, 53)  # shares of these have no end
WITH_BOXES = [name for name in WRITTEN if name != "masks"]


def found(label: str, box: tuple[int, int, int, int], probability: float = 0.5) -> FoundObject:
    """An ellipse in its box."""
    x0, y0, x1, y1 = box
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    across = (columns - (x0 + x1) / 2) / ((x1 - x0) / 2)
    down = (rows - (y0 + y1) / 2) / ((y1 - y0) / 2)
    mask = across**2 + down**2 <= 1.01
    return FoundObject(Box(*box, label), probability, int(mask.sum()), run_lengths(mask))


@pytest.fixture
def pictures(tmp_path: Path) -> list[LabelledPicture]:
    """Two classes in a picture, one of them twice; nothing; a picture that is stored turned."""
    objects = {
        "a b.png": (
            found("no", (1, 2, 20, 30)),
            found("größe", (24, 3, 50, 20)),
            found("no", (30, 22, 53, 37)),
        ),
        "deep/a b.jpg": (),
        "deep/turned.jpg": (found("größe", (0, 0, 53, 36)),),
        "z.webp": (found("no", (13, 7, 14, 8)),),
    }
    pictures = []
    for name, some in objects.items():
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        size = SIZE[::-1]
        if "turned" in name:
            exif[0x0112], size = 6, SIZE
        Image.new("RGB", size, "gray").save(path, exif=exif)
        pictures.append(LabelledPicture(path, name, SIZE, some))
    return pictures


def written(tmp_path: Path, pictures: list[LabelledPicture], format_: str) -> Path:
    """Written aside and moved, as `seewhy label` does it."""
    out, aside = tmp_path / "out" / format_, tmp_path / "aside" / "deeper" / format_
    aside.mkdir(parents=True)
    write_labels(aside, pictures, format_, {}, photos=tmp_path / "photos", out=out)
    out.parent.mkdir()
    aside.rename(out)
    return out


def in_the_order_of(pictures: list[LabelledPicture], out: Path, format_: str) -> list[Record]:
    dataset = read_dataset(out)
    assert (dataset.kind, dataset.problems) == (format_, ())
    assert dataset.labels == ("größe", "no")
    names = [one.name for one in pictures]
    if format_ in ("voc", "yolo"):  # whose pictures are links in one folder
        names = distinct_stems(names)
        by_id = {Path(record.id).stem: record for record in dataset.records}
    else:
        by_id = {record.id: record for record in dataset.records}
    assert sorted(by_id) == sorted(names)
    return [by_id[name] for name in names]


def test_every_format_that_is_written_is_read_and_recognised() -> None:
    for name in FORMATS:
        format_ = load_format(name)
        assert format_.name == name
        assert format_.looks_for
        assert (format_.write is not None) == (name in WRITTEN)


@pytest.mark.parametrize("format_", WITH_BOXES)
def test_boxes_and_classes_come_back(
    tmp_path: Path, pictures: list[LabelledPicture], format_: str
) -> None:
    out = written(tmp_path, pictures, format_)
    for record, one in zip(in_the_order_of(pictures, out, format_), pictures, strict=True):
        assert record.boxes == tuple(found.box for found in one.objects)
        assert record.labels == tuple(dict.fromkeys(found.label for found in one.objects))
        with Image.open(record.image) as opened:
            opened.load()


@pytest.mark.parametrize("format_", ["coco", "masks"])
def test_masks_come_back(tmp_path: Path, pictures: list[LabelledPicture], format_: str) -> None:
    out = written(tmp_path, pictures, format_)
    for record, one in zip(in_the_order_of(pictures, out, format_), pictures, strict=True):
        assert set(record.labels) == {found.label for found in one.objects}
        for label in record.labels:
            wanted = np.zeros(SIZE, bool)
            for each in one.objects:
                wanted |= (each.label == label) & each.mask(SIZE)
            mask = record.mask(label)
            assert mask is not None
            assert np.array_equal(mask, wanted)
        assert record.image.samefile(one.path)


@pytest.mark.parametrize("format_", ["coco", "masks"])
def test_pictures_that_lie_elsewhere_are_found_when_something_moves(
    tmp_path: Path, pictures: list[LabelledPicture], format_: str
) -> None:
    out = written(tmp_path, pictures, format_)
    before = read_dataset(out)
    moved = tmp_path / "elsewhere" / "deep" / "set"
    shutil.copytree(out, moved)  # the data set alone
    assert [one.id for one in read_dataset(moved).records] == [one.id for one in before.records]
    both = tmp_path / "both"
    shutil.copytree(tmp_path / "photos", both / "photos")
    shutil.copytree(out, both / "out" / format_)
    together = read_dataset(both / "out" / format_)
    assert all(both in one.image.resolve().parents for one in together.records)
    shutil.move(tmp_path / "photos", tmp_path / "gone")
    with pytest.raises(DataError, match=r"there is no file 'a b\.png' in .*photos"):
        read_dataset(out)
    given = read_dataset(out, images=tmp_path / "gone")
    assert [one.id for one in given.records] == [one.id for one in before.records]


@reads_coco
def test_coco_is_alike_for_pycocotools(tmp_path: Path, pictures: list[LabelledPicture]) -> None:
    out = written(tmp_path, pictures, "coco")
    coco = pytest.importorskip("pycocotools.coco").COCO(str(out / "annotations.json"))
    records = in_the_order_of(pictures, out, "coco")
    for record, image in zip(records, coco.loadImgs(coco.getImgIds()), strict=True):
        theirs = coco.loadAnns(coco.getAnnIds(image["id"]))
        assert record.id == image["file_name"]
        assert len(theirs) == len(record.boxes)
        for box, annotation in zip(record.boxes, theirs, strict=True):
            x, y, width, height = annotation["bbox"]
            (name,) = [c["name"] for c in coco.loadCats(annotation["category_id"])]
            assert box == Box(x, y, x + width, y + height, name)
        for label in record.labels:
            of_label = [a for a in theirs if coco.cats[a["category_id"]]["name"] == label]
            mask = np.any([coco.annToMask(a) for a in of_label], axis=0)
            assert np.array_equal(record.mask(label), mask)


def test_voc_is_alike_for_torchvision(tmp_path: Path, pictures: list[LabelledPicture]) -> None:
    out = written(tmp_path, pictures, "voc")
    datasets = pytest.importorskip("torchvision.datasets")
    theirs = datasets.VOCDetection(str(out), year="2012", image_set="trainval")
    records = in_the_order_of(pictures, out, "voc")
    for record, (image, target) in zip(records, theirs, strict=True):
        assert image.size == SIZE[::-1]
        objects = target["annotation"].get("object", [])
        boxes = []
        for one in objects:
            x0, y0, x1, y1 = (int(one["bndbox"][side]) for side in ("xmin", "ymin", "xmax", "ymax"))
            boxes.append(Box(x0 - 1, y0 - 1, x1, y1, one["name"]))
        assert record.boxes == tuple(boxes)


def test_the_split_that_voc_s_labels_name_is_read_too(
    tmp_path: Path, pictures: list[LabelledPicture]
) -> None:
    out = written(tmp_path, pictures, "voc")
    assert len(read_dataset(out, split="trainval")) == len(pictures)
    assert read_dataset(out).records == read_dataset(out / "VOCdevkit" / "VOC2012").records


def test_yolo_s_two_names_for_one_folder_are_one_data_set(
    tmp_path: Path, pictures: list[LabelledPicture]
) -> None:
    out = written(tmp_path, pictures, "yolo")
    whole = read_dataset(out)
    assert whole.records == read_dataset(out / "data.yaml").records
    assert whole.records == read_dataset(out, split="train").records
    assert whole.records == read_dataset(out, split="val").records
    with pytest.raises(DataError, match=r"no split 'test'\. Its splits are train, val"):
        read_dataset(out, split="test")


@pytest.mark.parametrize("side", [31, 641, 4999, 12000])
def test_six_digits_are_enough_for_any_box_of_whole_pixels(side: int, tmp_path: Path) -> None:
    path = tmp_path / "photos" / "a.png"
    path.parent.mkdir()
    Image.new("1", (side, 1)).save(path)
    generator = np.random.default_rng(side)
    edges = np.sort(generator.choice(side + 1, (60, 2)), axis=1)
    objects = tuple(
        FoundObject(Box(int(x0), 0, int(x1), 1, "a"), None, 1, np.array([side]))
        for x0, x1 in edges
        if x0 < x1
    )
    one = LabelledPicture(path, "a.png", (1, side), objects)
    (record,) = read_dataset(written(tmp_path, [one], "yolo")).records
    assert record.boxes == tuple(each.box for each in objects)


def test_pictures_without_any_object_are_read(tmp_path: Path, pictures: list[LabelledPicture]):
    for format_ in WRITTEN:
        out = tmp_path / "none" / format_
        out.mkdir(parents=True)
        write_labels(out, pictures[1:2], format_, {}, photos=tmp_path / "photos")
        dataset = read_dataset(out)
        assert (len(dataset), dataset.labels) == (1, ()), format_


def test_the_list_of_formats_needs_neither_torch_nor_numpy() -> None:
    code = (
        "import sys, seewhy.dataset.formats;"
        "heavy = {'torch', 'numpy', 'PIL', 'yaml'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_reading_needs_no_torch(tmp_path: Path, pictures: list[LabelledPicture]) -> None:
    for format_ in WRITTEN:
        out = tmp_path / "light" / format_
        out.mkdir(parents=True)
        write_labels(out, pictures, format_, {}, photos=tmp_path / "photos")
    code = (
        "import sys; from seewhy.dataset import read_dataset;"
        f"[read_dataset({str(tmp_path / 'light')!r} + '/' + name) for name in {WRITTEN!r}];"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_json_says_where_the_pictures_are(tmp_path: Path, pictures: list[LabelledPicture]) -> None:
    out = written(tmp_path, pictures, "coco")
    content = json.loads((out / "annotations.json").read_text())
    assert content["info"]["pictures_in"] == ["../../photos", str(tmp_path / "photos")]
