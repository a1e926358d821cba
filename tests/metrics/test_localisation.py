"""Localisation: against loops, by hand, at known bounds, and beside other implementations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from reference import localisation as reference

from seewhy.boxes import Box
from seewhy.errors import MetricError
from seewhy.metrics import localisation
from seewhy.metrics.localisation import (
    box_accuracy,
    box_accuracy_curve,
    box_hits,
    box_iou,
    box_overlap,
    box_overlaps,
    centre_gaussian,
    centre_misses,
    centre_point,
    choose_collages,
    choose_thresholds,
    collage,
    covers_little,
    energy_pointing,
    grid_pointing,
    mask_overlap,
    pixel_average_precision,
    pixel_histogram,
    pointing_game,
    region,
)

SIZE = (6, 7)
values = st.sampled_from([-1.0, 0.0, 0.2, 0.5, 0.75, 1.0])
maps = arrays(np.float64, SIZE, elements=values)
regions = arrays(bool, SIZE)
ties = st.sampled_from(["mean", "first", "any"])


@st.composite
def boxes(draw, least: int = 0, most: int = 4, thinnest: float = 0):
    edges, sides = (st.floats(low, 9).map(lambda x: round(x, 1)) for low in (-2, thinnest))
    found = []
    for _ in range(draw(st.integers(least, most))):
        x0, y0 = draw(edges), draw(edges)
        found.append((x0, y0, x0 + draw(sides), y0 + draw(sides)))
    return found


# The map of every known bound: an object in the lower right.
OBJECT = np.zeros((40, 60), bool)
OBJECT[22:36, 31:55] = True
TRUE_BOX = [(31.0, 22.0, 55.0, 36.0)]
PERFECT = OBJECT.astype(np.float32)
INVERTED = 1 - PERFECT
CONSTANT = np.full((40, 60), 0.7, np.float32)
ZERO = np.zeros((40, 60), np.float32)
RANDOM = np.random.default_rng(0).random((40, 60))
COVERED = OBJECT.mean()


# Pointing.


@settings(deadline=None)
@given(maps, regions, st.sampled_from([0, 1, 1.5, 2, 15]), ties)
def test_pointing_is_the_loop(map_, region_, tolerance, ties):
    got = pointing_game(map_, region_, tolerance=tolerance, ties=ties)
    assert got == pytest.approx(
        reference.pointing_game(map_, region_, tolerance, ties), nan_ok=True
    )


def test_pointing_by_hand():
    map_, region_ = np.zeros((30, 40)), np.zeros((30, 40), bool)
    map_[10, 12] = 3
    region_[10 + 9, 12 + 12] = True  # 15 pixels away
    assert pointing_game(map_, region_) == 0  # TorchRay's margin ends before its 15 pixels
    assert pointing_game(map_, region_, tolerance=15.01) == 1
    assert pointing_game(map_, region_, tolerance=0) == 0
    region_[10, 12] = True
    assert pointing_game(map_, region_, tolerance=0) == 1
    map_[0, 0] = 3
    found = {
        ties: float(pointing_game(map_, region_, tolerance=0, ties=ties))
        for ties in ("mean", "first", "any")
    }
    assert found == {"mean": 0.5, "first": 0, "any": 1}


def test_the_bounds_of_pointing():
    def score(map_, **how):
        return float(pointing_game(map_, OBJECT, tolerance=0, **how))

    assert score(PERFECT) == 1
    assert score(INVERTED) == 0
    for constant in (CONSTANT, ZERO, -CONSTANT):
        assert score(constant) == pytest.approx(COVERED)
    assert score(ZERO, ties="first") == 0
    assert score(ZERO, ties="any") == 1
    random = np.random.default_rng(1).random((4000, 40, 60))
    chance = pointing_game(random, np.broadcast_to(OBJECT, random.shape), tolerance=0).mean()
    assert chance == pytest.approx(COVERED, abs=0.03)
    assert np.isnan(pointing_game(PERFECT, np.zeros_like(OBJECT)))
    assert np.isnan(pointing_game(np.full_like(PERFECT, np.nan), OBJECT))
    with_hole = PERFECT.copy()
    with_hole[0, 0] = np.nan
    assert score(with_hole) == 1


def torchray_hit(region_: np.ndarray, point: tuple[int, int], tolerance: int) -> bool:
    """As TorchRay describes it: the disc of radius `tolerance` around the point meets the mask."""
    v, u = np.ogrid[: region_.shape[0], : region_.shape[1]]
    disc = (v - point[0]) ** 2 + (u - point[1]) ** 2 < tolerance**2
    return bool((disc & region_).any())


@settings(deadline=None)
@given(regions, st.tuples(st.integers(0, 5), st.integers(0, 6)), st.integers(1, 8))
def test_pointing_is_torchrays(region_, point, tolerance):
    assume(region_.any())
    map_ = np.zeros(SIZE)
    map_[point] = 1
    got = pointing_game(map_, region_, tolerance=tolerance, ties="first")
    assert bool(got) == torchray_hit(region_, point, tolerance)


@settings(deadline=None)
@given(maps, regions)
def test_energy_is_the_loop(map_, region_):
    assert energy_pointing(map_, region_) == pytest.approx(
        reference.energy_pointing(map_, region_), nan_ok=True
    )
    scaled = energy_pointing(map_, region_, scaling="min-max")
    assert scaled == pytest.approx(
        reference.energy_pointing(reference.scaled(map_), region_), nan_ok=True
    )


def test_the_bounds_of_energy():
    assert energy_pointing(PERFECT, OBJECT) == 1
    assert energy_pointing(INVERTED, OBJECT) == 0
    assert energy_pointing(CONSTANT, OBJECT) == pytest.approx(COVERED)
    assert energy_pointing(RANDOM, OBJECT) == pytest.approx(COVERED, abs=0.02)
    assert energy_pointing([[3, -5], [1, 0]], [[1, 0], [0, 0]]) == 0.75
    assert energy_pointing([[3, -5], [1, 0]], [[1, 0], [0, 0]], scaling="min-max") == 8 / 19
    for nothing in (ZERO, -CONSTANT):
        assert np.isnan(energy_pointing(nothing, OBJECT))
    assert np.isnan(energy_pointing(CONSTANT, OBJECT, scaling="min-max"))
    assert np.isnan(energy_pointing(PERFECT, np.zeros_like(OBJECT)))


def test_a_batch_is_each_of_its_images_and_tensors_are_arrays():
    random = np.random.default_rng(0)
    many, where = random.normal(size=(2, 3, 8, 9)), random.random((2, 3, 8, 9)) < 0.3
    for measure in (pointing_game, energy_pointing):
        batch = measure(many, where)
        assert batch.shape == (2, 3)
        for index in np.ndindex(2, 3):
            assert batch[index] == measure(many[index], where[index])
        tensors = measure(torch.tensor(many, requires_grad=True), torch.tensor(where))
        assert tensors == pytest.approx(batch)
    half = energy_pointing(torch.tensor(many).to(torch.bfloat16), where)
    assert half == pytest.approx(energy_pointing(many, where), rel=0.05)


# Boxes.


@settings(deadline=None)
@given(boxes(), boxes())
def test_iou_is_the_loop(ones, others):
    got = box_iou(ones, others)
    assert got.shape == (len(ones), len(others))
    for i, j in np.ndindex(got.shape):
        assert got[i, j] == pytest.approx(reference.box_iou(ones[i], others[j]), abs=1e-9)
    assert ((got >= 0) & (got <= 1 + 1e-9)).all()
    assert pytest.approx(got) == box_iou(others, ones).T


@settings(deadline=None)
@given(boxes(1, thinnest=0.1), boxes(1, thinnest=0.1))  # of none torchvision divides 0 by 0
def test_iou_is_torchvisions(ones, others):
    ops = pytest.importorskip("torchvision.ops")
    theirs = ops.box_iou(*(torch.tensor(some, dtype=torch.float64) for some in (ones, others)))
    assert box_iou(ones, others) == pytest.approx(theirs.numpy(), abs=1e-9)


def test_iou_by_hand():
    assert box_iou([(0, 0, 4, 2)], [(2, 1, 6, 3), (0, 0, 4, 2), (9, 9, 12, 12), (1, 1, 1, 1)])[
        0
    ].tolist() == [2 / 14, 1, 0, 0]


def test_boxes_may_be_objects():
    @dataclass
    class Named:
        x0: float
        y0: float
        x1: float
        y1: float
        label: str = "cat"

    assert box_iou([Box(0, 0, 4, 2, score=1)], [Named(2, 1, 6, 3)]).tolist() == [[2 / 14]]
    assert localisation.corners([]).shape == (0, 4)
    with pytest.raises(MetricError, match=r"\(2, 3\) came; \(n, 4\)"):
        localisation.corners(np.ones((2, 3)))


@settings(deadline=None)
@given(maps, boxes(1), st.sampled_from([0.0, 0.15, 0.4, 0.9]), st.booleans(),
       st.sampled_from([4, 8]))  # fmt: skip
def test_overlap_is_the_loop(map_, truth, threshold, largest, connectivity):
    how = {"threshold": threshold, "largest": largest, "connectivity": connectivity}
    assert box_overlap(map_, truth, **how) == pytest.approx(
        reference.box_overlap(map_, truth, **how)
    )
    assert box_overlap(map_, truth, **how, scaling="min-max") == pytest.approx(
        reference.box_overlap(reference.scaled(map_), truth, **how)
    )


@settings(deadline=None)
@given(maps, boxes(1), st.booleans())
def test_the_sweep_is_the_overlap_at_each_threshold(map_, truth, largest):
    thresholds = [0.0, 0.1, 0.333, 0.6, 0.95]
    got = box_overlaps(map_, truth, thresholds=thresholds, largest=largest)
    each = [
        box_overlap(map_, truth, threshold=one, largest=largest, scaling="min-max")
        for one in thresholds
    ]
    assert got == pytest.approx(each)


def test_the_bounds_of_boxes():
    assert box_overlap(PERFECT, TRUE_BOX) == 1
    assert box_accuracy(PERFECT, TRUE_BOX) == 1
    whole = box_iou([[0, 0, 60, 40]], TRUE_BOX).item()
    assert whole == pytest.approx(14 * 24 / 2400)
    for everywhere in (INVERTED, CONSTANT):
        assert box_overlap(everywhere, TRUE_BOX) == pytest.approx(whole)
        assert box_accuracy(everywhere, TRUE_BOX) == 0
        assert box_accuracy(everywhere, TRUE_BOX, iou=0.1) == 1
    for nothing in (ZERO, -CONSTANT):
        assert box_overlap(nothing, TRUE_BOX) == 0
        assert not box_overlaps(nothing, TRUE_BOX).any()
    assert box_overlap(CONSTANT, TRUE_BOX, scaling="min-max") == 0
    assert np.isnan(box_overlap(PERFECT, []))
    assert np.isnan(box_accuracy(PERFECT, []))
    assert np.isnan(box_overlaps(PERFECT, [])).all()
    assert (box_overlaps(PERFECT, TRUE_BOX) == 1).all()
    # The best of several true boxes; and of several components.
    assert box_overlap(PERFECT, [(0, 0, 5, 5), *TRUE_BOX]) == 1
    two = PERFECT.copy()
    two[:20] = 1
    assert box_overlap(two, TRUE_BOX) == 0
    assert box_overlap(two, TRUE_BOX, largest=False) == 1
    assert (box_overlaps(two, TRUE_BOX, largest=True) == 0).all()
    assert (box_overlaps(two, TRUE_BOX, largest=False) == 1).all()


def test_max_box_accuracy_by_hand():
    #                       threshold 0    1    2
    overlaps = np.array([[0.80, 0.40, 0.00], [0.35, 0.55, 0.10], [0.20, 0.60, 0.75]])
    curve = box_accuracy_curve(overlaps)
    assert curve == pytest.approx(np.array([[2, 3, 1], [1, 2, 1], [1, 0, 1]]) / 3)
    assert choose_thresholds(overlaps) == (1, 1, 0)
    assert box_hits(overlaps) == pytest.approx([2 / 3, 2 / 3, 2 / 3])
    assert box_hits(overlaps).mean() == pytest.approx((3 + 2 + 1) / 9)
    assert box_hits(overlaps, ious=(0.5,)).tolist() == [0, 1, 1]
    # Chosen on another split: what is best here is not looked at.
    assert box_hits(overlaps, ious=(0.5,), chosen=(0,)).tolist() == [1, 0, 0]
    missing = np.vstack([overlaps, np.full(3, np.nan)])
    assert choose_thresholds(missing) == (1, 1, 0)
    assert np.isnan(box_hits(missing)[3])
    with pytest.raises(MetricError, match="2 thresholds were chosen for 3 IoUs"):
        box_hits(overlaps, chosen=(0, 1))
    for wrong in (np.empty((0, 3)), np.full((2, 3), np.nan), np.zeros(3)):
        with pytest.raises(MetricError, match="with at least one image"):
            choose_thresholds(wrong)


@settings(deadline=None)
@given(arrays(np.float64, (4, 5), elements=st.floats(0, 1)))
def test_max_box_accuracy_is_the_loop(overlaps):
    for ious in ((0.5,), (0.3, 0.5, 0.7)):
        assert box_hits(overlaps, ious=ious).mean() == pytest.approx(
            reference.max_box_accuracy(overlaps.tolist(), ious)
        )


def test_the_sweep_is_opencvs_where_that_has_enough_values():
    """Choe's code through cv2: 256 values, a pixel more on each box; otherwise the same."""
    cv2 = pytest.importorskip("cv2", exc_type=ImportError)
    random = np.random.default_rng(0)
    small = torch.tensor(random.random((6, 1, 7, 7)))
    resized = torch.nn.functional.interpolate(small, size=(90, 90), mode="bilinear")[:, 0].numpy()
    for map_ in resized:
        scaled = (map_ - map_.min()) / (map_.max() - map_.min())
        levels = (scaled * 255).astype(np.uint8)
        for threshold in (0.2, 0.5, 0.8):
            _, binary = cv2.threshold(levels, int(threshold * 255), 255, cv2.THRESH_BINARY)
            outlines, _ = cv2.findContours(binary, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            theirs = sorted(cv2.boundingRect(one) for one in outlines)
            # The same pixels: above the same of 256 levels.
            found = localisation.boxes_of(
                levels.astype(float), threshold=(int(threshold * 255) + 0.5) / 255, largest=False
            )
            ours = sorted((b.x0, b.y0, b.x1 - b.x0, b.y1 - b.y0) for b in found)
            assert ours == theirs


# Masks.


@settings(deadline=None)
@given(st.lists(st.tuples(maps, regions, regions), min_size=1, max_size=3), st.booleans())
def test_pixel_average_precision_is_the_loop(images, with_ignored):
    found, truths, ignored = (list(part) for part in zip(*images, strict=True))
    ignored = ignored if with_ignored else None
    counted = [t & ~i for t, i in zip(truths, ignored or [np.zeros(SIZE, bool)] * 3, strict=False)]
    assume(any(one.any() for one in counted))
    total = sum(
        pixel_histogram(m, t, interval=0.25, ignore=None if ignored is None else ignored[i])
        for i, (m, t) in enumerate(zip(found, truths, strict=True))
    )
    scaled = [reference.scaled(one) for one in found]
    wanted = reference.pixel_average_precision(scaled, truths, [0, 0.25, 0.5, 0.75, 1], ignored)
    assert pixel_average_precision(total) == pytest.approx(wanted)


@settings(deadline=None)
@given(maps, regions, regions, st.sampled_from([0.0, 0.15, 0.4]))
def test_mask_overlap_is_the_loop(map_, region_, ignored, threshold):
    got = mask_overlap(map_, region_, threshold=threshold, ignore=ignored)
    if not (region_ & ~ignored).any():
        assert np.isnan(got)
        return
    inside = reference.above(map_, threshold)
    assert got == pytest.approx(reference.mask_iou(inside, region_, ignored))


def test_the_bounds_of_masks():
    def average(map_, **how):
        return pixel_average_precision(pixel_histogram(map_, OBJECT, **how))

    assert average(PERFECT) == 1
    for blind in (INVERTED, CONSTANT, ZERO):
        assert average(blind) == pytest.approx(COVERED)  # all recall at the last threshold
    assert average(RANDOM) == pytest.approx(COVERED, abs=0.02)
    assert average(PERFECT, scaling="none") == 1
    assert average(-CONSTANT, scaling="none") == pytest.approx(COVERED)
    assert mask_overlap(PERFECT, OBJECT) == 1
    assert mask_overlap(INVERTED, OBJECT) == 0
    assert mask_overlap(CONSTANT, OBJECT) == pytest.approx(COVERED)
    assert mask_overlap(ZERO, OBJECT) == 0
    nothing = np.zeros_like(OBJECT)
    assert np.isnan(mask_overlap(PERFECT, nothing))
    assert np.isnan(pixel_average_precision(pixel_histogram(PERFECT, nothing)))
    two = PERFECT.copy()
    two[:20] = 1
    assert mask_overlap(two, OBJECT) == pytest.approx(336 / (1200 + 336))
    assert mask_overlap(two, OBJECT, largest=True) == 0


def test_values_lie_in_the_bins_of_the_official_histogram():
    values = np.append(np.arange(1000) / 1000, 1.0).reshape(7, 143)
    histogram = pixel_histogram(values, np.ones((7, 143), bool))
    edges = np.append(np.arange(0, 1, 0.001), [1.0, 2.0])
    assert np.array_equal(histogram[0], np.histogram(values, bins=edges)[0])
    assert histogram[1].sum() == 0


# The grid.


@settings(deadline=None)
@given(arrays(np.float64, (6, 9), elements=values), st.integers(0, 8))
def test_the_grid_is_the_loop(map_, cell):
    assert grid_pointing(map_, cell, side=3) == pytest.approx(
        reference.grid_pointing(map_, cell, 3), nan_ok=True
    )


def test_the_bounds_of_the_grid():
    quarter = np.zeros((8, 12))
    quarter[4:, :6] = 2  # below, on the left
    assert grid_pointing(np.stack([quarter] * 4), [0, 1, 2, 3]).tolist() == [0, 0, 1, 0]
    assert grid_pointing(quarter - 1, 2) == 1  # what speaks against does not count
    assert grid_pointing(2 - quarter, 2) == 0
    assert grid_pointing(np.ones((8, 12)), 3) == 0.25
    assert grid_pointing(np.random.default_rng(0).random((80, 80)), 1) == pytest.approx(
        0.25, abs=0.01
    )
    assert np.isnan(grid_pointing(np.zeros((8, 12)), 0))
    for wrong, cell in ((np.ones((7, 8)), 0), (np.ones((8, 8)), 4), (np.ones((8, 8)), -1)):
        with pytest.raises(MetricError, match="cells 0 to 3 are wanted"):
            grid_pointing(wrong, cell)


def test_collages_hold_their_images_and_no_class_twice():
    classes = np.repeat(np.arange(6), 4)
    chosen = choose_collages(classes, count=50, seed=3)
    assert 4 <= len(chosen) <= 6
    assert chosen.shape[1] == 4
    assert len(set(chosen.ravel())) == chosen.size  # each image lies in one collage at most
    assert all(len(set(classes[row])) == 4 for row in chosen)
    assert np.array_equal(chosen[:3], choose_collages(classes, count=3, seed=3))
    assert not np.array_equal(chosen, choose_collages(classes, count=50, seed=4))
    images = torch.arange(24.0)[:, None, None, None].expand(24, 3, 4, 6).clone()
    images[:, 1] += 0.5
    made = collage(images, chosen)
    assert made.shape == (len(chosen), 3, 8, 12)
    for row, one in zip(chosen, made, strict=True):
        for cell, (down, right) in enumerate(np.ndindex(2, 2)):
            part = one[:, 4 * down : 4 * down + 4, 6 * right : 6 * right + 6]
            assert torch.equal(part, images[row[cell]])
    with pytest.raises(MetricError, match="needs 4 classes; the images have 3"):
        choose_collages([0, 1, 2, 2], count=1)


# Baselines and the hard subset.


@pytest.mark.parametrize(
    ("size", "middle"),
    [((3, 5), [[1, 2]]), ((4, 5), [[1, 2], [2, 2]]), ((2, 2), [[0, 0], [0, 1], [1, 0], [1, 1]])],
)
def test_the_centre_point(size, middle):
    assert np.argwhere(centre_point(size)).tolist() == middle


def test_the_centre_gaussian_is_centred():
    bell = centre_gaussian((40, 60), sigma=0.2)
    assert np.array_equal(bell, bell[::-1, ::-1])
    assert np.unravel_index(bell.argmax(), bell.shape) in ((19, 29), (19, 30), (20, 29), (20, 30))
    (box,) = localisation.boxes_of(bell, threshold=np.exp(-0.5))  # one sigma around the centre
    assert np.abs(np.array(box.as_tuple()) - (18, 12, 42, 28)).max() <= 1


def test_the_hard_subset():
    centred = region([(20, 10, 40, 30)], (40, 60))
    beside = region([(0, 0, 28, 40)], (40, 60))
    touching = region([(0, 0, 30, 40)], (40, 60))  # one of the two middle columns
    large = region([(5, 5, 55, 35)], (40, 60))
    batch = np.stack([centred, beside, touching, large])
    assert centre_misses(batch).tolist() == [False, True, True, False]
    assert centre_misses(batch, tolerance=3.5).tolist() == [False, False, False, False]
    assert covers_little(batch).tolist() == [True, False, False, False]
    assert covers_little(torch.tensor(batch), share=0.5).tolist() == [True, True, False, False]


def test_a_region_is_the_pixels_whose_centre_is_inside():
    got = region([(0.5, 1.0, 2.5, 3.0), (3.6, 0.0, 9.0, 0.6)], (4, 5))
    assert np.argwhere(got).tolist() == [[0, 4], [1, 0], [1, 1], [2, 0], [2, 1]]
    assert not region([], (4, 5)).any()


# What is refused.


def test_sizes_that_differ_are_refused():
    for measure in (pointing_game, energy_pointing, mask_overlap, pixel_histogram):
        with pytest.raises(MetricError, match=r"\(7, 7\).*\(8, 8\).*resize"):
            measure(np.ones((7, 7)), np.ones((8, 8), bool))
    with pytest.raises(MetricError, match="one map"):
        box_overlap(np.ones((2, 7, 7)), TRUE_BOX)
    with pytest.raises(MetricError, match="'none' or 'min-max' is wanted"):
        box_overlap(PERFECT, TRUE_BOX, scaling="max")
    for wrong in ({"tolerance": -1}, {"ties": "last"}):
        with pytest.raises(MetricError, match="pixels from 0 and 'mean', 'first' or 'any'"):
            pointing_game(PERFECT, OBJECT, **wrong)


# Quantus.

quantus_only = pytest.mark.filterwarnings("ignore")  # of what it stands on


@quantus_only
def test_pointing_is_quantus_unless_there_is_no_object():
    metric = pytest.importorskip("quantus.metrics.localisation.pointing_game", exc_type=ImportError)
    theirs = metric.PointingGame(disable_warnings=True)
    random = np.random.default_rng(0)
    found = random.integers(0, 5, (30, 6, 7)).astype(float)
    truth = random.random((30, 6, 7)) < 0.1
    truth[:5] = False
    got = pointing_game(found, truth, tolerance=0, ties="any")
    quantus = np.asarray(theirs.evaluate_batch(a_batch=found, s_batch=truth), float)
    there = truth.any((1, 2))
    assert np.array_equal(got[there], quantus[there])
    # It writes NaN into a bool array, where NaN is True: a picture without the object is a hit.
    assert (quantus[~there] == 1).all()
    assert np.isnan(got[~there]).all()


@quantus_only
def test_energy_is_quantus_attribution_localisation():
    metric = pytest.importorskip(
        "quantus.metrics.localisation.attribution_localisation", exc_type=ImportError
    )
    theirs = metric.AttributionLocalisation(
        disable_warnings=True, positive_attributions=True, abs=False, normalise=False
    )
    random = np.random.default_rng(0)
    found = random.normal(size=(20, 6, 7))
    truth = random.random((20, 6, 7)) < 0.3
    quantus = theirs.evaluate_batch(x_batch=found[:, None], a_batch=found, s_batch=truth)
    assert energy_pointing(found, truth) == pytest.approx(np.asarray(quantus, float))


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 1000))
def test_the_largest_components_area_is_what_counts_not_its_box(seed):
    """A thin diagonal has the larger box, a block the larger component: Choe's v1 and ours."""
    map_ = np.zeros((30, 30))
    length = 5 + seed % 8
    map_[np.arange(length), np.arange(length)] = 1
    map_[20:25, 20:25] = 1  # 25 pixels
    (box,) = localisation.boxes_of(map_)
    assert box.as_tuple() == (20, 20, 25, 25)


