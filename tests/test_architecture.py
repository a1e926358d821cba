"""The arrows between the rooms point one way, and the door shows what it says."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import seewhy

SOURCE = Path(seewhy.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))

# What the modules of a room may import from seewhy, and never do.
MAY_IMPORT = {
    "methods": {"methods", "scaling", "errors"},
    "render": {"render", "errors", "saving"},
    "saving": {"data_file", "endings", "errors", "files"},
    "data_file": {"facts", "files", "errors"},
    "facts": set(),
    "endings": {"errors"},
    "one_line": set(),
    "report": {"report", "render", "errors"},
    "boxes": {"errors"},
    "labels": {"boxes", "images"},
    "metrics": {"metrics", "boxes", "scaling", "errors"},
    "models": {"models", "errors", "images", "one_line", "progress"},
    "progress": set(),
    "targets": {"targets", "errors"},
    "images": {"errors"},
    "files": set(),
    "scaling": {"errors"},
    "tiles": {"attribution", "models", "targets", "errors"},
    "dataset": {"dataset", "targets", "files", "one_line", "errors"},
    "errors": set(),
    "layers": {"models", "errors"},
    "evidence": {"models", "targets", "errors"},
    "attribution": {"evidence", "models", "methods", "targets", "layers", "errors"},
    "evaluation": {
        "evaluation",
        "explainer",
        "attribution",
        "metrics",
        "dataset",
        "models",
        "methods",
        "targets",
        "layers",
        "images",
        "boxes",
        "endings",
        "files",
        "one_line",
        "render",
        "report",
        "version",
        "errors",
    },
    "explanation": {
        "images",
        "targets",
        "errors",
        "render",
        "boxes",
        "data_file",
        "endings",
        "facts",
        "one_line",
        "saving",
    },
}


def imports(path: Path, *, types_too: bool = True) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if not types_too:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                node.body = [ast.Pass()]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_arrows_point_one_way(path: Path) -> None:
    room = room_of(path)
    if room not in MAY_IMPORT:
        return
    rooms = {name.split(".")[1] for name in imports(path) if name.startswith("seewhy.")}
    assert rooms <= MAY_IMPORT[room]


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if room_of(path) in ("render", "report")],
    ids=lambda p: f"{room_of(p)}/{p.name}",
)
def test_render_and_report_import_no_torch(path: Path) -> None:
    found = imports(path, types_too=False)
    assert not any(name == "torch" or name.startswith("torch.") for name in found)
    assert not any(name.startswith(("seewhy.images", "seewhy.explanation")) for name in found)


def test_hooks_live_in_one_file() -> None:
    holders = [p.relative_to(SOURCE) for p in FILES if "register_forward" in p.read_text("utf-8")]
    assert holders == [Path("models/watch.py")]


def test_every_public_name_is_there_and_no_other() -> None:
    assert sorted(seewhy.__all__) == sorted(set(seewhy.__all__))
    for name in seewhy.__all__:
        assert getattr(seewhy, name) is not None, name
    assert set(dir(seewhy)) == set(seewhy.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        seewhy.nothing  # noqa: B018


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, seewhy; assert 'torch' not in sys.modules, 'torch';"
        "seewhy.explain, seewhy.attribute, seewhy.compare, seewhy.find_features;"
        "seewhy.find_concepts;"
        "heavy = {'matplotlib', 'scipy', 'torchvision', 'timm', 'typer', 'rich'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
