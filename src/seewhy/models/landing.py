"""Where a change of the picture shows in a layer: found by changing it, and looking.

What is proposed, and what is named, is tested by intervention: the picture is changed in one
corner, then in the opposite one, then the other pictures that the model takes. A layer whose map
lies on the picture changes in the corner where the picture was changed; it changes for both
corners, and not for another picture. A call that sees a tile changes for one corner alone, or for
none; one that sees a flipped copy changes in the mirrored corner.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor, nn

from seewhy.models.bound import Bound
from seewhy.models.grid import Grid
from seewhy.models.outputs import tensors_in
from seewhy.models.trace import Call
from seewhy.models.undisturbed import hooked, undisturbed
from seewhy.models.watch import Layer, replacing

Where = Literal["there", "spread", "elsewhere", "a part", "nowhere"]

NEAR = 0.25
"""A change shows there if it moves by this, of the picture's half, along every axis."""

FAR = 0.3
"""It shows elsewhere if it moves by this the other way along some axis."""

PROJECTIONS = 8
"""Random sums of the channels that are kept of each position: a change shows in them as well."""


@dataclass(frozen=True)
class Landing:
    """What a few changed pictures showed of one call.

    Attributes:
        where: a change shows `there`; it is `spread` over all positions; it shows `elsewhere`
            (a flipped or turned copy, or another order of the positions); the call sees `a part`
            of the picture alone; or it shows `nowhere`: the call does not see the picture.
        moved: along each axis, how far the change moves from the one corner to the opposite, of
            the half of the picture; negative where it moves the other way.
        mixed: whether the call changes with another picture, too.
    """

    where: Where
    moved: tuple[float, ...] = ()
    mixed: bool = False

    @property
    def clear(self) -> bool:
        """Whether it shows so clearly there that no other order of the positions is possible."""
        return self.where == "there" and all(one >= 2 * NEAR for one in self.moved)


class Landings:
    """Where a change of the picture shows in each of the calls that can be laid on it.

    Three forward passes; one more where the model takes other pictures, and at most three where a
    corner shows in none of a call's positions.
    """

    def __init__(
        self, model: nn.Module, inputs: Tensor, placed: Mapping[Call, Grid], calls: Sequence[Call]
    ) -> None:
        """Make the runs.

        Args:
            model: what is run; it comes back as it was.
            inputs: the picture, `(batch, channels, *axes)`; the first image is looked at.
            placed: the calls, and how they lie on the picture.
            calls: all calls of the run, in which those of a module are counted.
        """
        self._known: dict[Call, Landing] = {}
        self._corners: list[dict[Call, Tensor]] = [{}, {}]
        self._whole: dict[Call, Tensor] = {}
        self._mixed: dict[Call, Tensor] = {}
        if inputs.device.type == "meta":
            return
        seen = _Seeing(placed, calls)
        before = seen(model, inputs)
        for corner in (0, 1):
            changes = seen.change(model, _with_noise(inputs, corner), before)
            unchanged = [call for call, one in changes.items() if not one.any()]
            if unchanged:  # by chance? A stronger change, and another one
                other = _with_noise(inputs, corner, strength=5.0, seed=1)
                again = seen.change(model, other, before)
                changes.update({call: again[call] for call in unchanged if call in again})
            self._corners[corner] = changes
        first, second = self._corners
        if any(call in second and not (first[call].any() or second[call].any()) for call in first):
            self._whole = seen.change(model, _with_noise(inputs, None), before)
        others = model.with_other_pictures(noise_like) if isinstance(model, Bound) else None
        if others is not None:
            self._mixed = seen.change(others, inputs, before)

    def time_last(self, placed: Mapping[Call, Grid]) -> bool:
        """Whether a video's tokens are in the order of places, and of frames at each place."""
        votes = 0
        for call, grid in placed.items():
            first, second = (changes.get(call) for changes in self._corners)
            if grid.form != "tokens" or len(grid.size) != 3 or first is None or second is None:
                continue
            as_read = between(first, second)
            frames, *places = grid.size
            turned = [
                one.flatten().reshape(*places, frames).movedim(-1, 0) for one in (first, second)
            ]
            other = between(turned[0], turned[1])
            votes += (other.where == "there") - (as_read.where == "there")
        return votes > 0

    def get(self, call: Call) -> Landing | None:
        """What was seen of one call; None if nothing was."""
        while call.same_as is not None and call not in self._corners[0]:
            call = call.same_as
        first, second = (changes.get(call) for changes in self._corners)
        if first is None or second is None:
            return None
        if call not in self._known:
            where, moved = _where(first, second, self._whole.get(call))
            mixed = call in self._mixed and bool(self._mixed[call].any())
            self._known[call] = Landing(where, moved, mixed)
        return self._known[call]


