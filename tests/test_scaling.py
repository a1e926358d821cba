"""Maps at another size: against interpolation dimension by dimension, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import seewhy
from seewhy.errors import MethodError
from seewhy.images import Window, place
from seewhy.scaling import resize_map, unit_range


def along(values: np.ndarray, axis: int, size: int, *, align_corners: bool) -> np.ndarray:
    """numpy's own piecewise linear interpolation along one axis."""
    count = values.shape[axis]
    if align_corners:
        places = np.linspace(0, count - 1, size) if size > 1 else np.zeros(1)
    else:
        places = (np.arange(size) + 0.5) * count / size - 0.5
    return np.apply_along_axis(lambda row: np.interp(places, np.arange(count), row), axis, values)


@settings(max_examples=80, deadline=None)
@given(
    before=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    after=st.lists(st.integers(1, 9), min_size=3, max_size=3),
    leading=st.lists(st.integers(1, 2), max_size=2),
    seed=st.integers(0, 2**16),
    align_corners=st.booleans(),
)
def test_it_is_linear_along_every_dimension(
    before: list[int], after: list[int], leading: list[int], seed: int, align_corners: bool
) -> None:
    after = after[: len(before)]
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(*leading, *before, generator=generator, dtype=torch.float64)
    expected = maps.numpy()
    for axis, size in enumerate(after):
        expected = along(expected, len(leading) + axis, size, align_corners=align_corners)
    made = resize_map(maps, after, align_corners=align_corners)
    assert made.shape == (*leading, *after)
    np.testing.assert_allclose(made.numpy(), expected, rtol=1e-12, atol=1e-12)


def test_by_hand() -> None:
    # Cells of 2 have their centres at 1 and 3: 0 up to the first, 8 from the last.
    assert seewhy.resize_map(torch.tensor([[0.0, 8.0]]), [4]).tolist() == [[0, 2, 6, 8]]
    assert resize_map(torch.tensor([0.0, 6.0]), [4], align_corners=True).tolist() == [0, 2, 4, 6]
    volume = torch.tensor([[[[0.0, 8.0]]], [[[8.0, 8.0]]]])  # (batch, 1, 1, 2)
    assert resize_map(volume, (2, 1, 4))[0, :, 0].tolist() == [[0, 2, 6, 8]] * 2
    assert (resize_map(volume, (2, 1, 4))[1] == 8).all()


def test_a_picture_whose_whole_the_model_saw_gets_its_heatmap() -> None:
    map_ = torch.randn(3, 5)
    expected = place(map_.numpy(), Window(0, 0, 31, 17), (17, 31))
    np.testing.assert_allclose(resize_map(map_, (17, 31)).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_type_stays(dtype: torch.dtype) -> None:
    assert resize_map(torch.ones(2, 3, dtype=dtype), [5]).dtype == dtype


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((2, 3), ()),
        ((2, 3), (2, 2, 2)),
        ((2, 3), (0,)),
        ((1, 1, 1, 1), (2, 2, 2, 2)),
        ((2, 0), (4,)),
    ],
)
def test_what_cannot_be_resized_is_refused(shape: tuple[int, ...], size: tuple[int, ...]) -> None:
    with pytest.raises(MethodError, match="one positive number for each of 1 to 3"):
        resize_map(torch.zeros(shape), size)


def test_no_map_at_all_stays_none() -> None:
    assert resize_map(torch.zeros(0, 2, 3), (4, 5)).shape == (0, 4, 5)


def test_unit_range_by_hand() -> None:
    maps = torch.tensor([[-1.0, 0, 3], [5, 5, 5]])
    assert unit_range(maps).tolist() == [[0, 0.25, 1], [0, 0, 0]]
    assert torch.equal(unit_range(maps.reshape(2, 3, 1, 1)).flatten(1), unit_range(maps))
