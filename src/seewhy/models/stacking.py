"""Several rows or calls of a layer that together see the picture: found, and proved.

A network may cut its picture into tiles, look at flipped copies of it, run a video frame by frame,
or run two pictures as one batch. No output of a layer then is the picture's map, and several make
it. How they do is a hypothesis; it is taken only when changes of the picture prove it: every row
changes where it is said to lie, and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from seewhy.models.bound import Bound
from seewhy.models.grid import Grid, Stack, find_grid
from seewhy.models.landing import NEAR, Landing, between, changed_in, noise_like
from seewhy.models.trace import Call
from seewhy.models.undisturbed import undisturbed
from seewhy.models.watch import Layer, replacing

MOST_ROWS = 64
"""More rows than these are windows of an attention, and nothing that could be tried one by one."""

MOST_GROUPS = 6
"""So many layers are tried, from the last."""


@dataclass(frozen=True)
class Stacked:
    """A layer of which several rows make the map, and how they lie.

    Attributes:
        layer: where they are.
        grid: how they lie on the picture.
        call: the last of its calls.
        said: in words, what the rows are.
    """

    layer: Layer
    grid: Grid
    call: Call
    said: str


def stacked_layers(model: nn.Module, inputs: Tensor, calls: Sequence[Call]) -> Iterator[Stacked]:
    """From the last to the first, the layers whose rows are proved to make the picture's map.

    Args:
        model: what is run; it comes back as it was.
        inputs: one picture, `(1, channels, *axes)`.
        calls: of a run on it.
    """
    if inputs.device.type == "meta" or len(inputs) != 1:
        return
    for group in _groups(calls)[:MOST_GROUPS]:
        rows = _Rows(model, inputs, group)
        for stack, said in _hypotheses(rows):
            shape = tuple(rows.before.shape)
            grid = find_grid(shape, inputs.shape, group[0].module, stack=stack)
            if grid is not None and rows.prove(grid, stack):
                yield Stacked(_layer(group, stack, calls), grid, group[-1], said)
                break


def _groups(calls: Sequence[Call]) -> list[list[Call]]:
    """Calls whose rows may together be one image's, from the last to the first.

    They are one call that gives several rows for an image, or all calls of a module.
    """
    groups: dict[tuple[nn.Module, str], list[Call]] = {}
    for call in calls:
        if call.name and call.floating and not call.passes_through:
            groups.setdefault((call.module, call.path), []).append(call)
    found = [group for group in groups.values() if _may_be_rows(group)]
    order = {id(call): number for number, call in enumerate(calls)}
    found.sort(key=lambda group: order[id(group[-1])], reverse=True)
    # The outermost name of the same output.
    inner = {id(one.same_as) for group in found for one in group if one.same_as is not None}
    return [group for group in found if not any(id(one) in inner for one in group)]


def _may_be_rows(group: Sequence[Call]) -> bool:
    shape = group[0].shape or ()
    return (
        len(shape) >= 3
        and all(one.shape == shape for one in group)
        and len(group) * shape[0] <= MOST_ROWS
        and math.prod(shape[2:]) > 1
        and not isinstance(group[0].module, nn.RNNBase)
    )


def _layer(group: Sequence[Call], stack: Stack, calls: Sequence[Call]) -> Layer:
    first = group[0]
    runs = sum(one.module is first.module and one.path == first.path for one in calls)
    places = [
        Layer(one.name, one.module, one.path, None if runs == 1 else number)
        for number, one in enumerate(group)
    ]
    if stack.lay == "one" and len(group) > 1:  # a call of its own
        return places[stack.which]
    return replace(places[0], stack=stack, beside=tuple(places[1:]))


class _Rows:
    """The rows of a group of calls for one picture, and which change with it.

    Attributes:
        count: how many rows there are for one image.
        along: how the rows of several images would lie.
        inputs: the picture.
    """

    def __init__(self, model: nn.Module, inputs: Tensor, group: Sequence[Call]) -> None:
        self._model, self.inputs, self._group = model, inputs, group
        self.before = self._run(model, inputs)
        self.count = len(self.before)

    def along(self) -> Literal["images", "rows"] | None:
        """How the rows of two images lie, if that can be told."""
        if len(self._group) > 1 or self.count == 1:
            return "rows"
        before = self._run(self._model, torch.cat([self.inputs] * 2))
        other = self.inputs + noise_like(self.inputs, self.inputs)
        whose: list[set[int]] = []  # the rows that change with the first image, with the second
        for pair in ([other, self.inputs], [self.inputs, other]):
            after = self._run(self._model, torch.cat(pair))
            if len(before) != 2 * self.count or before.shape != after.shape:
                return None
            rows = enumerate(zip(before, after, strict=True))
            whose.append({number for number, pair in rows if changed_in(*pair).any()})
        if not all(whose):
            return None
        if all(number // self.count == image for image in (0, 1) for number in whose[image]):
            return "images"
        alternate = all(number % 2 == image for image in (0, 1) for number in whose[image])
        return "rows" if alternate else None

    def changed(self, inputs: Tensor, model: nn.Module | None = None) -> list[bool]:
        """Which rows change where the model is given this in the picture's place."""
        after = self._run(model or self._model, inputs)
        if after.shape != self.before.shape:
            return []
        return [bool(changed_in(a, b).any()) for a, b in zip(self.before, after, strict=True)]

    def others(self) -> list[bool]:
        """Which rows change with another picture."""
        model = self._model
        others = model.with_other_pictures(noise_like) if isinstance(model, Bound) else None
        return [False] * self.count if others is None else self.changed(self.inputs, others)

    def landing(self, grid: Grid, corners: tuple[Tensor, Tensor]) -> Landing:
        """Where two changes of the picture show in a map of the rows."""
        maps = [grid.of(self._run(self._model, one))[0].float() for one in corners]
        before = grid.of(self.before)[0].float()
        return between(changed_in(before, maps[0]), changed_in(before, maps[1]))

    def prove(self, grid: Grid, stack: Stack) -> bool:
        """Whether every change of the picture shows where the rows are said to lie."""
        return self._lands(grid) and (stack.lay != "tiles" or self._tiles_alone(stack))

    def _lands(self, grid: Grid) -> bool:
        """Whether both pairs of opposite corners show where they are."""
        axes = self.inputs.ndim - 2
        for mirrored in (False, True) if axes > 1 else (False,):
            corners = []
            for corner in (0, 1):
                other = self.inputs.clone()
                place = _quarter(self.inputs, corner, mirrored=mirrored)
                other[place] += noise_like(other[place], self.inputs)
                corners.append(other)
            landing = self.landing(grid, (corners[0], corners[1]))
            moved = [-one for one in landing.moved[-1:]] if mirrored else list(landing.moved[-1:])
            moved = [*landing.moved[:-1], *moved]
            along = [one for one, size in zip(moved, grid.size, strict=False) if size > 1]
            if not along or any(one < NEAR for one in along):
                return False
        return True

    def _tiles_alone(self, stack: Stack) -> bool:
        """Whether every row sees its own tile, and no other: by the bits of their numbers."""
        axes = [
            [(length * i // tiles, length * (i + 1) // tiles) for i in range(tiles)]
            for length, tiles in zip(self.inputs.shape[2:], stack.tiles, strict=True)
        ]
        boxes = [()]
        for spans in axes:
            boxes = [(*box, slice(*span)) for box in boxes for span in spans]  # type: ignore[misc]
        for bit in range((self.count - 1).bit_length()):
            for wanted in (0, 1):
                other = self.inputs.clone()
                expected = [(number >> bit) & 1 == wanted for number in range(self.count)]
                for box, chosen in zip(boxes, expected, strict=True):
                    if chosen:
                        place = (..., *box)
                        other[place] += noise_like(other[place], self.inputs)
                if self.changed(other) != expected:
                    return False
        return True

    def _run(self, model: nn.Module, inputs: Tensor) -> Tensor:
        seen: list[Tensor] = []

        def see(tensor: Tensor) -> None:
            seen.append((tensor.dequantize() if tensor.is_quantized else tensor).detach().clone())

        first = self._group[0]
        with ExitStack() as stack:
            stack.enter_context(undisturbed(model))
            stack.enter_context(torch.no_grad())
            stack.enter_context(replacing(Layer(first.name, first.module, first.path), see))
            model(inputs.clone())
        if len({one.shape for one in seen}) != 1:
            return self.inputs.new_zeros(0)
        return torch.cat(seen)


def _quarter(inputs: Tensor, corner: int, *, mirrored: bool) -> tuple[Any, ...]:
    """A box in a corner of the picture: the top right or the bottom left; mirrored, the others."""
    place: list[Any] = [...]
    axes = inputs.shape[2:]
    for axis, length in enumerate(axes):
        quarter = max(1, length // 4)
        last = axis == len(axes) - 1 and len(axes) > 1
        at_start = (corner == 0) is not (last and not mirrored)
        place.append(slice(0, quarter) if at_start else slice(length - quarter, length))
    return tuple(place)


def _hypotheses(rows: _Rows) -> Iterator[tuple[Stack, str]]:
    """How the rows could make one image's map, in words as well."""
    count, axes = rows.count, rows.inputs.shape[2:]
    along = rows.along()
    if along is None:
        return
    of_others = rows.others()
    everywhere = rows.changed(rows.inputs + noise_like(rows.inputs, rows.inputs))
    if not everywhere:
        return
    own = [mine and not other for mine, other in zip(everywhere, of_others, strict=True)]
    for which, mine in enumerate(own):
        if mine and count > 1:
            said = f"of its {count} rows the one that sees this picture"
            yield Stack(count, "one", along, which), said
    if all(everywhere):
        yield from _of_frames(count, along, axes)
        yield from _of_tiles(count, along, axes)
        flips = _flips(rows) if len(axes) < 3 else None
        if flips is not None:
            copies = f"{count} flipped copies" if count > 1 else "a flipped copy"
            yield Stack(count, "copies", along, flips=flips), f"{copies} of the picture put back"


def _of_frames(
    count: int, along: Literal["images", "rows"], axes: Sequence[int]
) -> Iterator[tuple[Stack, str]]:
    """Frames of a video, or positions along its last axis (persons of a skeleton)."""
    for axis in (0, 2) if len(axes) == 3 else ():
        if 1 < count <= axes[axis]:
            yield Stack(count, "frames", along, axis), f"a row for each of {count} frames"


def _of_tiles(
    count: int, along: Literal["images", "rows"], axes: Sequence[int]
) -> Iterator[tuple[Stack, str]]:
    """All ways to cut a picture into so many tiles of one size."""
    for down in range(1, count + 1) if len(axes) == 2 and count > 1 else ():
        tiles = (down, count // down)
        whole = all(length % n == 0 for length, n in zip(axes, tiles, strict=True))
        if math.prod(tiles) == count and whole:
            said = f"the {down}×{count // down} tiles of the picture laid side by side"
            yield Stack(count, "tiles", along, tiles=tiles), said


def _flips(rows: _Rows) -> tuple[tuple[int, ...], ...] | None:
    """Along which axes each row sees the picture flipped, as the changes of two corners say."""
    axes = rows.inputs.ndim - 2
    found = []
    for which in range(rows.count):
        stack = Stack(rows.count, "one", "rows", which)
        first = rows._group[0]
        shape = tuple(rows.before.shape)
        grid = find_grid(shape, rows.inputs.shape, first.module, stack=stack)
        if grid is None:
            return None
        corners = []
        for corner in (0, 1):
            other = rows.inputs.clone()
            place = _quarter(rows.inputs, corner, mirrored=False)
            other[place] += noise_like(other[place], rows.inputs)
            corners.append(other)
        moved = rows.landing(grid, (corners[0], corners[1])).moved
        if len(moved) != axes or any(abs(one) < NEAR for one in moved):
            return None
        found.append(tuple(axis for axis, one in enumerate(moved) if one < 0))
    return tuple(found)
