"""The attention methods as loops over Python floats (float64), each from its paper.

One image. `attentions` is for each block, for each head, the rows of a matrix: `[query][key]`.
"""

from __future__ import annotations

Matrix = list[list[float]]


def fused(heads: list[Matrix], how: str) -> Matrix:
    """One matrix of all heads: their mean, largest or smallest value at each place."""
    tokens = len(heads[0])
    result = [[0.0] * tokens for _ in range(tokens)]
    for query in range(tokens):
        for key in range(tokens):
            values = [head[query][key] for head in heads]
            if how == "mean":
                result[query][key] = sum(values) / len(values)
            else:
                result[query][key] = max(values) if how == "max" else min(values)
    return result


def without_weakest(matrix: Matrix, share: float) -> Matrix:
    """The smallest values, `share` of all, become 0."""
    places = [(value, q, k) for q, row in enumerate(matrix) for k, value in enumerate(row)]
    result = [list(row) for row in matrix]
    for _, query, key in sorted(places)[: int(share * len(places))]:
        result[query][key] = 0.0
    return result


def product(one: Matrix, other: Matrix) -> Matrix:
    tokens = len(one)
    return [
        [sum(one[q][m] * other[m][k] for m in range(tokens)) for k in range(tokens)]
        for q in range(tokens)
    ]


def rollout(
    attentions: list[list[Matrix]], how: str = "mean", discard: float = 0.0, residual: float = 0.5
) -> Matrix:
    """Abnar and Zuidema 2020, eq. 1: A~(l) = A(l) A~(l-1), A = 0.5 W + 0.5 I, rows to sum 1."""
    tokens = len(attentions[0][0])
    result = [[float(q == k) for k in range(tokens)] for q in range(tokens)]
    for heads in attentions:
        weights = without_weakest(fused(heads, how), discard)
        mixed = []
        for q in range(tokens):
            row = [(1 - residual) * weights[q][k] + residual * (q == k) for k in range(tokens)]
            total = sum(row)
            mixed.append([value / total for value in row])
        result = product(mixed, result)
    return result


def attention_rollout(
    attentions: list[list[Matrix]], read: list[float], how: str, discard: float, residual: float
) -> list[float]:
    """The rows of the rollout of the tokens that are read, by how much they are."""
    matrix = rollout(attentions, how, discard, residual)
    tokens = len(read)
    return [sum(read[q] * matrix[q][k] for q in range(tokens)) for k in range(tokens)]


def attention_relevance(
    attentions: list[list[Matrix]], gradients: list[list[Matrix]], read: list[float]
) -> list[float]:
    """Chefer 2021 (ICCV), eq. 5-6: R = I, then R + E_h((grad A * A)+) R; what is read, less I."""
    tokens = len(read)
    result = [[float(q == k) for k in range(tokens)] for q in range(tokens)]
    for heads, slopes in zip(attentions, gradients, strict=True):
        positive = [
            [[max(0.0, a * g) for a, g in zip(row, slope, strict=True)] for row, slope in rows]
            for rows in (
                zip(head, one, strict=True) for head, one in zip(heads, slopes, strict=True)
            )
        ]
        added = product(fused(positive, "mean"), result)
        result = [[result[q][k] + added[q][k] for k in range(tokens)] for q in range(tokens)]
    return [sum(read[q] * result[q][k] for q in range(tokens)) - read[k] for k in range(tokens)]


def legrad(gradients: list[list[Matrix]]) -> list[float]:
    """Bousselham 2025: (ds/dA)+ averaged over heads and queries, then over blocks."""
    keys = len(gradients[0][0][0])
    result = [0.0] * keys
    for heads in gradients:
        for head in heads:
            for row in head:
                for key, value in enumerate(row):
                    if value > 0:
                        result[key] += value / (len(heads) * len(head) * len(gradients))
    return result
