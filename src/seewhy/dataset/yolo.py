"""YOLO: a text file a picture, with a line an object, in shares of the picture's sides.

`data.yaml` names the classes and says where the pictures of each part are (Ultralytics, Roboflow,
FiftyOne). Without it, `images` and `labels` lie side by side, or each text beside its picture, and
`classes.txt`, `obj.names` or `_darknet.labels` names the classes, one a line.

The labels of `images/train/a.jpg` are `labels/train/a.txt`, or else `a.txt` beside it. A picture
without a text shows no object, as Ultralytics has it. A line is `class x y width height` (the
centre first), or `class x y x y x y ...`, a polygon. If `data.yaml` has `kpt_shape`, what follows a
box are key points.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from seewhy.dataset.files import Shelf, find_file
from seewhy.dataset.formats import Format, Found
from seewhy.dataset.frames import Frames
from seewhy.dataset.labelled import LabelledFolder
from seewhy.dataset.links import distinct_stems, link_upright
from seewhy.dataset.records import Box, Dataset, Record, gather, printable
from seewhy.dataset.segmentation import Segmentation, Segmentations
from seewhy.dataset.splits import is_split, same_split
from seewhy.errors import DataError

_NAMES = ("classes.txt", "obj.names", "_darknet.labels", "classes.names", "labels.txt")
_PARTS = ("train", "val", "valid", "test")
_MOST = 1.5  # a share beyond which it is a number of pixels
_EXACT = 0.05  # pixels: numbers with fewer digits than this takes are meant as they stand


@dataclass(frozen=True)
class _Layout:
    """Where a data set has its pictures and what its classes are called.

    Attributes:
        names: of the classes by number.
        named_in: the file that says so; None where nothing does.
        parts: for each part the folders of its pictures, or files that list them. A data set
            without parts has one, called "".
        keypoints: whether key points follow a box.
    """

    names: Mapping[int, str]
    named_in: Path | None
    parts: Mapping[str, tuple[Path, ...]]
    keypoints: bool = False
    root: Path = field(default_factory=Path)


def detect(path: Path, shelf: Shelf) -> list[Found]:
    """A `data.yaml`, the folder that holds one, or folders of pictures with texts of boxes."""
    layout = _layout(path, shelf)
    if layout is None:
        return []
    named = layout.named_in
    seen = named.name if named is not None and named.suffix in (".yaml", ".yml") else "labels/*.txt"
    together: dict[tuple[Path, ...], list[str]] = {}
    for part, sources in layout.parts.items():
        together.setdefault(sources, []).append(part)
    return [
        Found(path, f"{seen}, {parts[0]}" if parts[0] else seen, tuple(filter(None, parts)))
        for parts in together.values()
    ]


def read(path: Path, *, shelf: Shelf, split: str | None = None) -> Dataset:
    """One record a picture, called by its path from the part's folder on.

    Every picture with objects is opened for its size, which shares are turned into pixels by.

    Args:
        path: the YAML file, or the folder of the data set.
        shelf: the files in it.
        split: the part: `train`, `val`, `test`; None where there is only one.

    Raises:
        DataError: nothing names the classes, no picture of the part has a text, or there is no
            record at all.
    """
    layout = _layout(path, shelf)
    if layout is None:
        raise DataError(
            f"'{path}' is not laid out as YOLO. It needs a data.yaml, images/ with "
            "labels/*.txt, or *.txt next to the pictures."
        )
    if layout.named_in is None:
        raise DataError(
            f"no file in '{path}' names the classes of its texts. Add a data.yaml with "
            "names, or a classes.txt with one name per line, the first for class 0."
        )
    pictures = _pictures_of_part(layout, split, shelf)
    if not pictures:
        listed = ", ".join(f"'{source}'" for some in layout.parts.values() for source in some)
        raise DataError(f"'{path}' has no pictures in the folders that it names: {listed}.")
    texts = {picture: text for picture in pictures if (text := _text_of(picture, shelf))}
    if not texts:
        first = next(iter(pictures))
        raise DataError(
            f"none of the {len(pictures)} pictures of '{path}' has a text file with its "
            f"boxes. For '{first}' it would be '{_beside(first)[0]}'."
        )
    frames = Frames()
    drafts = [
        (name, functools.partial(_record, name, picture, texts.get(picture), layout, frames))
        for picture, name in pictures.items()
    ]
    root = path if path.is_dir() else path.parent
    return frames.gathered(lambda: gather(root.name, "yolo", drafts))


def write(folder: Path, labelled: LabelledFolder) -> None:
    """`data.yaml`, a line for each box in `labels/`, the pictures as links in `images/`."""
    numbers = {name: number for number, name in enumerate(labelled.classes)}
    for name in ("images", "labels"):
        (folder / name).mkdir()
    stems = distinct_stems([one.name for one in labelled.pictures])
    for stem, one in zip(stems, labelled.pictures, strict=True):
        link_upright(one.path, folder / "images" / f"{stem}{one.path.suffix.lower()}")
        height, width = one.size
        lines = [
            f"{numbers[found.label]} "
            f"{(found.box.x0 + found.box.x1) / 2 / width:.6f} "
            f"{(found.box.y0 + found.box.y1) / 2 / height:.6f} "
            f"{(found.box.x1 - found.box.x0) / width:.6f} "
            f"{(found.box.y1 - found.box.y0) / height:.6f}\n"
            for found in one.objects
        ]
        (folder / "labels" / f"{stem}.txt").write_text("".join(lines), encoding="utf-8")
    # Paths are relative to the file.
    said = {"train": "images", "val": "images", "names": {n: name for name, n in numbers.items()}}
    (folder / "data.yaml").write_text(
        "# Pseudo-labels by seewhy. Keep a part of the pictures for val.\n"
        + yaml.safe_dump(said, allow_unicode=True, sort_keys=False),
        encoding="utf-8",
    )


def _layout(path: Path, shelf: Shelf) -> _Layout | None:
    """How a data set lies there; None where it is not YOLO's."""
    if path.is_file():
        is_yaml = path.suffix.lower() in (".yaml", ".yml")
        return _described(path, shelf) if is_yaml else None
    for name in shelf.with_ending(path, ".yaml", ".yml"):
        if (layout := _described(path / name, shelf)) is not None:
            return layout
    parts = _parts(path, shelf)
    if not parts:
        return None
    sources = [source for some in parts.values() for source in some]
    folders = dict.fromkeys((path, path / "labels", *sources, path.parent))
    for file in (folder / name for folder in folders for name in _NAMES):
        if shelf.has(file):
            names = {number: printable(name) for number, name in enumerate(_lines(file))}
            return _Layout(names, file, parts, root=path)
    # A part of a data set was given, whose classes are named above it.
    for name in shelf.with_ending(path.parent, ".yaml", ".yml"):
        with contextlib.suppress(DataError):
            above = _described(path.parent / name, shelf)
            if above is not None:
                return replace(above, parts=parts, root=path)
    return _Layout({}, None, parts, root=path)


