"""Fair timing in one process, peak memory of one call, and what machine that was."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Contestant = Callable[[], AbstractContextManager[Callable[[], Any]]]
"""Opens (unmeasured: hooks set, objects made), gives the call that is measured, closes again."""


@dataclass(frozen=True)
class Ratio:
    """How many times as long as another: the median over the rounds, and the quartiles."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Timings:
    """Seconds of each contestant, round by round."""

    seconds: Mapping[str, list[float]]

    @property
    def rounds(self) -> int:
        return len(next(iter(self.seconds.values())))

    def milliseconds(self, name: str) -> float:
        return 1e3 * statistics.median(self.seconds[name])

    def ratio(self, name: str, to: str) -> Ratio:
        """Taken within each round, so that a slow spell of the machine hits both sides."""
        pairs = zip(self.seconds[name], self.seconds[to], strict=True)
        ratios = [one / other for one, other in pairs]
        low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
        return Ratio(median, low, high)


def wall_clock(call: Callable[[], Any]) -> float:
    """Seconds that a call takes."""
    began = time.perf_counter()
    result = call()
    spent = time.perf_counter() - began
    del result
    return spent


def interleaved(
    contestants: Mapping[str, Contestant],
    *,
    seconds: float,
    at_least: int,
    at_most: int,
    seconds_of: Callable[[Callable[[], Any]], float] = wall_clock,
) -> Timings:
    """Every contestant once a round, in a new order each round, for about so many seconds.

    A first round warms up and tells how many rounds the time allows. `seconds_of` measures a call,
    where a device has a clock of its own.
    """
    order = random.Random(0)
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    gc.collect()
    gc.freeze()  # what is there already need not be looked through in every round
    began = time.perf_counter()
    _round(contestants, order, seconds_of)
    one_round = time.perf_counter() - began
    for _ in range(max(at_least, min(at_most, int(seconds / one_round)))):
        for name, spent in _round(contestants, order, seconds_of).items():
            taken[name].append(spent)
    gc.unfreeze()
    return Timings(taken)


def _round(
    contestants: Mapping[str, Contestant],
    order: random.Random,
    seconds_of: Callable[[Callable[[], Any]], float],
) -> dict[str, float]:
    spent = {}
    for name in order.sample(list(contestants), len(contestants)):
        with contestants[name]() as call:
            gc.collect()
            gc.disable()
            spent[name] = seconds_of(call)
            gc.enable()
    return spent


@dataclass(frozen=True)
class Memory:
    """Resident memory in bytes around one call."""

    before: int
    peak: int


def peak_memory(contestant: Contestant, warm_up: Callable[[], Any], *, threads: int) -> Memory:
    """The peak of one first call, in a fork of this process; Linux only.

    `warm_up` runs before the level is taken: the thread pool and the kernels' own caches exist
    then. In the fork, glibc gives every block over 128 KiB back when it is freed, so that resident
    memory follows what is alive. This process must not have computed with several threads yet:
    their pool does not survive a fork.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_measure_peak, args=(contestant, warm_up, threads, sender))
    child.start()
    sender.close()
    try:
        before, peak = receiver.recv()
    except EOFError:
        raise SystemExit("the process that measured the memory died") from None
    child.join()
    return Memory(before, peak)


def _measure_peak(
    contestant: Contestant, warm_up: Callable[[], Any], threads: int, sender: Any
) -> None:
    import torch

    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_THRESHOLD, 128 * 1024)  # as by default, but no longer growing by itself
    torch.set_num_threads(threads)
    warm_up()
    with contestant() as call:
        gc.collect()
        libc.malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
        before = _resident("VmRSS")
        result = call()
        peak = _resident("VmHWM")
        del result
    sender.send((before, peak))


_M_MMAP_THRESHOLD = -3  # malloc.h


def _resident(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def processor() -> str:
    """The processor's name and how many cores this process may use."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores"
