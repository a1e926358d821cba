"""The layer that is looked at where none is named, and why."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial

import torch
from torch import Tensor, nn

from seewhy.errors import LayerError, ModelError
from seewhy.models.bound import Bound
from seewhy.models.exported import is_a, kind_of
from seewhy.models.grid import Grid, Stack, find_grid
from seewhy.models.landing import Landings, Where, differ, outputs_of
from seewhy.models.outputs import find_logits, tensors_in
from seewhy.models.placing import (
    Key,
    holds_for,
    map_sizes,
    named_part,
    placed_calls,
    tokens_of_others,
    with_layouts,
)
from seewhy.models.stacking import stacked_layers
from seewhy.models.trace import Call, trace
from seewhy.models.undisturbed import given_back, undisturbed
from seewhy.models.watch import Layer, has_gradient, watch
from seewhy.precision import at_least_float32


@dataclass(frozen=True)
class Proposal:
    """A layer and why it was chosen."""

    layer: Layer
    reason: str


REMEMBERED = 16
"""So many proposals of one model are kept, for as many sizes of picture, outputs or inputs."""


def propose_layer(model: nn.Module, inputs: Tensor) -> Proposal:
    """The last map or tokens before the head on which the score depends everywhere.

    From one real forward pass, and for tokens from a gradient: behind the last attention a
    classifier reads its class token alone, and what the others hold there says nothing. Never a
    map of one position, nor the map of class scores, nor a pooling, nor a layer that hands its
    input on. Tokens that are read through a normalisation of each are looked at behind it: before
    it their scale has no say, and gradient times activation adds up to zero. The answer is
    remembered as long as the model's modules, the picture's size and the output stay the same.

    Raises:
        LayerError: if the network has no such layer.
    """
    model, named = named_part(model)
    key = holds_for(model, named, inputs)
    known = _proposals.setdefault(named, {})
    if key in known:
        return known[key]
    outputs, calls = trace(model, inputs, named)
    tensors = [tensor for _, tensor in tensors_in(outputs)]
    if isinstance(model, Bound) and model.integers():
        proposal = _beside_text(model, inputs, calls, tensors)
    else:
        proposal = _propose(model, inputs, with_layouts(model, inputs, calls), tensors)
    if key is not None:
        while len(known) >= REMEMBERED:
            del known[next(iter(known))]
        known[key] = proposal
    return proposal


# Remembered outside the models, which stay untouched, and forgotten with them.
_proposals: weakref.WeakKeyDictionary[nn.Module, dict[Key, Proposal]] = weakref.WeakKeyDictionary()


def _propose(
    model: nn.Module, inputs: Tensor, calls: Sequence[Call], outputs: Sequence[Tensor]
) -> Proposal:
    """The choice, from a trace: the last call whose every position the score depends on.

    A layer that sees this picture alone comes before one in which it meets another picture, and
    that before several rows or calls that together make the picture's map.
    """
    placed = dict(placed_calls(calls, inputs))
    landed = Landings(model, inputs, placed, calls)
    if inputs.ndim == 5 and landed.time_last(placed):
        placed = {call: replace(grid, time_last=True) for call, grid in placed.items()}
        landed = Landings(model, inputs, placed, calls)
    choice = _Choice(model, inputs, calls, outputs, placed, landed)
    found = choice.made(mixed=False)
    if found is None and choice.mixed:
        choice = replace(choice, passed_over=[])
        found = choice.made(mixed=True)
    found = choice.of_rows() if found is None else found
    if found is None and choice.passed_over and _is_flat(model, inputs):
        found = replace(choice, passed_over=[], flat=True).made(mixed=bool(choice.mixed))
    if found is None:
        raise choice.nothing()
    return found


def _beside_text(
    model: nn.Module, inputs: Tensor, calls: list[Call], outputs: Sequence[Tensor]
) -> Proposal:
    """The choice for a model that takes a text as well.

    A part that sees the picture alone comes first (the tower of a language model). Where there is
    none but the first convolution, the picture's tokens among the text's are looked at.
    """
    found, reason = None, None
    try:
        found = _propose(model, inputs, calls, outputs)
        entered = [one.entered or () for one in calls if one.module is found.layer.module]
        if not any(each[1:] == inputs.shape[1:] for each in entered):
            return found
    except LayerError as error:
        reason = error
    laid = with_layouts(model, inputs, calls)
    if any(one.laid is not None for one in laid):
        return _propose(model, inputs, laid, outputs)
    if found is None:
        assert reason is not None
        raise reason
    return found


@dataclass
class _Choice:
    """The choice of a layer among the calls of a run.

    Attributes:
        model, inputs, calls, outputs: the run.
        placed: the calls that can be laid on the picture, and how.
        landed: where a change of the picture shows in each of them.
        passed_over: calls whose positions the score does not depend on.
        refused: calls that do not stand for the picture, by name.
        mixed: calls that also see another picture than the one that is asked about.
        mingled: how many tokens there are that are in an order of their own.
        flat: whether the score is saturated on this picture, so that its gradient is zero even at
            the pixels and tells nothing of a layer: any map that follows the picture then counts.
    """

    model: nn.Module
    inputs: Tensor
    calls: Sequence[Call]
    outputs: Sequence[Tensor]
    placed: Mapping[Call, Grid]
    landed: Landings
    passed_over: list[str] = field(default_factory=list)
    refused: dict[str, Where] = field(default_factory=dict)
    mixed: list[str] = field(default_factory=list)
    mingled: set[int] = field(default_factory=set)
    flat: bool = False

    def __post_init__(self) -> None:
        self._of_others = cache(partial(tokens_of_others, self.model, self.inputs, self.calls))

    def made(self, *, mixed: bool) -> Proposal | None:
        """The layer, if there is one; `mixed`: it may see another picture as well."""
        sizes = map_sizes(self.calls, self.inputs)
        for call, grid, unplaced in _Candidates(
            self.calls, self.inputs, self.placed, self._class_counts(), self.passed_over,
            self._feeds,
        ):  # fmt: skip
            if not self._stands_for_picture(call, grid) or (not mixed and self._is_mixed(call)):
                continue
            layer = replace(_layer(call, self.calls, sizes), time_last=grid.time_last)
            if unplaced is not None and _as_many(unplaced, grid) and self._of_picture(unplaced):
                if self._passed_over_behind(unplaced):  # a later map was no better
                    raise self.nothing()
                raise LayerError(
                    f"the last spatial map, '{layer}' ({grid}), is followed by layers on tokens "
                    f"{unplaced.shape} that have no place on the picture, so it does not "
                    "represent the decision. Choose a layer with layer=."
                )
            looked = _look(self.model, self.inputs, layer, of_one=grid.form == "tokens")
            if self.flat and grid.form != "tokens":
                looked = None
            if looked is None or _is_read(looked[1], 0.5 if grid.form == "tokens" else 0.0):
                if looked is not None and grid.form == "tokens" and _is_scale_blind(*looked):
                    call, grid = self._normalised(call, grid)
                return self._proposal(call, grid, sizes, mixed=mixed)
            if grid.form == "tokens" or not call.path:
                self.passed_over.append(_source(call).name)
        return None

    def _passed_over_behind(self, call: Call) -> bool:
        """Whether a map that runs later was passed over, as the score depends on none of it."""
        behind = {
            one.name for one in self.calls[self.calls.index(call) + 1 :] if one in self.placed
        }
        return not behind.isdisjoint(self.passed_over)

    def _class_counts(self) -> frozenset[int]:
        """How many channels a map of scores may have, as the outputs' shapes say."""
        dense = self.inputs.ndim  # a segmentation's output has classes for channels too
        counts = {one.shape[1] for one in self.outputs if one.ndim in (2, dense)}
        if dense == 4:  # one number for each pixel, without an axis for it; cells of a detector
            for one in self.outputs:
                if one.ndim == 3:
                    counts |= {1, *(size - box for size in one.shape[1:] for box in (0, 4, 5))}
        return frozenset(counts)

    def _proposal(
        self, call: Call, grid: Grid, sizes: tuple[tuple[int, ...] | Grid, ...], *, mixed: bool
    ) -> Proposal:
        """A call with what runs beside it, and why."""
        layer, members = _layer(call, self.calls, sizes), self._members(call)
        self._check_alone([*members, call])
        layer = replace(layer, time_last=self.placed[call].time_last)
        if members:
            copies = Stack(len(members) + 1, "copies", flips=((),) * (len(members) + 1))
            first, *others = (_layer(one, self.calls, sizes) for one in (*members, call))
            layer = replace(first, stack=copies, beside=tuple(others))
        return Proposal(layer, self._reason(layer, call, grid, mixed=mixed))

    def _check_alone(self, chosen: Sequence[Call]) -> None:
        """Check that no other network stands beside that of the chosen calls.

        Another one begins with a part that takes the picture, does not feed the chosen calls, is
        fed by no other part, and has a say in the scores. Where only one part takes the picture,
        as in nearly all networks, nothing is run.

        Raises:
            LayerError: if there is one; added up, the chosen calls' map would be its part alone.
        """
        if self.inputs.device.type == "meta" or self.of_boxes:
            return
        stems = {
            call.module: call
            for call in reversed(self.calls)
            if _has_own_weights(call.module) and self._takes_picture(call)
        }
        own = {call.module for call in chosen}
        for module, stem in stems.items() if len(stems) > 1 else ():
            landing = self.landed.get(stem)
            if module in own or landing is None or landing.where == "nowhere":
                continue
            others = [one for one in stems.values() if one is not stem]
            if self._feeds(stem, chosen) or any(self._feeds(one, [stem]) for one in others):
                continue
            if _has_a_say(self.model, self.inputs, _layer(stem, self.calls, ())):
                raise LayerError(
                    "the scores come from several parallel networks with different "
                    f"architectures: '{stem.name}' begins one, and '{chosen[-1].name}' belongs "
                    "to another, so no layer represents all of them. Explain one of them at a "
                    "time (give that member as the model), choose a layer with layer=, or use "
                    "a method that uses no layer (saliency, integrated-gradients, occlusion, "
                    "rise)."
                )

    def _takes_picture(self, call: Call) -> bool:
        """Whether what a call takes has the picture's form, of whatever size."""
        entered = call.entered or ()
        return len(entered) == self.inputs.ndim and entered[:2] == self.inputs.shape[:2]

    @property
    def of_boxes(self) -> bool:
        """Whether the model is a detector, with a head for every scale."""
        return any(one.ndim == 3 and one.shape[-1] > 4 for one in self.outputs)

    def _stands_for_picture(self, call: Call, grid: Grid) -> bool:
        """Whether a call's positions are the picture's.

        Raises:
            LayerError: for a map behind which its positions are put into an unknown order.
        """
        if not self._lands(call):
            return False
        if grid.form != "tokens":
            if math.prod(grid.size) in self.mingled:
                raise self.nothing()
            return True
        if not self._of_picture(call):
            return False
        landing = self.landed.get(call)
        if landing is None or landing.where == "there":
            return True
        # What attention spreads was in its place at first; what never was is in another order.
        alike = (one for one, other in self.placed.items() if other == grid)
        if any(
            known is not None and known.where == "there" for known in map(self.landed.get, alike)
        ) or self._is_spread_before(call, grid):
            return True
        self.refused.setdefault(call.name, "elsewhere")
        self.mingled.add(math.prod(grid.size))
        return False

    def _is_spread_before(self, call: Call, grid: Grid) -> bool:
        """Whether a change is spread already over the last map that tokens are made of.

        Each position of a small map sees the whole picture, and their order then shows in nothing.
        """
        behind = set(self.calls[self.calls.index(call) :])
        maps = [
            one
            for one, other in self.placed.items()
            if other.size == grid.size and other.form != "tokens" and one not in behind
        ]
        landings = [one for one in map(self.landed.get, maps) if one and one.where != "nowhere"]
        return bool(landings) and landings[-1].where == "spread"

    def _normalised(self, call: Call, grid: Grid) -> tuple[Call, Grid]:
        """The normalisation behind a call, through which alone its tokens are read."""
        behind = set(self.calls[self.calls.index(call) + 1 :])
        for one, other in self.placed.items():
            norm = "norm" in kind_of(one.module).lower()
            if one in behind and norm and not one.passes_through and other.size == grid.size:
                sizes = map_sizes(self.calls, self.inputs)
                layer = replace(_layer(one, self.calls, sizes), time_last=other.time_last)
                looked = _look(self.model, self.inputs, layer, of_one=True)
                return (one, other) if looked and _is_read(looked[1], 0.5) else (call, grid)
        return call, grid

    def _members(self, call: Call) -> list[Call]:
        """The same part of other networks beside a call's, as those of an ensemble, in order.

        Their names differ from its name in a number alone; none of them feeds the call, and the
        score depends on each.
        """
        found: list[Call] = []
        in_a_row: set[int] = set()  # which numbers in the name count what runs one after another
        for one in reversed(self.calls[: self.calls.index(call)]):
            number = _differing_number(one.name, call.name)
            alike = one.path == call.path and one.shape == call.shape
            if number is None or number in in_a_row or not alike or not self._lands(one):
                continue
            if self._feeds(one, [call]) or self._in_a_row(one, call, number):
                in_a_row.add(number)
                continue
            looked = _look(self.model, self.inputs, _layer(one, self.calls, ()))
            if looked is None or _is_read(looked[1], 0.0):
                found.insert(0, one)
        return found

    def _in_a_row(self, one: Call, other: Call, number: int) -> bool:
        """Whether parts of two calls' names, up to the number in which they differ, run in a row.

        Parts of a decoder's layers may all read the same, and yet the layers follow each other.
        """
        whole = {".".join(each.name.split(".")[: number + 1]): each for each in (one, other)}
        runs = [each for each in self.calls if each.name in whole]
        first, last = (
            [each for each in runs if each.name == name and not each.passes_through]
            for name in whole
        )
        return bool(first and last) and self._feeds(first[-1], [last[-1]])

    def of_rows(self) -> Proposal | None:
        """The last layer of which several rows, or calls, together make the picture's map."""
        for one in stacked_layers(self.model, self.inputs, self.calls):
            looked = _look(self.model, self.inputs, one.layer)
            read = looked is None or _is_read(looked[1], 0.0)
            if read and not _is_pooling(one.call.module):
                assert one.call.shape is not None
                positions = "×".join(map(str, one.grid.size))
                return Proposal(
                    one.layer,
                    f"'{one.layer}' gives the last spatial feature map before the head: "
                    f"{one.grid.channels(one.call.shape)} channels of {positions}, {one.said}",
                )
        return None

    def nothing(self) -> LayerError:
        """Why there is no layer, and what to do."""
        pixels = "use a method that uses no layer (saliency, integrated-gradients, occlusion, rise)"
        if self.refused:
            name, where = next(iter(self.refused.items()))
            runs = sum(one.name == name and one.path == self._path(name) for one in self.calls)
            times = f" and is called {runs} times" if runs > 1 else ""
            if where == "a part":
                return LayerError(
                    f"'{name}' sees only a part of the picture (a tile, a window){times}, and "
                    "no layer sees the whole picture in its own order, so none represents the "
                    f"picture. Give the network one part at a time, or {pixels}."
                )
            if where == "elsewhere":
                return LayerError(
                    "a change in one corner of the picture appears in another corner of "
                    f"'{name}': it sees a flipped or turned copy of the picture, or has its "
                    f"positions in another order{times}. To avoid this, {pixels}."
                )
        if self.passed_over:
            return LayerError(
                "the score depends on no position of "
                f"{', '.join(map(repr, self.passed_over[:3]))} or of the layers before. The "
                "head may still be zero, or the gradient may be interrupted. Choose a "
                "layer with layer=."
            )
        if self.refused:
            return LayerError(
                f"no layer changes with the picture: '{next(iter(self.refused))}' gives the "
                "same values for another picture. If this is not the input that the model "
                "uses, choose it with picture=."
            )
        return LayerError(
            "no layer of this model gives a spatial feature map (batch, channels, "
            "height, width) with more than one position, channels last, or tokens. "
            "Choose a layer; list them with: seewhy layers."
        )

    def _path(self, name: str) -> str:
        return next(one.path for one in self.calls if one.name == name)

    def _lands(self, call: Call) -> bool:
        """Whether a change of the picture shows where it was made, or everywhere."""
        landing = self.landed.get(call)
        if landing is None or landing.where in ("there", "spread"):
            return True
        self.refused.setdefault(call.name, landing.where)
        return False

    def _is_mixed(self, call: Call) -> bool:
        landing = self.landed.get(call)
        if landing is None or not landing.mixed:
            return False
        self.mixed.append(call.name)
        return True

    def _of_picture(self, call: Call) -> bool:
        """Whether a call's tokens are the picture's, and not those of a text, or queries."""
        landing = self.landed.get(call)
        assert call.shape is not None
        if landing is not None and landing.clear:
            return True
        return call not in self._of_others(call.shape[1])

    def _feeds(self, call: Call, others: Sequence[Call]) -> bool:
        """Whether one of the others changes with what a call gives."""
        if self.inputs.device.type == "meta":
            return True
        runs = [one for one in self.calls if one.module is call.module and one.path == call.path]
        layer = Layer(call.name, call.module, call.path, runs.index(call))
        modules = {one.module for one in others}
        before, after = (
            outputs_of(self.model, self.inputs, modules, layer if disturbed else None)
            for disturbed in (False, True)
        )
        return differ(before, after)

    def _reason(self, layer: Layer, call: Call, grid: Grid, *, mixed: bool) -> str:
        assert call.shape is not None
        positions = "×".join(map(str, grid.size))
        holds = f"{grid.channels(call.shape)} channels of {positions}"
        other = ""
        if mixed:
            other = "; it depends on the other pictures, too, as every layer does"
        elif self.mixed:
            other = f"; later layers, such as '{self.mixed[0]}', depend on other pictures, too"
        if layer.beside:
            count = len(layer.places)
            other = f" each; they are {count} networks side by side, whose maps are added{other}"
        if grid.form != "tokens":
            return f"'{layer}' gives the last spatial feature map before the head: {holds}{other}"
        aside = later = ""
        if grid.behind:
            aside = f", {grid.aside} tokens before and behind the picture's set aside"
        elif grid.extra:
            aside = f", {grid.extra} class or register token{'s' * (grid.extra > 1)} set aside"
        if self.passed_over:
            before = self.passed_over[-1]
            later = f"; of what '{before}' gives, the score reads no token of the picture"
        return (
            f"'{layer}' gives the last tokens on which the score depends: "
            f"{holds}{aside}{later}{other}"
        )


