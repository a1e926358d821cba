"""Classes, boxes and masks in a JSON table, an entry a picture: `annotations.json`.

It is a list of entries, or has one under `images`. An entry has

- `file` or `image`: the picture, beside the table or in `images`;
- a label: `label`, `labels`, `class`, `wnid`, `name` or `what`, the first of these that is there,
  text, number or a list of them; and `boxes` (or `boxes_hand`), `[[x0, y0, x1, y1], ...]`, of that
  label. Or `objects`: `{label: [[x0, y0, x1, y1], ...]}`;
- where known, `size`: `[width, height]` of the picture that was annotated; `mask`: a picture file
  beside the table or in `masks`; `mask_values`: `{label: value}` or `{label: [value, ...]}`;
  `imagenet_ids`: a list of the label's ImageNet classes, 0 to 999.

`mask_values` (or `voc_ids`) and `imagenet_ids` (by label) may stand once beside `images` too.
Boxes are in pixels of the stored picture, x1 and y1 exclusive.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seewhy.dataset.classes import class_numbers
from seewhy.dataset.coco import is_coco
from seewhy.dataset.files import Shelf, find_file
from seewhy.dataset.formats import Format, Found
from seewhy.dataset.frames import Frames
from seewhy.dataset.records import (
    Dataset,
    IndexMasks,
    Record,
    gather,
    printable,
)
from seewhy.errors import DataError

_FILE = "annotations.json"
LABEL_FIELDS = ("label", "labels", "class", "wnid", "name", "what")


def detect(path: Path, shelf: Shelf) -> list[Found]:
    """A JSON file that is not COCO's, or the folder with one that is called annotations.json."""
    file = path if path.is_file() else path / _FILE
    if file.suffix.lower() != ".json" or not shelf.has(file) or is_coco(shelf.json(file)):
        return []
    return [Found(file, file.name)]


def read(
    path: Path, *, shelf: Shelf, images: Path | None = None, label: str | None = None
) -> Dataset:
    """One record an entry of the JSON, called as its picture.

    Args:
        path: the JSON.
        shelf: the files around it.
        images: where the pictures are, if neither beside the table nor in `images`.
        label: which field holds the label, if not the first one of `LABEL_FIELDS`.

    Raises:
        DataError: it cannot be read, or there is no record at all.
    """
    content = shelf.json(path)
    about: Mapping[str, Any] = content if isinstance(content, dict) else {}
    entries = about.get("images") if about else content
    if not isinstance(entries, list):
        raise DataError(
            f"'{path}' contains no list of pictures. It must be a list of entries with "
            "file, label and boxes, or have such a list under 'images'."
        )
    drafts = []
    said = about.get("imagenet_ids") or {}
    if not isinstance(said, dict):
        raise DataError(f"'{path}' has imagenet_ids {said!r}, but they must be {{label: classes}}.")
    ids = {str(label): class_numbers(of) for label, of in said.items()}
    frames = Frames()
    for number, entry in enumerate(entries):
        called = f"entry {number}"
        if isinstance(entry, dict):
            called = str(entry.get("file") or entry.get("image") or called)
        drafts.append(
            (
                called,
                functools.partial(_record, entry, about, path.parent, images, label, shelf, frames),
            )
        )
    dataset = frames.gathered(lambda: gather(path.parent.name, "table", drafts, imagenet_ids=ids))
    return _with_ids(dataset, entries, label)


def _record(
    entry: Any,
    about: Mapping[str, Any],
    folder: Path,
    images: Path | None,
    label: str | None,
    shelf: Shelf,
    frames: Frames,
) -> Record:
    if not isinstance(entry, dict):
        raise DataError(
            f"an entry must have file, label and boxes, but it is a {type(entry).__name__}"
        )
    name = entry.get("file") or entry.get("image")
    if not isinstance(name, str):
        raise DataError("no picture is named; add 'file' or 'image'")
    image = _find(name, folder, images, "images", shelf)
    objects = entry.get("objects")
    if not isinstance(objects, dict):
        labels = labels_of(entry, label)
        given = entry.get("boxes", entry.get("boxes_hand")) or []
        if given and len(labels) > 1:
            raise DataError("boxes of several labels; give them by label, under 'objects'")
        objects = dict.fromkeys(labels, given)
    objects = {printable(str(of)): some for of, some in objects.items()}
    labels = tuple(objects)
    masks = _masks(entry, about, labels, folder, shelf)
    if masks is None and not any(objects.values()):
        return Record(name, image, labels)
    frame = frames.of(image, _stated_size(entry))
    boxes = [frame.box(corners, of) for of, some in objects.items() for corners in some or ()]
    return Record(name, image, labels, tuple(boxes), frame.masks(masks))


def labels_of(entry: Mapping[str, Any], field: str | None) -> tuple[str, ...]:
    """The labels of a JSON's entry.

    Raises:
        DataError: it has none.
    """
    fields = LABEL_FIELDS if field is None else (field,)
    said = next((entry[each] for each in fields if entry.get(each) not in (None, "", [])), None)
    if said is None:
        raise DataError(f"no label; add one of {', '.join(fields)}")
    some = said if isinstance(said, list) else [said]
    if any(isinstance(each, (dict, list, bool, float)) for each in some):
        raise DataError(f"the label must be text or a whole number, not {said!r}")
    return tuple(dict.fromkeys(printable(str(each).strip()) for each in some))


def _stated_size(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    if "size" in entry:
        width, height = entry["size"]
        return int(height), int(width)
    return None


def _masks(
    entry: Mapping[str, Any],
    about: Mapping[str, Any],
    labels: Sequence[str],
    folder: Path,
    shelf: Shelf,
) -> IndexMasks | None:
    if not entry.get("mask"):
        return None
    path = _find(str(entry["mask"]), folder, None, "masks", shelf)
    said = entry.get("mask_values", about.get("mask_values", about.get("voc_ids")))
    if not isinstance(said, dict):
        raise DataError(f"the mask_values of a mask must be {{label: value}}, not {said!r}")
    values = {
        printable(str(label)): tuple(int(v) for v in (some if isinstance(some, list) else [some]))
        for label, some in said.items()
    }
    taken = {value for some in values.values() for value in some}
    void = () if 255 in taken else (255,)
    return IndexMasks(path, {each: values[each] for each in labels if each in values}, void)


def _find(name: str, folder: Path, given: Path | None, usual: str, shelf: Shelf) -> Path:
    """A file where it was said to be, in the usual folder beside the table, or beside it."""
    places = [given] if given is not None else [folder / usual, folder]
    return find_file(name, places, shelf)


def _with_ids(dataset: Dataset, entries: Sequence[Any], label: str | None) -> Dataset:
    """What the entries say of their own label's ImageNet classes, beside what stands above them."""
    ids = dict(dataset.imagenet_ids)
    kept = {record.id for record in dataset.records}
    for entry in entries:
        name = entry.get("file") or entry.get("image") if isinstance(entry, dict) else None
        if not isinstance(name, str) or printable(name) not in kept:
            continue
        if entry.get("imagenet_ids") and "objects" not in entry:
            (only,) = labels_of(entry, label)[:1]
            fresh = (*ids.get(only, ()), *class_numbers(entry["imagenet_ids"]))
            ids[only] = tuple(dict.fromkeys(fresh))
    return dataclasses.replace(dataset, imagenet_ids=ids)


FORMAT = Format(
    "table",
    "annotations.json with a list of pictures and their labels",
    detect,
    read,
    takes=("images", "label"),
)