def _described(file: Path, shelf: Shelf) -> _Layout | None:
    """What a data.yaml says; None where it is another YAML."""
    try:
        # Every word as it stands: YAML would read a class called `no` as False.
        said = yaml.load(file.read_text(encoding="utf-8-sig"), Loader=yaml.BaseLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        if file.name in ("data.yaml", "dataset.yaml"):
            reason = " ".join(str(error).split())
            raise DataError(f"'{file}' cannot be read as YAML ({reason}).") from error
        return None
    if not isinstance(said, dict) or "names" not in said:
        return None
    named = _class_names(said["names"], file)
    base = said.get("path")
    bases = [file.parent / base, file.parent] if isinstance(base, str) and base else [file.parent]
    parts = {
        part: sources
        for part in _PARTS
        if (sources := tuple(_places(said.get(part), bases, shelf)))
    }
    if not parts:
        stated = {part: said[part] for part in _PARTS if said.get(part)}
        raise DataError(
            f"'{file}' names {stated or 'no folder'} for its pictures, which does not "
            "exist. Correct path, train and val in it, relative to the file."
        )
    return _Layout(named, file, parts, "kpt_shape" in said, file.parent)


def _class_names(names: Any, file: Path) -> dict[int, str]:
    if isinstance(names, list):
        return {number: printable(str(name)) for number, name in enumerate(names)}
    if isinstance(names, dict) and all(str(number).isdecimal() for number in names):
        return {int(number): printable(str(name)) for number, name in names.items()}
    raise DataError(f"'{file}' has names {names!r}, but names must be a list, or names by number.")


def _places(said: Any, bases: Sequence[Path], shelf: Shelf) -> Iterator[Path]:
    """The folders, or files with lists of pictures, that a data.yaml names for a part."""
    for one in said if isinstance(said, list) else [said]:
        if not isinstance(one, str) or not one:
            continue
        one = one.replace("\\", "/")
        # Roboflow writes ../train/images, though the file lies right above train.
        ways = [one, one.removeprefix("../")]
        places = (Path(os.path.normpath(base / way)) for way in ways for base in bases)
        yield from [place for place in places if place.is_dir() or shelf.has(place)][:1]


def _parts(path: Path, shelf: Shelf) -> dict[str, tuple[Path, ...]]:
    """The folders with pictures whose boxes lie in texts, by part, where no YAML says it."""
    below = shelf.folders(path)
    images = [path / name for name in below if name.casefold() == "images"]
    inner = [folder / name for folder in images for name in shelf.folders(folder)]
    named = [(name, path / name / "images") for name in below if is_split(name)]
    named += [(folder.name, folder) for folder in inner]
    found: dict[str, tuple[Path, ...]] = {
        part: (folder,) for part, folder in named if _has_boxes(folder, shelf)
    }
    if found and all(map(is_split, found)):
        return found
    for place in (*images, path, path / "data"):
        if found or _has_boxes(place, shelf):
            return {"": (place,)}
    return {}


def _has_boxes(folder: Path, shelf: Shelf) -> bool:
    """Whether the first pictures of a folder have texts with boxes."""
    some = (folder / name for name in shelf.pictures(folder)[:20])
    return any(_is_boxes(text) for picture in some if (text := _text_of(picture, shelf)))


def _is_boxes(text: Path) -> bool:
    """Whether a text holds lines of numbers, the first a class."""
    try:
        lines = [line.split() for line in _lines(text)]
    except DataError:
        return False
    return bool(lines) and all(
        len(words) >= 5 and words[0].isdecimal() and all(map(_is_number, words)) for words in lines
    )


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _pictures_of_part(layout: _Layout, split: str | None, shelf: Shelf) -> dict[Path, str]:
    """The pictures of a part, or of all parts, each with its name."""
    wanted = [part for part in layout.parts if split is None or same_split(part, split)]
    sources = dict.fromkeys(source for part in wanted for source in layout.parts[part])
    pictures: dict[Path, str] = {}
    for source in sources:
        for picture, name in _pictures(source, layout.root, shelf):
            called = name if len(sources) == 1 else os.path.relpath(picture, layout.root)
            pictures.setdefault(picture, Path(called).as_posix())
    return pictures


def _pictures(source: Path, root: Path, shelf: Shelf) -> Iterator[tuple[Path, str]]:
    """The pictures of a folder with all below it, or of a list; each with its name."""
    if shelf.has(source):
        for line in _lines(source):
            name = line.replace("\\", "/").removeprefix("./")
            yield find_file(name, [source.parent, root, Path()], shelf), name
        return
    for name, picture in shelf.pictures_below(source):
        yield picture, name


def _text_of(picture: Path, shelf: Shelf) -> Path | None:
    """The text with a picture's boxes, if there is one."""
    return next((text for text in _beside(picture) if shelf.has(text)), None)


def _beside(picture: Path) -> list[Path]:
    """Where a picture's text may be: below `labels` instead of the last `images`, or beside it."""
    beside = picture.with_suffix(".txt")
    above = list(beside.parts)
    for place in range(len(above) - 2, -1, -1):
        if above[place].casefold() == "images":
            above[place] = "labels"
            return [Path(*above), beside]
    if picture.parent.name.casefold() == "data":  # FiftyOne
        return [picture.parent.parent / "labels" / beside.name, beside]
    return [beside]


def _record(name: str, picture: Path, text: Path | None, layout: _Layout, frames: Frames) -> Record:
    lines = [line.split() for line in _lines(text)] if text is not None else []
    if not lines:
        return Record(name, picture, ())
    frame = frames.of(picture)  # upright, as Ultralytics reads it
    boxes: list[Box] = []
    outlines: dict[str, list[Segmentation] | None] = {}
    for number, words in enumerate(lines, start=1):
        try:
            label = _label(words[0], layout)
            corners, outline = _object(words[1:], frame.size, keypoints=layout.keypoints)
            boxes.append(frame.box(corners, label))
        except DataError as error:
            raise DataError(f"'{text}', line {number}: {error}") from error
        drawn = outlines.setdefault(label, [])
        if outline is None:
            outlines[label] = None  # half of a label's objects would make a false mask
        elif drawn is not None:
            drawn.append([outline])
    labels = tuple(dict.fromkeys(box.label for box in boxes))
    by_label = {label: tuple(drawn) for label, drawn in outlines.items() if drawn}
    masks = Segmentations(frame.size, by_label) if by_label else None
    return Record(name, picture, labels, tuple(boxes), masks)


def _label(word: str, layout: _Layout) -> str:
    number = int(word) if word.isdecimal() else None
    if number is None or number not in layout.names:
        raise DataError(
            f"class {word!r}, but '{layout.named_in}' names {len(layout.names)} classes, from 0"
        )
    return layout.names[number]


def _object(
    words: Sequence[str], size: tuple[int, int], *, keypoints: bool
) -> tuple[tuple[float, float, float, float], list[float] | None]:
    """An object's box in pixels, and its outline if it has one."""
    height, width = size
    try:
        shares = [float(word) for word in words]
    except ValueError:
        raise DataError(f"{' '.join(words)!r} does not consist of numbers") from None
    if max(shares[:4], default=0.0) > _MOST:
        raise DataError(
            f"{' '.join(words)} are not shares of the picture's sides, from 0 to 1; do "
            "not give pixels"
        )
    if len(shares) == 4 or (keypoints and len(shares) > 4):
        digits = max(len(word.partition(".")[2]) for word in words[:4])
        x, y, across, down = shares[:4]
        left, right = (_whole(edge, width, digits) for edge in (x - across / 2, x + across / 2))
        top, bottom = (_whole(edge, height, digits) for edge in (y - down / 2, y + down / 2))
        return (left, top, right, bottom), None
    if len(shares) < 6 or len(shares) % 2:
        raise DataError(
            f"{len(shares)} numbers after the class, but x, y, width and height are "
            "needed, or x and y of at least 3 corners"
        )
    outline = [share * (height if place % 2 else width) for place, share in enumerate(shares)]
    across_, down_ = outline[::2], outline[1::2]
    return (min(across_), min(down_), max(across_), max(down_)), outline


def _whole(share: float, side: int, digits: int) -> float:
    """An edge in pixels; on the whole pixel, where the written digits cannot say otherwise."""
    edge = share * side
    if not math.isfinite(edge):
        return edge
    error = 0.75 * 10**-digits * side
    exact = error if error <= _EXACT else 0.0
    return float(round(edge)) if abs(edge - round(edge)) <= exact + 1e-9 else edge


def _lines(path: Path) -> list[str]:
    """A text's lines, blank ones left out.

    Raises:
        DataError: it cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"'{path}' cannot be read as text ({error})") from error
    return [line.strip() for line in lines if line.strip()]


FORMAT = Format(
    "yolo",
    "YOLO's data.yaml, or labels/*.txt",
    detect,
    read,
    takes=("split",),
    write=write,
)
