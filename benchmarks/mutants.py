"""Changes the code in one place at a time and sees whether the tests notice.

    python benchmarks/mutants.py                             # the files changed since main
    python benchmarks/mutants.py src/seewhy/boxes.py         # one, by the tests named after it
    python benchmarks/mutants.py src/seewhy/boxes.py --tests tests/test_boxes.py tests/metrics
    python benchmarks/mutants.py --sample 100 --seed 1 src/seewhy/metrics/*.py

Prints every change that no test noticed, and how many were noticed. Some of these are no fault:
a change may mean the same (`<` for `<=` where the two never meet). Runs for hours on a large file,
so it belongs to a person and to no CI.

Written here because the tools that are kept cost more than they save: mutmut rewrites the package
so that every function goes through a dispatcher, which `inspect.signature` sees, and seewhy reads
signatures; cosmic-ray starts a Python for each mutant, which takes five seconds with torch. Here
the packages are imported once, and each mutant is a fork with a copy of the package: the working
tree is never touched.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import importlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"
MEMORY = 6 << 30  # bytes that a mutant may take beyond what is mapped before its tests run
PACKAGES = (
    "torch", "numpy", "scipy.ndimage", "scipy.stats", "matplotlib.figure", "PIL.Image",
    "torchvision", "timm", "typer", "rich", "safetensors.torch", "pytest",
)  # fmt: skip

COMPARED = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
CALCULATED = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
EXCHANGED = {"min": "max", "max": "min", "any": "all", "all": "any", "zip": None}


@dataclass(frozen=True)
class Mutant:
    """One change: where it is, in bytes of the file, and what stands there instead."""

    path: Path
    line: int
    start: int
    end: int
    before: str
    after: str

    def __str__(self) -> str:
        where = f"{self.path.relative_to(ROOT)}:{self.line}"
        return f"{where}  {_short(self.before)}  →  {_short(self.after)}"

    def applied(self) -> str:
        """The whole file with the change."""
        text = self.path.read_bytes()
        return (text[: self.start] + self.after.encode() + text[self.end :]).decode()


def _short(code: str) -> str:
    one_line = " ".join(code.split())
    return one_line if len(one_line) <= 70 else one_line[:67] + "..."


# --- What is changed -----------------------------------------------------------------------------


def mutants_of(path: Path) -> list[Mutant]:
    """Every change to a file, in its order."""
    text = path.read_text(encoding="utf-8")
    lines = [0]
    for line in text.encode().splitlines(keepends=True):
        lines.append(lines[-1] + len(line))
    found = {}
    for node, changed in _changes(ast.parse(text)):
        start = lines[node.lineno - 1] + node.col_offset
        end = lines[node.end_lineno - 1] + node.end_col_offset
        before = text.encode()[start:end].decode()
        after = ast.unparse(changed)
        if isinstance(node, ast.expr):
            after = f"({after})"
        if isinstance(node, ast.keyword):  # goes with the comma behind it
            rest = text.encode()[end:]
            gap = len(rest) - len(rest.lstrip())
            end += gap + 1 if rest[gap : gap + 1] == b"," else 0
            after = ""
        mutant = Mutant(path, node.lineno, start, end, before, after)
        with contextlib.suppress(SyntaxError):  # where a value may not stand in brackets
            ast.parse(mutant.applied())
            found[start, end, after] = mutant
    return sorted(found.values(), key=lambda mutant: (mutant.start, mutant.end))


def _changes(tree: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt | ast.keyword, ast.AST]]:
    for node in _that_runs(tree):
        if isinstance(node, ast.Compare):
            for number, operator in enumerate(node.ops):
                other = copy.deepcopy(node)
                other.ops[number] = COMPARED[type(operator)]()
                yield node, other
        elif isinstance(node, ast.BoolOp):
            other = copy.deepcopy(node)
            other.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield node, other
        elif isinstance(node, ast.BinOp) and type(node.op) in CALCULATED:
            other = copy.deepcopy(node)
            other.op = CALCULATED[type(node.op)]()
            yield node, other
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
            yield node, node.operand
        elif isinstance(node, ast.Constant):
            value = _another(node.value)
            if value is not None:
                yield node, ast.Constant(value)
        elif isinstance(node, ast.If | ast.While | ast.IfExp):
            if not isinstance(node.test, ast.Compare | ast.UnaryOp):  # those are turned anyway
                yield node.test, ast.UnaryOp(ast.Not(), node.test)
        elif isinstance(node, ast.Raise):  # the guard is gone
            yield node, ast.Pass()
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and EXCHANGED.get(node.func.id):
                yield node.func, ast.Name(EXCHANGED[node.func.id])
            for keyword in node.keywords:
                if keyword.arg is not None:  # falls back to its default
                    yield keyword, keyword


def _another(value: object) -> object:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value * 2 if value else 1.0
    if isinstance(value, str):
        return value + "?"
    return None


def _that_runs(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but annotations, docstrings, messages of errors and what only types see."""
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            skipped.update(map(id, ast.iter_child_nodes(node)))
            continue
        held: list[ast.AST | None] = []
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            held.append(node.returns)
        elif isinstance(node, ast.arg | ast.AnnAssign):
            held.append(node.annotation)
        elif isinstance(node, ast.Raise):
            held += [node.exc, node.cause]
        elif isinstance(node, ast.JoinedStr):
            held += [part for part in node.values if isinstance(part, ast.Constant)]
        elif isinstance(node, ast.FormattedValue):
            held.append(node.format_spec)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            held.append(node.value)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            held += [node.test, *node.body]
            skipped.update(id(one) for one in held if one is not None)
            continue
        elif isinstance(node, ast.Subscript):  # Literal["a"], list["B"]
            if isinstance(node.value, ast.Name) and node.value.id == "Literal":
                held.append(node.slice)
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            held.append(node.value)
        skipped.update(id(one) for one in held if one is not None)
        yield node


