"""The kinds of target: each a frozen value that turns outputs into one number an image."""

from __future__ import annotations

import math
import numbers
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, ClassVar, TypeAlias, cast

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from seewhy.errors import TargetError
from seewhy.targets.class_names import short_label
from seewhy.targets.outputs import (
    ONE_NUMBER,
    Ending,
    as_logits,
    checked_outputs,
    nearest_classes,
)
from seewhy.targets.own import is_own, own_to_json

Labels: TypeAlias = Sequence[str] | None


# --- What every target can do -------------------------------------------------------------------


class Choice(ABC):
    """Anything `resolve` accepts: a target, or what becomes one or several for each image."""

    def describe(self, labels: Labels = None) -> str:
        """The target in words, for titles: `tabby`, `tabby rather than lynx`, `class 281`."""
        return self._words(labels)

    def to_json(self) -> dict[str, Any]:
        """Plain values that `json.dumps` takes; `target_from_json` reads them back."""
        if is_own(type(self)):
            return own_to_json(self)
        saved = {name: _to_json(value) for name, value in self._fields().items()}
        return {"kind": type(self).__name__, **saved}

    def parts(self) -> Iterator[Choice]:
        """The choice itself and every choice in it, at any depth."""
        yield self
        for value in self._fields().values():
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, Choice):
                    yield from part.parts()

    def __str__(self) -> str:
        return self.describe()

    @abstractmethod
    def _words(self, labels: Labels) -> str:
        """What `describe` returns."""

    def _fields(self) -> dict[str, Any]:
        own: Any = self
        if not is_dataclass(own):  # a user's class may be none
            return {}
        return {entry.name: getattr(self, entry.name) for entry in fields(own)}


class Target(Choice):
    """Outputs (batch, ...) → scores (batch,), in float32 at least."""

    __array_ufunc__ = None  # leaves `numpy number * target` to __rmul__
    bounded: ClassVar[bool] = False  # whether its scores lie between −1 and 1 as they are

    def __call__(self, outputs: Tensor) -> Tensor:
        """Scores (batch,), differentiable.

        Raises:
            TargetError: The outputs do not have what the target asks for.
        """
        return self._score(outputs)

    @abstractmethod
    def _score(self, outputs: Tensor) -> Tensor:
        """What calling the target returns."""

    def with_parts(self, change: Callable[[Target], Target]) -> Target:
        """The target with every target in it, innermost first, as `change` makes it."""
        parts: dict[str, Any] = {}
        for name, value in self._fields().items():
            if isinstance(value, Target):
                parts[name] = value.with_parts(change)
            elif isinstance(value, tuple) and all(isinstance(part, Target) for part in value):
                parts[name] = tuple(part.with_parts(change) for part in value)
        return change(cast(Target, replace(cast(Any, self), **parts)) if parts else self)

    def __add__(self, other: Target | float) -> Target:
        return Sum(self, other) if _is_operand(other) else NotImplemented

    def __radd__(self, other: Target | float) -> Target:
        return Sum(other, self) if _is_operand(other) else NotImplemented

    def __sub__(self, other: Target | float) -> Target:
        return Sum(self, -1.0 * other) if _is_operand(other) else NotImplemented

    def __rsub__(self, other: Target | float) -> Target:
        return Sum(other, -self) if _is_operand(other) else NotImplemented

    def __mul__(self, other: Target | float) -> Target:
        return Product(self, other) if _is_operand(other) else NotImplemented

    def __rmul__(self, other: Target | float) -> Target:
        return Product(other, self) if _is_operand(other) else NotImplemented

    def __neg__(self) -> Target:
        return Product(-1.0, self)


