"""explain() and Explainer: pictures in, explanations out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import seewhy
from seewhy.errors import ImageError, MethodError, ModelError, SeewhyError, TargetError
from seewhy.explanation import Explanation
from seewhy.images import Preprocess, Window
from seewhy.models.load import LoadedModel

PLAIN = Preprocess((32, 32), 32, (0.0,) * 3, (1.0,) * 3)
LABELS = ("red, scarlet", "green", "blue")


class ByColour(nn.Module):
    """Class c is the mean of colour c: what it looks at is known."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv2d(3, 3, 4, stride=4, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(3, 3)
        with torch.no_grad():
            self.look.weight.zero_()
            for c in range(3):
                self.look.weight[c, c] = 1 / 16
            self.head.weight.copy_(10 * torch.eye(3))
            self.head.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.relu(self.look(x)).mean((2, 3)))


def loaded() -> LoadedModel:
    return LoadedModel(ByColour().eval(), PLAIN, LABELS, "by-colour", ())


def picture(height: int = 60, width: int = 90) -> np.ndarray:
    """Red spot on the left, green spot on the right, within the centre crop."""
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[20:32, 30:42, 0] = 255
    canvas[30:38, 56:64, 1] = 255
    return canvas


def test_each_class_is_seen_where_its_colour_is() -> None:
    model = loaded()
    red = seewhy.explain(model, picture(), "red")
    green = seewhy.explain(model, picture(), "green")
    y, x = np.unravel_index(red.heatmap.argmax(), red.heatmap.shape)
    assert 20 <= y < 32
    assert 30 <= x < 42
    y, x = np.unravel_index(green.heatmap.argmax(), green.heatmap.shape)
    assert 28 <= y < 40
    assert 54 <= x < 66


def test_an_explanation_holds_what_the_model_said() -> None:
    why = seewhy.explain(loaded(), picture())
    logits = loaded().module(PLAIN(picture())[None])[0].detach()
    assert why.label == "red"
    assert why.score == pytest.approx(float(logits[0]))
    assert why.probability == pytest.approx(float(logits.softmax(0)[0]), rel=1e-5)
    assert [p.label for p in why.predictions] == [
        LABELS[i] for i in logits.argsort(descending=True)
    ]
    assert [p.score for p in why.predictions] == pytest.approx(
        logits.sort(descending=True).values.tolist()
    )
    assert (why.method, why.layer, why.model, why.image) == ("grad-cam", "relu", "by-colour", None)
    assert why.window == Window(15, 0, 75, 60)
    assert why.map.shape == (8, 8)
    assert why.map.dtype == np.float32
    assert np.array_equal(why.picture, picture())
    assert set(why.versions) == {"seewhy", "torch"}
    assert why.seconds > 0
    assert why.warnings == ()
    assert "red" in repr(why)
    with pytest.raises(AttributeError):
        why.map = why.map  # type: ignore[misc]


def test_nothing_is_shown_where_the_model_saw_nothing() -> None:
    why = seewhy.explain(loaded(), picture())
    assert (why.heatmap[:, :15] == 0).all()
    assert (why.heatmap[:, 75:] == 0).all()
    assert why.heatmap.shape == (60, 90)


def test_a_path_a_pil_image_an_array_and_a_prepared_tensor_agree(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "spot.png")
    ways = [
        tmp_path / "spot.png",
        str(tmp_path / "spot.png"),
        Image.fromarray(picture()),
        picture(),
        PLAIN(picture()),
        PLAIN(picture())[None],
    ]
    maps = [seewhy.explain(loaded(), way, "green") for way in ways]
    for why in maps:
        assert np.allclose(why.map, maps[0].map, atol=1e-6)
    assert [why.image for why in maps[:3]] == ["spot.png", "spot.png", None]
    assert maps[4].picture.shape == (32, 32, 3)
    assert maps[4].window == Window(0, 0, 32, 32)


