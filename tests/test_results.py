"""Every result shows itself the same way: a figure, one way to save, a picture, one line."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import seewhy
from seewhy.dataset import Dataset, Record
from seewhy.errors import ImageError
from seewhy.images import Preprocess
from seewhy.models.load import LoadedModel

PLAIN = Preprocess((32, 32), 32, (0.0,) * 3, (1.0,) * 3)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Sequential(nn.Conv2d(3, 6, 4, stride=4), nn.ReLU())
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.look(x).mean((2, 3)))


def loaded(name: str = "small", labels: tuple[str, ...] = ("red", "green", "blue")) -> LoadedModel:
    torch.manual_seed(0)
    return LoadedModel(Small().eval(), PLAIN, labels, name, ())


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (40, 60, 3)).astype(np.uint8)


MAKERS: dict[str, Callable[[LoadedModel], Any]] = {
    "Explanation": lambda model: seewhy.explain(model, picture(), 1),
    "Comparison": lambda model: seewhy.compare(
        model, picture(), [0, 1], method=["grad-cam", "layer-cam"]
    ),
    "FeatureMaps": lambda model: seewhy.find_features(
        model, picture(), sort="contribution", target=1
    ),
    "Concepts": lambda model: seewhy.find_concepts(model, [picture(), picture(1)], count=2),
}
DRAWERS: dict[str, Callable[[], Any]] = {
    "signal": lambda: seewhy.draw_signal(np.sin(np.arange(90) / 9), np.arange(9.0)),
    "slices": lambda: seewhy.draw_slices(np.zeros((4, 8, 8)), np.ones((2, 2, 2))),
}


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    return {name: make(loaded()) for name, make in MAKERS.items()}


@pytest.mark.parametrize("name", MAKERS)
def test_a_result_is_saved_as_every_kind_of_picture(
    name: str, results: Any, tmp_path: Path
) -> None:
    result = results[name]
    with (
        Image.open(result.save(tmp_path / "a.png")) as png,
        Image.open(result.save(tmp_path / "new folder" / "a.JPG")) as jpeg,
        Image.open(result.save(tmp_path / "new folder" / "a.webp")) as webp,
    ):
        assert (png.format, jpeg.format, webp.format) == ("PNG", "JPEG", "WEBP")
        assert png.size == jpeg.size == webp.size
        # A notebook shows the pixels that the file has.
        with Image.open(io.BytesIO(result._repr_png_())) as shown:
            assert np.array_equal(np.array(shown.convert("RGB")), np.array(png.convert("RGB")))
    assert result.save(tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    assert ElementTree.parse(result.save(tmp_path / "a.svg")).getroot().tag.endswith("svg")
    with pytest.raises(
        ImageError, match=r"\.png, \.jpg, \.webp, \.pdf, \.svg, \.npz or \.json; '\.gif'"
    ):
        result.save(tmp_path / "a.gif")
    with pytest.raises(ImageError, match="the name has no ending"):
        result.save(tmp_path / "a")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pdf", "a.png", "a.svg", "new folder"]


@pytest.mark.parametrize("name", MAKERS)
def test_the_figure_of_a_result_is_matplotlibs_and_shows_and_saves_itself(
    name: str, results: Any, tmp_path: Path
) -> None:
    figure = results[name].figure()
    figure.savefig(tmp_path / "by matplotlib.png", dpi="figure")
    with (
        Image.open(tmp_path / "by matplotlib.png") as by_matplotlib,
        Image.open(results[name].save(tmp_path / "by itself.png")) as by_itself,
    ):
        pair = [np.array(one.convert("RGB")).astype(int) for one in (by_matplotlib, by_itself)]
    # Pages of words are drawn by Pillow where pixels are wanted: letters' edges are its own.
    assert pair[0].shape == pair[1].shape
    assert (np.abs(pair[0] - pair[1]).max(2) > 2).mean() < 0.03


@pytest.mark.parametrize("name", DRAWERS)
def test_drawings_of_signals_and_volumes_do_the_same(name: str, tmp_path: Path) -> None:
    drawn = DRAWERS[name]()
    assert repr(drawn) == str(drawn)
    assert repr(drawn).startswith("<Drawing of ")
    with Image.open(drawn.save(tmp_path / "a.png")) as png:
        assert repr(drawn) == f"<Drawing of {png.width}×{png.height} pixels>"
    with Image.open(io.BytesIO(drawn._repr_png_())) as shown:
        assert shown.size == png.size
    assert drawn.save(tmp_path / "a.svg").exists()
    with pytest.raises(
        ImageError, match=r"a drawing is saved as \.png, \.jpg, \.webp, \.pdf or \.svg"
    ):
        drawn.save(tmp_path / "a.npz")


def test_a_drawing_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: Any) -> None:
    drawn = DRAWERS["signal"]()
    (tmp_path / "a.png").write_text("before")
    monkeypatch.setattr(type(drawn), "savefig", lambda *_args, **_options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        drawn.save(tmp_path / "a.png")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.png", "before")]


def data_of(result: Any, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What both kinds of data file hold, once it is sure that they hold the same."""
    with np.load(result.save(folder / "a.NPZ"), allow_pickle=False) as packed:
        arrays = {name: packed[name] for name in packed.files if name != "facts"}
        facts = json.loads(str(packed["facts"]))
    plain = json.loads(result.save(folder / "a.json").read_text())
    for name, array in arrays.items():
        content = plain.pop(name)
        if isinstance(content, str):
            content = np.array(Image.open(io.BytesIO(base64.b64decode(content))))
        assert np.array_equal(np.asarray(content, array.dtype), array), name
    assert plain == facts
    return facts, arrays


