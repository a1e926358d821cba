"""The backpropagation methods: against loops, by hand, and by what must hold exactly."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import backprop as reference
from torch import Tensor, nn

import seewhy
from seewhy.attribution import run
from seewhy.errors import MethodError
from seewhy.methods import backprop
from seewhy.methods.cam import eigen_cam, grad_cam, hires_cam
from seewhy.models.relu_rules import ReluRule

NOISY = ["smooth_grad", "var_grad", "square_grad"]
IMAGE_ONLY = ["saliency", "input_times_gradient", *NOISY, "integrated_gradients"]


class Differentiated:
    """`input_gradients` of a model, each image with its own target; it counts what it is asked."""

    def __init__(self, model: nn.Module, targets: list[int], rule: Any = None) -> None:
        self.model, self.targets, self.rule = model, targets, rule
        self.calls: list[int] = []

    def __call__(self, inputs: Tensor) -> Tensor:
        self.calls.append(len(inputs))
        leaf = inputs.detach().clone().requires_grad_()
        if self.rule is None:
            scores = self.scores(leaf)
        else:
            with ReluRule(self.rule):
                scores = self.scores(leaf)
        return torch.autograd.grad(scores.sum(), leaf)[0]

    def scores(self, inputs: Tensor) -> Tensor:
        targets = torch.tensor(self.targets * (len(inputs) // len(self.targets)))
        return self.model(inputs).gather(1, targets[:, None])[:, 0]


def network(activation: Callable[[], nn.Module] = nn.SiLU, bias: bool = True) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return (
            nn.Sequential(
                nn.Conv2d(3, 6, 3, bias=bias),
                activation(),
                nn.Conv2d(6, 6, 2, stride=2, bias=bias),
                activation(),
                nn.Flatten(),
                nn.Linear(6 * 4, 4, bias=bias),
            )
            .double()
            .eval()
        )


def linear_network() -> tuple[nn.Module, Tensor]:
    """A network that is w·x + b, and its w (classes, channels, height, width)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 7, 4)).double().eval()
    return model, model[1].weight.detach().reshape(4, 3, 6, 7)


def images(count: int = 2, seed: int = 9) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, 6, 7, generator=generator, dtype=torch.float64)


def exact_gradient(model: nn.Module, target: int) -> Callable[[Tensor], Tensor]:
    """Of one image."""
    return lambda image: Differentiated(model, [target])(image[None])[0]


def test_the_gradients_used_here_are_those_of_finite_differences() -> None:
    model, pictures = network(), images()
    ours = Differentiated(model, [1, 3])(pictures)
    for row, target in enumerate([1, 3]):
        slow = reference.finite_differences(
            lambda image, target=target: model(image[None])[0, target], pictures[row], 1e-5
        )
        assert torch.allclose(ours[row], slow, atol=1e-8)


def test_saliency_equals_finite_differences() -> None:
    model, pictures = network(), images()
    ours = backprop.saliency(pictures, Differentiated(model, [0, 2]))
    for row, target in enumerate([0, 2]):
        slow = reference.finite_differences(
            lambda image, target=target: model(image[None])[0, target], pictures[row], 1e-5
        )
        assert torch.allclose(ours[row], reference.strongest_colour(slow), atol=1e-8)


def test_saliency_by_hand() -> None:
    gradient = torch.tensor([[[[1.0, -4.0]], [[-3.0, 2.0]], [[2.0, 0.0]]]])
    inputs = torch.zeros(1, 3, 1, 2)
    for method in [backprop.saliency, backprop.guided_backprop, backprop.deconvnet]:
        assert method(inputs, lambda _: gradient).tolist() == [[[3.0, 4.0]]]


def test_input_times_gradient_by_hand() -> None:
    gradient = torch.tensor([[[[1.0, -4.0]], [[-3.0, 2.0]], [[2.0, 0.0]]]])
    inputs = torch.tensor([[[[2.0, 1.0]], [[1.0, 3.0]], [[-1.0, 5.0]]]])
    assert backprop.input_times_gradient(inputs, lambda _: gradient).tolist() == [[[-3.0, 2.0]]]


