"""Whether what is asked can be done at all, and how large the maps are: the first pictures tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from seewhy.errors import ModelError, SeewhyError
from seewhy.runs.manifest import Entry, Manifest
from seewhy.runs.shard import Work, explain_rows

_MOST = 8  # pictures that are tried


@dataclass(frozen=True)
class Tried:
    """What came of one picture.

    Attributes:
        sizes: (height, width) of each of its maps; none where it could not be explained.
        error: why it could not.
        general: what is raised with a black picture, too, so that it is no fault of this one.
    """

    sizes: tuple[tuple[int, int], ...] = ()
    error: str | None = None
    general: SeewhyError | None = None


def try_picture(entry: Entry, work: Work) -> Tried:
    """Explain one picture, and a black one where that fails."""
    rows = explain_rows([entry], work, None)
    error = rows["error"][0].as_py()
    if error is not None:
        return Tried(error=error, general=_with_black(work, error))
    sizes = zip(rows["map_height"].to_pylist(), rows["map_width"].to_pylist(), strict=True)
    return Tried(tuple(sizes))


def _with_black(work: Work, error: str) -> SeewhyError | None:
    preprocess = work.explainer.preprocess
    black = torch.zeros(len(preprocess.mean), *preprocess.size)
    try:
        list(work.explainer.many([black], work.target))
    except SeewhyError as raised:
        return raised if str(raised) in error else None
    except RuntimeError:
        return ModelError(f"no picture can be explained: {error}")
    return None


def first_that_works(manifest: Manifest, attempt: Callable[[Entry], Tried | None]) -> Tried:
    """The first of a few pictures that can be explained; an empty value where none of them can.

    Args:
        manifest: the pictures.
        attempt: gives None for a picture that ended its process.

    Raises:
        SeewhyError: one failed in a way in which every picture does.
    """
    for entry in manifest.entries(0, min(_MOST, len(manifest))):
        tried = attempt(entry)
        if tried is not None and tried.general is not None:
            raise tried.general
        if tried is not None and tried.sizes:
            return tried
    return Tried()