@dataclass
class _Candidates:
    """A run's calls from the last to the first, with tokens behind them whose grid is not known.

    Not what lies inside of a block that was passed over (its input is what is left to look at),
    nor inside of a part that takes tokens in and sums them up, such as an attention pooling, nor
    one number for each frame; all that is only tried when nothing else is left.

    Attributes:
        calls, inputs, placed: of the run (see `_Choice`).
        class_counts: how many channels the scores may have.
        passed_over: names of calls that were tried; it grows on the way.
        feeds: whether one of some calls changes with what another one gives.
        behind: calls with weights that come later.
        summing: names of parts that sum up tokens.
    """

    calls: Sequence[Call]
    inputs: Tensor
    placed: Mapping[Call, Grid]
    class_counts: frozenset[int]
    passed_over: Sequence[str]
    feeds: Callable[[Call, Sequence[Call]], bool]
    behind: list[Call] = field(default_factory=list)
    summing: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[tuple[Call, Grid, Call | None]]:
        # A map of scores may be the sum of others, as in FCN: all of them are.
        dense = any(not one.name and len(one.shape or ()) == self.inputs.ndim for one in self.calls)
        sizes = map_sizes(self.calls, self.inputs)
        unplaced: Call | None = None
        inside: list[tuple[Call, Grid, Call | None]] = []
        for call in reversed(self.calls):
            grid = self.placed.get(call)
            scores = False
            if grid is not None and _is_made(call, grid):
                scores = self._are_scores(call, grid)
                if not scores and not any(_is_pooling(x.module) for x in (call, _source(call))):
                    if self._is_shut(call, grid):
                        inside.append((call, grid, unplaced))
                    else:
                        yield call, grid, unplaced
            if grid is None and self._takes_tokens(call, sizes):
                self.summing.append(call.name)
            if _has_own_weights(call.module) and not (dense and scores):
                self.behind.append(call)
                if call.name and grid is None and len(call.shape or ()) == 3:
                    unplaced = call
        yield from inside

    def _takes_tokens(self, call: Call, sizes: tuple[tuple[int, ...] | Grid, ...]) -> bool:
        if not call.name or call.entered is None:
            return False
        taken = find_grid(call.entered, self.inputs.shape, None, sizes)
        return taken is not None and taken.form == "tokens"

    def _are_scores(self, call: Call, grid: Grid) -> bool:
        """Whether a call gives the scores of classes, behind which no weights come."""
        assert call.shape is not None
        if grid.channels(call.shape) not in self.class_counts:
            return False
        of_each = grid.form == "tokens" and is_a(call.module, nn.Linear)
        return of_each or not self.behind or not self.feeds(call, self.behind)

    def _is_shut(self, call: Call, grid: Grid) -> bool:
        """Whether a call is only tried when nothing else is left."""
        shut = [*self.passed_over, *(self.summing if grid.form == "tokens" else ())]
        plane = grid.size[1:] if len(grid.size) == 3 else grid.size
        of_frames = len(plane) == 2 and math.prod(plane) == 1
        return of_frames or any(call.name.startswith(f"{name}.") for name in shut)


