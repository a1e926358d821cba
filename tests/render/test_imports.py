from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import seewhy.render

MODULES = sorted(Path(seewhy.render.__file__).parent.glob("*.py"))


def imported(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_drawing_knows_no_torch_and_no_pyplot(module):
    tree = ast.parse(module.read_text(encoding="utf-8"))
    names = imported(tree)
    assert not [name for name in names if name.split(".")[0] == "torch" or "pyplot" in name]
    # For typing too: a drawing says itself what it takes, and knows no result's class.
    ours = {name for name in names if name.startswith("seewhy.")}
    may = ("seewhy.render", "seewhy.errors") + ("seewhy.saving",) * (module.name == "drawing.py")
    assert all(name.startswith(may) for name in ours), ours
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    at_the_top = {
        name
        for node in tree.body
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef))
        for name in imported(node)
    }
    if module.name == "drawing.py":  # a kind of matplotlib's figure, imported where one is made
        return
    assert not [
        name for name in at_the_top if name.startswith(("matplotlib", "seewhy.render.drawing"))
    ]


def test_drawing_loads_neither_pyplot_nor_torch():
    program = """
import sys
from types import SimpleNamespace
import numpy as np
from seewhy.render import colormap, feature_maps, figure, grid, overlay, page, text
assert "matplotlib" not in sys.modules
picture = np.zeros((20, 30, 3), np.uint8)
window = SimpleNamespace(left=0, top=0, right=30, bottom=20)
one = SimpleNamespace(
    map=np.ones((2, 2)), heatmap=np.ones((20, 30)), picture=picture, window=window, signed=False,
    label="tabby", score=1.0, probability=0.5, method="cam", layer="layer4", model="demo",
    image="cat.jpg", warnings=(),
)
figure.page_of(one).figure.canvas.draw()
grid.page_of([[one]]).figure.canvas.draw()
import matplotlib
assert "matplotlib.pyplot" not in sys.modules
assert "torch" not in sys.modules
assert matplotlib.rcParams._get("backend") is matplotlib.rcsetup._auto_backend_sentinel
"""
    subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", program],
        check=True,
    )