def test_box_accuracy_hands_on_what_box_overlap_is_told():
    """A bright core in a pale halo, and apart from them a speck: every option decides."""
    map_ = np.zeros((20, 20))
    map_[2:12, 2:12] = 0.4
    map_[5:9, 5:9] = 1
    map_[12, 12] = 0.4  # touches the halo at a corner
    halo, core, corner = (2, 2, 12, 12), (5, 5, 9, 9), (2, 2, 13, 13)
    assert box_accuracy(map_, [core], iou=0.9) == 0
    assert box_accuracy(map_, [core], iou=0.9, threshold=0.5) == 1
    assert box_accuracy(map_, [corner], iou=0.99) == 1
    assert box_accuracy(map_, [corner], iou=0.99, connectivity=4) == 0
    assert box_accuracy(map_, [halo], iou=0.99, connectivity=4) == 1
    lifted = map_ + 1  # everywhere above 15 % of the largest
    assert box_accuracy(lifted, [corner], iou=0.99) == 0
    assert box_accuracy(lifted, [corner], iou=0.99, scaling="min-max") == 1
    speck = map_.copy()
    speck[16:18, 16:18] = 1
    assert box_accuracy(speck, [(16, 16, 18, 18)], iou=0.99) == 0
    assert box_accuracy(speck, [(16, 16, 18, 18)], iou=0.99, largest=False) == 1