def _is_made(call: Call, grid: Grid) -> bool:
    """Whether a call gives something new.

    What passes through a dropout was made in the network's own forward where no part gave it:
    tokens with their places added, say.
    """
    return not call.passes_through or (call.same_as is None and grid.form == "tokens")


def _layer(call: Call, calls: Sequence[Call], sizes: tuple[tuple[int, ...] | Grid, ...]) -> Layer:
    """Where a call's tensor is; of a module that runs several times, which call (-1: the last)."""
    runs = [one for one in calls if one.module is call.module and one.path == call.path]
    number = None if len(runs) == 1 else -1 if call is runs[-1] else runs.index(call)
    return Layer(call.name, call.module, call.path, number, known=sizes)


def _differing_number(one: str, other: str) -> int | None:
    """Which part of two dotted names is a number and alone is another in each."""
    parts = list(zip(one.split("."), other.split("."), strict=False))
    different = [index for index, (a, b) in enumerate(parts) if a != b]
    if one.count(".") != other.count(".") or len(different) != 1:
        return None
    (index,) = different
    return index if all(part.isdigit() for part in parts[index]) else None


def _source(call: Call) -> Call:
    """The call that first gave a container's output."""
    while call.same_as is not None:
        call = call.same_as
    return call


def _is_read(gradient: Tensor, share: float) -> bool:
    """Whether the outputs' gradient reaches more than that share of a layer's positions.

    Where only the class token is read, the others' gradient is exactly zero.
    """
    return bool((gradient != 0).any(1).float().mean() > share)


