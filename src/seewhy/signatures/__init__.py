"""What a file is, by its first bytes, where it is not what was asked for."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

HEAD = 512  # bytes, which hold every signature below


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: With its article, as it stands in a sentence.
        advice: What to do with such a file, as the end of a sentence.
    """

    name: str
    advice: str


GIT_LFS = Kind(
    "a Git LFS pointer, which stands for a file that was not fetched",
    "fetch it with: git lfs pull",
)
WEB_PAGE = Kind(
    "a web page (HTML)",
    "a download that failed leaves such a page: open it to see why, and download the file itself",
)
SERVER_ERROR = Kind(
    "a text in XML",
    "a download that failed leaves such a text: read it to see why, and download the file itself",
)
ZIP = Kind("a ZIP archive", "unpack it and give the file in it")
GZIP = Kind("a gzip archive", "unpack it and give the file in it")
HDF5 = Kind("an HDF5 file", "read it in Python, for instance with h5py")
NUMPY = Kind("a NumPy array", "read it in Python with numpy.load")

_OPENINGS: tuple[tuple[bytes, Kind], ...] = (
    (b"version https://git-lfs", GIT_LFS),
    (b"PK\x03\x04", ZIP),
    (b"\x1f\x8b", GZIP),
    (b"\x89HDF\r\n\x1a\n", HDF5),
    (b"\x93NUMPY", NUMPY),
)


def kind_of(head: bytes, openings: Iterable[tuple[bytes, Kind]] = ()) -> Kind | None:
    """The kind of a file that begins with `head`; None for one that is not known here.

    Args:
        head: Its first `HEAD` bytes, or all that it has.
        openings: Further kinds, each with what such a file begins with.
    """
    for opening, kind in (*openings, *_OPENINGS):
        if head.startswith(opening):
            return kind
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return WEB_PAGE
    if text.startswith(b"<?xml"):
        return WEB_PAGE if b"<html" in text else SERVER_ERROR
    return None


def head_of(path: Path) -> bytes:
    """The file's first `HEAD` bytes."""
    with path.open("rb") as file:
        return file.read(HEAD)


def special(path: Path) -> str | None:
    """What a path leads to that is neither a file nor a folder: opening it may wait for ever.

    Raises:
        OSError: There is nothing, or it may not be looked at.
    """
    mode = path.stat().st_mode
    for is_one, name in (
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    ):
        if is_one(mode):
            return name
    return None
