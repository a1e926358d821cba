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
            metavar="PART",
            help="List only models whose name contains PART, such as resnet.",
            show_default=False,
        ),
    ] = "",
    as_json: Annotated[
        bool, typer.Option("--json", metavar="", help="Print one line of JSON per model.")
    ] = False,
) -> None:
    """List the models that can be loaded by name.

    --model also accepts a checkpoint file together with --arch, and package.module:factory.

    Example: seewhy models efficientnet
    """
    with progress("looking for models", stdout_is_data=as_json):
        from seewhy.models.load import available_models

        entries = [entry for entry in available_models() if part.lower() in entry.spec.lower()]
    if part and not entries:
        raise ModelError(f"no model name contains '{part}'. List all models: seewhy models")
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
        say(f"\nand {len(counted)} models of timm. List some of them: seewhy models timm/resnet")
    say(
        "\nFor an untrained network add :random to a name of torchvision or timm, such as\n"
        "torchvision/resnet50:random"
    )


def _millions(count: int | None) -> str:
    return "" if count is None else f"{count / 1e6:.1f} M"