def _is_scale_blind(activations: Tensor, gradient: Tensor) -> bool:
    """Whether the outputs do not change when a position's activations are all made larger.

    So it is where each position is read through a normalisation of its own. The gradient is then
    orthogonal to the activations: their product, of which many methods are made, adds up to zero.
    """
    products = activations * gradient
    return bool(products.sum(1).abs().sum() < 5e-3 * products.abs().sum())


@given_back
def _look(
    model: nn.Module, inputs: Tensor, layer: Layer, *, of_one: bool = False
) -> tuple[Tensor, Tensor] | None:
    """A layer's activations, and the gradient by them of the predicted class, or of all outputs.

    Of a detector's boxes it is that of all of them, or of one: tokens that are read by a box each
    tell nothing of the others, and maps of one scale nothing of the boxes of another.

    The gradient is zeros where the outputs do not depend on the layer; None for a network that
    knows no gradient, and whose outputs change with the layer.
    """
    if inputs.device.type == "meta":
        return None
    (activations,), (gradient,) = _gradients(model, inputs, [layer], of_one=of_one)
    if gradient is None:
        return None if _has_a_say(model, inputs, layer) else (activations, 0 * activations)
    return activations, gradient


def reached(
    model: nn.Module, inputs: Tensor, layers: Sequence[Layer]
) -> tuple[list[Tensor], list[float]]:
    """What some layers give, and how large the predicted class's gradient is there at most.

    Infinite for a network that knows no gradient.
    """
    activations, gradients = _gradients(model, inputs, layers)
    strengths = [float("inf") if one is None else float(one.abs().max()) for one in gradients]
    return activations, strengths


