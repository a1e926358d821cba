"""One run under way: what it works with, and a method tried on several things at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from seewhy.errors import MethodError, TargetError
from seewhy.evaluation.entries import Entry
from seewhy.evaluation.kept import KeptRows
from seewhy.evaluation.measuring import Examined
from seewhy.evaluation.protocol import Protocol
from seewhy.explainer import Explainer

_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class Session:
    """What all the work of one run shares.

    Attributes:
        explainer: prepares the pictures.
        examined: the model.
        entries: the methods.
        protocol: what is measured.
        kept: the rows.
        fail: hears what cannot be used, and why.
        advance: called when a picture is done with one method.
    """

    explainer: Explainer
    examined: Examined
    entries: Sequence[Entry]
    protocol: Protocol
    kept: KeptRows
    fail: Callable[[str, str], None]
    advance: Callable[[], None]
    _worked: set[str] = field(default_factory=set)  # methods that gave a map in this run

    def tick(self, times: int) -> None:
        """Advances several times."""
        for _ in range(times):
            self.advance()

    def worked(self, entry: Entry) -> None:
        """Notes that a method gave a map, so that what fails later is the picture's fault."""
        self._worked.add(entry.name)

    def each(
        self,
        entry: Entry,
        some: Sequence[_T],
        work: Callable[[Sequence[_T]], None],
        name: Callable[[_T], str],
    ) -> set[str]:
        """Work on all at once, or on one by one where that fails.

        Returns:
            The names of those that fail alone.

        Raises:
            SeewhyError, RuntimeError: the method fails with any picture.
        """
        try:
            work(some)
        except (MethodError, TargetError, RuntimeError) as error:
            if entry.name not in self._worked:
                self._try_without_picture(entry)
            if len(some) > 1:
                return set().union(*(self.each(entry, [one], work, name) for one in some))
            self.fail(name(some[0]), f"{entry.name}: {error}")
            return {name(some[0])}
        return set()

    def _try_without_picture(self, entry: Entry) -> None:
        """Explain a black input: what fails there fails with any picture."""
        preprocess = self.explainer.preprocess
        black = torch.zeros(1, len(preprocess.mean), *preprocess.size)
        target = self.examined.target_of(None, self.examined.read(black))
        self.examined.explain(entry.method, black, [target], entry.options)
