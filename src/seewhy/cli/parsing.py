"""From what was typed to what the package takes. Nothing here imports torch before it is needed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seewhy.cli.completion import FILE_KINDS
from seewhy.errors import (
    ImageError,
    MethodError,
    MetricError,
    ModelError,
    SeewhyError,
    TargetError,
)
from seewhy.methods import check_known as check_method
from seewhy.metrics import check_known as check_metric
from seewhy.option import Option
from seewhy.saving.endings import RESULTS


def split(values: Sequence[str] | None) -> list[str]:
    """Repeated values, each of which may hold several with commas; each once."""
    parts = (part.strip() for value in values or () for part in value.split(","))
    return list(dict.fromkeys(part for part in parts if part))


def known_methods(values: Sequence[str] | None) -> list[str]:
    """The methods asked for, found out before the model is loaded.

    Raises:
        MethodError: one is not known.
    """
    names = split(values) or ["grad-cam"]
    for name in names:
        check_method(name)
    return names


def known_metrics(values: Sequence[str] | None) -> list[str]:
    """The metrics asked for, found out before the model is loaded.

    Raises:
        MetricError: one is not known.
    """
    names = split(values)
    for name in names:
        check_metric(name)
    return names


def method_options(values: Sequence[str] | None, methods: Sequence[str]) -> dict[str, Any]:
    """`samples=20,window=32:16` → `{"samples": 20, "window": (32, 16)}`.

    Raises:
        MethodError: none of the methods has such an option, or its values are of another kind.
    """
    if not values:
        return {}
    from seewhy.methods import METHODS

    names = ", ".join(methods)
    known = {key: option for name in methods for key, option in METHODS[name].options.items()}
    options = {}
    for setting in split(values):
        key, text = _key_and_text(setting, MethodError, "NAME=VALUE, such as samples=20")
        if key not in known:
            raise MethodError(
                f"{names} has no option '{key}'. The options are {', '.join(known)}."
                if known
                else f"{names} takes no options. Remove '{key}'."
            )
        options[key] = _read(known[key], text, setting, MethodError)
    return options


def metric_options(values: Sequence[str], metrics: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`road.noise=0.1,road.shares=0.1:0.5` → `{"road": {"noise": 0.1, "shares": (0.1, 0.5)}}`.

    Raises:
        MetricError: none of the metrics has such an option, or its values are of another kind.
    """
    if not values:
        return {}
    from seewhy.metrics import METRICS

    options: dict[str, dict[str, Any]] = {}
    for setting in values:
        form = "METRIC.NAME=VALUE, such as deletion.step=448"
        full, text = _key_and_text(setting, MetricError, form)
        metric, _, key = full.partition(".")
        if not (metric and key):
            raise _unreadable(setting, MetricError, form)
        if metric not in metrics:
            raise MetricError(
                f"--set {setting!r}: '{metric}' is not measured. The metrics are "
                f"{', '.join(metrics)}."
            )
        known = METRICS[metric].options
        if key not in known:
            raise MetricError(
                f"{metric} has no option '{key}'. The options are {', '.join(known)}."
            )
        value = _read(Option(key, known[key]), text, setting, MetricError)
        options.setdefault(metric, {})[key] = value
    return options


def _key_and_text(setting: str, error: type[SeewhyError], form: str) -> tuple[str, str]:
    key, equals, text = (part.strip() for part in setting.partition("="))
    if not (key and equals and text):
        raise _unreadable(setting, error, form)
    return key, text


def _unreadable(setting: str, error: type[SeewhyError], form: str) -> SeewhyError:
    return error(f"--set {setting!r} cannot be read. Write {form}.")


def _read(option: Option, text: str, setting: str, error: type[SeewhyError]) -> Any:
    try:
        return option.read(text)
    except ValueError as wrong:
        raise error(f"--set {setting!r}: {wrong}") from None


def file_kinds(text: str) -> list[str]:
    """`png,npz` → the endings of the files to write.

    Raises:
        ImageError: explanations are not saved as one of them.
    """
    kinds = split([text.lower()])
    strange = [kind for kind in kinds if kind not in FILE_KINDS]
    if strange or not kinds:
        raise ImageError(
            f"--save-as {text!r} is not supported. Choose from {', '.join(FILE_KINDS)}."
        )
    return kinds


def several(values: Sequence[str] | None) -> Any:
    """Nothing, the one value, or a tuple of them: as the package takes targets."""
    return None if not values else values[0] if len(values) == 1 else tuple(values)


def pixels(text: str | None, option: str) -> tuple[int, int] | int | None:
    """`224` or `224x320` → pixels (height, width).

    Raises:
        ModelError: it is neither; the message names the option.
    """
    if text is None:
        return None
    sizes = re.fullmatch(r"(\d+)(?:\s*[x×,]\s*(\d+))?", text.strip())
    if sizes is None:
        raise ModelError(
            f"{option} {text!r} is not a size. Write 224, or height x width such as 224x320."
        )
    return int(sizes[1]) if sizes[2] is None else (int(sizes[1]), int(sizes[2]))


def numbers(text: str | None, option: str) -> tuple[float, ...] | None:
    """`0.5,0.5,0.5` → a number for each channel."""
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ModelError(
            f"{option} {text!r} is not a list of numbers. Write one number per channel, such as "
            "0.5,0.5,0.5."
        ) from None


def output_name(name: str | None) -> str | None:
    """The name of a model output, as it was typed.

    Raises:
        TargetError: it is the name of a file, which belongs to another option.
    """
    if name is not None and Path(name).suffix.lower() in RESULTS:
        raise TargetError(
            f"--output '{name}' looks like a file name, but --output names an output of the model. "
            f"For the file use --out {name}."
        )
    return name


def check_colormap(name: str | None) -> None:
    """Find out before the model runs.

    Raises:
        ImageError: matplotlib has no such colour map.
    """
    if name is not None:
        import numpy as np

        from seewhy.render.colormap import colorize

        colorize(np.zeros(1), name)
