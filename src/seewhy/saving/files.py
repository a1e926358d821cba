"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from seewhy.errors import DataError

if sys.platform != "win32":
    import fcntl

_PREFIX, _LOCK = ".seewhy-", ".seewhy-lock"
_FOLDER_LOCK = ".lock"
_FORGOTTEN = 24 * 3600.0  # seconds after which a folder without a lock is nobody's
_tidied: set[Path] = set()  # each folder once in the life of a process


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A path to write to beside `path`; renamed to `path` when the block ends well.

    An interrupted or failed block leaves what was there before. Missing folders are made. What a
    process that was killed left beside `path` is removed by the next one that writes there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _tidy(path.parent)
    folder, lock = _locked_folder(path.parent)
    try:
        aside = folder / path.name
        yield aside
        aside.replace(path)
    finally:
        lock.close()  # before: Windows removes no file that is open
        shutil.rmtree(folder, ignore_errors=True)


def _locked_folder(parent: Path) -> tuple[Path, BinaryIO]:
    """A new folder, and a file in it that is locked as long as this process lives."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        try:
            lock = (folder / _LOCK).open("wb")
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        # Before it was locked another process may have found it, and taken it for left.
        if not _taken(lock) and (folder / _LOCK).exists():
            return folder, lock
        lock.close()


def _taken(lock: BinaryIO) -> bool:
    """Lock the file; whether another process has it.

    On Windows nothing is locked: there a file that is open cannot be removed.
    """
    if sys.platform != "win32":
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # a file system without locks, where nobody takes a folder for left
            return False
    return False


def _tidy(parent: Path) -> None:
    """Remove the folders that processes left here which are gone."""
    place = parent.resolve()
    if place in _tidied:
        return
    _tidied.add(place)
    with suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX) and entry.is_dir(follow_symlinks=False):
                _remove_if_left(Path(entry.path))


def _remove_if_left(folder: Path) -> None:
    try:
        lock = (folder / _LOCK).open("r+b")
    except FileNotFoundError:  # it may be just being made
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > _FORGOTTEN:
                shutil.rmtree(folder, ignore_errors=True)
        return
    except OSError:  # another user's
        return
    with lock:
        if sys.platform != "win32":
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:  # its process lives, or the file system has no locks
                return
            shutil.rmtree(folder, ignore_errors=True)
    if sys.platform == "win32":
        with suppress(OSError):  # its process lives and has the file open
            (folder / _LOCK).unlink()
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def locked(folder: Path, taken: str) -> Iterator[None]:
    """A folder that this process alone writes into; another one that tries is refused.

    Args:
        folder: which must be there.
        taken: the beginning of the message where another process has it.

    Raises:
        DataError: another process has it.
    """
    path = folder / _FOLDER_LOCK
    with path.open("ab") as lock:
        if _taken(lock):
            raise DataError(f"{taken}. Wait for it, or name another folder.")
        yield
