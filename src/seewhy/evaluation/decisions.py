"""What the model decided: how often it is right, what it confuses, which pictures are wrong."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from seewhy.metrics.intervals import proportion


@dataclass(frozen=True)
class Confused:
    """How many pictures of a label the model calls something.

    Attributes:
        label: the data's own; of several labels of a picture the one that the model is right
            about, or else the likeliest.
        label_name: the label, with the name of its one class where that is another word.
        predicted: the same of the label that the predicted class belongs to, or else the class's
            own name.
        count: how many pictures.
        right: whether the predicted class is one of the label's.
    """

    label: str
    label_name: str
    predicted: str
    count: int
    right: bool


@dataclass(frozen=True)
class Wrong:
    """A picture that the model gets wrong.

    Attributes:
        record: its id.
        labels: the data's own, all of them.
        label: the one that counts as the true one, see `Confused`.
        true, true_name, true_probability: its class, and the model's probability of it.
        predicted, predicted_name, probability: the predicted class, and its probability.
        used: whether the picture's maps are in the evaluation's figures.
        pictures: `predicted` and `true`: the maps of both classes, drawn over the picture; empty
            where they were not drawn.
    """

    record: str
    labels: tuple[str, ...]
    label: str
    true: int
    true_name: str
    true_probability: float | None
    predicted: int
    predicted_name: str
    probability: float | None
    used: bool
    pictures: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Decisions:
    """The model's first class for each picture that has a label with a class.

    Attributes:
        count: of these pictures.
        right: how many of them are right: the class is one of a label's.
        low, high: the 95 % interval of the accuracy, `right / count` (Clopper-Pearson).
        confusion: what was called what; right ones too, the most frequent first.
        wrong: every picture that is wrong, the surest error first.
        method: whose maps are drawn; None where none are.
    """

    count: int
    right: int
    low: float
    high: float
    confusion: tuple[Confused, ...]
    wrong: tuple[Wrong, ...]
    method: str | None = None

    @property
    def accuracy(self) -> float:
        """The share that is right; NaN of no picture."""
        return self.right / self.count if self.count else float("nan")

    def to_json(self) -> dict[str, Any]:
        """As evaluation.json has it."""
        return {"accuracy": self.accuracy, **dataclasses.asdict(self)}

    def with_pictures(self, pictures: Mapping[str, Mapping[str, str]], method: str) -> Decisions:
        """The same with the maps of some of the wrong pictures, by their ids."""
        wrong = tuple(
            dataclasses.replace(one, pictures=pictures.get(one.record, {})) for one in self.wrong
        )
        return dataclasses.replace(self, wrong=wrong, method=method if pictures else None)


def decisions_of(
    status: Mapping[str, Mapping[str, Any]],
    classes: Mapping[str, Sequence[int]],
    names: Sequence[str] | None,
) -> Decisions:
    """Summarise the decisions on all pictures.

    Args:
        status: by record, as `PictureWork` has it.
        classes: of each label the model's classes.
        names: of the model's classes.
    """
    called = {label: _label_name(label, own, names) for label, own in classes.items()}
    label_of: dict[int, str] = {}
    for label, own in classes.items():
        label_of |= {index: called[label] for index in own if index not in label_of}
    known = {record: one for record, one in status.items() if one["truth"]}
    counts: Counter[tuple[str, str, bool]] = Counter()
    wrong = []
    for record, one in known.items():
        label, predicted = _true_label(one, classes), one["predicted"]
        name = (
            called[label] if one["right"] else label_of.get(predicted, class_name(predicted, names))
        )
        counts[label, name, one["right"]] += 1
        if not one["right"]:
            true = one["truth"][label]
            wrong.append(
                Wrong(
                    record, tuple(one["truth"]), label,
                    true["class"], class_name(true["class"], names), true["probability"],
                    predicted, class_name(predicted, names), one["probability"],
                    one["status"] == "used",
                )
            )  # fmt: skip
    right = len(known) - len(wrong)
    low, high = proportion(right, len(known)) if known else (float("nan"), float("nan"))
    return Decisions(
        len(known),
        right,
        low,
        high,
        tuple(
            Confused(label, called[label], name, n, ok)
            for (label, name, ok), n in counts.most_common()
        ),
        tuple(sorted(wrong, key=lambda one: -(one.probability or 0))),
    )


def class_name(index: int, names: Sequence[str] | None) -> str:
    """What the model's class is called."""
    return names[index] if names is not None and index < len(names) else f"class {index}"


def _label_name(label: str, own: Sequence[int], names: Sequence[str] | None) -> str:
    if names is None or len(own) != 1:
        return label
    name = class_name(own[0], names)
    synonyms = [one.strip().casefold() for one in name.split(",")]
    return label if label.casefold() in (name.casefold(), *synonyms) else f"{label} ({name})"


def _true_label(one: Mapping[str, Any], classes: Mapping[str, Sequence[int]]) -> str:
    truth: Mapping[str, Mapping[str, Any]] = one["truth"]
    if one["right"]:
        return next(label for label in truth if one["predicted"] in classes[label])
    return max(truth, key=lambda label: truth[label]["probability"] or 0)
