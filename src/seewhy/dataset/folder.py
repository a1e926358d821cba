"""A folder of pictures by class: FOLDER/CLASS/picture.jpg."""

from __future__ import annotations

from pathlib import Path

from seewhy.dataset.files import Shelf, is_hidden
from seewhy.dataset.formats import Format, Found
from seewhy.dataset.records import (
    Dataset,
    Problem,
    Record,
    gather,
    in_reading_order,
    named,
    printable,
)
from seewhy.dataset.splits import is_split
from seewhy.errors import DataError

# Names of folders that are not classes.
_NO_CLASS = {
    "annotations", "images", "imagesets", "jpegimages", "labels", "masks", "segmentationclass",
    "segmentationobject",
}  # fmt: skip
# These may be classes (a face mask, a train), but not where all folders are called like this.
_HARDLY_CLASS = {
    "annotation", "data", "ground_truth", "groundtruth", "gt", "image", "img", "imgs", "label",
    "mask", "media", "photos", "pictures", "raw", "seg", "segmentation", "segmentations",
}  # fmt: skip


def detect(path: Path, shelf: Shelf) -> list[Found]:
    """A folder whose folders hold pictures and are called as classes may be."""
    if path.is_file():
        return []
    names = shelf.folders(path)
    classes = [name for name in names if shelf.has_pictures(path / name)]
    folded = [name.casefold() for name in names]
    if not classes or _NO_CLASS & set(folded):
        return []
    if all(name in _HARDLY_CLASS or is_split(name) for name in folded):
        return []
    return [Found(path, f"folders of pictures: {named(classes, most=3)}", sure=False)]


def read(path: Path, *, shelf: Shelf) -> Dataset:
    """One record a picture, called `CLASS/picture.jpg`; no picture is opened.

    Hidden files and folders are passed over. Any other file in a class's folder that has not the
    ending of a picture is a problem, and so is a folder within it.

    Raises:
        DataError: there is no folder with pictures in it.
    """
    drafts, problems = [], []
    for label in shelf.folders(path):
        folder = path / label
        pictures = frozenset(shelf.pictures(folder))
        inner = frozenset(shelf.folders(folder))
        for name in sorted({*shelf.files(folder), *pictures, *inner}, key=in_reading_order):
            called = f"{label}/{name}"
            if name in inner:
                problems.append(Problem(called, "is a folder within a class's folder"))
            elif name in pictures:
                record = Record(id=called, image=folder / name, labels=(printable(label),))
                drafts.append((called, lambda record=record: record))
            elif not is_hidden(name):
                problems.append(Problem(called, "has not the ending of a picture"))
        if not pictures:
            problems.append(Problem(label, "is a folder without pictures"))
    if not drafts:
        raise DataError(
            f"'{path}' has no pictures in one folder per class, such as "
            f"{path.name}/CLASS/picture.jpg. Give the folder directly above the "
            "classes, or name the kind."
        )
    return gather(path.name, "folder", drafts, problems=problems)


FORMAT = Format("folder", "CLASS/picture.jpg", detect, read)
