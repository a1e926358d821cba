"""A process that has everything imported and the model loaded, and makes workers of itself.

A worker that is forked from it is there in hundredths of a second, however long torch takes to
import, and shares the model's memory with all others. The process itself runs no network and has
one thread, so that forking it is safe. Where the system cannot fork, or where the model lives on
another device, each worker imports and loads for itself.

It is started as `python -m seewhy.runs.nursery PLACE`, and learns everything else through the
connection at `PLACE`, whose key comes by its standard input.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import sys
from multiprocessing.connection import Client
from pathlib import Path
from typing import Any

from seewhy.memory import keep_freed_memory


def main() -> None:
    """The nursery, or one worker by itself."""
    place, kind = sys.argv[1], sys.argv[2]
    key = bytes.fromhex(sys.stdin.readline().strip())
    faulthandler.enable()
    keep_freed_memory()
    connection = Client(_address(place), authkey=key)
    folder, model, paths = connection.recv()
    sys.path[:0] = [path for path in paths if path not in sys.path]
    work = _load(Path(model))
    if kind == "worker":
        _work(connection, Path(folder), work)
    else:
        _fork(connection, place, key, Path(folder), work)


def _address(place: str) -> Any:
    return place


def _load(path: Path) -> Any:
    import torch

    import seewhy.runs.worker

    torch.set_num_threads(1)
    del seewhy
    with path.open("rb") as file:
        return pickle.load(file)  # written by our own supervisor into a folder of its own


def _work(connection: Any, folder: Path, work: Any) -> None:
    from seewhy.runs.worker import serve

    serve(connection, folder, work)


def _fork(connection: Any, place: str, key: bytes, folder: Path, work: Any) -> None:
    """Fork a worker for each number that comes; tell how each one ended."""
    connection.send(("loaded", os.getpid()))
    children: dict[int, int] = {}
    while True:
        if connection.poll(0.02 if children else 1.0):
            try:
                number = connection.recv()
            except (EOFError, ConnectionError):
                return  # the supervisor has gone; workers notice by themselves
            child = os.fork()
            if child == 0:
                connection.close()
                own = Client(_address(place), authkey=key)
                own.send(("worker", number))
                _work(own, folder, work)
                os._exit(0)
            children[child] = number
        for child in list(children):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                try:
                    connection.send(("ended", children.pop(child), status))
                except (BrokenPipeError, ConnectionError):
                    return


if __name__ == "__main__":
    main()
