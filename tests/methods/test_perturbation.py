"""The perturbation methods: against loops from the papers, by hand, and by exact identities."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import pytest
import reference.perturbation as reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.utils._python_dispatch import TorchDispatchMode

from seewhy.errors import MethodError
from seewhy.methods import perturbation as methods

CLASSES = (2, 0)  # the targets


pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass
class Versions:
    """Scores of versions, a few at a time, and a record of how many were made."""

    scores: Callable[[Tensor], Tensor]
    at_once: int = 3
    made: list[int] = field(default_factory=list)

    def __call__(self, count: int, make: Callable[[Tensor], Tensor]) -> Tensor:
        assert count > 0
        parts = []
        for which in torch.split(torch.arange(count), self.at_once):
            versions = make(which)
            assert len(versions) == len(which)
            self.made.append(len(which))
            parts.append(self.scores(versions))
        return torch.cat(parts)


def without_channels(
    activations: Tensor, rerun: Callable[[int, Callable[[Tensor], Tensor]], Tensor]
) -> Callable[[Tensor], Tensor]:
    """Scores of the activations without one channel each, from the scores of any versions."""

    def scores(channels: Tensor) -> Tensor:
        def made(which: Tensor) -> Tensor:
            versions = activations.repeat(len(which), 1, 1, 1)
            versions[torch.arange(len(which)), channels[which]] = 0
            return versions

        return rerun(len(channels), made)

    return scores


@dataclass
class Network:
    """An image, a layer on it, and all that lies behind the layer."""

    image: Tensor
    before: nn.Module
    behind: nn.Module
    classes: tuple[int, ...] = CLASSES
    at_once: int = 3

    def __post_init__(self) -> None:
        self.activations = self.before(self.image[None])[0]
        self.scores = self.behind(self.activations[None])[0, list(self.classes)]
        classes = list(self.classes)
        self.rerun = Versions(lambda a: self.behind(a)[:, classes], self.at_once)
        self.forward = Versions(lambda x: self.logits(x)[:, classes], self.at_once)
        self.forward_probability = Versions(
            lambda x: self.logits(x).softmax(1)[:, classes], self.at_once
        )

    def logits(self, images: Tensor) -> Tensor:
        return self.behind(self.before(images))

    def without_channels(self, channels: Tensor) -> Tensor:
        return without_channels(self.activations, self.rerun)(channels)

    def evidence(self, name: str) -> object:
        return self.gradients() if name == "gradients" else getattr(self, name)

    def gradients(self) -> Tensor:
        with torch.enable_grad():
            leaf = self.activations.clone().requires_grad_()
            scores = self.behind(leaf[None])[0, list(self.classes)]
            rows = [torch.autograd.grad(score, leaf, retain_graph=True)[0] for score in scores]
        return torch.stack(rows)

    def layer_score(self, index: int) -> reference.Score:
        return lambda a: float(self.behind(a[None])[0, index])

    def image_score(self, index: int) -> reference.Score:
        return lambda x: float(self.logits(x[None])[0, index])

    def image_probability(self, index: int) -> reference.Score:
        return lambda x: float(self.logits(x[None]).softmax(1)[0, index])


class Killed(nn.Module):
    """Some channels become constant: dead (0) or not."""

    def __init__(self, dead: tuple[int, ...], constant: tuple[int, ...]) -> None:
        super().__init__()
        self.dead, self.constant = dead, constant

    def forward(self, x: Tensor) -> Tensor:
        x = x.clone()
        x[:, list(self.dead)] = 0
        x[:, list(self.constant)] = 0.7
        return x


def network(
    seed: int = 0,
    *,
    rectified: bool = True,
    dead: tuple[int, ...] = (),
    constant: tuple[int, ...] = (),
    classes: tuple[int, ...] = CLASSES,
    at_once: int = 3,
    size: tuple[int, int] = (9, 7),
    channels: int = 5,
) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        before = nn.Sequential(
            nn.Conv2d(3, channels, 3, stride=2),
            nn.ReLU() if rectified else nn.Identity(),
            Killed(dead, constant),
        )
        behind = nn.Sequential(
            nn.Conv2d(channels, 6, 3, padding=1),
            nn.Tanh(),
            nn.AdaptiveAvgPool2d((2, 1)),
            nn.Flatten(),
            nn.Linear(12, 4),
        )
        image = torch.randn(3, *size, dtype=torch.float64)
    for module in (before, behind):
        module.double().requires_grad_(False)
    return Network(image, before, behind, classes, at_once)


def pooled_network(seed: int = 0) -> tuple[Network, Tensor, Tensor]:
    """Global average pooling and one linear map behind the layer; with the targets' own rows."""
    made = network(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1000)
        linear = nn.Linear(5, 4).double().requires_grad_(False)
    behind = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear)
    rows = linear.weight[list(CLASSES)], linear.bias[list(CLASSES)]
    return Network(made.image, made.before, behind), *rows


