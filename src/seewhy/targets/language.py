"""What a network that sees a picture says of it: the log-probability of a token, of a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from seewhy.errors import TargetError
from seewhy.targets.kinds import (
    Labels,
    Outcome,
    class_column,
    class_index,
    class_words,
    is_integer,
    whole_number,
)
from seewhy.targets.outputs import Ending, as_positions


@dataclass(frozen=True)
class Token(Outcome):
    """The log-probability of a token at a position of `(batch, positions, vocabulary)`.

    Args:
        index: The token's number in the vocabulary, or its name in the labels.
        position: From 0, or from the end where it is negative: −1 is what comes next.
        label: The token in letters, for printing only.
        ending: see `Outcome`.
    """

    index: int | str
    position: int = -1
    label: str | None = field(default=None, compare=False)
    ending: Ending = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", class_index(self.index))
        if not is_integer(self.position):
            raise TargetError(
                f"the position of a token must be a whole number, not {self.position!r}"
            )

    def _score(self, outputs: Tensor) -> Tensor:
        at = _at(as_positions(outputs), self.position, 1)[:, 0]
        return _logs(at, self.ending)[:, class_column(self.index, at.shape[1])]

    def chance(self, outputs: Tensor, sigmoid: bool) -> Tensor:
        """The token's probability."""
        return _probability(self(outputs), sigmoid)

    def _words(self, labels: Labels) -> str:
        token = class_words(self.index, self.label, labels, "token")
        return token if self.position == -1 else f"{token} at position {self.position}"


@dataclass(frozen=True)
class Sentence(Outcome):
    """The log-probability of a text: the sum of its tokens', each after those before it.

    The network is called with the text (teacher forcing), so that position p predicts token p + 1.

    Args:
        tokens: The tokens' numbers, in order.
        start: The position that predicts the first of them, from 0, or negative from the end. None
            is −len(tokens): the text's last token is what comes after all that the network was
            given. Where it was given the text whole, start = −len(tokens) − 1.
        label: The text, for printing only.
        ending: see `Outcome`.
    """

    tokens: tuple[int, ...]
    start: int | None = None
    label: str | None = field(default=None, compare=False)
    ending: Ending = field(default=None, compare=False, repr=False)

    def __init__(
        self,
        tokens: Sequence[int] | Tensor,
        start: int | None = None,
        label: str | None = None,
        ending: Ending = None,
    ) -> None:
        listed = tokens.flatten().tolist() if isinstance(tokens, Tensor) else tokens
        numbers = tuple(whole_number(each, "a token's number") for each in listed)
        if not numbers:
            raise TargetError("the text has no tokens. Give at least one")
        if start is not None and not is_integer(start):
            raise TargetError(
                f"start must be the position of a token, a whole number, not {start!r}"
            )
        object.__setattr__(self, "tokens", numbers)
        object.__setattr__(self, "start", start)
        object.__setattr__(self, "label", label)
        object.__setattr__(self, "ending", ending)

    def _score(self, outputs: Tensor) -> Tensor:
        rows = as_positions(outputs)
        count = len(self.tokens)
        rows = _at(rows, -count if self.start is None else self.start, count)
        class_column(max(self.tokens), rows.shape[2])
        tokens = torch.tensor(self.tokens, device=rows.device)
        chosen = tokens[None, :, None].expand(len(rows), -1, 1)
        return _logs(rows, self.ending).gather(2, chosen).sum((1, 2))

    def chance(self, outputs: Tensor, sigmoid: bool) -> Tensor:
        """The text's probability."""
        return _probability(self(outputs), sigmoid)

    def _words(self, labels: Labels) -> str:
        if self.label is not None:
            return f"“{self.label}”"
        return ", ".join(class_words(each, None, labels, "token") for each in self.tokens)


def _at(rows: Tensor, start: int, count: int) -> Tensor:
    """`count` positions from `start` on."""
    positions = rows.shape[1]
    first = start + positions if start < 0 else start
    if not 0 <= first <= positions - count:
        raise TargetError(
            f"the text has {count} token{'s' if count > 1 else ''} from position "
            f"{start} on, but the network's output has only {positions} positions"
        )
    return rows[:, first : first + count]


def _logs(rows: Tensor, ending: Ending) -> Tensor:
    """The log-probabilities of the vocabulary, along the last axis."""
    if ending is None:
        return rows.log_softmax(-1)
    return rows.clamp(min=torch.finfo(rows.dtype).tiny).log()


def _probability(score: Tensor, sigmoid: bool) -> Tensor:
    if sigmoid:
        raise TargetError("the probability of a token is a softmax over the vocabulary. Use 'p:'")
    return score.exp()