def test_input_times_gradient_sums_to_the_score_of_a_network_without_biases() -> None:
    gradients = Differentiated(network(nn.ReLU, bias=False), [1, 2])
    maps = backprop.input_times_gradient(images(), gradients)
    assert torch.allclose(maps.sum((1, 2)), gradients.scores(images()), atol=1e-12)


@settings(deadline=None, max_examples=15)
@given(
    name=st.sampled_from(NOISY),
    samples=st.integers(2, 11),
    noise=st.sampled_from([0.0, 0.05, 0.3]),
    seed=st.integers(0, 2**31),
    count=st.integers(1, 3),
)
def test_noisy_methods_equal_the_loops(
    name: str, samples: int, noise: float, seed: int, count: int
) -> None:
    model, pictures, targets = network(), images(count), [3, 0, 1][:count]
    ours = getattr(backprop, name)(
        pictures, Differentiated(model, targets), samples=samples, noise=noise, seed=seed
    )
    for row, target in enumerate(targets):
        noisy = reference.noisy_copies(pictures[row], samples, noise, seed)
        slow = getattr(reference, name)([exact_gradient(model, target)(copy) for copy in noisy])
        assert torch.allclose(ours[row], slow, rtol=1e-9, atol=1e-13)


def test_noisy_methods_by_hand() -> None:
    """The gradients 1, 2 and 6 of one pixel: mean 3, mean square 41/3, variance 14/3."""
    values = iter([1.0, 2.0, 6.0])

    def gradients(inputs: Tensor) -> Tensor:
        return torch.stack([torch.full((1, 1, 2), -next(values)) for _ in inputs])

    for name, expected in [("smooth_grad", 3.0), ("square_grad", 41 / 3), ("var_grad", 14 / 3)]:
        values = iter([1.0, 2.0, 6.0])
        made = getattr(backprop, name)(torch.tensor([[[[0.0, 1.0]]]]), gradients, samples=3)
        assert made.flatten().tolist() == pytest.approx([expected] * 2, rel=1e-6)


def test_a_small_variance_beside_a_large_mean_keeps_its_digits() -> None:
    """In float32, where the difference of the two means would be nothing but rounding."""
    generator = torch.Generator().manual_seed(1)
    drawn = 1000 + 0.01 * torch.randn(25, 1, 4, 4, generator=generator)
    rest = iter(drawn)

    def gradients(inputs: Tensor) -> Tensor:
        return torch.stack([next(rest) for _ in inputs])

    made = backprop.var_grad(torch.randn(1, 1, 4, 4), gradients, samples=25)
    expected = drawn.double().var(0, correction=0)
    assert torch.allclose(made.double(), expected, rtol=1e-2)


def test_without_noise_smooth_grad_is_saliency() -> None:
    gradients, pictures = Differentiated(network(), [1, 3]), images()
    plain = backprop.saliency(pictures, gradients)
    smooth = backprop.smooth_grad(pictures, gradients, samples=5, noise=0.0)
    square = backprop.square_grad(pictures, gradients, samples=5, noise=0.0)
    assert torch.allclose(smooth, plain, rtol=1e-12)
    assert torch.allclose(square, plain**2, rtol=1e-12)
    assert float(backprop.var_grad(pictures, gradients, samples=5, noise=0.0).abs().max()) < 1e-25


def test_of_a_linear_network_noise_tells_nothing() -> None:
    model, weights = linear_network()
    gradients, pictures = Differentiated(model, [2, 0]), images()
    expected = weights[[2, 0]].abs().amax(1)
    assert torch.allclose(backprop.smooth_grad(pictures, gradients), expected)
    assert float(backprop.var_grad(pictures, gradients).max()) < 1e-25


@pytest.mark.parametrize("name", NOISY)
def test_the_seed_alone_decides_on_the_noise(name: str) -> None:
    gradients, pictures = Differentiated(network(), [1, 3]), images()
    method = getattr(backprop, name)
    first = method(pictures, gradients, samples=4)
    state = torch.get_rng_state()
    torch.manual_seed(12345)
    assert torch.equal(method(pictures, gradients, samples=4, seed=0), first)
    torch.set_rng_state(state)
    assert not torch.allclose(method(pictures, gradients, samples=4, seed=1), first)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", IMAGE_ONLY)
