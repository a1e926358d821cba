"""Interrupt runs 2,000 times, at random moments and lines, and count what was left changed.

    python benchmarks/interrupts.py [COUNT]

One method of each kind: watching a layer, rerunning from it, gradients under another rule, and
attention. Half of the interrupts come at a line or a call of the code that changes a model and puts
it back, half at a random time; of each half one in two as Ctrl-C, and one in two raised on the
spot, which nothing can make wait. See tests/interrupting.py.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from interrupting import (
    METHODS,
    Interrupt,
    differences,
    explain,
    interrupted_after,
    network,
    state,
)


def main(count: int) -> int:
    torch.set_num_threads(1)
    sys.unraisablehook = lambda _: None  # interrupts while an object is deleted
    each, draw, violations = count // len(METHODS), random.Random(0), 0
    print("| method | interrupts | reached the caller | left something changed |")
    print("| --- | --- | --- | --- |")
    for method in METHODS:
        model = network(method)
        explain(model, method)
        began = time.perf_counter()
        explain(model, method)
        took = time.perf_counter() - began
        before = state(model)
        events = Interrupt(None)
        events.run(model, method)
        reached, changed = 0, []
        for number in range(each):
            by_signal = number % 4 < 2
            if number % 2:
                after = draw.uniform(1e-5, took)
                reached += interrupted_after(after, model, method, by_signal=by_signal)
                where = f"after {after:.5f} of {took:.5f} s"
            else:
                interrupt = Interrupt(draw.randrange(events.count), by_signal=by_signal)
                reached += interrupt.run(model, method)
                where = interrupt.where
            different = differences(before, state(model))
            if different:
                changed.append(f"{where}: {', '.join(different)}")
                model = network(method)
                before = state(model)
        violations += len(changed)
        print(f"| `{method}` | {each} | {reached} | {len(changed)} |", flush=True)
        for one in changed:
            print(f"  {one}", file=sys.stderr)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000))
