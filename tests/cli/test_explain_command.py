from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from tiny_networks import TINY

import seewhy as package

KEYS = [
    "image", "model", "method", "layer", "target", "score", "probability", "files", "warnings",
]  # fmt: skip


def said(result) -> list[dict]:
    """The lines of JSON on stdout; anything else there is an error."""
    return [json.loads(line) for line in result.stdout.splitlines()]


def written(folder: str | Path = "seewhy-out") -> list[str]:
    return sorted(path.name for path in Path(folder).rglob("*"))


def test_each_picture_gets_a_figure_and_a_row(seewhy, picture, labels):
    given = ("--resize", "37", "--crop", "32", "--interpolation", "bilinear")
    result = seewhy("explain", picture("a.png", "red"), picture("b.jpg", "lime"), *TINY, *given,
                    "--labels", labels)  # fmt: skip
    assert result.exit_code == 0, result.output
    assert written() == [
        "a-tiny_networks-colours-grad-cam-red.jpg",
        "b-tiny_networks-colours-grad-cam-green.jpg",
    ]
    for name in written():
        with Image.open(Path("seewhy-out", name)) as figure:
            figure.load()
    for word in ("a.png", "b.jpg", "green", "grad-cam", *written()):
        assert word in result.stdout
    assert "labels.txt" in result.stdout  # where the labels are from
    assert result.stderr == ""  # nothing of the preprocessing is a guess


def test_json_is_a_line_an_explanation_and_nothing_else(seewhy, picture, labels):
    result = seewhy("explain", picture("a.png"), *TINY, "--labels", labels, "--json",
                    "--method", "grad-cam,hires-cam", "-t", "green", "-t", "blue")  # fmt: skip
    assert result.exit_code == 0, result.output
    lines = said(result)
    assert [list(line) for line in lines] == [KEYS] * 4
    assert [(line["method"], line["target"]) for line in lines] == [
        ("grad-cam", "green"), ("grad-cam", "blue"), ("hires-cam", "green"), ("hires-cam", "blue"),
    ]  # fmt: skip
    assert {line["image"] for line in lines} == {"a.png"}
    assert {line["layer"] for line in lines} == {"mixed"}
    assert all(line["score"] == 0 for line in lines)  # nothing green or blue in red
    assert len({file for line in lines for file in line["files"]}) == 4
    assert all(Path(file).is_file() for line in lines for file in line["files"])
    assert all("zero" in " ".join(line["warnings"]) for line in lines)


def test_a_number_that_json_does_not_have_becomes_null(seewhy, picture):
    result = seewhy("explain", picture("a.png", "blue"), "--json", "--target", "0",
                    "--model", "tiny_networks:AfraidOfBlue", *TINY[2:])  # fmt: skip
    (line,) = said(result)
    assert line["score"] is None
    assert "NaN" in " ".join(line["warnings"])


def test_bad_files_are_named_and_the_others_go_on(seewhy, picture):
    good = picture("good.png")
    Path("empty.jpg").touch()
    Path("text.png").write_text("no picture")
    cut = Path(picture("cut.png", size=(300, 300)))
    cut.write_bytes(cut.read_bytes()[:200])
    result = seewhy("explain", "empty.jpg", good, "missing.png", "text.png", cut, *TINY, "--json")
    assert result.exit_code == 1
    assert [line["image"] for line in said(result)] == ["good.png"]
    errors = result.stderr.splitlines()
    assert len(errors) == 5
    assert all(line.startswith("error: ") for line in errors)
    for name, line in zip(
        ("empty.jpg", "missing.png", "text.png", "cut.png"), errors[:4], strict=True
    ):
        assert name in line
    assert errors[4] == "error: 4 of 5 pictures could not be explained."
    assert written() == ["good-tiny_networks-colours-grad-cam-class-0.jpg"]


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_every_line_is_about_its_own_picture(seewhy, picture, labels, batch_size):
    colours = {"a/x.png": "red", "b/x.png": "blue", "d/x.png": "lime", "e/x.png": "blue"}
    paths = [picture(name, colour) for name, colour in colours.items()]
    Path("c").mkdir()
    Path("c/x.png").write_bytes(b"broken")
    paths.insert(2, Path("c/x.png"))
    result = seewhy("explain", *paths, *TINY, "--labels", labels, "--json", "--save-as", "npz",
                    "--batch-size", batch_size)  # fmt: skip
    assert result.exit_code == 1
    lines = said(result)
    assert [line["image"] for line in lines] == [str(Path(name)) for name in colours]
    assert len({line["files"][0] for line in lines}) == 4
    for line in lines:
        explanation = package.load_explanation(line["files"][0])
        with Image.open(line["image"]) as picture_:
            assert tuple(explanation.picture[0, 0]) == picture_.getpixel((0, 0))
        assert explanation.label == line["target"]


