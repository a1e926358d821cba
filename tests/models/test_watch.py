"""The model is seen right, and comes back exactly as it was."""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from seewhy.errors import LayerError, ModelError
from seewhy.layers import find_layers
from seewhy.models.trace import trace
from seewhy.models.watch import Layer, Watch, watch


def test_a_call_that_fails_and_is_caught_does_not_shift_those_behind_it() -> None:
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("not here")

    class Tries(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.fails = nn.Conv2d(3, 4, 3), Fails()

        def forward(self, x: Tensor) -> Tensor:
            found = self.first(x)
            try:
                return self.fails(found)
            except RuntimeError:
                return found.relu()

    _, calls = trace(nn.Sequential(Tries(), nn.ReLU()), torch.randn(1, 3, 6, 6))
    entered = {call.name: call.entered for call in calls}
    assert entered["0"] == entered["0.first"] == entered[""] == (1, 3, 6, 6)
    assert entered["1"] == (1, 4, 4, 4)


def small_network(inplace: bool = False) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 4, 3, padding=1),
            norm=nn.BatchNorm2d(4),
            relu1=nn.ReLU(inplace=inplace),
            conv2=nn.Conv2d(4, 5, 3, padding=1),
            relu2=nn.ReLU(inplace=inplace),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(5, 3),
        )
    ).eval()


def seen_at(model: nn.Module, layer: str, inputs: Tensor, index: int = 1) -> tuple[Tensor, Tensor]:
    with watch(model, find_layers(model, layer)) as seen:
        scores = seen(inputs)[:, index]
        return seen.activations[0], seen.gradients(scores)[0]


def expected_at(
    model: nn.Module, layer: str, inputs: Tensor, index: int = 1
) -> tuple[Tensor, Tensor]:
    """By hand: run the network piece by piece with autograd on."""
    model = copy.deepcopy(model).eval()
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    x = inputs
    for name, module in model.named_children():
        x = module(x)
        if name == layer:
            x = x.detach().requires_grad_()
            kept = x
    (gradient,) = torch.autograd.grad(x[:, index].sum(), kept)
    return kept.detach(), gradient


@pytest.fixture
def inputs() -> Tensor:
    return torch.randn(2, 3, 8, 8)


@pytest.mark.parametrize("layer", ["conv1", "norm", "relu1", "conv2", "relu2"])
@pytest.mark.parametrize("inplace", [False, True])
def test_activations_and_gradients_are_those_of_autograd(
    layer: str, inplace: bool, inputs: Tensor
) -> None:
    model = small_network(inplace)
    for got, wanted in zip(
        seen_at(model, layer, inputs), expected_at(model, layer, inputs), strict=True
    ):
        torch.testing.assert_close(got, wanted)


def test_several_layers_at_once_give_what_each_gives_alone(inputs: Tensor) -> None:
    model = small_network(inplace=True)
    names = ["relu2", "conv1", "conv2"]
    with watch(model, find_layers(model, names)) as seen:
        gradients = seen.gradients(seen(inputs)[:, 1])
        together = list(zip(seen.activations, gradients, strict=True))
    for name, (activations, gradient) in zip(names, together, strict=True):
        alone = seen_at(model, name, inputs)
        torch.testing.assert_close(activations, alone[0])
        torch.testing.assert_close(gradient, alone[1])


def test_a_container_and_its_last_child_have_the_same_map(inputs: Tensor) -> None:
    model = nn.Sequential(small_network()[:5], small_network()[5:]).eval()
    with watch(model, find_layers(model, ["0", "0.relu2"])) as seen:
        gradients = seen.gradients(seen(inputs)[:, 0])
        torch.testing.assert_close(*seen.activations)
        torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_works_under_the_callers_no_grad_and_inference_mode(mode, inputs: Tensor) -> None:
    model = small_network()
    wanted = seen_at(model, "relu1", inputs)
    with mode():
        got = seen_at(model, "relu1", inputs + 0)
        assert torch.is_grad_enabled() is False
        assert torch.is_inference_mode_enabled() is (mode is torch.inference_mode)
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b)


