"""Every method on one photograph, for two classes, in one picture.

    python examples/gallery.py PICTURE --target cat --target dog --model demo-cat-dog

Methods that compute for minutes are drawn with fewer samples than their default (FEWER).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.progress import track

import seewhy
from seewhy.comparison import Comparison
from seewhy.errors import MethodError

FEWER = {
    "rise": {"masks": 500},
    "ss-cam": {"samples": 2},
    "is-cam": {"steps": 2},
    "occlusion": {"stride": 32, "window": 48},
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Every method on one photograph.")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--model", default="demo-cat-dog")
    parser.add_argument("--target", action="append", help="a class; repeat it for several")
    parser.add_argument("--out", type=Path, default=Path("gallery.png"))
    given = parser.parse_args()
    model = seewhy.load_model(given.model)
    targets = tuple(given.target or ("cat", "dog"))
    rows = []
    for method in track(seewhy.METHODS, description="methods"):
        explainer = seewhy.Explainer(model, method=method, **FEWER.get(method, {}))
        try:
            rows.append(tuple(explainer.many([given.picture], targets)))
        except MethodError as error:  # not defined for this network
            print(f"{method} is left out: {error}")
    titles = tuple(row[0].method for row in rows)
    columns = tuple(explanation.label for explanation in rows[0])
    Comparison(tuple(rows), titles, columns).save(given.out)
    print(f"{len(rows)} methods drawn in {given.out}")


if __name__ == "__main__":
    main()
