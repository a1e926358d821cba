"""`seewhy compare`: one picture, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seewhy.cli import options, parsing
from seewhy.cli.file_names import slug
from seewhy.cli.loading import ModelOptions
from seewhy.cli.terminal import (
    probability_in_words,
    progress,
    say,
    say_error,
    say_warnings,
    score_in_words,
    show_table,
)
from seewhy.errors import ImageError
from seewhy.saving.endings import RESULTS, ending_of


def compare(
    image: Annotated[str, typer.Argument(metavar="PICTURE", help="A file.", show_default=False)],
    model: options.Models = None,
    target: options.Targets = None,
    method: options.Methods = None,
    layer: options.Layers = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="The file: .png, .jpg, .webp, .pdf or .svg (the grid), .npz or .json (the data).",
            show_default="seewhy-out/PICTURE-comparison.png",
        ),
    ] = None,
    settings: options.MethodOptions = None,
    output: options.Output = None,
    same_scale: options.SameScale = False,
    speed: options.SpeedOptions = options.SpeedOptions(),
    drawing: options.DrawingOptions = options.DrawingOptions(),
    loading: ModelOptions = ModelOptions(),
) -> None:
    """Compare methods, layers, classes or models on one picture, in one grid.

    Columns are the last option given several values, in the order model, method, layer, target.

    The rest are rows. The model options hold for every --model.

    Example: seewhy compare cat.jpg --method grad-cam,layer-cam,hires-cam --target top3
    """
    methods = parsing.known_methods(method)
    method_options = parsing.method_options(settings, methods)
    look = drawing.keywords()
    path = out or Path("seewhy-out") / f"{slug(Path(image).stem)}-comparison.png"
    ending_of(path, "a comparison", RESULTS)
    specs = list(dict.fromkeys(model or ["demo"]))
    loaded = [loading.load(spec) for spec in specs]
    layers = parsing.split(layer)
    with progress("comparing"):
        from seewhy.comparison import compare as side_by_side

        try:
            comparison = side_by_side(
                loaded, image, parsing.several(target), method=methods, layer=layers or None,
                output=output, speed=speed.speed(), **method_options,
            )  # fmt: skip
        except ImageError as error:
            say_error(str(error))
            raise typer.Exit(1) from None
        comparison.save(path, same_scale=same_scale, **look)
    found = [one for row in comparison.rows for one in row]
    # What a model gives a class depends on no method or layer: once is enough.
    with_model = len(loaded) > 1
    rows = dict.fromkeys(
        (
            *[one.model] * with_model,
            one.label,
            score_in_words(one.score),
            probability_in_words(one.probability),
        )
        for one in found
    )
    show_table(
        [*["model"] * with_model, "target", "score", "probability"],
        list(rows),
        right=("score", "probability"),
    )
    say(f"\n{path}\n")
    several = [
        name for name in ("model", "method", "layer") if len({getattr(o, name) for o in found}) > 1
    ]
    say_warnings(
        (", ".join([*(getattr(one, name) for name in several), one.label]), one.warnings)
        for one in found
    )