def test_a_frozen_model_works(inputs: Tensor) -> None:
    model = small_network()
    wanted = seen_at(model, "relu1", inputs)
    model.requires_grad_(False)
    for a, b in zip(seen_at(model, "relu1", inputs), wanted, strict=True):
        torch.testing.assert_close(a, b)
    assert not any(p.requires_grad for p in model.parameters())


def test_only_the_tail_is_differentiated(inputs: Tensor) -> None:
    saved: list[tuple[int, ...]] = []

    def pack(tensor: Tensor) -> Tensor:
        saved.append(tuple(tensor.shape))
        return tensor

    model = small_network()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        seen_at(model, "relu2", inputs)
    assert (2, 3, 8, 8) not in saved, "the input was kept for a backward pass that is not wanted"
    assert (2, 4, 8, 8) not in saved, "a map in front of the layer was kept"
    assert saved, "nothing was kept: this test sees nothing"


def test_training_mode_is_evaluated_in_eval_mode_and_put_back_module_by_module(
    inputs: Tensor,
) -> None:
    model = small_network()
    wanted = seen_at(model, "conv2", inputs)
    model.train()
    model.norm.training = False
    statistics = copy.deepcopy(model.norm.state_dict())
    got = seen_at(model, "conv2", inputs)
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b)
    assert model.training
    assert model.conv1.training
    assert not model.norm.training
    for name, value in model.norm.state_dict().items():
        assert torch.equal(value, statistics[name])


def test_train_and_eval_are_never_called(inputs: Tensor) -> None:
    class StartsATraining(nn.Sequential):
        def train(self, mode: bool = True) -> nn.Module:
            raise AssertionError("a training was started")

    model = StartsATraining(*small_network())
    assert model.training
    seen_at(model, "4", inputs)
    assert model.training


class SharedRelu(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.conv1(x))
        return self.relu(self.conv2(x)).mean((2, 3))


def test_a_layer_called_twice_is_refused_by_name_and_takes_a_choice_of_call(
    inputs: Tensor,
) -> None:
    model = SharedRelu().eval()
    with pytest.raises(LayerError, match=r"'relu' is called 2 times .*layer='relu#0' to 'relu#1'"):
        seen_at(model, "relu", inputs)
    first = F.relu(model.conv1(inputs)).detach()
    second = F.relu(model.conv2(first)).detach()
    torch.testing.assert_close(seen_at(model, "relu#0", inputs)[0], first)
    torch.testing.assert_close(seen_at(model, "relu#1", inputs)[0], second)
    torch.testing.assert_close(seen_at(model, "relu#-1", inputs)[0], second)
    gradient = seen_at(model, "relu#0", inputs)[1]
    first.requires_grad_()
    F.relu(model.conv2(first)).mean((2, 3))[:, 1].sum().backward()
    torch.testing.assert_close(gradient, first.grad)
    with pytest.raises(LayerError, match="no call #2"):
        seen_at(model, "relu#2", inputs)


def test_a_layer_that_does_not_run_is_named(inputs: Tensor) -> None:
    model = SharedRelu()
    model.auxiliary = nn.Conv2d(1, 1, 1)
    with pytest.raises(LayerError, match="'auxiliary' did not run"):
        seen_at(model, "auxiliary", inputs)


class GivesSeveral(nn.Module):
    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor):
        a = self.conv(x)
        pooled = a.mean((2, 3))
        return {
            "tuple with one map": (a, pooled),
            "dict with one map": {"features": a, "pooled": pooled},
            "tuple with two maps": (a, a * 2),
        }[self.form]


class Wrapped(nn.Module):
    def __init__(self, form: str) -> None:
        super().__init__()
        self.backbone = GivesSeveral(form)

    def forward(self, x: Tensor) -> Tensor:
        given = self.backbone(x)
        maps = list(given.values()) if isinstance(given, dict) else given
        return sum(one.flatten(2).mean(2) if one.ndim == 4 else one for one in maps)


@pytest.mark.parametrize("form", ["tuple with one map", "dict with one map"])
def test_a_layer_may_return_a_tuple_or_a_dict_with_one_map(form: str, inputs: Tensor) -> None:
    model = Wrapped(form)
    activations, gradient = seen_at(model, "backbone", inputs)
    torch.testing.assert_close(activations, model.backbone.conv(inputs).detach())
    torch.testing.assert_close(gradient[:, 1], torch.full((2, 6, 6), 1 / 36))


