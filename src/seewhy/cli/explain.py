"""`seewhy explain`: pictures in, a file and a line for each explanation out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seewhy.cli import options, parsing
from seewhy.cli.completion import complete_save_as
from seewhy.cli.file_names import FileNames, told_apart
from seewhy.cli.help import RESULTS as RESULTS_PANEL
from seewhy.cli.loading import ModelOptions
from seewhy.cli.pictures import find_pictures
from seewhy.cli.terminal import (
    probability_in_words,
    progress,
    say,
    say_error,
    say_json,
    say_note,
    say_warnings,
    score_in_words,
    show_results,
)
from seewhy.errors import ImageError, SeewhyError
from seewhy.saving.endings import DATA, RESULTS
from seewhy.saving.result import save_picture

if TYPE_CHECKING:
    from seewhy.explainer import Explainer
    from seewhy.explanation import Explanation


@dataclass(frozen=True)
class Line:
    """What is said about one explanation: a row of the table, a line of JSON.

    Attributes:
        image: the picture's path as it was given.
        model, method, layer: by name.
        target: in words.
        score, probability: of the target.
        files: what was written.
        warnings: what is wrong with the map and what to try.
    """

    image: str
    model: str
    method: str
    layer: str
    target: str
    score: float
    probability: float | None
    files: tuple[str, ...]
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, explanation: Explanation, image: str, files: Sequence[Path]) -> Line:
        """The line of an explanation and the files it was written to."""
        return cls(
            image=image,
            model=explanation.model,
            method=explanation.method,
            layer=explanation.layer,
            target=explanation.label,
            score=explanation.score,
            probability=explanation.probability,
            files=tuple(map(str, files)),
            warnings=explanation.warnings,
        )


def explain(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="PICTURE",
            help="Picture files, folders (searched recursively) or patterns such as "
            "'photos/**/*.jpg'.",
            show_default=False,
        ),
    ],
    model: options.Model = "demo",
    target: options.Targets = None,
    method: options.Methods = None,
    settings: options.MethodOptions = None,
    layer: options.Layers = None,
    fuse: options.Fuse = None,
    output: options.Output = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="Write the files into this folder.",
            rich_help_panel=RESULTS_PANEL,
        ),
    ] = Path("seewhy-out"),
    save_as: Annotated[
        str,
        typer.Option(
            "--save-as",
            metavar="KIND,...",
            help="Save a figure (jpg, webp, png) or the complete data (npz, json) for "
            "seewhy.load_explanation.",
            rich_help_panel=RESULTS_PANEL,
            autocompletion=complete_save_as,
        ),
    ] = "jpg",
    overlay_only: Annotated[
        bool,
        typer.Option(
            "--overlay-only",
            metavar="",
            help="Save only the overlay, at the size of the original picture.",
            rich_help_panel=RESULTS_PANEL,
        ),
    ] = False,
    heat: Annotated[
        bool,
        typer.Option(
            "--heat",
            metavar="",
            help="Draw the map alone in the figure too.",
            rich_help_panel=RESULTS_PANEL,
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            metavar="",
            help="Print one line of JSON per explanation instead of the table.",
            rich_help_panel=RESULTS_PANEL,
        ),
    ] = False,
    drawing: options.DrawingOptions = options.DrawingOptions(),
    loading: ModelOptions = ModelOptions(),
    batch_size: options.BatchSize = 8,
    speed: options.SpeedOptions = options.SpeedOptions(),
) -> None:
    """Draw heatmaps of the regions that support a class, for one picture or thousands.

    The exit status is 0 if every picture was explained, 1 if some failed, 2 if the command is
    wrong.

    Example: seewhy explain cat.jpg

    Example: seewhy explain cats/ -t tabby -t lynx -M grad-cam,layer-cam
    """
    methods = parsing.known_methods(method)
    method_options = parsing.method_options(settings, methods)
    kinds = parsing.file_kinds(save_as)
    look = drawing.keywords()
    pictures, misses = _find(images, out)
    loaded = loading.load(model)

    from seewhy.explainer import Explainer
    from seewhy.layers import find_layers
    from seewhy.targets import parse_target

    targets = parsing.several(target)
    parse_target(targets, loaded.labels)  # a class that is not there is not there for any picture
    layers = parsing.split(layer) or None
    named = find_layers(loaded.module, layers) if layers else []
    explainer = Explainer(
        loaded, method=methods, layer=layers, fuse=fuse.value if fuse else None, output=output,
        batch_size=batch_size, speed=speed.speed(), **method_options,
    )  # fmt: skip

    failed: dict[str, str] = {}

    def fail(picture: str, reason: str) -> None:
        failed[picture] = reason
        say_error(reason if picture in reason else f"{picture}: {reason}")

    several_layers = len(named) > 1 and fuse is None
    files = _Files(
        FileNames(out, pictures), kinds, look, overlay_only, heat,
        model=None if model == "demo" else loaded.name, layer=bool(layers),
    )  # fmt: skip
    lines = []
    with progress("explaining", len(pictures), stdout_is_data=as_json) as advance:
        for picture, explanation in explained(explainer, pictures, targets, fail, advance):
            try:
                line = Line.of(explanation, picture, files.write(picture, explanation))
            except OSError as error:
                if picture not in failed:
                    fail(picture, f"'{error.filename}' cannot be written "
                                  f"({error.strerror or error})")  # fmt: skip
                continue
            if as_json:
                say_json(asdict(line))
            else:
                lines.append(line)
    if not as_json and lines:
        show(lines, several_layers=several_layers)
        for note in loaded.notes:
            say(note)
    if failed and len(pictures) > 1:
        say_error(f"{len(failed)} of {len(pictures)} pictures could not be explained.")
    if failed or misses:
        raise typer.Exit(1)


def _find(images: Sequence[str], out: Path) -> tuple[list[str], list[str]]:
    """The pictures, and what names none, which has been said.

    Raises:
        ImageError: there is no picture at all, or `out` is no folder.
    """
    if out.exists() and not out.is_dir():
        raise ImageError(f"--out '{out}' is a file, but explain needs a folder. Name a folder.")
    if out.suffix.lower() in RESULTS and not out.exists():
        raise ImageError(
            f"--out '{out}' looks like a file name, but explain needs a folder, because it writes "
            f"one file per map. Use --out {out.parent / out.stem}"
        )
    given = find_pictures(images, leave_out=out)
    pictures, misses = given.pictures, given.misses
    for left_out in given.left_out:
        say_note(left_out)
    if not any(Path(picture).exists() for picture in pictures):
        misses += [f"file '{picture}' not found. Check the path." for picture in pictures]
        *others, last = misses
        for miss in others:
            say_error(miss)
        raise ImageError(last)
    for miss in misses:
        say_error(miss)
    return pictures, misses


@dataclass(frozen=True)
class _Files:
    """The files that explanations are written to, and how they are drawn.

    Attributes:
        look: as `Explanation.overlay` takes it.
        overlay_only: whether pictures are the overlay alone.
        heat: whether figures show the map alone as well.
        model: its name where it is not the default, so that runs with two models in one folder
            keep apart.
        layer: whether the layer was named, for the same reason.
    """

    names: FileNames
    kinds: Sequence[str]
    look: Mapping[str, Any]
    overlay_only: bool
    heat: bool
    model: str | None
    layer: bool

    def write(self, picture: str, explanation: Explanation) -> list[Path]:
        """Write an explanation in all the kinds that were asked for.

        Raises:
            OSError: a file cannot be written.
        """
        parts = [explanation.method, explanation.label]
        if self.layer:
            parts.insert(1, explanation.layer)
        if self.model is not None:
            parts.insert(0, self.model)
        files = self.names.claim(picture, parts, self.kinds)
        for file in files:
            try:
                self._write(explanation, file)
            except OSError as error:  # which names the file that is written aside, if any
                raise OSError(error.errno, error.strerror or str(error), str(file)) from error
        return files

    def _write(self, explanation: Explanation, path: Path) -> None:
        """One file, whole or not at all."""
        if self.overlay_only and path.suffix not in DATA:
            save_picture(path, explanation.overlay(**self.look), "an overlay")
        else:
            explanation.save(path, **self.look, heat=self.heat)


def explained(
    explainer: Explainer,
    pictures: Sequence[str],
    targets: Any,
    fail: Callable[[str, str], None],
    advance: Callable[[], None],
) -> Iterator[tuple[str, Explanation]]:
    """Each explanation with the path of its picture; `fail` hears of those that have none.

    Raises:
        SeewhyError: what is asked for fails with any picture, not only with this one.
    """
    waiting: deque[str] = deque()
    works = False

    def read_on() -> Iterator[str]:
        for picture in pictures:
            waiting.append(picture)
            yield picture

    def on_error(source: Any, error: SeewhyError) -> None:
        if not (works or isinstance(error, ImageError)):
            _try_without_picture(explainer, targets[0] if isinstance(targets, list) else targets)
        waiting.remove(source)
        fail(source, str(error))
        advance()

    shown = None  # the picture whose explanations are coming
    for explanation in explainer.many(read_on(), targets, on_error=on_error):
        works = True
        if explanation.picture is not shown:
            if shown is not None:
                waiting.popleft()
                advance()
            shown = explanation.picture
        yield waiting[0], explanation
    if shown is not None:
        advance()


def _try_without_picture(explainer: Explainer, targets: Any) -> None:
    """Explain a black input, to learn whether what failed is the picture's or the command's."""
    import torch

    preprocess = explainer.preprocess
    black = torch.zeros(len(preprocess.mean), *preprocess.size)

    def as_error(source: Any, error: SeewhyError) -> None:  # noqa: ARG001
        raise error

    list(explainer.many([black], targets, on_error=as_error))


def show(lines: Sequence[Line], *, several_layers: bool) -> None:
    """The table, the files and the warnings."""
    names = told_apart([line.image for line in lines])
    show_results(
        ["picture", "target", "score", "probability", "method", *["layer"] * several_layers],
        [
            (
                names[line.image],
                line.target,
                score_in_words(line.score),
                probability_in_words(line.probability),
                line.method,
                *[line.layer] * several_layers,
            )
            for line in lines
        ],
        [line.files for line in lines],
        right=("score", "probability"),
    )
    say_warnings(
        (f"{names[line.image]}, {line.target}, {line.method}", line.warnings) for line in lines
    )
