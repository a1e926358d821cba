"""COCO's JSON of instances: boxes, and masks as polygons or run lengths.

It lies in `annotations` (COCO, CVAT), beside the pictures as `_annotations.coco.json` (Roboflow),
or above them as `labels.json` (FiftyOne), `result.json` (Label Studio) or whatever it is called.
"""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from seewhy.dataset.files import Shelf, find_file
from seewhy.dataset.formats import Format, Found
from seewhy.dataset.labelled import LabelledFolder
from seewhy.dataset.records import Box, Dataset, Problem, Record, box_in, gather
from seewhy.dataset.segmentation import Segmentation, Segmentations, look_at
from seewhy.dataset.splits import is_split
from seewhy.errors import DataError

PLACES = "pictures_in"
"""Where `info` says what folder the file names are relative to: several paths, the first that is
there. The pictures of labels stay where they were."""
_FILE = "annotations.json"
# Beside the instances COCO has these, which say other things.
_NO_INSTANCES = ("captions_", "person_keypoints_", "stuff_", "panoptic_", "image_info_")
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
    """One record a picture in the JSON, called by its `file_name`; no picture is opened.

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
    try:
        categories = {each["id"]: str(each["name"]) for each in content["categories"]}
        pictures, annotations = list(content["images"]), list(content["annotations"])
    except (KeyError, TypeError) as error:
        raise DataError(
            f"'{path}' is not COCO's JSON of instances ({error!r}): images, annotations and "
            "categories, each a list, are wanted."
        ) from error
    of_picture = defaultdict(list)
    problems = []
    known = {each.get("id") for each in pictures if isinstance(each, dict)}
    for number, annotation in enumerate(annotations):
        picture = annotation.get("image_id") if isinstance(annotation, dict) else None
        if picture is None or picture not in known:
            problems.append(Problem(f"annotation {number}", f"belongs to no picture ({picture!r})"))
        else:
            of_picture[picture].append(annotation)
    places = [images] if images else _places(path, content, pictures, shelf)
    drafts = [
        (
            str(picture.get("file_name", f"image {number}"))
            if isinstance(picture, dict)
            else f"image {number}",
            functools.partial(_record, picture, of_picture, categories, places, shelf),
        )
        for number, picture in enumerate(pictures)
    ]
    return gather(path.stem, "coco", drafts, problems=problems)


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


def _record(
    picture: Mapping[str, Any],
    of_picture: Mapping[Any, list[Mapping[str, Any]]],
    categories: Mapping[Any, str],
    places: Sequence[Path],
    shelf: Shelf,
) -> Record:
    image = find_file(picture["file_name"], places, shelf)
    size = int(picture["height"]), int(picture["width"])
    boxes: list[Box] = []
    found: dict[str, list[Segmentation] | None] = {}
    for annotation in of_picture.get(picture["id"], []):
        if annotation["category_id"] not in categories:
            raise DataError(f"category {annotation['category_id']!r} is not among the categories")
        label = categories[annotation["category_id"]]
        x, y, width, height = (float(each) for each in annotation["bbox"])
        crowd = bool(annotation.get("iscrowd", 0))
        boxes.append(box_in((x, y, x + width, y + height), label, size, difficult=crowd))
        segmentation = annotation.get("segmentation")
        masks = found.setdefault(label, [])
        if not segmentation:
            found[label] = None  # half of a label's objects would make a false mask
        elif masks is not None:
            look_at(segmentation)
            masks.append(segmentation)
    labels = tuple(dict.fromkeys(box.label for box in boxes))
    by_label = {label: tuple(masks) for label, masks in found.items() if masks}
    masks_ = Segmentations(size, by_label) if by_label else None
    return Record(str(picture["file_name"]), image, labels, tuple(boxes), masks_)


def _places(
    path: Path, content: Mapping[str, Any], pictures: Sequence[Any], shelf: Shelf
) -> list[Path]:
    """The folder that the file names are relative to; all that were looked at, if none has one."""
    info = content.get("info")
    said = info.get(PLACES) if isinstance(info, dict) else None
    named = path.stem.split("_", 1)[-1]
    above = path.parent.parent
    places = [
        *(path.parent / str(place) for place in (said if isinstance(said, list) else ())),
        *(base / middle for base in (above, path.parent) for middle in (f"images/{named}", named)),
        *(base / name for base in (above, path.parent) for name in ("images", "data")),
        path.parent,
        above,
    ]
    names = [p["file_name"] for p in pictures if isinstance(p, dict) and "file_name" in p]
    for place in places:
        if any(shelf.has(place / str(name)) for name in names):
            return [place]
    return places


FORMAT = Format(
    "coco",
    "COCO's JSON, in the folder or in annotations/",
    detect,
    read,
    takes=("images",),
    write=write,
)