# --- Whether the tests notice --------------------------------------------------------------------


def tests_of(path: Path) -> list[str]:
    """The test files named after a source file, or after the folder it lies in."""
    inside = path.relative_to(SOURCE / "seewhy")
    names = [inside.stem, *inside.parts[:-1]]
    for name in names:
        found = sorted((ROOT / "tests").rglob(f"test_{name}*.py"))
        if found:
            return [str(one.relative_to(ROOT)) for one in found]
    folder = ROOT / "tests" / inside.parts[0]
    return [str(folder.relative_to(ROOT))] if folder.is_dir() else []


def run(mutant: Mutant | None, tests: list[str], folder: Path, limit: float) -> str:
    """`noticed`, `survived`, or `too slow` for tests that no longer end.

    In a fork of this process, which has the large packages and not seewhy.
    """
    aside = folder / "src"
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(SOURCE, aside, ignore=shutil.ignore_patterns("__pycache__"))
    if mutant is not None:
        (aside / mutant.path.relative_to(SOURCE)).write_text(mutant.applied(), encoding="utf-8")
    log = folder / "log"
    child = os.fork()
    if child == 0:
        _in_the_fork(tests, aside, log)
    ends = time.monotonic() + limit
    while time.monotonic() < ends:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return "survived" if status == 0 else "noticed"
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "too slow"


def _in_the_fork(tests: list[str], source: Path, log: Path) -> None:
    """Runs pytest and ends the process."""
    code = 1
    try:
        os.setpgid(0, 0)
        with log.open("w") as written:
            os.dup2(written.fileno(), 1)
            os.dup2(written.fileno(), 2)
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY, mapped + MEMORY))
        os.chdir(ROOT)
        sys.path.insert(0, str(source))
        os.environ["PYTHONPATH"] = str(source)
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        sys.dont_write_bytecode = True
        import pytest

        # Plugins whose packages are here already cannot be rewritten, and need not be.
        quietly = ["-W", "ignore::pytest.PytestAssertRewriteWarning", "-p", "no:cacheprovider"]
        code = int(pytest.main(["-q", "-x", *quietly, *tests]))
    except BaseException as error:
        print(error)
    finally:
        sys.stdout.flush()
        os._exit(code)


def changed_since_main() -> list[Path]:
    """Source files that differ from main, or that git does not know yet."""
    commands = (
        ["git", "diff", "--name-only", "main", "--", "src"],
        ["git", "ls-files", "--others", "--exclude-standard", "--", "src"],
    )
    names: list[str] = []
    for command in commands:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed: {done.stderr.strip()}; name the files.")
        names += done.stdout.split()
    return [ROOT / name for name in names if name.endswith(".py") and (ROOT / name).exists()]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, help="of src/seewhy; else those changed")
    parser.add_argument("--tests", nargs="+", help="instead of those named after each file")
    parser.add_argument("--sample", type=int, help="so many, drawn from all")
    parser.add_argument("--seed", type=int, default=0, help="of the drawing")
    parser.add_argument("--lines", help="only these of the file: 40 or 40-60")
    parser.add_argument("--list", action="store_true", help="print the changes and run nothing")
    args = parser.parse_args()
    files = [path.resolve() for path in args.files] or changed_since_main()
    mutants = [mutant for path in files for mutant in mutants_of(path)]
    if args.lines:
        first, _, last = args.lines.partition("-")
        mutants = [one for one in mutants if int(first) <= one.line <= int(last or first)]
    if args.sample is not None and args.sample < len(mutants):
        drawn = random.Random(args.seed).sample(range(len(mutants)), args.sample)
        mutants = [mutants[place] for place in sorted(drawn)]
    if args.list:
        print(*mutants, sep="\n")
        return 0
    if not mutants:
        print("nothing to change: no file of src/seewhy was named, and none differs from main")
        return 2
    os.environ["OMP_NUM_THREADS"] = "1"  # a fork has no pool of threads
    for package in PACKAGES:
        with contextlib.suppress(ImportError):
            importlib.import_module(package)
    import torch

    torch.set_num_threads(1)
    if any(name.partition(".")[0] == "seewhy" for name in sys.modules):
        raise SystemExit("seewhy was imported before the mutants were made; this is a fault here")
    counts: dict[str, int] = {"noticed": 0, "too slow": 0, "survived": 0}
    limits: dict[tuple[str, ...], float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for mutant in mutants:
            tests = args.tests or tests_of(mutant.path)
            if not tests:
                raise SystemExit(f"no test is named after {mutant.path}; give --tests")
            if tuple(tests) not in limits:
                began = time.monotonic()
                if run(None, tests, folder, 3600) != "noticed":
                    limits[tuple(tests)] = 30 + 4 * (time.monotonic() - began)
                else:
                    log = (folder / "log").read_text()[-3000:]
                    raise SystemExit(f"{log}\n{' '.join(tests)} fail without any change")
            verdict = run(mutant, tests, folder, limits[tuple(tests)])
            counts[verdict] += 1
            if verdict == "survived":
                print(f"survived  {mutant}", flush=True)
    total = sum(counts.values())
    noticed = total - counts["survived"]
    print(f"{noticed} of {total} noticed ({noticed / total:.0%}); {counts['too slow']} by no end")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
