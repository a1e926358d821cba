"""Features, concepts and evaluations read a model's outputs as explanations do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from small_networks import Classifier, Segmenter
from torch import Tensor

import seewhy
from seewhy.attribution import run
from seewhy.evaluation.measuring import Examined
from seewhy.targets.ranking import ranking

PLAIN = seewhy.Preprocess(size=(32, 32), resize=(32, 32), mean=(0.0,) * 3, std=(1.0,) * 3)

ENDS: dict[str, Callable[[Tensor], Tensor]] = {
    "logits": lambda z: z,
    "sigmoid": lambda z: z.sigmoid(),
    "softmax": lambda z: z.softmax(1),
}
ONE_NUMBER: dict[str, Callable[[Tensor], Tensor]] = {
    "(batch,)": lambda z: z[:, 0],
    "(batch, 1, 1, 1)": lambda z: z[:, :, None, None],
    "squeezed": lambda z: z.squeeze(),
}


def contributions(model: torch.nn.Module, x: Tensor, target: object, **more: object) -> Tensor:
    found = seewhy.find_features(
        model, x[0], sort="contribution", target=target, layer="features", preprocess=PLAIN, **more
    )  # type: ignore[arg-type]
    assert found.values is not None
    return torch.from_numpy(found.values)[torch.from_numpy(found.channels).argsort()]


def by_hires_cam(model: torch.nn.Module, x: Tensor, target: object) -> float:
    made = run(model, x[:1], target, methods=["hires-cam"], layer="features")
    return float(made.maps[0][0].sum())


@pytest.fixture
def x() -> Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("target", [1, "p:1", "sigmoid:1", None])
def test_contributions_add_up_to_what_hires_cam_adds_up_to(
    end: str, target: object, x: Tensor
) -> None:
    model = Classifier(4, ENDS[end]).eval()
    assert float(contributions(model, x, target).sum()) == pytest.approx(
        by_hires_cam(model, x, target), rel=1e-4
    )


@pytest.mark.parametrize("form", ONE_NUMBER)
@pytest.mark.parametrize("target", ["positive", "output:0"])
def test_contributions_to_one_number_an_image(form: str, target: str, x: Tensor) -> None:
    model = Classifier(1, ONE_NUMBER[form]).eval()
    assert float(contributions(model, x, target).sum()) == pytest.approx(
        by_hires_cam(model, x, target), rel=1e-4
    )


def test_contributions_to_maps_with_their_classes_last(x: Tensor) -> None:
    last = Segmenter(3, lambda z: z.permute(0, 2, 3, 1), 4).eval()
    first = Segmenter(3, stride=4).eval()
    first.load_state_dict(last.state_dict())
    one, other = (contributions(each, x, "2@peak") for each in (last, first))
    assert torch.allclose(one, other, atol=1e-6)


def test_what_a_concept_speaks_for_is_a_probability_once(x: Tensor) -> None:
    model = Classifier(4, lambda z: z.sigmoid()).eval()
    found = seewhy.find_concepts(model, x[0], count=2, layer="features", preprocess=PLAIN)
    for named in found.classes:
        for one in named:
            assert one.probability == pytest.approx(one.score)


@pytest.mark.parametrize("form", ONE_NUMBER)
def test_a_concept_of_one_number_an_image(form: str, x: Tensor) -> None:
    model = Classifier(1, lambda z: ONE_NUMBER[form](z.sigmoid())).eval()
    found = seewhy.find_concepts(
        model, x[0], count=1, layer="features", preprocess=PLAIN, labels=("no", "yes")
    )
    ((first, second),) = found.classes
    assert first.probability + second.probability == pytest.approx(1)
    assert {first.label, second.label} == {"no", "yes"}


@pytest.mark.parametrize("form", ONE_NUMBER)
def test_an_evaluation_predicts_the_likelier_side(form: str, x: Tensor) -> None:
    """A probability of 0.3 is no 'yes', though it is above 0."""
    model = Classifier(1, lambda z: ONE_NUMBER[form](0.2 + 0.2 * z.sigmoid())).eval()
    examined = Examined(model, ("no", "yes"), "features", None, 2)
    for images in (x[:1],) if form == "squeezed" else (x, x[:1]):
        read = examined.read(images)
        assert len(read.logits) == len(images)
        assert [some[0] for some in ranking(read.logits, ("no", "yes"), read.meaning.ending)] == [
            0
        ] * len(images)
    target = examined.target_of(None, examined.read(x[:1]))
    assert str(target) == "no"
    (score,) = examined.score([target], "probability")(x[:1], torch.tensor([0])).tolist()
    assert 0.6 < score < 0.8


def test_an_evaluation_reads_maps_with_their_classes_last(x: Tensor) -> None:
    last = Segmenter(3, lambda z: z.permute(0, 2, 3, 1), 4).eval()
    examined = Examined(last, None, "features", None, 2)
    assert examined.read(x).logits.shape == (2, 3, 8, 8)
    target = examined.target_of("2@peak", examined.read(x[:1]))
    row, column = divmod(int(last(x)[0, ..., 2].argmax()), 8)
    assert target.where == (column, row)  # type: ignore[attr-defined]
