"""Archives of WebDataset: tar files in which the files of one sample share their name's stem.

Only where each picture's bytes lie is noted; they are read from there, without unpacking.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from seewhy.dataset.files import picture_endings
from seewhy.errors import DataError
from seewhy.runs.stores import file_system, is_remote, local_path

_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
_LABELS = (".cls", ".txt", ".json")
_LONGEST = 100_000  # bytes of a file that may hold a label


def is_archive(name: str) -> bool:
    """Whether a file's name is an archive's, packed or not."""
    return name.lower().endswith((".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".tar.xz"))


def written_out(pattern: str) -> Iterator[str]:
    """`shard-{000..002}.tar` → the three names, as WebDataset writes them."""
    found = _BRACES.search(pattern)
    if found is None:
        yield pattern
        return
    for number in range(int(found[1]), int(found[2]) + 1):
        middle = str(number).zfill(len(found[1]))
        yield from written_out(pattern[: found.start()] + middle + pattern[found.end() :])


def members_of(archive: str) -> Iterator[dict[str, Any]]:
    """The rows of a manifest for the pictures in an archive, in its order.

    A label comes from the sample's `.cls` or `.txt`, or from `label` or `class` in its `.json`.

    Raises:
        DataError: it is damaged, or packed as a whole, so that no member can be read by itself.
    """
    if not archive.lower().endswith(".tar"):
        raise DataError(
            f"'{archive}' is packed as a whole, so that no picture in it can be read by itself; "
            "unpack it to .tar: pictures are packed already."
        )
    endings = picture_endings()
    try:
        with _opened(archive) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            listed: list[tarfile.TarInfo] = vars(tar)["members"]
            sample: str | None = None
            rows: list[dict[str, Any]] = []
            label: str | None = None
            while (member := tar.next()) is not None:
                listed.clear()  # it would grow with every member
                if not member.isfile():
                    continue
                path = PurePosixPath(member.name)
                stem = f"{path.parent}/{path.name.partition('.')[0]}"
                if stem != sample:
                    yield from ({**row, "label": label} for row in rows)
                    sample, rows, label = stem, [], None
                ending = path.suffix.lower()
                if ending in endings:
                    place = {"offset": member.offset_data, "size": member.size}
                    rows.append({"uri": archive, "member": member.name, **place})
                elif ending in _LABELS and label is None and member.size <= _LONGEST:
                    label = _label(tar, member, ending)
            yield from ({**row, "label": label} for row in rows)
    except (tarfile.TarError, OSError) as error:
        raise DataError(f"the archive '{archive}' cannot be read ({error}).") from error


def _label(tar: tarfile.TarFile, member: tarfile.TarInfo, ending: str) -> str | None:
    opened = tar.extractfile(member)
    text = opened.read().decode("utf-8", "replace").strip() if opened else ""
    if ending != ".json":
        return text or None
    try:
        said = json.loads(text)
    except ValueError:
        return None
    found = said.get("label", said.get("class")) if isinstance(said, dict) else None
    return None if found is None else str(found)


def _opened(archive: str) -> Any:
    if not is_remote(archive):
        return local_path(archive).open("rb")
    system, path = file_system(archive)
    return system.open(path, "rb", block_size=1 << 20)
