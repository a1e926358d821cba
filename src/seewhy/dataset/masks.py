"""Masks by class: a picture file for each picture, whose pixel values are classes.

`masks` lies beside `images`, and a mask is called as its picture, but for the ending (`a.png` for
`a.jpg`); Roboflow writes `a_mask.png` beside `a.jpg`. `classes.json`, `{"0": "background", "1":
"cat"}`, or Roboflow's `_classes.csv` says what the values mean. Where the pictures lie elsewhere,
`pictures.json` says where, and which mask belongs to which.

0 is the background, unless it is named as something else: then what is called background is. 255
counts for no class, unless it is named.
"""

from __future__ import annotations

import csv
import functools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from seewhy.dataset.files import Shelf, find_file
from seewhy.dataset.formats import Format, Found
from seewhy.dataset.frames import Frames
from seewhy.dataset.labelled import LabelledFolder, one_line
from seewhy.dataset.records import Dataset, IndexMasks, Problem, Record, gather, named, printable
from seewhy.errors import DataError

_CLASSES, _CLASSES_CSV, _PICTURES = "classes.json", "_classes.csv", "pictures.json"
_PLACES = "pictures_in"  # of pictures.json: the folders, as in COCO's `info`
_FOLDERS = ("images", "image", "jpegimages", "imgs", "img", "data")
_BESIDE = "_mask"  # Roboflow's masks lie beside their pictures
_BACKGROUND, _VOID = "background", 255


def detect(path: Path, shelf: Shelf) -> list[Found]:
    """A folder with `masks` beside `images`, or with what `seewhy label` writes."""
    if path.is_file():
        return []
    masks = _mask_folder(path, shelf)
    if masks is not None and shelf.has(path / _PICTURES):
        return [Found(path, f"{masks.name}/ and {_PICTURES}")]
    folder = _picture_folder(path, shelf)
    if folder is None or (masks is None and folder != path):
        return []
    if not any(_pairs(folder, masks or path, shelf).values()):
        return []
    seen = f"{masks.name}/*.png" if masks else f"*{_BESIDE}.png"
    # Without names they may belong to other annotations, which say what their values are.
    return [Found(path, seen, sure=_named_in(path, masks or path, shelf) is not None)]


def read(path: Path, *, shelf: Shelf, images: Path | None = None) -> Dataset:
    """One record a picture, called by its path; every mask is opened for the classes in it.

    Args:
        path: the folder above `masks`, or Roboflow's folder of pictures and masks.
        shelf: the files in it.
        images: where the pictures are, if neither in `images` nor where `pictures.json` says.

    Raises:
        DataError: nothing names the values, or there is no record at all.
    """
    masks = _mask_folder(path, shelf) or path
    if shelf.has(path / _PICTURES):
        places, pairs = _listed(path, shelf)
        places = [images] if images else places
    else:
        folder = images or _picture_folder(path, shelf)
        if folder is None:
            raise DataError(f"'{path}' has no folder of pictures next to its masks. Give images.")
        places, pairs = [folder], _pairs(folder, masks, shelf)
    classes = _classes(path, masks, shelf)
    frames = Frames()
    drafts = [
        (name, functools.partial(_record, name, places, mask, classes, shelf, frames))
        for name, mask in pairs.items()
        if mask is not None
    ]
    problems = [
        Problem(name, f"has no mask in '{masks}'") for name, mask in pairs.items() if mask is None
    ]
    return frames.gathered(lambda: gather(path.name, "masks", drafts, problems=problems))


def write(folder: Path, labelled: LabelledFolder) -> None:
    """`masks/`: a PNG for each picture; `classes.json` and `pictures.json` say what they are.

    0 is the background. Where two objects overlap, the smaller is on top. All are 8-bit, with
    Pascal VOC's colours for people to see; of more than 255 classes all are 16-bit.
    """
    names = labelled.classes
    numbers = {name: number for number, name in enumerate(names, start=1)}
    few = len(names) < 256
    files = _mask_names([one.name for one in labelled.pictures])
    for one, file in zip(labelled.pictures, files, strict=True):
        values = np.zeros(one.size, np.uint8 if few else np.uint16)
        for found in sorted(one.objects, key=lambda found: -found.area):
            values[found.mask(one.size)] = numbers[found.label]
        image = Image.fromarray(values)
        if few:
            image.putpalette(palette().ravel().tolist())
        path = folder / "masks" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    said = {"0": _BACKGROUND, **{str(number): name for name, number in numbers.items()}}
    (folder / _CLASSES).write_text(json.dumps(said, indent=1), encoding="utf-8")
    listed = {one.name: f"masks/{file}" for one, file in zip(labelled.pictures, files, strict=True)}
    where = {_PLACES: list(labelled.places), "masks": listed}
    (folder / _PICTURES).write_text(json.dumps(where, indent=1), encoding="utf-8")


def palette() -> np.ndarray:
    """Pascal VOC's colours (256, 3), uint8: the bits of the value, spread over the channels."""
    value = np.arange(256)[:, None]
    channels = np.arange(3)
    colors = np.zeros((256, 3), np.int64)
    for bit in range(8):
        colors |= ((value >> (3 * bit + channels)) & 1) << (7 - bit)
    return colors.astype(np.uint8)