class Outcome(Target):
    """A target about one class, side, box or token: something that has a probability too.

    Attributes:
        ending: what the network does to its logits last; `resolve` fills it in. Where that is a
            softmax or a sigmoid the outputs are probabilities, and are not turned into some again.
    """

    ending: Ending = None

    @abstractmethod
    def chance(self, outputs: Tensor, sigmoid: bool) -> Tensor:
        """Its probability (batch,): of a class the softmax, or the sigmoid of its own logit."""

    def behind(self, ending: Ending) -> Outcome:
        """The same of a network that ends so."""
        own = any(entry.name == "ending" for entry in fields(cast(Any, self)))
        return replace(cast(Any, self), ending=ending) if own else self

    def _fields(self) -> dict[str, Any]:
        found = super()._fields()
        return {k: v for k, v in found.items() if k != "ending" or v is not None}


# --- One class, one side, one value -------------------------------------------------------------


@dataclass(frozen=True)
class ClassScore(Outcome):
    """The logit of one class.

    Args:
        index: Number of the class, from 0; or its name, which `resolve` looks up in the labels.
        label: The class's label, for printing only; `resolve` fills it in.
        ending: see `Outcome`.
    """

    index: int | str
    label: str | None = field(default=None, compare=False)
    ending: Ending = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", class_index(self.index))

    def _score(self, outputs: Tensor) -> Tensor:
        logits = as_logits(outputs)
        return logits[:, self.column(logits.shape[1])]

    def chance(self, outputs: Tensor, sigmoid: bool) -> Tensor:
        """The softmax probability of the class, or the sigmoid of its logit."""
        if self.ending is not None:
            return self(outputs)
        logits = as_logits(outputs)
        return class_probability(logits, self.column(logits.shape[1]), sigmoid)

    def column(self, classes: int) -> int:
        """The index, once it is sure that a network with this many classes has it."""
        return class_column(self.index, classes)

    def _words(self, labels: Labels) -> str:
        return class_words(self.index, self.label, labels)


@dataclass(frozen=True)
class Binary(Outcome):
    """One side of a single logit z: z speaks for the positive side, −z for the negative.

    Where the network gives the probability p of the positive side, the sides' scores are p, 1 − p.

    Args:
        positive: Which side.
        label: The side's label, for printing only; `resolve` fills it in where there are two.
        ending: see `Outcome`.
    """

    positive: bool = True
    label: str | None = field(default=None, compare=False)
    ending: Ending = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.positive, bool):
            raise TargetError(
                f"Binary takes True (positive) or False (negative), not {self.positive!r}"
            )

    def _score(self, outputs: Tensor) -> Tensor:
        logits = as_logits(outputs)
        if logits.shape[1] != 1:
            raise TargetError(
                "a positive or negative side needs one logit per image, but the network "
                f"returns {logits.shape[1]}. Name the class instead: ClassScore(1), or "
                "target='1' or target='class:NAME'"
            )
        if self.positive:
            return logits[:, 0]
        return -logits[:, 0] if self.ending is None else 1 - logits[:, 0]

    def chance(self, outputs: Tensor, sigmoid: bool) -> Tensor:  # noqa: ARG002
        """The sigmoid of the side's logit."""
        if self.ending is not None:
            return self(outputs)
        return _likely(self(wide_logits(as_logits(outputs))), outputs)

    def _words(self, labels: Labels) -> str:
        if labels is not None and len(labels) == 2:
            return short_label(labels[self.positive])
        if self.label is not None:
            return short_label(self.label)
        return "positive" if self.positive else "negative"


@dataclass(frozen=True)
class Regression(Target):
    """One output value as it is, for networks that predict quantities."""

    index: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", whole_number(self.index, "an output's number"))

    def _score(self, outputs: Tensor) -> Tensor:
        values = as_logits(outputs)
        if self.index >= values.shape[1]:
            raise TargetError(
                f"output {self.index} is out of range: the network returns "
                f"{values.shape[1]} numbers per image, and the last is output "
                f"{values.shape[1] - 1}"
            )
        return values[:, self.index]

    def _words(self, _labels: Labels) -> str:
        return f"output {self.index}"