def test_what_only_one_picture_cannot_have_stops_no_other(seewhy, picture):
    paths = [picture("a.png", "red"), picture("b.png", "blue"), picture("c.png", "lime")]
    result = seewhy("explain", *paths, "--json", "--model", "tiny_networks:AfraidOfBlue", *TINY[2:])
    assert result.exit_code == 1
    assert [line["image"] for line in said(result)] == ["a.png", "c.png"]
    assert "b.png" in result.stderr
    assert "NaN" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("--method", "grad-cm"),
        ("--method", "grad-cam,nothing"),
        ("--layer", "mixt"),
        ("--target", "gren"),
        ("--target", "99"),
        ("--target", "top99"),
        ("--model", "nothing"),
        ("--model", "tiny_networks:Nothing"),
        ("--fuse", "sum", "--layer", "mixed,features"),
        ("--colormap", "viridiss"),
        ("--opacity", "2"),
        ("--save-as", "gif"),
        ("--size", "big"),
        ("--size", "0"),
        ("--mean", "a,b,c"),
        ("--std", "1,2"),
        ("--set", "samples=20"),
        ("--set", "samples"),
        ("--method", "smooth-grad-cam++", "--set", "samples=many"),
        ("--method", "smooth-grad-cam++", "--set", "samples=0"),
        ("--device", "nowhere"),
        ("--labels", "missing.txt"),
        ("--output", "logits"),
        ("--batch-size", "0"),
        ("--out", "red.png"),
        ("--no-such-option",),
    ],
)
def test_what_is_wrong_for_every_picture_is_a_usage_error(seewhy, picture, labels, words):
    result = seewhy(
        "explain", picture(), picture("blue.png", "blue"), *TINY, "--labels", labels, *words
    )
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert not written() if "--out" not in words else Path("red.png").is_file()
    assert "rror" in result.stderr
    if result.stderr.startswith("error: "):
        assert len(result.stderr.splitlines()) == 1


def test_a_method_that_the_model_has_no_use_for_is_a_usage_error(seewhy, picture):
    result = seewhy("explain", picture(), "--model", "tiny_networks:ManyOnes", *TINY[2:],
                    "--method", "cam")  # fmt: skip
    assert result.exit_code == 2
    assert "grad-cam" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_the_nearest_names_are_offered(seewhy, picture):
    assert "did you mean grad-cam" in seewhy("explain", picture(), "--method", "gradcam").stderr
    assert "mixed" in seewhy("explain", picture(), *TINY, "--layer", "mixt").stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nothing.png",), ["file 'nothing.png' not found. Check the path."]),
        (("*.tif",), ["the pattern '*.tif' matches no file. Check the path."]),
        (("empty",), ["folder 'empty' contains no pictures (files such as .jpg or .png)."]),
        (
            ("a.png", "b/*"),
            [
                "the pattern 'b/*' matches no file. Check the path.",
                "file 'a.png' not found. Check the path.",
            ],
        ),
    ],
)
def test_no_picture_at_all_is_a_usage_error_with_a_line_for_each(seewhy, words, said):
    Path("empty").mkdir()
    result = seewhy("explain", *words, *TINY)
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [f"error: {line}" for line in said]


def test_a_pattern_without_a_match_fails_beside_others_that_match(seewhy, picture):
    result = seewhy("explain", picture(), "nothing*.png", *TINY, "--json")
    assert result.exit_code == 1
    assert len(said(result)) == 1
    assert "nothing*.png" in result.stderr


def test_one_map_from_several_layers(seewhy, picture):
    words = ("explain", picture(), *TINY, "--json", "--layer", "mixed,features")
    assert [line["layer"] for line in said(seewhy(*words))] == ["mixed", "features"]
    assert len(written()) == 2
    (fused,) = said(seewhy(*words, "--fuse", "scaled-max"))
    assert "mixed" in fused["layer"]
    assert "features" in fused["layer"]


