"""Files are there whole or not at all, and what a killed process left is removed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from seewhy.saving import files
from seewhy.saving.files import written_aside

WRITER = """
import sys, time
from pathlib import Path
from seewhy.saving.files import written_aside
with written_aside(Path(sys.argv[1])) as aside:
    aside.write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def _a_new_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test is a run of its own: each folder is looked at once in a run."""
    monkeypatch.setattr(files, "_tidied", set())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(path: Path, content: str = "whole") -> None:
    with written_aside(path) as aside:
        aside.write_text(content)


def write_half(path: Path) -> None:
    with written_aside(path) as aside:
        aside.write_text("half")
        raise ZeroDivisionError


@contextmanager
def started(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process in the midst of writing, killed at the end as `kill -9` does it."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    with writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "writing\n"
            yield writer
        finally:
            writer.kill()


def test_what_is_written_appears_at_the_end_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    with written_aside(path) as aside:
        aside.write_text("whole")
        assert not path.exists()
        assert aside.name == "a.txt"
    assert path.read_text() == "whole"
    assert names(path.parent) == ["a.txt"]
    with pytest.raises(ZeroDivisionError):
        write_half(path)
    assert path.read_text() == "whole"
    assert names(path.parent) == ["a.txt"]


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    with started(tmp_path / "a.txt"):
        (left,) = names(tmp_path)
        assert left.startswith(".seewhy-")
    assert names(tmp_path) == [left]
    write(tmp_path / "b.txt")
    assert names(tmp_path) == ["b.txt"]


def test_what_a_living_process_writes_is_left_alone(tmp_path: Path) -> None:
    with started(tmp_path / "a.txt"):
        (here,) = names(tmp_path)
        write(tmp_path / "b.txt")
        assert names(tmp_path) == [here, "b.txt"]
        assert (tmp_path / here / "a.txt").read_bytes() == b"half"


def test_a_folder_without_a_lock_is_removed_after_a_day(tmp_path: Path) -> None:
    for name, age in ((".seewhy-new", 0), (".seewhy-old", 25 * 3600), ("other", 25 * 3600)):
        (tmp_path / name).mkdir()
        then = time.time() - age
        os.utime(tmp_path / name, (then, then))
    write(tmp_path / "a.txt")
    assert names(tmp_path) == [".seewhy-new", "a.txt", "other"]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / files._LOCK).touch()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".seewhy-link").symlink_to(tmp_path / "mine")
    write(tmp_path / "out" / "a.txt")
    assert (tmp_path / "mine" / files._LOCK).exists()


def test_threads_and_processes_that_tidy_take_nothing_from_each_other(tmp_path: Path) -> None:
    """Every writer forgets that it has tidied, so that all look at all others' folders."""
    failed: list[BaseException] = []

    def many(number: int) -> None:
        try:
            for i in range(40):
                files._tidied.clear()
                write(tmp_path / f"{number}-{i}.txt", f"{number} {i}")
        except BaseException as error:  # told to the test, which runs in another thread
            failed.append(error)

    code = (
        "import sys; from pathlib import Path; from seewhy.saving import files\n"
        "for i in range(40):\n"
        "    files._tidied.clear()\n"
        "    with files.written_aside(Path(sys.argv[1]) / f'p-{i}.txt') as aside:\n"
        "        aside.write_text(f'p {i}')\n"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    threads = [threading.Thread(target=many, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert other.wait() == 0
    assert not failed
    assert len(names(tmp_path)) == 5 * 40
    for path in tmp_path.iterdir():
        assert path.read_text() == path.stem.replace("-", " ")


def test_a_folder_that_another_took_before_it_was_locked_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, taken = files._taken, iter([True, False])
    monkeypatch.setattr(files, "_taken", lambda lock: next(taken) or real(lock))
    write(tmp_path / "a.txt")
    # The one that was given up is the other's to remove.
    assert [name[:8] for name in names(tmp_path)] == [".seewhy-", "a.txt"]