def _gradients(
    model: nn.Module, inputs: Tensor, layers: Sequence[Layer], *, of_one: bool = False
) -> tuple[list[Tensor], list[Tensor | None]]:
    """Some layers' activations, and the gradients by them of the predicted class.

    Zeros where the outputs do not depend on a layer; None for a network that knows no gradient.
    """
    with watch(model, layers) as seen:
        outputs = seen(inputs)
        activations = seen.activations
        nothing: list[Tensor | None] = [torch.zeros_like(one) for one in activations]
        try:
            read = [find_logits(outputs)]
        except ModelError:  # which it is will be said later; here any dependence counts
            read = [tensor for _, tensor in tensors_in(outputs)]
        if not all(bool(tensor.isfinite().all()) for tensor in read):
            return activations, [None] * len(
                layers
            )  # the gradient of what is no number says nothing
        read = [tensor for tensor in read if has_gradient(tensor)]
        if not read:  # nor does any other output, or the layer lies on the way to another alone
            known = any(has_gradient(one) for _, one in tensors_in(outputs))
            return activations, nothing if known else [None] * len(layers)
        score = sum(_direction(at_least_float32(one), inputs, of_one) for one in read)
        assert isinstance(score, Tensor)
        if not bool(score.isfinite()):  # of NaN the gradient says nothing
            return activations, [None] * len(layers)
        try:
            return activations, list(seen.gradients(score))
        except LayerError:
            if len(layers) == 1:
                return activations, nothing
    alone = [_gradients(model, inputs, [one], of_one=of_one) for one in layers]
    return activations, [gradient for _, (gradient,) in alone]


