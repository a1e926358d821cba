"""The table of evidence: what a method may ask for, by the name of a parameter.

A row stands beside the function that makes it, in layer.py, pixels.py, attention.py and changes.py.
Everything else that has to be known of a kind of evidence is looked up here: whether it is of a
batch or of one image, what it needs of the model, what it costs, and where its map lies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

from seewhy.errors import MethodError

Cost = Literal["one forward", "gradient", "attention", "reruns", "whole forwards"]
"""What has to be computed beside the model's one forward pass, from the cheapest on."""
COSTS: tuple[Cost, ...] = get_args(Cost)

Need = Literal["gradient", "curvature", "head", "pixels", "operations", "attention", "tail"]
"""What a model has to offer:

- `gradient`: the score can be differentiated with respect to the layer; `curvature`: twice;
- `head`: the last linear map is seen;
- `pixels`: the score can be differentiated with respect to the input;
- `operations`: every activation function and bias is seen as it is called;
- `attention`: attention between the picture's tokens is seen;
- `tail`: what lies behind the layer can be run again.
"""

Place = Literal["layer", "input", "attention"]
"""Whose positions a map has: the watched layer's, the input's, or those of the tokens."""

Moment = Literal["watched", "kept", "alone"]
"""When it is made: while the model is watched, or while the run that reruns set out from is kept,
or in runs of its own."""


@dataclass(frozen=True)
class Row:
    """One kind of evidence.

    Attributes:
        name: the parameter's name by which a formula asks for it.
        says: what it is, in words.
        place: where a map that is made of it lies; None where it says nothing about that.
        cost: what has to be computed for it.
        needs: what the model has to offer.
        moment: when it is made.
        of_batch: makes it for all images and targets, from the run (`Evidence`) and a layer's
            number.
        of_image: makes it for one image (`OneImage`).
        from_graph: takes it from the first run's graph before the graph is freed, given the run
            and the scores `(batch, targets)`; the other two then find it in `Evidence.taken`.
        relu: for gradients of the pixels, what ReLUs do while they pass: "own", "guided", ...
        of_target: whether it is another one for another target.
    """

    name: str
    says: str
    place: Place | None
    cost: Cost = "one forward"
    needs: frozenset[Need] = frozenset()
    moment: Moment = "alone"
    of_batch: Callable[[Any, int], Any] | None = None
    of_image: Callable[[Any], Any] | None = None
    from_graph: Callable[[Any, Any], Any] | None = None
    relu: str | None = None
    of_target: bool = True


TABLE: dict[str, Row] = {}
"""Every row by its name, in the order in which the files beside this one add them."""

_T = TypeVar("_T", bound=Callable[..., Any])


def of_batch(
    name: str,
    says: str,
    *,
    place: Place | None,
    needs: Iterable[Need] = (),
    **fields: Any,
) -> Callable[[_T], _T]:
    """Add a row for evidence of a batch; what is decorated makes it. Fields as `Row` has them."""

    def add(make: _T) -> _T:
        _add(Row(name, says, place, needs=frozenset(needs), of_batch=make, **fields))
        return make

    return add


def of_image(
    name: str,
    says: str,
    *,
    place: Place | None,
    needs: Iterable[Need] = (),
    **fields: Any,
) -> Callable[[_T], _T]:
    """Add a row for evidence of one image; what is decorated makes it. Fields as `Row` has them."""

    def add(make: _T) -> _T:
        _add(Row(name, says, place, needs=frozenset(needs), of_image=make, **fields))
        return make

    return add


def _add(row: Row) -> None:
    known = TABLE.get(row.name)
    if known is not None and _home(known) != _home(row):  # a cell of a notebook may run again
        raise ValueError(f"two rows of evidence are called '{row.name}'; rename one.")
    TABLE[row.name] = row


def _home(row: Row) -> tuple[str, str]:
    """Where the function that makes it was written."""
    make = row.of_batch or row.of_image
    assert make is not None
    return make.__module__, make.__qualname__


def rows_of(names: Iterable[str], asked_by: str) -> tuple[Row, ...]:
    """The rows that a formula's parameters name.

    Raises:
        MethodError: a name is in no row, or evidence of a batch and of one image are mixed.
    """
    names = list(names)
    strange = [name for name in names if name not in TABLE]
    if strange or not names:
        raise MethodError(
            f"method '{asked_by}' asks for {', '.join(strange) or 'nothing'}; its parameters may "
            f"be called {', '.join(TABLE)}, and its own options are keyword-only."
        )
    rows = tuple(TABLE[name] for name in names)
    alone = [row.name for row in rows if row.of_batch is None]
    apart = [row.name for row in rows if row.of_image is None]
    if alone and apart:
        with_it = [row.name for row in TABLE.values() if row.of_image is not None]
        raise MethodError(
            f"method '{asked_by}' asks for {alone[0]}, which is of one image at a time, and for "
            f"{', '.join(apart)}, of a batch; with {alone[0]} there are {', '.join(with_it)}."
        )
    return rows