def test_the_overlay_alone_has_the_pictures_size(seewhy, picture):
    result = seewhy("explain", picture(size=(61, 47)), *TINY, "--overlay-only", "--json")
    with Image.open(said(result)[0]["files"][0]) as overlay:
        assert overlay.size == (61, 47)


def test_everything_can_be_saved_and_read_back(seewhy, picture):
    result = seewhy("explain", picture(), *TINY, "--json", "--save-as", "npz,json,png")
    (line,) = said(result)
    assert [Path(file).suffix for file in line["files"]] == [".npz", ".json", ".png"]
    for file in line["files"][:2]:
        explanation = package.load_explanation(file)
        assert (explanation.method, explanation.layer) == (line["method"], line["layer"])
        assert explanation.score == line["score"]


def test_pictures_of_one_name_do_not_take_each_others_place(seewhy, picture):
    paths = [
        picture(name)
        for name in (
            "a/x.png",
            "b/x.png",
            "b/x.jpg",
            "x-tiny_networks-colours-grad-cam-class-0.jpg",
        )
    ]
    before = Path(paths[3]).read_bytes()
    result = seewhy("explain", *paths, picture("x.bmp"), *TINY, "--json", "--out", ".")
    assert result.exit_code == 0, result.output
    files = [file for line in said(result) for file in line["files"]]
    assert len({file.casefold() for file in files}) == 5
    assert Path(paths[3]).read_bytes() == before  # a picture is no place for a result


def test_results_of_an_earlier_run_are_no_pictures(seewhy, picture):
    picture()
    for _ in range(2):
        result = seewhy("explain", ".", *TINY, "--json")
        assert [line["image"] for line in said(result)] == ["red.png"]


def test_what_cannot_be_written_fails_alone(seewhy, picture, monkeypatch):
    from seewhy.explanation import Explanation

    def save(explanation, path, **colours):
        if "bad" in path.name:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Explanation, "save", save)
    result = seewhy("explain", picture("bad.png"), picture("good.png"), *TINY, "--json",
                    "--save-as", "npz")  # fmt: skip
    assert result.exit_code == 1
    assert [line["image"] for line in said(result)] == ["good.png"]
    assert "No space left on device" in result.stderr
    assert "1 of 2" in result.stderr
    assert "bad-tiny_networks-colours-grad-cam" in result.stderr  # which file it was


def test_nothing_half_written_is_left_when_drawing_fails(seewhy, picture, monkeypatch):
    given = picture()

    def save(image, path, **options):
        Path(path).write_bytes(b"half of a figure")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", save)
    result = seewhy("explain", given, *TINY)
    assert result.exit_code == 1
    assert written() == []


def test_a_warning_that_holds_for_all_is_said_once(seewhy, picture):
    result = seewhy("explain", picture("a.png"), picture("b.png"), "--target", "0",
                    "--model", "tiny_networks:Colours")  # fmt: skip
    assert result.exit_code == 0
    (warning,) = result.stderr.splitlines()
    assert warning.startswith("warning: all: the preprocessing is assumed")


def test_names_with_brackets_are_not_taken_for_markup(seewhy, picture):
    path = picture("[bold]x[1].png")
    result = seewhy("explain", path, *TINY)
    assert result.exit_code == 0, result.output
    assert str(path) in result.stdout


def test_runs_with_another_model_or_layer_keep_their_own_files(seewhy, picture):
    picture("a.png", "red")
    for more in ((), ("--layer", "mixed"), ("--layer", "features.1")):
        assert seewhy("explain", "a.png", *TINY, "--target", "0", *more).exit_code == 0
    assert written() == [
        "a-tiny_networks-colours-grad-cam-class-0.jpg",
        "a-tiny_networks-colours-grad-cam-features.1-class-0.jpg",
        "a-tiny_networks-colours-grad-cam-mixed-class-0.jpg",
    ]


def test_out_that_reads_like_a_file_is_refused(seewhy, picture):
    result = seewhy("explain", picture("a.png"), *TINY, "--out", "maps/a.png")
    assert result.exit_code == 2
    assert "looks like a file name, but explain needs a folder" in result.stderr
    assert "--out maps/a" in result.stderr.replace("\n", " ")
    assert not Path("maps").exists()


def test_pictures_of_one_name_are_told_apart_in_the_table(seewhy, picture):
    result = seewhy("explain", picture("a/x.png"), picture("b/x.png"), picture("y.png"), *TINY)
    for name in (str(Path("a/x.png")), str(Path("b/x.png")), "y.png"):
        assert name in result.stdout
