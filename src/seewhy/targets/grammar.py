"""Parse what a user wrote into a target."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
from torch import Tensor

from seewhy.errors import TargetError
from seewhy.targets.any_of import AnyOf
from seewhy.targets.class_names import classes_with, exact_matches, find_class
from seewhy.targets.kinds import (
    Binary,
    Choice,
    ClassScore,
    Contrast,
    Counterfactual,
    Finer,
    Function,
    Labels,
    Predicted,
    Probability,
    Regression,
    Target,
    is_integer,
)
from seewhy.targets.language import Token
from seewhy.targets.many import PerImage, Several, TopK
from seewhy.targets.regions import Region


def parse_target(spec: Any, labels: Labels = None) -> Choice:
    """Reads a target from what a user gave.

    None is the predicted class; an integer a class; a function of the output `Function`; a tuple
    several targets of every image; a list or a 1-D integer tensor one target for each image. A
    string is one of::

        predicted      the class ranked first        top5             the five ranked first
        281            a class by its index          tabby            a class by its name
        output:N       a value, as it is             positive         one side of a single logit
        p:SPEC         its probability (also probability:SPEC)        (or negative)
        sigmoid:SPEC   its probability alone, where an image has several labels
        A vs B         why A rather than B           against:SPEC     what speaks against it
        finer:SPEC     what sets it apart from the 3 most similar classes (finer5: from 5)
        any:NAME       any of the classes with this word in their names: log Σ exp of their logits,
                       whose probability is the sum of theirs (any:281,282 by their indices)
        281,282        several classes, each for itself
        class:NAME     a class by its name, even where the name is one of the words above

    and where the network gives maps, boxes or tokens::

        A@x,y          a class at a position          A@peak          where its map is highest
        A@x1,y1,x2,y2  a class in a box               A@B             where B is predicted
        box:0          the box with the highest score (box:1 the next, ...)
        token:N        the log-probability of a token at the last position

    `against:` takes all that follows it, `vs` comes next: `p:A vs p:B` contrasts probabilities.

    Args:
        spec: See above; a target is taken as it is, its class names looked up.
        labels: The names of the classes, in order.

    Raises:
        TargetError: What came names no target, or a name fits no class or several.
    """
    if spec is None:
        return Predicted()
    if isinstance(spec, Choice):
        return _look_up_names(spec, labels)
    if isinstance(spec, str):
        return _parse_words(spec.strip(), labels)
    if isinstance(spec, Tensor | np.ndarray):
        spec = spec.tolist()  # a number where it has no axis
        if isinstance(spec, list) and not all(is_integer(index) for index in spec):
            raise TargetError(
                "an array given as target must have one axis of integers: one class index per image"
            )
    if isinstance(spec, tuple):
        return Several(*(parse_target(each, labels) for each in spec))
    if isinstance(spec, list):
        return PerImage(*(parse_target(each, labels) for each in spec))
    if callable(spec):
        name = getattr(spec, "__name__", type(spec).__name__)
        return Function(spec) if name == "<lambda>" else Function(spec, name)
    return ClassScore(spec)


def _parse_words(words: str, labels: Labels) -> Choice:
    head, colon, rest = (part.strip() for part in words.partition(":"))
    prefix, keyword = head.lower() if colon else "", words.lower()
    if prefix == "against":
        return Counterfactual(_parse_one(rest, labels, words))
    sides = re.split(r"\s+vs\.?\s+", words, flags=re.IGNORECASE)
    if prefix == "class" and (len(sides) == 1 or exact_matches(rest, labels or ())):
        return _named(rest, labels)
    if len(sides) == 2:
        return Contrast(*(_parse_one(side, labels, words) for side in sides))
    if len(sides) > 2:
        raise TargetError(f"target {words!r} has more than two sides; write 'A vs B'")
    if prefix == "any":
        return _any(rest, labels)
    if found := _prefixed(prefix, rest, labels, words):
        return found
    if found_word := _keyword(keyword):
        return found_word
    if re.fullmatch("[+-]?[0-9]+", words):
        return ClassScore(int(words))
    if numbers := _numbers(words):
        return Several(*map(ClassScore, numbers))
    if "@" in words and not exact_matches(words, labels or ()):
        return _placed(words, labels)
    return _named(words, labels)


def _prefixed(prefix: str, rest: str, labels: Labels, whole: str) -> Target | None:
    """What a word before a colon makes of the rest; None for a word that means nothing there."""
    if prefix in ("p", "probability", "sigmoid"):
        return Probability(_parse_one(rest, labels, whole), sigmoid=prefix == "sigmoid")
    if finer := re.fullmatch("finer([0-9]*)", prefix):
        return Finer(_parse_one(rest, labels, whole), int(finer[1] or 3))
    numbered: dict[str, Callable[[int], Target]] = {
        "box": Predicted, "token": Token, "output": Regression
    }  # fmt: skip
    if prefix not in numbered:
        return None
    if not re.fullmatch("[0-9]+", rest):
        noun = "output number" if prefix == "output" else "number"
        raise TargetError(f"target {whole!r} has no {noun}; write '{prefix}:0'")
    return numbered[prefix](int(rest))


def _keyword(word: str) -> Choice | None:
    """What a word on its own stands for; None for what is no such word."""
    if word == "predicted":
        return Predicted()
    if word in ("positive", "negative"):
        return Binary(word == "positive")
    top = re.fullmatch("top([0-9]+)", word)
    return TopK(int(top[1])) if top else None


def _any(words: str, labels: Labels) -> Target:
    """Any of the classes that a word or their indices name; the one, where there is only one."""
    if numbers := _numbers(words):
        return AnyOf(numbers)
    classes = classes_with(words, labels or ()) if words else []
    return AnyOf(classes, words) if len(classes) > 1 else _named(words, labels)


def _numbers(words: str) -> list[int]:
    """`281,282` → `[281, 282]`; nothing of any other words."""
    several = re.fullmatch(r"[0-9]+(\s*,\s*[0-9]+)+", words)
    return [int(part) for part in words.split(",")] if several else []


def _placed(words: str, labels: Labels) -> Region:
    """A class at a place: `A@x,y`, `A@x1,y1,x2,y2`, `A@peak`, `A@B`."""
    name, _, place = (part.strip() for part in words.rpartition("@"))
    one = _parse_one(name, labels, words)
    if not isinstance(one, ClassScore):
        raise TargetError(f"target {words!r} has no class before the '@'; write 'CLASS@x,y'")
    if place == "peak":
        return Region(one.index, "peak", one.label)
    if re.fullmatch(r"[-+.,\seE0-9]+", place) and "," in place:
        return Region(one.index, [_number(each, words) for each in place.split(",")], one.label)
    return Region(one.index, _parse_one(place, labels, words), one.label)


def _number(text: str, whole: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise TargetError(f"{text!r} in target {whole!r} is not a number") from None


def _parse_one(words: str, labels: Labels, whole: str) -> Target:
    """A part of `whole` that stands for exactly one target."""
    if isinstance(choice := _parse_words(words.strip(), labels), Target):
        return choice
    raise TargetError(f"{words!r} stands for several targets, but target {whole!r} needs one there")


def _named(name: str, labels: Labels) -> ClassScore:
    index = find_class(name, labels)
    return ClassScore(index, label=cast(Sequence[str], labels)[index])


def _look_up_names(choice: Choice, labels: Labels) -> Choice:
    def look_up(part: Target) -> Target:
        if isinstance(getattr(part, "index", None), str):
            named = _named(cast(Any, part).index, labels)
            return cast(Target, replace(cast(Any, part), index=named.index, label=named.label))
        return part

    if isinstance(choice, Several | PerImage):
        return type(choice)(*(_look_up_names(each, labels) for each in choice.targets))
    return choice.with_parts(look_up) if isinstance(choice, Target) else choice
