"""`seewhy features`: what every channel of a layer sees in a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seewhy.cli import options, parsing
from seewhy.cli.file_names import slug
from seewhy.cli.help import DRAWING
from seewhy.cli.help import RESULTS as RESULTS_PANEL
from seewhy.cli.loading import ModelOptions
from seewhy.cli.terminal import progress, say, say_error, score_in_words, show_table
from seewhy.errors import ImageError
from seewhy.saving.endings import RESULTS, ending_of

_LISTED = 5


def features(
    image: Annotated[
        str, typer.Argument(metavar="PICTURE", help="A picture file.", show_default=False)
    ],
    model: options.Model = "demo",
    target: options.Target = None,
    layer: options.Layer = None,
    sort: Annotated[
        options.Sort,
        typer.Option(
            "--sort",
            metavar="ORDER",
            help="Sort the channels by index, activation (the mean), or contribution (how much a "
            "channel supports the target: the sum of gradient times activation).",
        ),
    ] = options.Sort.INDEX,
    top: Annotated[
        int | None,
        typer.Option(
            "--top",
            "-n",
            min=1,
            metavar="N",
            help="Draw only the first N channels.",
            show_default="all channels",
        ),
    ] = None,
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
            show_default="seewhy-out/PICTURE-LAYER-features.png",
        ),
    ] = None,
    columns: Annotated[
        int,
        typer.Option(
            "--columns",
            min=1,
            metavar="N",
            help="Draw N maps per row.",
            rich_help_panel=DRAWING,
        ),
    ] = 16,
    same_scale: options.SameScale = False,
    colormap: options.Colormap = None,
    loading: ModelOptions = ModelOptions(),
) -> None:
    """Draw every channel of a layer over the picture.

    Negative values are not drawn. Each channel has its own scale; --same-scale gives all channels
    one scale.

    Example: seewhy features cat.jpg --sort contribution -t tabby --top 32
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
