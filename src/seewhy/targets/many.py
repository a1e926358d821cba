"""More than one target: the top k, several of every image, one for each image of a batch."""

from __future__ import annotations

from dataclasses import dataclass

from seewhy.errors import TargetError
from seewhy.targets.kinds import Choice, ClassScore, Labels, whole_number


@dataclass(frozen=True)
class TopK(Choice):
    """The k classes the network ranks highest for each image, in that order."""

    k: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", whole_number(self.k, "the number of top classes"))
        if self.k == 0:
            raise TargetError("top0 asks for no class. Use top1 or more")

    def _words(self, _labels: Labels) -> str:
        return f"top {self.k} classes"


@dataclass(frozen=True, init=False)
class Several(Choice):
    """Several targets of every image: `Several(281, "lynx", Predicted(), TopK(3))`."""

    targets: tuple[Choice, ...]

    def __init__(self, *targets: Choice | int | str) -> None:
        if not targets:
            raise TargetError("Several needs at least one target, but none was given")
        object.__setattr__(self, "targets", tuple(map(_one_image, targets)))

    def __repr__(self) -> str:
        return f"Several({', '.join(map(repr, self.targets))})"

    def _words(self, labels: Labels) -> str:
        return "; ".join(target.describe(labels) for target in self.targets)


@dataclass(frozen=True, init=False)
class PerImage(Choice):
    """One target for each image of a batch, in order: what a list given as target becomes."""

    targets: tuple[Choice, ...]

    def __init__(self, *targets: Choice | int | str) -> None:
        object.__setattr__(self, "targets", tuple(map(_one_image, targets)))

    def __repr__(self) -> str:
        return f"PerImage({', '.join(map(repr, self.targets))})"

    def _words(self, labels: Labels) -> str:
        return "image by image: " + "; ".join(each.describe(labels) for each in self.targets)


def _one_image(value: Choice | int | str) -> Choice:
    """What can stand for one image; a class index or name is that class."""
    if isinstance(value, PerImage):
        raise TargetError(
            "a list of targets is inside a tuple or another list. A list holds one "
            "target for each image of the batch, and each of these may be a tuple of "
            "several"
        )
    return value if isinstance(value, Choice) else ClassScore(value)
