from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seewhy.errors import MetricError
from seewhy.metrics import intervals
from seewhy.metrics.accumulate import PerImage

numbers = st.dictionaries(
    st.text(max_size=3), st.floats(allow_infinity=False, width=64), max_size=8
)


def of(**values) -> PerImage:
    return PerImage(values)


def test_values_are_kept_by_id_and_not_counted_twice():
    found = PerImage()
    found.add(["b", "a"], np.array([1.0, 3.0]))
    found.add(["a"], [3])  # a resumed run gives it again
    found.add(["c"], [math.nan])
    found.add(["c"], [math.nan])
    assert found.ids == ("a", "b", "c")
    assert len(found) == 3
    assert "a" in found
    assert "d" not in found
    assert found["b"] == 1
    assert found.mean() == 2
    assert np.isnan(PerImage().mean())
    assert PerImage().estimate().count == 0


def test_what_contradicts_is_refused_and_nothing_of_it_kept():
    found = of(a=1.0)
    for ids, values, message in (
        (["b", "a"], [2.0, 1.5], "'a' has two different values"),
        (["b", "a"], [2.0, math.nan], "'a' has two different values"),
        (["b", "c"], [2.0, math.inf], "'c' has the shape .* and is infinite"),
        (["b", "c"], [2.0, [1.0, 2.0]], "'c' has the shape"),
        (["b"], [2.0, 3.0], "1 ids came with 2 values"),
    ):
        with pytest.raises(MetricError, match=message):
            found.add(ids, values)
        assert found.ids == ("a",)
    with pytest.raises(MetricError, match="two different values"):
        found.merge(of(a=2.0))


@settings(deadline=None)
@given(numbers, st.randoms())
def test_parts_merge_to_the_whole_in_any_order(values, random):
    items = list(values.items())
    random.shuffle(items)
    cut = random.randint(0, len(items))
    one, other = PerImage(dict(items[:cut])), PerImage(dict(items[cut:]))
    whole = PerImage(values)
    for merged in (one.merge(other), other.merge(one), one.merge(other, one), whole.merge()):
        assert merged.ids == whole.ids
        assert np.array_equal(merged.array(), whole.array(), equal_nan=True)
    one.merge(other)
    assert len(one) == cut  # not changed


@settings(deadline=None)
@given(numbers)
def test_json_gives_it_back_to_the_last_bit(values):
    text = json.dumps(PerImage(values).to_json(), allow_nan=False)
    again = PerImage.from_json(json.loads(text))
    assert again.ids == PerImage(values).ids
    assert np.array_equal(again.array(), PerImage(values).array(), equal_nan=True)


def test_curves():
    found = of(a=[1.0, 2.0], b=[3.0, 6.0], c=[math.nan, 1.0])
    assert found.array().shape == (3, 2)
    assert found.mean().tolist() == [2, 4]
    again = PerImage.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False)))
    assert np.array_equal(again.array(), found.array(), equal_nan=True)
    with pytest.raises(MetricError, match="curves"):
        found.estimate()


def test_the_interval_by_hand():
    """Hits: Clopper and Pearson's, whose ends for two of two are the roots of 0.025 and 1."""
    both = of(a=1.0, b=1.0).estimate()
    assert (both.value, both.low, both.high) == (1, pytest.approx(0.025**0.5), 1)
    half = of(a=0.0, b=1.0).estimate()
    assert (half.low, half.high) == pytest.approx((1 - 0.975**0.5, 0.975**0.5))
    # Numbers with bounds: 12.706 standard errors of two values are beyond both.
    two = of(a=0.2, b=0.6).estimate(bounds=(0, 1))
    assert (two.value, two.low, two.high) == (pytest.approx(0.4), 0, 1)
    assert math.isnan(of(a=0.2, b=0.6).estimate().low)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    random = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        values = random.normal(3, 2, 60)
        found = PerImage(dict(zip(map(str, range(60)), values, strict=True))).estimate(seed=trial)
        covered += found.low <= 3 <= found.high
    assert covered / 200 == pytest.approx(0.955, abs=0.035)


def test_the_same_seed_gives_the_same_interval_in_any_order():
    random = np.random.default_rng(1)
    items = [(f"image {i}", float(value)) for i, value in enumerate(random.random(30))]
    first, second = PerImage(dict(items)), PerImage(dict(reversed(items)))
    assert first.estimate() == second.estimate()
    assert first.estimate() != first.estimate(seed=1)
    state = np.random.get_state()[1].copy()
    first.estimate()
    assert np.array_equal(np.random.get_state()[1], state)  # the caller's generator is untouched


def test_undefined_values_are_counted_not_averaged():
    found = of(a=1.0, b=math.nan, c=3.0).estimate()
    assert (found.value, found.count, found.undefined) == (2, 2, 1)
    one = of(a=1.0, b=math.nan).estimate()
    assert (one.value, one.count) == (1, 1)
    assert np.isnan([one.low, one.high]).all()
    none = of(b=math.nan).estimate()
    assert np.isnan(none.value)
    assert (none.count, none.undefined) == (0, 1)


def test_the_mean_of_classes_is_not_the_mean_of_images():
    hits = of(a=1.0, b=1.0, c=1.0, d=0.0, e=math.nan)
    classes = {"a": "cat", "b": "cat", "c": "cat", "d": "dog", "e": "cow"}
    assert hits.estimate().value == 0.75
    found = hits.estimate(classes=classes)
    assert found.value == 0.5  # a class without a defined value is none
    assert 0 <= found.low < 0.1  # one dog says next to nothing of dogs
    assert 0.9 < found.high <= 1
    four = {f"{name}{i}": 1.0 for name in "cd" for i in range(4)}
    found = PerImage(four).estimate(classes={id_: id_[0] for id_ in four})
    unseen = 1 - 0.025**0.25
    assert found.low == pytest.approx(1 - (2 * unseen**2) ** 0.5 / 2)
    with pytest.raises(MetricError, match="'d' has no class"):
        hits.estimate(classes={"a": "cat", "b": "cat", "c": "cat"})


