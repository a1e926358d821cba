"""`seewhy compare`: one picture, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seewhy.cli import options
from seewhy.cli.file_names import slug
from seewhy.cli.loading import load
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
            metavar="FILE.png",
            help="Where the grid goes.",
            show_default="seewhy-out/PICTURE-comparison.png",
        ),
    ] = None,
    settings: options.MethodOptions = None,
    output: options.Output = None,
    same_scale: options.SameScale = False,
    precision: options.Precision = "float32",
    compiled: options.Compiled = False,
    colormap: options.Colormap = None,
    opacity: options.Opacity = 0.5,
    arch: options.Architecture = None,
    num_classes: options.ClassCount = None,
    size: options.Size = None,
    mean: options.Mean = None,
    std: options.Std = None,
    labels: options.Labels = None,
    trust_pickle: options.TrustPickle = False,
    device: options.Device = "cpu",
) -> None:
    """Compare methods, layers, classes or models on one picture, in one grid.

    Of models, methods, layers and targets the last given several of makes the columns.

    The others make the rows. The model options hold for every --model.

    Example: seewhy compare cat.jpg --method grad-cam,layer-cam,hires-cam --target top3
    """
    methods = options.known_methods(method)
    method_options = options.method_options(settings, methods)
    options.check_colormap(colormap)
    path = out or Path("seewhy-out") / f"{slug(Path(image).stem)}-comparison.png"
    if path.suffix != ".png":
        raise ImageError(f"--out '{path}' does not end in .png, and a comparison is saved as one")
    specs = list(dict.fromkeys(model or ["demo"]))
    loaded = [
        load(
            spec, arch=arch, num_classes=num_classes, size=size, mean=mean, std=std,
            labels=labels, trust_pickle=trust_pickle, device=device,
        )
        for spec in specs
    ]  # fmt: skip
    layers = options.split(layer)
    with progress("comparing"):
        from seewhy.comparison import compare as side_by_side
        from seewhy.models.many_runs import Speed

        try:
            comparison = side_by_side(
                loaded, image, options.several(target), method=methods, layer=layers or None,
                output=output, speed=Speed(precision, compiled), **method_options,
            )  # fmt: skip
        except ImageError as error:
            say_error(str(error))
            raise typer.Exit(1) from None
        comparison.save(path, same_scale=same_scale, colormap=colormap, opacity=opacity)
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
