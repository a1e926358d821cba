"""`seewhy layers`: where a model can be watched, and where it is watched by default."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from seewhy.cli.completion import complete_model
from seewhy.cli.loading import ModelOptions
from seewhy.cli.terminal import progress, say, say_json, show_table
from seewhy.errors import LayerError


def layers(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="demo, torchvision/resnet50, timm/NAME, package.module:factory, or a file of "
            "weights with --arch.",
            autocompletion=complete_model,
        ),
    ] = "demo",
    as_json: Annotated[bool, typer.Option("--json", metavar="", help="One JSON object.")] = False,
    loading: ModelOptions = ModelOptions(),
) -> None:
    """List a model's layers that give a map, and mark the one that is taken without --layer."""
    # Where a network can be looked at depends on no weights: none are fetched to list its layers.
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
            for candidate in candidates
        ],
        right=("output",),
        whole=("layer",),
    )
    say(f"\n{'→ ' if choice else 'no layer is chosen: '}{reason}")