def test_the_data_of_feature_maps(results: Any, tmp_path: Path) -> None:
    features = results["FeatureMaps"]
    facts, arrays = data_of(features, tmp_path)
    for name in ("maps", "channels", "values", "picture"):
        assert np.array_equal(arrays[name], getattr(features, name)), name
    assert facts["format"] == "seewhy feature maps 1"
    assert (facts["layer"], facts["label"], facts["sorted_by"]) == (
        features.layer, "green", "contribution",
    )  # fmt: skip
    by_index = replace(features, values=None, sorted_by="index", label=None)
    assert "values" not in data_of(by_index, tmp_path)[1]


def test_the_data_of_concepts(results: Any, tmp_path: Path) -> None:
    found = results["Concepts"]
    facts, arrays = data_of(found, tmp_path)
    assert np.array_equal(arrays["directions"], found.directions)
    for number in range(2):
        assert np.array_equal(arrays[f"maps-{number}"], found.maps[number])
        assert np.array_equal(arrays[f"picture-{number}"], found.pictures[number])
    assert [[one["label"] for one in named] for named in facts["classes"]] == [
        [one.label for one in named] for named in found.classes
    ]


def test_the_data_of_a_comparison(results: Any, tmp_path: Path) -> None:
    grid = results["Comparison"]
    facts, arrays = data_of(grid, tmp_path)
    assert sorted(arrays) == ["map-0-0", "map-0-1", "map-1-0", "map-1-1", "picture-0"]
    for row, cells in zip(grid.rows, facts["rows"], strict=True):
        for one, cell in zip(row, cells, strict=True):
            assert np.array_equal(arrays[cell["map"]], one.map)
            assert np.array_equal(arrays[cell["picture"]], one.picture)
            assert (cell["method"], cell["label"]) == (one.method, one.label)


def test_a_repr_is_one_line_whatever_things_are_called() -> None:
    model = loaded("C:\\models\nof\x1b[31m mine", ("red\nish", "gr\x1b]0;een", "b\u202elue"))
    labels = tuple(f"class {number}" for number in range(1000))
    data = Dataset("val\n2", "coco", (Record("a", Path("a.png"), labels),), labels)
    made = [model, replace(model, labels=labels), replace(model, labels=None), data]
    made += [make(model) for make in MAKERS.values()]
    made += [seewhy.Explainer(model, method=["cam", "rise"]), *seewhy.METRICS.values()]
    for one in made:
        text = repr(one)
        assert text.isprintable(), text
        assert len(text) < 250, text
        assert text.startswith(f"<{type(one).__name__} "), text


def test_what_a_repr_says(results: Any) -> None:
    said = {name: repr(one) for name, one in results.items()}
    layer = results["FeatureMaps"].layer
    assert said["Comparison"] == (
        "<Comparison 2×2 explanations; rows grad-cam, layer-cam; columns red, green>"
    )
    assert said["FeatureMaps"] == (
        f"<FeatureMaps 6 channels at '{layer}' of small, 8×8, by contribution to 'green'>"
    )
    assert said["Concepts"].startswith(f"<Concepts of 2 pictures: 2 at '{layer}' of small, ")
    assert repr(loaded()) == "<LoadedModel small: Small, 3 labels, 32×32 px>"
    assert repr(replace(loaded(), labels=None)).endswith("Small, no labels, 32×32 px>")


def test_public_rooms_need_no_import_of_their_own() -> None:
    assert seewhy.targets.ClassScore(3).index == 3
    assert seewhy.errors.SeewhyError is seewhy.SeewhyError
    assert "pointing" in seewhy.METRICS
    assert seewhy.read_dataset.__module__.startswith("seewhy.dataset")