def _is_flat(model: nn.Module, inputs: Tensor) -> bool:
    """Whether the score is saturated on this picture, and another one on others.

    The gradient of the predicted class is then zero at every pixel, and yet the outputs change for
    pictures far from this one, which those of a head that is still zero do not.
    """
    with undisturbed(model), torch.enable_grad():
        pixels = inputs.detach().clone().requires_grad_()
        try:
            logits = find_logits(model(pixels.clone()))
        except ModelError:
            return False
        if not has_gradient(logits):
            return False
        score = _direction(at_least_float32(logits), pixels)
        (gradient,) = torch.autograd.grad(score, pixels, allow_unused=True)
        if gradient is None or bool(gradient.any()):
            return False
    own = outputs_of(model, inputs, {model})
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(inputs.shape, generator=generator).to(inputs)
    others = (-10 * inputs, 10 * drawn, -10 * drawn)
    return any(differ(own, outputs_of(model, one, {model})) for one in others)


def _has_a_say(model: nn.Module, inputs: Tensor, layer: Layer) -> bool:
    """Whether the outputs change with what a layer gives, where no gradient can tell.

    Outputs that are not finite leave it open.
    """
    before = outputs_of(model, inputs, {model})
    if not all(bool(one.isfinite().all()) for one in before):
        return True  # what is no number does not change; the map's warnings will say so
    after = outputs_of(model, inputs, {model}, layer)
    return differ(before, after)


