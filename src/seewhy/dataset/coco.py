"""COCO's JSON of instances: boxes, and masks as polygons or run lengths.

It lies in `annotations` (COCO, CVAT), beside the pictures as `_annotations.coco.json` (Roboflow),
or above them as `labels.json` (FiftyOne), `result.json` (Label Studio) or whatever it is called.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seewhy.dataset.files import Shelf, find_file
from seewhy.dataset.formats import Format, Found
from seewhy.dataset.frames import Frames
from seewhy.dataset.labelled import LabelledFolder
from seewhy.dataset.records import Box, Dataset, Problem, Record, gather, named, printable
from seewhy.dataset.segmentation import Segmentation, Segmentations, extent, look_at
from seewhy.dataset.splits import is_split
from seewhy.errors import DataError

PLACES = "pictures_in"
"""Where `info` says what folder the file names are relative to: several paths, the first that is
there. The pictures of labels stay where they were."""
_FILE, _ROBOFLOW = "annotations.json", "_annotations.coco.json"
# Beside the instances COCO has these, which say other things.
_NO_INSTANCES = ("captions_", "person_keypoints_", "stuff_", "panoptic_", "image_info_")
_MOST_LOOKED_FOR = 50
_MOST_LOOKED_INTO = 8  # JSON files in a folder, beyond which each is about one picture


def detect(path: Path, shelf: Shelf) -> list[Found]:
    """A JSON file that holds instances, or the folder above one."""
    if path.is_file():
        is_json = path.suffix.lower() == ".json"
        return [Found(path, path.name)] if is_json and is_coco(shelf.json(path)) else []
    found = []
    for file in _files(path, shelf):
        part = file.stem.removeprefix("instances_")
        parts = (part,) if part != file.stem or is_split(part) else ()
        found.append(Found(file, str(file.relative_to(path)), parts))
    if len(found) > 1 and all(one.parts for one in found):
        return found  # which one is meant is asked before hundreds of megabytes are read
    return [one for one in found if _holds_coco(one.path, shelf)]


def is_coco(content: Any) -> bool:
    """Whether a JSON is COCO's, be it of another kind than instances: `read` says which."""
    if isinstance(content, list):
        return bool(content) and isinstance(content[0], dict) and "image_id" in content[0]
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        return False
    first = next(iter(content["images"]), None)
    return "annotations" in content or (
        isinstance(first, dict) and bool({"file_name", "coco_url"} & set(first))
    )


def read(path: Path, *, shelf: Shelf, images: Path | None = None) -> Dataset:
    """One record a picture in the JSON, called by its `file_name`.

    Of pictures with annotations the first bytes are read: their size must be the JSON's.

    A picture without annotations stays, with no label. A crowd (`iscrowd`) is part of its label's
    mask, and its box is marked difficult. A label has a mask where each of its objects has one.

    Args:
        path: the JSON.
        shelf: the files around it.
        images: where the pictures are; otherwise what the JSON itself says of it, `images/val2017`,
            `val2017`, `images`, `data` and the like are looked for around the JSON (`val2017` after
            `instances_val2017.json`).

    Raises:
        DataError: the JSON cannot be read, or there is no record at all.
    """
    content = shelf.json(path)
    _check_kind(path, content)
    pictures: list[Any] = content["images"]
    of_picture, problems = _by_picture(content["annotations"], pictures)
    places = [images] if images else _places(path, content, pictures, shelf)
    frames = Frames()
    known = _Known(_categories(path, content), of_picture, places, shelf, frames)
    drafts = [
        (_name(picture, number), functools.partial(_record, picture, known))
        for number, picture in enumerate(pictures)
    ]
    name = path.parent.name if path.name == _ROBOFLOW else path.stem
    return frames.gathered(lambda: gather(name, "coco", drafts, problems=problems))


def write(folder: Path, labelled: LabelledFolder) -> None:
    """`annotations.json`: instances with boxes and run-length masks, categories from 1.

    The pictures stay where they are; their names are relative to the labelled folder.
    """
    names = labelled.classes
    numbers = {name: number for number, name in enumerate(names, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, one in enumerate(labelled.pictures, start=1):
        height, width = one.size
        images.append({"id": number, "file_name": one.name, "height": height, "width": width})
        for found in one.objects:
            box = found.box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": numbers[found.label],
                    "bbox": [box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0],
                    "area": found.area,
                    "iscrowd": 0,
                    "segmentation": {"size": [height, width], "counts": found.runs.tolist()},
                    **({} if found.probability is None else {"score": found.probability}),
                }
            )
    written = {
        "info": {"description": "pseudo-labels by seewhy", PLACES: list(labelled.places)},
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": number, "name": name, "supercategory": ""} for name, number in numbers.items()
        ],
    }
    (folder / _FILE).write_text(json.dumps(written), encoding="utf-8")


