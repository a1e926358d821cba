"""`seewhy run` as it is typed."""

from __future__ import annotations

import io
import json
import sys

import pytest
from tiny_networks import TINY

import seewhy as package
from seewhy.cli.run_progress import duration, in_words, progress_of_run
from seewhy.errors import DataError
from seewhy.runs import Progress
from seewhy.runs.needs import needed


def test_a_folder_is_explained_and_resumed(seewhy, picture) -> None:
    for name in ("a", "b", "c"):
        picture(f"photos/{name}.png")
    command = ("run", "photos", "--out", "made", "--workers", 0, *TINY)
    first = seewhy(*command)
    assert first.exit_code == 0, first.output
    assert "3 pictures explained in" in first.stdout
    assert "made" in first.stdout
    again = seewhy(*command)
    assert again.exit_code == 0
    assert "All 3 pictures were explained before" in again.stdout
    assert len(package.read_run("made").table()) == 3


def test_failures_are_named_and_the_exit_status_is_1(seewhy, picture, tmp_path) -> None:
    picture("photos/a.png")
    (tmp_path / "photos" / "b.png").write_bytes(b"no picture")
    result = seewhy("run", "photos", "--out", "made", "--workers", 0, *TINY)
    assert result.exit_code == 1
    assert "photos/b.png'" in result.stderr
    assert "1 of 2 pictures could not be explained" in result.stderr


def test_another_request_is_refused_with_status_2(seewhy, picture) -> None:
    picture("photos/a.png")
    assert seewhy("run", "photos", "--out", "made", "--workers", 0, *TINY).exit_code == 0
    result = seewhy("run", "photos", "-o", "made", "--workers", 0, "--target", "1", *TINY)
    assert result.exit_code == 2
    assert "holds a run of another request: explaining.target" in result.stderr
    assert seewhy("run", "nothing", "-o", "other", *TINY).exit_code == 2


def test_json_is_one_line_with_the_summary(seewhy, picture) -> None:
    for name in ("a", "b"):
        picture(f"photos/{name}.png")
    result = seewhy(
        "run", "photos", "-o", "made", "--workers", 0, "--overlays", "--overlay-size", 32,
        "--shard-size", 1, "--limit", 1, "--json", *TINY,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["pictures"] == said["done_now"] == said["parts"] == 1
    assert said["failed_now"] == 0
    assert len(list((package.read_run("made").folder / "overlays").rglob("*.jpg"))) == 1


def test_progress_in_words() -> None:
    assert in_words(Progress(50_000, 0, 1200, 3, 74.2, 657.0)) == (
        "1,200 of 50,000 pictures, 74.2 a second, 11 min left, 3 failed"
    )
    assert in_words(Progress(10, 0, 0, 0, None, None, "CPUs")) == (
        "0 of 10 pictures, waiting for CPUs"
    )
    assert [duration(seconds) for seconds in (5, 119, 7500, 400_000)] == [
        "5 s", "2 min", "2 h 5 min", "4 days 15 h",
    ]  # fmt: skip


def test_an_interrupted_run_says_what_is_kept(seewhy, picture, monkeypatch) -> None:
    from seewhy.runs import running

    for name in ("a", "b", "c"):
        picture(f"photos/{name}.png")
    command = ("run", "photos", "-o", "made", "--workers", 0, "--shard-size", 1, *TINY)
    whole = running.run

    def stopped(*given, progress, **more):
        def listen(now) -> None:
            progress(now)
            if now.done == 2:  # the first is written, the second under way
                raise KeyboardInterrupt

        return whole(*given, progress=listen, **more)

    monkeypatch.setattr("seewhy.runs.run", stopped)
    result = seewhy(*command)
    assert result.exit_code == 130
    assert "interrupted. 'made' has 1 of 3 pictures. Run the same command again" in result.stderr
    monkeypatch.setattr("seewhy.runs.run", whole)
    again = seewhy(*command)
    assert again.exit_code == 0
    assert "2 pictures explained in" in again.stdout
    assert "1 were done before" in again.stdout


def test_an_interruption_before_the_first_picture(seewhy, picture, monkeypatch) -> None:
    def stopped(*given, **more):
        raise KeyboardInterrupt

    picture("photos/a.png")
    monkeypatch.setattr("seewhy.runs.run", stopped)
    result = seewhy("run", "photos", "-o", "made", *TINY)
    assert result.exit_code == 130
    assert "Nothing was written" in result.stderr


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_a_bar(monkeypatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress_of_run(stdout_is_data=False) as show:
        show(Progress(10, 0, 4, 0, 2.0, 3.0))
    assert "4 of 10 pictures" in terminal.getvalue()


def test_lines_for_a_program_are_not_drawn_over(monkeypatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "stdout", Terminal())
    with progress_of_run(stdout_is_data=True) as show:
        show(Progress(10, 0, 4, 0, 2.0, 3.0))
    assert not terminal.getvalue()


def test_a_log_hears_of_it_now_and_then(monkeypatch, capsys) -> None:
    monkeypatch.setattr("seewhy.cli.run_progress._EVERY", 0.0)
    with progress_of_run(stdout_is_data=False) as show:
        show(Progress(10, 0, 4, 0, None, None))
    assert capsys.readouterr().err == "4 of 10 pictures\n"


def test_a_package_that_is_missing_is_named_with_its_extra() -> None:
    assert needed("json", "a run", "run").dumps([]) == "[]"
    with pytest.raises(DataError, match=r'pip install "seewhy\[run\]"'):
        needed("no_such_package_here.part", "a run", "run")
