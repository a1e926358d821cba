"""Programs and worker processes ask glibc to keep freed memory; the library asks for no caller."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_MMAP_THRESHOLDS = (1 << 30, 1 << 25)  # bytes; glibc refuses more than 32 MiB on most machines
_TRIM_THRESHOLD = 1 << 30


def keep_freed_memory() -> int | None:
    """Let tensors reuse freed memory; quietly nothing where the C library is not glibc.

    glibc gives every large block a fresh mapping and returns it when freed, so each activation of
    each forward pass pays anew for its pages. With high thresholds the blocks come from the heap,
    whose pages are there already.

    Returns:
        The threshold in bytes below which memory is reused, None where nothing was changed.
    """
    if not sys.platform.startswith("linux"):
        return None
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018  # AttributeError with musl, which has no mallopt
        mallopt = libc.mallopt
    except (OSError, AttributeError):
        return None
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    for threshold in _MMAP_THRESHOLDS:
        if mallopt(_M_MMAP_THRESHOLD, threshold):  # 0 when refused
            mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD)
            return threshold
    return None
