from __future__ import annotations

import gc
import itertools
import threading
import weakref

import matplotlib
import numpy as np
import pytest

from seewhy.errors import ImageError
from seewhy.images import Window
from seewhy.render import text
from seewhy.render.colormap import colorize
from seewhy.render.figure import content, page_of
from seewhy.render.scale import scale_of
from seewhy.render.style import style_of

from .stand_ins import explained, pixels, texts


def figure(explanation, **options):
    """As matplotlib draws it."""
    return page_of(explanation, **options).figure


def boxes(drawn):
    renderer = drawn.canvas.get_renderer()
    return {one.get_text(): one.get_window_extent(renderer) for one in drawn.texts}


def assert_all_texts_are_inside_and_apart(drawn):
    found = list(boxes(drawn).items())
    width, height = drawn.canvas.get_width_height()
    for words, box in found:
        assert box.x0 >= 0, words
        assert box.y0 >= 0, words
        assert box.x1 <= width, words
        assert box.y1 <= height, words
        for axes in drawn.axes:
            assert not box.overlaps(axes.get_window_extent()), words
    for (words, box), (others, other) in itertools.combinations(found, 2):
        # Letters that hang below their line may touch the line's box below.
        assert not box.shrunk(0.98, 0.8).overlaps(other.shrunk(0.98, 0.8)), (words, others)


def test_what_a_figure_says():
    said = content(explained(warnings=("flat map",)))
    assert said.label == "tabby"
    assert said.numbers == "p 0.62 · score 8.31"
    assert said.notes == (
        "method grad-cam · layer layer4 · model torchvision/resnet50 · image cat.jpg",
        "raw map 2 × 2, 0 to 8.25 · scale from 0 to 8.25",
    )
    assert (said.scale.low, said.scale.high) == (0, 8.25)
    assert said.warnings == ("flat map",)


def test_what_is_not_known_is_left_out():
    said = content(explained(probability=None, image=None))
    assert said.numbers == "score 8.31"
    assert "image" not in said.notes[0]


def test_a_signed_map_has_a_range_centred_at_zero_and_prints_its_own():
    said = content(explained(map=np.array([[-1, 4.0]])))
    assert (said.scale.low, said.scale.high) == (-4, 4)
    assert said.notes[1] == (
        "raw map 1 × 2, -1 to 4 · scale from -4 to 4: as far below 0 as above it"
    )


def test_a_map_that_floats_above_zero_says_why_its_scale_does():
    said = content(explained(map=np.array([[0.54, 0.67]])))
    assert said.notes[1] == (
        "raw map 1 × 2, 0.54 to 0.67 · scale from 0.54 to 0.67: it starts at the minimum, because "
        "that is 81 % of the maximum"
    )


def test_nan_is_explained_and_a_flat_map_says_so():
    notes = content(explained(map=np.array([[np.nan, 2.0, 1]]))).notes[1]
    assert notes.startswith("raw map 1 × 3, 1 to 2 · stripes: not a number · scale")
    notes = content(explained(map=np.full((2, 2), np.nan))).notes[1]
    assert notes.startswith("raw map 2 × 2, no finite value · stripes: not a number")
    assert content(explained(map=np.zeros((7, 7)))).notes[1] == (
        "raw map 7 × 7, 0 everywhere · no scale, because all values are the same"
    )


def test_title_notes_warnings_and_the_keys_numbers_are_written():
    written = texts(figure(explained(warnings=("the gradient is zero.", "NaN"))))
    assert written[:2] == ["tabby", "p 0.62 · score 8.31"]
    assert {"8.25", "4.12", "0", "line: half the maximum", "over dark → light"} <= set(written)
    assert "raw map 2 × 2, 0 to 8.25 · scale from 0 to 8.25" in written
    assert "Warning: the gradient is zero." in written
    assert "Warning: NaN" in written


def test_limits_given_are_on_the_key_beside_the_raw_range():
    one = explained()
    written = texts(figure(one, scale=scale_of([one.map], limits=(2, 4))))
    assert {"2", "3", "4 or more"} <= set(written)
    assert any(line.startswith("raw map 2 × 2, 0 to 8.25 · scale from 2 to 4") for line in written)


def test_the_picture_is_left_of_its_overlay_and_the_key_is_right():
    one = explained(picture=np.full((60, 80, 3), (200, 30, 40), np.uint8))
    one.map = np.full((2, 2), 3.0)
    drawn = figure(one, style=style_of("veil", opacity=1))
    picture, laid, key = drawn.axes
    assert picture.get_position().x1 < laid.get_position().x0
    assert laid.get_position().x1 < key.get_position().x0
    seen = pixels(drawn)
    height, width = seen.shape[:2]

    def middle(axes):
        box = axes.get_position()
        return seen[int((1 - (box.y0 + box.y1) / 2) * height), int((box.x0 + box.x1) / 2 * width)]

    assert middle(picture).tolist() == [200, 30, 40]
    assert middle(laid).tolist() == colorize(np.ones(1))[0].tolist()


def test_the_map_alone_is_drawn_third_if_wanted():
    one = explained(picture=np.zeros((60, 80, 3), np.uint8))
    drawn = figure(one, heat=True)
    assert len(drawn.axes) == 4
    alone = drawn.axes[2].images[0].get_array()
    assert alone[0, 0].tolist() == [245] * 3  # the map is 0 there
    assert alone[-1, -1, 0] > alone[-1, -1, 2] + 100  # and at its largest there