def _files(path: Path, shelf: Shelf) -> Iterator[Path]:
    """The JSON files of a folder, and of its `annotations`, that may hold instances."""
    beside = shelf.with_ending(path, ".json")
    # A JSON that is called as a picture is about that picture alone (LabelMe).
    beside = [name for name in beside if not shelf.pictures_called(path, Path(name).stem)]
    if len(beside) > _MOST_LOOKED_INTO:
        beside = [name for name in beside if name == _FILE or name.endswith(".coco.json")]
    yield from (path / name for name in beside)
    for folder in shelf.folders(path):
        if folder.casefold() == "annotations":
            for name in shelf.with_ending(path / folder, ".json"):
                if not name.startswith(_NO_INSTANCES):
                    yield path / folder / name


def _holds_coco(path: Path, shelf: Shelf) -> bool:
    """Whether a file that lies in a data set is COCO's; one that is damaged is none of any format.

    `annotations.json` must be read, so that its damage is said.
    """
    try:
        return is_coco(shelf.json(path))
    except DataError:
        if path.name == _FILE or path.parent.name.casefold() == "annotations":
            raise
        return False


@dataclass(frozen=True)
class _Known:
    """What a picture's record is made of.

    Attributes:
        categories: the names that each id has; one, where all is well.
        of_picture: each picture's annotations with their places in the list; None for an id that
            several pictures have.
        places: where the pictures may be.
    """

    categories: Mapping[str, tuple[str, ...]]
    of_picture: Mapping[str, list[tuple[int, Mapping[str, Any]]] | None]
    places: Sequence[Path]
    shelf: Shelf
    frames: Frames


def _check_kind(path: Path, content: Any) -> None:
    """Refuses COCO's other files, and says which one came.

    Raises:
        DataError: there are no instances in it.
    """
    wanted = "Give the instances file, which has images, annotations and categories, each a list"
    if isinstance(content, list):
        raise DataError(
            f"'{path}' is a list of detections (a COCO results file), not annotations: "
            f"it names neither pictures nor classes. {wanted}."
        )
    lists = [name for name in ("images", "annotations", "categories")
             if isinstance(content, dict) and isinstance(content.get(name), list)]  # fmt: skip
    first = next(iter(content["annotations"]), None) if "annotations" in lists else None
    if isinstance(first, dict) and "caption" in first:
        raise DataError(f"'{path}' contains captions, but no boxes. {wanted}.")
    missing = [name for name in ("images", "annotations", "categories") if name not in lists]
    if missing:
        why = ": nothing names the classes" if missing == ["categories"] else ""
        raise DataError(f"'{path}' has no list of {' and '.join(missing)}{why}. {wanted}.")


def _key(id_: Any) -> str:
    """An id as pictures, categories and annotations have it in common: 1, 1.0 and "1" are one."""
    if isinstance(id_, float) and id_.is_integer():
        id_ = int(id_)
    return str(id_)