def test_a_map_depends_neither_on_neighbours_nor_on_the_batch(name: str) -> None:
    model, pictures, targets = network(), images(11), [1, 3, 0, 2, 2, 1, 0, 3, 1, 2, 0]
    method = getattr(backprop, name)
    options = {"samples": 5} if name in NOISY else {}
    together = method(pictures, Differentiated(model, targets), **options)
    for row in [0, 4, 10]:
        alone = method(pictures[row : row + 1], Differentiated(model, [targets[row]]), **options)
        assert torch.allclose(alone[0], together[row], rtol=1e-9, atol=1e-14)


def test_many_copies_go_through_in_a_few_bounded_calls() -> None:
    alone, pair, many = (Differentiated(network(), targets) for targets in ([1], [1, 2], [1] * 11))
    backprop.integrated_gradients(images(1), alone, steps=20)
    assert alone.calls == [8, 8, 4]
    backprop.smooth_grad(images(2), pair, samples=5)
    assert pair.calls == [8, 2]
    backprop.smooth_grad(images(11), many, samples=2)
    assert many.calls == [11, 11]


@pytest.mark.parametrize("baseline", [0.0, -0.7])
def test_integrated_gradients_equal_the_loop(baseline: float) -> None:
    model, pictures = network(), images()
    ours = backprop.integrated_gradients(
        pictures, Differentiated(model, [1, 3]), steps=20, baseline=baseline
    )
    for row, target in enumerate([1, 3]):
        start = torch.full_like(pictures[row], baseline)
        slow = reference.integrated_gradients(
            exact_gradient(model, target), pictures[row], start, 200
        )
        assert torch.allclose(ours[row], slow, atol=1e-5)


def test_integrated_gradients_of_a_square_by_hand() -> None:
    """F = x² + 3xy from (0, 1) to (2, 3): the way is (2, 2) and the mean gradient (2 + 6, 3).

    x runs from 0 to 2, y from 1 to 3: mean of 2x + 3y = 2 + 6, mean of 3x = 3. So 16 and 6, which
    sum to F(2, 3) − F(0, 1) = 22.
    """

    def gradients(inputs: Tensor) -> Tensor:
        x, y = inputs[..., 0], inputs[..., 1]
        return torch.stack([2 * x + 3 * y, 3 * x], -1)

    start, end = torch.tensor([0.0, 1.0]), torch.tensor([[[[2.0, 3.0]]]])
    for steps in [1, 2, 50]:  # Gauss and Legendre: exact for a straight line even with one point
        made = backprop.integrated_gradients(end, gradients, steps=steps, baseline=start)
        assert made.flatten().tolist() == pytest.approx([16, 6], rel=1e-5)


def test_integrated_gradients_of_a_linear_network_are_exact() -> None:
    model, weights = linear_network()
    gradients, pictures = Differentiated(model, [2, 0]), images()
    for steps in [1, 3, 50]:
        ours = backprop.integrated_gradients(pictures, gradients, steps=steps)
        assert torch.allclose(ours, (weights[[2, 0]] * pictures).sum(1), atol=1e-13)


@pytest.mark.parametrize(
    ("activation", "steps", "gap"), [(nn.SiLU, 20, 1e-10), (nn.ReLU, 300, 1e-3)]
)
def test_integrated_gradients_sum_to_the_difference_of_the_scores(
    activation: Callable[[], nn.Module], steps: int, gap: float
) -> None:
    gradients, pictures = Differentiated(network(activation), [1, 3]), images()
    start = images(1, seed=77)[0]
    maps = backprop.integrated_gradients(pictures, gradients, steps=steps, baseline=start)
    scores = gradients.scores(pictures).detach()
    start_scores = gradients.scores(backprop.baseline_images(pictures, start)).detach()
    found = backprop.completeness_gap(maps, scores, start_scores)
    assert found.shape == (2,)
    assert float(found.abs().max()) < gap * float(scores.abs().max().clamp(min=1))
    assert float((scores - start_scores).abs().min()) > 1e-3  # or it would say nothing


def test_the_gap_is_by_how_much_the_sum_is_too_large() -> None:
    maps = torch.tensor([[[1.0, 2.0]], [[0.0, -1.0]]])
    gap = backprop.completeness_gap(maps, torch.tensor([5.0, 1.0]), torch.tensor([3.0, 4.0]))
    assert gap.tolist() == [1.0, 2.0]