@dataclass(frozen=True)
class Predicted(Outcome):
    """What the network ranks first (or at `rank`, from 0) for each image; see `resolve`.

    A class; of a segmentation the class that covers most of the picture; of a detector's boxes the
    one with the highest score.
    """

    rank: int = 0
    ending: Ending = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rank", whole_number(self.rank, "a rank"))

    def _score(self, _outputs: Tensor) -> Tensor:
        raise TargetError("the predicted class differs between images; call resolve() first")

    def chance(self, outputs: Tensor, sigmoid: bool) -> Tensor:  # noqa: ARG002
        """None before it is settled."""
        return self(outputs)

    def _words(self, _labels: Labels) -> str:
        return "predicted class" if self.rank == 0 else f"class ranked {self.rank + 1}"


@dataclass(frozen=True)
class Probability(Target):
    """The probability of a class (softmax), a binary side (sigmoid), a region's class, a token.

    Computed from the margin m = z_c − logsumexp of the other logits as exp(logsigmoid(m)), whose
    gradient p (1 − p) takes 1 − p from the margin, not from p: at p = 1 − 1e-10 the gradient of a
    float32 softmax is rounding noise, this one is right. A logit of −inf is a class that is ruled
    out; one of +inf is an overflow and an error.

    Args:
        of: A class (index, name or `ClassScore`), another `Outcome`, or `Predicted()`.
        sigmoid: Of the class's own logit, for networks that give several labels an image.
    """

    of: Target
    sigmoid: bool = False

    def __init__(self, of: Target | int | str, sigmoid: bool = False) -> None:
        of = _as_target(of)
        if not isinstance(of, Outcome):
            raise TargetError(
                "only a class, a binary side, a region, a box, a token or Predicted() has "
                f"a probability, not {of!r}"
            )
        object.__setattr__(self, "of", of)
        object.__setattr__(self, "sigmoid", sigmoid)

    def _score(self, outputs: Tensor) -> Tensor:
        return cast(Outcome, self.of).chance(outputs, self.sigmoid)

    def _words(self, labels: Labels) -> str:
        return f"{'sigmoid' if self.sigmoid else 'probability'} of {self.of.describe(labels)}"


# --- Made of other targets ----------------------------------------------------------------------


@dataclass(frozen=True)
class Contrast(Target):
    """Why `a` rather than `b`: the score of a minus that of b."""

    a: Target
    b: Target

    def __init__(self, a: Target | int | str, b: Target | int | str) -> None:
        object.__setattr__(self, "a", _as_target(a))
        object.__setattr__(self, "b", _as_target(b))

    def _score(self, outputs: Tensor) -> Tensor:
        return self.a(outputs) - self.b(outputs)

    def _words(self, labels: Labels) -> str:
        return f"{_bracketed(self.a, labels)} rather than {_bracketed(self.b, labels)}"


