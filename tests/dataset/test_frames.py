"""Stated sizes that contradict the file: annotations of stored pixels, and of other pictures."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from dataset.drawn import index_png, picture, voc_xml, write_json
from seewhy.dataset import Box, Dataset, read_dataset
from seewhy.dataset.files import picture_size, stored_picture
from seewhy.errors import DataError

WIDE, HIGH = 60, 40  # as stored
BOX = (4, 6, 20, 15)  # x0, y0, x1, y1 in the stored pixels


def stored(orientation: int, path: Path, width: int = WIDE, height: int = HIGH) -> np.ndarray:
    """A picture with a box in its stored pixels; returns where the box is upright."""
    image = Image.new("L", (width, height))
    image.paste(255, BOX)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    tags: dict[str, Any] = {"tiffinfo": {274: orientation}} if path.suffix == ".tif" else {}
    image.save(path, **tags or {"exif": exif})
    image.getexif()[0x0112] = orientation
    return np.asarray(ImageOps.exif_transpose(image)) > 127


def around(mask: np.ndarray) -> tuple[float, float, float, float]:
    rows, columns = np.nonzero(mask)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def coco(root: Path, sizes: dict[str, tuple[int, int]], box: tuple[int, ...] = BOX) -> Dataset:
    """`sizes` are (width, height) as stated."""
    x0, y0, x1, y1 = box
    outline = [[x0, y0, x1, y0, x1, y1, x0, y1]]
    content = {
        "images": [
            {"id": number, "file_name": name, "width": width, "height": height}
            for number, (name, (width, height)) in enumerate(sizes.items())
        ],
        "categories": [{"id": 1, "name": "red"}],
        "annotations": [
            {"image_id": n, "category_id": 1, "bbox": [x0, y0, x1 - x0, y1 - y0],
             "segmentation": outline}
            for n, _ in enumerate(sizes)
        ],
    }  # fmt: skip
    return read_dataset(write_json(root / "annotations.json", content))


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_upright_size_is_the_one_that_is_read(
    tmp_path: Path, orientation: int, ending: str
) -> None:
    path = tmp_path / f"a.{ending}"
    upright = stored(orientation, path)
    assert picture_size(path) == upright.shape
    assert stored_picture(path).size == (HIGH, WIDE)
    from seewhy.images import read_image

    assert read_image(path).shape[:2] == picture_size(path)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_boxes_and_masks_of_stored_pixels_are_turned(tmp_path: Path, orientation: int) -> None:
    upright = stored(orientation, tmp_path / "a.png")
    dataset = coco(tmp_path, {"a.png": (WIDE, HIGH)})
    (record,) = dataset.records
    assert record.boxes == (Box(*around(upright), "red"),)
    mask = record.mask("red")
    assert mask is not None
    assert np.array_equal(mask, upright)
    assert dataset.notes == (
        "1 picture is stored with an EXIF rotation, and the stated size is that of the stored "
        "pixels: the annotations were rotated with the picture",
    )


@pytest.mark.parametrize("orientation", [2, 3, 4, 5, 8])
def test_a_size_that_does_not_tell_goes_with_the_others(tmp_path: Path, orientation: int) -> None:
    """A half turn, a mirrored picture, a square one: either frame has the stated size."""
    side = HIGH if orientation >= 5 else WIDE
    upright = stored(orientation, tmp_path / "a.png", side, HIGH)
    alone = coco(tmp_path, {"a.png": (side, HIGH)})
    assert alone.records[0].boxes == (Box(*BOX, "red"),)
    assert "they were read as annotations of the upright picture" in alone.notes[0]
    stored(6, tmp_path / "b.png")
    both = coco(tmp_path, {"a.png": (side, HIGH), "b.png": (WIDE, HIGH)})
    assert both.records[0].boxes == (Box(*around(upright), "red"),)
    assert "they were read as annotations of the stored picture" in both.notes[1]
    mask = both.records[0].mask("red")
    assert mask is not None
    assert np.array_equal(mask, upright)
    other = coco(tmp_path, {"a.png": (side, HIGH), "b.png": (HIGH, WIDE)})
    assert other.records[0].boxes == (Box(*BOX, "red"),)


def test_upright_annotations_of_a_turned_picture_stay(tmp_path: Path) -> None:
    stored(6, tmp_path / "a.jpg")
    dataset = coco(tmp_path, {"a.jpg": (HIGH, WIDE)})
    assert dataset.records[0].boxes == (Box(*BOX, "red"),)
    assert dataset.notes == ()


def test_a_turned_picture_whose_size_nothing_states_is_said(tmp_path: Path) -> None:
    stored(6, tmp_path / "a.jpg")
    entry = {"file": "a.jpg", "label": "red", "boxes": [BOX]}
    dataset = read_dataset(write_json(tmp_path / "annotations.json", [entry]))
    assert dataset.records[0].boxes == (Box(*BOX, "red"),)
    assert (
        "no size is stated: the annotations were read as annotations of the upright"
        in dataset.notes[0]
    )


def test_every_format_turns_what_was_drawn_on_stored_pixels(tmp_path: Path) -> None:
    upright = stored(6, tmp_path / "voc" / "JPEGImages" / "a.jpg")
    expected = Box(*around(upright), "red")
    x0, y0, x1, y1 = BOX
    voc_xml(tmp_path / "voc", "a", [("red", (x0 + 1, y0 + 1, x1, y1))], size=(WIDE, HIGH))
    drawn = np.zeros((HIGH, WIDE), int)
    drawn[y0:y1, x0:x1] = 1
    index_png(tmp_path / "voc" / "SegmentationObject" / "a.png", drawn.tolist())
    stored(6, tmp_path / "csv" / "a.jpg")
    text = f"image,label,x0,y0,x1,y1,width,height\na.jpg,red,{x0},{y0},{x1},{y1},{WIDE},{HIGH}\n"
    (tmp_path / "csv" / "annotations.csv").write_text(text)
    stored(6, tmp_path / "table" / "a.jpg")
    index_png(tmp_path / "table" / "masks" / "a.png", drawn.tolist())
    entry = {"file": "a.jpg", "label": "red", "boxes": [BOX], "size": [WIDE, HIGH],
             "mask": "a.png", "mask_values": {"red": 1}}  # fmt: skip
    write_json(tmp_path / "table" / "annotations.json", [entry])
    stored(6, tmp_path / "masks" / "images" / "a.jpg")
    index_png(tmp_path / "masks" / "masks" / "a.png", drawn.tolist())
    write_json(tmp_path / "masks" / "classes.json", {"1": "red"})
    for kind in ("voc", "csv", "table", "masks"):
        dataset = read_dataset(tmp_path / kind)
        assert dataset.kind == kind
        (record,) = dataset.records
        if kind != "masks":
            assert record.boxes == (expected,), kind
        if kind != "csv":
            mask = record.mask("red")
            assert mask is not None
            assert np.array_equal(mask, upright), kind
        assert len(dataset.notes) == 1


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        (
            (120, 80),
            "is for a picture of 120 × 80 pixels, but the file has 60 × 40, so its boxes would",
        ),
        ((1000, 1000), "Use the picture that was annotated"),
        ((58, 40), "is for a picture of 58 × 40 pixels"),
    ],
)
def test_another_picture_s_annotation_is_named(
    tmp_path: Path, size: tuple[int, int], reason: str
) -> None:
    for name in ("a.jpg", "b.jpg"):
        picture(tmp_path / name, WIDE, HIGH)
    dataset = coco(tmp_path, {"a.jpg": size, "b.jpg": (WIDE, HIGH)})
    assert [record.id for record in dataset.records] == ["b.jpg"]
    assert reason in dataset.problems[0].reason


def test_a_damaged_picture_is_left_to_whoever_opens_it(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"torn")
    assert coco(tmp_path, {"a.jpg": (WIDE, HIGH)}).records[0].boxes == (Box(*BOX, "red"),)
    entry = {"file": "a.jpg", "label": "red", "boxes": [BOX]}
    with pytest.raises(DataError, match="cannot be read"):
        read_dataset(write_json(tmp_path / "table.json", [entry]))


def test_exchanged_sides_are_named(tmp_path: Path) -> None:
    picture(tmp_path / "JPEGImages" / "a.jpg", WIDE, HIGH)
    voc_xml(tmp_path, "a", [("red", (1, 1, 9, 9))], size=(HIGH, WIDE))
    with pytest.raises(
        DataError, match="is for a picture of 40 × 60 pixels, but the file has 60 × 40"
    ):
        read_dataset(tmp_path)


def test_exif_behind_the_pixels_of_a_png_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("L", (WIDE, HIGH)).save(path)
    exif = Image.Exif()
    exif[0x0112] = 6
    content = exif.tobytes()[6:]
    chunk = b"eXIf" + content
    late = struct.pack(">I", len(content)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    whole = path.read_bytes()
    path.write_bytes(whole[:-12] + late + whole[-12:])
    assert picture_size(path) == (WIDE, HIGH)


def test_sizes_are_read_without_decoding(tmp_path: Path, no_picture_is_decoded: None) -> None:
    for name in ("a.png", "a.jpg", "a.webp"):
        Image.new("L", (WIDE, HIGH)).save(tmp_path / name)
        assert picture_size(tmp_path / name) == (HIGH, WIDE)


def test_boxes_of_voc_that_count_from_0_are_said(tmp_path: Path) -> None:
    picture(tmp_path / "JPEGImages" / "a.jpg", WIDE, HIGH)
    voc_xml(tmp_path, "a", [("red", (1, 1, 9, 9))], size=(WIDE, HIGH))
    assert read_dataset(tmp_path).notes == ()
    voc_xml(tmp_path, "a", [("red", (0, 5, 9, 9)), ("red", (9, 0, 12, 9))], size=(WIDE, HIGH))
    dataset = read_dataset(tmp_path)
    assert dataset.records[0].boxes[0] == Box(0, 4, 9, 9, "red")
    assert dataset.notes == (
        "2 boxes start at 0, but VOC counts pixels from 1. If all your boxes count from 0, they "
        "are read one pixel too far up and left",
    )


# Shares taken for pixels


def test_shares_are_no_pixels(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        picture(tmp_path / name, 200, 200)
    rows = [
        {"file": "a.png", "label": "red", "boxes": [[0.1, 0.1, 0.355, 0.355]]},
        {"file": "b.png", "label": "red", "boxes": [[0, 0, 1, 1], [20, 20, 30, 30]]},
        {"file": "c.png", "label": "red", "boxes": [[20, 20, 71, 71]]},
    ]
    path = write_json(tmp_path / "annotations.json", rows)
    dataset = read_dataset(path)
    assert [record.id for record in dataset.records] == ["c.png"]
    assert {problem.name for problem in dataset.problems} == {"a.png", "b.png"}
    assert "shares of the sides, from 0 to 1" in dataset.problems[0].reason
    write_json(path, rows[1:])  # a pixel in the corner may be an object
    assert len(read_dataset(path)) == 2
    write_json(path, [{**row, "boxes": [[0, 0, 1, 1]]} for row in rows])  # but not in each picture
    with pytest.raises(DataError, match="shares of the sides"):
        read_dataset(path)


@pytest.mark.parametrize("kind", ["dicom", "heic"])
def test_pictures_that_pillow_does_not_open_are_sized_too(kind: str, tmp_path: Path) -> None:
    pictures = tmp_path / "images"
    pictures.mkdir()
    if kind == "dicom":
        pytest.importorskip("pydicom", reason="the extra 'dicom' is not installed")
        from images.test_dicom_and_heic import dicom

        path = dicom(pictures, np.zeros((HIGH, WIDE), np.int16))
    else:
        heif = pytest.importorskip("pillow_heif", reason="the extra 'heic' is not installed")
        path = pictures / "phone.heic"
        grey = np.zeros((HIGH, WIDE, 3), np.uint8)
        heif.from_bytes(mode="RGB", size=(WIDE, HIGH), data=grey.tobytes()).save(path)
    assert picture_size(path) == (HIGH, WIDE)
    (record,) = coco(tmp_path, {f"images/{path.name}": (WIDE, HIGH)}).records
    assert record.boxes[0] == Box(4, 6, 20, 15, label="red")
    with pytest.raises(DataError, match="a picture of 120 × 80 pixels, but the file has 60 × 40"):
        coco(tmp_path, {f"images/{path.name}": (2 * WIDE, 2 * HIGH)})
