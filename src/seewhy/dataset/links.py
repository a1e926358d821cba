"""Pictures in a data set's own folder: links, under names without folders and white space."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from PIL import ExifTags, Image

from seewhy.dataset.labelled import one_line

_LONGEST = 200  # bytes; most file systems allow 255 with ending and number
_NOT_EVERYWHERE = r'[<>:"/\\|?*]'  # what Windows allows in no file's name


def is_turned(path: Path) -> bool:
    """Whether EXIF says that the stored pixels are not upright."""
    with Image.open(path) as image:
        return image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)


def link_upright(path: Path, link: Path) -> None:
    """A link to the picture; a copy where there are no links, an upright copy of a turned one.

    Half of the readers turn pictures as EXIF says and half do not: upright ones are read alike.
    """
    if is_turned(path):
        from seewhy.images import read_image

        image = Image.fromarray(read_image(str(path)))
        kind = Image.registered_extensions().get(link.suffix.lower(), "PNG")
        image.save(link, format=kind, **({"quality": 95} if kind == "JPEG" else {}))
        return
    try:
        link.symlink_to(path.resolve())
    except OSError:  # a file system or an account without links
        shutil.copyfile(path, link)


def distinct_stems(names: Sequence[str]) -> list[str]:
    """A file name of its own for each picture, without folder, ending or white space.

    Nor has it characters that other systems or XML do not take, and it is no longer than 200 bytes.
    """
    taken: set[str] = set()
    stems = []
    for name in names:
        base = _plain(Path(name).stem) or "picture"
        if base.casefold() in taken:
            base = _plain(Path(name).with_suffix("").as_posix())
        stem, number = base, 2
        while stem.casefold() in taken:
            stem, number = f"{base}-{number}", number + 1
        taken.add(stem.casefold())
        stems.append(stem)
    return stems


def _plain(words: str) -> str:
    stem = "-".join(re.sub(_NOT_EVERYWHERE, " ", one_line(words)).split())
    return stem.encode()[:_LONGEST].decode(errors="ignore")