@dataclass(frozen=True)
class Finer(Target):
    """A class against those it is most like: y_c − gamma × the mean of theirs (Zhang 2025).

    What the similar classes share with it cancels; what sets it apart is left. The paper takes as
    similar those whose weights in the classifier have the highest cosine; its authors' code, and
    this, those whose logits for the image are nearest to y_c: they need no linear head, and are
    the classes that the network weighs against each other in this very image. The mean is taken
    before the formula of the map. pytorch-grad-cam weighs the similar classes by their softmax
    probabilities, and lets its gradient run through these too.

    Args:
        of: A class (index, name or `ClassScore`) or `Predicted()`; `Probability` of one.
        references: The similar classes; or how many are taken, at most: `resolve` finds them.
        gamma: How much of their mean is taken away; with 0 it is the class alone.
    """

    of: Target
    references: int | tuple[Target, ...] = 3
    gamma: float = 0.6

    def __init__(
        self,
        of: Target | int | str,
        references: int | Sequence[Target | int | str] = 3,
        gamma: float = 0.6,
    ) -> None:
        if isinstance(references, str):
            raise TargetError(
                "references must be the number of similar classes or a list of classes, "
                f"not {references!r}"
            )
        if isinstance(references, Sequence):
            references = tuple(map(_as_target, references))
        else:
            references = whole_number(references, "the number of similar classes")
        if not references:
            raise TargetError(
                "a class must be compared with at least one similar class, but none was given"
            )
        if not _is_number(gamma) or not 0 <= gamma < math.inf:
            raise TargetError(
                f"gamma must be a number of at least 0 (0.6 in the paper), not {gamma!r}"
            )
        object.__setattr__(self, "of", _as_target(of))
        object.__setattr__(self, "references", references)
        object.__setattr__(self, "gamma", float(gamma))
        listed = references if isinstance(references, tuple) else ()
        for part in (self.of, *listed):
            inner = part.of if isinstance(part, Probability) else part
            if isinstance(inner, Binary):
                raise TargetError(
                    "a single logit has only one other side, so 'finer:' says no more than "
                    "'positive' or 'negative'. Use one of those"
                )
            if not isinstance(inner, ClassScore | Predicted):
                raise TargetError(f"finer compares a class with other classes, not {part!r}")
        if self.of in listed or len(set(listed)) < len(listed):
            raise TargetError(
                "the similar classes must differ from the class of the target and from each other"
            )

    def settled(self, outputs: Tensor, labels: Labels = None) -> Finer:
        """With its similar classes found in one image's outputs (1, classes)."""
        if isinstance(self.references, tuple):
            return self
        of = self.of.of if isinstance(self.of, Probability) else self.of
        of = cast(ClassScore, of)
        index = of.column(as_logits(outputs).shape[1])
        nearest = tuple(
            ClassScore(each, labels[each] if labels else None, of.ending)
            for each in nearest_classes(outputs, index, self.references, of.ending)
        )
        if isinstance(self.of, Probability):
            return replace(self, references=tuple(map(Probability, nearest)))
        return replace(self, references=nearest)

    def of_probabilities(self) -> Finer:
        """The same of the classes' probabilities instead of their logits."""
        if not isinstance(self.references, tuple):
            raise TargetError(_NO_REFERENCES)
        parts = [
            part if isinstance(part, Probability) else Probability(part)
            for part in (self.of, *self.references)
        ]
        return Finer(parts[0], parts[1:], self.gamma)

    def _score(self, outputs: Tensor) -> Tensor:
        if not isinstance(self.references, tuple):
            raise TargetError(_NO_REFERENCES)
        similar = torch.stack([each(outputs) for each in self.references])
        return self.of(outputs) - self.gamma * similar.mean(0)

    def _words(self, labels: Labels) -> str:
        if isinstance(self.references, int):
            one = self.references == 1
            similar = "nearest class" if one else f"{self.references} nearest classes"
        else:
            similar = ", ".join(each.describe(labels) for each in self.references)
        return f"{self.of.describe(labels)} − {self.gamma:g} × mean({similar})"


_NO_REFERENCES = "the most similar classes differ between images; call resolve() first"


@dataclass(frozen=True)
class Counterfactual(Target):
    """What speaks against `of`: its negated score (Selvaraju 2017, section 7)."""

    of: Target

    def __init__(self, of: Target | int | str) -> None:
        object.__setattr__(self, "of", _as_target(of))

    def _score(self, outputs: Tensor) -> Tensor:
        return -self.of(outputs)

    def _words(self, labels: Labels) -> str:
        return f"against {_bracketed(self.of, labels)}"


@dataclass(frozen=True)
class Sum(Target):
    """`a + b` of targets or numbers; the operators make it."""

    a: Target | float
    b: Target | float

    def __post_init__(self) -> None:
        _settle_operands(self)

    def _score(self, outputs: Tensor) -> Tensor:
        return cast(Tensor, _value(self.a, outputs) + _value(self.b, outputs))

    def _words(self, labels: Labels) -> str:
        a = self.a.describe(labels) if isinstance(self.a, Sum) else _bracketed(self.a, labels)
        if isinstance(self.b, float) and self.b < 0:
            return f"{a} − {-self.b:g}"
        if isinstance(self.b, Product) and self.b.a == -1.0:
            return f"{a} − {_bracketed(self.b.b, labels)}"
        return f"{a} + {_bracketed(self.b, labels)}"


