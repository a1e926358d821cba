"""`seewhy models`: what can be named without a file."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from seewhy.cli.terminal import progress, say, say_json, show_table
from seewhy.errors import ModelError


def models(
    part: Annotated[
        str,
        typer.Argument(
            metavar="[PART]",
            help="List the names that hold this, such as resnet.",
            show_default=False,
        ),
    ] = "",
    as_json: Annotated[
        bool, typer.Option("--json", metavar="", help="One line of JSON a model.")
    ] = False,
) -> None:
    """List the models that can be named, with PART in their name.

    Besides these --model takes a file of weights with --arch, and package.module:factory.
    """
    with progress("looking for models", stdout_is_data=as_json):
        from seewhy.models.load import available_models

        entries = [entry for entry in available_models() if part.lower() in entry.spec.lower()]
    if part and not entries:
        raise ModelError(f"no model has '{part}' in its name; seewhy models lists them all.")
    if as_json:
        for entry in entries:
            say_json(asdict(entry))
        return
    counted = [] if part else [entry for entry in entries if entry.where == "timm"]
    shown = [entry for entry in entries if entry not in counted]
    with_size = any(entry.parameters for entry in shown)
    show_table(
        ["model", *["parameters"] * with_size, "weights"],
        [(entry.spec, *[_millions(entry.parameters)] * with_size, entry.note) for entry in shown],
        right=("parameters",),
        whole=("model",),
    )
    if counted:
        say(f"\nand {len(counted)} of timm; list some of them with: seewhy models timm/resnet")
    say("\nany of torchvision's and timm's is untrained as NAME:random")


def _millions(count: int | None) -> str:
    return "" if count is None else f"{count / 1e6:.1f} M"
