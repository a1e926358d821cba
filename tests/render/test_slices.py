from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import seewhy
from seewhy.errors import ImageError
from seewhy.render.colormap import colorize
from seewhy.render.slices import draw_slices, slices

from .stand_ins import pixels, texts
from .test_figure import assert_all_texts_are_inside_and_apart


def random_volume(seed: int, *size: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=size).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("cells", [(2, 3, 4), (1, 1, 1), (6, 8, 10), (5, 3, 10)])
def test_a_slice_is_the_resized_maps_slice(axis: int, cells: tuple[int, int, int]) -> None:
    volume, map_ = random_volume(0, 6, 8, 10), random_volume(1, *cells)
    cut = slices(volume, map_, axis=axis, which=[0, 3, 5])
    whole = seewhy.resize_map(torch.from_numpy(map_), (6, 8, 10)).numpy()
    greys = (volume - volume.min()) / (volume.max() - volume.min())
    for one, index in zip(cut, [0, 3, 5], strict=True):
        assert one.index == index
        np.testing.assert_allclose(one.heatmap, whole.take(index, axis), atol=1e-5)
        expected = np.rint(greys.take(index, axis) * 255)
        assert np.abs(one.picture.astype(float) - expected[..., None]).max() <= 1


def test_slices_are_spread_evenly_and_never_twice() -> None:
    volume, map_ = np.zeros((10, 2, 2)), np.zeros((1, 1, 1))
    numbers = {n: [one.index for one in slices(volume, map_, count=n)] for n in (1, 2, 5, 10, 99)}
    assert numbers == {
        1: [5],
        2: [2, 7],
        5: [1, 3, 5, 7, 9],
        10: list(range(10)),
        99: list(range(10)),
    }


def test_a_videos_colours_stay_and_greys_can_be_chosen() -> None:
    video = np.random.default_rng(0).integers(0, 256, (4, 3, 5, 3)).astype(np.uint8)
    for same in (video, torch.from_numpy(video), video / 255):
        cut = slices(same, np.zeros((1, 1, 1)), count=4)
        assert all((one.picture == video[one.index]).all() for one in cut)
    scan = np.array([[[-1000.0, 0, 40, 80, 3000, np.nan]]])
    (one,) = slices(scan, np.zeros((1, 1, 1)), grey=(0, 80))
    assert one.picture[0, :, 0].tolist() == [0, 0, 128, 255, 255, 0]


def test_one_position_of_a_map_lies_where_it_belongs_on_the_page() -> None:
    """A white volume of 4 slices; the map is the third slice's right half."""
    map_ = np.zeros((4, 2, 2))
    map_[2, :, 1] = 5
    drawn = draw_slices(np.ones((4, 2, 2)), map_, opacity=1, limits=(0, 5))
    image = pixels(drawn)
    top = colorize(np.array([1.0]))[0]
    found = np.abs(image.astype(int) - top.astype(int)).max(2) <= 2
    shown = drawn.axes[2].get_window_extent()  # in the order of the slices
    bar = drawn.axes[-1].get_window_extent()
    rows, columns = np.nonzero(found)
    height = image.shape[0]
    inside = (
        (columns >= shown.x0 + shown.width / 2 - 2) & (columns <= shown.x1 + 1)
        & (height - rows >= shown.y0 - 1) & (height - rows <= shown.y1 + 2)
    )  # fmt: skip
    on_the_bar = columns >= bar.x0 - 1
    assert (inside | on_the_bar).all()
    assert inside.sum() > 0.9 * shown.width * shown.height / 2


def test_all_slices_share_the_maps_range_and_the_page_says_where_it_is_greatest() -> None:
    map_ = np.zeros((2, 4, 4), np.float32)
    map_[1, 0, 3] = 2.5
    said = texts(draw_slices(np.zeros((8, 8, 8)), map_, which=[0, 1], title="lesion"))
    assert "lesion" in said
    assert said.count("0") >= 2
    joined = " ".join(said)
    assert "slices across axis 0 of 8 × 8 × 8" in joined
    assert "raw map 2 × 4 × 4, 0 to 2.5" in joined
    assert "greatest at 6, 1, 7" in joined
    assert {"slice 0", "slice 1", "2.5"} <= set(said)
    signed = texts(draw_slices(np.zeros((8, 8, 8)), -map_, which=[6], name="frame"))
    assert {"frame 6", "-2.5", "2.5", "0"} <= set(signed)
    assert "greatest" not in " ".join(texts(draw_slices(np.zeros((2, 2, 2)), np.ones((1, 1, 1)))))