def test_a_bare_module_works_and_says_what_was_assumed() -> None:
    why = seewhy.explain(ByColour(), picture())
    assert why.label == "class 0"
    assert any("preprocessing is assumed" in said for said in why.warnings)
    told = seewhy.explain(ByColour(), picture(), "green", preprocess=PLAIN, labels=LABELS)
    assert told.warnings == ()
    assert np.allclose(told.map, seewhy.explain(loaded(), picture(), "green").map)


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_many_pictures_come_in_order_whatever_the_batch(batch_size: int) -> None:
    pictures = [picture(60 + i, 90 + 3 * i) for i in range(5)]
    explainer = seewhy.Explainer(loaded(), method=["grad-cam", "hires-cam"], batch_size=batch_size)
    found = list(explainer.many(pictures, ("red", "green")))
    assert [(why.picture.shape[0], why.method, why.label) for why in found] == [
        (60 + i, method, label)
        for i in range(5)
        for method in ("grad-cam", "hires-cam")
        for label in ("red", "green")
    ]
    for why in found:
        alone = seewhy.explain(loaded(), why.picture, why.label, method=why.method)
        assert np.allclose(why.map, alone.map, atol=1e-6)


def test_a_list_of_targets_has_one_for_each_picture() -> None:
    explainer = seewhy.Explainer(loaded(), batch_size=2)
    found = list(explainer.many([picture()] * 3, ["red", 1, "p:blue"]))
    assert [why.label for why in found] == ["red", "green", "probability of blue"]
    with pytest.raises(TargetError, match="2 targets were given for 3 pictures"):
        list(explainer.many([picture()] * 3, ["red", "green"]))


def test_a_generator_is_read_as_it_is_needed() -> None:
    read = []

    def pictures():
        for i in range(10):
            read.append(i)
            yield picture()

    found = seewhy.Explainer(loaded(), batch_size=2).many(pictures())
    next(found)
    assert len(read) == 2


def test_a_bad_picture_is_reported_and_the_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    sources = [picture(), tmp_path / "bad.png", picture()]
    failed: list[tuple[object, SeewhyError]] = []
    explainer = seewhy.Explainer(loaded())
    found = list(explainer.many(sources, on_error=lambda *pair: failed.append(pair)))
    assert len(found) == 2
    assert failed[0][0] == tmp_path / "bad.png"
    assert "bad.png" in str(failed[0][1])
    with pytest.raises(ImageError, match=r"bad\.png"):
        list(explainer.many(sources))


def test_one_bad_target_in_a_batch_is_the_only_one_that_fails() -> None:
    failed: list[object] = []
    explainer = seewhy.Explainer(loaded())
    found = list(
        explainer.many(
            [picture(60), picture(61), picture(62)],
            ["red", 7, "blue"],
            on_error=lambda source, error: failed.append(error),
        )
    )
    assert [why.label for why in found] == ["red", "blue"]
    assert isinstance(failed[0], TargetError)


def test_a_network_that_fails_on_a_picture_is_reported_with_the_inputs_size() -> None:
    class Picky(ByColour):
        def forward(self, x: Tensor) -> Tensor:
            if x.amax() < 0.5:
                raise RuntimeError("too dark for me")
            return super().forward(x)

    failed: list[SeewhyError] = []
    explainer = seewhy.Explainer(Picky().eval(), preprocess=PLAIN, labels=LABELS, batch_size=1)
    dark = np.zeros((40, 40, 3), np.uint8)
    images = [picture(), dark, picture()]
    found = list(explainer.many(images, on_error=lambda source, error: failed.append(error)))
    assert len(found) == 2
    assert str(failed[0]) == "the network itself failed on an input of (3, 32, 32): too dark for me"
    with pytest.raises(RuntimeError, match="too dark"):
        list(explainer.many(images))


def test_asking_explain_for_several_maps_says_what_gives_them() -> None:
    for asked in ({"target": "top2"}, {"layer": ["look", "relu"]}):
        with pytest.raises(TargetError, match=r"2 maps .* compare\(\)"):
            seewhy.explain(loaded(), picture(), **asked)
    fused = seewhy.explain(loaded(), picture(), layer=["look", "relu"], fuse="mean")
    assert fused.layer == "mean of look, relu"