def _mask_folder(path: Path, shelf: Shelf) -> Path | None:
    found = [path / name for name in shelf.folders(path) if name.casefold() in ("masks", "mask")]
    return found[0] if found else None


def _picture_folder(path: Path, shelf: Shelf) -> Path | None:
    by_name = {name.casefold(): path / name for name in shelf.folders(path)}
    found = [by_name[name] for name in _FOLDERS if name in by_name]
    return found[0] if found else path if shelf.has_pictures(path) else None


def _pairs(folder: Path, masks: Path, shelf: Shelf) -> dict[str, Path | None]:
    """The pictures of a folder with all below it, each with its mask if it has one."""
    by_stem: dict[str, Path] = {}
    for name, mask in shelf.pictures_below(masks):
        by_stem.setdefault(str(Path(name).with_suffix("")), mask)
    found: dict[str, Path | None] = {}
    for name, picture in shelf.pictures_below(folder):
        stem = str(Path(name).with_suffix(""))
        if folder == masks:
            if not stem.endswith(_BESIDE):
                found[name] = by_stem.get(stem + _BESIDE)
        elif masks not in picture.parents:
            ways = (name, stem, stem + _BESIDE)
            found[name] = next((by_stem[way] for way in ways if way in by_stem), None)
    return found


def _listed(path: Path, shelf: Shelf) -> tuple[list[Path], dict[str, Path | None]]:
    """Where the pictures are and which masks they have, as `pictures.json` says."""
    said = shelf.json(path / _PICTURES)
    try:
        places = [path / place for place in said[_PLACES]]
        pairs = {name: path / mask for name, mask in said["masks"].items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise DataError(
            f"'{path / _PICTURES}' is not laid out as expected ({error!r}): {_PLACES}, a list of "
            "folders, and masks, {picture: mask}, are wanted."
        ) from error
    there = [place for place in places if any(shelf.has(place / name) for name in pairs)]
    return there[:1] or places, dict(pairs)


def _named_in(path: Path, masks: Path, shelf: Shelf) -> Path | None:
    """The file that names the values."""
    folders = dict.fromkeys((path, masks, path.parent))
    files = (folder / name for folder in folders for name in (_CLASSES, _CLASSES_CSV))
    return next(filter(shelf.has, files), None)


def _classes(path: Path, masks: Path, shelf: Shelf) -> dict[int, str]:
    """The name of each value."""
    file = _named_in(path, masks, shelf)
    if file is None:
        raise DataError(
            f"no file in '{path}' names the classes of its masks. Add {_CLASSES}, such as "
            '{"0": "background", "1": "cat"}.'
        )
    if file.name == _CLASSES:
        said = shelf.json(file)
        rows = list(said.items()) if isinstance(said, dict) else []
    else:
        lines = csv.reader(file.read_text(encoding="utf-8-sig").splitlines())
        rows = [(row[0].strip(), row[1].strip()) for row in list(lines)[1:] if len(row) > 1]
    if not rows or not all(str(value).isdecimal() for value, _ in rows):
        raise DataError(
            f"the classes in '{file}' are {rows[:3]}, but each value needs a name, such as "
            '{"0": "background", "1": "cat"}.'
        )
    return {int(value): printable(str(name)) for value, name in rows}


def _record(
    name: str,
    places: Sequence[Path],
    mask: Path,
    classes: Mapping[int, str],
    shelf: Shelf,
    frames: Frames,
) -> Record:
    image = find_file(name, places, shelf)
    masks = IndexMasks(shelf.needs(mask), {}, () if _VOID in classes else (_VOID,))
    size = masks.size()
    frame = frames.of(image, size)
    if size != frame.size:
        raise DataError(
            f"the mask '{mask}' is {size[1]} × {size[0]} pixels, but its picture is "
            f"{frame.size[1]} × {frame.size[0]}"
        )
    values = masks.found()
    strange = sorted(set(values) - set(classes) - set(masks.void) - {0})
    if strange:
        raise DataError(
            f"the mask '{mask}' has the values {strange[:8]}, which no class has: the classes are "
            f"{named([f'{value}: {called}' for value, called in classes.items()])}"
        )
    background = {0}
    if classes.get(0, _BACKGROUND).casefold() != _BACKGROUND:
        background = {v for v, called in classes.items() if called.casefold() == _BACKGROUND}
    shown = {
        called: (value,)
        for value, called in classes.items()
        if value in values and value not in background
    }
    drawn = frame.masks(IndexMasks(mask, shown, masks.void))
    return Record(name, image, tuple(shown), masks=drawn)


def _mask_names(names: Sequence[str]) -> list[str]:
    """The pictures' own names, ending in .png; those that differ in their ending alone keep it."""
    plain = ["/".join(one_line(part) or "_" for part in name.split("/")) for name in names]
    stems = [str(PurePosixPath(name).with_suffix("")) for name in plain]
    count = Counter(stem.casefold() for stem in stems)
    taken: set[str] = set()
    files = []
    for name, stem in zip(plain, stems, strict=True):
        base = name if count[stem.casefold()] > 1 else stem
        file, number = base, 2
        while file.casefold() in taken:
            file, number = f"{base}-{number}", number + 1
        taken.add(file.casefold())
        files.append(f"{file}.png")
    return files


FORMAT = Format(
    "masks",
    "masks/ beside images/, with a classes.json",
    detect,
    read,
    takes=("images",),
    write=write,
)