@dataclass(frozen=True)
class Product(Target):
    """`a * b` of targets or numbers; the operators make it."""

    a: Target | float
    b: Target | float

    def __post_init__(self) -> None:
        _settle_operands(self)

    def _score(self, outputs: Tensor) -> Tensor:
        return cast(Tensor, _value(self.a, outputs) * _value(self.b, outputs))

    def _words(self, labels: Labels) -> str:
        if self.a == -1.0:
            return f"−{_bracketed(self.b, labels)}"
        return f"{_bracketed(self.a, labels)} × {_bracketed(self.b, labels)}"


@dataclass(frozen=True)
class Function(Target):
    """Any function of the outputs, of whatever shape, to one number an image.

    Args:
        function: Takes the outputs (batch, …), returns scores (batch,) that autograd can follow
            back to them. None after loading from JSON, which keeps the name only.
        name: What it is called in titles.
    """

    function: Callable[[Tensor], Tensor] | None
    name: str = "function of the output"

    def _score(self, outputs: Tensor) -> Tensor:
        if self.function is None:
            raise TargetError(
                f"the function {self.name!r} was loaded from a file, which stores only its "
                "name. Give the function again"
            )
        outputs = checked_outputs(outputs)
        scores = self.function(outputs)
        if not isinstance(scores, Tensor) or scores.shape != outputs.shape[:1]:
            came = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise TargetError(
                f"target function {self.name!r} returned {came}, but it must return one "
                f"number per image, a tensor of shape ({outputs.shape[0]},)"
            )
        unfollowed = outputs.requires_grad and torch.is_grad_enabled() and not scores.requires_grad
        if unfollowed or not scores.is_floating_point():
            raise TargetError(
                f"target function {self.name!r} returned numbers without a gradient to the "
                "output. Use differentiable torch operations (no argmax, detach, item or "
                "numpy)"
            )
        return checked_outputs(scores)

    def _words(self, _labels: Labels) -> str:
        return self.name

    def _fields(self) -> dict[str, Any]:
        return {"name": self.name}


_OF_SEVERAL = (Contrast, Finer, Counterfactual, Sum, Product)


# --- What a target is about ---------------------------------------------------------------------


def probability_of(target: Target, output_row: Tensor) -> float | None:
    """The probability of the class or side that a target is about, of one image's outputs.

    Args:
        target: A concrete target.
        output_row: Outputs of one image, (classes,), one number, or what else the target reads.

    Returns:
        The softmax (for a side, sigmoid) probability in float64; None where the target is not
        about one class: contrasts, values, sums, products, functions.
    """
    outputs = output_row.detach().cpu().double()[None]
    if isinstance(target, Probability):
        return float(target(outputs))
    if isinstance(target, Counterfactual):
        return probability_of(target.of, output_row)
    return float(target.chance(outputs, False)) if isinstance(target, Outcome) else None


def of_probability(target: Target) -> Target | None:
    """The same question asked of probabilities; None where it has none.

    For methods that weigh versions of a picture by how sure the network is of the target. A box's
    score and a cosine are weights as they are.
    """
    if target.bounded or isinstance(target, Probability):
        return target
    if isinstance(target, Finer):
        return target.of_probabilities()
    return Probability(target) if isinstance(target, Outcome) else None


def class_probability(logits: Tensor, index: int, sigmoid: bool) -> Tensor:
    """The probability of a class: (batch, classes, ...) → (batch, ...)."""
    wide = wide_logits(logits)
    own = wide[:, index, None]
    if not sigmoid and wide.shape[1] > 1:
        others = torch.cat((wide[:, :index], wide[:, index + 1 :]), dim=1)
        return _likely(-(others - own).logsumexp(dim=1), logits)
    return _likely(own[:, 0], logits)


