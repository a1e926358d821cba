"""`seewhy evaluate`: annotated pictures in, how true the maps are out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from seewhy.cli import options, parsing
from seewhy.cli.completion import complete_metrics
from seewhy.cli.help import DATA, RESULTS
from seewhy.cli.loading import ModelOptions
from seewhy.cli.terminal import progress, say, say_error, say_json, say_note, show_table
from seewhy.dataset.formats import FORMATS
from seewhy.errors import DataError
from seewhy.metrics import FILES, METRICS

if TYPE_CHECKING:
    from seewhy.evaluation import Decisions, Evaluation


class Explained(str, Enum):
    """The class to explain."""

    LABEL = "label"
    PREDICTED = "predicted"


_GROUPS = {
    "Localisation": ("localisation",),
    "Faithfulness": (
        "walk", "masked_confidence", "imputation", "infidelity", "sensitivity_n", "saco",
    ),
    "Stability": ("robustness",),
    "Sanity": ("sanity",),
}  # fmt: skip
"""Groups of metrics, and the modules of `seewhy.metrics` that hold them."""

_METRICS = " ".join(
    f"{group}: {', '.join(name for name, file in FILES.items() if file in files)}."
    for group, files in _GROUPS.items()
)

_GAP = 2  # columns between two of a table
_CONFUSED, _WRONG = 5, 10  # pairs of classes and wrong pictures that the terminal shows


def evaluate(
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            "-d",
            metavar="PATH",
            help="Read annotated pictures: a folder with one subfolder per class, Pascal VOC, "
            "COCO, YOLO, masks, or a CSV or JSON table of classes and boxes.",
            show_default=False,
            rich_help_panel=DATA,
        ),
    ],
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            "-n",
            min=1,
            metavar="N",
            help="Evaluate a random sample of N pictures.",
            show_default="all",
            rich_help_panel=DATA,
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            metavar="NAME",
            help=f"Name the format of the data: {', '.join(FORMATS)}.",
            show_default="detected automatically",
            rich_help_panel=DATA,
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            metavar="NAME",
            help="Use this part of the data set, such as val.",
            rich_help_panel=DATA,
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            metavar="FOLDER",
            help="Look for the pictures in this folder.",
            show_default="the usual place in the format",
            rich_help_panel=DATA,
        ),
    ] = None,
    classes: Annotated[
        Path | None,
        typer.Option(
            "--classes",
            metavar="FILE",
            help="Read from this JSON or CSV file which classes of the model each label means.",
            show_default="matched by name or index",
            rich_help_panel=DATA,
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="LABEL,...",
            help="Use only pictures with these labels.",
            show_default="all",
            rich_help_panel=DATA,
        ),
    ] = None,
    model: options.Model = "demo",
    target: Annotated[
        Explained,
        typer.Option(
            "--target",
            "-t",
            metavar="CLASS",
            help="Explain the annotated class (label) or the predicted class (predicted).",
        ),
    ] = Explained.LABEL,
    method: options.Methods = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metrics",
            metavar="NAME,...",
            help=f"Measure these, separated by commas. {_METRICS}",
            show_default="the fast metrics that the annotations allow",
            autocompletion=complete_metrics,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            "-s",
            metavar="KEY=VALUE,...",
            help="Set options of the methods, such as samples=20, and of the metrics, such as "
            "deletion.step=448, road.shares=0.1:0.5 or pointing.on=mask.",
        ),
    ] = None,
    layer: options.Layer = None,
    output: options.Output = None,
    misclassified: Annotated[
        bool,
        typer.Option(
            "--misclassified",
            metavar="",
            help="Use misclassified pictures too.",
        ),
    ] = False,
    by_class: Annotated[
        bool,
        typer.Option(
            "--by-class", metavar="", help="Average per class first, then over the classes."
        ),
    ] = False,
    seed: Annotated[
        int,
        typer.Option("--seed", metavar="N", help="Set the random seed."),
    ] = 0,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="Write the results into this folder. Run the same command again to resume; "
            "changed pictures and annotations are computed again.",
            rich_help_panel=RESULTS,
        ),
    ] = Path("seewhy-out/evaluation"),
    restart: Annotated[
        bool,
        typer.Option(
            "--restart",
            metavar="",
            help="Delete earlier results in the output folder and start again.",
            rich_help_panel=RESULTS,
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            metavar="",
            help="Print one line of JSON per result instead of the tables.",
            rich_help_panel=RESULTS,
        ),
    ] = False,
    pictures: Annotated[
        int,
        typer.Option(
            "--pictures",
            min=0,
            metavar="N",
            help="Draw N pictures with the map of every method, for up to three metrics on which "
            "the methods differ.",
            rich_help_panel=RESULTS,
        ),
    ] = 4,
    wrong: Annotated[
        int,
        typer.Option(
            "--wrong",
            min=0,
            metavar="N",
            help="Draw N misclassified pictures with the maps of the predicted and the true "
            "class. All of them are listed.",
            rich_help_panel=RESULTS,
        ),
    ] = 12,
    loading: ModelOptions = ModelOptions(),
    batch_size: options.BatchSize = 8,
) -> None:
    """Measure the maps: faithfulness, localisation, stability, and dependence on the model.

    The exit status is 0 if no picture failed (a misclassified picture is no failure), 1 if some
    could not be used, 2 if the command is wrong.

    Example: seewhy evaluate --data val/ --method grad-cam,layer-cam --limit 100
    """
    methods = parsing.known_methods(method)
    names = parsing.known_metrics(metrics)
    given = parsing.split(settings)
    of_methods = parsing.method_options([one for one in given if not _of_metric(one)], methods)
    if out.exists() and not out.is_dir():
        raise DataError(f"--out '{out}' is a file, but evaluate needs a folder. Name a folder.")

    from seewhy.dataset import read_dataset, read_mapping
    from seewhy.evaluation.protocol import default_metrics
    from seewhy.evaluation.running import evaluate as evaluated

    with progress(f"reading {data}"):
        dataset = read_dataset(data, kind=kind, images=images, split=split)
    for note in dataset.notes:
        say_note(note)
    if only:
        dataset = dataset.only(parsing.split(only))
    names = names or default_metrics(dataset)
    of_metrics = parsing.metric_options([one for one in given if _of_metric(one)], names)
    mapping = read_mapping(classes) if classes else None
    loaded = loading.load(model)

    def on_error(name: str, reason: str) -> None:
        say_error(reason if name in reason else f"{name}: {reason}")

    collages = sum((METRICS[one].options | of_metrics.get(one, {}))["count"] for one in names
                   if METRICS[one].needs == "collage")  # fmt: skip
    steps = (min(limit or len(dataset), len(dataset)) + collages) * len(methods)
    with progress("evaluating", steps, stdout_is_data=as_json) as advance:
        try:
            found = evaluated(
                loaded, dataset, methods=methods, metrics=names, target=target.value,
                only_correct=not misclassified, mapping=mapping, layer=layer, output=output,
                options=of_methods, metric_options=of_metrics, by_class=by_class, limit=limit,
                pictures=pictures, wrong=wrong, batch_size=batch_size, seed=seed, out=out,
                restart=restart, on_error=on_error, advance=advance,
            )  # fmt: skip
        except OSError as error:
            raise DataError(f"--out '{out}' cannot be written ({error.strerror})") from None
    if as_json:
        say_json({"decisions": found.to_json()["decisions"], "counts": found.counts})
        protocols = {one["name"]: one["protocol"] for one in found.metrics}
        for one in [*found.results, *found.differences]:
            say_json({**one, "protocol": protocols[one["metric"]]})
    else:
        show(found, Console().width)
        say(f"\n{out / 'evaluation.html'}\n")
    if found.problems:
        say_error(
            f"{len(found.problems)} pictures could not be used with all methods. evaluation.json "
            "lists the reasons."
        )
        raise typer.Exit(1)


def _of_metric(setting: str) -> bool:
    """`road.noise=0.1` is a metric's option, `noise=0.1` a method's."""
    return "." in setting.partition("=")[0]


def show(found: Evaluation, width: int) -> None:
    """The tables: a method a row, a metric a column; as many tables as the width asks for."""
    from seewhy.metrics.intervals import LEAST, TOO_FEW

    names = [one["name"] for one in found.methods]
    first = max(map(len, [*names, "several classes: 0000"]))
    for metrics in _fitting([one["name"] for one in found.metrics], width - first):
        rows = _rows(found, names, metrics)
        show_table(["pictures", *metrics] if not rows else ["", *metrics], rows, right=metrics)
        say("")
    for metric in found.metrics:
        if said := _verdicts(found.results, metric["name"]):
            say(f"{metric['title']}: {said}")
    lower = [one["name"] for one in found.metrics if one["better"] == "lower"]
    if lower:
        say(f"lower is better: {', '.join(lower)}")
    say(f"{_counted(found.counts)}; intervals: 95 %, over pictures")
    few = {one["metric"]: None for one in found.results if one["interval"] == TOO_FEW}
    if few:
        say(f"{', '.join(few)}: no interval, because these metrics need at least {LEAST} pictures")
    say("")
    _show_decisions(found.decisions)


def _rows(
    found: Evaluation, names: Sequence[str], metrics: Sequence[str]
) -> list[Sequence[object]]:
    """Of some metrics: for each subset a row that names it, and one for each method."""
    cells = {(one["method"], one["metric"], one["subset"]): one for one in found.results}
    rows: list[Sequence[object]] = []
    for subset in dict.fromkeys(one["subset"] for one in found.results):
        here = {key[:2]: one for key, one in cells.items()
                if key[2] == subset and key[1] in metrics}  # fmt: skip
        there = [name for name in names if any((name, one) in here for one in metrics)]
        if there:
            most = max(one["n"] for one in here.values())
            rows.append((f"{subset}: {most}", *[""] * len(metrics)))
        for name in there:
            own = [here.get((name, one)) for one in metrics]
            rows.append((f"  {name}", *(_cell(one, most) for one in own)))
    return rows


def _counted(counts: Mapping[str, int]) -> str:
    """How many pictures there were, and what became of those that were not used."""
    words = [f"{counts['records']} pictures, {counts['used']} used"]
    words += [
        f"{counts[kind]} {said}"
        for kind, said in (
            ("misclassified and left out", "misclassified and left out"),
            ("no class", "without a class of the model"),
            ("unreadable", "unreadable"),
            ("failed with a method", "failed with a method"),
            ("left out when the data was read", "left out when the data was read"),
            ("computed anew", "computed again, because the picture or its annotation has changed"),
        )
        if counts[kind]
    ]
    return "; ".join(words)


def _show_decisions(decisions: Decisions) -> None:
    """How often the model is right, what it confuses most, and which pictures are wrong."""
    if not decisions.count:
        return
    say(
        f"accuracy {decisions.accuracy:.3f} ({decisions.low:.3f}..{decisions.high:.3f}): "
        f"{decisions.right} of {decisions.count} pictures are right, {len(decisions.wrong)} wrong"
    )
    confused = [one for one in decisions.confusion if not one.right]
    if not confused:
        return
    most = [f"{one.label_name} → {one.predicted} {one.count}" for one in confused[:_CONFUSED]]
    more = len(confused) - len(most)
    say(f"confused: {', '.join(most)}{f'; and {more} more pairs' if more else ''}\n")
    rows = [
        (one.record, one.true_name, _sure(one.true_probability), one.predicted_name,
         _sure(one.probability))
        for one in decisions.wrong[:_WRONG]
    ]  # fmt: skip
    show_table(
        ["wrong picture", "true class", "p", "predicted", "p"],
        rows,
        right=["p"],
        whole=["wrong picture"],
    )
    if (more := len(decisions.wrong) - _WRONG) > 0:
        say(f"and {more} more. evaluation.json lists all of them.")


def _sure(probability: float | None) -> str:
    return "" if probability is None else f"{probability:.2f}"


def _verdicts(results: Sequence[Mapping[str, Any]], metric: str) -> str:
    """Which methods pass a test, and which fail it; nothing of what is no test."""
    by_verdict: dict[str, list[str]] = {}
    for one in results:
        if (one["metric"], one["subset"]) == (metric, "all") and "verdict" in one:
            by_verdict.setdefault(one["verdict"], []).append(one["method"])
    words = {
        "passes": "passed by",
        "fails": "failed by",
        "open": "too few pictures to decide on",
    }
    return "; ".join(f"{said} {', '.join(by_verdict[v])}" for v, said in words.items()
                     if v in by_verdict)  # fmt: skip


def _fitting(metrics: Sequence[str], width: int) -> list[list[str]]:
    """The metrics' columns, parted so that each table is no wider than `width`."""
    tables: list[list[str]] = [[]]
    used = 0
    for name in metrics:
        wide = max(len(name), len("0.123..0.456")) + _GAP
        if tables[-1] and used + wide > width:
            tables.append([])
            used = 0
        tables[-1].append(name)
        used += wide
    return tables


def _cell(result: Mapping[str, Any] | None, most: int) -> str:
    """The mean, its interval, and of how many where that is not what the table's head says."""
    if result is None:
        return ""
    if math.isnan(result["mean"]):
        return "undefined"
    lines = [_number(result["mean"])]
    if not math.isnan(result["low"]):
        lines.append(f"{_number(result['low'])}..{_number(result['high'])}")
    if result["n"] != most:
        lines.append(f"n {result['n']}")
    return "\n".join(lines)


def _number(value: float) -> str:
    small_or_large = 0 < abs(value) < 0.001 or abs(value) >= 1000
    return f"{value:.1e}" if small_or_large else f"{value:.3f}"
