"""What a user sees: results on stdout, errors and progress on stderr.

Names of files, classes and layers may hold control characters, which a terminal would obey: they
are escaped here.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from seewhy.one_line import one_line, printable, printable_lines


def say_error(message: str) -> None:
    """One line on stderr, as long as it may be: a terminal folds it, a log keeps it whole."""
    typer.echo(f"{typer.style('error:', fg='red', bold=True)} {one_line(message)}", err=True)


def say_note(message: str) -> None:
    """One line on stderr that is no fault: what a user might not expect."""
    typer.echo(f"{typer.style('note:', fg='cyan', bold=True)} {one_line(message)}", err=True)


def say_warning(message: str) -> None:
    """One line on stderr: a result that is there, and is not to be trusted as it is."""
    label = typer.style("warning:", fg="yellow", bold=True)
    typer.echo(f"{label} {one_line(message)}", err=True)


def say(line: str) -> None:
    """One line on stdout, never folded: paths stay whole to be copied."""
    typer.echo(printable_lines(line))


def say_json(value: Any) -> None:
    """One line of JSON on stdout, at once, for a program that reads along.

    ASCII, whatever the terminal's encoding; numbers that JSON does not have become null.
    """
    typer.echo(json.dumps(_finite(value), allow_nan=False))
    sys.stdout.flush()


def say_warnings(warned: Iterable[tuple[str, Sequence[str]]]) -> None:
    """Each warning once on stderr, with what it is about.

    Args:
        warned: of each explanation what to call it, and its warnings.
    """
    about: dict[str, list[str]] = {}
    explanations = 0
    for name, warnings in warned:
        explanations += 1
        for warning in warnings:
            about.setdefault(warning, []).append(name)
    for warning, names in about.items():
        if len(names) == explanations > 1:
            where = "all"
        else:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            where = one_line("; ".join(names[:3]) + more)
        say_warning(f"{where}: {one_line(warning)}")


def show_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
) -> None:
    """A table on stdout, as wide as the terminal.

    Args:
        columns: their titles.
        rows: the cells; None is left empty.
        right: the titles of columns of numbers, set to the right and never folded.
        whole: the titles of other columns that are not folded, so that names can be copied.
    """
    print_table(new_table(columns, rows, right=right, whole=whole))


def print_table(table: Table) -> None:
    """The table on stdout, no wider than the terminal."""
    Console().print(table)


def new_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
) -> Table:
    """The table that `show_table` prints."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for title in columns:
        table.add_column(
            title,
            justify="right" if title in right else "left",
            no_wrap=title in right or title in whole,
            overflow="fold",
        )
    for row in rows:
        # Text, not str: rich would read [brackets] in a file's name as its own markup.
        table.add_row(*(Text("" if cell is None else printable_lines(cell)) for cell in row))
    return table


def show_results(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    files: Sequence[Sequence[Path | str]],
    *,
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
) -> None:
    """A table on stdout with the files of each row, or the files below it.

    A path that is folded cannot be copied, so where the terminal is too narrow for the last
    column each file has a line of its own.
    """
    rows = [[None if cell is None else printable(cell) for cell in row] for row in rows]
    paths = [[printable(file) for file in own] for own in files]
    in_table = [(*row, "\n".join(own)) for row, own in zip(rows, paths, strict=True)]
    table = new_table([*columns, "file"], in_table, right=right, whole=whole)
    console = Console()
    unfolded = console.measure(table, options=console.options.update(width=10_000)).maximum
    if unfolded <= console.width:
        print_table(table)
        say("")
        return
    show_table(columns, rows, right=right, whole=whole)
    say("")
    for own in paths:
        for path in own:
            say(path)
    say("")


@contextmanager
def progress(
    words: str, total: int | None = None, *, stdout_is_data: bool = False
) -> Iterator[Callable[[], None]]:
    """A bar on stderr that goes when the work is done, or a spinner where there is no `total`.

    A second bar shows how far a method has come that runs the network many times. Nothing where
    stderr is no terminal, or where lines for a program go to the same terminal.

    Yields:
        what to call when one more is done.
    """
    shown = sys.stderr.isatty() and not (stdout_is_data and sys.stdout.isatty())
    if not shown:
        yield lambda: None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    from seewhy.progress import listening

    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        *((BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) if total else ()),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
    ) as bar:
        task = bar.add_task(one_line(words), total=total)
        runs = None

        def ran(done: int, of: int) -> None:
            nonlocal runs
            if runs is None:
                # Made when there is something to show, with columns that a spinner has not.
                text = "{task.completed} of {task.total} runs"
                bar.columns = (*bar.columns, *(() if total else (BarColumn(), TextColumn(text))))
                runs = bar.add_task("runs of the network", total=of)
            bar.update(runs, completed=done, total=of)

        with listening(ran):
            yield lambda: bar.advance(task)


def score_in_words(score: float) -> str:
    """As the figures print it."""
    from seewhy.render.text import short_number

    return short_number(score)


def probability_in_words(probability: float | None) -> str:
    """As the figures print it; empty where the target has none."""
    from seewhy.render.text import short_probability

    return "" if probability is None else short_probability(probability)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
