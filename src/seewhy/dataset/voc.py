"""Pascal VOC: an XML file a picture, and masks as PNGs where there are any.

VOC's own folders are `Annotations`, `JPEGImages`, `ImageSets`, below `VOCdevkit/VOC2012`. Others
write `images` and `annotations`, `data` and `labels` (FiftyOne), or the XML beside its picture
(Roboflow, LabelImg).

The development kit of VOC 2012 says: pixels count from 1 and a box's last pixel is within it, so
that x0 = xmin − 1 and x1 = xmax here. A pixel of SegmentationClass holds its class's number, one of
SegmentationObject the number of its object in the XML, both from 1; 255 is the border, which counts
for no class.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from seewhy.dataset.files import Shelf
from seewhy.dataset.formats import Format, Found
from seewhy.dataset.frames import Frames
from seewhy.dataset.labelled import LabelledFolder, LabelledPicture
from seewhy.dataset.links import distinct_stems, link_upright
from seewhy.dataset.records import (
    Box,
    Dataset,
    IndexMasks,
    Problem,
    Record,
    gather,
    in_reading_order,
)
from seewhy.errors import DataError

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip
"""In the order of the masks' values: 1 is aeroplane."""

_DECLARED = re.compile(rb"""\s*<\?xml[^>]*encoding=(["'])([\w.-]+)\1[^>]*\?>""")
_DEVKIT, _YEAR = "VOCdevkit", "VOC2012"
_XML_FOLDERS = ("annotations", "annotation", "labels", "xmls", "xml", "annotations/xmls")
_PICTURE_FOLDERS = ("jpegimages", "images", "image", "data", "img", "imgs")


def detect(path: Path, shelf: Shelf) -> list[Found]:
    """A folder with annotations as XML, or the devkit above it."""
    if path.is_file():
        return []
    years = [
        path / above / name
        for above in ("", _DEVKIT)
        for name in shelf.folders(path / above)
        if name.upper().startswith("VOC20")
    ]
    found = []
    for folder in (path, *years):
        if (xml := _xml_folder(folder, shelf)) is not None:
            within = xml.relative_to(path)
            seen = "*.xml beside the pictures" if xml == path else f"{within.as_posix()}/*.xml"
            found.append(Found(folder, seen))
    return found


def read(
    path: Path, *, shelf: Shelf, split: str | None = None, images: Path | None = None
) -> Dataset:
    """One record an XML file, called as the file without its ending.

    Of the pictures with objects the first bytes are read: their size must be the XML's.

    Args:
        path: the folder above `Annotations`, or one with XML and pictures.
        shelf: the files in it.
        split: a list of names in ImageSets/Main, or else in ImageSets/Segmentation: `val`.
        images: where the pictures are, if not in JPEGImages or the like, or beside the XML.

    Raises:
        DataError: there is no such split, or no record at all.
    """
    folder = _xml_folder(path, shelf)
    if folder is None:
        raise DataError(
            f"'{path}' has no XML file whose root is <annotation>, in itself or in one of "
            f"{', '.join(_XML_FOLDERS)}."
        )
    pictures = images or _picture_folder(path, folder, shelf)
    there = {Path(name).stem: folder / name for name in shelf.with_ending(folder, ".xml")}
    problems = []
    if split is None:
        stems = sorted(there, key=in_reading_order)
        # A picture that nobody annotated would otherwise be lost without a word.
        problems = [
            Problem(name, f"has no XML file in {folder.name}")
            for name in shelf.pictures(pictures)
            if Path(name).stem not in there
        ]
    else:
        stems = _split(path, split)
    known = _Known(path, pictures, shelf, Frames())
    drafts = [
        (stem, functools.partial(_record, there.get(stem, folder / f"{stem}.xml"), known))
        for stem in stems
    ]
    dataset = known.frames.gathered(lambda: gather(path.name, "voc", drafts, problems=problems))
    if known.from_zero:
        note = (
            f"{len(known.from_zero)} boxes start at 0, but VOC counts pixels from 1. If "
            "all your boxes count from 0, they are read one pixel too far up and left"
        )
        dataset = replace(dataset, notes=(*dataset.notes, note))
    return dataset


