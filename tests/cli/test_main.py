"""How the program ends, in one process."""

from __future__ import annotations

import os
import runpy
import sys
from importlib.util import find_spec

import pytest

from seewhy import cli
from seewhy.cli import completion
from seewhy.version import __version__


def test_python_m_seewhy_is_the_program(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["seewhy", "--version"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("seewhy", run_name="__main__", alter_sys=True)
    assert end.value.code == 0
    assert capsys.readouterr().out == f"seewhy {__version__}\n"


def _raising(error):
    def app(**_):
        raise error

    return app


def test_an_interrupt_ends_with_130(monkeypatch):
    monkeypatch.setattr(cli, "app", _raising(KeyboardInterrupt()))
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 130


def test_a_reader_who_has_left_ends_it_with_1(monkeypatch):
    pointed = []
    monkeypatch.setattr(cli, "app", _raising(BrokenPipeError()))
    monkeypatch.setattr(os, "dup2", lambda one, other: pointed.append((one, other)))

    class Stdout:
        encoding = "utf-8"

        def fileno(self):
            return 99

    monkeypatch.setattr(sys, "stdout", Stdout())
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 1
    assert [other for _, other in pointed] == [99]
    os.close(pointed[0][0])


def test_completion_offers_the_words_of_each_option():
    assert completion.complete_metrics("energy,poi") == ["energy,pointing"]
    assert completion.complete_precision("b") == ["bf16"]
    assert completion.complete_device("c") == ["cpu", "cuda"]
    assert completion.complete_interpolation("bi") == ["bilinear", "bicubic"]
    if find_spec("torchvision"):
        assert "torchvision/resnet50" in completion.complete_model("torchvision/resnet5")
