"""How like the network's embedding of a picture is to another's, or to a text's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor
from torch.nn.functional import cosine_similarity

from seewhy.errors import TargetError
from seewhy.targets.kinds import Labels, Target
from seewhy.targets.outputs import checked_outputs


@dataclass(frozen=True)
class Similarity(Target):
    """The cosine of the picture's embedding and a given one, −1 to 1.

    Args:
        embedding: of another picture, or of a text in the same space, `(size,)` or `(1, size)`.
        name: What it is of, for titles.
    """

    embedding: tuple[float, ...] = field(repr=False)
    name: str = field(default="the embedding", compare=False)
    bounded = True

    def __init__(
        self, embedding: Tensor | np.ndarray | Sequence[float], name: str = "the embedding"
    ) -> None:
        if isinstance(embedding, Tensor):
            embedding = embedding.detach().cpu()
        values = np.asarray(embedding, np.float64)
        if values.ndim == 0 or values.size != values.shape[-1] or not values.any():
            raise TargetError(
                "an embedding must be one vector that is not zero, not an array of shape "
                f"{values.shape}"
            )
        if not all(map(math.isfinite, values.ravel())):
            raise TargetError("the embedding contains NaN or infinity")
        object.__setattr__(self, "embedding", tuple(values.ravel().tolist()))
        object.__setattr__(self, "name", name)

    def _score(self, outputs: Tensor) -> Tensor:
        own = checked_outputs(outputs).flatten(1)
        if own.shape[1] != len(self.embedding):
            raise TargetError(
                f"the embedding has {len(self.embedding)} numbers, but the network returns "
                f"{tuple(outputs.shape[1:])} per image. Name its embedding with output="
            )
        return cosine_similarity(own, own.new_tensor(self.embedding)[None], dim=1)

    def _words(self, _labels: Labels) -> str:
        return f"similarity to {self.name}"
