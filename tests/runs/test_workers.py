"""Worker processes: the same rows, whoever dies when."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from run_networks import Deadly, loaded, write_deadly, write_pictures

import seewhy
from seewhy.errors import DataError, ModelError
from seewhy.runs.parts import parts_done

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
PATIENCE = 900  # seconds: far beyond what a busy machine takes


def equal(one, other) -> None:
    """The rows of two runs: the same keys and decisions, maps to a thousandth of the largest."""
    keys = ["id", "method", "layer", "target", "predicted", "error"]
    assert one.table(keys).to_pylist() == other.table(keys).to_pylist()
    pairs = zip(one.maps(one.table()), other.maps(other.table()), strict=True)
    for first, second in pairs:
        if first is None or second is None:
            assert first is second
        else:
            assert np.abs(first - second).max() <= 1e-3 * np.abs(first).max()


def test_workers_write_what_one_process_writes(tmp_path) -> None:
    write_pictures(tmp_path / "pictures", 30)
    heard = []
    here = seewhy.run(loaded(), tmp_path / "pictures", tmp_path / "here", workers=0, shard_size=4)
    there = seewhy.run(
        loaded(), tmp_path / "pictures", tmp_path / "there", workers=2, shard_size=4,
        progress=heard.append,
    )  # fmt: skip
    equal(here, there)
    assert heard[0].done == 0
    assert heard[-1].done == heard[-1].total == 30
    assert [one.done for one in heard] == sorted(one.done for one in heard)
    assert heard[-1].rate > 0


@pytest.mark.parametrize("how", [signal.SIGSEGV, signal.SIGKILL])
def test_a_picture_that_ends_the_process_is_named_and_all_others_are_done(tmp_path, how) -> None:
    write_pictures(tmp_path / "pictures", 24)
    for name in ("0005a.png", "0017a.png"):
        write_deadly(tmp_path / "pictures" / name)
    made = seewhy.run(
        loaded(Deadly(how)), tmp_path / "pictures", tmp_path / "run", workers=2, shard_size=20
    )
    assert made.table(["id"])["id"].to_pylist() == list(range(26))
    failures = made.failures.to_pylist()
    assert [Path(row["uri"]).name for row in failures] == ["0005a.png", "0017a.png"]
    assert all(how.name in row["error"] for row in failures)
    assert made.told.failed == 2
    assert len({str(part) for part in made.parts}) == 2
    assert not (tmp_path / "run" / ".pieces").exists() or not any(
        (tmp_path / "run" / ".pieces").iterdir()
    )


SCRIPT = """
    import sys
    from run_networks import Slow, loaded
    import seewhy

    seewhy.run(
        loaded(Slow(0.05)), sys.argv[1], sys.argv[2], workers=2, shard_size=4, batch_size=2,
    )
"""  # without a guard for __main__, as people write them


@contextmanager
def started(pictures: Path, out: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run in a program of its own, which has ended when the block has."""
    script = out.with_suffix(".py")
    script.write_text(textwrap.dedent(SCRIPT))
    process = subprocess.Popen(
        [sys.executable, str(script), str(pictures), str(out)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for_parts(out: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while len(parts_done(out)) < count:
        assert process.poll() is None, "it has ended before"
        assert time.monotonic() < end, "no part came"
        time.sleep(0.02)


def test_a_driver_that_is_killed_goes_on_where_it_was(tmp_path) -> None:
    write_pictures(tmp_path / "pictures", 60)
    out = tmp_path / "run"
    with started(tmp_path / "pictures", out) as process:
        wait_for_parts(out, 3, process)
    kept = parts_done(out)
    assert 3 <= len(kept) < 15
    with started(tmp_path / "pictures", out) as again:
        assert again.wait(PATIENCE) == 0
    whole = seewhy.run(loaded(), tmp_path / "pictures", tmp_path / "whole", workers=0)
    equal(whole, seewhy.read_run(out))
    assert seewhy.read_run(out).finished


def test_a_worker_that_is_killed_by_accident_names_nobody(tmp_path) -> None:
    write_pictures(tmp_path / "pictures", 60)
    out = tmp_path / "run"
    with started(tmp_path / "pictures", out) as process:
        wait_for_parts(out, 2, process)
        workers = grandchildren(process.pid)
        assert len(workers) >= 2
        os.kill(workers[0], signal.SIGKILL)
        assert process.wait(PATIENCE) == 0
    made = seewhy.read_run(out)
    assert made.finished
    assert not len(made.failures)
    assert made.table(["id"])["id"].to_pylist() == list(range(60))


def grandchildren(parent: int) -> list[int]:
    """The workers: what the nursery of a driver has forked."""

    def of(process: int) -> list[int]:
        path = Path(f"/proc/{process}/task/{process}/children")
        return [int(child) for child in path.read_text().split()]

    return [child for nursery in of(parent) for child in of(nursery)]


def test_a_second_run_into_the_folder_is_refused(tmp_path) -> None:
    write_pictures(tmp_path / "pictures", 60)
    out = tmp_path / "run"
    with started(tmp_path / "pictures", out) as process:
        wait_for_parts(out, 1, process)
        with pytest.raises(DataError, match="another run is writing into"):
            seewhy.run(loaded(), tmp_path / "pictures", out, workers=0, shard_size=4)


def test_a_model_that_no_other_process_can_have_is_said(tmp_path) -> None:
    write_pictures(tmp_path / "pictures", 3)
    model = loaded()
    model.module.lock = open(tmp_path / "file", "w")  # noqa: SIM115, PTH123
    try:
        with pytest.raises(ModelError, match="cannot be given to another process"):
            seewhy.run(model, tmp_path / "pictures", tmp_path / "run", workers=1)
    finally:
        model.module.lock.close()
