"""Targets of a user's own class, saved and loaded: never do they cost the map and the picture."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import seewhy
from seewhy.errors import TargetError
from seewhy.targets import (
    ClassScore,
    Contrast,
    Finer,
    Probability,
    Target,
    Unrestored,
    target_from_json,
)
from seewhy.targets.kinds import Labels, Outcome


@dataclass(frozen=True)
class Spread(Target):
    """How far one class stands above the mean of others."""

    of: int
    others: tuple[int, ...] = (0, 1)
    like: Target | None = None
    share: float = 1.0
    note: Any = field(default="", compare=False)

    def _score(self, outputs: Tensor) -> Tensor:
        return outputs[:, self.of] - self.share * outputs[:, list(self.others)].mean(1)

    def _words(self, _labels: Labels) -> str:
        return f"class {self.of} above {', '.join(map(str, self.others))}"


class Bare(Target):
    """No dataclass."""

    def _score(self, outputs: Tensor) -> Tensor:
        return outputs[:, 0]

    def _words(self, _labels: Labels) -> str:
        return "the first logit"


@dataclass(frozen=True)
class Sure(Outcome):
    """With a probability."""

    def _score(self, outputs: Tensor) -> Tensor:
        return outputs[:, 0]

    def chance(self, outputs: Tensor, sigmoid: bool) -> Tensor:
        return outputs[:, 0].sigmoid()

    def _words(self, labels: Labels) -> str:
        return f"{labels[0]} for sure"  # type: ignore[index]


@dataclass(frozen=True)
class Region(Target):
    """Called like one of seewhy's, and with other parts."""

    left: int

    def _score(self, outputs: Tensor) -> Tensor:
        return outputs[:, self.left]

    def _words(self, _labels: Labels) -> str:
        return f"from {self.left} on"


@dataclass(frozen=True)
class Picky(Target):
    """Takes no more what it was saved with."""

    of: int = 3

    def __post_init__(self) -> None:
        if Picky.full:
            raise ZeroDivisionError("no room")

    def _score(self, outputs: Tensor) -> Tensor:
        return outputs[:, self.of]

    def _words(self, _labels: Labels) -> str:
        return "picky"


Picky.full = False  # type: ignore[attr-defined]


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Sequential(nn.Conv2d(3, 4, 4, stride=4), nn.ReLU())
        self.head = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.look(x).mean((2, 3)))


def again(target: Target) -> Any:
    return target_from_json(json.loads(json.dumps(target.to_json())))


@pytest.mark.parametrize(
    "target",
    [
        Spread(2),
        Spread(2, (0, 1, 3), like=ClassScore(1), share=0.5),
        Spread(2, like=Spread(1, like=Contrast(1, 2))),
        Region(1),
        Contrast(Spread(2), Region(3)),
        2 * Spread(1) - ClassScore(0),
        Probability(Sure()),
        Spread(np.int64(2), share=np.float32(0.5)),  # type: ignore[arg-type]
    ],
    ids=repr,
)
def test_a_dataclass_comes_back_where_its_class_is_defined(target: Target) -> None:
    back = again(target)
    assert back == target
    assert type(back) is type(target)
    outputs = torch.tensor([[1.0, 2, 4, 8]])
    assert torch.equal(back(outputs), target(outputs))


