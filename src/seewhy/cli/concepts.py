"""`seewhy concepts`: what recurs in a layer over some pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seewhy.cli import options
from seewhy.cli.file_names import slug
from seewhy.cli.help import DRAWING
from seewhy.cli.help import RESULTS as RESULTS_PANEL
from seewhy.cli.loading import ModelOptions
from seewhy.cli.pictures import find_pictures
from seewhy.cli.terminal import progress, say, say_error, say_note, say_warnings, show_table
from seewhy.errors import ImageError
from seewhy.saving.endings import RESULTS, ending_of


def concepts(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="PICTURE", help="Picture files, folders or patterns.", show_default=False
        ),
    ],
    model: options.Model = "demo",
    layer: options.Layer = None,
    count: Annotated[
        int, typer.Option("--count", min=1, max=8, metavar="N", help="Find N concepts, at most 8.")
    ] = 5,
    top: Annotated[
        int, typer.Option("--top", min=1, metavar="N", help="Name N classes per concept.")
    ] = 3,
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
            show_default="seewhy-out/PICTURE-LAYER-concepts.png",
        ),
    ] = None,
    columns: Annotated[
        int | None,
        typer.Option(
            "--columns",
            min=1,
            metavar="N",
            help="Draw N pictures per row.",
            rich_help_panel=DRAWING,
            show_default="up to three",
        ),
    ] = None,
    loading: ModelOptions = ModelOptions(),
) -> None:
    """Find visual concepts that recur in pictures, and the classes that each concept supports.

    The method is deep feature factorisation: a non-negative matrix factorisation of the layer's
    activations at all positions of all pictures.

    Example: seewhy concepts cats/*.jpg dogs/*.jpg --count 6
    """
    if out is not None:
        ending_of(out, "a page of concepts", RESULTS)
    folder = out.parent if out else Path("seewhy-out")
    given = find_pictures(images, leave_out=folder)
    pictures, misses = given.pictures, given.misses
    for left_out in given.left_out:
        say_note(left_out)
    if misses:
        for miss in misses:
            say_error(miss)
        raise typer.Exit(1)
    loaded = loading.load(model)
    with progress("finding concepts"):
        from seewhy.concepts import find_concepts
        from seewhy.render.concepts import legend

        try:
            found = find_concepts(
                loaded, pictures, count=count, layer=layer, top=top, output=output
            )
        except ImageError as error:
            say_error(str(error))
            raise typer.Exit(1) from None
        more = f"-and-{len(pictures) - 1}-more" if len(pictures) > 1 else ""
        path = out or (
            folder / f"{slug(Path(pictures[0]).stem)}{more}-{slug(found.layer)}-concepts.png"
        )
        found.save(path, columns=columns)
    say(
        f"{count} concepts of {len(pictures)} picture{'s' if len(pictures) != 1 else ''} at "
        f"'{found.layer}' of {found.model}: {100 * found.explained:.0f} % of the layer's energy\n"
    )
    show_table(
        ["concept", "supports"],
        [(number, words) for number, words in enumerate(legend(found), 1)],
        right=("concept",),
    )
    say(f"\n{path}\n")
    say_warnings([(found.layer, found.warnings)])
