"""Non-negative matrix factorisation: what a layer holds as a sum of few parts, none subtracted.

`values ≈ weights · directions`, all three non-negative. For deep feature factorisation (Collins
2018) a row of `values` is what all channels hold at one position of one image, a row of
`directions` is a concept, and `weights` say how much of each concept lies at each position.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seewhy.errors import MethodError


@dataclass(frozen=True, eq=False)
class Factorisation:
    """Parts of a matrix, the strongest first.

    Attributes:
        weights: `(rows, parts)`, float64.
        directions: `(parts, columns)`, float64, each of length 1; 0 for a part that is not needed.
        errors: the squared error ‖values − weights · directions‖² at the start and after each
            round; it never rises, but for rounding at 1e-15 of ‖values‖².
    """

    weights: Tensor
    directions: Tensor
    errors: tuple[float, ...]


def factorise(
    values: Tensor, count: int, *, rounds: int = 300, tolerance: float = 1e-6
) -> Factorisation:
    """Non-negative factors by alternating exact updates of one part at a time (HALS).

    The start is NNDSVD (Boutsidis 2008), so nothing is drawn at random: the same values give the
    same parts. Each update is the best one for its part while all others stand still (Cichocki
    2009), so the error cannot rise. The result is a local minimum; the best one is NP-hard.

    Args:
        values: `(rows, columns)`, none negative.
        count: how many parts.
        rounds: how often all parts are updated, at most.
        tolerance: it ends when a round lowers the error by less than this share of ‖values‖².

    Raises:
        MethodError: values that are negative or not finite, or a count that does not fit.
    """
    if values.ndim != 2 or not values.isfinite().all() or (values < 0).any():
        raise MethodError(
            "a non-negative factorisation needs finite values of at least 0, of shape "
            "(rows, columns). Rectify the values first, or use a layer after a ReLU."
        )
    if not 1 <= count <= min(values.shape):
        raise MethodError(
            f"{values.shape[0]} × {values.shape[1]} values have 1 to "
            f"{min(values.shape)} parts, not {count}."
        )
    values = values.detach().cpu().double()
    size = float(values.square().sum())
    weights, directions = start(values, count)
    errors = [float((values - weights @ directions).square().sum())]
    for _ in range(rounds):
        _update(weights, values @ directions.T, directions @ directions.T)
        cross, gram = weights.T @ values, weights.T @ weights
        _update(directions.T, cross.T, gram)
        # The squared error, multiplied out: the product of the factors is as large as the values.
        fitted = (gram * (directions @ directions.T)).sum() - 2 * (cross * directions).sum()
        errors.append(max(0.0, size + float(fitted)))
        if errors[-2] - errors[-1] <= tolerance * size:
            break
    lengths = directions.norm(dim=1)
    weights = weights * lengths
    directions = directions / torch.where(lengths == 0, 1, lengths)[:, None]
    order = weights.norm(dim=0).argsort(descending=True, stable=True)
    return Factorisation(weights[:, order], directions[order], tuple(errors))


def start(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The leading singular pairs, of each the positive or the negative sides, the larger (NNDSVD).

    Their signs are arbitrary; the choice between the sides makes up for that.
    """
    wide = values.shape[0] < values.shape[1]
    # The eigenvectors of the smaller Gram matrix: a singular value decomposition of all rows would
    # take a hundred times as long at an early layer.
    gram = values @ values.T if wide else values.T @ values
    vectors = torch.linalg.eigh(gram).eigenvectors.flip(1)[:, :count]
    other = values.T @ vectors if wide else values @ vectors
    singular = other.norm(dim=0)
    other = other / torch.where(singular == 0, 1, singular)
    left, right = (vectors, other) if wide else (other, vectors)
    weights, directions = torch.zeros_like(left), torch.zeros_like(right)
    for part, (u, v) in enumerate(zip(left.T, right.T, strict=True)):
        sides = [(u.abs(), v.abs())] if part == 0 else [(u.relu(), v.relu()), _negative(u, v)]
        a, b = max(sides, key=lambda side: float(side[0].norm() * side[1].norm()))
        lengths = a.norm() * b.norm()
        if lengths > 0:
            scale = (singular[part] * lengths).sqrt()
            weights[:, part] = scale * a / a.norm()
            directions[:, part] = scale * b / b.norm()
    return weights, directions.T.contiguous()


def _negative(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    return (-u).relu(), (-v).relu()


def _update(factor: Tensor, cross: Tensor, gram: Tensor) -> None:
    """Each column of `factor` in turn set to its best, the others and the other factor given.

    Args:
        factor: `(rows, parts)`, written into.
        cross: `(rows, parts)`, the values times the other factor.
        gram: `(parts, parts)`, the other factor's inner products.
    """
    for part in range(factor.shape[1]):
        if gram[part, part] > 0:
            step = (cross[:, part] - factor @ gram[:, part]) / gram[part, part]
            factor[:, part] = (factor[:, part] + step).relu()
