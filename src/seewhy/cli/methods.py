"""`seewhy methods`: the formulas, what each needs and what can be set."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from seewhy.cli.terminal import progress, say, say_json, show_table


@dataclass(frozen=True)
class MethodEntry:
    """A method as its function describes itself.

    Attributes:
        name: what to call it by.
        says: the first line of its docstring, which holds the paper.
        paper: authors and year.
        needs: what it asks of the model.
        asks: what has to be computed for it beside one forward pass.
        options: what can be set, with the values it has otherwise.
        cost: what one map took, in forward passes of the network: measured, see `COSTS`; None for
            what the demo network has no attention for.
    """

    name: str
    says: str
    paper: str | None
    needs: tuple[str, ...]
    asks: str
    options: dict[str, Any]
    cost: float | None


START_WITH = {
    "grad-cam": "The default. It is fast and shows where the model sees the class.",
    "guided-grad-cam": "The same region in fine detail, pixel by pixel.",
    "ablation-cam": "A check without gradients: it removes channels and measures the score.",
}
"""The methods that a newcomer tries first, and why; measured in docs/which-method.md."""

COSTS = Path(__file__).resolve().parent.parent / "data" / "costs.json"
"""Written by benchmarks/methods.py: the demo network and one photograph on a CPU."""


def list_methods() -> list[MethodEntry]:
    """Every method of METHODS."""
    from seewhy.methods import METHODS

    costs = json.loads(COSTS.read_text(encoding="utf-8"))
    entries = []
    for name, method in METHODS.items():
        options = {option.name: option.default for option in method.options.values()}
        entries.append(
            MethodEntry(
                name, method.says, method.paper, method.needs, method.cost, options,
                costs.get(name),
            )
        )  # fmt: skip
    return entries


def methods(
    as_json: Annotated[
        bool, typer.Option("--json", metavar="", help="Print one line of JSON per method.")
    ] = False,
) -> None:
    """List the methods with their needs, costs and options."""
    with progress("looking for methods", stdout_is_data=as_json):
        entries = list_methods()
    if as_json:
        for entry in entries:
            say_json(asdict(entry))
        return
    say("Three to start with:\n")
    for name, why in START_WITH.items():
        say(f"{name}\n    {why}")
    say("\nAll methods:\n")
    show_table(
        ["method", "what it draws", "needs", "cost"],
        [(entry.name, _described(entry), entry.asks, _in_words(entry.cost)) for entry in entries],
        right=("cost",),
        whole=("method",),
    )
    say(
        "\ncost: forward passes per map, measured with the demo network. Methods that need\n"
        "attention take 3 to 5 forward passes of a ViT-S/16."
    )
    say(f"\nTry: seewhy explain PICTURE --method {','.join(START_WITH)}")


def _in_words(cost: float | None) -> str:
    return "" if cost is None else f"{cost:.1f}" if cost < 100 else f"{cost:,.0f}"


def _described(entry: MethodEntry) -> str:
    # One option per line: if the column folded them, they could not be copied.
    options = [f"--set {name}={value}" for name, value in entry.options.items()]
    return "\n".join([entry.says, *options])
