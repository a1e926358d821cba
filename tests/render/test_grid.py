from __future__ import annotations

import numpy as np
import pytest

from seewhy.errors import ImageError
from seewhy.images import Window
from seewhy.render.colormap import colorize
from seewhy.render.grid import content, page_of
from seewhy.render.style import style_of

from .stand_ins import explained, pixels, texts
from .test_figure import assert_all_texts_are_inside_and_apart


def grid(rows, **options):
    """As matplotlib draws it."""
    return page_of(rows, **options).figure


def flat(value, **fields):
    return explained(map=np.full((2, 2), value, np.float32), **fields)


def colour_in_the_middle(drawn, axes):
    seen = pixels(drawn)
    box = axes.get_position()
    height, width = seen.shape[:2]
    return seen[int((1 - (box.y0 + box.y1) / 2) * height), int((box.x0 + box.x1) / 2 * width)]


def cells(rows, **options):
    return content(rows, **options).cells


def ends(cell):
    return cell.scale.low, cell.scale.high


def test_each_cell_has_its_own_range_and_prints_it():
    table = cells([[explained(), explained(map=np.array([[-3, 1.0]])), flat(2)]])
    assert [ends(cell) for cell in table[0]] == [(0, 8.25), (-3, 3), (0, 2)]
    assert [cell.note for cell in table[0]] == ["0 to 8.25", "-3 to 3", "0 to 2"]
    floating = cells([[explained(map=np.array([[0.54, 0.67]]))]])[0][0]
    assert floating.note == "0.54 to 0.67"
    assert cells([[flat(0)]])[0][0].note == "0 everywhere"


def test_a_cell_says_how_far_its_colours_reach_where_few_pixels_lie_beyond():
    spots = np.full((20, 50), 0.25, np.float32)
    spots[0, :3] = 9
    spots[1, 1] = 0
    (cell,) = cells([[explained(map=spots)]])[0]
    assert ends(cell) == (0, 0.25)
    assert cell.note == "0 to 0.25, largest 9"


def test_the_same_scale_is_the_largest_of_all_and_printed_once():
    rows = [[flat(2), None], [flat(8, probability=None), explained(map=np.array([[0, 4.0]]))]]
    table = cells(rows, same_scale=True)
    assert {ends(cell) for row in table for cell in row if cell} == {(0, 8)}
    assert {cell.note for row in table for cell in row if cell} == {""}
    assert table[0][1] is None
    written = texts(grid(rows, same_scale=True))
    assert {"0", "4", "8"} <= set(written)
    assert "own maximum" not in written


def test_the_same_scale_of_a_signed_and_an_unsigned_map_is_centred():
    table = cells([[flat(2), explained(map=np.array([[-3, 1.0]]))]], same_scale=True)
    assert {ends(cell) for cell in table[0]} == {(-3, 3)}


def test_limits_hold_for_all_and_are_on_the_key():
    rows = [[flat(2), flat(8)]]
    assert {ends(cell) for cell in cells(rows, limits=(1, 3))[0]} == {(1, 3)}
    assert {"1", "2", "3 or more"} <= set(texts(grid(rows, limits=(1, 3))))


def test_where_each_has_its_own_scale_there_is_a_key_for_every_kind():
    rows = [[explained(), explained(map=np.array([[-3, 1.0]])), explained(map=np.eye(2) + 9)]]
    written = texts(grid(rows))
    assert written.count("own maximum") == 2
    assert written.count("own minimum") == 1
    assert {"most for", "most against"} <= set(written)


def test_colours_follow_the_scale():
    rows = [[flat(2), flat(8)]]
    opaque = style_of("veil", opacity=1)
    drawn = grid(rows, same_scale=True, style=opaque)
    assert (
        colour_in_the_middle(drawn, drawn.axes[0]).tolist()
        == colorize(np.array([0.25]))[0].tolist()
    )
    drawn = grid(rows, style=opaque)
    assert colour_in_the_middle(drawn, drawn.axes[0]).tolist() == colorize(np.ones(1))[0].tolist()


