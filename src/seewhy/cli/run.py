"""`seewhy run`: pictures by the million into a folder; an interrupted run resumes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seewhy.cli import options, parsing
from seewhy.cli.help import DATA, RESULTS, SPEED
from seewhy.cli.loading import ModelOptions
from seewhy.cli.run_progress import duration, progress_of_run
from seewhy.cli.terminal import say, say_error, say_json, say_note, say_warning

if TYPE_CHECKING:
    from seewhy.runs import Run

_MOST_FAILURES = 10  # that are told one by one


def run(
    source: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Picture files, folders or patterns; tables of paths (.csv, .json, .jsonl, "
            ".parquet); tar archives of WebDataset; an annotated data set; addresses such as "
            "s3://bucket/photos; or the manifest of an earlier run.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="Write the results into this folder.",
            rich_help_panel=RESULTS,
        ),
    ],
    model: options.Model = "demo",
    target: options.Targets = None,
    method: options.Methods = None,
    settings: options.MethodOptions = None,
    layer: options.Layers = None,
    fuse: options.Fuse = None,
    output: options.Output = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            metavar="FORMAT",
            help="Name the format of an annotated data set, such as coco, or use 'pictures' for "
            "all pictures of a folder.",
            show_default="detected automatically",
            rich_help_panel=DATA,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=0,
            metavar="N",
            help="Use N worker processes, or 0 to work in this process.",
            show_default="one per core",
            rich_help_panel=SPEED,
        ),
    ] = None,
    overlays: Annotated[
        bool,
        typer.Option(
            "--overlays",
            metavar="",
            help="Write the overlay of each map as a JPEG.",
            rich_help_panel=RESULTS,
        ),
    ] = False,
    overlay_size: Annotated[
        int,
        typer.Option(
            "--overlay-size",
            min=16,
            metavar="PIXELS",
            help="Limit the longer side of an overlay.",
            rich_help_panel=RESULTS,
        ),
    ] = 512,
    shard_size: Annotated[
        int | None,
        typer.Option(
            "--shard-size",
            min=1,
            metavar="N",
            help="Put N pictures into each part. An interrupted run loses its unfinished parts.",
            show_default="at least 64 parts, at most 4096 pictures each",
            rich_help_panel=RESULTS,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            "-n",
            min=1,
            metavar="N",
            help="Explain only the first N pictures.",
            rich_help_panel=DATA,
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            metavar="",
            help="Print one line of JSON at the end instead of the summary.",
            rich_help_panel=RESULTS,
        ),
    ] = False,
    loading: ModelOptions = ModelOptions(),
    batch_size: options.BatchSize = 8,
    speed: options.SpeedOptions = options.SpeedOptions(),
) -> None:
    """Explain a data set of any size, and write the maps as Parquet files.

    Run the same command again to resume an interrupted run. Read the results with
    seewhy.read_run(FOLDER), pandas or DuckDB.

    The exit status is 0 if every picture was explained, 1 if some failed, 2 if the command is
    wrong.

    Example: seewhy run photos/ --out photos-run --model torchvision/resnet50 --overlays
    """
    methods = parsing.known_methods(method)
    method_options = parsing.method_options(settings, methods)
    loaded = loading.load(model)

    from seewhy.explainer import Explainer
    from seewhy.runs import run as run_pictures
    from seewhy.targets import parse_target

    targets = parsing.several(target)
    parse_target(targets, loaded.labels)  # a class that is not there is not there for any picture
    explainer = Explainer(
        loaded, method=methods, layer=parsing.split(layer) or None,
        fuse=fuse.value if fuse else None, output=output, batch_size=batch_size,
        speed=speed.speed(), **method_options,
    )  # fmt: skip
    begun = time.monotonic()
    try:
        with progress_of_run(stdout_is_data=as_json) as show:
            made = run_pictures(
                explainer, source, out, targets, kind=kind, workers=workers,
                overlays=overlays, overlay_size=overlay_size, shard_size=shard_size, limit=limit,
                progress=show, note=say_note,
            )  # fmt: skip
    except KeyboardInterrupt:
        _say_what_is_kept(out)
        raise
    seconds = time.monotonic() - begun
    if as_json:
        say_json(_summary(made, seconds))
    else:
        _show(made, seconds)
        for note in loaded.notes if made.told.pictures else ():
            say(note)
    if made.told.failed:
        raise typer.Exit(1)


def _show(made: Run, seconds: float) -> None:
    told = made.told
    total = made.request.pictures["count"]
    if not told.pictures:
        say(f"All {total:,} pictures were explained before. There is nothing to do.")
    else:
        there = f"; {total - told.pictures:,} were done before" if told.pictures < total else ""
        say(
            f"{told.pictures - told.failed:,} pictures explained in {duration(seconds)} "
            f"({told.pictures / seconds:.3g} a second){there}"
        )
    say(f"\n{made.folder}\n")
    for warning, rows in told.warnings.most_common():
        say_warning(f"{rows:,} of {told.rows:,} maps: {warning}")
    for failure in told.failures[:_MOST_FAILURES]:
        say_error(failure)
    if told.failed:
        more = told.failed - min(len(told.failures), _MOST_FAILURES)
        say_error(
            f"{told.failed:,} of {told.pictures:,} pictures could not be explained"
            + (f"; {more:,} more than are named here" if more else "")
            + f". Their rows say why: seewhy.read_run('{made.folder}').failures"
        )


def _summary(made: Run, seconds: float) -> dict[str, object]:
    told = made.told
    return {
        "run": str(made.folder),
        "pictures": made.request.pictures["count"],
        "done_now": told.pictures,
        "failed_now": told.failed,
        "seconds": seconds,
        "parts": len(made.parts),
        "failures": list(told.failures),
        "warnings": dict(told.warnings),
    }


def _say_what_is_kept(out: Path) -> None:
    from seewhy.errors import SeewhyError
    from seewhy.runs import read_run

    try:
        made = read_run(out)
    except SeewhyError:
        say_note("interrupted before the first picture was explained. Nothing was written.")
        return
    count, size = made.request.pictures["count"], made.request.shard_size
    done = sum(min((shard + 1) * size, count) - shard * size for shard in made.shards_done)
    say_note(
        f"interrupted. '{out}' has {done:,} of {count:,} pictures. Run the same command again for "
        "the rest."
    )
