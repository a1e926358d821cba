"""Non-negative factorisation: the reference, planted parts, an error that never rises."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import factorisation as reference
from torch import Tensor

from seewhy.errors import MethodError
from seewhy.methods.factorisation import factorise, start


def noise(rows: int, columns: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(rows, columns, generator=generator, dtype=torch.float64)


def planted(rows: int = 60, columns: int = 12, parts: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Values made of parts; each has columns and rows of its own, so there is one factorisation."""
    weights, directions = noise(rows, parts, 1), noise(parts, columns, 2)
    own = torch.eye(parts, dtype=torch.float64)
    weights[:parts], directions[:, :parts] = 2 * own, own
    return weights @ directions, weights, directions


sizes = st.tuples(st.integers(2, 12), st.integers(2, 12))


@pytest.mark.parametrize(("rows", "columns"), [(9, 5), (5, 9), (6, 6)])
def test_each_round_is_the_reference(rows: int, columns: int) -> None:
    values = noise(rows, columns, seed=rows)
    count, rounds = 3, 4
    weights, directions = reference.nndsvd(values.numpy(), count)
    ours = start(values, count)
    torch.testing.assert_close(ours[0], torch.tensor(weights, dtype=torch.float64))
    torch.testing.assert_close(ours[1], torch.tensor(directions, dtype=torch.float64))
    for _ in range(rounds):
        reference.one_round(values.tolist(), weights, directions)
    found = factorise(values, count, rounds=rounds, tolerance=-1)
    product = torch.tensor(weights, dtype=torch.float64) @ torch.tensor(
        directions, dtype=torch.float64
    )
    torch.testing.assert_close(found.weights @ found.directions, product)
    lengths = [math.hypot(*row) for row in directions]
    strengths = [
        length * math.hypot(*(row[part] for row in weights)) for part, length in enumerate(lengths)
    ]
    order = sorted(range(count), key=lambda part: -strengths[part])
    for place, part in enumerate(order):
        wanted = torch.tensor(directions[part], dtype=torch.float64) / lengths[part]
        torch.testing.assert_close(found.directions[place], wanted)


def test_one_part_is_the_first_singular_pair() -> None:
    values = noise(20, 7)
    found = factorise(values, 1)
    left, singular, right = torch.linalg.svd(values)
    torch.testing.assert_close(found.directions[0], right[0].abs())
    torch.testing.assert_close(found.weights[:, 0], singular[0] * left[:, 0].abs())


def test_planted_parts_come_back() -> None:
    values, weights, directions = planted()
    found = factorise(values, 3, rounds=3000, tolerance=1e-14)
    assert found.errors[-1] < 1e-8 * float(values.square().sum())
    lengths = directions.norm(dim=1)
    order = (weights.norm(dim=0) * lengths).argsort(descending=True)
    wanted = (directions / lengths[:, None])[order]
    torch.testing.assert_close(found.directions, wanted, rtol=0, atol=2e-3)
    torch.testing.assert_close(found.weights, (weights * lengths)[:, order], rtol=0, atol=2e-2)


@settings(max_examples=60, deadline=None)
@given(size=sizes, seed=st.integers(0, 99), share=st.floats(0, 0.9), data=st.data())
def test_the_error_never_rises_and_nothing_is_negative(
    size: tuple[int, int], seed: int, share: float, data: st.DataObject
) -> None:
    values = (noise(*size, seed) - share).relu()
    count = data.draw(st.integers(1, min(size)))
    found = factorise(values, count)
    slack = 1e-12 * float(values.square().sum())
    assert all(after <= before + slack for before, after in pairwise(found.errors))
    assert (found.weights >= 0).all()
    assert (found.directions >= 0).all()
    lengths = found.directions.norm(dim=1)
    assert all(float(length) == pytest.approx(1) or float(length) == 0 for length in lengths)
    strengths = found.weights.norm(dim=0)
    assert (strengths.diff() <= 0).all()
    error = float((values - found.weights @ found.directions).square().sum())
    assert error == pytest.approx(found.errors[-1], abs=slack)


def test_scale_goes_into_the_weights_and_order_stays_where_it_was() -> None:
    values = noise(30, 8)
    found = factorise(values, 4)
    larger = factorise(1e6 * values, 4)
    torch.testing.assert_close(larger.directions, found.directions)
    torch.testing.assert_close(larger.weights, 1e6 * found.weights)
    rows, columns = torch.randperm(30), torch.randperm(8)
    mixed = factorise(values[rows][:, columns], 4)
    torch.testing.assert_close(mixed.directions, found.directions[:, columns])
    torch.testing.assert_close(mixed.weights, found.weights[rows])


def test_the_same_values_give_the_same_parts_and_are_not_changed() -> None:
    values = noise(30, 8).float().requires_grad_()
    before, state = values.detach().clone(), torch.get_rng_state()
    one, other = factorise(values, 3), factorise(values, 3)
    assert torch.equal(one.weights, other.weights)
    assert torch.equal(one.directions, other.directions)
    assert torch.equal(values.detach(), before)
    assert torch.equal(torch.get_rng_state(), state)
    assert not one.weights.requires_grad


def test_a_part_that_is_not_needed_is_empty() -> None:
    values = torch.outer(torch.arange(5.0), torch.arange(4.0)).double()
    found = factorise(values, 2)
    assert found.errors[-1] < 1e-12 * float(values.square().sum())
    torch.testing.assert_close(found.weights[:, :1] @ found.directions[:1], values)
    assert float(found.weights[:, 1].max()) < 1e-6
    nothing = factorise(torch.zeros(4, 3), 2)
    assert not nothing.weights.any()
    assert nothing.directions.isfinite().all()


def test_scikit_learn_finds_no_better_parts() -> None:
    decomposition = pytest.importorskip("sklearn.decomposition", exc_type=ImportError)
    for seed in range(3):
        values = (noise(80, 30, seed) - 0.3).relu()
        theirs = decomposition.NMF(5, init="nndsvd", tol=1e-8, max_iter=5000)
        theirs.fit(values.numpy())
        found = factorise(values, 5, rounds=5000, tolerance=1e-10)
        assert found.errors[-1] <= 1.001 * float(theirs.reconstruction_err_) ** 2


@pytest.mark.parametrize(
    ("values", "count", "message"),
    [
        (torch.tensor([[1.0, -0.1], [1.0, 2.0]]), 1, "at least 0"),
        (torch.tensor([[1.0, math.nan], [1.0, 2.0]]), 1, "finite"),
        (torch.ones(3), 1, "rows, columns"),
        (torch.ones(3, 2), 3, "1 to 2 parts, not 3"),
        (torch.ones(3, 2), 0, "1 to 2 parts, not 0"),
    ],
)
def test_what_cannot_be_factorised_says_why(values: Tensor, count: int, message: str) -> None:
    with pytest.raises(MethodError, match=message):
        factorise(values, count)