def test_one_of_several_maps_of_a_layer_is_chosen_by_its_place(inputs: Tensor) -> None:
    model = Wrapped("tuple with two maps")
    with pytest.raises(LayerError, match=r"'backbone\[0\]' \(2, 4, 6, 6\), 'backbone\[1\]'"):
        seen_at(model, "backbone", inputs)
    activations, _ = seen_at(model, "backbone[1]", inputs)
    torch.testing.assert_close(activations, 2 * model.backbone.conv(inputs).detach())
    with pytest.raises(LayerError, match="no output"):
        seen_at(model, "backbone[2]", inputs)


def test_a_dicts_key_may_hold_a_dot(inputs: Tensor) -> None:
    class Dotted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            a = self.conv(x)
            return {"level.1": a, "level.2": a * 2}

    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = Dotted()

        def forward(self, x: Tensor) -> Tensor:
            return self.backbone(x)["level.2"].mean((2, 3))

    model = Head()
    activations, gradient = seen_at(model, "backbone[level.2]", inputs)
    torch.testing.assert_close(activations, 2 * model.backbone.conv(inputs).detach())
    torch.testing.assert_close(gradient[:, 1], torch.full((2, 6, 6), 1 / 36))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_models_give_float32_maps_near_the_float32_ones(
    dtype: torch.dtype, inputs: Tensor
) -> None:
    model = small_network()
    wanted = seen_at(model, "relu1", inputs)
    got = seen_at(copy.deepcopy(model).to(dtype), "relu1", inputs.to(dtype))
    for a, b in zip(got, wanted, strict=True):
        assert a.dtype == torch.float32
        assert float((a - b).norm()) < 0.05 * float(b.norm())


def test_float16_gradients_too_small_for_float16_survive() -> None:
    # The mean over 64 × 64 positions divides by 4096; times a weight of 1e-3 that is 2.4e-7,
    # where float16 has 2 bits left.
    model = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    ).half()
    nn.init.constant_(model[3].weight, 1e-3)
    _, gradient = seen_at(model, "0", torch.ones(1, 3, 64, 64).half())
    wanted = float(model[3].weight[0, 0].detach()) / 4096
    torch.testing.assert_close(gradient, torch.full_like(gradient, wanted), rtol=1e-3, atol=0)


def test_autocast_is_followed_and_its_cache_left_alone(inputs: Tensor) -> None:
    model = small_network()
    wanted = seen_at(model, "relu1", inputs)
    with torch.autocast("cpu", torch.bfloat16):
        got = seen_at(model, "relu1", inputs)
        # Had a weight been cast and cached under our no_grad, this step would find it.
        model(inputs).sum().backward()
        assert torch.is_autocast_cache_enabled()
    assert got[0].dtype == got[1].dtype == torch.float32
    assert not torch.equal(got[0], wanted[0]), "autocast was not followed"
    torch.testing.assert_close(got[0], wanted[0], rtol=0.05, atol=0.05)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0 or name == "conv1.bias", name


def test_channels_last_gives_the_same(inputs: Tensor) -> None:
    model = small_network()
    wanted = seen_at(model, "conv2", inputs)
    model = model.to(memory_format=torch.channels_last)
    got = seen_at(model, "conv2", inputs.to(memory_format=torch.channels_last))
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b)