@st.composite
def networks(draw: st.DrawFn) -> Network:
    channels = draw(st.integers(1, 6))
    kinds = [draw(st.sampled_from(["live", "live", "dead", "constant"])) for _ in range(channels)]
    return network(
        draw(st.integers(0, 2**16)),
        rectified=draw(st.booleans()),
        dead=tuple(k for k, kind in enumerate(kinds) if kind == "dead"),
        constant=tuple(k for k, kind in enumerate(kinds) if kind == "constant"),
        classes=draw(st.sampled_from([(0,), (3, 1), (2, 2, 0)])),
        at_once=draw(st.integers(1, 7)),
        size=(draw(st.integers(5, 10)), draw(st.integers(3, 9))),
        channels=channels,
    )


NEEDS = {
    "ablation_cam": ("activations", "scores", "without_channels"),
    "ablation_cam_relative": ("activations", "scores", "without_channels"),
    "ablation_cam_slope": ("activations", "scores", "without_channels"),
    "recipro_cam": ("activations", "rerun"),
    "recipro_cam_gaussian": ("activations", "rerun"),
    "score_cam": ("activations", "scores", "image", "forward_probability"),
    "score_cam_bounded": ("activations", "scores", "image", "forward_probability"),
    "score_cam_increase": ("activations", "scores", "image", "forward"),
    "ss_cam": ("activations", "scores", "image", "forward"),
    "is_cam": ("activations", "scores", "image", "forward"),
    "group_cam": ("activations", "gradients", "image", "forward_probability"),
    "occlusion": ("image", "scores", "forward"),
    "rise": ("image", "forward_probability"),
}
ABLATIONS = {name for name, needs in NEEDS.items() if "without_channels" in needs}
OPTIONS = {
    "score_cam_bounded": {"error": 0.0},
    "ss_cam": {"samples": 3, "seed": 5},
    "is_cam": {"steps": 4},
    "group_cam": {"groups": 3},
    "occlusion": {"window": 3, "stride": 2, "value": 0.3},
    "rise": {"masks": 6, "cells": 3, "keep": 0.4, "seed": 5},
}


def maps(name: str, net: Network, **options: object) -> Tensor:
    given_ = {need: net.evidence(need) for need in NEEDS[name]}
    return getattr(methods, name)(**given_, **{**OPTIONS.get(name, {}), **options})


def reference_map(name: str, net: Network, target: int) -> Tensor:
    index = net.classes[target]
    activations, image = net.activations, net.image
    score, probability = net.image_score(index), net.image_probability(index)
    if "rerun" in NEEDS[name] or name in ABLATIONS:
        return getattr(reference, name)(activations, net.layer_score(index))
    if name in ("score_cam", "score_cam_bounded"):
        return reference.score_cam(activations, image, probability)
    if name == "score_cam_increase":
        return reference.score_cam_increase(activations, image, score, torch.zeros_like(image))
    if name == "ss_cam":
        generator = torch.Generator().manual_seed(5)
        noise = 2.0 * torch.randn(3, *image.shape[1:], generator=generator).double()
        return reference.ss_cam(activations, image, score, noise)
    if name == "is_cam":
        return reference.is_cam(activations, image, score, 4)
    if name == "group_cam":
        return reference.group_cam(activations, net.gradients()[target], image, probability, 3)
    if name == "occlusion":
        return reference.occlusion(image, score, 3, 2, 0.3)
    grids, shifts = methods.rise_grids(image, 6, (3, 3), 0.4, 5)
    pairs = list(zip(*(shift.tolist() for shift in shifts), strict=True))
    return reference.rise(image, probability, grids.tolist(), pairs, 0.4)