def land(
    model: nn.Module, inputs: Tensor, seen: Callable[[nn.Module, Tensor], list[Tensor]]
) -> list[Landing]:
    """Where a change of the picture shows in some maps: at most four forward passes.

    Where no corner shows, and the map changes with another picture, it does not see this one.

    Args:
        model: what is run.
        inputs: the picture; its first image is looked at.
        seen: runs a model on a picture, and gives maps `(batch, channels, *positions)`. The first
            call is answered without a run where these are known of the picture itself.
    """
    before = seen(model, inputs)

    def changed(model: nn.Module, inputs: Tensor) -> list[Tensor]:
        pairs = zip(before, seen(model, inputs), strict=True)
        return [changed_in(one[0].float(), other[0].float()) for one, other in pairs]

    first, second = (changed(model, _with_noise(inputs, corner)) for corner in (0, 1))
    others = model.with_other_pictures(noise_like) if isinstance(model, Bound) else None
    mixed = [False] * len(before)
    if others is not None:
        mixed = [bool(one.any()) for one in changed(others, inputs)]
    blind = any(not (one.any() or two.any()) for one, two in zip(first, second, strict=True))
    whole: list[Tensor | None] = [torch.zeros(1) if also else None for also in mixed]
    if blind and others is None:
        whole = [*changed(model, _with_noise(inputs, None))]
    landed = []
    for one, two, three, also in zip(first, second, whole, mixed, strict=True):
        landed.append(Landing(*_where(one, two, three), mixed=also))
    return landed


def outputs_of(
    model: nn.Module, inputs: Tensor, modules: Set[nn.Module], disturbed: Layer | None = None
) -> list[Tensor]:
    """What some modules give in one run, reduced to a few sums of each tensor.

    Args:
        model: what is run; it comes back as it was.
        inputs: the picture.
        modules: those that are looked at, each time they run.
        disturbed: a call of a layer to whose output noise is added; call None is every one.
    """
    thread, number = threading.get_ident(), 0
    found: list[Tensor] = []

    def see(module: nn.Module, args: Any, output: Any) -> None:  # noqa: ARG001
        if threading.get_ident() == thread:
            for _, tensor in tensors_in(output):
                dense = tensor.dequantize() if tensor.is_quantized else tensor
                flat = dense.detach().double().flatten()
                found.append(torch.stack([flat.sum(), flat.square().sum(), flat[::7].sum()]))

    def disturb(tensor: Tensor) -> Tensor | None:
        nonlocal number
        number += 1
        if disturbed is None or disturbed.call not in (None, -1, number - 1):
            return None
        if not tensor.is_quantized:
            return tensor + noise_like(tensor)
        drawn = noise_like(tensor.dequantize())
        scale, zero = tensor.q_scale(), tensor.q_zero_point()
        return torch.quantize_per_tensor(tensor.dequantize() + drawn, scale, zero, tensor.dtype)

    with ExitStack() as stack:
        stack.enter_context(undisturbed(model))
        stack.enter_context(torch.no_grad())
        if disturbed is not None:
            stack.enter_context(replacing(disturbed, disturb))
        stack.enter_context(hooked([(one, see) for one in modules]))
        model(inputs.clone())
    return found