def test_nan_is_grey_where_it_has_a_share() -> None:
    map_ = np.zeros((2, 1, 1), np.float32)
    map_[1] = np.nan
    first, second = slices(np.zeros((2, 3, 3)), map_, count=2)
    assert (first.heatmap == 0).all()
    assert np.isnan(second.heatmap).all()


@pytest.mark.parametrize("count", [1, 2, 5, 9, 16, 30])
@pytest.mark.parametrize("size", [(30, 20, 60), (30, 90, 10), (30, 3, 300)])
def test_nothing_overlaps(count: int, size: tuple[int, int, int]) -> None:
    drawn = draw_slices(
        np.zeros(size), random_volume(0, 3, 4, 5), count=count, title="a lesion · p 0.93"
    )
    assert_all_texts_are_inside_and_apart(drawn)
    boxes = [axes.get_window_extent() for axes in drawn.axes]
    for i, box in enumerate(boxes):
        assert not any(box.shrunk(0.99, 0.99).overlaps(other) for other in boxes[:i])


def test_spacing_gives_slices_their_proportions() -> None:
    volume, map_ = np.zeros((10, 20, 40)), np.zeros((1, 1, 1))

    def proportion(**options) -> float:
        box = draw_slices(volume, map_, count=1, **options).axes[0].get_window_extent()
        return box.height / box.width

    assert proportion() == pytest.approx(0.5, rel=0.02)
    assert proportion(spacing=(5, 1, 0.5)) == pytest.approx(1, rel=0.02)
    assert proportion(axis=1, spacing=(5, 1, 1)) == pytest.approx(50 / 40, rel=0.02)
    assert proportion(axis=2, spacing=(2, 3, 1)) == pytest.approx(20 / 60, rel=0.02)


def test_it_is_a_figure_that_can_be_saved(tmp_path) -> None:
    drawn = seewhy.draw_slices(torch.zeros(4, 5, 6), torch.rand(2, 2, 2), axis=1, count=3)
    drawn.savefig(tmp_path / "slices.png")
    with Image.open(tmp_path / "slices.png") as image:
        assert min(image.size) > 100


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"volume": np.zeros((2, 2))}, r"the volume is \(2, 2\); \(depth, height, width\)"),
        ({"volume": np.zeros((2, 2, 2, 2))}, r"the volume is \(2, 2, 2, 2\)"),
        ({"volume": np.full((2, 2, 2, 3), 9.0)}, "colours run from 9 to 9; uint8, or float"),
        ({"map_": np.zeros((1, 2, 2, 2))}, r"the map is \(1, 2, 2, 2\).*maps\[0\]"),
        ({"axis": 3}, "axis=3 is none"),
        ({"count": 0}, "count=0 draws nothing"),
        ({"which": [0, 4]}, r"which=\[0, 4\] are not slices along axis 0, which has 4; 0 to 3"),
        ({"which": []}, r"which=\[\]"),
        ({"spacing": (1, 1)}, "three positive numbers"),
        ({"spacing": (1, 1, 0)}, "three positive numbers"),
        ({"opacity": 2}, "opacity is 2"),
        ({"limits": (1, 0)}, "limits is"),
        ({"grey": (1, 0)}, "limits is"),
        ({"colormap": "infernal"}, "did you mean inferno"),
    ],
)
def test_what_cannot_be_drawn_is_refused(change: dict, message: str) -> None:
    arguments = {"volume": np.zeros((4, 5, 6)), "map_": np.zeros((2, 2, 2)), **change}
    with pytest.raises(ImageError, match=message):
        draw_slices(**arguments)
