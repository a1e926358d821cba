"""`seewhy compare`: one picture side by side, or many pictures on one page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from seewhy.cli import options, parsing
from seewhy.cli.file_names import slug, told_apart
from seewhy.cli.help import RESULTS as RESULTS_PANEL
from seewhy.cli.loading import ModelOptions
from seewhy.cli.pictures import find_pictures
from seewhy.cli.terminal import (
    probability_in_words,
    progress,
    say,
    say_error,
    say_note,
    say_warnings,
    score_in_words,
    show_table,
)
from seewhy.errors import ImageError, TargetError
from seewhy.saving.endings import RESULTS, ending_of


def compare(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="PICTURE",
            help="A picture file. Several files, a folder or a pattern make a contact sheet.",
            show_default=False,
        ),
    ],
    model: options.Models = None,
    target: options.Targets = None,
    method: options.Methods = None,
    settings: options.MethodOptions = None,
    layer: options.Layers = None,
    output: options.Output = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Write this file: .png, .jpg, .webp, .pdf or .svg for the drawing, .npz or .json "
            "for the data.",
            rich_help_panel=RESULTS_PANEL,
            show_default="seewhy-out/PICTURE-comparison.png",
        ),
    ] = None,
    true: Annotated[
        str | None,
        typer.Option(
            "--true",
            metavar="CLASS,...",
            help="Give the true class of each of several pictures, or 'folder' if the folder name "
            "is the class. Misclassified pictures are drawn first.",
        ),
    ] = None,
    same_scale: options.SameScale = False,
    drawing: options.DrawingOptions = options.DrawingOptions(),
    loading: ModelOptions = ModelOptions(),
    speed: options.SpeedOptions = options.SpeedOptions(),
) -> None:
    """Compare methods, layers, classes or models on one picture, or many pictures on one page.

    Columns are the last option given several values, in the order model, method, layer, target.
    All others are rows. Several pictures are one row each, and all have the same scale.

    The model options apply to every --model.

    Example: seewhy compare cat.jpg -M grad-cam,layer-cam,hires-cam -t top3
    """
    methods = parsing.known_methods(method)
    method_options = parsing.method_options(settings, methods)
    look = drawing.keywords()
    if out is not None:
        ending_of(out, "a comparison", RESULTS)
    pictures = _pictures(images)
    several = len(pictures) > 1
    name = "sheet" if several else f"{slug(Path(pictures[0]).stem)}-comparison"
    path = out or Path("seewhy-out") / f"{name}.png"
    classes = _true_classes(true, pictures)
    specs = list(dict.fromkeys(model or ["demo"]))
    loaded = [loading.load(spec) for spec in specs]
    layers = parsing.split(layer)
    with progress("comparing"):
        from seewhy.comparison import compare as side_by_side

        try:
            comparison = side_by_side(
                loaded, pictures if several else pictures[0], parsing.several(target),
                method=methods, layer=layers or None, true=classes, output=output,
                speed=speed.speed(), **method_options,
            )  # fmt: skip
        except ImageError as error:
            say_error(str(error))
            raise typer.Exit(1) from None
        comparison.save(path, same_scale=same_scale, **look)
    found = [one for row in comparison.rows for one in row]
    # The probability of a class does not depend on method or layer, so it is shown once.
    with_model = len(loaded) > 1
    names = told_apart(pictures)
    of_row = [names[picture] for picture in pictures] if several else [""]
    rows = dict.fromkeys(
        (
            *[picture] * several,
            *[one.model] * with_model,
            one.label,
            score_in_words(one.score),
            probability_in_words(one.probability),
        )
        for picture, row in zip(
            of_row * (1 if several else len(comparison.rows)), comparison.rows, strict=True
        )
        for one in row
    )
    show_table(
        [*["picture"] * several, *["model"] * with_model, "target", "score", "probability"],
        list(rows),
        right=("score", "probability"),
    )
    say(f"\n{path}\n")
    varying = [
        name for name in ("model", "method", "layer") if len({getattr(o, name) for o in found}) > 1
    ]
    if several:
        varying.insert(0, "image")
    say_warnings(
        (", ".join([*(str(getattr(one, name)) for name in varying), one.label]), one.warnings)
        for one in found
    )


def _pictures(images: Sequence[str]) -> list[str]:
    """Find the pictures. A single file is not checked here, so that its own error is reported."""
    if len(images) == 1 and not Path(images[0]).is_dir() and not set("*?[") & set(images[0]):
        return list(images)
    given = find_pictures(images, leave_out=Path("seewhy-out"))
    for left_out in given.left_out:
        say_note(left_out)
    if given.misses:
        *others, last = given.misses
        for miss in others:
            say_error(miss)
        raise ImageError(last)
    return given.pictures


def _true_classes(true: str | None, pictures: Sequence[str]) -> list[str | int] | None:
    if true is None:
        return None
    if len(pictures) < 2:
        raise TargetError(
            "--true takes the classes of several pictures. Remove it for one picture."
        )
    named = [Path(one).resolve().parent.name for one in pictures]
    words = named if true == "folder" else [one.strip() for one in true.split(",")]
    return [int(one) if one.isdecimal() else one for one in words]
