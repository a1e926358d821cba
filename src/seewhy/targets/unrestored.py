"""A target that was saved and cannot be made again: it says what it was."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, NoReturn

from torch import Tensor

from seewhy.errors import TargetError
from seewhy.targets.kinds import Labels, Outcome


@dataclass(frozen=True)
class Unrestored(Outcome):
    """What a file says of a target whose class is not known here, or does not take its parts.

    Map, picture and words of the explanation are whole; the target alone cannot be asked again.
    Saved anew it is what it was in the file.

    Args:
        name: Of the class it was saved as: `module:qualified name`, or one of seewhy's kinds.
        words: The target in words.
        why: It cannot be made, and what to do.
        saved: What the file holds of it, JSON.
    """

    name: str
    words: str
    why: str = field(repr=False, compare=False)
    saved: str = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """As it was in the file."""
        saved: dict[str, Any] = json.loads(self.saved)
        return saved

    def chance(self, outputs: Tensor, sigmoid: bool) -> Tensor:  # noqa: ARG002
        """Raises, as calling it does."""
        self._refuse()

    def _score(self, _outputs: Tensor) -> Tensor:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise TargetError(f"the target '{self.words}' was saved as {self.name}: {self.why}")

    def _words(self, _labels: Labels) -> str:
        return self.words
