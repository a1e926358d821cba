"""What drawing and saving a picture costs: rewrites its section of docs/benchmarks.md.

Run it from the repository: ``python benchmarks/figures.py``. Nothing is downloaded; the network is
the demo's, and only what comes after the explanation is measured. With ``--print`` the table is
printed and nothing is written.
"""

from __future__ import annotations

import datetime
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from page import write_part
from PIL import Image
from timing import processor

import seewhy
from seewhy.explanation import Explanation

REPOSITORY = Path(__file__).resolve().parent.parent
PHOTO = REPOSITORY / "src" / "seewhy" / "data" / "photos" / "chelsea.jpg"
SIDES = (227, 500)
KINDS = ("png", "jpg", "webp")
ROUNDS = 9


def explained(side: int) -> Explanation:
    """A photograph of this many pixels a side, explained."""
    with Image.open(PHOTO) as photo:
        square = photo.crop((75, 0, 375, 300)).resize((side, side), Image.Resampling.BICUBIC)
    return seewhy.explain(seewhy.load_model("demo"), np.asarray(square))


def afresh(one: Explanation) -> Explanation:
    """The same one before its heatmap was made, which is kept once it is."""
    return replace(one)


def seconds_of(call: Callable[[], object]) -> float:
    """Of a core: the median, since other programs' work is not counted, but caches are theirs."""
    call()
    spent = []
    for _ in range(ROUNDS):
        began = time.process_time()
        call()
        spent.append(time.process_time() - began)
    return statistics.median(spent)


def row(what: str, path: Path, save: Callable[[Path], object], pixels: str) -> str:
    """A line of the table."""
    seconds = seconds_of(lambda: save(path))
    size = path.stat().st_size
    return (
        f"| {what} | {pixels} | {path.suffix[1:]} | {1000 * seconds:.1f} | {1 / seconds:.0f} | "
        f"{size / 1000:.0f} |"
    )


def table(folder: Path) -> str:
    """All that is measured, as Markdown."""
    lines = [
        "| what | picture | file | ms of a core | a second | kB |",
        "|---|---|---|--:|--:|--:|",
    ]
    for side in SIDES:
        one = explained(side)
        for kind in KINDS:
            file = folder / f"figure.{kind}"
            lines.append(row("figure", file, lambda f, one=one: afresh(one).save(f), f"{side} px"))
        for kind in KINDS:
            file = folder / f"overlay.{kind}"
            lines.append(
                row(
                    "overlay alone",
                    file,
                    lambda f, one=one: save_overlay(afresh(one), f),
                    f"{side} px",
                )
            )
    few = seewhy.compare(
        seewhy.load_model("demo"), PHOTO, "top3", method=["grad-cam", "layer-cam", "recipro-cam"]
    )
    for kind in KINDS:
        lines.append(row("grid of 9", folder / f"grid.{kind}", few.save, "451 × 300 px"))
    return "\n".join(lines)


def save_overlay(one: Explanation, path: Path) -> None:
    """As `seewhy explain --overlay-only` does."""
    from seewhy.saving.result import save_picture

    save_picture(path, one.overlay())


def main() -> None:
    """Measure, and write."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with TemporaryDirectory() as folder:
        made = table(Path(folder))
    head = f"- {datetime.date.today().isoformat()}; {processor()}; medians of {ROUNDS} times"
    text = f"{head}\n\n{made}"
    if "--print" in sys.argv:
        print(text)
        return
    write_part(REPOSITORY / "docs" / "benchmarks.md", "figures", "figures.py", text)


if __name__ == "__main__":
    main()
