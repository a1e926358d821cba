"""What is asked of a model: the methods, the layer, and how the model is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from seewhy.errors import MethodError
from seewhy.layers import LayerSpec
from seewhy.methods import method_of
from seewhy.methods.method import Method, MethodLike
from seewhy.models.many_runs import EXACT, Speed
from seewhy.models.outputs import OutputSelector


@dataclass(frozen=True)
class Request:
    """The keyword arguments of `attribute`, `explain` and `Explainer`, checked once.

    Attributes:
        methods: all of them come from the same run of the model.
        layer: a name, a module, a wildcard or a list; None takes the proposed one.
        fuse: makes one map of several layers': `"mean"`, `"max"` or `"scaled-max"`.
        output: where the logits are, for a model that returns more than one tensor.
        picture: on which of several inputs the maps lie, by number or name.
        shared: inputs that belong to all images together.
        speed: how the network runs for methods that run it many times.
        options: of the methods, for each that has such an option.
        tested: whether a named layer is tested by intervention, which takes at most four forward
            passes once for a model, layer and size of picture; `Explainer` does, `attribute` not.
    """

    methods: tuple[Method, ...]
    layer: LayerSpec | None = None
    fuse: str | None = None
    output: OutputSelector | None = None
    picture: str | int | None = None
    shared: tuple[str | int, ...] = ()
    speed: Speed = EXACT
    options: Mapping[str, Any] = field(default_factory=dict)
    tested: bool = False

    def __post_init__(self) -> None:
        names = ", ".join(one.name for one in self.methods)
        known = {name for one in self.methods for name in one.options}
        if strange := [name for name in self.options if name not in known]:
            unknown = ", ".join(f"'{name}'" for name in strange)
            raise MethodError(
                f"{names} has no option {unknown}. The options are {', '.join(sorted(known))}."
                if known
                else f"{names} takes no options; remove {unknown}."
            )
        if not self.speed.exact and not any(m.cost == "whole forwards" for m in self.methods):
            raise MethodError(
                f"{self.speed} has no effect on {names}; it is for methods that run the "
                "whole network many times (score-cam, rise, occlusion, ...). Leave it out."
            )
        for one in self.methods if self.fuse is not None else ():
            if one.place != "layer":
                raise MethodError(
                    f"fuse= combines the maps of several layers, but {one.name} uses the "
                    f"{one.place} instead of a layer. Leave it out."
                )

    @classmethod
    def of(
        cls,
        method: MethodLike | Sequence[MethodLike],
        *,
        shared: Sequence[str | int] = (),
        **fields: Any,
    ) -> Request:
        """A request for one or several methods; `fields` are the attributes."""
        several = method if isinstance(method, (list, tuple)) else [method]
        return cls(tuple(map(method_of, several)), shared=tuple(shared), **fields)

    @property
    def several_layers(self) -> bool:
        """Whether there is a map for each of several layers."""
        layer = self.layer
        if self.fuse is not None or layer is None:
            return False
        if isinstance(layer, str):
            return any(character in layer for character in "*?")
        return not isinstance(layer, nn.Module)

    def options_of(self, method: Method) -> dict[str, Any]:
        """The options that this one of the methods takes."""
        return {name: value for name, value in self.options.items() if name in method.options}