def test_a_zero_map_says_why_and_what_to_try() -> None:
    model = loaded()
    with torch.no_grad():
        model.module.head.weight[2] = -1
    why = seewhy.explain(model, picture(), "blue")
    assert not why.map.any()
    assert "is against the target. Use hires-cam" in why.warnings[0]
    with torch.no_grad():
        model.module.head.weight[2] = 0
    why = seewhy.explain(model, picture(), "blue")
    assert "because the gradient is zero" in why.warnings[0]


def test_a_flat_map_nan_and_a_softmax_inside_are_said() -> None:
    flat = seewhy.explain(loaded(), np.full((32, 32, 3), 255, np.uint8), "red")
    assert flat.warnings == ("the map is flat: every position has the same value",)
    broken = loaded()
    with torch.no_grad():
        broken.module.head.bias[0] = float("nan")
    said = seewhy.explain(broken, picture(), "green").warnings
    assert "contains NaN or infinity" in said[0]
    with pytest.raises(TargetError, match="NaN"):
        seewhy.explain(broken, picture())
    softmax = nn.Sequential(ByColour(), nn.Softmax(1))
    said = seewhy.explain(softmax, picture(), 0, preprocess=PLAIN).warnings
    assert any("outputs are probabilities" in one for one in said)


def test_saved_and_loaded_explanations_are_the_same(tmp_path: Path) -> None:
    why = seewhy.explain(loaded(), picture(), "red vs green", method="hires-cam")
    for name in ("why.npz", "deeper/why.json"):
        path = why.save(tmp_path / name)
        back = seewhy.load_explanation(path)
        assert isinstance(back, Explanation)
        assert np.array_equal(back.map, why.map)
        assert np.array_equal(back.picture, why.picture)
        assert np.array_equal(back.heatmap, why.heatmap)
        for field in ("window", "target", "label", "score", "probability", "predictions"):
            assert getattr(back, field) == getattr(why, field), field
        for field in ("method", "layer", "model", "image", "preprocess", "versions", "warnings"):
            assert getattr(back, field) == getattr(why, field), field
    assert sorted(p.name for p in tmp_path.iterdir()) == ["deeper", "why.npz"]


def test_a_picture_of_the_explanation_is_saved_and_shown(tmp_path: Path) -> None:
    why = seewhy.explain(loaded(), picture(), "red")
    with Image.open(why.save(tmp_path / "why.png")) as saved:
        assert saved.width > saved.height > 100
    assert why.overlay().size == (90, 60)
    assert why._repr_png_().startswith(b"\x89PNG")