def test_a_baseline_may_be_a_number_a_colour_an_image_or_a_batch() -> None:
    pictures = images()
    for baseline in [
        0.5,
        torch.full((3, 1, 1), 0.5),
        torch.full((3, 6, 7), 0.5),
        0 * pictures + 0.5,
    ]:
        made = backprop.baseline_images(pictures, baseline)
        assert torch.equal(made, torch.full_like(pictures, 0.5))


@pytest.mark.parametrize("name", ["guided_backprop", "deconvnet"])
def test_rules_change_nothing_in_a_linear_network(name: str) -> None:
    model, weights = linear_network()
    rule = name.split("_")[0]
    made = getattr(backprop, name)(images(), Differentiated(model, [2, 0], rule))
    assert torch.equal(made, weights[[2, 0]].abs().amax(1))


def test_guided_and_deconvnet_and_saliency_differ_in_a_relu_network() -> None:
    model, pictures = network(nn.ReLU), images()
    plain = backprop.saliency(pictures, Differentiated(model, [1, 3]))
    guided = backprop.guided_backprop(pictures, Differentiated(model, [1, 3], "guided"))
    deconvnet = backprop.deconvnet(pictures, Differentiated(model, [1, 3], "deconvnet"))
    for one, other in [(plain, guided), (guided, deconvnet), (plain, deconvnet)]:
        assert float((one - other).abs().max()) > 0.01 * float(one.abs().max())


def layer_case() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(4)
    activations, gradients = (
        torch.randn(2, 5, 3, 3, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    guided = torch.randn(2, 3, 6, 7, generator=generator, dtype=torch.float64)
    return {
        "activations": activations,
        "gradients": gradients,
        "inputs": images(),
        "guided_gradients": lambda _: guided,
    }


def test_guided_grad_cam_by_hand() -> None:
    """One channel (0, 4), mean gradient 2: Grad-CAM (0, 8), on four pixels 0, 2, 6, 8."""
    made = backprop.guided_grad_cam(
        torch.tensor([[[[0.0, 4.0]]]]),
        torch.tensor([[[[1.0, 3.0]]]]),
        torch.zeros(1, 2, 1, 4),
        lambda _: torch.tensor([[[[5.0, 1.0, 0.0, 1.0]], [[1.0, -2.0, 0.5, -1.0]]]]),
    )
    assert made.tolist() == [[[0.0, 4.0, 3.0, 8.0]]]


@pytest.mark.parametrize("cam", ["hires-cam", hires_cam, "eigen-cam", "grad-cam"])
def test_guided_grad_cam_takes_any_cam_in_place_of_grad_cam(cam: Any) -> None:
    case = layer_case()
    a, g = case["activations"], case["gradients"]
    coarse = {"grad-cam": grad_cam(a, g), "eigen-cam": eigen_cam(a)}.get(cam, hires_cam(a, g))
    fine = nn.functional.interpolate(coarse[:, None], (6, 7), mode="bilinear")[:, 0]
    expected = fine * backprop.guided_backprop(case["inputs"], case["guided_gradients"])
    assert torch.equal(backprop.guided_grad_cam(**case, cam=cam), expected)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda g: backprop.smooth_grad(images(), g, samples=0),
            "samples must be at least 1, not 0",
        ),
        (
            lambda g: backprop.square_grad(images(), g, samples=0),
            "samples must be at least 1, not 0",
        ),
        (lambda g: backprop.var_grad(images(), g, samples=1), "at least 2"),
        (
            lambda g: backprop.smooth_grad(images(), g, noise=-1),
            "noise must be .* at least 0, not -1",
        ),
        (
            lambda g: backprop.integrated_gradients(images(), g, steps=0),
            "steps must be at least 1, not 0",
        ),
        (
            lambda g: backprop.integrated_gradients(images(), g, baseline=torch.zeros(5, 5)),
            r"\(3, 6, 7\), not an array of shape \(5, 5\)",
        ),
        (lambda g: backprop.guided_grad_cam(**layer_case(), cam="gradcam"), "gradcam.*hires-cam"),
        (lambda g: backprop.guided_grad_cam(**layer_case(), cam="cam"), "class_weights"),
        (lambda g: backprop.guided_grad_cam(**layer_case(), cam=lambda: None), "nothing"),
    ],
)
def test_what_cannot_be_done_is_said(call: Callable[[Any], Any], words: str) -> None:
    with pytest.raises(MethodError, match=words):
        call(Differentiated(network(), [1, 3]))


