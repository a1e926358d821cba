"""Kill a run at random moments, its driver and its workers, and compare what it wrote in the end.

    python benchmarks/kill_runs.py --data FOLDER [--kills 20]

Each round starts the same command again until it ends by itself; a moment drawn by the seed later
the driver, or one of its workers, gets SIGKILL. In the end the run's keys must be the manifest's,
each once, and its numbers those of an undisturbed run. The result is written into docs/scale.md.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import seewhy

PAGE = Path(__file__).parent.parent / "docs" / "scale.md"


def command(data: Path, out: Path, limit: int) -> list[str]:
    return [
        sys.executable, "-m", "seewhy", "run", str(data), "--out", str(out), "--workers", "2",
        "--limit", str(limit), "--shard-size", "16",
    ]  # fmt: skip


def descendants(parent: int) -> list[int]:
    """All processes below one, on Linux."""
    try:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    except OSError:
        return []
    return [one for child in map(int, children) for one in (child, *descendants(child))]


def victims(driver: int, kind: str) -> list[int]:
    if kind == "driver":
        return [driver]
    return [
        one for one in descendants(driver)
        if "seewhy.runs.nursery" in words(one)
    ]  # fmt: skip


def words(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def disturbed(
    data: Path, out: Path, limit: int, kills: int, seed: int, longest: float
) -> list[str]:
    """Run until it ends, killing; what was killed when."""
    chance = random.Random(seed)
    killed: list[str] = []
    while True:
        begun = time.monotonic()
        process = subprocess.Popen(
            command(data, out, limit), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while process.poll() is None and len(killed) < kills:
            time.sleep(chance.uniform(0.3, longest))
            kind = chance.choice(["driver", "worker"])
            found = victims(process.pid, kind) if process.poll() is None else []
            if found:
                os.kill(chance.choice(found), signal.SIGKILL)
                killed.append(f"{kind} after {time.monotonic() - begun:.1f} s")
        if process.wait() == 0 and len(killed) >= kills:
            return killed
        if process.returncode == 0:  # it ended before all were used up: undo some of it
            for part in list(out.glob("part-*.parquet"))[::2]:
                part.unlink()


def difference(out: Path, whole: Path) -> tuple[float, int, int]:
    """(largest difference over the map's maximum, differing decisions, wrong keys)."""
    one, other = seewhy.read_run(out), seewhy.read_run(whole)
    rows, wanted = one.table(), other.table()
    ids = rows["id"].to_pylist()
    wrong = len(ids) - len(set(ids)) + len(set(ids) ^ set(range(len(other.manifest))))
    decisions = sum(
        a != b for a, b in zip(rows["predicted"].to_pylist(), wanted["predicted"].to_pylist(),
                               strict=True)
    )  # fmt: skip
    largest = 0.0
    for a, b in zip(one.maps(rows), other.maps(wanted), strict=True):
        if a is not None and b is not None and np.abs(b).max() > 0:
            largest = max(largest, float(np.abs(a - b).max() / np.abs(b).max()))
    return largest, decisions, wrong


def write(name: str, text: str) -> None:
    """Put a text between the marks of that name in the page."""
    page = PAGE.read_text(encoding="utf-8")
    made, count = re.subn(
        rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)",
        lambda found: f"{found[1]}{text}\n{found[2]}",
        page,
        flags=re.S,
    )
    assert count == 1, f"{PAGE} has no place for {name}"
    PAGE.write_text(made, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--limit", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=15, help="seconds between two kills")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        whole, out = Path(folder, "whole"), Path(folder, "out")
        subprocess.run(command(args.data, whole, args.limit), check=True)
        killed = disturbed(args.data, out, args.limit, args.kills, args.seed, args.longest)
        largest, decisions, wrong = difference(out, whole)
    drivers = sum(one.startswith("driver") for one in killed)
    text = (
        f"{len(killed)} kills at random moments, all against one run ({drivers} of the driver, "
        f"{len(killed) - drivers} of a worker), {args.limit} pictures, "
        f"{wrong} keys "
        f"missing or twice, {decisions} decisions that differ, largest difference of a map "
        f"{largest:.1g} of its maximum."
    )
    print(text)
    write("kills", text)
    assert not wrong
    assert not decisions
    assert largest <= 1e-3


if __name__ == "__main__":
    main()