def wide_logits(logits: Tensor) -> Tensor:
    """Logits in float64, without −inf, whose gradients would be NaN."""
    if logits.isposinf().any():
        raise TargetError(
            "the network's output contains +inf, so it has no probabilities. Run the "
            "network in float32 and check the input"
        )
    # Double keeps the margin's rounding out of the exponent; Metal has no double.
    wide = logits if logits.device.type == "mps" else logits.double()
    return wide.clamp(min=torch.finfo(torch.float32).min / 4)


def _likely(margin: Tensor, outputs: Tensor) -> Tensor:
    return logsigmoid(margin).exp().to(checked_outputs(outputs).dtype)


# --- Checks and parts ---------------------------------------------------------------------------


def _to_json(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_to_json(each) for each in value]
    return value.to_json() if hasattr(value, "to_json") else value


def class_index(index: object) -> int | str:
    """The number of a class, from 0, or its name, which `resolve` looks up in the labels."""
    return index if isinstance(index, str) else whole_number(index, "a class index")


def class_column(index: int | str, classes: int, *, one: bool = False) -> int:
    """The index, once it is sure that a network with this many classes has it.

    Args:
        index, classes: see above.
        one: whether a single class is one too, rather than a number of unknown meaning.
    """
    if isinstance(index, str):
        raise TargetError(
            f"class {index!r} is still a name. Resolve the target with labels first, or "
            "give the index of the class"
        )
    if classes == 1 and not one:
        raise TargetError(ONE_NUMBER)
    if index >= classes:
        raise TargetError(
            f"class {index} is out of range: the network has {classes} classes. Give an "
            f"index from 0 to {classes - 1}"
        )
    return index


def class_words(index: int | str, label: str | None, labels: Labels, noun: str = "class") -> str:
    """What a class is called: by the labels, else by its own label, else by its number."""
    if isinstance(index, str):
        return index
    if labels is not None and index < len(labels):
        return short_label(labels[index])
    return short_label(label) if label is not None else f"{noun} {index}"


def is_integer(value: object) -> bool:
    """Whether it is a whole number of any library, and not True or False."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def whole_number(value: object, what: str) -> int:
    """The number, from 0 up; `what` names it in the error."""
    if not is_integer(value):
        raise TargetError(f"{what} must be a whole number of at least 0, not {value!r}")
    number = operator.index(cast(int, value))
    if number < 0:
        raise TargetError(f"{what} must be at least 0, not {number}")
    return number


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _is_operand(value: object) -> bool:
    return isinstance(value, Target) or _is_number(value)


def _settle_operands(combined: Sum | Product) -> None:
    """Numbers become floats; at least one of the two is a target, and no number is infinite."""
    for name in ("a", "b"):
        value = getattr(combined, name)
        if not _is_operand(value):
            raise TargetError(
                f"a target can be combined only with targets and numbers, not with {value!r}"
            )
        if not isinstance(value, Target):
            object.__setattr__(combined, name, float(value))
            if not math.isfinite(value):
                raise TargetError(
                    f"a target can be combined only with finite numbers, not with {value!r}"
                )
    if isinstance(combined.a, float) and isinstance(combined.b, float):
        raise TargetError(
            f"{combined.a:g} and {combined.b:g} are both numbers, but one of them must be a target"
        )


def _value(part: Target | float, outputs: Tensor) -> Tensor | float:
    return part(outputs) if isinstance(part, Target) else part


def _bracketed(part: Target | float, labels: Labels) -> str:
    if isinstance(part, float):
        return f"{part:g}"
    words = part.describe(labels)
    return f"({words})" if isinstance(part, _OF_SEVERAL) else words


def _as_target(value: Target | int | str) -> Target:
    """A class index or name where a target is wanted is that class."""
    if isinstance(value, Target):
        return value
    if isinstance(value, Choice):
        raise TargetError(f"{value!r} stands for several targets, but one is needed here")
    return ClassScore(value)
