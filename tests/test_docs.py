"""The docs' examples run, and their tables say what the code says."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
OWN_ADDRESS = re.compile(
    r"https://(github\.com/seewhy-dev/seewhy/(blob|tree)"
    r"|raw\.githubusercontent\.com/seewhy-dev/seewhy)/main/"
)
WITH_PYTHON = [page for page in PAGES if "```python" in page.read_text("utf-8")]


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.name)
def test_the_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = pytest.importorskip("torchvision.models")
    pytest.importorskip("timm")
    import torch

    (tmp_path / "src").symlink_to(REPOSITORY / "src")
    monkeypatch.chdir(tmp_path)
    # What a page calls the reader's own.
    names = {"network": models.resnet18(weights=None), "batch": torch.randn(2, 3, 64, 64)}
    left_out = 0
    for block in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        if "import transformers" in block and find_spec("transformers") is None:
            left_out += 1
            continue
        exec(compile(block, page.name, "exec"), names)
    if left_out:
        pytest.skip(f"{left_out} examples need transformers, which is not installed; others ran")


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
            assert page.name != "README.md", f"{link}: a package index shows the README alone"
            assert (page.parent / link).exists(), link


def test_the_first_use_in_the_readme_is_the_command_that_ci_runs() -> None:
    readme = (REPOSITORY / "README.md").read_text("utf-8")
    assert 'pip install -c constraints.txt -e ".[zoo]" && seewhy demo' in readme
    assert 'pip install -c constraints.txt -e ".[test]" && pytest' in readme
    assert readme.count("&& pytest\n") == 1
    contributing = (REPOSITORY / "CONTRIBUTING.md").read_text("utf-8")
    assert len(contributing.splitlines()) <= 45, "CONTRIBUTING.md fits a screen"
