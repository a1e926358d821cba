"""`seewhy run` as it is typed."""

from __future__ import annotations

import json

from tiny_networks import TINY

import seewhy as package
from seewhy.cli.run_progress import duration, in_words
from seewhy.runs import Progress


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