def test_the_overlay_has_the_colours_of_the_limits():
    one = explained(map=np.full((2, 2), 3.1, np.float32))
    scale = scale_of([one.map], limits=(0, 12))
    laid = figure(one, style=style_of("veil", opacity=1), scale=scale).axes[1].images[0]
    assert (
        np.unique(laid.get_array().reshape(-1, 3), axis=0).tolist()
        == colorize(np.array([3.1 / 12])).tolist()
    )


@pytest.mark.skipif(
    tuple(map(int, matplotlib.__version__.split(".")[:2])) < (3, 10),
    reason="an older matplotlib lays a picture on the page by a rounding of its own",
)
def test_pillow_and_matplotlib_draw_the_same_page():
    rng = np.random.default_rng(0)
    one = explained(picture=rng.integers(0, 256, (60, 80, 3), np.uint8), warnings=("look out",))
    page = page_of(one)
    ours, theirs = np.asarray(page.image).astype(int), pixels(page.figure).astype(int)
    assert ours.shape == theirs.shape
    unlike = np.abs(ours - theirs).max(2)
    assert (unlike > 2).mean() < 0.03  # the letters' edges alone
    for axes in page.figure.axes:
        box = axes.get_window_extent()
        rows = slice(round(ours.shape[0] - box.y1) + 1, round(ours.shape[0] - box.y0) - 1)
        columns = slice(round(box.x0) + 1, round(box.x1) - 1)
        assert unlike[rows, columns].max() <= 1


@pytest.mark.parametrize(("height", "width"), [(60, 80), (80, 60), (60, 60), (30, 90), (90, 30)])
def test_pictures_keep_their_aspect(height, width):
    drawn = figure(explained(height, width))
    box = drawn.axes[0].get_position()
    inches = drawn.get_size_inches()
    drawn_as = box.width * inches[0] / (box.height * inches[1])
    assert drawn_as == pytest.approx(width / height, rel=0.01)  # they lie on whole pixels


LABELS = [
    "tabby",
    "a name as long as those that ImageNet gives, with synonyms, Latin names and more " * 3,
    "x" * 400,
    "小猫 " * 40,
    "$x_1^2$ and \\alpha_b {} % # ~ $",
    "",
]


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("size", [(60, 80), (90, 20), (1, 1), (4, 300)])
def test_nothing_is_cut_off_or_lies_over_another(label, size):
    one = explained(
        *size, label=label, layer="a.very.long.layer.name" * 9, image=f"{label[:99]}.jpg",
        warnings=(f"about {label}", "word " * 300),
    )  # fmt: skip
    assert_all_texts_are_inside_and_apart(figure(one))


def test_labels_are_no_formulas():
    drawn = figure(explained(label="$x_1^2$ \\alpha $"))
    assert drawn.texts[0].get_text() == "$x_1^2$ \\alpha $"
    assert not any(one.get_parse_math() or one.get_usetex() for one in drawn.texts)
    pixels(drawn)  # a formula left open would raise


def test_a_label_without_a_font_is_escaped(monkeypatch):
    monkeypatch.setattr(text, "fonts", lambda: (text.plain_font(),))
    monkeypatch.setattr(text, "fonts_not_listed", lambda: ())
    drawn = figure(explained(label="小猫"))
    assert drawn.texts[0].get_text() == "\\u5c0f\\u732b"
    pixels(drawn)  # matplotlib warns of a missing glyph, and warnings are errors here


@pytest.mark.parametrize(
    "raw",
    [np.zeros((7, 7)), np.full((7, 7), np.nan), np.full((7, 7), np.inf), np.full((7, 7), -2.0)],
)
@pytest.mark.filterwarnings("error")
def test_degenerate_maps_are_drawn(raw):
    pixels(figure(explained(map=raw.astype(np.float32))))


def test_a_users_settings_of_matplotlib_neither_matter_nor_change():
    import matplotlib

    expected = pixels(figure(explained(window=Window(5, 5, 50, 50))))
    odd = {
        "font.size": 30, "text.usetex": True, "image.origin": "lower", "text.color": "red",
        "figure.autolayout": True, "figure.dpi": 20, "figure.facecolor": "blue",
        "image.cmap": "jet", "axes.linewidth": 9, "image.interpolation": "bicubic",
    }  # fmt: skip
    with matplotlib.rc_context(odd):
        before = dict(matplotlib.rcParams)
        got = pixels(figure(explained(window=Window(5, 5, 50, 50))))
        assert dict(matplotlib.rcParams) == before
    assert np.array_equal(got, expected)


def test_figures_go_with_their_last_reference():
    drawn = [figure(explained()) for _ in range(3)]
    for one in drawn:
        pixels(one)
    alive = [weakref.ref(one) for one in drawn]
    del drawn, one
    gc.collect()
    assert [ref() for ref in alive] == [None] * 3


def test_threads_draw_what_one_thread_draws():
    labels = ["tabby", "кошка", "γάτα", "chat"]
    expected = [pixels(figure(explained(label=label))) for label in labels]
    got = [None] * len(labels)

    def draw(i):
        got[i] = pixels(figure(explained(label=labels[i])))

    threads = [threading.Thread(target=draw, args=(i,)) for i in range(len(labels))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True))


def test_it_saves(tmp_path):
    from PIL import Image

    figure(explained()).savefig(tmp_path / "why.png")
    with Image.open(tmp_path / "why.png") as saved:
        assert saved.width > 800


def test_mistakes_are_named():
    with pytest.raises(ImageError, match=r"picture is float64"):
        figure(explained(picture=np.zeros((60, 80, 3))))
    with pytest.raises(ImageError, match=r"the map is \(3, 2, 2\)"):
        figure(explained(map=np.zeros((3, 2, 2))))
