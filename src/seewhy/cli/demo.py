"""`seewhy demo`: the whole of it on the photographs that come along, without a network."""

from __future__ import annotations

from contextlib import ExitStack
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

import typer

from seewhy.cli.loading import ModelOptions
from seewhy.cli.terminal import (
    probability_in_words,
    progress,
    say,
    say_warnings,
    show_results,
)

METHODS = ("grad-cam", "layer-cam", "hires-cam")
LAYERS = ("blocks.1", "blocks.2", "blocks.4", "blocks.5", "blocks.6")


def demo(
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FOLDER", help="Write the pictures into this folder."),
    ] = Path("seewhy-out/demo"),
) -> None:
    """Explain the sample photographs of seewhy. Nothing is downloaded; it takes seconds."""
    loaded = ModelOptions().load("demo")

    from seewhy.comparison import compare
    from seewhy.explainer import Explainer
    from seewhy.features import find_features

    with ExitStack() as stack:
        # Inside a zip they are unpacked for as long as this block lasts.
        photographs = [
            stack.enter_context(as_file(one))
            for one in sorted(
                (files("seewhy") / "data" / "photos").iterdir(), key=lambda one: one.name
            )
            if one.name.endswith(".jpg")
        ]
        first, last = photographs[0], photographs[-1]
        methods_at = out / f"{first.stem}-methods.png"
        layers_at = out / f"{last.stem}-layers.png"
        features_at = out / f"{first.stem}-features.png"
        with progress("explaining", len(photographs) + 3) as advance:
            explanations, figures = [], []
            for explanation in Explainer(loaded).many(photographs):
                explanations.append(explanation)
                figures.append(explanation.save(out / f"{Path(explanation.image or '').stem}.png"))
                advance()
            compare(loaded, first, "top3", method=METHODS).save(methods_at)
            advance()
            compare(loaded, last, method=METHODS[:2], layer=LAYERS).save(layers_at)
            advance()
            maps = find_features(loaded, first, sort="contribution", top=64)
            maps.save(features_at)
            advance()
    show_results(
        ["picture", "predicted", "probability"],
        [(one.image, one.label, probability_in_words(one.probability)) for one in explanations],
        [[figure] for figure in figures],
        right=("probability",),
    )
    for words, path in (
        (f"{len(METHODS)} methods for the first three classes of {first.name}", methods_at),
        (f"{len(LAYERS)} layers, from early to late, on {last.name}", layers_at),
        (f"the {len(maps.channels)} channels that support '{maps.label}' most", features_at),
    ):
        say(f"{words}:\n  {path}")
    say_warnings((one.label, one.warnings) for one in explanations)
    say("\nNow one of yours: seewhy explain PICTURE --target top3")
