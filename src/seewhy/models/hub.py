"""The model hub, asked once whether it can be reached before anything is fetched from it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlparse
from urllib.request import getproxies


@contextmanager
def offline_if_unreachable() -> Iterator[bool]:
    """Inside the block the hub's client looks into its cache alone, if the hub has no address.

    Otherwise the client tries again for minutes, and prints a line each time. Behind a proxy, which
    looks addresses up itself, nothing is tested.

    Yields:
        Whether the hub can be reached, as far as its address says.
    """
    try:
        from huggingface_hub import constants
    except ImportError:
        yield True
        return
    if constants.HF_HUB_OFFLINE or _has_address(constants.ENDPOINT):
        yield True
        return
    constants.HF_HUB_OFFLINE = True
    try:
        yield False
    finally:
        constants.HF_HUB_OFFLINE = False


def _has_address(endpoint: str) -> bool:
    address = urlparse(endpoint)
    if address.scheme in getproxies() or address.hostname is None:
        return True
    try:
        socket.getaddrinfo(address.hostname, address.port or 443)
    except OSError:
        return False
    return True
