"""Rows of a run: nothing lost and nothing twice, whatever interrupts it."""

from __future__ import annotations

import errno
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from seewhy.dataset.results import (
    Row,
    open_results,
    read_results,
)
from seewhy.errors import DataError

PROTOCOL: dict[str, Any] = {"model": "demo", "metrics": {"deletion": {"steps": 10}}, "size": (2, 3)}


def row(number: int, **values: Any) -> Row:
    return Row(f"img{number}.jpg", "grad-cam", "tabby", values or {"deletion": number / 7})


def fill(path: Path, count: int, first: int = 0) -> None:
    with open_results(path, PROTOCOL) as store:
        store.add([row(number) for number in range(first, first + count)])


def test_rows_come_back_as_they_went_in(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.jsonl"
    rows = [
        row(0, deletion=0.1 + 0.2, curve=[1.0, math.inf, -math.inf], note="ä\n„x“"),
        Row("img0.jpg", "grad-cam", "tiger\ncat", {"parts": {"a": 1}, "hit": True}),
        Row("img0.jpg", "cam", "tabby", {}),
    ]
    with open_results(path, PROTOCOL) as store:
        store.add(rows[:1])
        store.add(rows[1:])
        assert rows[1].key in store
        assert ("img0.jpg", "cam", "tiger") not in store
        assert store.rows == tuple(rows)
    found = read_results(path)
    assert found.rows == tuple(rows)
    assert found.protocol == {**PROTOCOL, "size": [2, 3]}
    for line in path.read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_what_is_not_defined_stays_so(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with open_results(path, PROTOCOL) as store:
        store.add([row(0, deletion=math.nan, curve=[1.0, math.nan])])
    (found,) = read_results(path).rows
    assert math.isnan(found.values["deletion"])
    assert math.isnan(found.values["curve"][1])
    assert "NaN" not in path.read_text()


def test_a_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    fill(path, 2)
    with open_results(path, PROTOCOL) as store:
        assert len(store) == 2
        todo = [row(number) for number in range(4) if row(number).key not in store]
        store.add(todo)
    assert read_results(path).rows == tuple(row(number) for number in range(4))


def test_a_row_is_there_once(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    fill(path, 2)
    with open_results(path, PROTOCOL) as store:
        with pytest.raises(DataError, match=r"already has a row of img1\.jpg, grad-cam, tabby"):
            store.add([row(2), row(1)])
        with pytest.raises(DataError, match="already"):
            store.add([row(3), row(3)])
        assert len(store) == 2
    assert len(read_results(path).rows) == 2
    with path.open("ab") as file:  # two runs on a drive without locks
        file.write(path.read_bytes().splitlines(keepends=True)[1])
    assert read_results(path).rows == (row(0), row(1))


def test_cut_off_anywhere_it_goes_on_to_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    fill(path, 2)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        if b"\n" in whole[:length]:
            known = len(read_results(path).rows)
            assert path.read_bytes() == whole[:length]  # reading changes nothing
        else:
            known = 0
        with open_results(path, PROTOCOL) as store:
            assert len(store) == known
            store.add([row(number) for number in range(known, 2)])
        assert path.read_bytes() == whole


KILLED = """
import sys
from seewhy.dataset.results import Row, open_results
with open_results(sys.argv[1], {"model": "demo"}) as store:
    for number in range(10**9):
        key = (f"img{number}.jpg", "grad-cam", "tabby")
        if key not in store:
            store.add([Row(*key, {"curve": [number / 7] * 2000})])
            print(number, flush=True)
"""


def test_a_process_killed_while_writing_loses_nothing_it_had_reported(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    reported = -1
    for _ in range(2):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for _ in range(20):
                number = int(process.stdout.readline())
                assert number > reported
                reported = number
            process.kill()
            for line in process.stdout:  # what it said before the blow
                reported = int(line)
        names = [found.record for found in read_results(path).rows]
        assert names == [f"img{number}.jpg" for number in range(len(names))]
        assert len(names) > reported
    assert all(len(found.values["curve"]) == 2000 for found in read_results(path).rows)


def test_a_full_disk_leaves_whole_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.jsonl"
    write = os.write

    def full(file: int, content: bytes) -> int:
        if len(content) < 50:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, content[:40])

    fill(path, 2)
    before = path.read_bytes()
    with open_results(path, PROTOCOL) as store:
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", full)
            with pytest.raises(DataError, match=r"could not be written \(No space left"):
                store.add([row(2), row(3)])
        assert path.read_bytes() == before
        store.add([row(2)])
    assert len(read_results(path).rows) == 3


def test_another_protocol_is_refused_and_what_differs_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    fill(path, 1)
    before = path.read_bytes()
    other = {"model": "demo", "metrics": {"deletion": {"steps": 20}}, "seed": 1}
    with pytest.raises(DataError) as raised, open_results(path, other):
        pass
    said = str(raised.value)
    assert "was made with another protocol: metrics.deletion.steps was 10 and is 20 now" in said
    assert "size was [2, 3] and is not given now" in said
    assert "seed was not given and is 1 now" in said
    assert path.read_bytes() == before


def test_two_runs_do_not_write_to_one_file(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    path = tmp_path / "rows.jsonl"
    with open_results(path, PROTOCOL), pytest.raises(DataError, match="another run is writing"):
        fill(path, 1)
    fill(path, 1)


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    for content in (b"my notes, without an end of line", b"{}\n", b'{"seewhy'[:3] + b"!"):
        path.write_bytes(content)
        with pytest.raises(DataError, match="is not a results file of seewhy"):
            fill(path, 1)
        assert path.read_bytes() == content
    with pytest.raises(DataError, match="cannot be read"):
        read_results(tmp_path / "nowhere.jsonl")
    path.write_bytes(b"")
    with pytest.raises(DataError, match="contains no results yet"):
        read_results(path)


@pytest.mark.parametrize(
    "damage",
    [
        b"\0\0\0\n",
        b'{"record": "a"}\n',
        b"[1, 2]\n",
        b'{"record": {}, "method": "a", "target": "b", "values": {}}\n',
        b'{"record": "a", "method": [null], "target": "b", "values": {}}\n',
        b'{"record": "a", "method": "a", "target": "b", "values": [1]}\n',
        b"[" * 100_000 + b"\n",
    ],
    ids=["bytes", "cut off", "list", "object", "null", "values", "deep"],
)
def test_a_damaged_line_is_named(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    fill(path, 3)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], damage, *lines[3:]]))
    with pytest.raises(DataError, match="line 3, is damaged"):
        read_results(path)


def test_a_row_that_is_replaced_counts_from_then_on(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    fill(path, 3)
    with open_results(path, PROTOCOL) as store:
        changed = row(1, deletion=0.125)
        store.replace([changed, row(7)])
        assert store[changed.key] == changed
    assert read_results(path).rows == (row(0), changed, row(2), row(7))