@pytest.mark.parametrize(
    "name", [*IMAGE_ONLY, "full_grad", "guided_backprop", "deconvnet", "guided_grad_cam"]
)
def test_what_the_caller_may_choose_is_keyword_only(name: str) -> None:
    parameters = inspect.signature(getattr(backprop, name)).parameters.values()
    for parameter in parameters:
        has_default = parameter.default is not parameter.empty
        if parameter.name in ("input_scores", "note"):  # from the model, only to say how exact
            continue
        assert has_default == (parameter.kind is parameter.KEYWORD_ONLY)


# --- FullGrad -------------------------------------------------------------------------------------


def parts_of(seed: int, *shapes: tuple[int, ...]) -> tuple[Tensor, list[Tensor]]:
    """A gradient for images of 3 x 6 x 7, and parts."""
    generator = torch.Generator().manual_seed(seed)
    gradient = torch.randn(2, 3, 6, 7, generator=generator, dtype=torch.float64)
    return gradient, [
        torch.randn(2, *shape, generator=generator, dtype=torch.float64) for shape in shapes
    ]


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 2**31),
    shapes=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 8), st.integers(1, 8)), max_size=3),
    magnitude=st.sampled_from([1e-9, 1.0, 1e4]),
)
def test_full_grad_equals_the_loop(
    seed: int, shapes: list[tuple[int, ...]], magnitude: float
) -> None:
    gradient, parts = parts_of(seed, *shapes)
    parts = [magnitude * part for part in parts]
    without_positions = torch.ones(2, 4).double()
    made = backprop.full_grad(images(), lambda _: (gradient, [*parts, without_positions]))
    for row in range(2):
        slow = reference.full_grad(images()[row], gradient[row], [part[row] for part in parts])
        torch.testing.assert_close(made[row], slow, rtol=1e-9, atol=1e-12)


def test_full_grad_by_hand() -> None:
    """x.g = [-2, 0, 1]: [1, 0, 1/2]. A bias of two channels [-4, 2] and [1, 3] at two positions:

    absolute and less 1, over 3: [1, 1/3] and [0, 2/3], together [1, 1], at three pixels 1 each.
    A constant bias adds nothing, and one without positions neither.
    """
    inputs = torch.tensor([[[[2.0, 5.0, 1.0]]]])
    gradient = torch.tensor([[[[-1.0, 0.0, 1.0]]]])
    parts = [
        torch.tensor([[[[-4.0, 2.0]], [[1.0, 3.0]]]]),
        torch.full((1, 2, 2, 2), 7.0),
        torch.tensor([[9.0]]),
    ]
    made = backprop.full_grad(inputs, lambda _: (gradient, parts))
    torch.testing.assert_close(made, torch.tensor([[[2.0, 1.0, 1.5]]]))


def everything(inputs: Tensor, full_gradients: Any) -> Tensor:
    """A method in whose map every position has the sum of all that full-grad shares out."""
    gradients, parts = full_gradients(inputs)
    total = (inputs * gradients).flatten(1).sum(1)
    for part in parts:
        total = total + part.reshape(len(inputs), -1).sum(1)
    return total[:, None, None].expand(-1, *inputs.shape[2:])


@pytest.mark.parametrize("target", [2, [3, 0], (1, 3), [(0, 1), (2, 3)], "2 vs 0", "against:1"])
def test_what_full_grad_shares_out_is_the_score(target: Any) -> None:
    model = network(nn.ReLU)
    made = run(model, images(), target, methods=[everything, "full-grad"])
    torch.testing.assert_close(made.maps[0][0][..., 0, 0], made.scores)
    assert not any(said for row in made.warnings[1][0] for said in row)
    alone = seewhy.attribute(model, images(), target, method="full-grad")
    torch.testing.assert_close(made.maps[1][0].flatten(), alone.flatten())


