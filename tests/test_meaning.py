"""What a network's outputs mean: one number, probabilities, maps; for methods of every kind."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_networks import KINDS, OPTIONS, Classifier, Segmenter, predicting
from torch import Tensor, nn
from torch.nn.functional import interpolate

import seewhy
from seewhy.attribution import Attribution, run
from seewhy.errors import MethodError, ModelError, SeewhyError, TargetError
from seewhy.methods import METHODS
from seewhy.models.bound import bind
from seewhy.models.ending import ends_in_sigmoid
from seewhy.targets import BoxScore, ClassScore, predictions, probability_of, target_from_json

PLAIN = seewhy.Preprocess(size=(32, 32), resize=(32, 32), mean=(0.0,) * 3, std=(1.0,) * 3)
SAID = "the outputs are probabilities (a sigmoid inside the model)"


@pytest.fixture
def x() -> Tensor:
    return torch.rand(2, 3, 32, 32)


def of(
    model: nn.Module, inputs: Any, target: Any, method: str = "hires-cam", **more: Any
) -> Attribution:
    given = {"layer": None, "fuse": None, "output": None, "options": OPTIONS.get(method, {})} | more
    return run(model, inputs, target, methods=[method], **given)


def said(made: Attribution) -> str:
    return "; ".join(made.warnings[0][0][0][0])


# --- One number an image --------------------------------------------------------------------------

ONE_NUMBER = {
    "(batch,)": lambda z: z[:, 0],
    "(batch, 1)": lambda z: z,
    "(batch, 1, 1)": lambda z: z[:, :, None],
    "(batch, 1, 1, 1)": lambda z: z[:, :, None, None],
    "squeezed": lambda z: z.squeeze(),  # a batch of one has no axis left
}


@pytest.mark.parametrize("method", KINDS)
@pytest.mark.parametrize("form", ONE_NUMBER)
def test_one_number_an_image_has_sides_and_a_value(method: str, form: str, x: Tensor) -> None:
    model = Classifier(1, ONE_NUMBER[form]).eval()
    with torch.no_grad():
        values = model.logits(x)[:, 0]
    for target, expected in (
        ("positive", values), ("negative", -values), ("output:0", values),
    ):  # fmt: skip
        if target == "output:0" and method in ("score-cam", "rise"):
            continue  # they weigh by probabilities, and a value has none
        made = of(model, x, target, method)
        assert torch.allclose(made.scores[:, 0], expected, atol=1e-5)
        reference = of(_like(model), x, target, method)
        assert torch.allclose(made.maps[0][0], reference.maps[0][0], atol=1e-5)
    alone = of(model, x[:1], "positive", method)
    assert torch.allclose(alone.scores[:, 0], values[:1], atol=1e-5)


def _like(model: Classifier) -> Classifier:
    """The same network with outputs `(batch, 1)`."""
    other = Classifier(1).eval()
    other.load_state_dict(model.state_dict())
    return other


@pytest.mark.parametrize("form", ONE_NUMBER)
def test_the_message_of_a_single_number_leads_on(form: str, x: Tensor) -> None:
    model = Classifier(1, ONE_NUMBER[form]).eval()
    for target in (0, None, "top1"):
        with pytest.raises(TargetError, match="target='positive' or 'negative'"):
            of(model, x, target)
    labelled = of(model, x, 1, labels=("no", "yes"))
    assert str(labelled.targets.targets[0][0]) == "yes"
    why = seewhy.explain(model, x[0], preprocess=PLAIN, labels=("no", "yes"))
    assert {one.label for one in why.predictions} == {"no", "yes"}


def test_scores_of_maps_with_one_position_are_those_of_classes(x: Tensor) -> None:
    """A head that is a convolution over the whole picture: every class can be asked for."""
    model = Classifier(4, lambda z: z[:, :, None, None]).eval()
    flat = Classifier(4).eval()
    flat.load_state_dict(model.state_dict())
    for target in (0, 1, 2, 3, "p:2", "0 vs 3", "top3", "finer:1"):
        one, other = of(model, x, target), of(flat, x, target)
        assert one.targets == other.targets
        assert torch.allclose(one.scores, other.scores)
        assert torch.allclose(one.maps[0][0], other.maps[0][0])
    assert predictions(model(x).detach()) == predictions(flat(x).detach())


# --- Probabilities, from a sigmoid or a softmax inside --------------------------------------------

SIGMOIDS = {
    "sigmoid": lambda z: z.sigmoid(),
    "hard": lambda z: nn.functional.hardsigmoid(z / 8),
    "by hand": lambda z: 1 / (1 + (-z).exp()),
    "by tanh": lambda z: (z / 2).tanh() / 2 + 0.5,
    "of two": lambda z: (z.sigmoid() + (z / 2).sigmoid()) / 2,
    "a product": lambda z: z.sigmoid() * (z + 1).sigmoid(),
}
LOGITS = {
    "plain": lambda z: z,
    "small": lambda z: z.abs().sum(1, keepdim=True) * 0 + 0.3 + 0.01 * z,
    "relu": lambda z: 0.01 * z.relu() + 0.01,
    "softplus": lambda z: 0.01 * nn.functional.softplus(z),
}


@pytest.mark.parametrize("method", KINDS)
@pytest.mark.parametrize("end", ["sigmoid", "by hand"])
def test_a_sigmoid_inside_is_not_taken_twice(method: str, end: str, x: Tensor) -> None:
    model = Classifier(4, SIGMOIDS[end]).eval()
    with torch.no_grad():
        p = model(x)
    for target in ("sigmoid:1", "p:1", 1):
        made = of(model, x, target, method)
        assert torch.allclose(made.scores[:, 0], p[:, 1], atol=1e-6)
        assert SAID in said(made)
    why = seewhy.explain(
        model, x[0], "sigmoid:1", preprocess=PLAIN, method=method, **OPTIONS.get(method, {})
    )
    assert why.probability == pytest.approx(float(p[0, 1]), abs=1e-6)
    for one in why.predictions:
        assert one.probability == pytest.approx(float(p[0, one.index]), abs=1e-6)


@pytest.mark.parametrize("classes", [1, 2, 5])
@pytest.mark.parametrize("end", SIGMOIDS)
def test_every_way_to_end_in_a_sigmoid_is_seen(end: str, classes: int, x: Tensor) -> None:
    model = Classifier(classes, SIGMOIDS[end]).eval()
    for inputs in (x, x[:1]):
        bound, picture = bind(model, inputs)
        assert ends_in_sigmoid(bound, picture, bound(picture))
        with torch.no_grad():
            assert ends_in_sigmoid(bound, picture, bound(picture))


@pytest.mark.parametrize("classes", [1, 2, 5])
@pytest.mark.parametrize("end", LOGITS)
def test_logits_between_0_and_1_are_no_probabilities(end: str, classes: int, x: Tensor) -> None:
    for seed in range(5):
        torch.manual_seed(seed)
        model = Classifier(classes, LOGITS[end], scale=0.1).eval()
        bound, picture = bind(model, x)
        with torch.no_grad():
            outputs = bound(picture)
        assert not ends_in_sigmoid(bound, picture, outputs)
        if classes > 1:
            assert SAID not in said(of(model, x, 1, "eigen-cam", layer="features"))


def test_which_end_a_network_has_is_looked_at_once(x: Tensor) -> None:
    runs: list[int] = []
    model = Classifier(3, SIGMOIDS["by hand"]).eval()
    model.register_forward_hook(lambda *_: runs.append(1))
    of(model, x, 1, "eigen-cam", layer="features")
    first = len(runs)
    runs.clear()
    of(model, x, 1, "eigen-cam", layer="features")
    assert len(runs) < first
    assert len(runs) == 1
    runs.clear()
    plain = Classifier(3).eval()
    plain.register_forward_hook(lambda *_: runs.append(1))
    of(plain, x, 1, "eigen-cam", layer="features")
    assert len(runs) == 1  # a network of logits pays nothing


def test_the_sides_of_a_probability(x: Tensor) -> None:
    for form in ("(batch,)", "(batch, 1, 1, 1)", "squeezed"):
        model = Classifier(1, lambda z, form=form: ONE_NUMBER[form](z.sigmoid())).eval()
        with torch.no_grad():
            p = model.logits(x)[:, 0].sigmoid()
        for target, expected in (
            ("positive", p), ("negative", 1 - p), ("p:positive", p), ("p:negative", 1 - p),
            ("output:0", p),
        ):  # fmt: skip
            assert torch.allclose(of(model, x, target).scores[:, 0], expected, atol=1e-6)
        side = int(p[0] >= 0.5)
        why = seewhy.explain(model, x[0], preprocess=PLAIN, labels=("no", "yes"))
        assert why.label == ("no", "yes")[side]
        assert why.probability == pytest.approx(float(p[0] if side else 1 - p[0]), abs=1e-6)
        assert why.predictions[0].label == why.label


def test_an_unlikely_side_is_not_predicted(x: Tensor) -> None:
    """A probability of 0.3 is no 'yes', though it is above 0."""
    model = Classifier(1, lambda z: 0.2 + 0.2 * z.sigmoid()).eval()
    why = seewhy.explain(model, x[0], preprocess=PLAIN, labels=("no", "yes"))
    assert why.label == "no"
    assert 0.6 < why.probability < 0.8


def test_a_softmax_inside_is_not_taken_twice(x: Tensor) -> None:
    model = Classifier(4, lambda z: z.softmax(1)).eval()
    with torch.no_grad():
        p = model(x)
    for target in (1, "p:1", "sigmoid:1"):
        assert torch.allclose(of(model, x, target).scores[:, 0], p[:, 1])
    why = seewhy.explain(model, x[0], preprocess=PLAIN)
    assert why.probability == pytest.approx(float(p[0].max()))
    assert [one.probability for one in why.predictions] == pytest.approx(
        p[0].sort(descending=True).values.tolist()
    )
    assert "a softmax inside the model" in why.warnings[0]


@pytest.mark.parametrize(
    ("end", "name"), [(lambda z: z.sigmoid(), "sigmoid"), (lambda z: z.softmax(1), "softmax")]
)
def test_cam_names_what_stands_behind_the_linear_head(end: Any, name: str, x: Tensor) -> None:
    for classes in (1, 4) if name == "sigmoid" else (4,):
        model = Classifier(classes, end, scale=1).eval()
        target = "positive" if classes == 1 else 1
        with pytest.raises(MethodError, match=f"has a {name} after that map"):
            of(model, x, target, "cam", layer="features")
    two = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(4), nn.Sigmoid())
    two(x)
    with pytest.raises(MethodError, match="global average pooling and one linear map"):
        of(two.eval(), x, 1, "cam", layer="1")


def test_the_sigmoid_of_a_logarithm_is_its_probability(x: Tensor) -> None:
    model = Classifier(4, lambda z: z.log_softmax(1)).eval()
    with torch.no_grad():
        p = model(x).exp()
    for target in ("p:1", "sigmoid:1"):
        made = of(model, x, target)
        assert torch.allclose(made.scores[:, 0], p[:, 1], atol=1e-6)
        assert str(made.targets.targets[0][0]) == "probability of class 1"
    below = Classifier(4, lambda z: z - 100).eval()  # logits below 0 are no logarithms of any
    assert "sigmoid" in str(of(below, x, "sigmoid:1").targets.targets[0][0])


def test_a_saved_target_knows_how_its_network_ends(x: Tensor) -> None:
    model = Classifier(3, lambda z: z.sigmoid()).eval()
    (target,), _ = of(model, x, "p:1").targets.targets
    again = target_from_json(target.to_json())
    with torch.no_grad():
        p = model(x)
    assert again == target
    assert torch.equal(again(p), p[:, 1])
    assert probability_of(again, p[0]) == pytest.approx(float(p[0, 1]))
    assert "ending" not in ClassScore(1).to_json()


def test_a_token_of_a_softmax_is_a_logarithm_of_it() -> None:
    class Speaker(Classifier):
        def forward(self, x: Tensor) -> Tensor:
            return self.logits(x).reshape(-1, 2, 5).softmax(2)

    model, x = Speaker(10).eval(), torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        p = model(x)
    assert torch.allclose(of(model, x, "token:3").scores[0], p[0, -1, 3].log())
    assert torch.allclose(of(model, x, "p:token:3").scores[0], p[0, -1, 3])


# --- Maps -----------------------------------------------------------------------------------------

MASKS = {
    "as it is": lambda z: z,
    "classes last": lambda z: z.permute(0, 2, 3, 1),
    "without an axis": lambda z: z[:, 0],
    "squeezed": lambda z: z.squeeze(),
}


@pytest.mark.parametrize("form", MASKS)
@pytest.mark.parametrize("sigmoid", [False, True])
@pytest.mark.parametrize("batch", [1, 2])
def test_a_mask_is_predicted_above_one_half(form: str, sigmoid: bool, batch: int) -> None:
    x = torch.rand(batch, 3, 24, 32)

    def end(z: Tensor) -> Tensor:
        return MASKS[form](z.sigmoid() if sigmoid else z)

    model = predicting(0.2, Segmenter(1, end), x)
    inside = model.logits(x)[:, 0].detach() >= 0
    for target in (None, 0, "0", "p:0", "sigmoid:0"):
        made = of(model, x, target, layer="features")
        for (one,), mask in zip(made.targets.targets, inside, strict=True):
            region = one if hasattr(one, "where") else one.of
            assert torch.equal(torch.from_numpy(region.where.array()), mask)
        assert (SAID in said(made)) is sigmoid
    why = seewhy.explain(model, x[0], layer="features", preprocess=PLAIN, labels=("wall",))
    p = model.logits(x[:1]).detach()[0, 0].sigmoid()[inside[0]].mean()
    assert why.probability == pytest.approx(float(p), rel=1e-4)
    assert why.predictions[0].probability == pytest.approx(float(p), rel=1e-4)


@pytest.mark.parametrize("target", [0, "0", "p:0", ClassScore(0)])
def test_the_only_class_of_a_mask_that_sees_nothing_is_asked_for_everywhere(target: Any) -> None:
    x = torch.rand(1, 3, 24, 32)
    model = predicting(0.0, Segmenter(1, lambda z: z - 50), x)
    made = of(model, x, target, layer="features")
    assert "over the whole map, being predicted nowhere" in str(made.targets.targets[0][0])
    with pytest.raises(TargetError, match="finds nothing"):
        of(model, x, None, layer="features")


def test_several_masks_of_a_sigmoid_are_each_predicted_on_their_own() -> None:
    """Behind a sigmoid a pixel has several classes or none, not the highest of all."""
    x = torch.rand(1, 3, 24, 32)
    model = predicting(0.3, Segmenter(3, lambda z: z.sigmoid()), x)
    p = model(x).detach()
    made = of(model, x, (0, "top1"), layer="features")
    first, top = made.targets.targets[0]
    assert torch.equal(torch.from_numpy(first.where.array()), p[0, 0] >= 0.5)
    assert top.index == int((p >= 0.5).flatten(2).sum(2).argmax())
    resized = Segmenter(2, lambda z: interpolate(z.sigmoid(), scale_factor=2.0, mode="bilinear"))
    assert SAID in said(of(resized.eval(), x, "0@peak", layer="features"))


@pytest.mark.parametrize("method", KINDS)
@pytest.mark.parametrize(("classes", "stride"), [(2, 2), (3, 4), (1, 2)])
def test_maps_with_their_classes_last_are_read_in_place(
    method: str, classes: int, stride: int
) -> None:
    """A text detector's output: the peak is where it is, and not at a class taken for a column."""
    x = torch.rand(1, 3, 32, 48)
    last = Segmenter(classes, lambda z: z.permute(0, 2, 3, 1), stride).eval()
    first = Segmenter(classes, stride=stride).eval()
    first.load_state_dict(last.state_dict())
    index = classes - 1
    row, column = divmod(int(first(x)[0, index].argmax()), 48 // stride)
    for target in (f"{index}@peak", f"{index}@3,2", f"p:{index}@0,0,5,4"):
        more = {} if method in ("saliency", "rise", "occlusion", "integrated-gradients") else {
            "layer": "features"
        }  # fmt: skip
        one, other = (of(net, x, target, method, **more) for net in (last, first))
        assert one.targets == other.targets
        assert torch.allclose(one.scores, other.scores, atol=1e-6)
        assert torch.allclose(one.maps[0][0], other.maps[0][0], atol=1e-5)
    peak = of(last, x, f"{index}@peak", layer="features").targets.targets[0][0]
    assert peak.where == (column, row)


def test_a_function_sees_what_the_network_gave() -> None:
    x = torch.rand(2, 3, 24, 32)
    for end, read in (
        (lambda z: z.permute(0, 2, 3, 1), lambda out: out[:, 3, 7, 1]),
        (lambda z: z[:, 0], lambda out: out[:, 3, 7]),
    ):
        model = Segmenter(2, end).eval()
        found = of(model, x, read, layer="features")
        assert torch.allclose(found.scores[:, 0], read(model(x)).detach())
        both = of(model, x, (read, "0@peak"), layer="features")
        assert torch.allclose(both.maps[0][0][:, 0], found.maps[0][0][:, 0])


# --- A target of boxes in an oriented head --------------------------------------------------------


class Oriented(nn.Module):
    """As ultralytics' oriented boxes: 4 rows of a box, 3 classes, and an angle in radians."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = nn.Conv2d(3, 8, 8, stride=8), nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Any]]:
        maps = self.backbone(x).relu()
        y = self.head(maps).flatten(2)
        box, raw = 32 + 16 * y[:, :4].tanh().abs(), y[:, 4:7] - 2
        angle = (y[:, 7:].sigmoid() - 0.25) * 3.14159
        known = {"boxes": box, "scores": raw, "feats": [maps], "angle": angle}
        return torch.cat([box, raw.sigmoid(), angle], 1), known


@pytest.mark.parametrize("method", KINDS)
def test_an_angle_is_no_class(method: str) -> None:
    x = torch.rand(1, 3, 64, 64)
    model = Oriented().eval()
    more = {"layer": "backbone"} if "cam" in method else {}
    made = of(model, x, (None, 0, 1, 2), method, **more)
    scores = model(x)[1]["scores"].sigmoid()
    targets = made.targets.targets[0]
    assert all(isinstance(one, BoxScore) for one in targets)
    assert targets[0].index == int(scores[0].amax(1).argmax())
    assert made.scores[0, 1:].tolist() == pytest.approx(scores[0].amax(1).tolist(), rel=1e-4)
    with pytest.raises(TargetError, match="class 3 is out of range: the network has 3 classes"):
        of(model, x, 3, method, **more)


# --- What the layout cannot say -------------------------------------------------------------------


def test_as_many_classes_as_rows_are_told_apart_by_a_change_in_a_corner() -> None:
    x = torch.rand(1, 3, 32, 32)
    first = Segmenter(8, stride=4).eval()
    assert said(of(first, x, "3@peak", layer="features")) == ""
    last = Segmenter(8, lambda z: z.permute(0, 2, 3, 1), 4).eval()
    with pytest.raises(
        ModelError, match=r"classes last, .* output=lambda out: out.permute\(0, 3, 1"
    ):
        of(last, x, "3@peak", layer="features")
    turned = of(last, x, "3@peak", layer="features", output=lambda out: out.permute(0, 3, 1, 2))
    place = turned.targets.targets[0][0].where
    row, column = divmod(int(last(x)[0, ..., 3].argmax()), 8)
    assert place == (column, row)


def test_a_layout_that_no_change_can_show_is_said() -> None:
    class Everywhere(Segmenter):
        """A map whose every position depends on the whole picture."""

        def forward(self, x: Tensor) -> Tensor:
            pooled = self.features(x).mean((2, 3))
            generator = torch.Generator().manual_seed(0)
            return (pooled @ torch.randn(8, 512, generator=generator)).reshape(-1, 8, 8, 8)

    made = of(Everywhere().eval(), torch.rand(1, 3, 32, 32), "3@peak", layer="features")
    assert "is read as maps with the classes first by its size alone" in said(made)


def test_a_mean_over_the_batch_is_no_score(x: Tensor) -> None:
    with pytest.raises(ModelError, match="one number for the whole batch"):
        of(Classifier(4, lambda z: z.mean()).eval(), x, "output:0")


def test_one_map_of_a_smaller_size_is_said_and_can_be_read() -> None:
    x = torch.rand(1, 3, 32, 48)
    model = Segmenter(1, lambda z: z[:, 0], stride=2).eval()
    whole = of(model, x, lambda out: out.mean((1, 2)), layer="features")
    assert "is one map an image, as a change in a corner" in said(whole)
    with pytest.raises(TargetError, match=r"give output=lambda out: out\[:, None\]"):
        of(model, x, 0, layer="features")
    made = of(model, x, "0@peak", layer="features", output=lambda out: out[:, None])
    row, column = divmod(int(model(x)[0].argmax()), 24)
    assert made.targets.targets[0][0].where == (column, row)
    assert said(made) == ""


def test_similar_classes_are_the_same_behind_a_softmax(x: Tensor) -> None:
    model = Classifier(6).eval()
    for end in (lambda z: z.softmax(1), lambda z: z.sigmoid()):
        other = Classifier(6, end).eval()
        other.load_state_dict(model.state_dict())
        one, two = (of(net, x, "finer2:1").targets.targets[0][0] for net in (model, other))
        assert one == two


def test_a_value_behind_a_sigmoid_is_not_called_a_probability(x: Tensor) -> None:
    made = of(Classifier(2, lambda z: z.sigmoid()).eval(), x, "output:1")
    assert said(made).startswith("the model ends in a sigmoid, so gradients become very small")


# --- Every method, and forms drawn at random ------------------------------------------------------


SHORT = {"masks": 8, "samples": 2, "steps": 2, "window": 16, "stride": 16}


@pytest.mark.parametrize(
    "method", [name for name, method in METHODS.items() if method.place != "attention"]
)
def test_every_method_takes_one_number_in_any_form(method: str, x: Tensor) -> None:
    model = Classifier(1, scale=1).eval()
    options = {name: value for name, value in SHORT.items() if name in METHODS[method].options}
    wanted = seewhy.attribute(model, x, "positive", method=method, **options)
    for form in ONE_NUMBER.values():
        model.end = form
        found = seewhy.attribute(model, x, "positive", method=method, **options)
        assert torch.allclose(found, wanted, atol=1e-5)


FORMS: list[Callable[[Tensor], Tensor]] = [
    *ONE_NUMBER.values(),
    lambda z: z.softmax(1),
    lambda z: z[:, :, None, None] * torch.ones(8, 8),
    lambda z: (z[:, :, None, None] * torch.ones(8, 8)).permute(0, 2, 3, 1),
    lambda z: (z[:, :1, None] * torch.ones(32, 32)).sigmoid(),
    lambda z: z[:, None].expand(-1, 6, -1),
    lambda z: (z[:, None] * torch.ones(6, 1)).log_softmax(2),
    lambda z: z[:, :, None, None, None],
    lambda z: torch.cat([z.abs(), z.abs() + 1], 1)[:, None].expand(-1, 9, -1).sigmoid(),
    lambda z: z.mean(),
]
ASKED: list[Any] = [
    None, 0, 1, "positive", "output:0", "p:0", "sigmoid:1", "0 vs 1", "against:0", "top2", "box:0",
    "token:1", "0@peak", "0@1,1", "finer2:0", "p:positive", (0, 1), [0, 1],
    lambda outputs: outputs.reshape(len(outputs), -1).sum(1),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:the part of the network after layer")
@pytest.mark.parametrize("seed", range(60))
def test_any_form_asked_in_any_way_gives_a_map_or_says_why_not(seed: int) -> None:
    drawn = random.Random(seed)
    classes, form, scale = drawn.choice((1, 2, 5)), drawn.choice(FORMS), drawn.choice((0.1, 8))
    wrapped: Callable[[Tensor], Any] = drawn.choice(
        [
            lambda y: y,
            lambda y: {"logits": y, "loss": y.mean()},
            lambda y: (y, y.detach().flatten(1) if y.ndim > 1 else y),
            lambda y: {"out": y, "aux": {"out": 2 * y}},
            lambda y: [y],
        ]
    )
    sigmoid = drawn.random() < 0.4

    def end(z: Tensor) -> Any:
        return wrapped(form(z.sigmoid() if sigmoid else z))

    model = Classifier(classes, end, scale).eval()
    for _ in range(4):
        target, method = drawn.choice(ASKED), drawn.choice(KINDS)
        batch = drawn.choice((1, 2))
        inputs = torch.rand(batch, 3, 32, 32)
        try:
            found = seewhy.attribute(
                model, inputs, target, method=method, **OPTIONS.get(method, {})
            )
        except SeewhyError:
            continue
        assert len(found) == batch
        assert found.isfinite().all()
