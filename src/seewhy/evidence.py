"""What a method may ask for, by the name of a parameter, and where it comes from.

Four kinds. What a layer saw, for a batch: `activations`, `gradients`, `class_weights`,
`noisy_gradients`, `curvature` (methods/cam.py). What the pixels do, for a batch: `inputs`,
`input_gradients`, `guided_gradients`, `deconvnet_gradients`, `full_gradients`, `input_scores`, and
`note`, which takes what is to be said of the map (methods/backprop.py). What a picture's tokens
look at, for a batch: `attentions`, `attention_gradients`, `tokens_read`, `blockwise_gradients`
(methods/attention.py). And for one image at a time, what the score becomes when something is
changed: `scores`, `image`, `rerun`, `without_channels`, `forward`, `forward_probability`
(methods/perturbation.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from copy import copy
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from seewhy.errors import MethodError, ModelError
from seewhy.models.attention import Attended, AttentionPath, attend, find_attention
from seewhy.models.bias_gradients import BiasGradients
from seewhy.models.bound import Bound
from seewhy.models.many_runs import EXACT, ChannelsLast, Speed, many_runs
from seewhy.models.modules import modules_of
from seewhy.models.relu_rules import ReluRule, Rule
from seewhy.models.rerun import Rerun, in_chunks, rerunning
from seewhy.models.undisturbed import no_inference, undisturbed
from seewhy.models.watch import CUTS, WITHOUT_GRADIENT, Layer, Watch, has_gradient
from seewhy.models.without_channels import WithoutChannels
from seewhy.precision import at_least_float32
from seewhy.targets import Counterfactual, Finer, Resolved, Target, of_probability, resolve

LAYER = ("activations", "gradients", "class_weights", "noisy_gradients", "curvature")
PIXELS = (
    "inputs",
    "input_gradients",
    "guided_gradients",
    "deconvnet_gradients",
    "full_gradients",
    "input_scores",
    "note",
)
ATTENTION = ("attentions", "attention_gradients", "tokens_read", "blockwise_gradients")
TAIL = ("rerun", "without_channels")
WHOLE = ("forward", "forward_probability")
ONE_IMAGE = ("scores", "image", *TAIL, *WHOLE)
WITH_ONE_IMAGE = ("activations", "gradients", "note")  # are given for one image too

PIXEL_RULES: dict[str, Rule | None] = {
    "input_gradients": None,
    "guided_gradients": "guided",
    "deconvnet_gradients": "deconvnet",
}
"""What the ReLUs do while the gradient passes, for each of these."""

SEEING_OPERATIONS = ("guided_gradients", "deconvnet_gradients", "full_gradients")
"""Evidence that is gathered at every activation function or bias as it is called."""

VERSIONS_BYTES = 64 << 20  # of changed activations or images that are made at once
RERUNS, FORWARDS = 64, 16  # and how many at most on a CPU, which gains nothing beyond
SHARES, ELSEWHERE = 512, 256


class Evidence:
    """What one run of a model offers to the methods; `first` makes it, or has made it.

    For a batch, several targets of an image are laid along the batch, image by image, so that a
    formula never hears of them: `(batch * targets, channels, *positions)`.

    Attributes:
        logits: `(batch, classes)` or `(batch,)`, at least float32.
        targets: the concrete targets, for each image.
        scores: `(batch, targets)`, detached.
        activations: of each layer, `(batch, channels, *positions)`.
        gradients: of each layer, `(batch * targets, ...)`; None where no method needs them.
        curvature: the same, the score's Hessian times the activations.
        notes: what a reader of the last map should know, in words.
    """

    def __init__(
        self,
        model: Bound,
        inputs: Tensor,
        layers: Sequence[Layer],
        first: Watch | Rerun,
        target: Any,
        *,
        labels: Sequence[str] | None,
        needs: Collection[str],
        speed: Speed,
    ) -> None:
        self._model, self.inputs, self._layers = model, inputs, layers
        self._first, self._speed = first, speed
        self._labels, self._linear = labels, None
        self._run = ChannelsLast(self._model)
        self._pixels: tuple[Rule | None, Any, Tensor, Tensor] | None = None
        if set(needs) & set(SEEING_OPERATIONS):
            _check_operations(model, len(inputs))
        rules = [PIXEL_RULES[name] for name in needs if name in PIXEL_RULES]
        if isinstance(first, Rerun):
            layers[0].grid(first.raw, inputs.shape)  # raises where it does not lie on the picture
            logits, self.activations = at_least_float32(first.outputs), [first.activations]
        elif not layers and len(rules) == 1:  # the run whose gradients will be wanted is enough
            (rule,), self.activations = rules, []
            with undisturbed(self._model), torch.enable_grad(), _seeing(rule) as seeing:
                leaf = inputs.detach().clone().requires_grad_()
                logits = at_least_float32(self._model(leaf.clone()))
            self._pixels = rule, seeing, leaf, logits
        else:
            logits, self.activations = at_least_float32(first(inputs)), first.activations
            self._linear = first.last_linear
        if len(logits) != len(inputs):
            raise ModelError(
                f"the model gives {len(logits)} rows of scores for {len(inputs)} images; a row for "
                "each is wanted. If all are frames of one video, give (1, frames, channels, "
                "height, width); if output= chose another tensor, name the scores."
            )
        self.targets: Resolved = resolve(target, logits, labels)
        model.each = len(self.targets.targets[0])
        scores = self._score(logits)
        # The curvature first: it keeps the graph, and the gradients free it.
        self.curvature = self._curvature(scores) if "curvature" in needs else None
        self.gradients = self._gradients(scores) if "gradients" in needs else None
        self.logits, self.scores = logits.detach(), scores.detach()
        self.notes: tuple[str, ...] = ()

    # --- For a batch ------------------------------------------------------------------------------

    def of_batch(self, name: str, layer: int, method: str) -> Any:
        """The evidence called `name` for the whole batch, at one layer where it has one."""
        targets = self.scores.shape[1]
        if name == "activations":
            return self.activations[layer].repeat_interleave(targets, 0)
        if name == "gradients":
            assert self.gradients is not None
            return self.gradients[layer]
        if name == "curvature":
            assert self.curvature is not None
            return self.curvature[layer]
        if name == "class_weights":
            return self._class_weights(layer, method)
        if name == "noisy_gradients":
            return lambda *choice: self._noisy_gradients(layer, *choice)
        if name == "inputs":
            return self._rows
        if name == "full_gradients":
            return self._full_gradients
        if name == "input_scores":
            return self._input_scores
        if name == "note":
            return self._note
        if name == "attentions":
            return [one.repeat_interleave(targets, 0) for one in self._attended.attentions]
        if name == "attention_gradients":
            return self._of_attention(self._attended, Attended.gradients)
        if name == "tokens_read":
            return self._of_attention(self._attended, lambda *a, **k: [Attended.read(*a, **k)])[0]
        if name == "blockwise_gradients":
            return self._blockwise_gradients
        return lambda inputs: self._input_gradients(inputs, PIXEL_RULES[name])

    @cached_property
    def _rows(self) -> Tensor:
        return self.inputs.repeat_interleave(self.scores.shape[1], 0)

    def _score(self, logits: Tensor) -> Tensor:
        """`(batch, targets)`."""
        columns = []
        for column in zip(*self.targets.targets, strict=True):
            if len(set(column)) == 1:
                columns.append(column[0](logits))
            else:
                rows = [target(logits[i : i + 1]) for i, target in enumerate(column)]
                columns.append(torch.cat(rows))
        return torch.stack(columns, 1)

    def _gradients(self, scores: Tensor) -> list[Tensor]:
        assert isinstance(self._first, Watch)
        last = scores.shape[1] - 1
        first = self._first
        return _along_the_batch(
            [first.gradients(scores[:, t], keep_graph=t < last) for t in range(last + 1)]
        )

    def _curvature(self, scores: Tensor) -> list[Tensor]:
        assert isinstance(self._first, Watch)
        return _along_the_batch([self._first.curvature(column) for column in scores.unbind(1)])

    def _noisy_gradients(
        self, layer: int, samples: int, noise: float, seed: int
    ) -> Iterator[Tensor]:
        """Gradients at one layer for one noisy copy of the images after another.

        Each image of a batch gets the same noise, so that its map does not depend on the others.
        """
        assert isinstance(self._first, Watch)
        generator = torch.Generator().manual_seed(seed)
        inputs = self.inputs
        axes = tuple(range(1, inputs.ndim))
        spread = noise * (inputs.amax(axes, True) - inputs.amin(axes, True))
        for _ in range(samples):
            drawn = torch.randn(inputs.shape[1:], generator=generator).to(inputs)
            logits = at_least_float32(self._first(inputs + spread * drawn))
            yield self._gradients(self._score(logits))[layer]

    def _class_weights(self, layer: int, method: str) -> Tensor:
        """The linear head's row for each target: how the score changes with a channel's mean.

        Raises:
            MethodError: unless the logits are one linear map of the layer's global average.
        """
        if self._linear is not None:
            module, pooled = self._linear
            weight = module.weight.detach().flatten(1).to(self.logits.dtype)
            bias = None if module.bias is None else module.bias.detach().to(weight)
            pooled = pooled.flatten(1).to(weight)
            means = self.activations[layer].flatten(2).mean(2).to(weight)
            near = 3e-2 if module.weight.dtype.itemsize < 4 else 1e-3  # of the largest
            if (
                pooled.shape == means.shape
                and self.logits.shape == (len(pooled), len(weight))
                and _near(pooled, means, near)
                and _near(linear(pooled, weight, bias), self.logits, near)
            ):
                free = self.logits.clone().requires_grad_()
                scores = self._score(free)
                rows = [
                    torch.autograd.grad(scores[:, t].sum(), free, retain_graph=True)[0] @ weight
                    for t in range(scores.shape[1])
                ]
                return torch.stack(rows, 1).flatten(0, 1)
        raise MethodError(
            f"method '{method}' is defined only where the layer feeds global average pooling and "
            f"one linear map, and '{self._layers[layer]}' does not; use grad-cam, which gives the "
            "same map where both are defined, and works at any layer."
        )

    def _input_gradients(self, inputs: Tensor, rule: Rule | None) -> Tensor:
        """Gradients of each row's own score; `inputs` may be several copies of the batch."""
        run, self._pixels = self._pixels, None  # what the graph holds is freed
        if run is not None and inputs is self._rows and run[0] == rule:
            _, seeing, leaf, logits = run
            with no_inference(), torch.enable_grad():
                columns = self._score(logits).unbind(1)
                last = len(columns) - 1
                by_target = [_gradient(one, leaf, t < last) for t, one in enumerate(columns)]
                gradients = torch.stack(by_target, 1).flatten(0, 1)
        else:
            seeing = _seeing(rule)
            gradients, _ = self._differentiated(inputs, seeing)
        if isinstance(seeing, ReluRule):
            for said in seeing.warnings:
                self._note(said)
        return gradients

    def _input_scores(self, inputs: Tensor) -> Tensor:
        """Each row's own score; `inputs` may be several copies of the batch."""
        with undisturbed(self._model), torch.no_grad():
            return self._of_rows(at_least_float32(self._model(inputs)))

    def _of_rows(self, logits: Tensor) -> Tensor:
        flat = [target for some in self.targets.targets for target in some]
        rows = [target(logits[row :: len(flat)]) for row, target in enumerate(flat)]
        return torch.stack(rows, 1).flatten()

    @cached_property
    def _attention_path(self) -> AttentionPath:
        return find_attention(self._model, self.inputs[:1])

    @cached_property
    def _attended(self) -> Attended:
        return self._attend(every=False)

    def _blockwise_gradients(self, *, mean: bool) -> list[Tensor]:
        """For each block, of the score that the head makes of its tokens, or of their mean."""
        return self._of_attention(self._attend(every=True, mean=mean), Attended.gradients)

    def _attend(self, *, every: bool, mean: bool = False) -> Attended:
        """A run in which attention is seen, and which gives what the network gave."""
        model = copy(self._model)
        model.each = 1  # the pictures come as copies of the batch
        path, copies = self._attention_path, model.beside
        run = attend(model, self.inputs, path, every=every, mean=mean, copies=copies)
        outputs, batch = at_least_float32(run.outputs.detach()), len(self.inputs)
        rows = batch * len(path.calls) if every else batch
        near = 3e-2 if _is_half(run.outputs) else 5e-3  # of the largest
        if len(outputs) != rows or not (
            mean or _near(outputs[-batch:].nan_to_num(), self.logits.nan_to_num(), near)
        ):
            raise MethodError(
                "the network gives other scores when its attention is looked at"
                + (" and its head reads the tokens of every block" if every else "")
                + ", so what that shows is not what it does; take grad-cam."
            )
        return run

    def _of_attention(self, run: Attended, what: Callable[..., list[Tensor]]) -> list[Tensor]:
        """What a run says of each target's score, targets laid along the batch."""
        with no_inference(), torch.enable_grad():  # whatever the caller's mode is
            logits, batch = at_least_float32(run.outputs), len(self.inputs)
            columns = [
                torch.stack([one(logits[i::batch]).sum() for i, one in enumerate(column)]).sum()
                for column in zip(*self.targets.targets, strict=True)
            ]
            return _along_the_batch([what(run, column, keep_graph=True) for column in columns])

    def on_grid(self, relevance: Any, rows: int, method: str) -> Tensor:
        """A map `(rows, *positions)` from the relevance of all tokens, `(rows, tokens)`."""
        path = self._attention_path
        if not isinstance(relevance, Tensor) or relevance.shape != (rows, path.tokens):
            came = tuple(relevance.shape) if isinstance(relevance, Tensor) else type(relevance)
            raise MethodError(
                f"method '{method}' gave {came}; the relevance of each token "
                f"{(rows, path.tokens)} is wanted."
            )
        return path.grid.of(relevance[:, :, None])[:, 0]

    def _note(self, said: str) -> None:
        if said not in self.notes:
            self.notes = (*self.notes, said)

    def _full_gradients(self, inputs: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Gradients of each row's own score, and what each bias adds to it at its positions.

        A note says where the parts do not add up to the score.
        """
        seen = BiasGradients()
        gradients, scores = self._differentiated(inputs, seen)
        parts = [inputs * gradients, *seen.parts]
        rows = len(inputs)
        sums = [at_least_float32(p).reshape(rows, -1).sum(1) for p in parts if not p.numel() % rows]
        totals = torch.stack([one.to(scores) for one in sums])
        found, size = totals.sum(0), scores.abs() + totals.abs().sum(0) / 100
        near = 3e-2 if _is_half(inputs) else 1e-3
        gap = (found - scores).abs() - near * size
        worst = int(gap.argmax())
        if not gap[worst] <= 0:
            flat = [target for some in self.targets.targets for target in some]
            target = flat[worst % len(flat)].describe(self._labels)
            self._note(
                f"for '{target}' the parts of the input and of the biases add up to "
                f"{float(found[worst]):.4g} where the score is {float(scores[worst]):.4g}: the map "
                "leaves something out. full-grad is whole for scores of networks of convolutions, "
                "linear maps, batch normalisation and activation functions, not for gates, "
                "LayerNorm, attention or probabilities",
            )
        return gradients, seen.parts

    def _differentiated(
        self, inputs: Tensor, seeing: AbstractContextManager[Any]
    ) -> tuple[Tensor, Tensor]:
        """Gradients of each row's own score, and those scores; the run is made inside `seeing`."""
        with undisturbed(self._model), torch.enable_grad(), seeing:
            inputs = inputs.detach().clone().requires_grad_()
            scores = self._of_rows(at_least_float32(self._run(inputs)))
            gradients = _gradient(scores, inputs)
        return gradients, scores.detach()

    # --- For one image ----------------------------------------------------------------------------

    @contextmanager
    def of_image(self, image: int, layer: int, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """The evidence called `names` for one image; it ends with the block."""
        targets = self.targets.targets[image]
        found: dict[str, Any] = {
            "scores": self.scores[image], "image": self.inputs[image], "note": self._note
        }  # fmt: skip
        model = self._model.image(image)
        self._check_alone(model, image)
        if "forward" in names:
            found["forward"] = self._versions(model, targets)
        if "forward_probability" in names:
            likely = [_probability(one) for one in targets]
            found["forward_probability"] = self._versions(model, likely)
        if "activations" in names:
            found["activations"] = self.activations[layer][image]
        if "gradients" in names:
            assert self.gradients is not None
            found["gradients"] = self.gradients[layer].chunk(len(self.scores))[image]
        if not set(names) & set(TAIL):
            yield {name: found[name] for name in names}
            return
        with ExitStack() as stack:
            tail = self._first
            if not isinstance(tail, Rerun):
                one = self.inputs[image : image + 1]
                tail = stack.enter_context(rerunning(model, self._layers[layer], one))
            found["rerun"] = self._rerun(tail, targets)
            if "without_channels" in names:
                found["without_channels"] = self._without_channels(tail, targets)
            yield {name: found[name] for name in names}
            for said in tail.warnings:
                self._note(said)

    def _check_alone(self, model: Bound, image: int) -> None:
        """That an image with what belongs to it scores as it did in the batch.

        Raises:
            ModelError: where it does not: inputs that all images share were taken for a row each.
        """
        if not model.beside or len(self.scores) == 1:
            return
        alone = self.inputs[image : image + 1]
        with undisturbed(model), torch.no_grad():
            logits = at_least_float32(model(alone)).nan_to_num()
        wanted = self.logits[image : image + 1].nan_to_num()
        near = 3e-2 if _is_half(alone) else 5e-3
        if logits.shape != wanted.shape or not _near(logits, wanted, near):
            raise ModelError(
                "an image gives other scores alone than in the batch; if one of the other inputs "
                "belongs to all images together and not a row to each, name it with shared=, else "
                "give one image at a time."
            )

    def _rerun(self, tail: Rerun, targets: Sequence[Target]) -> Callable[..., Tensor]:
        """Scores of versions of the layer's activations; only the tail computes."""
        at_once = _at_once(tail.activations, RERUNS)
        run = self._scores_of(tail, targets)
        return lambda count, make: in_chunks(run, count, make, at_once=at_once)

    def _without_channels(self, tail: Rerun, targets: Sequence[Target]) -> Callable[..., Tensor]:
        """Scores without one channel each."""
        without = WithoutChannels(tail)
        at_once = _at_once(without.version, SHARES if without.shared else RERUNS)
        run = self._scores_of(without, targets)
        return lambda channels: in_chunks(
            run, len(channels), lambda which: channels[which.to(channels.device)], at_once=at_once
        )

    def _versions(self, model: Bound, targets: Sequence[Target]) -> Callable[..., Tensor]:
        """Scores of versions of the image; the whole network computes."""
        at_once = _at_once(self.inputs[:1], FORWARDS)
        run = self._scores_of(many_runs(model, self._speed, at_once), targets)
        exact = self._scores_of(many_runs(model, EXACT, at_once), targets)

        def scores(count: int, make: Callable[[Tensor], Tensor]) -> Tensor:
            if not self._speed.exact and count and not self.notes:
                self.notes = (self._agreement(make(torch.arange(min(count, at_once))), run, exact),)
            return in_chunks(run, count, make, at_once=at_once)

        return scores

    def _agreement(
        self,
        versions: Tensor,
        run: Callable[[Tensor], Tensor],
        exact: Callable[[Tensor], Tensor],
    ) -> str:
        """How a faster run of some versions agrees with the model's own, and how fast it is."""
        run(versions)  # compiles
        scores, seconds = [], []
        for one in (run, exact):
            began = time.perf_counter()
            scores.append(one(versions).flatten().cpu())
            seconds.append(time.perf_counter() - began)
        found, wanted = scores
        spread = float(wanted.max() - wanted.min()) or 1.0
        worst = float((found - wanted).abs().max()) / spread
        return (
            f"{self._speed}: on {len(versions)} of the versions the scores are within "
            f"{worst:.2%} of their range from the model's own, in {seconds[0] / seconds[1]:.2f} "
            "times the time"
        )

    def _scores_of(
        self, model: Callable[[Tensor], Any], targets: Sequence[Target]
    ) -> Callable[[Tensor], Tensor]:
        """What the targets read, `(versions, targets)`, where `model` gives the outputs."""

        def scores(versions: Tensor) -> Tensor:
            with no_inference(), torch.no_grad():
                logits = at_least_float32(model(versions))[: len(versions)]
                return torch.stack([target(logits) for target in targets], 1)

        return scores


def _seeing(rule: Rule | None) -> AbstractContextManager[Any]:
    return ReluRule(rule) if rule else nullcontext()


def _check_operations(model: Bound, images: int) -> None:
    """A run shows its operations one by one, and all images in each.

    Raises:
        MethodError: where it does not.
    """
    if any(isinstance(one, torch.jit.ScriptModule) for one in modules_of(model)):
        raise MethodError(
            "the method looks at every activation function or bias as it is called, which "
            "TorchScript does not show; take saliency, smooth-grad or integrated-gradients, or the "
            "model it was made from."
        )
    if model.at_once not in (None, images):
        raise MethodError(
            f"the method looks at every operation of one run of the batch, and the program was "
            f"exported for batches of {model.at_once}, where {images} came; give as many, or take "
            "saliency or integrated-gradients."
        )


def _gradient(scores: Tensor, inputs: Tensor, keep_graph: bool = False) -> Tensor:
    found = None
    if has_gradient(scores):
        (found,) = torch.autograd.grad(
            scores.sum(), inputs, retain_graph=keep_graph, allow_unused=True
        )
    if found is None:
        raise MethodError(
            f"the network cuts the gradient between its input and the score ({CUTS}); take a "
            "method that looks at a layer behind the cut, or one that needs no gradient: "
            f"{WITHOUT_GRADIENT}."
        )
    return found


def _along_the_batch(by_target: Sequence[list[Tensor]]) -> list[Tensor]:
    """Each target's list of layers as one list, targets laid along the batch image by image."""
    if len(by_target) == 1:
        return by_target[0]
    return [torch.stack(layer, 1).flatten(0, 1) for layer in zip(*by_target, strict=True)]


def _at_once(version: Tensor, on_cpu: int) -> int:
    size = version.numel() * version.element_size()
    most = on_cpu if version.device.type == "cpu" else ELSEWHERE
    return max(1, min(most, VERSIONS_BYTES // size))


def _probability(target: Target) -> Target:
    """The probability of what a target is about; of a `Finer`, the same of its classes'.

    Raises:
        MethodError: for a target that has none.
    """
    if isinstance(target, Finer) and target.gamma > 1:
        raise MethodError(
            f"gamma={target.gamma:g} gives this method weights below −1; take gamma up to 1, "
            "or a method that reads scores: score-cam-increase, ablation-cam."
        )
    asked = of_probability(target)
    if asked is not None:
        return asked
    hint = " (what speaks against a class has no probability)"
    raise MethodError(
        f"this method weighs by the probability of a class, and '{target}' has none"
        f"{hint if isinstance(target, Counterfactual) else ''}; take a class, or a method that "
        "reads scores: score-cam-increase, ablation-cam."
    )


def _is_half(tensor: Tensor) -> bool:
    """Whether a network that such tensors go through computes in half precision."""
    return tensor.dtype.itemsize < 4 or torch.is_autocast_enabled(tensor.device.type)


def _near(one: Tensor, other: Tensor, tolerance: float) -> bool:
    return bool((one - other).abs().max() <= tolerance * other.abs().max())
