"""The concepts' drawing: colours where they belong, numbers, and a legend."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from seewhy.errors import ImageError
from seewhy.explanation import Prediction
from seewhy.images import Window
from seewhy.render.concepts import COLORS, colored, draw_concepts, header, legend

from .stand_ins import grey_picture, whole

TILE = 60


@dataclass
class Found:
    maps: tuple[np.ndarray, ...]
    pictures: tuple[np.ndarray, ...]
    windows: tuple[Window, ...]
    directions: np.ndarray
    classes: tuple[tuple[Prediction, ...], ...] = ()
    names: tuple[tuple[str, ...], ...] = ()
    explained: float = 0.614
    layer: str = "layer4"
    model: str = "torchvision/resnet50"
    images: tuple[str | None, ...] = field(default=("cat.jpg",))


def found(*maps: Any, **fields: Any) -> Found:
    arrays = tuple(np.asarray(one, np.float32) for one in maps)
    pictures = fields.pop("pictures", (grey_picture(60, 60),) * len(arrays))
    count = len(arrays[0]) if arrays else 1
    named = tuple((Prediction(i, f"class {i}", 3.0, 0.5),) for i in range(count))
    fields.setdefault("classes", named)
    fields.setdefault("names", tuple(tuple(p.label for p in one) for one in fields["classes"]))
    fields.setdefault("windows", tuple(map(whole, pictures)))
    fields.setdefault("images", ("cat.jpg",) if len(arrays) == 1 else (None,) * len(arrays))
    return Found(arrays, pictures, directions=np.eye(count), **fields)


def tiles(one: Found, row: int = 0, columns: int = 3, **options: Any) -> list[np.ndarray]:
    """A row of the drawing, picture by picture, each cut into itself and its coloured copy."""
    page = np.asarray(draw_concepts(one, tile=TILE, columns=columns, **options))
    top = np.flatnonzero((page[:, 14:17] == 100).all((1, 2)))[0] + row * (TILE + 16)
    cut = []
    for column in range(min(columns, len(one.maps))):
        left = 14 + column * (2 * TILE + 3 + 16)
        cut.append(page[top : top + TILE, left : left + TILE])
        cut.append(page[top : top + TILE, left + TILE + 3 : left + 2 * TILE + 3])
    return cut


def test_each_concept_has_its_colour_where_it_is() -> None:
    plain, drawn = tiles(found([[[5.0, 0.0]], [[0.0, 2.0]]]), opacity=1)
    assert (plain == 100).all()
    assert drawn[55, 2].tolist() == list(COLORS[0])
    assert drawn[55, 57].tolist() == list(COLORS[1])


def test_a_colour_is_as_dense_as_its_concept_beside_its_largest_value_in_all_pictures() -> None:
    _, full, _, half = tiles(found([[[4.0]]], [[[2.0]]]), opacity=0.5)
    color = np.array(COLORS[0])
    assert np.abs(full[55, 2] - (100 + color) / 2).max() <= 1
    assert np.abs(half[55, 2] - (0.75 * 100 + 0.25 * color)).max() <= 1
    _, nothing = tiles(found([[[0.0]]]))
    assert (nothing == 100).all()


def test_where_concepts_meet_the_stronger_ones_colour_prevails() -> None:
    shares = np.array([0.9, 0.3])[:, None, None]
    mixed, density = colored(shares)
    near, far = (np.linalg.norm(mixed[0, 0] - color) for color in COLORS[:2])
    assert near == pytest.approx(far / 9)
    assert density.item() == 0.9
    assert colored(np.zeros((2, 1, 1)))[1].item() == 0


def test_a_number_stands_where_a_concept_is_strong() -> None:
    strong, weak = [[[0.0, 0.0, 4.0]]], [[[0.0, 0.0, 1.0]]]
    _, marked, _, bare = tiles(found(strong, weak), opacity=0)
    assert (marked[:, :30] == 100).all()
    assert (marked[:, 30:] != 100).any()
    assert (bare == 100).all()


def test_only_what_the_model_saw_is_drawn_at_its_place() -> None:
    picture = grey_picture(60, 120)
    picture[:, 90:] = 255
    seen = found([[[1.0, 0.0]]], pictures=(picture,), windows=(Window(20, 0, 80, 60),))
    plain, drawn = tiles(seen, opacity=1)
    assert (plain == 100).all()
    assert drawn[55, 2].tolist() == list(COLORS[0])
    assert drawn[55, 57].tolist() == [100, 100, 100]


def test_pictures_stand_in_rows() -> None:
    one = found(*[[[[1.0]]]] * 3, images=(None,) * 3)
    wide, tall = (draw_concepts(one, columns=c, tile=TILE).size for c in (3, 1))
    assert tall[1] - wide[1] == 2 * (TILE + 16)
    _, drawn = tiles(one, row=2, columns=1, opacity=1)
    assert drawn[55, 2].tolist() == list(COLORS[0])


def test_the_words() -> None:
    named = (Prediction(0, "tabby, tabby cat", 9.0, 0.62), Prediction(1, "lynx", 1.0, 0.004))
    value = (Prediction(0, "class 0", 3.14159, None),)
    maps = np.ones((3, 1, 1))
    one = found(maps, classes=(named, value, ()), names=(("tabby", "lynx"), ("age",), ()))
    assert legend(one) == (
        "tabby p 0.62",
        "age score 3.14",
        "the network names no classes",
    )
    assert header(one) == (
        "3 concepts of layer layer4 · 61 % of its energy · model torchvision/resnet50 · cat.jpg",
        "p, score: what the network gives the class if its layer has this concept alone",
    )
    many = found([[[1.0]]], [[[1.0]]], images=("a.jpg", None))
    assert header(many)[0].startswith("1 concept of layer")
    assert header(many)[0].endswith("2 pictures")


def test_below_each_of_several_pictures_stands_its_name() -> None:
    """The page grows by one line for a row, and there is ink in it."""
    bare = np.asarray(draw_concepts(found([[[1.0]]], [[[1.0]]]), tile=TILE))
    named = np.asarray(
        draw_concepts(found([[[1.0]]], [[[1.0]]], images=("a.jpg", None)), tile=TILE)
    )
    grown = named.shape[0] - bare.shape[0]
    assert 14 < grown < 40
    first = np.flatnonzero((named[:, 14:17] == 100).all((1, 2)))[0] + TILE
    under = named[first : first + grown]
    assert (under[:, 14:60] < 128).any()
    assert (under[:, 14 + 2 * TILE + 19 :] == 255).all()


def test_long_names_make_lines_and_not_a_wider_page() -> None:
    short, long = (
        draw_concepts(found([[[1.0]]], names=((name,),)), tile=TILE)
        for name in ("cat", "a cat " * 40)
    )
    assert short.width == long.width
    assert long.height > short.height


@pytest.mark.parametrize(
    ("one", "options", "message"),
    [
        (found(np.ones((9, 1, 1))), {}, "9 concepts came, and only 8 colours"),
        (found(), {}, "no picture came"),
        (found([[[1.0]]]), {"columns": 0}, "at least 1 column"),
        (found([[[1.0]]]), {"tile": 3}, "40 pixels"),
        (found([[[1.0]]]), {"opacity": 2}, "opacity is 2"),
    ],
)
def test_what_cannot_be_drawn_says_why(one: Found, options: dict, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        draw_concepts(one, **options)