def test_nothing_is_left_of_a_save_that_fails(tmp_path: Path, monkeypatch) -> None:
    why = seewhy.explain(loaded(), picture(), "red")
    (tmp_path / "why.json").write_text("before")
    monkeypatch.setattr("json.dumps", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        why.save(tmp_path / "why.json")
    assert (tmp_path / "why.json").read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["why.json"]
    with pytest.raises(ImageError, match=r"saved as \.png"):
        why.save(tmp_path / "why.gif")


def test_a_damaged_file_is_refused_in_a_sentence(tmp_path: Path) -> None:
    for name, content in {
        "a.json": "{",
        "b.json": '{"format": "seewhy explanation 9", "map": [[1]], "picture": ""}',
        "c.npz": "nothing",
        "d.txt": "",
    }.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(ImageError, match=name[0]):
            seewhy.load_explanation(tmp_path / name)
    with pytest.raises(ImageError, match="no file"):
        seewhy.load_explanation(tmp_path / "e.npz")


def test_batch_size_is_checked() -> None:
    with pytest.raises(MethodError, match="at least 1"):
        seewhy.Explainer(loaded(), batch_size=0)


class BeforeAndAfter(nn.Module):
    """What has grown between two pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        return (self.look(after) - before.mean((1, 2, 3), keepdim=True)).relu().mean((2, 3))


def test_explain_says_which_of_several_pictures_the_map_lies_on() -> None:
    torch.manual_seed(0)
    model, before = BeforeAndAfter().eval(), torch.rand(1, 3, 16, 16)
    after = torch.rand(3, 16, 16)

    def both(pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return before, pictures

    with pytest.raises(ModelError, match="picture="):
        seewhy.explain(model, after, 2, method="saliency", inputs=both)
    why = seewhy.explain(model, after, 2, method="saliency", inputs=both, picture="1")
    wanted = seewhy.attribute(model, (before, after[None]), 2, method="saliency", picture=1)
    assert np.array_equal(why.map, wanted[0].numpy())
    with pytest.raises(ModelError, match="shared='texts' is not one of the inputs"):
        seewhy.explain(model, after, 2, inputs=both, picture=1, shared=["texts"])


def test_compare_spans_rows_and_columns() -> None:
    model = loaded()
    grid = seewhy.compare(model, picture(), ["red", "green"], method=["grad-cam", "hires-cam"])
    assert grid.row_titles == ("grad-cam", "hires-cam")
    assert grid.column_titles == ("red", "green")
    assert [[(w.method, w.label) for w in row] for row in grid.rows] == [
        [("grad-cam", "red"), ("grad-cam", "green")],
        [("hires-cam", "red"), ("hires-cam", "green")],
    ]
    layers = seewhy.compare(model, picture(), "red", layer=["look", "relu"], method=["grad-cam"])
    assert layers.column_titles == ("look", "relu")
    assert len(layers.rows) == 1
    by_layer = seewhy.compare(model, picture(), "top3", layer=["look", "relu"])
    assert by_layer.row_titles == ("look", "relu")
    assert len(by_layer.rows[0]) == 3
    models = seewhy.compare([model, loaded()], picture(), "top2")
    assert models.row_titles == ("by-colour", "by-colour")
    single = seewhy.compare(model, picture())
    assert single.column_titles == ("red",)


def test_compare_takes_several_pictures_and_what_they_are() -> None:
    pictures = [picture(), picture()[::-1].copy(), picture()[:, ::-1].copy()]
    model = loaded()
    sheet = seewhy.compare(model, pictures, ["red", "green"], method=["grad-cam", "layer-cam"])
    assert [[one.method for one in row] for row in sheet.rows] == [
        ["grad-cam", "grad-cam", "layer-cam", "layer-cam"]
    ] * 3
    assert sheet.column_titles == (
        "grad-cam · red", "grad-cam · green", "layer-cam · red", "layer-cam · green"
    )  # fmt: skip
    assert all((row[0].picture == one).all() for row, one in zip(sheet.rows, pictures, strict=True))
    named = [row[0].predictions[0].index for row in sheet.rows]
    other = (named[0] + 1) % 3
    known = seewhy.compare(model, pictures, true=[other, named[1], LABELS[named[2]]])
    assert [truth.right for truth in known.truths] == [False, True, True]
    assert known.truths[0].label == LABELS[other].split(",")[0]
    assert known._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(TargetError, match=r"true= has 1 classes for 3 pictures"):
        seewhy.compare(model, pictures, true=["red"])
    with pytest.raises(TargetError, match="no class is called 'rad'; did you mean 'red'"):
        seewhy.compare(model, pictures, true=["rad"] * 3)
    with pytest.raises(TargetError, match="true= needs the classes of several pictures"):
        seewhy.compare(model, pictures[0], true=["red"])
    with pytest.raises(ImageError, match="no picture was given"):
        seewhy.compare(model, [])


def test_compare_has_methods_that_look_at_no_layer_beside_those_that_do() -> None:
    model = loaded()
    grid = seewhy.compare(model, picture(), "top3", method=["grad-cam", "saliency"])
    assert grid.row_titles == ("grad-cam", "saliency")
    assert grid.column_titles == tuple(why.label for why in grid.rows[0])
    assert [{why.method for why in row} for row in grid.rows] == [{"grad-cam"}, {"saliency"}]
    layers = seewhy.compare(
        model, picture(), "red", layer=["look", "relu"], method=["saliency", "grad-cam"]
    )
    assert layers.row_titles == ("saliency", "grad-cam")
    assert layers.column_titles == ("look", "relu")
    assert [[why.layer for why in row] for row in layers.rows] == [["input"] * 2, ["look", "relu"]]


def test_a_comparison_is_drawn_and_saved(tmp_path: Path) -> None:
    grid = seewhy.compare(loaded(), picture(), "top3", method=["grad-cam", "layer-cam"])
    with Image.open(grid.save(tmp_path / "grid.png", same_scale=True)) as saved:
        assert saved.width > 200
    with pytest.raises(ImageError, match=r"\.png"):
        grid.save(tmp_path / "grid.gif")


def test_feature_maps_hold_every_channel_and_sort() -> None:
    model = loaded()
    features = seewhy.find_features(model, picture())
    with torch.no_grad():
        wanted = model.module.look(PLAIN(picture())[None])[0].relu()
    assert features.layer == "relu"
    assert np.allclose(features.maps, wanted.numpy(), atol=1e-6)
    assert features.channels.tolist() == [0, 1, 2]
    assert features.values is None
    by_activation = seewhy.find_features(model, picture(), sort="activation", top=2)
    assert by_activation.channels.tolist() == [0, 1]
    assert by_activation.values == pytest.approx(wanted.mean((1, 2))[:2].tolist())
    by_target = seewhy.find_features(model, picture(), sort="contribution", target="green")
    assert by_target.channels[0] == 1
    assert by_target.label == "green"
    # What the channels contribute adds up to the logit, the bias apart.
    logit = float(model.module(PLAIN(picture())[None])[0, 1].detach())
    assert float(by_target.values.sum()) == pytest.approx(logit, rel=1e-5)


def test_feature_maps_are_drawn_and_bad_requests_told(tmp_path: Path) -> None:
    model = loaded()
    assert seewhy.find_features(model, picture()).figure().get_figwidth() * 150 > 100
    assert seewhy.find_features(model, picture()).save(tmp_path / "f.png").exists()
    for asked, says in (
        ({"sort": "size"}, "choose one of index"),
        ({"top": 0}, "at least 1"),
        ({"layer": "head"}, "a map needs"),
        ({"layer": "*"}, "names 3 layers"),
        ({"sort": "contribution", "target": "top2"}, "one target"),
    ):
        with pytest.raises(SeewhyError, match=says):
            seewhy.find_features(model, picture(), **asked)  # type: ignore[arg-type]


def test_boxes_and_masks_lie_on_the_original_picture() -> None:
    why = seewhy.explain(loaded(), picture(), "red")  # the spot is at x 30 to 42, y 20 to 32
    (box,) = why.boxes(0.5)
    assert abs(np.array(box.as_tuple()) - (30, 20, 42, 32)).max() <= 3
    assert box.score == why.heatmap.max()
    mask = why.mask(0.5)
    assert mask.shape == (60, 90)
    assert mask.dtype == bool
    rows, columns = np.nonzero(mask)
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == box.as_tuple()
    assert mask.sum() < why.mask().sum()
    assert np.array_equal(why.mask(0.5, largest=True), mask)
    assert why.overlay(boxes=why.boxes()).tobytes() != why.overlay().tobytes()


def test_two_spots_are_two_components() -> None:
    two = picture()
    two[46:54, 50:58, 0] = 255
    why = seewhy.explain(loaded(), two, "red")
    assert len(why.boxes(0.5)) == 1
    large, small = why.boxes(0.5, largest=False)
    assert why.boxes(0.5) == (large,)
    assert large.x0 < 42 < small.x0
    assert why.mask(0.5).sum() > why.mask(0.5, largest=True).sum() > 0


# --- Pictures of other channels -----------------------------------------------------------------


class ByBand(nn.Module):
    """Class c is how much there is of band c."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.look = nn.AvgPool2d(2)
        self.relu = nn.ReLU()
        self.scale = nn.Parameter(torch.ones(bands))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.relu(self.look(x)).mean((2, 3))


SIDE = 40


def scene(bands: int) -> np.ndarray:
    """Reflectances of which each band's are high in a square of its own, along the diagonal."""
    values = np.full((SIDE, SIDE, bands), 300, np.uint16)
    for band in range(bands):
        values[8 * band : 8 * band + 8, 8 * band : 8 * band + 8, band] = 4000
    return values


@pytest.mark.parametrize("bands", [1, 2, 4, 5])
def test_an_array_of_any_channels_is_explained_and_three_of_them_are_drawn(
    bands: int, tmp_path: Path
) -> None:
    last = bands - 1
    preprocess = Preprocess((SIDE, SIDE), None, (300.0,) * bands, (1000.0,) * bands, rgb=(0, 0, 0))
    values = scene(bands)
    why = seewhy.explain(
        ByBand(bands),
        values,
        f"output:{last}",
        layer="look",
        preprocess=preprocess,
        rgb=(last, 0, 0),
    )
    assert why.score == pytest.approx(3.7 * (8 / SIDE) ** 2)
    expected = np.zeros((SIDE, SIDE))
    expected[8 * last : 8 * bands, 8 * last : 8 * bands] = 1
    assert ((why.heatmap > 0.5 * why.heatmap.max()) == expected).all()
    assert why.picture.shape == (SIDE, SIDE, 3)
    assert why.warnings == ()
    if bands > 1:
        assert (why.picture[..., 0] == 255 * expected).all()
        assert (why.picture[:8, :8, 1] == 255).all()
    again = seewhy.load_explanation(why.save(tmp_path / "why.npz"))
    assert again.preprocess == why.preprocess
    assert again.preprocess.rgb == (last, 0, 0)
    prepared = preprocess(values)
    same = seewhy.explain(ByBand(bands), prepared, f"output:{last}", layer="look", rgb=(last, 0, 0))
    np.testing.assert_array_equal(same.map, why.map)
    np.testing.assert_array_equal(same.picture, why.picture)
    assert same.warnings == ()


def test_a_photograph_is_refused_where_bands_are_wanted_and_says_what_was_assumed() -> None:
    with pytest.raises(ImageError, match=r"with rgb= .*\(height, width, 3\).* not Image"):
        seewhy.explain(ByColour(), Image.fromarray(picture()), rgb=(0, 1, 2))
    with pytest.raises(ImageError, match="as rgb=, the three channels to draw"):
        seewhy.explain(ByBand(4), torch.zeros(4, 8, 8))
    why = seewhy.explain(ByColour(), picture(224, 224).astype(np.float32), 0, rgb=(0, 1, 2))
    assert any("assumed" in said for said in why.warnings)


class Teacher(nn.Module):
    """A branch that runs last and has no say."""

    def __init__(self) -> None:
        super().__init__()
        self.student = nn.Conv2d(3, 4, 3, padding=1)
        self.teacher = nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.student(x).relu().mean((2, 3)))
        return scores + 0 * self.teacher(x).mean()


def test_a_named_layer_is_tested_once_and_what_speaks_against_it_is_said() -> None:
    torch.manual_seed(0)
    model, calls = Teacher().eval(), 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    model.register_forward_hook(count)
    explainer = seewhy.Explainer(model, layer="teacher", method=["grad-cam", "saliency"])
    picture = torch.rand(3, 16, 16)
    at_layer, of_pixels = explainer.many([picture], 1)
    assert any("does not depend on layer 'teacher'" in one for one in at_layer.warnings)
    assert not any("teacher" in one for one in of_pixels.warnings)
    first, calls = calls, 0
    list(explainer.many([picture], 1))
    assert first - calls <= 4  # the test ran once
    right = seewhy.Explainer(model, layer="student")(picture, 1)
    assert not any("student" in one for one in right.warnings)
