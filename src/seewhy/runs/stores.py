"""Where pictures lie: on this machine's disks, or in a store that fsspec reaches.

A *uri* is an absolute path of this machine, or an address with a scheme: `s3://`, `gs://`,
`https://`. Credentials come from where each store's own tools have them.
"""

from __future__ import annotations

import functools
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from seewhy.errors import ImageError
from seewhy.runs.needs import needed

_T = TypeVar("_T")
_TRIES = 4  # of a read from a remote store
_PAUSE = 0.5  # seconds before the second try; twice as long before each further one
_OF_ARROW = ("s3", "gs", "gcs", "abfs")
_AT_ONCE = 16  # pictures on their way from a remote store


def is_remote(uri: str) -> bool:
    """Whether it has a scheme; a file of this machine may be written `file://`, too."""
    scheme, found, _ = uri.partition("://")
    return bool(found) and scheme.isidentifier() and scheme not in ("file", "local")


def local_path(uri: str) -> Path:
    """The absolute path of a file of this machine."""
    for scheme in ("file://", "local://"):
        uri = uri.removeprefix(scheme)
    return Path(os.path.abspath(uri))  # noqa: PTH100  # resolve() would follow links


def file_row(path: Path) -> dict[str, Any]:
    """What the manifest says of a file here. One that is not there has no size and no time."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return {"uri": str(path)}
    return {"uri": str(path), "size": status.st_size, "modified": status.st_mtime_ns}


def file_system(uri: str) -> tuple[Any, str]:
    """Fsspec's file system of a remote address, and the path in it.

    Raises:
        DataError: fsspec is not installed.
        ImageError: the scheme is unknown, or the package for it is not installed.
    """
    core = needed("fsspec.core", f"'{uri}'", "run")
    try:
        system, path = core.url_to_fs(uri)
    except (ImportError, ValueError) as error:
        if uri.partition("://")[0] in _OF_ARROW and isinstance(error, ImportError):
            return _by_arrow(uri)
        raise ImageError(f"'{uri}' cannot be reached: {error}.") from error
    return system, path


@functools.cache
def _arrow_system(bucket: str) -> Any:
    from fsspec.implementations.arrow import ArrowFSWrapper
    from pyarrow.fs import FileSystem

    return ArrowFSWrapper(FileSystem.from_uri(bucket)[0])


def _by_arrow(uri: str) -> tuple[Any, str]:
    """Pyarrow reads these stores itself, where fsspec's own package for them is not installed."""
    scheme, _, path = uri.partition("://")
    try:
        return _arrow_system(f"{scheme}://{path.partition('/')[0]}"), path
    except Exception as error:  # its clients raise their own kinds
        raise ImageError(f"'{uri}' cannot be reached: {error}.") from error


def read_bytes(uri: str, offset: int | None = None, size: int | None = None) -> bytes:
    """A file, or `size` bytes of it from `offset` on.

    A read from a remote store that fails, or that brings less than was asked for, is tried again.

    Raises:
        ImageError: it cannot be read.
    """
    if not is_remote(uri):
        return _read_local(local_path(uri), offset, size)
    system, path = file_system(uri)
    return with_patience(uri, lambda: _read_remote(system, path, offset, size))


def with_patience(uri: str, work: Callable[[], _T]) -> _T:
    """What a remote store gives, asked several times.

    Raises:
        ImageError: it failed each time, or there is no such file.
    """
    pause = _PAUSE
    for attempt in range(1, _TRIES + 1):
        try:
            return work()
        except FileNotFoundError:
            raise ImageError(f"there is no '{uri}'; check the address.") from None
        except PermissionError as error:
            raise ImageError(
                f"'{uri}' may not be read ({error}); check your credentials."
            ) from error
        except Exception as error:  # each store's client raises its own kinds
            if attempt == _TRIES:
                reason = " ".join(str(error).split()) or type(error).__name__
                raise ImageError(f"'{uri}' failed {_TRIES} times ({reason}).") from error
        time.sleep(pause)
        pause *= 2
    raise AssertionError


def _read_remote(system: Any, path: str, offset: int | None, size: int | None) -> bytes:
    if offset is None:
        data: bytes = system.cat_file(path)
    else:
        data = system.cat_file(path, start=offset, end=None if size is None else offset + size)
    if size is not None and len(data) != size:
        raise OSError(f"{len(data)} bytes came instead of {size}")
    return data


def _read_local(path: Path, offset: int | None, size: int | None) -> bytes:
    try:
        with path.open("rb") as file:
            if offset is None:
                return file.read()
            file.seek(offset)
            data = file.read() if size is None else file.read(size)
    except FileNotFoundError:
        raise ImageError(f"there is no file '{path}'; check the path.") from None
    except (OSError, ValueError) as error:
        raise ImageError(
            f"'{path}' cannot be opened ({getattr(error, 'strerror', None) or error}); "
            "check its name and your permission to read it."
        ) from error
    if size is not None and len(data) != size:
        raise ImageError(
            f"'{path}' ends after {len(data)} of {size} bytes from {offset} on; it has changed "
            "since the manifest was made."
        )
    return data


def in_advance(items: Iterable[_T], work: Callable[[_T], Any]) -> Iterator[tuple[_T, Future[Any]]]:
    """Each item in order with what `work` makes of it, some of which are made in advance.

    It is for waiting, not for computing: several are on their way from a store at once.
    """
    waiting: deque[tuple[_T, Future[Any]]] = deque()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) > _AT_ONCE:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        finally:
            for _, future in waiting:
                future.cancel()
