"""What the files of a run are called: readable, and no two alike."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

_LONGEST_STEM, _LONGEST_PART = 100, 60  # bytes; most file systems allow 255 in all


class FileNames:
    """Gives every result a name of its own in one folder.

    Args:
        folder: where the results go.
        pictures: all pictures of the run. Those that share a name are told apart by their
            endings or their folders, and no result takes the place of one of them.
    """

    def __init__(self, folder: Path, pictures: Sequence[str]) -> None:
        self.folder = folder
        self._stems = distinct_stems(pictures)
        # Upper and lower case are one file on many systems.
        self._taken = {os.path.realpath(picture).casefold() for picture in pictures}

    def claim(self, picture: str, parts: Sequence[str], endings: Sequence[str]) -> list[Path]:
        """Paths that no other result has: `stem-part-part.ending`, one for each ending."""
        base = "-".join([shortened(self._stems[picture], _LONGEST_STEM), *map(slug, parts)])
        number = 1
        while True:
            name = base if number == 1 else f"{base}-{number}"
            paths = [self.folder / f"{name}.{ending}" for ending in endings]
            real = {os.path.realpath(path).casefold() for path in paths}
            if not real & self._taken:
                self._taken |= real
                return paths
            number += 1


def distinct_stems(pictures: Sequence[str]) -> dict[str, str]:
    """A short name for each picture: its stem, with ending, folder or number where it must."""
    ways: list[Callable[[Path], str]] = [
        lambda path: path.stem,
        lambda path: path.name.replace(".", "-"),
        lambda path: f"{path.resolve().parent.name}-{path.stem}",
        lambda path: f"{path.resolve().parent.name}-{path.name.replace('.', '-')}",
    ]
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for picture in pictures:
        alike[Path(picture).stem.casefold()].append(picture)
    named: dict[str, str] = {}
    for group in alike.values():
        for way in ways:
            names = [way(Path(picture)) for picture in group]
            if len({name.casefold() for name in names}) == len(group):
                break
        named.update(zip(group, names, strict=True))
    taken: set[str] = set()
    for picture, name in named.items():
        number = 1
        while (own := name if number == 1 else f"{name}-{number}").casefold() in taken:
            number += 1
        taken.add(own.casefold())
        named[picture] = own
    return named


def told_apart(pictures: Sequence[str]) -> dict[str, str]:
    """What to call each picture in a table: its name, with its folder where names are alike."""
    counts = Counter(Path(picture).name for picture in dict.fromkeys(pictures))
    return {
        picture: Path(picture).name if counts[Path(picture).name] == 1 else picture
        for picture in pictures
    }


def slug(words: str) -> str:
    """Words as a part of a file name: letters and digits of any script, the rest hyphens."""
    plain = re.sub(r"[^\w+.]+", "-", words.casefold()).strip("-.")
    return shortened(plain, _LONGEST_PART).rstrip("-.") or "target"


def shortened(name: str, most: int) -> str:
    """The first `most` bytes, no character cut in half."""
    return name.encode(errors="surrogateescape")[:most].decode(errors="ignore")