def write(folder: Path, labelled: LabelledFolder) -> None:
    """Pascal VOC's folders: XML with boxes, the list `trainval`, the pictures as links.

    A link is named `.jpg` whatever the file is, as VOC's readers expect; they look into the file.
    """
    places = {
        name: folder / _DEVKIT / _YEAR / name
        for name in ("Annotations", "JPEGImages", "ImageSets/Main")
    }
    for place in places.values():
        place.mkdir(parents=True)
    stems = distinct_stems([one.name for one in labelled.pictures])
    for stem, one in zip(stems, labelled.pictures, strict=True):
        link_upright(one.path, places["JPEGImages"] / f"{stem}.jpg")
        annotation = ElementTree.ElementTree(_annotation(stem, one))
        annotation.write(places["Annotations"] / f"{stem}.xml", encoding="utf-8")
    listed = "".join(f"{stem}\n" for stem in stems)
    (places["ImageSets/Main"] / "trainval.txt").write_text(listed, encoding="utf-8")


def _xml_folder(path: Path, shelf: Shelf) -> Path | None:
    """The folder with XML files that are annotations of pictures."""
    by_name = {name.casefold(): path / name for name in shelf.folders(path)}
    inner = by_name.get("annotations")
    if inner is not None:
        by_name |= {f"annotations/{n.casefold()}": inner / n for n in shelf.folders(inner)}
    for folder in (path, *(by_name[name] for name in _XML_FOLDERS if name in by_name)):
        names = shelf.with_ending(folder, ".xml")
        # The first one that is not torn says what they are; if all are, their folder's name does.
        roots = (root for name in names[:20] if (root := _root_of(folder / name)) is not None)
        if names and next(roots, "annotation" if folder != path else "") == "annotation":
            return folder
    return None


def _root_of(file: Path) -> str | None:
    """The name of an XML's root; None where the file is damaged."""
    try:
        return _tree(file).tag
    except DataError:
        return None


def _tree(file: Path) -> ElementTree.Element:
    """An XML's root, its names without namespaces.

    Raises:
        DataError: it is damaged.
    """
    try:
        content = file.read_bytes()
        declared = _DECLARED.match(content)
        # The parser knows no encoding of several bytes a character beside UTF-8 and UTF-16.
        if declared and declared[2].lower() not in (b"utf-8", b"utf-16", b"us-ascii"):
            text = content[declared.end() :].decode(declared[2].decode("ascii"))
            root = ElementTree.fromstring(text)
        else:
            root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, OSError, LookupError, ValueError) as error:
        raise DataError(f"'{file}' is damaged XML ({error})") from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def _picture_folder(path: Path, xml: Path, shelf: Shelf) -> Path:
    by_name = {name.casefold(): path / name for name in shelf.folders(path)}
    found = [by_name[name] for name in _PICTURE_FOLDERS if name in by_name]
    with_pictures = [folder for folder in (*found, xml, path) if shelf.has_pictures(folder)]
    if not with_pictures:  # the folder of the XML was given
        beside = {name.casefold(): path.parent / name for name in shelf.folders(path.parent)}
        with_pictures = [beside[name] for name in _PICTURE_FOLDERS if name in beside]
    return next(iter((*with_pictures, *found, path / "JPEGImages")))


def _split(path: Path, split: str) -> list[str]:
    for folder in ("Main", "Segmentation"):
        file = path / "ImageSets" / folder / f"{split}.txt"
        if file.is_file():
            lines = file.read_text(encoding="utf-8").splitlines()
            # The lists by class (cat_val.txt) have a second column, −1 where the class is absent.
            words = [line.split() for line in lines if line.strip()]
            return [line[0] for line in words if line[1:] != ["-1"]]
    known = sorted({file.stem for file in (path / "ImageSets").glob("*/*.txt")})
    raise DataError(
        f"'{path}' has no split '{split}' in ImageSets; "
        + (f"it has {', '.join(known[:12])}." if known else "there is no ImageSets at all.")
    )


@dataclass(frozen=True)
class _Known:
    """What all records of a data set are made with.

    Attributes:
        path: its folder, with the folders of the masks.
        pictures: the folder of the pictures.
        from_zero: the boxes that begin at 0, each by its XML's stem and its number.
    """

    path: Path
    pictures: Path
    shelf: Shelf
    frames: Frames
    from_zero: set[tuple[str, int]] = field(default_factory=set)


