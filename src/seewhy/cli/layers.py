"""`seewhy layers`: where a model can be watched, and where it is watched by default."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from seewhy.cli.completion import complete_model
from seewhy.cli.loading import ModelOptions
from seewhy.cli.options import MODEL_HELP
from seewhy.cli.terminal import progress, say, say_json, show_table
from seewhy.errors import LayerError

if TYPE_CHECKING:
    from seewhy.layers import Candidate


def layers(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help=MODEL_HELP,
            autocompletion=complete_model,
        ),
    ] = "demo",
    every: Annotated[
        bool,
        typer.Option(
            "--all", "-a", metavar="", help="List every layer, in the order of the network."
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", metavar="", help="Print every layer as one JSON object instead of the table."
        ),
    ] = False,
    loading: ModelOptions = ModelOptions(),
) -> None:
    """List the layers of a model that can be explained, and mark the default layer.

    Without --all the list has the default layer, the layers like it, and the last layer of each
    map size.

    Example: seewhy layers torchvision/resnet50
    """
    # The layers do not depend on the weights, so no weights are downloaded.
    untrained = model.startswith(("torchvision/", "timm/")) and ":" not in model
    loaded = loading.load(f"{model}:random" if untrained else model)
    with progress("running the model once", stdout_is_data=as_json):
        import torch

        from seewhy.layers import list_layers
        from seewhy.models.bound import to_model
        from seewhy.models.proposing import propose_layer

        preprocess = loaded.preprocess
        noise = torch.Generator().manual_seed(0)  # zeros could leave a network without a gradient
        picture = torch.randn(1, len(preprocess.mean), *preprocess.size, generator=noise)
        inputs = to_model(loaded.module, picture)
        candidates = list_layers(loaded.module, inputs)
        try:
            proposal = propose_layer(loaded.module, inputs)
            choice, reason = str(proposal.layer), proposal.reason
        except LayerError as error:
            choice, reason = None, str(error)
    if as_json:
        say_json(
            {
                "model": model,
                "chosen": choice,
                "reason": reason,
                "layers": [asdict(candidate) for candidate in candidates],
            }
        )
        return
    shown = candidates if every or choice is None else to_try(candidates)
    show_table(
        ["", "layer", "kind", "output", "form"],
        [
            (
                "→" if candidate.chosen else "",
                candidate.name,
                candidate.kind,
                "×".join(map(str, candidate.shape)),
                candidate.form + (f", {candidate.extra} aside" if candidate.extra else ""),
            )
            for candidate in shown
        ],
        right=("output",),
        whole=("layer",),
    )
    arch = f" --arch {loading.arch}" if loading.arch else ""
    if hidden := len(candidates) - len(shown):
        say(f"\nand {hidden} more layers. List them: seewhy layers {model}{arch} --all")
    if choice is None:
        say(f"\nNo default layer: {reason.rstrip('.')}. Choose one with --layer NAME.")
    else:
        say(f"\n→ Default layer: {choice}. Reason: {reason.rstrip('.')}.")
        say("Choose another with --layer NAME.")


def to_try(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The default layer, then the layers like it and the last layer of each map size.

    Layers are like each other if their names differ only in numbers, as `blocks.2` and `blocks.5`.
    """
    chosen = [one for one in candidates if one.chosen]
    alike = {_without_numbers(one.name) for one in chosen}
    last = {one.shape[1:]: one for one in candidates}.values()
    others = (one for one in candidates if _without_numbers(one.name) in alike or one in last)
    return [*chosen, *(one for one in others if not one.chosen)]


def _without_numbers(name: str) -> str:
    return re.sub(r"\d+", "#", name)
