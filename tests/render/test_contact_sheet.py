from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from seewhy.errors import ImageError
from seewhy.render.contact_sheet import common_scale, content, page_of

from .stand_ins import Predicted, explained, texts
from .test_figure import assert_all_texts_are_inside_and_apart


@dataclass(frozen=True)
class Known:
    label: str
    right: bool


def one(name, largest=1.0, probability=0.6, **fields):
    picture = np.full((60, 80, 3), 10 + len(name), np.uint8)
    fields.setdefault("map", np.array([[0, 0.5], [0.25, 1]], np.float32) * largest)
    fields.setdefault("label", "cat")
    return explained(
        picture=picture, image=name, predictions=(Predicted("cat", probability),), **fields
    )


def test_the_wrong_ones_stand_first_and_the_least_certain_of_each():
    rows = [[one("a", probability=0.9)], [one("b", probability=0.5)],
            [one("c", probability=0.8)], [one("d", probability=0.7)]]  # fmt: skip
    truths = [Known("cat", True), Known("cat", True), Known("dog", False), Known("dog", False)]
    said = content(rows, truths=truths)
    assert [row.name for row in said.rows] == ["d", "c", "b", "a"]
    assert [row.wrong for row in said.rows] == [True, True, False, False]
    assert said.rows[0].predicted == "cat  p 0.70"
    assert [row.truth for row in said.rows] == ["is dog", "is dog", "right", "right"]
    assert said.title == "2 of 4 wrong"
    assert "wrong ones first" in said.notes[0]


def test_without_truth_they_stand_as_they_came():
    said = content([[one("b", probability=0.9)], [one("a", probability=0.2)]])
    assert [row.name for row in said.rows] == ["b", "a"]
    assert said.title == "2 pictures"
    assert said.notes[0] == "one scale for all"
    assert {row.truth for row in said.rows} == {""}


def test_one_scale_ends_where_three_quarters_of_the_maxima_lie_below():
    maps = [one("x", largest).map for largest in (1, 2, 3, 4, 100)]
    scale = common_scale(maps)
    assert (scale.low, scale.high, scale.largest) == (0, 4, 100)
    assert common_scale(maps, limits=(0, 50)).high == 50
    signed = common_scale([*maps, -maps[1]])
    assert (signed.low, signed.high) == (-4, 4)
    assert common_scale([np.zeros((2, 2))]).empty


def test_all_tiles_have_it_and_weak_maps_say_so():
    rows = [[one(str(n), largest)] for n, largest in enumerate((4, 4, 4, 0.3, 0))]
    said = content(rows)
    assert {row.tiles[0].scale.high for row in said.rows} == {4}
    notes = [row.tiles[0].notes for row in said.rows]
    assert notes == [(), (), (), ("map weak: at most 0.3",), ()]
    written = texts(page_of(rows).figure)
    assert {"4", "2", "0", "map weak: at most 0.3"} <= set(written)


def test_methods_have_a_scale_each_with_its_own_key():
    rows = [[one(str(n), 1, method="grad-cam"), one(str(n), 20, method="cam")] for n in range(3)]
    said = content(rows, column_titles=["grad-cam", "cam"])
    assert {name: scale.high for name, scale in said.scales.items()} == {"grad-cam": 1, "cam": 20}
    assert said.notes[0] == "one scale for each method"
    written = texts(page_of(rows, column_titles=["grad-cam", "cam"]).figure)
    assert written.count("grad-cam") == 2  # above its column and above its key
    assert {"1", "20"} <= set(written)


def test_the_same_map_twice_says_so_within_a_picture():
    maps = [np.array([[0, 1], [2, n]], np.float32) for n in range(2)]
    rows = [
        [one(str(n), method="grad-cam", map=map_), one(str(n), method="hires-cam", map=2 * map_)]
        for n, map_ in enumerate(maps)
    ]
    for row in content(rows).rows:
        assert [tile.notes for tile in row.tiles] == [(), ("the same map as grad-cam, × 2",)]


def test_a_target_that_is_not_the_prediction_is_named_unless_a_title_does():
    (row,) = content([[one("a", label="dog")]]).rows
    assert row.tiles[0].label == "dog"
    rows = [[one("a", label="cat"), one("a", label="dog")], [one("b"), one("b", label="dog")]]
    said = content(rows, column_titles=["cat", "dog"])
    assert [tile.label for row in said.rows for tile in row.tiles] == [""] * 4


@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize("count", [1, 10, 13])
def test_nothing_is_cut_off_or_lies_over_another(columns, count):
    long = "a name as long as those of ImageNet " * 3
    rows = [
        [one(f"{n} {long}.jpg", n % 3 * 0.04 + 0.01, label=f"{long}{k}") for k in range(columns)]
        for n in range(count)
    ]
    truths = [Known(long, n % 2 == 0) for n in range(count)]
    page = page_of(rows, truths=truths, column_titles=[f"{long}{k}" for k in range(columns)])
    assert_all_texts_are_inside_and_apart(page.figure)
    assert page.image.size == page.pixels


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(ImageError, match="no picture"):
        content([])
    with pytest.raises(ImageError, match="1 true classes came for 2 pictures"):
        content([[one("a")], [one("b")]], truths=[Known("cat", True)])