def _direction(output: Tensor, inputs: Tensor, of_one: bool = False) -> Tensor:
    """Reduce an output to one number: a sum over all of it, or the largest of class scores.

    All classes together would read tokens of which each class reads only its own (VOLO); all
    numbers of a detector would read the part that places boxes, which has no say in any score.
    `of_one`: of a detector's boxes the one with the highest score that is not saturated.
    """
    if output.ndim == 2:
        return output.amax(1).sum()
    of_boxes = output.ndim == 3 and output.shape[-1] > 4 and inputs.ndim == 4
    if of_boxes and not Grid(tuple(output.shape[1:])).fits(inputs.shape):
        output = output[..., 4:]
        if of_one and bool(((output >= 0) & (output <= 1)).all()):
            saturated = (output < 1e-6) | (output > 1 - 1e-6)
            open_ones = output.masked_fill(saturated & ~saturated.all(), 0.0)
            return open_ones.flatten(1).amax(1).sum()
    generator = torch.Generator().manual_seed(0)
    return (output * torch.randn(output.shape, generator=generator).to(output)).sum()


def _as_many(unplaced: Call, grid: Grid) -> bool:
    assert unplaced.shape is not None
    return 0.2 < unplaced.shape[1] / math.prod(grid.size) < 2


def _is_pooling(module: nn.Module) -> bool:
    return "pool" in kind_of(module).lower() or is_a(module, nn.Upsample)


def _has_own_weights(module: nn.Module) -> bool:
    return any(True for _ in module.parameters(recurse=False))
