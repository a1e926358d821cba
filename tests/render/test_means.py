"""An evaluation's means: what the figure says, and that all of it can be read."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from seewhy.errors import ImageError
from seewhy.render.means import draw_means, panels

from .stand_ins import pixels, texts

METRICS = (("pointing", "pointing game", "higher"), ("road", "ROAD", "lower"), ("x", "X", None))


def measured(metrics: int = 3, methods: tuple[str, ...] = ("grad-cam", "cam"), **of: Any) -> Any:
    """Means of 0.5 ± 0.1, but for those given as `metric_method`."""
    results = [
        {"method": method, "metric": METRICS[m % 3][0] + "+" * (m // 3), "subset": subset, "n": 40,
         "mean": 0.5, "low": 0.4, "high": 0.6}
        for m in range(metrics) for method in methods for subset in ("all", "small")
    ]  # fmt: skip
    for one in results:
        one |= of.get(f"{one['metric']}_{one['method']}".replace("-", "_"), {})
        one["mean"] = 9 if one["subset"] == "small" else one["mean"]
    return SimpleNamespace(
        protocol={"model": "demo", "data": "val"},
        methods=[{"name": name, "baseline": name.startswith("centre")} for name in methods],
        metrics=[
            {"name": METRICS[m % 3][0] + "+" * (m // 3), "title": METRICS[m % 3][1],
             "better": METRICS[m % 3][2]}
            for m in range(metrics)
        ],
        results=results,
    )  # fmt: skip


def test_each_metric_is_a_panel_and_each_method_a_row() -> None:
    first, second, third = panels(measured(pointing_cam={"mean": 0.25, "n": 38}))
    assert [first.title, second.title, third.title] == ["pointing game", "ROAD", "X"]
    assert first.note == "higher is better · n = 38 to 40"
    assert (second.note, third.note) == ("lower is better · n = 40", "n = 40")
    assert [(one.method, one.mean, one.count) for one in first.means] == [
        ("grad-cam", 0.5, 40), ("cam", 0.25, 38),
    ]  # fmt: skip
    assert first.ends()[0] < 0.25


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ({}, "0.5 (0.4 to 0.6)"),
        ({"low": None, "high": None}, "0.5 (no interval)"),
        ({"mean": math.nan, "low": math.nan, "high": math.nan}, "not defined"),
        ({"mean": None, "low": None, "high": None}, "not defined"),
        ({"mean": -1234.5, "low": -2000.0, "high": 0.00012}, "-1234 (-2000 to 0.00012)"),
    ],
)
def test_a_mean_in_words(result: dict[str, Any], words: str) -> None:
    drawn = measured(1, ("cam",), pointing_cam=result)
    assert panels(drawn)[0].means[0].in_words() == words
    assert words in texts(draw_means(drawn))


def test_the_figure_says_what_was_measured() -> None:
    said = texts(draw_means(measured(2, ("grad-cam", "centre Gaussian"))))
    for words in ("val · model demo", "pointing game", "ROAD", "grad-cam", "centre Gaussian"):
        assert words in said
    assert any("grey: baselines" in one for one in said)


@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_nothing_overlaps_or_is_cut_off(count: int) -> None:
    wide = {"mean": -0.0123456, "low": -0.0234567, "high": -0.00123456}
    methods = ("recipro-cam-gaussian", "a method of one's own with a long name", "centre Gaussian")
    figure = draw_means(measured(count, methods, pointing_recipro_cam_gaussian=wide))
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.texts]
    width, height = figure.canvas.get_width_height()
    for i, one in enumerate(boxes):
        assert one.x0 >= 0
        assert one.y0 >= 0
        assert one.x1 <= width
        assert one.y1 <= height
        for other in boxes[i + 1 :]:
            assert not one.overlaps(other), (figure.texts[i].get_text(), i)
        for axes in figure.axes:
            assert not one.overlaps(axes.get_window_extent()), figure.texts[i].get_text()


def test_a_dot_lies_at_its_mean_and_a_line_on_its_interval() -> None:
    figure = draw_means(measured(1, ("cam", "centre point"),
                                 pointing_cam={"mean": 0.2, "low": 0.1, "high": 0.3}))  # fmt: skip
    (axes,) = figure.axes
    image = pixels(figure).astype(int)
    height = image.shape[0]

    def blue(x: float) -> bool:
        column, row = axes.transData.transform((x, 0.5))
        red, _green, blue = image[height - round(row), round(column)]
        return bool(blue - red > 100)

    assert [blue(x) for x in (0.11, 0.2, 0.29, 0.32, 0.5)] == [True, True, True, False, False]
    grey = np.abs(image - image.mean(2, keepdims=True)).max(2) < 12
    column, row = axes.transData.transform((0.5, 1.5))
    assert grey[height - round(row), round(column)]
    assert image[height - round(row), round(column)].mean() < 180


def test_no_result_is_told() -> None:
    with pytest.raises(ImageError, match="no result over all pictures"):
        draw_means(measured(0))