class FrozenInside(nn.Module):
    """A backbone that the network itself runs under no_grad, as fine-tuning code often does."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = small_network()[:4]
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = self.backbone(x)
        return self.head(x.relu().mean((2, 3)))


def test_a_part_that_the_network_runs_under_no_grad_can_be_watched(inputs: Tensor) -> None:
    model = FrozenInside()
    activations, gradient = seen_at(model, "backbone.conv1", inputs)
    free = model.backbone[0](inputs).detach().requires_grad_()
    model.head(model.backbone[1:](free).relu().mean((2, 3)))[:, 1].sum().backward()
    torch.testing.assert_close(activations, free.detach())
    torch.testing.assert_close(gradient, free.grad)
    _, gradient = seen_at(model, "backbone", inputs)
    assert gradient.abs().sum() > 0


def test_a_network_that_cuts_the_gradient_is_told_so(inputs: Tensor) -> None:
    class Cuts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.head = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.conv(x).mean((2, 3)).detach())

    with pytest.raises(LayerError, match=r"no gradient reaches layer 'conv'.*detach"):
        seen_at(Cuts(), "conv", inputs)


def test_gradient_checkpointing_behind_the_layer_works(inputs: Tensor) -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = small_network()

        def forward(self, x: Tensor) -> Tensor:
            x = self.body[:3](x)
            return checkpoint(self.body[3:], x, use_reentrant=False)

    model = Checkpointed().train()
    wanted = expected_at(model.body, "relu1", inputs)
    for a, b in zip(seen_at(model, "body.relu1", inputs), wanted, strict=True):
        torch.testing.assert_close(a, b)


def snapshot(model: nn.Module) -> list[object]:
    return [
        [(name, id(module), module.training) for name, module in model.named_modules()],
        [
            (name, len(module._forward_hooks), len(module._forward_pre_hooks))
            for name, module in model.named_modules()
        ],
        [
            (name, id(p), p._version, p.requires_grad, None if p.grad is None else p.grad.clone())
            for name, p in model.named_parameters()
        ],
        [(name, id(b), b._version) for name, b in model.named_buffers()],
        torch.get_rng_state().tolist(),
        torch.is_grad_enabled(),
    ]


def test_nothing_is_left_behind_when_the_network_fails(inputs: Tensor) -> None:
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("out of something")

    model = small_network().train()
    model.fc = Fails()
    before = snapshot(model)
    with pytest.raises(RuntimeError, match="out of something"):
        seen_at(model, "conv2", inputs)
    assert snapshot(model) == before


def test_the_callers_own_hooks_and_gradients_stay(inputs: Tensor) -> None:
    model = small_network()
    calls = []
    handle = model.conv2.register_forward_hook(lambda *_: calls.append("mine"))
    model(inputs).sum().backward()
    before = {name: p.grad.clone() for name, p in model.named_parameters()}
    seen_at(model, "conv2", inputs)
    assert calls == ["mine", "mine"]
    assert list(model.conv2._forward_hooks) == [handle.id]
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter.grad, before[name])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_model_is_watched_by_its_plain_names(inputs: Tensor) -> None:
    model = small_network()
    wanted = seen_at(model, "conv2", inputs)
    whole = torch.compile(small_network(), backend="eager")
    part = small_network()
    part.conv2 = torch.compile(part.conv2, backend="eager")
    part.relu2 = torch.compile(part.relu2, backend="eager")
    in_place = small_network()
    in_place.compile(backend="eager")
    with torch.no_grad():  # compile them before anything is watched
        for compiled in (whole, part, in_place):
            compiled(inputs)
    for compiled in (whole, part, in_place):
        for a, b in zip(seen_at(compiled, "conv2", inputs), wanted, strict=True):
            torch.testing.assert_close(a, b)
    assert torch._dynamo.eval_frame._stance.stance == "default"


def test_torchscript_is_refused_with_a_reason(inputs: Tensor) -> None:
    class Scripted(torch.jit.ScriptModule):
        pass

    model = Scripted()
    with pytest.raises(ModelError, match="TorchScript"), watch(model, [Layer("", model)]):
        pass


def test_parameters_made_under_inference_mode_are_refused_with_a_reason(inputs: Tensor) -> None:
    with torch.inference_mode():
        model = small_network()
    with pytest.raises(ModelError, match=r"built under torch\.inference_mode"):
        seen_at(model, "conv2", inputs)
    with watch(model, find_layers(model, "conv2"), differentiate=False) as seen:
        seen(inputs)
        assert seen.activations[0].shape == (2, 5, 8, 8)


def test_many_threads_watch_one_training_model(inputs: Tensor) -> None:
    model = small_network(inplace=True).train()
    wanted = {name: expected_at(model, name, inputs) for name in ("conv1", "conv2", "relu2")}
    failures: list[str] = []

    def work(name: str) -> None:
        for _ in range(30):
            got = seen_at(model, name, inputs)
            for a, b in zip(got, wanted[name], strict=True):
                if not torch.allclose(a, b, atol=1e-6):
                    failures.append(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in [*wanted, *wanted]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())


def test_another_threads_forward_is_not_touched(inputs: Tensor) -> None:
    model = small_network()
    plain = model(inputs).detach()
    with watch(model, find_layers(model, "conv1")) as seen:
        found: list[Tensor] = []
        thread = threading.Thread(target=lambda: found.append(model(inputs)))
        thread.start()
        thread.join()
        assert torch.equal(found[0], plain)
        with pytest.raises(IndexError):
            seen.activations  # noqa: B018


def test_trace_tells_pass_throughs_and_containers(inputs: Tensor) -> None:
    model = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True)), nn.Dropout(), nn.Flatten()
    )
    outputs, calls = trace(model, inputs)
    assert outputs.shape == (2, 256)
    by_name = {call.name: call for call in calls}
    assert [call.name for call in calls] == ["0.0", "0.1", "0", "1", "2", ""]
    assert by_name["1"].passes_through
    assert not by_name["0.1"].passes_through, "an in-place ReLU changes its input"
    assert by_name["0"].same_as is by_name["0.1"]
    assert by_name["0.1"].same_as is None
    assert model.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@dataclass
class DataclassOutput:
    logits: Tensor
    hidden: Tensor


# --- The Hessian times the activations ------------------------------------------------------------


def smooth_network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(8)
        return (
            nn.Sequential(
                OrderedDict(
                    conv1=nn.Conv2d(3, 3, 3),
                    act1=nn.SiLU(inplace=True),
                    conv2=nn.Conv2d(3, 4, 2),
                    act2=nn.Tanh(),
                    flatten=nn.Flatten(),
                    fc=nn.Linear(4 * 9, 3),
                )
            )
            .double()
            .eval()
        )


@pytest.mark.parametrize("score", ["logit", "probability"])
def test_the_curvature_is_that_of_the_whole_hessian(score: str) -> None:
    model, inputs = smooth_network(), torch.randn(2, 3, 6, 6).double()

    def scored(logits: Tensor) -> Tensor:
        return logits[:, 1] if score == "logit" else logits.softmax(1)[:, 1]

    names = ["act1", "conv1", "act2"]
    with watch(model, find_layers(model, names)) as seen:
        found = seen.curvature(scored(seen(inputs)))
        gradients = seen.gradients(scored(seen(inputs)))
    for name, product, gradient in zip(names, found, gradients, strict=True):
        cut = list(model._modules).index(name) + 1
        kept = model[:cut](inputs).detach()
        for image, row in enumerate(kept):
            hessian = torch.autograd.functional.hessian(
                lambda a, cut=cut: scored(model[cut:](a.clone()[None]))[0], row
            )
            size = row.numel()
            wanted = (hessian.reshape(size, size) @ row.flatten()).reshape(row.shape)
            torch.testing.assert_close(product[image], wanted, rtol=1e-9, atol=1e-12)
        assert (name, score) == ("act2", "logit") or float(product.abs().max()) > 1e-3
        if score == "logit":
            torch.testing.assert_close(gradient, seen_at(model, name, inputs)[1])


def test_the_logits_of_a_relu_network_have_no_curvature(inputs: Tensor) -> None:
    model = small_network(inplace=True)
    for layer in ("conv1", "relu1", "relu2"):
        with watch(model, find_layers(model, layer)) as seen:
            (product,) = seen.curvature(seen(inputs)[:, 1])
        assert product.shape == seen.activations[0].shape
        assert not product.any()


def test_an_operation_without_a_second_derivative_is_named() -> None:
    class Attends(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            tokens = x.flatten(2).mT.contiguous()[:, None]
            return F.scaled_dot_product_attention(tokens, tokens, tokens).sum((1, 2))

    model = nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 16, 1), head=Attends())).eval()
    with watch(model, find_layers(model, "conv")) as seen:
        scores = seen(torch.randn(1, 3, 4, 4))[:, 0]
        with pytest.raises(LayerError, match=r"after layer 'conv'.*derivative.*grad-cam"):
            seen.curvature(scores)


def test_watch_is_what_watch_gives() -> None:
    with watch(small_network(), []) as seen:
        assert isinstance(seen, Watch)