# --- Against the loops --------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(NEEDS))
@settings(max_examples=25, deadline=None)
@given(net=networks())
def test_a_method_equals_its_loop_for_every_target(name: str, net: Network) -> None:
    made = maps(name, net)
    expected = torch.stack([reference_map(name, net, t) for t in range(len(net.classes))])
    assert made.shape == expected.shape
    assert made.dtype == torch.float64
    torch.testing.assert_close(made, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", sorted(NEEDS))
def test_the_loops_give_maps_that_say_something(name: str) -> None:
    """Else the test above could compare zeros with zeros."""
    live = [float(maps(name, network(seed)).std()) > 0 for seed in range(6)]
    assert sum(live) >= 4


@pytest.mark.parametrize("name", sorted(NEEDS))
def test_how_many_are_made_at_once_changes_nothing(name: str) -> None:
    one, many = (maps(name, network(3, rectified=False, at_once=n)) for n in (1, 1000))
    torch.testing.assert_close(one, many, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", sorted(NEEDS))
def test_all_targets_come_from_one_pass_and_equal_those_taken_singly(name: str) -> None:
    together = network(4, classes=(3, 0, 1))
    made = maps(name, together)
    for t, index in enumerate(together.classes):
        alone = network(4, classes=(index,))
        torch.testing.assert_close(maps(name, alone)[0], made[t], rtol=1e-12, atol=1e-13)
        if name != "group_cam":  # whose masks are each target's own
            for call in ("rerun", "forward", "forward_probability"):
                assert getattr(alone, call).made == getattr(together, call).made


@pytest.mark.parametrize("name", sorted(NEEDS))
def test_what_is_given_is_left_as_it_was(name: str) -> None:
    net = network(5, rectified=False)
    before = {need: net.evidence(need) for need in NEEDS[name]}
    kept = {need: one.clone() for need, one in before.items() if isinstance(one, Tensor)}
    maps(name, net)
    for need, one in kept.items():
        assert torch.equal(before[need], one), need


@pytest.mark.parametrize("name", sorted(NEEDS))
def test_float32_is_enough(name: str) -> None:
    exact, net = network(6), network(6)
    net.before.float()
    net.behind.float()
    single = Network(net.image.float(), net.before, net.behind)
    made = maps(name, single)
    assert made.dtype == torch.float32
    torch.testing.assert_close(made.double(), maps(name, exact), rtol=1e-3, atol=1e-6)


# --- By hand ------------------------------------------------------------------------------------

HAND = torch.tensor([[[1.0, 2.0]], [[3.0, -1.0]], [[0.0, 0.0]]])  # 3 channels of 1 x 2


def hand_score(versions: Tensor) -> Tensor:
    """y = 2 sum(A_0) + sum(A_1)² − 20, and −y: for HAND y = 6 + 4 − 20 = −10."""
    total = versions.sum((2, 3))
    y = 2 * total[:, 0] + total[:, 1] ** 2 - 20
    return torch.stack([y, -y], 1)


def test_ablation_by_hand() -> None:
    # Without channel 0 y falls by 6, without channel 1 by 4; for −y each is the opposite.
    # 6 (1, 2) + 4 (3, −1) = (18, 8), and (−18, −8).
    scores = hand_score(HAND[None])[0]
    assert scores.tolist() == [-10, 10]
    rerun = Versions(hand_score)
    call = without_channels(HAND, rerun)
    assert methods.ablation_cam(HAND, scores, call).tolist() == [[[18, 8]], [[0, 0]]]
    # Divided by y = −10 the first target's picture is turned round; so is the second's, by +10.
    relative = methods.ablation_cam_relative(HAND, scores, call)
    assert relative.tolist() == [[[0, 0]], [[0, 0]]]
    # Sums of |A_k| are 3 and 4: 2 (1, 2) + 1 (3, −1) = (5, 3).
    assert methods.ablation_cam_slope(HAND, scores, call).tolist() == [[[5, 3]], [[0, 0]]]
    assert rerun.made == [2, 2, 2]  # the dead channel is not among them


def test_the_papers_division_turns_the_picture_round_where_the_score_is_negative() -> None:
    net = network(8, rectified=False)
    for shift, sign in ((-100.0, -1), (100.0, 1)):
        scores = net.scores + shift
        rerun = Versions(lambda a, s=shift: net.rerun.scores(a) + s)
        call = without_channels(net.activations, rerun)
        plain = methods.ablation_cam(net.activations, scores, call)
        relative = methods.ablation_cam_relative(net.activations, scores, call)
        against = methods.ablation_cam(net.activations, -scores, lambda k: -call(k))  # noqa: B023
        expected = plain if sign > 0 else against
        torch.testing.assert_close(relative * scores.abs()[:, None, None], expected)
        assert float(expected.max()) > 0


def test_a_score_of_zero_has_no_relative_drop() -> None:
    call = without_channels(HAND, Versions(hand_score))
    with pytest.raises(MethodError, match="Use ablation-cam"):
        methods.ablation_cam_relative(HAND, torch.tensor([1.0, 0.0]), call)


def test_recipro_by_hand() -> None:
    # (1, 3, 0) alone: 2 + 9 − 20 = −9; (2, −1, 0) alone: 4 + 1 − 20 = −15.
    assert methods.recipro_cam(HAND, Versions(hand_score)).tolist() == [[[-9, -15]], [[9, 15]]]
    # 1/4 of it and 1/8 of its neighbour: sums (1/2, 5/8) and (5/8, 1/8).
    first, second = 1 + 25 / 64 - 20, 1.25 + 1 / 64 - 20
    made = methods.recipro_cam_gaussian(HAND, Versions(hand_score))
    assert made.tolist() == [[[first, second]], [[-first, -second]]]


def test_score_cam_by_hand() -> None:
    # Layer and image are of one size. Masks are (0, 1) and (1, 0); the third channel is constant.
    image = torch.tensor([[[4.0, 8.0]]])
    activations = torch.tensor([[[1.0, 3.0]], [[2.0, -2.0]], [[9.0, 9.0]]])
    scores = torch.zeros(1)
    call = Versions(lambda x: x.sum((1, 2, 3))[:, None] / 16)  # 8/16 and 4/16
    made = methods.score_cam(activations, scores, image, call)
    # 1/2 (1, 3) + 1/4 (2, −2) = (1, 1)
    assert made.tolist() == [[[1, 1]]]
    assert call.made == [2]
    call = Versions(lambda x: x.sum((1, 2, 3))[:, None] / 4 * math.log(3))  # softmax: 3/4, 1/4
    made = methods.score_cam_increase(activations, scores, image, call)
    torch.testing.assert_close(made, torch.tensor([[[1.25, 1.75]]]))
    made = methods.is_cam(activations, scores, image, call, steps=3)
    # The mean of 1/3, 2/3, 3/3 is 2/3: softmax of 2/3 (2, 1) log 3.
    share = 3 ** (2 / 3) / (1 + 3 ** (2 / 3))
    expected = [share + 2 * (1 - share), 3 * share - 2 * (1 - share)]
    torch.testing.assert_close(made[0, 0], torch.tensor(expected))


def test_occlusion_by_hand() -> None:
    # The score is the pixels' sum. Windows of 2 start at 0, 1, 2: falls 1+2, 2+3, 3+4.
    image = torch.tensor([[[1.0, 2.0, 3.0, 4.0]] * 2])
    call = Versions(lambda x: x.sum((1, 2, 3))[:, None])
    made = methods.occlusion(image, call.scores(image[None])[0], call, window=2, stride=1)
    assert made[0].tolist() == [[6, 8, 12, 14]] * 2
    assert call.made == [3]
    # Windows of 2 every 2 of 3 pixels: the second reaches over the edge and hides one.
    image = torch.tensor([[[1.0, 2.0, 4.0]] * 2])
    made = methods.occlusion(image, call.scores(image[None])[0], call, window=2, stride=2)
    assert made[0].tolist() == [[6, 6, 8]] * 2


# --- Identities ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_behind_pooling_and_a_linear_map_the_methods_are_known(seed: int) -> None:
    """T5 and T6 of the literature's identities: weights and maps in closed form."""
    net, rows, biases = pooled_network(seed)
    cam = torch.einsum("tk,khw->thw", rows, net.activations)
    positions = net.activations[0].numel()
    means = net.activations.mean((1, 2))
    by_share = torch.einsum("tk,khw->thw", rows * means, net.activations)
    given_ = (net.activations, net.scores, net.without_channels)
    torch.testing.assert_close(methods.ablation_cam(*given_), by_share.relu())
    torch.testing.assert_close(methods.ablation_cam_slope(*given_), cam.relu() / positions)
    relative = (by_share / net.scores[:, None, None]).relu()
    torch.testing.assert_close(methods.ablation_cam_relative(*given_), relative)
    expected = cam / positions + biases[:, None, None]
    torch.testing.assert_close(methods.recipro_cam(net.activations, net.rerun), expected)


def test_ablation_is_exact_whatever_the_sign() -> None:
    """Where grad-cam would put −1e7: behind a linear network the drops add up to the score."""
    net, rows, _ = pooled_network(2)
    activations = net.activations - 1.0
    assert activations.min() < 0
    scores = net.behind(activations[None])[0, list(CLASSES)]
    drops = rows * activations.mean((1, 2))
    expected = torch.einsum("tk,khw->thw", drops, activations).relu()
    made = methods.ablation_cam(activations, scores, without_channels(activations, net.rerun))
    torch.testing.assert_close(made, expected)


@pytest.mark.parametrize("baseline", [0.0, -3.0, 50.0])
def test_algorithm_1_does_not_depend_on_its_baseline(baseline: float) -> None:
    net = network(9, rectified=False)
    image = torch.full_like(net.image, baseline)
    made = maps("score_cam_increase", net)
    for t, index in enumerate(net.classes):
        score = net.image_score(index)
        expected = reference.score_cam_increase(net.activations, net.image, score, image)
        torch.testing.assert_close(made[t], expected)


@pytest.mark.parametrize("name", ["score_cam_increase", "ss_cam", "is_cam"])
def test_a_shift_of_every_score_leaves_channel_softmaxes_alone(name: str) -> None:
    net = network(9)
    made = maps(name, net)
    scores = net.forward.scores
    net.forward = Versions(lambda x: scores(x) + 1000.0)
    torch.testing.assert_close(maps(name, net), made)


def test_smoothing_by_no_noise_and_integrating_in_one_step_are_algorithm_1() -> None:
    net = network(10, rectified=False)
    plain = maps("score_cam_increase", net)
    torch.testing.assert_close(maps("ss_cam", net, noise=0.0), plain)
    torch.testing.assert_close(maps("is_cam", net, steps=1), plain)
    assert not torch.allclose(maps("ss_cam", net), plain)
    assert not torch.allclose(maps("is_cam", net), plain)


def test_rectifying_before_upsampling_is_official_score_cam_where_nothing_is_negative() -> None:
    for rectified in (True, False):
        net = network(11, rectified=rectified)
        size = net.image.shape[1:]
        up = partial(interpolate, size=size, mode="bilinear", align_corners=False)
        large = up(net.activations[:, None])[:, 0]
        low, high = large.amin((1, 2), True), large.amax((1, 2), True)
        masked = net.image * ((large - low) / (high - low))[:, None]
        weights = net.logits(masked).softmax(1)[:, list(CLASSES)].mT
        official = torch.einsum("tk,khw->thw", weights, large).relu()
        ours = up(maps("score_cam", net)[:, None])[:, 0]
        assert torch.allclose(ours, official) == rectified
        assert (ours > official - 1e-12).all()  # a mean of positive parts is at least the mean's


def test_a_recipro_map_through_a_wider_mask_is_smoother() -> None:
    net, rows, biases = pooled_network(3)
    cam = torch.einsum("tk,khw->thw", rows, net.activations) / net.activations[0].numel()
    kernel = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]], dtype=torch.float64) / 16
    expected = torch.conv2d(cam[:, None], kernel[None, None], padding=1)[:, 0]
    made = methods.recipro_cam_gaussian(net.activations, net.rerun)
    torch.testing.assert_close(made, expected + biases[:, None, None])


