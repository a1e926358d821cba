"""Another rule at the ReLUs: against loops, by hand, in every form, and without a trace."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.backprop import relu_network_gradient
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointError, checkpoint

from seewhy.models.relu_rules import ReluRule

RULES = ["guided", "deconvnet"]

# Each form takes a tensor that may be overwritten.
RELUS: dict[str, Callable[[Tensor], Tensor]] = {
    "nn.ReLU": nn.ReLU(),
    "nn.ReLU(inplace)": nn.ReLU(inplace=True),
    "F.relu": F.relu,
    "F.relu(inplace)": lambda x: F.relu(x, True),
    "F.relu(input=)": lambda x: F.relu(input=x, inplace=False),
    "F.relu_": F.relu_,
    "torch.relu": torch.relu,
    "torch.relu_": torch.relu_,
    "Tensor.relu": lambda x: x.relu(),
    "Tensor.relu_": lambda x: x.relu_(),
    "aten.relu": lambda x: torch.ops.aten.relu(x),
    "aten.relu.default": lambda x: torch.ops.aten.relu.default(x),
    "aten.relu_.default": lambda x: torch.ops.aten.relu_.default(x),
    "F.threshold": lambda x: F.threshold(x, 0, 0),
    "nn.Threshold(inplace)": nn.Threshold(0, 0, inplace=True),
    "torch.clamp_min": lambda x: torch.clamp_min(x, 0),
    "Tensor.clamp_min_": lambda x: x.clamp_min_(0.0),
    "Tensor.clamp(min)": lambda x: x.clamp(min=0),
    "Tensor.clamp_": lambda x: x.clamp_(0),
    "torch.clip": lambda x: torch.clip(x, min=0),
    "nn.Hardtanh(0, inf)": nn.Hardtanh(0, float("inf")),
    "clamp(0, inf)": lambda x: x.clamp(0, float("inf")),
}
CEILINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "nn.ReLU6": nn.ReLU6(),
    "nn.ReLU6(inplace)": nn.ReLU6(inplace=True),
    "F.relu6": F.relu6,
    "F.relu6(inplace)": lambda x: F.relu6(x, inplace=True),
    "F.hardtanh": lambda x: F.hardtanh(x, 0, 6),
    "F.hardtanh_": lambda x: F.hardtanh_(x, 0, 6),
    "Tensor.clamp": lambda x: x.clamp(0, 6),
    "Tensor.clip_": lambda x: x.clip_(min=0.0, max=6.0),
}
OTHERS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": nn.SiLU(),
    "silu(inplace)": nn.SiLU(inplace=True),
    "gelu": nn.GELU(),
    "gelu(tanh)": nn.GELU("tanh"),
    "hardswish": nn.Hardswish(inplace=True),
    "leaky_relu": nn.LeakyReLU(0.2),
    "leaky_relu(inplace)": nn.LeakyReLU(0.2, inplace=True),
    "elu": nn.ELU(inplace=True),
    "selu": nn.SELU(inplace=True),
    "celu": nn.CELU(),
    "mish": nn.Mish(inplace=True),
    "softplus": nn.Softplus(),
    "prelu": nn.PReLU(),
    "rrelu": nn.RReLU(inplace=True).eval(),
    "Tensor.prelu": lambda x: x.prelu(torch.tensor([0.3])),
}

# Inputs and incoming gradients with every combination of signs, zeros among them.
VALUES = torch.tensor([-2.0, -2.0, -2.0, 0.0, 0.0, 0.0, 3.0, 3.0, 3.0, 7.0, 7.0])
INCOMING = torch.tensor([-1.0, 0.0, 5.0, -1.0, 0.0, 5.0, -1.0, 0.0, 5.0, -1.0, 5.0])


def passed_back(form: Callable[[Tensor], Tensor], rule: str | None) -> tuple[Tensor, Tensor]:
    """What a form gives for VALUES, and what comes back of INCOMING."""
    leaf = VALUES.clone().requires_grad_()
    if rule is None:
        outputs = form(leaf.clone())
    else:
        with ReluRule(rule):
            outputs = form(leaf.clone())
    (gradient,) = torch.autograd.grad(outputs, leaf, INCOMING)
    return outputs.detach(), gradient


def input_gradient(model: nn.Module, images: Tensor, target: int, rule: str | None) -> Tensor:
    leaf = images.clone().requires_grad_()
    if rule is None:
        outputs = model(leaf)
    else:
        with ReluRule(rule):
            outputs = model(leaf)
    (gradient,) = torch.autograd.grad(outputs[:, target].sum(), leaf)
    return gradient


@pytest.mark.parametrize("form", RELUS)
def test_every_form_of_relu_obeys_both_rules_by_hand(form: str) -> None:
    guided = torch.tensor([0.0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 5])
    deconvnet = torch.tensor([0.0, 0, 5, 0, 0, 5, 0, 0, 5, 0, 5])
    for rule, expected in [("guided", guided), ("deconvnet", deconvnet)]:
        outputs, gradient = passed_back(RELUS[form], rule)
        assert torch.equal(outputs, torch.tensor([0.0, 0, 0, 0, 0, 0, 3, 3, 3, 7, 7]))
        assert torch.equal(gradient, expected)


@pytest.mark.parametrize("form", CEILINGS)
def test_a_relu_with_a_ceiling_is_closed_above_it_for_guided_only(form: str) -> None:
    guided = torch.tensor([0.0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0])
    deconvnet = torch.tensor([0.0, 0, 5, 0, 0, 5, 0, 0, 5, 0, 5])
    for rule, expected in [("guided", guided), ("deconvnet", deconvnet)]:
        outputs, gradient = passed_back(CEILINGS[form], rule)
        assert torch.equal(outputs, torch.tensor([0.0, 0, 0, 0, 0, 0, 3, 3, 3, 6, 6]))
        assert torch.equal(gradient, expected)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("form", OTHERS)
def test_other_activations_pass_positive_gradients_times_their_derivative(
    form: str, rule: str
) -> None:
    outputs, gradient = passed_back(OTHERS[form], rule)
    plain_outputs, plain = passed_back(OTHERS[form], None)
    assert torch.equal(outputs, plain_outputs)
    assert torch.equal(gradient, torch.where(INCOMING > 0, plain, 0))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    "form",
    [
        torch.sigmoid,
        torch.tanh,
        nn.Hardtanh(),
        nn.Hardsigmoid(),
        lambda x: F.threshold(x, 1, 0),
        lambda x: F.threshold(x, 1, 1),
        lambda x: x.clamp(min=1),
        lambda x: x.clamp(max=0),
        lambda x: x.clamp(min=torch.zeros(())),
        lambda x: x.clamp(-1, 6),
    ],
)
def test_what_is_no_rectifier_keeps_its_derivative(
    form: Callable[[Tensor], Tensor], rule: str
) -> None:
    outputs, gradient = passed_back(form, rule)
    plain_outputs, plain = passed_back(form, None)
    assert torch.equal(outputs, plain_outputs)
    assert torch.equal(gradient, plain)


@pytest.mark.parametrize("form", ["F.relu_", "nn.ReLU(inplace)", "Tensor.clamp_"])
@pytest.mark.parametrize("rule", RULES)
def test_in_place_forms_change_what_they_were_given(form: str, rule: str) -> None:
    """The network may go on with the old name of the tensor."""

    def old_name(x: Tensor) -> Tensor:
        assert RELUS[form](x) is x
        return x

    assert torch.equal(passed_back(old_name, rule)[0], VALUES.relu())
    assert torch.equal(passed_back(old_name, rule)[1], passed_back(F.relu, rule)[1])


@pytest.mark.parametrize("form", ["F.relu_", "nn.ReLU(inplace)", "Tensor.clamp_", "F.relu"])
@pytest.mark.parametrize("rule", RULES)
def test_a_part_of_a_tensor_changed_in_place_obeys_the_rule(form: str, rule: str) -> None:
    def changed_part(x: Tensor) -> Tensor:
        doubled = 2 * x
        part = doubled[2:9]
        made = RELUS[form](part)
        if made is not part:
            part.copy_(made)
        return doubled  # through the base, not through the view

    expected = 2 * INCOMING
    expected[2:9] = 2 * passed_back(F.relu, rule)[1][2:9]
    outputs, gradient = passed_back(changed_part, rule)
    assert torch.equal(outputs[2:9], 2 * VALUES[2:9].relu())
    assert torch.equal(outputs[:2], 2 * VALUES[:2])
    assert torch.equal(gradient, expected)


@pytest.mark.parametrize("rule", [None, *RULES])
@pytest.mark.parametrize("form", [*RELUS, *CEILINGS, *OTHERS])
def test_what_an_activation_gives_may_be_changed_in_place_where_it_might_before(
    form: str, rule: str | None
) -> None:
    """As residual networks do; the rule stays where it was."""
    activation = (RELUS | CEILINGS | OTHERS)[form]

    def added_to(x: Tensor) -> Tensor:
        made = activation(x)
        made += 1
        return made.mul_(2)

    try:
        plain_outputs, _ = passed_back(added_to, None)
    except RuntimeError:  # torch itself forbids it
        return
    outputs, gradient = passed_back(added_to, rule)
    assert torch.equal(outputs, plain_outputs)
    assert torch.equal(gradient, 2 * passed_back(activation, rule)[1])


@pytest.mark.parametrize("rule", RULES)
def test_gradients_of_several_uses_are_added_before_the_rule(rule: str) -> None:
    leaf = torch.tensor([1.0]).requires_grad_()
    with ReluRule(rule):
        used = F.relu(leaf)
    (gradient,) = torch.autograd.grad(5 * used - 3 * used, leaf)
    assert gradient.item() == 2


def tiny_layers(
    seed: int, sizes: list[int], biases: bool = True
) -> list[tuple[list[list[float]], list[float]]]:
    generator = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    return [
        (normal(out, into).tolist(), (normal(out) * biases).tolist())
        for into, out in pairwise(sizes)
    ]


def as_network(layers: list[Any], relu: Callable[[], nn.Module]) -> nn.Sequential:
    modules: list[nn.Module] = []
    for weights, biases in layers:
        linear = nn.Linear(len(weights[0]), len(weights), dtype=torch.float64)
        linear.weight.data = torch.tensor(weights, dtype=torch.float64)
        linear.bias.data = torch.tensor(biases, dtype=torch.float64)
        modules += [linear, relu()]
    return nn.Sequential(*modules[:-1])


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    sizes=st.lists(st.integers(1, 5), min_size=2, max_size=5),
    in_place=st.booleans(),
)
def test_networks_equal_the_loops(seed: int, sizes: list[int], in_place: bool) -> None:
    layers = tiny_layers(seed, sizes)
    network = as_network(layers, lambda: nn.ReLU(inplace=in_place))
    generator = torch.Generator().manual_seed(seed + 1)
    image = torch.randn(sizes[0], generator=generator, dtype=torch.float64)
    for rule in [None, *RULES]:
        ours = input_gradient(network, image[None], sizes[-1] - 1, rule)[0]
        reference = relu_network_gradient(layers, image.tolist(), sizes[-1] - 1, rule or "gradient")
        assert torch.allclose(ours, torch.tensor(reference, dtype=torch.float64), atol=1e-12)


def test_the_three_rules_differ_where_they_should_by_hand() -> None:
    """Inputs 1 and 2; units 1·x1 − 1·x2 = −1 (closed), x1 + x2 = 3 and x2 = 2, weighted 4, 5, −6.

    The gradient passes the open units: 5·(1, 1) − 6·(0, 1) = (5, −1).
    Guided stops the −6 too: 5·(1, 1) = (5, 5).
    The deconvnet lets the closed unit's 4 through as well: (5, 5) + 4·(1, −1) = (9, 1).
    """
    layers = [([[1.0, -1.0], [1.0, 1.0], [0.0, 1.0]], [0.0] * 3), ([[4.0, 5.0, -6.0]], [0.0])]
    network = as_network(layers, nn.ReLU)
    image = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    assert input_gradient(network, image, 0, None).tolist() == [[5, -1]]
    assert input_gradient(network, image, 0, "guided").tolist() == [[5, 5]]
    assert input_gradient(network, image, 0, "deconvnet").tolist() == [[9, 1]]


@pytest.mark.parametrize("rule", RULES)
def test_without_activations_it_is_the_gradient_and_says_so(rule: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(36, 2))
    images = torch.randn(2, 3, 8, 8)
    plain = input_gradient(network, images, 1, None)
    assert torch.equal(input_gradient(network, images, 1, rule), plain)
    with ReluRule(rule) as met:
        network(images.requires_grad_())
    assert met.rectifiers == 0
    assert not met.others
    assert "no ReLU" in met.warnings[0]


def test_it_says_which_activations_it_met() -> None:
    leaf = VALUES.clone().requires_grad_()
    with ReluRule("guided") as met:
        F.relu(leaf)
    assert (met.rectifiers, met.others, met.warnings) == (1, set(), ())
    with ReluRule("guided") as met:
        F.gelu(F.silu(leaf).clamp(min=0))
        F.relu(VALUES)  # no gradient passes here
    assert (met.rectifiers, met.others) == (1, {"gelu", "silu"})
    assert "gelu, silu" in met.warnings[0]


class Functional(nn.Module):
    """A residual network with functional ReLUs, or the same with modules."""

    def __init__(self, *, modules: bool) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 6, 3, padding=1)
        self.two = nn.Conv2d(6, 6, 3, padding=1)
        self.head = nn.Linear(6, 4)
        self.first, self.second = nn.ReLU(), nn.ReLU(inplace=True)
        self.modular = modules

    def forward(self, images: Tensor) -> Tensor:
        one = self.one(images)
        one = self.first(one) if self.modular else F.relu(one)
        two = self.two(one) + one
        two = self.second(two) if self.modular else torch.relu_(two)
        return self.head(two.mean((2, 3)))


def functional_and_modular() -> tuple[Functional, Functional, Tensor]:
    torch.manual_seed(3)
    functional, modular = Functional(modules=False).eval(), Functional(modules=True).eval()
    modular.load_state_dict(functional.state_dict())
    return functional, modular, torch.randn(2, 3, 10, 12)


@pytest.mark.parametrize("rule", RULES)
def test_functional_relus_count_as_much_as_modules(rule: str) -> None:
    functional, modular, images = functional_and_modular()
    ours = input_gradient(functional, images, 2, rule)
    assert torch.equal(ours, input_gradient(modular, images, 2, rule))
    assert not torch.allclose(ours, input_gradient(functional, images, 2, None))


@pytest.mark.parametrize("rule", RULES)
def test_nothing_changes_in_the_model_and_nothing_stays(rule: str) -> None:
    _, modular, images = functional_and_modular()
    modular.second.register_forward_hook(lambda *_: None)
    plain = input_gradient(modular, images, 1, None)
    before = [(name, id(m), dict(vars(m))) for name, m in modular.named_modules()]
    hooks = dict(modular.second._forward_hooks)
    ruled = input_gradient(modular, images, 1, rule)
    assert not torch.allclose(plain, ruled)
    after = [(name, id(m), dict(vars(m))) for name, m in modular.named_modules()]
    assert [a[:2] for a in after] == [b[:2] for b in before]
    assert (modular.first.inplace, modular.second.inplace) == (False, True)
    assert modular.second._forward_hooks == hooks
    assert all(not m._backward_hooks for m in modular.modules())
    assert all(p.grad is None for p in modular.parameters())
    assert torch.equal(input_gradient(modular, images, 1, None), plain)


def test_an_error_in_the_network_ends_the_rule() -> None:
    def failing() -> None:
        with ReluRule("guided"):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert torch.equal(passed_back(F.relu, None)[1], torch.where(VALUES > 0, INCOMING, 0))


@pytest.mark.parametrize("rule", RULES)
def test_another_thread_is_not_concerned(rule: str) -> None:
    expected = passed_back(F.relu, None)[1]
    found: list[Tensor] = []
    with ReluRule(rule):
        thread = threading.Thread(target=lambda: found.append(passed_back(F.relu, None)[1]))
        thread.start()
        thread.join()
    assert torch.equal(found[0], expected)


def test_two_threads_with_two_rules_do_not_mix() -> None:
    _, modular, images = functional_and_modular()
    expected = {rule: input_gradient(modular, images, 0, rule) for rule in RULES}
    wrong: list[str] = []
    together = threading.Barrier(2)

    def work(rule: str) -> None:
        for _ in range(5):
            together.wait(timeout=600)
            if not torch.equal(input_gradient(modular, images, 0, rule), expected[rule]):
                wrong.append(rule)

    threads = [threading.Thread(target=work, args=(rule,)) for rule in RULES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("rule", RULES)
def test_nothing_is_touched_where_no_gradient_is_wanted(rule: str) -> None:
    values = VALUES.clone()
    with ReluRule(rule), torch.no_grad():
        made = F.relu_(values)
        assert made is values
        assert not made.requires_grad
    out = torch.empty_like(VALUES)
    with ReluRule(rule), torch.no_grad():
        torch.clamp(VALUES, min=0, out=out)
    assert torch.equal(out, VALUES.relu())


@pytest.mark.parametrize("rule", RULES)
def test_half_precision_keeps_its_type(rule: str) -> None:
    leaf = VALUES.to(torch.bfloat16).requires_grad_()
    with ReluRule(rule):
        outputs = F.relu(leaf)
    (gradient,) = torch.autograd.grad(outputs, leaf, INCOMING.to(torch.bfloat16))
    assert outputs.dtype == gradient.dtype == torch.bfloat16
    assert torch.equal(gradient.float(), passed_back(F.relu, rule)[1])


def test_a_checkpointed_network_is_right_or_says_that_it_is_not() -> None:
    _, modular, images = functional_and_modular()
    expected = input_gradient(modular, images, 0, "guided")
    leaf = images.clone().requires_grad_()
    with ReluRule("guided"):
        outputs = checkpoint(modular, leaf, use_reentrant=False)
    (gradient,) = torch.autograd.grad(outputs[:, 0].sum(), leaf)
    assert torch.allclose(gradient, expected, rtol=1e-5, atol=1e-9)
    with ReluRule("deconvnet"):
        outputs = checkpoint(modular, leaf, use_reentrant=False)
    with pytest.raises(CheckpointError):
        torch.autograd.grad(outputs[:, 0].sum(), leaf)
    with ReluRule("guided") as met:
        checkpoint(modular, leaf, use_reentrant=True)
    assert met.warnings


# ---------------------------------------------------------------------------------------------
# Beside the peers


def peer_gradient(rule: str, model: nn.Module, images: Tensor, target: int) -> Tensor:
    attr = pytest.importorskip("captum.attr", exc_type=ImportError)
    peer = {"guided": attr.GuidedBackprop, "deconvnet": attr.Deconvolution}[rule]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gradient: Tensor = peer(model).attribute(images.clone(), target=target)
    return gradient.detach()


def ordinary_network() -> nn.Sequential:
    torch.manual_seed(11)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 6),
        nn.ReLU(inplace=True),
        nn.Linear(6, 5),
    ).eval()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("rule", RULES)
def test_captum_on_module_relus_is_the_same(rule: str) -> None:
    network, images = ordinary_network(), torch.randn(3, 3, 20, 24)
    ours = input_gradient(network, images, 3, rule)
    peer = peer_gradient(rule, network, images, 3)
    assert float(ours.abs().max()) > 0
    assert torch.allclose(ours, peer, rtol=1e-5, atol=1e-8 * float(peer.abs().max()))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("rule", RULES)
def test_captum_on_resnet18_is_the_same(rule: str) -> None:
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(12)
    network, images = models.resnet18(weights=None).eval(), torch.randn(1, 3, 64, 64)
    # captum refuses a module that is called twice; the two ReLUs of a block are one module.
    for block in network.modules():
        if isinstance(block, models.resnet.BasicBlock):
            inner, outer = nn.ReLU(inplace=True), nn.ReLU(inplace=True)
            block.forward = _with_two_relus(block, inner, outer)
            block.add_module("inner", inner)
            block.add_module("outer", outer)
    ours = input_gradient(network, images, 7, rule)
    peer = peer_gradient(rule, network, images, 7)
    assert torch.allclose(ours, peer, rtol=1e-4, atol=1e-6 * float(peer.abs().max()))


def _with_two_relus(block: Any, inner: nn.Module, outer: nn.Module) -> Callable[[Tensor], Tensor]:
    def forward(images: Tensor) -> Tensor:
        made = block.bn2(block.conv2(inner(block.bn1(block.conv1(images)))))
        short = images if block.downsample is None else block.downsample(images)
        return outer(made + short)

    return forward


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("rule", RULES)
def test_captum_does_not_see_functional_relus(rule: str) -> None:
    functional, modular, images = functional_and_modular()
    ours = input_gradient(functional, images, 2, rule)
    right = peer_gradient(rule, modular, images, 2)
    wrong = peer_gradient(rule, functional, images, 2)
    assert torch.allclose(ours, right, rtol=1e-5, atol=1e-8)
    assert not torch.allclose(ours, wrong, rtol=1e-2, atol=1e-5)
    assert torch.allclose(wrong, input_gradient(functional, images, 2, None), atol=1e-7)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::SyntaxWarning")
def test_grad_cam_package_guided_backprop_is_the_same() -> None:
    peers = pytest.importorskip("pytorch_grad_cam", exc_type=ImportError)
    network, images = ordinary_network(), torch.randn(1, 3, 20, 24)
    ours = input_gradient(network, images, 3, "guided")
    peer = peers.GuidedBackpropReLUModel(network, device=torch.device("cpu"))(images, 3)
    peer = torch.from_numpy(peer).permute(2, 0, 1)[None]
    assert torch.allclose(ours, peer, rtol=1e-5, atol=1e-8 * float(ours.abs().max()))
