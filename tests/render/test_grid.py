from __future__ import annotations

import numpy as np
import pytest

from seewhy.errors import ImageError
from seewhy.render.colormap import colorize
from seewhy.render.grid import cells, grid

from .stand_ins import explained, pixels, texts
from .test_figure import assert_all_texts_are_inside_and_apart


def flat(value, **fields):
    return explained(map=np.full((2, 2), value, np.float32), **fields)


def colour_in_the_middle(drawn, axes):
    seen = pixels(drawn)
    box = axes.get_position()
    height, width = seen.shape[:2]
    return seen[int((1 - (box.y0 + box.y1) / 2) * height), int((box.x0 + box.x1) / 2 * width)]


def test_each_cell_has_its_own_range_and_prints_it():
    table = cells([[flat(2), explained(map=np.array([[-3, 1.0]]))]])
    assert [cell.limits for cell in table[0]] == [(0, 2), (-3, 3)]
    assert [cell.note for cell in table[0]] == ["max 2", "max ±3"]
    assert [cell.colormap for cell in table[0]] == ["inferno", "RdBu_r"]


def test_a_cell_says_how_far_its_colours_reach_where_few_pixels_lie_beyond():
    spots = np.full((20, 50), 0.25, np.float32)
    spots[0, :3] = 9
    (cell,) = cells([[explained(map=spots)]])[0]
    assert cell.limits == (0, 0.25)
    assert cell.note == "max 9, colours to 0.25"


def test_the_same_scale_is_the_largest_of_all_and_printed_once():
    rows = [[flat(2), None], [flat(8, probability=None), flat(4)]]
    table = cells(rows, same_scale=True)
    assert {cell.limits for row in table for cell in row if cell} == {(0, 8)}
    assert {cell.note for row in table for cell in row if cell} == {""}
    assert table[0][1] is None
    written = texts(grid(rows, same_scale=True))
    assert {"0", "4", "8"} <= set(written)
    assert not any(line.startswith("max") for line in written)


def test_the_same_scale_of_a_signed_and_an_unsigned_map_is_centred():
    table = cells([[flat(2), explained(map=np.array([[-3, 1.0]]))]], same_scale=True)
    assert {cell.limits for cell in table[0]} == {(-3, 3)}
    assert {cell.colormap for cell in table[0]} == {"RdBu_r"}


def test_colours_follow_the_scale():
    rows = [[flat(2), flat(8)]]
    drawn = grid(rows, same_scale=True, opacity=1)
    assert (
        colour_in_the_middle(drawn, drawn.axes[0]).tolist()
        == colorize(np.array([0.25]))[0].tolist()
    )
    drawn = grid(rows, opacity=1)
    assert colour_in_the_middle(drawn, drawn.axes[0]).tolist() == colorize(np.ones(1))[0].tolist()


def test_titles_labels_and_what_all_share_are_written():
    rows = [
        [explained(method=method, label=label) for label in ("tabby", "boxer")]
        for method in ("cam", "layer-cam")
    ]
    written = texts(grid(rows, row_titles=["cam", "layer-cam"], column_titles=["cats", "dogs"]))
    assert {"cats", "dogs", "cam", "layer-cam", "tabby · p 0.62", "boxer · p 0.62"} <= set(written)
    assert written.count("max 8.25") == 4
    assert written[-1] == "layer layer4 · model torchvision/resnet50 · image cat.jpg"


def test_cells_stand_in_the_order_given():
    drawn = grid([[flat(1)] * 3] * 2)
    corners = [
        (round(axes.get_position().y0, 3), round(axes.get_position().x0, 3)) for axes in drawn.axes
    ]
    ys, xs = sorted({y for y, _ in corners}, reverse=True), sorted({x for _, x in corners})
    assert corners == [(y, x) for y in ys for x in xs]
    assert (len(ys), len(xs)) == (2, 3)


def test_a_missing_cell_stays_white():
    drawn = grid([[flat(1), None], [flat(1), flat(1)]])
    assert len(drawn.axes) == 3
    seen = pixels(drawn)
    left, _, right = (axes.get_window_extent() for axes in drawn.axes)
    row = seen.shape[0] - int(left.y0 + left.height / 2)
    assert (seen[row, int(right.x0) : int(right.x1)] == 255).all()


def test_a_warning_is_seen_in_its_cell():
    written = texts(grid([[explained(), explained(warnings=("all zero", "and more"))]]))
    assert written.count("all zero") == 1


@pytest.mark.parametrize("same_scale", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (2, 12)])
@pytest.mark.parametrize("size", [(60, 80), (90, 20)])
def test_nothing_is_cut_off_or_lies_over_another(shape, same_scale, size):
    long = "a name with many, many words in it " * 3
    one = explained(*size, label=long, warnings=(long * 9,))
    drawn = grid(
        [[one] * shape[1]] * shape[0],
        row_titles=[f"torchvision/{'resnet' * 9}"] * shape[0],
        column_titles=[f"layer4.2.{'conv3.' * 9}"] * shape[1],
        same_scale=same_scale,
    )
    assert_all_texts_are_inside_and_apart(drawn)


def test_a_large_grid_is_drawn():
    one = flat(1)
    drawn = grid([[one] * 5] * 12, column_titles=list("abcde"), row_titles=list("abcdefghijkl"))
    assert len(drawn.axes) == 60


def test_pictures_of_different_shapes_keep_their_aspect():
    drawn = grid([[explained(60, 80), explained(80, 60)]])
    shapes = [axes.get_window_extent() for axes in drawn.axes]
    assert [box.width / box.height for box in shapes] == pytest.approx([4 / 3, 3 / 4], rel=0.01)


def test_ragged_rows_wrong_titles_and_nothing_are_refused():
    with pytest.raises(ImageError, match="have 2, 1 cells"):
        grid([[flat(1), flat(1)], [flat(1)]])
    with pytest.raises(ImageError, match="3 row titles came for 1 rows"):
        grid([[flat(1)]], row_titles=list("abc"))
    with pytest.raises(ImageError, match="2 column titles came for 1 columns"):
        grid([[flat(1)]], column_titles=list("ab"))
    for empty in ([], [[]], [[None]]):
        with pytest.raises(ImageError, match="no explanation"):
            grid(empty)