@pytest.mark.parametrize("where", ["json", "npz"])
@pytest.mark.parametrize(
    "target",
    [Bare(), Spread(2, note=object()), Spread(2, note={"a": 1}), Contrast(Bare(), ClassScore(2)),
     Probability(Sure()), Region(2)],
    ids=["bare", "object", "dict", "within", "needs labels", "namesake"],
)  # fmt: skip
def test_map_and_picture_are_read_whatever_the_target_is(
    target: Target, where: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    why = seewhy.explain(Network().eval(), image, target, labels=["red", "green", "b", "c"])
    back = seewhy.load_explanation(why.save(tmp_path / f"why.{where}"))
    assert np.array_equal(back.map, why.map)
    assert np.array_equal(back.picture, why.picture)
    assert back.label == why.label
    assert back.figure() is not None
    # And once more, from what was loaded.
    assert seewhy.load_explanation(back.save(tmp_path / f"2.{where}")).target == back.target


def test_what_does_not_come_back_says_what_it_was() -> None:
    for target in (Bare(), Spread(2, note=object())):
        back = again(target)
        assert isinstance(back, Unrestored)
        assert back.describe() == target.describe()
        name = f"{__name__}:{type(target).__name__}"
        assert back.name == name
        assert name in repr(back)
        with pytest.raises(TargetError, match=f"{name}.*dataclass.*Give the target again"):
            back(torch.zeros(1, 4))
        assert back.to_json() == target.to_json()
    assert (
        again(Contrast(Bare(), ClassScore(2))).describe() == "the first logit rather than class 2"
    )


def test_a_class_that_is_not_there_is_named_and_nothing_is_imported() -> None:
    saved = Spread(1).to_json() | {"class": "antigravity:Up", "words": "up"}
    assert "antigravity" not in sys.modules
    back = target_from_json(saved)
    assert "antigravity" not in sys.modules
    with pytest.raises(TargetError, match=r"'up' was saved as antigravity:Up.* not defined here"):
        back(torch.zeros(1, 2))
    # What is no target is not called either.
    for name in (
        "os:system",
        "subprocess:Popen",
        "pathlib:Path",
        "seewhy.targets.kinds:ClassScore",
    ):
        assert isinstance(target_from_json(saved | {"class": name}), Unrestored)


def test_a_class_defined_in_a_function_twice_is_the_last_one() -> None:
    def make(add: int) -> type[Target]:
        @dataclass(frozen=True)
        class Local(Target):
            of: int

            def _score(self, outputs: Tensor) -> Tensor:
                return outputs[:, self.of] + add

            def _words(self, _labels: Labels) -> str:
                return "local"

        return Local

    first, second = make(1), make(2)
    back = again(first(of=0))  # type: ignore[call-arg]
    assert type(back) is second


def test_a_class_that_refuses_its_parts_is_told(monkeypatch: Any) -> None:
    saved = Picky().to_json()
    monkeypatch.setattr(Picky, "full", True)
    with pytest.raises(TargetError, match=r"does not accept the saved parts \(no room\)"):
        target_from_json(saved)(torch.zeros(1, 4))
    monkeypatch.setattr(Picky, "full", False)
    assert target_from_json(saved) == Picky()
    with pytest.raises(TargetError, match="does not accept"):
        target_from_json(saved | {"parts": {"other": 1}})(torch.zeros(1, 4))


@pytest.mark.parametrize("change", [{"class": 3}, {"words": None}, {"class": None}])
def test_a_saved_target_without_name_or_words_is_none(change: dict[str, Any]) -> None:
    with pytest.raises(TargetError, match="no class or no words"):
        target_from_json(Spread(1).to_json() | change)


def test_a_file_from_another_program_is_read_there(tmp_path: Path) -> None:
    """The class is defined in a script (`__main__`), and its file is loaded here without it."""
    script = tmp_path / "script.py"
    script.write_text(
        f"""
from dataclasses import dataclass
import numpy as np, seewhy, torch
from torch import nn

@dataclass(frozen=True)
class Third(seewhy.targets.Target):
    times: float
    def _score(self, outputs): return self.times * outputs[:, 2]
    def _words(self, labels): return "the third"

network = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                        nn.Linear(4, 4))
image = np.full((32, 32, 3), 90, np.uint8)
path = seewhy.explain(network, image, Third(2.0)).save({str(tmp_path / "why.json")!r})
assert seewhy.load_explanation(path).target == Third(2.0)
""",
        encoding="utf-8",
    )
    subprocess.run([sys.executable, script], check=True)
    back = seewhy.load_explanation(tmp_path / "why.json")
    assert back.label == "the third"
    with pytest.raises(TargetError, match="__main__:Third"):
        back.target(torch.zeros(1, 4))


def test_a_kind_that_this_version_does_not_know_is_named(tmp_path: Path) -> None:
    image = np.full((32, 32, 3), 90, np.uint8)
    path = seewhy.explain(Network().eval(), image, Finer(1, 2)).save(tmp_path / "why.json")
    content = json.loads(path.read_text())
    content["target"] = {"kind": "Newer", "of": 3}
    path.write_text(json.dumps(content))
    back = seewhy.load_explanation(path)
    assert back.target.describe() == back.label == content["label"]
    with pytest.raises(TargetError, match=r"saved as Newer.*known kinds"):
        back.target(torch.zeros(1, 4))
    with pytest.raises(TargetError, match="not a saved target"):
        target_from_json({"kind": "Newer"})