def test_a_network_without_biases_has_nothing_but_its_input_in_full_grad() -> None:
    model = network(nn.ReLU, bias=False)
    made = seewhy.attribute(model, images(), 1, method="full-grad")
    products = images() * Differentiated(model, [1, 1])(images())
    for row in range(2):
        slow = reference.full_grad(products[row], torch.ones(3, 6, 7).double(), [])
        torch.testing.assert_close(made[row], slow)


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = network(nn.ReLU)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x * x.sigmoid())


@pytest.mark.parametrize(
    ("model", "target", "says"),
    [
        (Gated(), 1, "add up to"),
        (network(nn.ReLU), "p:1", "add up to"),
        (network(nn.ReLU), (1, "p:1"), "add up to"),
        (network(nn.ReLU), 1, None),
        (network(nn.ReLU).float(), 1, None),
        (network(nn.GELU), 1, None),
    ],
    ids=["gate", "probability", "one of two", "logit", "float32", "GELU"],
)
def test_a_warning_says_when_full_grad_leaves_something_out(
    model: nn.Module, target: Any, says: str | None
) -> None:
    made = run(model, images(), target, methods=["full-grad"])
    assert made.maps[0][0].isfinite().all()
    for row in made.warnings[0][0]:
        for said in row:
            assert bool(said) == (says is not None)
            assert all(says in one and "but the score is" in one for one in said)
            named = "for 'class 1'" if target == 1 else "for 'probability of class 1'"
            assert all(named in one for one in said)


@pytest.mark.parametrize("way", ["bfloat16", "autocast"])
def test_half_precision_is_no_reason_for_a_warning(way: str) -> None:
    model, pictures = network(nn.ReLU).float(), images().float()
    wanted = seewhy.attribute(model, pictures, 1, method="full-grad")
    if way == "bfloat16":
        model.bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=way == "autocast"):
        made = run(model, pictures, 1, methods=["full-grad"])
    assert made.warnings == [[[[()], [()]]]]
    (maps,) = made.maps[0]
    assert maps.dtype == torch.float32
    assert (maps[:, 0] - wanted).abs().max() < 0.05 * wanted.max()


def test_full_grad_works_under_the_callers_inference_mode() -> None:
    model = network()
    wanted = seewhy.attribute(model, images(), 1, method="full-grad")
    with torch.inference_mode():
        made = seewhy.attribute(model, images(), 1, method="full-grad")
    torch.testing.assert_close(made.clone(), wanted)


def test_pytorch_grad_cam_scales_each_channel_of_full_grad_by_itself() -> None:
    """It scales one channel at a time, so that faint channels count like strong ones."""
    package = pytest.importorskip("pytorch_grad_cam", exc_type=ImportError)
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 3), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(20, 4),
        ).eval()  # fmt: skip
    pictures = torch.randn(1, 3, 16, 16)
    with package.FullGrad(model=model, target_layers=[]) as peer:
        theirs = torch.from_numpy(peer(pictures.clone(), [ClassifierOutputTarget(1)]))
    ours = seewhy.attribute(model, pictures, 1, method="full-grad")

    kept: list[Any] = []

    def keep(inputs: Tensor, full_gradients: Any) -> Tensor:
        kept.append((inputs, *full_gradients(inputs)))
        return inputs[:, 0]

    seewhy.attribute(model, pictures, 1, method=keep)
    ((inputs, gradients, parts),) = kept
    by_channel = torch.zeros(1, 16, 16)
    for part in [inputs * gradients, *(p for p in parts if p.ndim == 4)]:
        size = part.abs()
        low, high = size.amin((2, 3), keepdim=True), size.amax((2, 3), keepdim=True)
        unit = (size - low) / (high - low)
        large = nn.functional.interpolate(unit, (16, 16), mode="bilinear", align_corners=False)
        by_channel += large.sum(1)

    def unit(maps: Tensor) -> Tensor:
        return (maps - maps.min()) / (maps.max() - maps.min())

    torch.testing.assert_close(unit(by_channel), unit(theirs), rtol=0, atol=2e-3)
    assert (unit(ours) - unit(theirs)).abs().max() > 0.05


# ---------------------------------------------------------------------------------------------
# Beside captum

beside_captum = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)


@pytest.fixture
def captum_attr() -> Any:
    return pytest.importorskip("captum.attr", exc_type=ImportError)


