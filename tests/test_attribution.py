"""attribute(): the pipeline on tensors, with every method, and the model left as it was."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

import seewhy
from seewhy.errors import LayerError, MethodError, ModelError, TargetError
from seewhy.methods import METHODS
from seewhy.targets import ClassScore, Contrast, Finer, Probability, Several


def network(seed: int = 3, classes: int = 6) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 8, 3, padding=1),
            norm=nn.BatchNorm2d(8),
            relu1=nn.ReLU(inplace=True),
            conv2=nn.Conv2d(8, 10, 3, padding=1),
            relu2=nn.ReLU(inplace=True),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(10, classes),
        )
    ).eval()


class Block(nn.Module):
    """A transformer block, of tokens without a class token."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


def attentive(seed: int = 3, classes: int = 6) -> nn.Sequential:
    """The same for methods that look at attention: a token for each position."""
    torch.manual_seed(seed)
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 8, 3, padding=1),
            norm=nn.BatchNorm2d(8),
            relu1=nn.ReLU(inplace=True),
            flatten=nn.Flatten(2),
            tokens=Tokens(),
            blocks=nn.Sequential(Block(8), Block(8)),
            pool=Mean(),
            fc=nn.Linear(8, classes),
        )
    ).eval()


class Tokens(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mT


def network_for(method: str) -> nn.Sequential:
    return attentive() if METHODS[method].place == "attention" else network()


# What suits an image of 9 × 7 pixels and a test's patience.
OPTIONS: dict[str, dict[str, object]] = {
    "occlusion": {"window": 4, "stride": 3},
    "rise": {"masks": 40},
    "ss-cam": {"samples": 3},
    "group-cam": {"groups": 4},
    "opti-cam": {"steps": 3},
    "integrated-gradients": {"steps": 5},
}


@pytest.fixture
def inputs() -> Tensor:
    return torch.randn(4, 3, 9, 7)


class Stops(Exception):
    pass


def state_of(model: nn.Module) -> list[object]:
    """Everything a caller could notice."""
    return [
        [(name, id(m), m.training, dict(m.__dict__).keys()) for name, m in model.named_modules()],
        [
            (name, list(m._forward_hooks), list(m._forward_pre_hooks), list(m._backward_hooks))
            for name, m in model.named_modules()
        ],
        [
            (n, id(p), p._version, p.requires_grad, None if p.grad is None else p.grad.tolist())
            for n, p in model.named_parameters()
        ],
        [(name, id(b), b._version, b.tolist()) for name, b in model.named_buffers()],
        torch.get_rng_state().tolist(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
    ]


@pytest.mark.parametrize("succeeds", [True, False], ids=["success", "exception inside"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_the_model_back_exactly_as_it_was(
    method: str, succeeds: bool, inputs: Tensor
) -> None:
    model = network_for(method)
    model.fc.weight.requires_grad_(False)
    model(inputs).sum().backward()  # gradients of the caller's
    model.train()
    model.norm.training = False

    class Head(nn.Module):
        def __init__(self, head: nn.Module) -> None:
            super().__init__()
            self.head = head

        def forward(self, x: Tensor) -> Tensor:
            if not succeeds:
                raise Stops
            return self.head(x)

    model.fc = Head(model.fc)
    options = OPTIONS.get(method, {})
    torch.manual_seed(5)
    before = state_of(model)
    if succeeds:
        maps = seewhy.attribute(model, inputs, 1, method=method, layer="relu2", **options)
        assert maps.shape == (4, 9, 7)
        assert maps.isfinite().all()
        assert not maps.requires_grad
    else:
        with pytest.raises(Stops):
            seewhy.attribute(model, inputs, 1, method=method, layer="relu2", **options)
    assert state_of(model) == before


@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_a_finer_target(method: str, inputs: Tensor) -> None:
    model, options = network_for(method), OPTIONS.get(method, {})
    plain = seewhy.attribute(model, inputs, 1, method=method, **options)
    with_nothing = seewhy.attribute(model, inputs, Finer(1, gamma=0), method=method, **options)
    torch.testing.assert_close(with_nothing, plain)
    maps = seewhy.attribute(model, inputs, "finer:1", method=method, **options)
    assert maps.isfinite().all()
    of_no_class = ("eigen-cam", "kpca-cam", "fem", "attention-rollout")
    assert method in of_no_class or not torch.allclose(maps, plain)


def test_finer_cam_is_cam_with_the_head_rows_contrast(inputs: Tensor) -> None:
    model = network()
    activations = model[:5](inputs).detach()
    logits, rows = model(inputs).detach(), model.fc.weight.detach()
    maps = seewhy.attribute(model, inputs, "finer:2", method="cam")
    for image in range(len(inputs)):
        order = (logits[image] - logits[image, 2]).abs().argsort()
        assert order[0] == 2
        row = rows[2] - 0.6 * rows[order[1:4]].mean(0)
        torch.testing.assert_close(maps[image], (row[:, None, None] * activations[image]).sum(0))


def test_finer_score_cam_weighs_by_the_difference_of_probabilities(inputs: Tensor) -> None:
    model = network()

    def score_cam_weights(target: object) -> Tensor:
        def weights(activations: Tensor, scores: Tensor, image: Tensor, forward_probability):
            found = forward_probability(63, lambda which: image * (which[:, None, None, None] / 62))
            return found.T.reshape(len(scores), 9, 7)

        return seewhy.attribute(model, inputs[:1], target, method=weights, layer="relu2")

    one, two, three = (score_cam_weights(each) for each in (1, 2, 3))
    finer = score_cam_weights(Finer(1, (2, 3), 0.5))
    torch.testing.assert_close(finer, one - 0.5 * (two + three) / 2)
    with pytest.raises(MethodError, match="gamma of at most 1"):
        seewhy.attribute(model, inputs, Finer(1, 2, 1.5), method="score-cam")


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_gives_what_each_image_gives_alone(method: str, inputs: Tensor) -> None:
    model = network_for(method)
    options = OPTIONS.get(method, {})
    together = seewhy.attribute(model, inputs, [0, 1, 2, 3], method=method, **options)
    for i in range(4):
        alone = seewhy.attribute(model, inputs[i : i + 1], i, method=method, **options)
        torch.testing.assert_close(alone[0], together[i], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_several_targets_give_what_each_gives_alone(method: str, inputs: Tensor) -> None:
    model = network_for(method)
    options = OPTIONS.get(method, {})
    together = seewhy.attribute(model, inputs, (0, 4, 2), method=method, **options)
    assert together.shape == (4, 3, 9, 7)
    for t, index in enumerate((0, 4, 2)):
        alone = seewhy.attribute(model, inputs, index, method=method, **options)
        torch.testing.assert_close(together[:, t], alone, rtol=1e-4, atol=1e-6)


def test_the_default_is_grad_cam_of_the_predicted_class_at_the_proposed_layer(
    inputs: Tensor,
) -> None:
    model = network()
    predicted = model(inputs).argmax(1).tolist()
    wanted = seewhy.attribute(model, inputs, predicted, method="grad-cam", layer="relu2")
    assert torch.equal(seewhy.attribute(model, inputs), wanted)


def test_top_k_gives_a_map_for_each_of_the_first_classes(inputs: Tensor) -> None:
    model = network()
    top = model(inputs).topk(2).indices
    maps = seewhy.attribute(model, inputs, "top2")
    for rank in range(2):
        torch.testing.assert_close(
            maps[:, rank], seewhy.attribute(model, inputs, top[:, rank].tolist())
        )


def test_grad_cam_is_the_formula_on_the_real_network(inputs: Tensor) -> None:
    model = network()
    activations = model[:5](inputs).detach().requires_grad_()
    model[5:](activations)[:, 2].sum().backward()
    weights = activations.grad.mean((2, 3), keepdim=True)
    wanted = (weights * activations.detach()).sum(1).relu()
    torch.testing.assert_close(seewhy.attribute(model, inputs, 2), wanted)


def test_cam_is_the_heads_row_over_the_maps(inputs: Tensor) -> None:
    model = network()
    features = model[:5](inputs).detach()
    wanted = torch.einsum("k,bkhw->bhw", model.fc.weight[2].detach(), features)
    torch.testing.assert_close(seewhy.attribute(model, inputs, 2, method="cam"), wanted)
    contrast = seewhy.attribute(model, inputs, Contrast(2, 4), method="cam")
    row = (model.fc.weight[2] - model.fc.weight[4]).detach()
    torch.testing.assert_close(contrast, torch.einsum("k,bkhw->bhw", row, features))


def test_cam_is_grad_cam_times_the_positions_and_sums_to_the_logit(inputs: Tensor) -> None:
    model = network()
    cam = seewhy.attribute(model, inputs, 2, method="cam")
    grad_cam = seewhy.attribute(model, inputs, 2)
    torch.testing.assert_close(cam.relu() / 63, grad_cam)
    hires = seewhy.attribute(model, inputs, 2, method="hires-cam")
    logits = model(inputs)[:, 2] - model.fc.bias[2]
    torch.testing.assert_close(hires.sum((1, 2)), logits.detach())


@pytest.mark.parametrize("layer", ["conv2", "relu1"])
def test_cam_is_refused_where_it_is_not_defined_and_grad_cam_named(
    layer: str, inputs: Tensor
) -> None:
    with pytest.raises(MethodError, match=rf"global average pooling .* '{layer}' .* grad-cam"):
        seewhy.attribute(network(), inputs, 2, method="cam", layer=layer)


def test_cam_is_refused_for_two_linear_maps_behind_the_pooling(inputs: Tensor) -> None:
    model = network()
    model.fc = nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 6))
    with pytest.raises(MethodError, match="grad-cam"):
        seewhy.attribute(model, inputs, 2, method="cam")


def test_cam_follows_a_convolution_as_the_linear_head(inputs: Tensor) -> None:
    model = network()
    features = model[:5](inputs).detach()
    head = nn.Conv2d(10, 6, 1)
    convolutional = nn.Sequential(model[:5], nn.AdaptiveAvgPool2d(1), head, nn.Flatten())
    maps = seewhy.attribute(convolutional, inputs, 1, method="cam", layer="0")
    row = head.weight[1, :, 0, 0].detach()
    torch.testing.assert_close(maps, torch.einsum("k,bkhw->bhw", row, features))


def test_a_saturated_probability_gives_the_float64_map() -> None:
    model = network()
    images = torch.randn(1, 3, 9, 7)
    with torch.no_grad():
        model.fc.bias.zero_()
        logits = model(images)[0]
        model.fc.bias[1] = logits.max() - logits[1] + 23.0 + torch.log(torch.tensor(5.0))
        assert 1 - float(model.double()(images.double()).softmax(1)[0, 1]) < 1e-9
    wanted = seewhy.attribute(model, images.double(), Probability(1), method="hires-cam")
    model.float()
    got = seewhy.attribute(model, images, Probability(1), method="hires-cam")
    naive = seewhy.attribute(model, images, lambda out: out.softmax(1)[:, 1], method="hires-cam")
    scale = wanted.abs().max()
    assert float(scale) > 0
    assert float((got - wanted).abs().max() / scale) < 1e-3
    assert float((naive - wanted).abs().max() / scale) > 0.1, "the naive map is not noise here"


def test_a_softmax_target_is_the_contrast_with_the_other_classes(inputs: Tensor) -> None:
    model = network()
    p = model(inputs).softmax(1).detach()
    maps = [seewhy.attribute(model, inputs, c, method="hires-cam") for c in range(6)]
    mixed = sum(p[:, c, None, None] * maps[c] for c in range(6))
    wanted = p[:, 2, None, None] * (maps[2] - mixed)
    got = seewhy.attribute(model, inputs, "p:2", method="hires-cam")
    torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-7)


def test_a_contrast_is_the_difference_of_signed_maps_and_a_counterfactual_the_negative(
    inputs: Tensor,
) -> None:
    def hires(target: object) -> Tensor:
        return seewhy.attribute(network(), inputs, target, method="hires-cam")

    torch.testing.assert_close(hires("2 vs 4"), hires(2) - hires(4))
    torch.testing.assert_close(hires("against:2"), -hires(2))
    torch.testing.assert_close(hires(ClassScore(2) * 3 + ClassScore(1)), 3 * hires(2) + hires(1))


def test_smooth_grad_cam_depends_on_its_seed_alone(inputs: Tensor) -> None:
    def smooth(images: Tensor, seed: int) -> Tensor:
        return seewhy.attribute(
            network(), images, 1, method="smooth-grad-cam++", layer="relu1", samples=3, seed=seed
        )

    assert torch.equal(smooth(inputs, 4), smooth(inputs, 4))
    assert not torch.allclose(smooth(inputs, 4), smooth(inputs, 5))
    torch.testing.assert_close(smooth(inputs, 4)[2:3], smooth(inputs[2:3], 4))


def test_smooth_grad_cam_without_noise_is_grad_cam_plus_plus(inputs: Tensor) -> None:
    smooth = seewhy.attribute(
        network(), inputs, 1, method="smooth-grad-cam++", layer="relu1", samples=2, noise=0.0
    )
    plain = seewhy.attribute(network(), inputs, 1, method="grad-cam++", layer="relu1")
    torch.testing.assert_close(smooth, plain, rtol=1e-4, atol=1e-7)


def test_shapley_cam_is_grad_cam_for_logits_of_relus_and_not_for_probabilities(
    inputs: Tensor,
) -> None:
    for layer in ("relu1", "relu2"):
        for target in (1, (0, 4, 2)):
            shapley, plain = (
                seewhy.attribute(network(), inputs, target, method=method, layer=layer)
                for method in ("shapley-cam", "grad-cam")
            )
            assert torch.equal(shapley, plain)
            assert (plain > 0).any()
    shapley, plain = (
        seewhy.attribute(network(), inputs, "p:1", method=method, layer="relu1")
        for method in ("shapley-cam", "grad-cam")
    )
    assert (shapley - plain).abs().max() > 0.01 * plain.max()


def test_shapley_cam_of_a_probability_is_the_formula_on_the_real_network(inputs: Tensor) -> None:
    model, inputs = network().double(), inputs.double()
    got = seewhy.attribute(model, inputs, "p:2", method="shapley-cam", layer="relu2")
    for image, activations in enumerate(model[:5](inputs).detach()):

        def probability(a: Tensor) -> Tensor:
            return model[5:](a.clone()[None]).softmax(1)[0, 2]

        gradient = torch.autograd.functional.jacobian(probability, activations)
        hessian = torch.autograd.functional.hessian(probability, activations)
        size = activations.numel()
        bend = (hessian.reshape(size, size) @ activations.flatten()).reshape(activations.shape)
        weights = (gradient - bend / 2).mean((1, 2), keepdim=True)
        torch.testing.assert_close(got[image], (weights * activations).sum(0).relu())


def test_several_layers_give_a_list_or_one_fused_map(inputs: Tensor) -> None:
    model = network()
    model.pool = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(10, 10, 1), nn.AdaptiveAvgPool2d(1))
    layers = ["relu1", "pool.1"]
    maps = seewhy.attribute(model, inputs, 1, layer=layers)
    assert [tuple(m.shape) for m in maps] == [(4, 9, 7), (4, 4, 3)]
    for name, one in zip(layers, maps, strict=True):
        torch.testing.assert_close(one, seewhy.attribute(model, inputs, 1, layer=name))
    fused = seewhy.attribute(model, inputs, 1, layer=layers, fuse="scaled-max")
    assert fused.shape == (4, 9, 7)
    assert fused.amax((1, 2)).tolist() == pytest.approx([float(torch.tanh(torch.tensor(2.0)))] * 4)
    several = seewhy.attribute(model, inputs, (1, 2), layer=layers, fuse="mean")
    assert several.shape == (4, 2, 9, 7)
    torch.testing.assert_close(
        several[:, 1], seewhy.attribute(model, inputs, 2, layer=layers, fuse="mean")
    )
    assert len(seewhy.attribute(model, inputs, 1, layer="relu*")) == 2
    assert len(seewhy.attribute(model, inputs, 1, layer=["relu1"])) == 1


def test_a_function_of_the_users_is_a_method(inputs: Tensor) -> None:
    def absolute(activations: Tensor, gradients: Tensor, *, power: int = 1) -> Tensor:
        return (gradients * activations).abs().sum(1) ** power

    got = seewhy.attribute(network(), inputs, 1, method=absolute, power=2)
    hires_positive = seewhy.attribute(network(), inputs, 1, method="grad-cam-elementwise")
    assert got.shape == hires_positive.shape

    def strange(images: Tensor) -> Tensor:
        return images

    with pytest.raises(MethodError, match="asks for images; its parameters may be called activ"):
        seewhy.attribute(network(), inputs, 1, method=strange)

    def flat(activations: Tensor) -> Tensor:
        return activations

    with pytest.raises(
        MethodError, match=r"map of shape \(4, 9, 7\), but it returned \(4, 10, 9, 7\)"
    ):
        seewhy.attribute(network(), inputs, 1, method=flat)

    def mixed(activations: Tensor, attentions: list[Tensor], rerun: object) -> Tensor:
        return activations

    with pytest.raises(MethodError, match="rerun, which is of one image at a time, and for atten"):
        seewhy.attribute(network(), inputs, 1, method=mixed)


def test_a_row_of_scores_for_each_image_is_wanted(inputs: Tensor) -> None:
    class OfAll(nn.Module):
        """Frames in the batch's place, and one decision for all of them."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network()

        def forward(self, frames: Tensor) -> Tensor:
            return self.network(frames).mean(0, keepdim=True)

    with pytest.raises(ModelError, match="1 rows of scores for 4 images"):
        seewhy.attribute(OfAll(), inputs, 1, method="recipro-cam")


@dataclass
class Outputs:
    logits: Tensor
    hidden: Tensor


@dataclass
class HuggingFaceOutput(OrderedDict):
    """Built like transformers.ModelOutput: a dataclass that is also a dict of what is not None."""

    loss: Tensor | None = None
    logits: Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("loss", "logits"):
            if getattr(self, name) is not None:
                self[name] = getattr(self, name)


class Returns(nn.Module):
    def __init__(self, form: str) -> None:
        super().__init__()
        self.body, self.form = network(), form

    def forward(self, x: Tensor):
        logits = self.body(x)
        hidden = self.body[:5](x)
        return {
            "tuple": (logits, hidden),
            "list": [logits],
            "dict": {"logits": logits, "embedding": logits.flip(1)},
            "dataclass": Outputs(logits, hidden),
            "hugging face": HuggingFaceOutput(logits=logits),
            "nested": {"hidden": hidden, "heads": {"a": logits}},
            "ambiguous": (logits, logits.flip(1)),
        }[self.form]


@pytest.mark.parametrize("form", ["tuple", "list", "dict", "dataclass", "hugging face", "nested"])
def test_the_logits_are_found_in_whatever_the_model_returns(form: str, inputs: Tensor) -> None:
    wanted = seewhy.attribute(network(), inputs, 1)
    got = seewhy.attribute(Returns(form), inputs, 1, layer="body.relu2#0")
    torch.testing.assert_close(got, wanted)


def test_unclear_outputs_are_listed_and_output_names_one(inputs: Tensor) -> None:
    model, layer = Returns("ambiguous"), "body.relu2#0"
    with pytest.raises(ModelError, match=r"0 \(4, 6\), 1 \(4, 6\).* output="):
        seewhy.attribute(model, inputs, 1, layer=layer)
    wanted = seewhy.attribute(network(), inputs, 1)
    torch.testing.assert_close(seewhy.attribute(model, inputs, 1, layer=layer, output=0), wanted)
    flipped = seewhy.attribute(model, inputs, 4, layer=layer, output="1")
    torch.testing.assert_close(flipped, wanted)
    torch.testing.assert_close(
        seewhy.attribute(model, inputs, 1, layer=layer, output=lambda out: out[0]), wanted
    )
    with pytest.raises(ModelError, match="output='scores' is not in"):
        seewhy.attribute(model, inputs, 1, layer=layer, output="scores")


def test_a_regression_and_a_binary_model() -> None:
    model = network(classes=1)
    images = torch.randn(2, 3, 9, 7)
    value = seewhy.attribute(model, images, "output:0", method="hires-cam")
    torch.testing.assert_close(value.sum((1, 2)), (model(images)[:, 0] - model.fc.bias[0]).detach())
    positive = seewhy.attribute(model, images, "positive", method="hires-cam")
    negative = seewhy.attribute(model, images, "negative", method="hires-cam")
    torch.testing.assert_close(positive, value)
    torch.testing.assert_close(negative, -value)
    with pytest.raises(TargetError, match="one number per image"):
        seewhy.attribute(model, images)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"inputs": torch.zeros(3, 9, 7)}, ModelError, r"not \(3, 9, 7\).*inputs\[None\]"),
        ({"inputs": "cat.jpg"}, ModelError, "explain"),
        ({"inputs": torch.zeros(1, 3, 9, 7, dtype=torch.uint8)}, ModelError, "uint8"),
        ({"inputs": torch.zeros(0, 3, 9, 7)}, ModelError, "shape"),
        ({"model": "demo"}, ModelError, "Module"),
        ({"target": [1]}, TargetError, "the batch has 4 images"),
        ({"target": 6}, TargetError, "out of range"),
        ({"method": "gradcam"}, MethodError, "did you mean grad-cam"),
        ({"method": 3}, MethodError, "a name or a function"),
        ({"layer": "fc"}, LayerError, r"gives \(4, 6\)"),
        ({"layer": "pool"}, LayerError, "more than one position"),
        ({"layer": "relu7"}, LayerError, "did you mean 'relu"),
        ({"layer": ["relu1", "relu2"], "fuse": "sum"}, MethodError, "mean, max, scaled-max"),
        ({"samples": 3}, MethodError, "grad-cam takes no options; remove .samples."),
        (
            {"method": "smooth-grad-cam++", "sample": 3},
            MethodError,
            "options are noise, samples, seed",
        ),
        ({"method": "smooth-grad-cam++", "samples": 0}, MethodError, "at least 1"),
    ],
)
def test_bad_input_gets_one_clear_sentence(
    change: dict[str, object], error: type[Exception], says: str, inputs: Tensor
) -> None:
    call = {"model": network(), "inputs": inputs, "target": 1, **change}
    with pytest.raises(error, match=says):
        seewhy.attribute(call.pop("model"), call.pop("inputs"), call.pop("target"), **call)


def test_inputs_go_to_the_models_type(inputs: Tensor) -> None:
    model = network().double()
    assert seewhy.attribute(model, inputs, 1).dtype == torch.float64
    half = seewhy.attribute(network().bfloat16(), inputs, 1)
    assert half.dtype == torch.float32


def test_a_network_that_begins_in_place_has_input_gradients(inputs: Tensor) -> None:
    begins = nn.Sequential(nn.ReLU(inplace=True), network())
    kept = inputs.clone()
    maps = seewhy.attribute(begins, inputs, 1, method="saliency")
    plain = nn.Sequential(nn.ReLU(), network())
    torch.testing.assert_close(maps, seewhy.attribute(plain, kept, 1, method="saliency"))
    assert (maps > 0).any()


def test_several_is_a_tuple_written_out(inputs: Tensor) -> None:
    torch.testing.assert_close(
        seewhy.attribute(network(), inputs, Several(1, 2)),
        seewhy.attribute(network(), inputs, (1, 2)),
    )


def test_channels_last_and_double_batches_agree(inputs: Tensor) -> None:
    wanted = seewhy.attribute(network(), inputs, 1)
    model = network().to(memory_format=torch.channels_last)
    got = seewhy.attribute(model, inputs.to(memory_format=torch.channels_last), 1)
    torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize(
    "device", [pytest.param(name, marks=pytest.mark.gpu(name)) for name in ("cuda", "mps")]
)
def test_every_method_on_an_accelerator(device: str, inputs: Tensor) -> None:
    for method in METHODS:
        options = OPTIONS.get(method, {})
        model = network_for(method)
        wanted = seewhy.attribute(model, inputs, (1, 2), method=method, **options)
        got = seewhy.attribute(model.to(device), inputs, (1, 2), method=method, **options)
        assert got.device.type == device
        torch.testing.assert_close(got.cpu(), wanted, rtol=1e-3, atol=1e-5)


def test_integrated_gradients_say_how_far_their_sum_is_off(inputs: Tensor) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(189, 20), nn.ReLU(), nn.Linear(20, 3)).eval()

    def warnings(steps: int) -> list[str]:
        explainer = seewhy.Explainer(model, method="integrated-gradients", steps=steps)
        return [w for one in explainer.many(list(inputs), 1) for w in one.warnings if "steps" in w]

    few, many = warnings(1), warnings(2000)
    assert len(few) == 4
    assert many == []
    maps = seewhy.attribute(model, inputs, 1, method="integrated-gradients", steps=1)
    with torch.no_grad():
        change = (model(inputs) - model(0 * inputs))[:, 1]
    worst = ((maps.sum((1, 2)) - change) / change).abs().max()
    assert "differs from the change of the score" in few[0]
    assert f"by up to {worst:.1%}: steps=1 is" in few[0]
