"""The docs' examples run, and their tables say what the code says."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import seewhy
from seewhy.cli import app

REPOSITORY = Path(__file__).resolve().parent.parent
DOCS = REPOSITORY / "docs"
READMES = [REPOSITORY / "README.md", REPOSITORY / "README.zh-CN.md"]
PAGES = [*READMES, *sorted(DOCS.glob("*.md"))]
OWN_ADDRESS = re.compile(
    r"https://(github\.com/seewhy-dev/seewhy/(blob|tree)"
    r"|raw\.githubusercontent\.com/seewhy-dev/seewhy)/main/"
)
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```", re.DOTALL | re.MULTILINE)
GUIDES = (
    "start.md", "start.zh-CN.md", "one-picture.md", "my-checkpoint.md", "a-failure.md",
    "a-data-set.md", "convolutional.md",
)  # fmt: skip
"""Pages whose commands run as well; those of the others are about files that only a reader has."""


def blocks_of(page: Path) -> list[tuple[str, str]]:
    """The page's examples in their order: the language and the text."""
    return BLOCK.findall(page.read_text("utf-8"))


def commands_in(block: str) -> Iterator[list[str]]:
    """The words of each call of seewhy in a block for a shell."""
    for line in block.replace("\\\n", " ").splitlines():
        for call in line.split(" && "):
            words = shlex.split(call, comments=True)
            if words[:1] == ["seewhy"]:
                yield words[1:]


WITH_PYTHON = [page for page in PAGES if any(kind == "python" for kind, _ in blocks_of(page))]
COMMANDS = [
    pytest.param(words, id=f"{page.name}: {' '.join(words)[:60]}")
    for page in PAGES
    for kind, block in blocks_of(page)
    if kind == "sh"
    for words in commands_in(block)
]


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.name)
def test_the_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = pytest.importorskip("torchvision.models")
    pytest.importorskip("timm")
    import torch

    (tmp_path / "src").symlink_to(REPOSITORY / "src")
    for photo in (DOCS / "photos").iterdir():  # what a page calls the reader's own, too
        shutil.copy(photo, tmp_path)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {
        "network": models.resnet18(weights=None),
        "batch": torch.randn(2, 3, 64, 64),
    }
    left_out = 0
    for kind, block in blocks_of(page):
        if kind == "sh":
            if page.name in GUIDES:
                run_commands(block)
        elif "import transformers" in block and find_spec("transformers") is None:
            left_out += 1
        else:
            exec(compile(block, page.name, "exec"), names)
    if left_out:
        pytest.skip(f"{left_out} examples need transformers, which is not installed; others ran")


def run_commands(block: str) -> None:
    for words in commands_in(block):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, f"seewhy {shlex.join(words)}\n{done.output}"


@pytest.mark.parametrize("words", COMMANDS)
def test_the_program_knows_every_command_of_the_docs(words: list[str]) -> None:
    group = get_command(app)
    name, *rest = words
    if name.startswith("--"):
        assert name in {one for parameter in group.params for one in parameter.opts}
        return
    command = group.commands[name]  # type: ignore[attr-defined]
    command.make_context(name, rest)  # raises where an option is not known, or a value is wrong


def test_the_reference_has_every_public_name() -> None:
    page = (DOCS / "api.md").read_text("utf-8")
    modules = {name for name in seewhy.__all__ if f"automodule:: seewhy.{name}\n" in page}
    named = set(re.findall(r"^\.\. auto(?:function|class|data|exception):: (\w+)$", page, re.M))
    listed_elsewhere = {"__version__", "SeewhyError"}  # the latter is in seewhy.errors
    assert set(seewhy.__all__) - modules - named - listed_elsewhere == set()
    from seewhy import dataset

    assert {"read_dataset", "map_classes", "Dataset", "Record"} <= set(dataset.__all__) & named


def test_the_tutorial_is_kept_without_outputs() -> None:
    cells = json.loads((DOCS / "tutorial.ipynb").read_text("utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) > 5
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)


def outline(text: str) -> list[str]:
    """How deep each heading is, outside of blocks of code."""
    return re.findall(r"^#+(?= )", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.M)


def code_without_comments(text: str) -> list[str]:
    """Every line of the blocks of code, less what is said in words."""
    blocks = re.findall(r"^```(?!\{)(.*?)^```", text, re.DOTALL | re.M)
    return [re.sub(r"\s*# .*", "", line) for block in blocks for line in block.splitlines()]


def places_linked(text: str) -> list[str]:
    """Where the links and pictures lead, whichever language the page there is in."""
    return sorted(
        re.sub(r"README(\.zh-CN)?\.md", "README.md", link.replace("start.zh-CN.md", "start.md"))
        for link in re.findall(r"\]\(([^)]+)\)", text)
    )


@pytest.mark.parametrize("name", ["README", "docs/start"])
def test_the_chinese_page_is_in_step(name: str) -> None:
    english = (REPOSITORY / f"{name}.md").read_text("utf-8")
    chinese = (REPOSITORY / f"{name}.zh-CN.md").read_text("utf-8")
    assert outline(chinese) == outline(english)
    assert code_without_comments(chinese) == code_without_comments(english)
    assert places_linked(chinese) == places_linked(english)
    assert re.findall(r"\d[\d.]*\d", chinese) == re.findall(r"\d[\d.]*\d", english)


def test_the_tables_are_up_to_date() -> None:
    command = [sys.executable, REPOSITORY / "docs" / "generate.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_are_there(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        own = OWN_ADDRESS.match(link)
        if own:
            assert (REPOSITORY / link[own.end() :]).exists(), link
        elif "://" not in link:
            assert page not in READMES, f"{link}: a package index shows the README alone"
            assert (page.parent / link).exists(), link


def test_the_first_use_in_the_readme_is_the_command_that_ci_runs() -> None:
    readme = (REPOSITORY / "README.md").read_text("utf-8")
    assert 'pip install -c constraints.txt -e ".[zoo]" && seewhy demo' in readme
    assert 'pip install -c constraints.txt -e ".[test]" && pytest' in readme
    assert readme.count("&& pytest\n") == 1
    contributing = (REPOSITORY / "CONTRIBUTING.md").read_text("utf-8")
    assert len(contributing.splitlines()) <= 45, "CONTRIBUTING.md fits a screen"
