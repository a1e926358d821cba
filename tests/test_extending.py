"""docs/extending.md: every example is applied to a copy of the source, and then holds.

The page says in words where a block goes: `New file`, `At the end of`, or `In ..., below ...`; what
follows a line that begins with `Then` is run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PAGE = (REPOSITORY / "docs" / "extending.md").read_text("utf-8")
EXAMPLES = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))
MOST = {"A method": 3, "A metric": 2, "A target": 2, "A data format": 2}
WORDS = ("no", "one", "two", "three")


def apply(text: str, root: Path) -> tuple[set[str], list[str]]:
    """Write the blocks to where the words before them say; the files touched, and what to run."""
    touched, then = set(), []
    parts = re.split(r"```py\n(.*?)```", text, flags=re.DOTALL)
    for words, block in zip(parts[::2], parts[1::2], strict=False):
        last = words.strip().split("\n\n")[-1].replace("\n", " ")
        if last.startswith("Then"):
            then.append(block)
            continue
        named = re.search(r"`(src/[^`]+)`", last)
        assert named, last
        file = root / named[1]
        touched.add(named[1])
        if last.startswith("New file"):
            assert not file.exists(), file
            file.write_text(block, "utf-8")
        elif last.startswith("At the end of"):
            file.write_text(f"{file.read_text('utf-8').rstrip()}\n\n\n{block}", "utf-8")
        else:
            below = re.search(r"below `([^`]+)`", last)
            assert below, last
            before = file.read_text("utf-8")
            assert before.count(f"{below[1]}\n") == 1, below[1]
            file.write_text(before.replace(f"{below[1]}\n", f"{below[1]}\n{block}"), "utf-8")
    return touched, then


@pytest.mark.parametrize("title", EXAMPLES)
def test_the_example_holds_and_touches_no_more_files(title: str, tmp_path: Path) -> None:
    shutil.copytree(
        REPOSITORY / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__")
    )
    touched, then = apply(EXAMPLES[title], tmp_path)
    (most,) = (count for kind, count in MOST.items() if title.startswith(kind))
    assert len(touched) <= most
    assert title.endswith(f": {WORDS[len(touched)]} file{'s' * (len(touched) > 1)}")
    assert then
    for code in then:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True,
            text=True, env={**os.environ, "PYTHONPATH": str(tmp_path / "src")}, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    lint = [sys.executable, "-m", "ruff", "check", "--config", REPOSITORY / "pyproject.toml"]
    if shutil.which("ruff"):
        done = subprocess.run(
            [*lint, *sorted(touched)], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout


def test_every_kind_of_extension_has_its_example() -> None:
    assert len(EXAMPLES) == len(MOST)
    assert all(any(title.startswith(kind) for title in EXAMPLES) for kind in MOST)
