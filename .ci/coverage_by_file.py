"""Fails where a file is covered by less than it must be: coverage itself knows but a total."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

IN_OTHER_PROCESSES = (
    "src/seewhy/runs/nursery.py", "src/seewhy/runs/worker.py", "src/seewhy/runs/processes.py",
)  # fmt: skip
"""Files whose lines run in processes that tests kill, where coverage does not follow; they are
tested by tests/runs/test_workers.py."""


def main() -> int:
    """Prints what is too low and exits with 1 if anything is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path, help="what pytest --cov-report=json wrote")
    parser.add_argument("--least", type=float, required=True, help="percent of each file's lines")
    args = parser.parse_args()
    files = json.loads(args.report.read_text(encoding="utf-8"))["files"]
    if not files:
        print(f"{args.report} names no file, so nothing was measured")
        return 1
    shares = {name: one["summary"]["percent_covered"] for name, one in files.items()}
    low = {
        name: share
        for name, share in shares.items()
        if share < args.least and name not in IN_OTHER_PROCESSES
    }
    for name, share in sorted(low.items(), key=lambda pair: pair[1]):
        print(f"{name} is covered by {share:.0f} %; at least {args.least:g} % is wanted")
    if not low:
        least = min(share for name, share in shares.items() if name not in IN_OTHER_PROCESSES)
        apart = len(IN_OTHER_PROCESSES)
        print(f"each of {len(shares)} files but {apart} is covered by at least {least:.0f} %")
    return 1 if low else 0


if __name__ == "__main__":
    raise SystemExit(main())