def _record(file: Path, known: _Known) -> Record:
    root = _tree(known.shelf.needs(file))
    stem = file.stem
    image = _picture(root, known.pictures, stem, known.shelf)
    objects = root.findall("object")
    if not objects:
        return Record(stem, image, ())
    frame = known.frames.of(image, _size(root))
    boxes = []
    for number, thing in enumerate(objects, start=1):
        label, corners = _corners(thing, number)
        if min(corners[:2]) == 0:
            known.from_zero.add((stem, number))
        left, top, right, bottom = corners
        difficult = (thing.findtext("difficult") or "0").strip() == "1"
        boxes.append(frame.box((left - 1, top - 1, right, bottom), label, difficult=difficult))
    labels = tuple(dict.fromkeys(box.label for box in boxes))
    masks = frame.masks(_masks(known.path, stem, boxes, known.shelf))
    return Record(stem, image, labels, tuple(boxes), masks)


def _corners(
    thing: ElementTree.Element, number: int
) -> tuple[str, tuple[float, float, float, float]]:
    """The label and xmin, ymin, xmax, ymax of the object with this number, from 1."""
    label = (thing.findtext("name") or "").strip()
    if not label:
        raise DataError(f"object {number} has no name")
    bounds = thing.find("bndbox")
    if bounds is None:
        others = [each.tag for each in thing if each.tag in ("polygon", "robndbox")]
        has = f" but a {others[0]}, which is not supported: draw upright boxes" if others else ""
        raise DataError(f"object {number}, '{label}', has no bndbox{has}")
    corners = [bounds.findtext(side) for side in ("xmin", "ymin", "xmax", "ymax")]
    try:
        left, top, right, bottom = (float(corner or "") for corner in corners)
    except ValueError:
        raise DataError(f"the box {corners} of '{label}' does not consist of numbers") from None
    return label, (left, top, right, bottom)


def _picture(root: ElementTree.Element, pictures: Path, stem: str, shelf: Shelf) -> Path:
    said = (root.findtext("filename") or "").strip().replace("\\", "/").rpartition("/")[2]
    if said and shelf.has(pictures / said):
        return pictures / said
    # What is written under `filename` is often wrong in data sets made with labelling programs.
    for name in shelf.pictures_called(pictures, stem):
        return pictures / name
    raise DataError(f"there is no file '{said or stem}' in '{pictures}'")


def _size(root: ElementTree.Element) -> tuple[int, int] | None:
    try:
        height = int(root.findtext("size/height") or 0)
        width = int(root.findtext("size/width") or 0)
    except ValueError:
        return None
    return (height, width) if height > 0 and width > 0 else None


def _masks(path: Path, stem: str, boxes: Sequence[Box], shelf: Shelf) -> IndexMasks | None:
    by_class = path / "SegmentationClass" / f"{stem}.png"
    by_object = path / "SegmentationObject" / f"{stem}.png"
    labels = dict.fromkeys(box.label for box in boxes)
    if shelf.has(by_class) and all(label in VOC_CLASSES for label in labels):
        return IndexMasks(by_class, {label: (VOC_CLASSES.index(label) + 1,) for label in labels})
    if shelf.has(by_object):
        numbers = {
            label: tuple(n for n, box in enumerate(boxes, 1) if box.label == label)
            for label in labels
        }
        return IndexMasks(by_object, numbers)
    return None


def _annotation(stem: str, one: LabelledPicture) -> ElementTree.Element:
    """A picture's XML."""
    height, width = one.size
    root = ElementTree.Element("annotation")
    _elements(root, [("folder", _YEAR), ("filename", f"{stem}.jpg")])
    _elements(ElementTree.SubElement(root, "source"), [("database", "pseudo-labels by seewhy")])
    sides = [("width", width), ("height", height), ("depth", 3)]
    _elements(ElementTree.SubElement(root, "size"), sides)
    _elements(root, [("segmented", 0)])
    for found in one.objects:
        box = found.box  # VOC counts pixels from 1 and names the last one inside
        element = ElementTree.SubElement(root, "object")
        said = {"name": found.label, "pose": "Unspecified", "truncated": 0, "difficult": 0}
        _elements(element, said.items())
        corners = {"xmin": box.x0 + 1, "ymin": box.y0 + 1, "xmax": box.x1, "ymax": box.y1}
        _elements(ElementTree.SubElement(element, "bndbox"), corners.items())
    ElementTree.indent(root)
    return root


def _elements(parent: ElementTree.Element, texts: Iterable[tuple[str, Any]]) -> None:
    for name, text in texts:
        ElementTree.SubElement(parent, name).text = str(text)


FORMAT = Format(
    "voc",
    "Pascal VOC's Annotations/*.xml, or *.xml beside the pictures",
    detect,
    read,
    takes=("split", "images"),
    write=write,
)