def test_what_a_title_says_no_cell_repeats():
    rows = [
        [explained(method=method, label=label, map=np.eye(2) * n + k)
         for k, label in enumerate(("tabby", "boxer"))]
        for n, method in enumerate(("cam", "layer-cam"), 1)
    ]  # fmt: skip
    said = content(rows, row_titles=["cam", "layer-cam"], column_titles=["tabby", "dogs"])
    assert [head.title for head in said.columns] == ["tabby", "dogs"]
    # Every cell of a column has one target: its numbers stand above, with its name if need be.
    assert [head.numbers for head in said.columns] == [
        "p 0.62 · score 8.31", "boxer · p 0.62 · score 8.31"
    ]  # fmt: skip
    assert {cell.label for row in said.cells for cell in row} == {""}
    turned = content(list(zip(*rows, strict=True)), row_titles=["tabby", "boxer"])
    assert [head.numbers for head in turned.rows] == ["p 0.62 · score 8.31"] * 2
    written = texts(grid(rows, row_titles=["cam", "layer-cam"], column_titles=["tabby", "boxer"]))
    assert [written.count(word) for word in ("tabby", "boxer", "cam", "layer-cam")] == [1] * 4
    assert written[-1] == "layer layer4 · model torchvision/resnet50 · image cat.jpg"


def test_cells_of_several_targets_in_a_column_name_their_own():
    rows = [[explained(label="tabby"), flat(1, label="boxer")],
            [explained(label="lynx"), flat(2, label="boxer")]]  # fmt: skip
    labels = [[cell.label for cell in row] for row in cells(rows, column_titles=["1st", "2nd"])]
    assert labels[0][0] == "tabby · p 0.62 · score 8.31"
    assert labels[1] == ["lynx · p 0.62 · score 8.31", "boxer · p 0.62 · score 8.31"]


def test_a_cell_with_an_earlier_cells_map_says_so():
    first = explained(method="grad-cam")
    again = explained(method="hires-cam", map=first.map * 3)
    other = explained(method="cam", map=first.map.T)
    against = explained(method="minus", map=-first.map)
    nothing = flat(0, method="zero")
    row = cells([[first, again, other, against, nothing, flat(0, method="nought")]])[0]
    assert [cell.same for cell in row] == [
        "", "the same map as grad-cam, × 3", "", "", "", ""
    ]  # fmt: skip
    assert "the same map as grad-cam, × 3" in texts(grid([[first, again]]))
    # The map of another picture is another map.
    elsewhere = explained(method="hires-cam", picture=np.zeros((60, 80, 3), np.uint8))
    assert cells([[first, elsewhere]])[0][1].same == ""


def test_only_what_the_model_saw_is_drawn_and_said():
    window = Window(10, 0, 70, 60)
    picture = np.zeros((60, 80, 3), np.uint8)
    picture[:, 10:70] = 200
    one = explained(picture=picture, window=window, map=np.zeros((2, 2)))
    drawn = grid([[one]])
    shown = drawn.axes[0].images[0].get_array()
    assert shown[:200].min() >= 199
    assert shown.shape[0] == shown.shape[1]
    assert "only what the model saw is drawn" in texts(drawn)[-1]


def test_cells_stand_in_the_order_given():
    drawn = grid([[flat(1)] * 3] * 2)
    corners = [
        (round(axes.get_position().y0, 3), round(axes.get_position().x0, 3))
        for axes in drawn.axes[:-1]  # the last one is the key
    ]
    ys, xs = sorted({y for y, _ in corners}, reverse=True), sorted({x for _, x in corners})
    assert corners == [(y, x) for y in ys for x in xs]
    assert (len(ys), len(xs)) == (2, 3)


def test_a_missing_cell_stays_white():
    drawn = grid([[flat(1), None], [flat(1), flat(1)]])
    assert len(drawn.axes) == 4
    seen = pixels(drawn)
    left, _, right, _ = (axes.get_window_extent() for axes in drawn.axes)
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
    assert len(drawn.axes) == 61


def test_pictures_of_different_shapes_keep_their_aspect():
    drawn = grid([[explained(60, 80), explained(80, 60)]])
    shapes = [axes.get_window_extent() for axes in drawn.axes[:2]]
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
