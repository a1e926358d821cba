"""The program as a process: start-up, completion, signals, pipes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from PIL import Image
from tiny_networks import TINY

from seewhy.cli.completion import (
    complete_colormap,
    complete_methods,
    complete_model,
    complete_save_as,
    complete_target,
    registered,
)
from seewhy.cli.options import Base, Fusion, ScaleStart, Sort, StyleChoice
from seewhy.memory import keep_freed_memory

PATIENCE = 600
"""Seconds until a process counts as stuck: far beyond what a busy machine takes."""

COMMANDS = (
    "demo", "explain", "compare", "features", "concepts", "label", "evaluate", "layers", "methods",
    "models", "run",
)  # fmt: skip


def environment(**more: str) -> dict[str, str]:
    here = str(Path(__file__).parent)
    paths = [here, *(path for path in sys.path if path.endswith("src"))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "80", **more}


def test_help_and_completion_do_not_wait_for_torch():
    script = f"""
import os, sys
from seewhy.cli import app
for words in (["--help"], ["--version"], *([name, "--help"] for name in {COMMANDS})):
    try:
        app(words)
    except SystemExit as end:
        assert end.code == 0, words
os.environ["_SEEWHY_COMPLETE"] = "complete_bash"
for words in ("ex", "explain --method lay", "explain --model torchvision/resnet5"):
    words = "seewhy " + words
    os.environ.update(COMP_WORDS=words, COMP_CWORD=str(len(words.split()) - 1))
    try:
        app([], prog_name="seewhy")
    except SystemExit as end:
        assert end.code == 0, words
assert not {{"torch", "timm", "torchvision", "matplotlib"}} & set(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for word in (*COMMANDS, "explain\n", "layer-cam\n", "torchvision/resnet50\n"):
        assert word in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


def test_the_choices_are_those_of_the_package():
    from seewhy.features import SORTS
    from seewhy.methods.fusion import FUSIONS
    from seewhy.render.scale import STARTS
    from seewhy.render.style import BaseName, StyleName

    assert list(FUSIONS) == [fusion.value for fusion in Fusion]
    assert list(SORTS) == [sort.value for sort in Sort]
    assert get_args(StyleName) == tuple(style.value for style in StyleChoice)
    assert get_args(BaseName) == tuple(base.value for base in Base)
    assert tuple(start.value for start in ScaleStart) == STARTS


def test_completion_offers_what_fits():
    assert complete_methods("grad-cam,lay") == ["grad-cam,layer-cam"]
    assert "grad-cam,grad-cam" not in complete_methods("grad-cam,grad")
    assert complete_save_as("png,n") == ["png,npz"]
    assert complete_model("demo") == ["demo", "demo-cat-dog"]
    assert complete_target("top") == ["top3", "top5"]
    assert complete_colormap("virid") == ["viridis", "viridis_r"]


def test_the_zoos_models_are_all_found_in_their_source():
    torchvision = pytest.importorskip("torchvision")
    models = torchvision.models
    assert set(registered("torchvision", ("", "segmentation"))) == {
        *models.list_models(module=models),
        *models.list_models(module=models.segmentation),
    }
    timm = pytest.importorskip("timm")
    assert set(registered("timm")) == set(timm.list_models())


def test_glibc_accepts_a_threshold():
    kept = keep_freed_memory()
    if sys.platform.startswith("linux") and hasattr(os, "confstr"):
        try:
            glibc = "glibc" in (os.confstr("CS_GNU_LIBC_VERSION") or "")
        except (ValueError, OSError):
            glibc = False
        assert (kept is not None) == glibc
        assert kept is None or kept >= 1 << 25  # 32 MiB
    else:
        assert kept is None


def test_other_systems_keep_their_allocator(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is None


def test_a_users_mistake_shows_no_traceback_and_a_fault_of_ours_does(tmp_path):
    script = """
import sys
import seewhy.cli, seewhy.models.load

def available_models():
    secret = "locals are not printed"
    raise RuntimeError("a fault")

seewhy.models.load.available_models = available_models
seewhy.cli.main()
"""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", script, *words],
            env=environment(), cwd=tmp_path, capture_output=True, text=True,
        )  # fmt: skip

    mistake, fault = run("explain", "missing.png"), run("models")
    assert mistake.returncode == 2
    assert "Traceback" not in mistake.stderr
    assert fault.returncode == 1
    assert "Traceback" in fault.stderr
    assert "RuntimeError: a fault" in fault.stderr
    assert "locals are not printed" not in fault.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and pipes")
def test_ctrl_c_ends_quietly_with_130(tmp_path):
    """The network says itself that it is being loaded, and waits until it is interrupted."""
    (tmp_path / "slow.py").write_text(
        "import sys, time\ndef network():\n    print('loading', file=sys.stderr, flush=True)\n"
        f"    time.sleep({PATIENCE})\n"
    )
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    process = subprocess.Popen(
        [sys.executable, "-m", "seewhy", "explain", "a.png", "--model", "slow:network"],
        env=environment(), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        assert process.stderr is not None
        said = [process.stderr.readline()]
        while said[-1] not in ("loading\n", ""):
            said.append(process.stderr.readline())
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=PATIENCE)
    assert said == ["loading\n"]
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert stdout == ""
    assert not (tmp_path / "seewhy-out").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and pipes")
def test_a_reader_who_leaves_early_hears_nothing(tmp_path):
    for name in "abc":
        Image.new("RGB", (8, 8), "red").save(tmp_path / f"{name}.png")
    process = subprocess.Popen(
        [sys.executable, "-m", "seewhy", "explain", "a.png", "b.png", "c.png", "--json",
         "--overlay-only", "--batch-size", "1", *TINY],
        env=environment(), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=PATIENCE) != 0