@beside_captum
def test_captum_saliency_is_the_same(captum_attr: Any) -> None:
    model, pictures = network(nn.ReLU), images()
    peer = captum_attr.Saliency(model).attribute(pictures.clone(), target=[1, 3], abs=False)
    gradients = Differentiated(model, [1, 3])
    assert torch.allclose(gradients(pictures), peer, rtol=1e-12)
    assert torch.allclose(backprop.saliency(pictures, gradients), peer.abs().amax(1), rtol=1e-12)


@beside_captum
@pytest.mark.parametrize("baseline", [0.0, 0.4])
def test_captum_integrated_gradients_are_the_same(captum_attr: Any, baseline: float) -> None:
    model, pictures = network(nn.ReLU), images()
    gradients = Differentiated(model, [1, 3])
    ours = backprop.integrated_gradients(pictures, gradients, baseline=baseline)
    peer, gap = captum_attr.IntegratedGradients(model).attribute(
        pictures.clone(), baselines=baseline, target=[1, 3], return_convergence_delta=True
    )
    assert torch.allclose(ours, peer.sum(1), atol=1e-7)  # its weights are float32
    start_scores = gradients.scores(backprop.baseline_images(pictures, baseline))
    our_gap = backprop.completeness_gap(ours, gradients.scores(pictures), start_scores)
    assert torch.allclose(our_gap, gap, atol=1e-6)


@beside_captum
def test_captum_guided_grad_cam_is_the_same_per_colour(captum_attr: Any) -> None:
    """Its map is per colour, times a non-negative Grad-CAM: ours is its strongest colour."""
    model, pictures = network(nn.ReLU), images()
    layer = model[2]
    peer = captum_attr.GuidedGradCam(model, layer).attribute(
        pictures.clone(), target=[1, 3], interpolate_mode="bilinear"
    )
    activations = model[:3](pictures).detach().requires_grad_()
    scores = model[3:](activations).gather(1, torch.tensor([[1], [3]]))
    (gradients,) = torch.autograd.grad(scores.sum(), activations)
    ours = backprop.guided_grad_cam(
        activations.detach(), gradients, pictures, Differentiated(model, [1, 3], "guided")
    )
    assert float(ours.max()) > 0
    assert torch.allclose(ours, peer.abs().amax(1), rtol=1e-9, atol=1e-15)


# --- What is taken where nothing is said ----------------------------------------------------------


@pytest.mark.parametrize("name", NOISY)
def test_the_default_noise_is_a_sixth_of_the_images_range(name: str) -> None:
    """0.15 of max − min and 25 copies: what the documentation says, seen in the copies made."""
    picture = images(1)
    copies: list[Tensor] = []

    def gradients(inputs: Tensor) -> Tensor:
        copies.append(inputs)
        return inputs * 0

    getattr(backprop, name)(picture, gradients)
    made = torch.cat(copies)
    assert len(made) == 25
    reach = float(picture.max() - picture.min())
    spread = float((made - picture).std()) / reach
    assert spread == pytest.approx(0.15, rel=0.05)  # of 3150 numbers


def test_integrated_gradients_need_neither_scores_nor_a_note() -> None:
    pictures, model = images(), network()
    gradients = Differentiated(model, [1, 2])
    wanted = backprop.integrated_gradients(pictures, gradients, steps=2)
    said: list[str] = []
    for scores, note in ((gradients.scores, None), (None, said.append)):
        got = backprop.integrated_gradients(pictures, gradients, scores, note, steps=2)
        assert torch.equal(got, wanted)
    assert said == []


def test_guided_grad_cam_hands_the_note_on_to_its_cam() -> None:
    def cam(activations: Tensor, gradients: Tensor, note: Any) -> Tensor:
        note("said by the cam")
        return (activations * gradients).sum(1)

    said: list[str] = []
    maps = torch.randn(2, 3, 2, 2, dtype=torch.float64)
    pictures = images()
    backprop.guided_grad_cam(maps, maps, pictures, lambda x: x, said.append, cam=cam)
    assert said == ["said by the cam"]
    both = [
        backprop.guided_grad_cam(maps, maps, pictures, lambda x: x, *note, cam="grad-cam++")
        for note in ((), (None,), (said.append,))
    ]
    assert torch.equal(both[0], both[1])
    assert torch.equal(both[0], both[2])
