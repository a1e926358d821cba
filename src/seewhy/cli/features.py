"""`seewhy features`: what every channel of a layer sees in a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seewhy.cli import options, parsing
from seewhy.cli.file_names import slug
from seewhy.cli.loading import ModelOptions
from seewhy.cli.terminal import progress, say, say_error, score_in_words, show_table
from seewhy.errors import ImageError
from seewhy.saving.endings import RESULTS, ending_of

_LISTED = 5


def features(
    image: Annotated[str, typer.Argument(metavar="PICTURE", help="A file.", show_default=False)],
    model: options.Model = "demo",
    layer: options.Layer = None,
    sort: Annotated[
        options.Sort,
        typer.Option(
            "--sort",
            metavar="ORDER",
            help="index, activation (the channel's mean), or contribution (how much it speaks for "
            "the target: the sum of gradient times activation).",
        ),
    ] = options.Sort.INDEX,
    target: options.Target = None,
    top: Annotated[
        int | None,
        typer.Option(
            "--top", min=1, metavar="N", help="Draw the first N.", show_default="all channels"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="The file: .png, .jpg, .pdf or .svg (a drawing), .npz or .json (the data).",
            show_default="seewhy-out/PICTURE-LAYER-features.png",
        ),
    ] = None,
    output: options.Output = None,
    columns: Annotated[
        int,
        typer.Option(
            "--columns", min=1, metavar="N", help="Maps in a row.", rich_help_panel="Drawing"
        ),
    ] = 16,
    same_scale: options.SameScale = False,
    colormap: options.Colormap = None,
    loading: ModelOptions = ModelOptions(),
) -> None:
    """Draw every channel of a layer over the picture.

    Negative values are dropped. Each channel is scaled alone, or all alike with --same-scale.

    Example: seewhy features cat.jpg --sort contribution --target tabby --top 32
    """
    parsing.check_colormap(colormap)
    if out is not None:
        ending_of(out, "a page of feature maps", RESULTS)
    loaded = loading.load(model)
    with progress("drawing"):
        from seewhy.features import find_features

        try:
            maps = find_features(
                loaded, image, layer=layer, sort=sort.value, target=target, top=top, output=output
            )
        except ImageError as error:
            say_error(str(error))
            raise typer.Exit(1) from None
        path = out or (
            Path("seewhy-out") / f"{slug(Path(image).stem)}-{slug(maps.layer)}-features.png"
        )
        maps.save(path, columns=columns, same_scale=same_scale, colormap=colormap)
    count, height, width = maps.maps.shape
    order = f"by {maps.sorted_by}" + (f" to {maps.label}" if maps.label else "")
    say(f"{count} channels of {height}×{width} at '{maps.layer}' of {maps.model}, {order}\n")
    if maps.values is not None:
        show_table(
            ["channel", maps.sorted_by],
            [
                (channel, score_in_words(value))
                for channel, value in zip(
                    maps.channels[:_LISTED], maps.values[:_LISTED], strict=True
                )
            ],
            right=("channel", maps.sorted_by),
        )
        say(f"and {count - _LISTED} more\n" if count > _LISTED else "")
    say(str(path))