def differ(ones: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    """Whether what two runs gave is not the same."""
    return len(ones) != len(others) or any(
        not torch.equal(one.nan_to_num(), other.nan_to_num())
        for one, other in zip(ones, others, strict=True)
    )


def between(first: Tensor, second: Tensor) -> Landing:
    """Where the changes of the top right corner, and of the bottom left, show."""
    return Landing(*_where(first, second, None))


def _where(first: Tensor, second: Tensor, whole: Tensor | None) -> tuple[Where, tuple[float, ...]]:
    """From how much each position changes for one corner, for the opposite one, for all."""
    seen = [bool(one.any()) for one in (first, second)]
    if not all(seen):
        nowhere = not any(seen) and whole is not None and not bool(whole.any())
        return ("nowhere" if nowhere else "a part"), ()
    moved = tuple(
        float(there - here) * side
        for here, there, side in zip(
            _centre(first), _centre(second), _sides(first.ndim), strict=True
        )
    )
    along = [one for one, size in zip(moved, first.shape, strict=True) if size > 1]
    if any(one <= -FAR for one in along):
        return "elsewhere", moved
    near = all(one >= NEAR for one in along)
    shares = (_share(one, corner) for corner, one in enumerate((first, second)))
    return ("there" if near and all(one > 0.5 for one in shares) else "spread"), moved


def _share(changes: Tensor, corner: int) -> Tensor:
    """How much of the changes lies in the corner's own half of every axis."""
    near = changes
    for axis, side in enumerate(_sides(changes.ndim)):
        size = changes.shape[axis]
        half = -(-size // 2)
        near = near.narrow(axis, 0 if (side > 0) is (corner == 0) else size - half, half)
    return near.sum() / changes.sum()


def _sides(axes: int) -> tuple[int, ...]:
    """Along each axis, 1 if the first corner is at its start, −1 at its end: the top right one."""
    return (1,) if axes == 1 else (*(1,) * (axes - 1), -1)


def _centre(changes: Tensor) -> list[Tensor]:
    """The changes' centre of mass, along each axis from −1 to 1."""
    total = changes.sum()
    centres = []
    for axis, size in enumerate(changes.shape):
        others = [one for one in range(changes.ndim) if one != axis]
        profile = changes.sum(others) if others else changes
        places = (torch.arange(size, dtype=changes.dtype) + 0.5) / size * 2 - 1
        centres.append((profile * places.to(profile)).sum() / total)
    return centres


def _with_noise(
    inputs: Tensor, corner: int | None, *, strength: float = 1.0, seed: int = 0
) -> Tensor:
    """A picture with noise on a quarter of each axis, in the top right or the bottom left corner.

    Args:
        inputs: the picture, `(batch, channels, *axes)`.
        corner: 0 or 1; None for noise everywhere.
        strength: the noise, by the picture's own spread.
        seed: draws the noise.
    """
    other = inputs.clone()
    axes = inputs.shape[2:]
    region: list[Any] = [...]
    for length, side in zip(axes, _sides(len(axes)), strict=True):
        quarter = max(1, length // 4)
        at_start = (side > 0) is (corner == 0)
        region.append(slice(0, quarter) if at_start else slice(length - quarter, length))
    box = other if corner is None else other[tuple(region)]
    box += noise_like(box, inputs, strength=strength, seed=seed)
    return other


def noise_like(
    tensor: Tensor, picture: Tensor | None = None, *, strength: float = 1.0, seed: int = 0
) -> Tensor:
    """Noise for a tensor, of the picture's own spread (or its own), or of 1 where that has none."""
    spread = float((tensor if picture is None else picture).float().std(correction=0))
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(tensor.shape, generator=generator)
    return (drawn * (strength * (spread if spread > 1e-6 else 1.0))).to(tensor)


class _Seeing:
    """Runs of a model in which some calls are seen, a few sums of the channels at each position."""

    def __init__(self, placed: Mapping[Call, Grid], calls: Sequence[Call]) -> None:
        self._runs: dict[nn.Module, list[dict[str, Call]]] = {}
        # A container's output that a part of it has given is seen there.
        self._placed = {
            one: grid
            for one, grid in placed.items()
            if one.same_as is None or placed.get(one.same_as) != grid
        }
        modules = {call.module for call in self._placed}
        for call in calls:  # a run of a module is a call for each of its tensors
            if call.module in modules:
                runs = self._runs.setdefault(call.module, [])
                if not runs or call.path in runs[-1]:
                    runs.append({})
                runs[-1][call.path] = call

    def __call__(self, model: nn.Module, inputs: Tensor) -> dict[Call, Tensor]:
        """`(sums, *positions)` of each call, of the first image."""
        found: dict[Call, Tensor] = {}
        thread = threading.get_ident()
        waiting = {module: iter(runs) for module, runs in self._runs.items()}

        def see(module: nn.Module, args: Any, output: Any) -> None:  # noqa: ARG001
            if threading.get_ident() != thread:
                return
            run = next(waiting[module], {})
            tensors = list(tensors_in(output))
            for path, tensor in tensors:
                call = run.get(path if len(tensors) > 1 else "")
                if call is None or call not in self._placed or tuple(tensor.shape) != call.shape:
                    continue
                dense = tensor.dequantize() if tensor.is_quantized else tensor
                found[call] = _sums(self._placed[call].of(dense)[0])

        with undisturbed(model), hooked([(one, see) for one in self._runs]), torch.no_grad():
            model(inputs.clone())
        return found

    def change(
        self, model: nn.Module, inputs: Tensor, before: Mapping[Call, Tensor]
    ) -> dict[Call, Tensor]:
        """How much each position of each call is changed, squared; rounding is 0."""
        after = self(model, inputs)
        found = {}
        for call, one in before.items():
            if call not in after or after[call].shape != one.shape:
                continue  # the network takes another course
            found[call] = changed_in(one, after[call])
        return found


def changed_in(before: Tensor, after: Tensor) -> Tensor:
    """How much each position is changed, squared, of `(channels, *positions)`; rounding is 0."""
    change = (after - before).square().sum(0)
    least = 1e-10 * before.square().sum(0).mean()
    return torch.where(change > least, change, 0.0).nan_to_num()


@lru_cache(maxsize=32)
def _weights(channels: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(PROJECTIONS, channels, generator=generator)


def _sums(maps: Tensor) -> Tensor:
    """A few random sums of the channels at each position; the channels if there are few."""
    flat = maps.detach().float().flatten(1)
    if len(flat) > PROJECTIONS:
        flat = _weights(len(flat)).to(flat) @ flat
    return flat.reshape(-1, *maps.shape[1:]).cpu()
