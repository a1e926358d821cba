"""Models from the user's own code: `package.module:factory`."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from seewhy.errors import ModelError
from seewhy.models.zoo import RANDOM_SEED, nearest, seeded

_SPEC = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def is_factory(spec: str) -> bool:
    """Whether `spec` has the form `package.module:factory`."""
    return _SPEC.fullmatch(spec) is not None


@contextmanager
def working_folder_importable() -> Iterator[None]:
    """Modules in the working folder can be imported, after all that are installed.

    `python script.py` and `python -m` allow it; an installed program such as `seewhy` does not.
    """
    folder = str(Path.cwd())
    sys.path.append(folder)
    try:
        yield
    finally:
        # The last one, which is ours, even if the folder was there before.
        for index in reversed(range(len(sys.path))):
            if sys.path[index] == folder:
                del sys.path[index]
                break


def call_factory(spec: str, num_classes: int | None = None) -> nn.Module:
    """The model that `package.module:factory` makes; random weights are the same every time.

    Args:
        spec: the module's dotted name, a colon, the name of a function or class in it.
        num_classes: passed to the factory as `num_classes=`; without it, it gets no argument.

    Raises:
        ModelError: it cannot be imported or called, or makes no `nn.Module`.
    """
    module_name, _, attribute = spec.partition(":")
    # Importing may draw random numbers too.
    with working_folder_importable(), seeded():
        try:
            value: object = importlib.import_module(module_name)
        except Exception as error:  # importing runs the user's code
            raise ModelError(
                f"{module_name} of {spec!r} cannot be imported ({_reason(error)}). Install "
                "it, or run the command in its folder"
            ) from error
        for name in attribute.split("."):
            if not hasattr(value, name):
                public = [known for known in dir(value) if not known.startswith("_")]
                raise ModelError(
                    f"{module_name} has no {attribute!r}{nearest(name, public) or ':'} name a "
                    "function or class in it that makes the model"
                )
            value = getattr(value, name)
        if isinstance(value, nn.Module):
            # Loading puts a model in eval mode and on a device, which is not ours to do to this.
            raise ModelError(
                f"{spec!r} is a model, but a function that returns a model is needed. Name "
                "such a function, or pass the model to seewhy from Python"
            )
        if not callable(value):
            raise ModelError(
                f"{spec!r} is a {type(value).__name__}, which cannot be called. Name a "
                "function without arguments that returns the model"
            )
        settings = {}
        if num_classes is not None:
            if not _takes(value, "num_classes"):
                raise ModelError(
                    f"{spec!r} does not accept num_classes. Add that argument, or name a "
                    f"factory that makes a head of {num_classes} classes, without --num-classes"
                )
            settings["num_classes"] = num_classes
        try:
            torch.default_generator.manual_seed(RANDOM_SEED)  # whether imported before or now
            made = value(**settings)
        except Exception as error:
            raise ModelError(
                f"{spec!r} failed when called with {settings or 'no arguments'} "
                f"({_reason(error)}). Name a function that returns the model"
            ) from error
    if not isinstance(made, nn.Module):
        raise ModelError(
            f"{spec!r} must return a torch.nn.Module, not a {type(made).__name__}. "
            "Return the model itself"
        )
    return made


def _takes(factory: object, argument: str) -> bool:
    try:
        parameters = inspect.signature(factory).parameters  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return argument in parameters or any(
        parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()
    )


def _reason(error: Exception) -> str:
    first = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