def width(found) -> float:
    return found.high - found.low


def test_values_of_one_image_are_drawn_together():
    """Each image four times over: no more is known than from the images themselves."""
    random = np.random.default_rng(2)
    values = random.random(25)
    single = PerImage({f"{i}": v for i, v in enumerate(values)})
    copies = {f"{i}/{k}": v for i, v in enumerate(values) for k in range(4)}
    images = {id_: id_.split("/")[0] for id_ in copies}
    together = PerImage(copies).estimate(images=images)
    assert width(together) == pytest.approx(width(single.estimate()), rel=0.1)
    assert width(PerImage(copies).estimate()) == pytest.approx(width(together) / 2, rel=0.1)
    assert together.count == 100
    with pytest.raises(MetricError, match="has no image"):
        PerImage(copies).estimate(images={"0/0": "0"})


def test_a_paired_difference_is_of_the_images_both_have():
    first = of(a=1.0, b=2.0, c=math.nan, d=5.0)
    second = of(a=0.5, b=1.0, c=1.0, e=9.0)
    found = first.minus(second)
    assert found.value == 0.75
    assert found.count == 2
    assert found.undefined == 3  # c, d, e
    assert second.minus(first).value == -0.75
    with pytest.raises(MetricError, match="no image in common"):
        first.minus(of(z=1.0))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**20))
def test_pairing_takes_out_what_is_hard_for_both(seed):
    random = np.random.default_rng(seed)
    ids = [str(i) for i in range(40)]
    hard = random.normal(0, 5, 40)
    one = PerImage(dict(zip(ids, hard + 1 + random.normal(0, 0.1, 40), strict=True)))
    other = PerImage(dict(zip(ids, hard, strict=True)))
    paired, own = one.minus(other, draws=200), one.estimate(draws=200)
    assert paired.low < 1.2
    assert paired.high > 0.8
    assert paired.high - paired.low < (own.high - own.low) / 5


def test_settings_that_make_no_interval_are_refused():
    for wrong in ({"level": 1}, {"level": 0}, {"draws": 0}):
        with pytest.raises(MetricError, match="at least 1 are wanted"):
            of(a=1.0, b=2.0).estimate(**wrong)


def ratio(sums: np.ndarray) -> np.ndarray:
    """Of (draws, 2): not the mean of the images' own ratios."""
    return np.where(sums[:, 1] > 0, sums[:, 0] / np.where(sums[:, 1] > 0, sums[:, 1], 1), np.nan)


def pairs(seed: int, count: int = 12) -> PerImage:
    random = np.random.default_rng(seed)
    return PerImage({f"{i:02}": random.random(2) for i in range(count)})


def test_what_a_sum_gives_has_the_jackknife_of_a_loop(monkeypatch):
    monkeypatch.setattr(intervals, "_unseen", lambda *of: 0.0)  # Student's t alone
    one, other = pairs(0), pairs(1)
    groups = {id_: "ab"[int(id_) % 2] for id_ in one.ids}
    images = {id_: f"{int(id_) // 2}" for id_ in one.ids}

    def of_some(values: PerImage, ids: list[str]) -> float:
        total = sum(values[id_] for id_ in ids)
        return total[0] / total[1]

    def by_class(ids: list[str]) -> float:
        return np.mean([of_some(one, [i for i in ids if groups[i] == side]) for side in "ab"])

    how = {"of_sum": ratio, "images": images, "bounds": (-100, 100)}
    for found, value in (
        (one.estimate(**how), lambda ids: of_some(one, ids)),
        (one.minus(other, **how), lambda ids: of_some(one, ids) - of_some(other, ids)),
        (one.estimate(classes=groups, **how), by_class),
    ):
        left = np.array(
            [value([i for i in one.ids if images[i] != str(image)]) for image in range(6)]
        )
        far = 2.570582 * np.sqrt(5 / 6 * ((left - left.mean()) ** 2).sum())
        assert found.value == pytest.approx(value(list(one.ids)))
        assert found.low == pytest.approx(found.value - far)
        assert found.high == pytest.approx(found.value + far)


def test_sums_merge_across_workers():
    whole, parts = pairs(3), [PerImage(), PerImage()]
    for id_ in whole.ids:
        parts[int(id_) % 2].add([id_], [whole[id_]])
    merged = parts[1].merge(parts[0])
    assert merged.estimate(of_sum=ratio) == whole.estimate(of_sum=ratio)


def test_a_sum_leaves_out_what_is_not_defined():
    some = PerImage({"a": [1.0, 2.0], "b": [math.nan, math.nan], "c": [1.0, 6.0]})
    found = some.estimate(of_sum=ratio)
    assert (found.value, found.count, found.undefined) == (0.25, 2, 1)
    nothing = PerImage({"a": [0.0, 0.0], "b": [0.0, 0.0]}).estimate(of_sum=ratio)
    assert math.isnan(nothing.value)
    with pytest.raises(MetricError, match="one number an image, or of curves"):
        some.estimate()
    with pytest.raises(MetricError, match="one number an image, or of curves"):
        of(a=1.0).estimate(of_sum=ratio)
