"""What the package's source says of itself: who imports whom, and who reaches into a model.

Everything is read from a tree `{path: text}`, so that a test may change it and see what is said.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterable, Mapping, Set
from pathlib import Path

Tree = Mapping[str, str]
"""Each file's path below `seewhy`, with forward slashes, and its text."""

PACKAGE = "seewhy"
MODES = ("TorchFunctionMode", "TorchDispatchMode")
PUSHES = (*MODES, "_push_mode", "_push_on_torch_function_stack", "_push_on_torch_dispatch_stack")
MODULE_HOOK = re.compile(r"register_(module_)?(forward|full_backward|backward)\w*hook")
TENSOR_HOOK = re.compile(r"register_(post_accumulate_grad_|multi_grad_)?hook|register_prehook")
HOOKS_KEPT = re.compile(r"_(global_)?(forward|backward)(_pre)?_hooks")


def read_tree(source: Path) -> dict[str, str]:
    """All files of the package that lies at `source`."""
    return {
        path.relative_to(source).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(source.rglob("*.py"))
    }


@functools.cache
def nodes_of(text: str) -> list[ast.AST]:
    return list(ast.walk(ast.parse(text)))


def room_of(path: str) -> str:
    """The folder or file at the top level: `models/watch.py` is of `models`, `boxes.py` `boxes`."""
    return path.split("/")[0].removesuffix(".py")


# --- Who imports whom ---------------------------------------------------------------------------


@functools.cache
def names_imported(text: str, *, types_too: bool = True) -> Set[str]:
    """The dotted names that a file imports, inside functions and for typing too."""
    left_out = set()
    if not types_too:
        for node in nodes_of(text):
            if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
                left_out |= {id(inner) for part in node.body for inner in ast.walk(part)}
    found = set()
    for node in nodes_of(text):
        if id(node) in left_out:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno} has a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def file_of(tree: Tree, name: str) -> str | None:
    """The file in which the dotted name is, if it is the package's."""
    parts = name.split(".")
    if parts[0] != PACKAGE:
        return None
    for length in range(len(parts), 0, -1):
        stem = "/".join(parts[1:length])
        for path in (f"{stem}.py", f"{stem}/__init__.py" if stem else "__init__.py"):
            if path in tree:
                return path
    return None


def files_imported(tree: Tree) -> dict[str, set[str]]:
    """Each file, and which of the others it imports."""
    return {
        path: {file for name in names_imported(text) if (file := file_of(tree, name))} - {path}
        for path, text in tree.items()
    }


def rooms_imported(tree: Tree) -> dict[str, set[str]]:
    """Each room, and which of the others its files import."""
    rooms: dict[str, set[str]] = {}
    for path, files in files_imported(tree).items():
        room = room_of(path)
        rooms.setdefault(room, set()).update({room_of(file) for file in files} - {room})
    return rooms


def circles(arrows: Mapping[str, Set[str]]) -> list[list[str]]:
    """What can be reached from itself, gathered into circles: each a sorted list."""
    reached = {start: _reached(arrows, start) for start in arrows}
    found = {
        tuple(sorted(one for one in reached[start] if start in reached.get(one, ())))
        for start in arrows
        if start in reached[start]
    }
    return [list(circle) for circle in sorted(found)]


def _reached(arrows: Mapping[str, Set[str]], start: str) -> set[str]:
    met: set[str] = set()
    waiting = list(arrows[start])
    while waiting:
        one = waiting.pop()
        if one not in met:
            met.add(one)
            waiting += arrows.get(one, ())
    return met


# --- Who reaches into a model -------------------------------------------------------------------


def sets_module_hooks(tree: Tree) -> set[str]:
    """Files that set a hook on modules."""
    return {
        path for path, text in tree.items()
        if _says(text, MODULE_HOOK) or any(HOOKS_KEPT.fullmatch(name) for name in _stored_in(text))
    }  # fmt: skip


def sets_tensor_hooks(tree: Tree) -> set[str]:
    """Files that set a hook on tensors or on nodes of autograd's graph."""
    return {path for path, text in tree.items() if _says(text, TENSOR_HOOK)}


def replaces_forward(tree: Tree) -> set[str]:
    """Files that put something else in the place of a module's `forward`, or take it away."""
    return {path for path, text in tree.items() if _replacing(text)}


def switches_compiled_code_off(tree: Tree) -> set[str]:
    """Files that tell torch.compile how to run."""
    return {path for path, text in tree.items() if _says(text, re.compile("set_stance"))}


def defines_modes(tree: Tree) -> set[str]:
    """Files that say what a mode of torch does to every call, or push one by hand."""
    return {path for path, text in tree.items() if _says(text, re.compile("|".join(PUSHES)))}


def pushes_modes(tree: Tree) -> set[str]:
    """Files that name a mode which the package defines, and so may enter it."""
    bases = {
        node.name: set(map(_name, node.bases))
        for text in tree.values()
        for node in nodes_of(text)
        if isinstance(node, ast.ClassDef)
    }
    modes = {name for name in bases if _reached(bases, name) & set(MODES)}
    defining = defines_modes(tree)
    named = re.compile("|".join(modes))
    return {path for path, text in tree.items() if path not in defining and _says(text, named)}


def _name(node: ast.AST) -> str:
    return getattr(node, "attr", getattr(node, "id", ""))


def _says(text: str, pattern: re.Pattern[str]) -> bool:
    """Whether a name, an attribute or a whole string matches; comments and docstrings do not."""
    return any(map(pattern.fullmatch, _words_of(text)))


@functools.cache
def _words_of(text: str) -> Set[str]:
    return {word for node in nodes_of(text) for word in _words(node)}


def _words(node: ast.AST) -> Iterable[str]:
    if isinstance(node, (ast.Attribute, ast.Name)):
        return (_name(node),)
    if isinstance(node, ast.alias):
        return (node.name.split(".")[-1],)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):  # for getattr
        return (node.value,)
    return ()


@functools.cache
def _stored_in(text: str) -> Set[str]:
    """Names of attributes that are set, deleted, or have an item of theirs set."""
    return {
        _name(node.value if isinstance(node, ast.Subscript) else node)
        for node in nodes_of(text)
        if isinstance(node, (ast.Attribute, ast.Subscript)) and not isinstance(node.ctx, ast.Load)
    }


@functools.cache
def _replacing(text: str) -> bool:
    return any(map(_replaces, nodes_of(text)))


def _replaces(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr in ("forward", "_call_impl") and not isinstance(node.ctx, ast.Load)
    if isinstance(node, ast.Subscript):
        named = isinstance(node.slice, ast.Constant) and node.slice.value == "forward"
        return named and not isinstance(node.ctx, ast.Load) and _of_attributes(node.value)
    if isinstance(node, ast.Call):
        by_name = _name(node.func) in ("setattr", "delattr", "__setattr__", "__delattr__")
        in_bulk = isinstance(node.func, ast.Attribute) and _of_attributes(node.func.value)
        words = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
        words += [keyword.arg for keyword in node.keywords]
        return (by_name or in_bulk) and "forward" in words
    return False


def _of_attributes(node: ast.AST) -> bool:
    """`module.__dict__` or `vars(module)`."""
    return _name(node.func if isinstance(node, ast.Call) else node) in ("__dict__", "vars")