def test_occluding_all_at_once_gives_the_whole_fall() -> None:
    net = network(12, size=(7, 7))
    made = maps("occlusion", net, window=7, stride=7, value=0.0)
    fall = net.scores - net.logits(torch.zeros_like(net.image)[None])[0, list(CLASSES)]
    torch.testing.assert_close(made, fall[:, None, None].expand(-1, 7, 7))


def test_group_cam_sees_one_group_as_grad_cam_through_a_mask() -> None:
    net = network(13)
    merged = torch.einsum("tk,khw->thw", net.gradients().mean((2, 3)), net.activations).relu()
    made = maps("group_cam", net, groups=1)
    for t in range(len(net.classes)):
        threshold = merged[t].quantile(0.7)
        gone = merged[t] <= threshold
        if made[t].any():
            assert float(made[t][gone].max()) < float(made[t][~gone].min())


def test_rise_masks_are_probable_open_and_the_seed_is_theirs() -> None:
    image = torch.zeros(3, 23, 31)
    seen = []

    def keep_masks(count: int, make: Callable[[Tensor], Tensor]) -> Tensor:
        seen.append(make(torch.arange(count))[:, 0])
        return torch.ones(count, 1)

    made = methods.rise(image + 1, keep_masks, masks=2000, cells=4, keep=0.3)
    masks = seen[0]
    assert masks.shape == (2000, 23, 31)
    assert float(masks.min()) >= 0
    assert float(masks.max()) <= 1
    # Every pixel is open as often as a cell is: the probability given a seen pixel is the score's.
    assert float((masks.mean(0) - 0.3).abs().max()) < 0.05
    torch.testing.assert_close(made[0], masks.mean(0) / 0.3, rtol=1e-5, atol=1e-5)
    other = methods.rise(image + 1, keep_masks, masks=2000, cells=4, keep=0.3, seed=1)
    assert not torch.equal(made, other)