def _categories(path: Path, content: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    names: dict[str, dict[str, None]] = {}
    for category in content["categories"]:
        if not isinstance(category, dict) or "id" not in category:
            raise DataError(
                f"'{path}' has the category {category!r}, but a category needs an id and a name."
            )
        some = names.setdefault(_key(category["id"]), {})
        if category.get("name") not in (None, ""):
            some[printable(str(category["name"]))] = None
    return {id_: tuple(some) for id_, some in names.items()}


def _by_picture(
    annotations: Sequence[Any], pictures: Sequence[Any]
) -> tuple[dict[str, list[tuple[int, Mapping[str, Any]]] | None], list[Problem]]:
    """Each picture's annotations, and those that belong to none."""
    of_picture: dict[str, list[tuple[int, Mapping[str, Any]]] | None] = {}
    files: dict[str, str] = {}
    for picture in pictures:
        if isinstance(picture, dict) and "id" in picture:
            id_, file = _key(picture["id"]), str(picture.get("file_name"))
            of_picture[id_] = [] if files.setdefault(id_, file) == file else None
    problems = []
    for number, annotation in enumerate(annotations):
        said = annotation.get("image_id") if isinstance(annotation, dict) else None
        if said is None or _key(said) not in of_picture:
            problems.append(Problem(f"annotation {number}", f"belongs to no picture ({said!r})"))
        elif (some := of_picture[_key(said)]) is not None:
            some.append((number, annotation))
    return of_picture, problems


def _name(picture: Any, number: int) -> str:
    """What a picture is called in messages."""
    return next(iter(_file_names(picture)), f"image {number}")


def _file_names(picture: Any) -> list[str]:
    """The names that the picture's file may have.

    LVIS has only its address: the last two parts are COCO's own path, the last one the file.
    """
    if not isinstance(picture, dict):
        return []
    said, address = picture.get("file_name"), picture.get("coco_url")
    if said is None and isinstance(address, str):
        return ["/".join(address.split("/")[-2:]), address.rpartition("/")[2]]
    return [said] if isinstance(said, str) and said else []


def _record(picture: Any, known: _Known) -> Record:
    if not isinstance(picture, dict) or "id" not in picture:
        raise DataError("is not a picture, which needs an id, file_name, height and width")
    names, annotations = _file_names(picture), known.of_picture[_key(picture["id"])]
    if not names:
        raise DataError(
            f"has the file_name {picture.get('file_name')!r}, which is not the name of a file"
        )
    if annotations is None:
        raise DataError(
            f"has the same id {picture['id']!r} as another picture, so it is not known "
            "which picture the annotations belong to. Give each picture its own id"
        )
    name = names[0]
    there = (place / way for way in names for place in known.places)
    image = next(filter(known.shelf.has, there), None)
    if image is None:
        image = find_file(name, known.places, known.shelf)
    if not annotations:
        return Record(name, image, ())
    frame = known.frames.of(image, _size(picture))
    boxes: list[Box] = []
    found: dict[str, list[Segmentation] | None] = {}
    for number, annotation in annotations:
        try:
            label = _label(annotation, known.categories)
            outline = _outline(annotation.get("segmentation"), frame.size)
            corners = _corners(annotation.get("bbox"), outline, frame.size)
            crowd = bool(annotation.get("iscrowd"))
            boxes.append(frame.box(corners, label, difficult=crowd))
        except DataError as error:
            raise DataError(f"annotation {number}: {error}") from error
        masks = found.setdefault(label, [])
        if outline is None:
            found[label] = None  # half of a label's objects would make a false mask
        elif masks is not None:
            masks.append(outline)
    labels = tuple(dict.fromkeys(box.label for box in boxes))
    by_label = {label: tuple(masks) for label, masks in found.items() if masks}
    masks_ = Segmentations(frame.size, by_label) if by_label else None
    return Record(name, image, labels, tuple(boxes), frame.masks(masks_))


def _size(picture: Mapping[str, Any]) -> tuple[int, int] | None:
    """(height, width) as the JSON has it, if it does."""
    height, width = picture.get("height"), picture.get("width")
    if height is None or width is None:
        return None
    try:
        return int(float(height)), int(float(width))
    except (OverflowError, TypeError, ValueError):
        raise DataError(
            f"has the width {width!r} and height {height!r}, which are not numbers"
        ) from None


def _label(annotation: Mapping[str, Any], categories: Mapping[str, tuple[str, ...]]) -> str:
    if "category_id" not in annotation:
        raise DataError("it has no category_id, which names its class")
    said = annotation["category_id"]
    names = categories.get(_key(said))
    if names is None:
        raise DataError(f"category {said!r} is not among the categories")
    if not names:
        raise DataError(f"category {said!r} has no name")
    if len(names) > 1:
        raise DataError(f"category {said!r} has several names: {named(names)}. Give it one name")
    return names[0]


def _outline(segmentation: Any, size: tuple[int, int]) -> Segmentation | None:
    """An object's outline or run lengths, looked at but not drawn; None where it has none."""
    if not segmentation:
        return None
    if isinstance(segmentation, list) and all(isinstance(n, (int, float)) for n in segmentation):
        segmentation = [segmentation]  # one polygon, without the list of its parts
    look_at(segmentation, size)
    outline: Segmentation = segmentation
    return outline


def _corners(
    bbox: Any, outline: Segmentation | None, size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1: of the box that is said, or else around the outline."""
    if bbox is None or bbox == []:
        if outline is None:
            raise DataError("it has neither a bbox nor a segmentation")
        return extent(outline, size)
    if not isinstance(bbox, list) or len(bbox) != 4:
        raise DataError(f"its bbox must be [x, y, width, height], not {bbox!r}")
    try:
        x, y, width, height = (float(each) for each in bbox)
    except (TypeError, ValueError):
        raise DataError(f"its bbox {bbox} does not consist of numbers") from None
    return x, y, x + width, y + height


def _places(
    path: Path, content: Mapping[str, Any], pictures: Sequence[Any], shelf: Shelf
) -> list[Path]:
    """The folder that the file names are relative to; all that were looked at, if none has one."""
    info = content.get("info")
    said = info.get(PLACES) if isinstance(info, dict) else None
    named = path.stem.split("_", 1)[-1]
    above = path.parent.parent
    stated = [path.parent / str(place) for place in (said if isinstance(said, list) else ())]
    places = [
        *stated,
        *(base / middle for base in (above, path.parent) for middle in (f"images/{named}", named)),
        *(base / name for base in (above, path.parent) for name in ("images", "data")),
        path.parent,
        above,
    ]
    names = [name.replace("\\", "/") for one in pictures for name in _file_names(one)]
    for some in (names[:_MOST_LOOKED_FOR], names):  # a few tell, where all is well
        for place in places:
            if any(shelf.has(place / name) for name in some):
                return [place]
    return stated or places


FORMAT = Format(
    "coco",
    "COCO's JSON, in the folder or in annotations/",
    detect,
    read,
    takes=("images",),
    write=write,
)