def test_rise_shifts_by_every_part_of_a_cell() -> None:
    grids, (down, right) = methods.rise_grids(torch.zeros(3, 23, 31), 1000, (4, 4), 0.3, 0)
    assert set(down.tolist()) == set(range(6))  # 4 cells of 6 pixels reach over 23
    assert set(right.tolist()) == set(range(8))
    assert set(grids.unique().tolist()) == {0, 1}
    assert abs(float(grids.mean()) - 0.3) < 0.02


def test_rise_finds_the_only_pixel_that_counts() -> None:
    image = torch.ones(1, 28, 28)
    call = Versions(lambda x: x[:, :, 6, 20], at_once=100)
    made = methods.rise(image, call, masks=1500, cells=7)
    top = int(made[0].argmax())
    assert abs(top // 28 - 6) <= 2
    assert abs(top % 28 - 20) <= 2


# --- Cost ---------------------------------------------------------------------------------------


def test_dead_channels_are_never_run_without() -> None:
    net = network(14, dead=(0, 3), constant=(4,))
    for name in ("ablation_cam", "ablation_cam_relative", "ablation_cam_slope"):
        net.rerun.made.clear()
        maps(name, net)
        assert sum(net.rerun.made) == 3, name
    everything = network(14, dead=(0, 1, 2, 3, 4))
    assert not maps("ablation_cam", everything).any()
    assert everything.rerun.made == []


@pytest.mark.parametrize("name", ["recipro_cam", "score_cam", "occlusion", "rise"])
def test_a_network_that_works_in_place_does_not_spoil_the_next_versions(name: str) -> None:
    net = network(17, rectified=False, at_once=2)
    expected = maps(name, net)
    for call in (net.rerun, net.forward, net.forward_probability):
        call.scores = lambda x, plain=call.scores: (plain(x), x.mul_(7).add_(1))[0]
    assert torch.equal(maps(name, net), expected)


@pytest.mark.parametrize("name", sorted(NEEDS))
def test_chunks_may_change_in_size_and_the_modes_of_torch_do_not_matter(name: str) -> None:
    net = network(17, rectified=False, at_once=4)
    expected = maps(name, net)

    def shrinking(count: int, make: Callable[[Tensor], Tensor], plain: Versions) -> Tensor:
        make(torch.arange(min(count, 3)))  # as after a run for which memory did not suffice
        return Versions(plain.scores, at_once=2)(count, make)

    for call in ("rerun", "forward", "forward_probability"):
        setattr(net, call, partial(shrinking, plain=getattr(net, call)))
    torch.testing.assert_close(maps(name, net), expected, rtol=1e-12, atol=1e-13)
    gradients = net.gradients()
    net.gradients = lambda: gradients  # type: ignore[method-assign]
    with torch.inference_mode():
        torch.testing.assert_close(maps(name, net), expected, rtol=1e-12, atol=1e-13)


def test_group_cam_keeps_what_is_above_the_percentile_and_weights_the_mask() -> None:
    # 11 positions: the 70 % percentile is the eighth value itself, which goes; 3 stay.
    activations = torch.arange(11.0)[
        torch.randperm(11, generator=torch.Generator().manual_seed(0))
    ].reshape(1, 1, 11)
    image = torch.zeros(1, 1, 11)
    image[..., activations[0, 0] == 10] = 1.0
    call = Versions(lambda x: x.amax((1, 2, 3))[:, None])
    made = methods.group_cam(activations, torch.ones(1, 1, 1, 11), image, call)
    blurred = call.scores(methods._blurred(image, radius=25, sigma=50.0)[None])[0, 0]
    expected = torch.where(activations > 7, activations / 10, 0) * (1 - blurred)
    torch.testing.assert_close(made, expected)


def test_constant_channels_are_never_looked_through() -> None:
    net = network(14, rectified=False, dead=(0,), constant=(4,))
    wanted = {
        "score_cam": 3,
        "score_cam_bounded": 3,
        "score_cam_increase": 3,
        "ss_cam": 3 * 3,
        "is_cam": 3 * 4,
    }
    for name, count in wanted.items():
        net.forward.made.clear()
        net.forward_probability.made.clear()
        maps(name, net)
        assert sum(net.forward.made + net.forward_probability.made) == count, name
    everything = network(14, dead=(0, 1), constant=(2, 3, 4))
    for name in wanted:
        assert not maps(name, everything).any()
        assert everything.forward.made == everything.forward_probability.made == []


@settings(max_examples=40, deadline=None)
@given(net=networks(), error=st.sampled_from([0.01, 0.1, 0.3, 0.8]), spread=st.integers(1, 4))
def test_a_bounded_score_cam_keeps_its_bound(net: Network, error: float, spread: int) -> None:
    sizes = 10.0 ** (-0.3 * spread * torch.arange(len(net.activations), dtype=torch.float64))
    net.activations = net.activations * sizes[:, None, None]
    exact = maps("score_cam", net)
    made = maps("score_cam_bounded", net, error=error)
    allowed = error * made.amax((1, 2)) + 1e-12
    assert ((made - exact).abs().amax((1, 2)) <= allowed).all()


def test_a_bounded_score_cam_leaves_out_what_cannot_matter() -> None:
    net = network(20, channels=128)
    weak = torch.where(torch.arange(128) % 4 == 1, 1.0, 1e-4)[:, None, None]
    net.activations = net.activations * weak
    made = maps("score_cam_bounded", net, error=0.05)
    assert 32 <= sum(net.forward_probability.made) <= 64  # of 128; 32 of them matter
    assert not torch.equal(made, maps("score_cam", net))
    torch.testing.assert_close(made, maps("score_cam", net), rtol=0, atol=0.05 * float(made.max()))
    # A level channel counts for nothing however strong, and one that only takes away counts.
    image = torch.tensor([[[1.0, 1.0]]])
    call = Versions(lambda x: torch.ones(len(x), 1))
    activations = torch.tensor([[[9.0, 9.0]], [[2.0, 1.0]], [[-0.9, -1.0]]])
    scores = torch.zeros(1)
    made = methods.score_cam_bounded(activations, scores, image, call, error=0.4)
    torch.testing.assert_close(made, torch.tensor([[[1.1, 0.0]]]))
    assert sum(call.made) == 2
    made = methods.score_cam_bounded(activations, scores, image, call, error=0.6)
    assert made.tolist() == [[[2, 1]]]


def test_a_bounded_score_cam_keeps_its_bound_where_weights_may_be_negative() -> None:
    """As for a target that is a difference of probabilities: +0.5 − (−0.5) is a change of 1."""
    activations = torch.tensor([[[2.0, 1.0]], [[0.5, 0.0]], [[-0.5, 0.0]]])
    call = Versions(lambda x: 2 * x[:, 0, :1, 0] - 1)  # 1, 1 and −1
    image, scores = torch.ones(1, 1, 2), torch.zeros(1)
    made = methods.score_cam_bounded(activations, scores, image, call, error=0.3)
    exact = methods.score_cam(activations, scores, image, call)
    assert exact.tolist() == [[[3, 1]]]
    assert float((made - exact).abs().max()) <= 0.3 * float(made.max())


def test_recipro_runs_once_a_position_and_group_cam_once_a_group() -> None:
    net = network(15, classes=(0, 1, 2))
    maps("recipro_cam", net)
    assert sum(net.rerun.made) == net.activations[0].numel()
    maps("group_cam", net)
    groups = sum(len(net.activations[:, 0, 0].split(2)) for _ in net.classes)
    assert sum(net.forward_probability.made) <= groups + 1


@pytest.mark.parametrize("name", sorted(set(NEEDS) - ABLATIONS))
def test_memory_is_that_of_the_versions_asked_for_at_once(name: str) -> None:
    net = network(16)
    generator = torch.Generator().manual_seed(0)
    net.activations = torch.randn(64, 8, 8, generator=generator)
    net.image = torch.randn(3, 32, 32, generator=generator)
    net.gradients = lambda: torch.stack([net.activations] * 2)  # type: ignore[method-assign]
    net.scores = torch.ones(2)
    blind = Versions(lambda versions: versions.flatten(1)[:, :2], at_once=2)
    net.rerun = net.forward = net.forward_probability = blind
    with Largest() as largest:
        maps(name, net, **MANY.get(name, {}))
    chunk = 2 * max(net.activations.numel(), net.image.numel())
    # RISE's sum takes 64 masks at once; Group-CAM looks at the extremes of all its 2 x 32 masks.
    allowed = 64 * 32 * 32 if name in ("rise", "group_cam") else chunk
    assert 0 < largest.elements <= allowed
    assert allowed < 0.5 * sum(blind.made) * 3 * 32 * 32


MANY = {
    "occlusion": {"window": 4, "stride": 4},
    "rise": {"masks": 200},
    "group_cam": {"groups": 32},
}


class Largest(TorchDispatchMode):
    """The most elements of any tensor made while it is on."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor):
            self.elements = max(self.elements, made.numel())
        return made


# --- Refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("occlusion", {"window": 20}, "window=20 is larger than an image of 9 × 7"),
        ("occlusion", {"stride": 4}, "stride=4 leaves pixels between windows of 3"),
        ("occlusion", {"window": 0}, "window must be at least 1, not 0"),
        ("occlusion", {"stride": 0}, "stride must be at least 1, not 0"),
        ("rise", {"masks": 0}, "masks must be at least 1, not 0"),
        ("rise", {"cells": -1}, "cells must be at least 1, not -1"),
        ("rise", {"keep": 0.0}, "keep must be a share.* not 0.0"),
        ("rise", {"keep": 1.5}, "keep must be a share.* not 1.5"),
        ("ss_cam", {"samples": 0}, "samples must be at least 1, not 0"),
        ("is_cam", {"steps": 0}, "steps must be at least 1, not 0"),
        ("group_cam", {"groups": 0}, "groups must be at least 1, not 0"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused_in_words(
    name: str, options: dict[str, object], said: str
) -> None:
    with pytest.raises(MethodError, match=said):
        maps(name, network(0), **options)
