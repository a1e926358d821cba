from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_networks import TINY

from seewhy.cli.label import complete_formats, spread
from seewhy.dataset import read_dataset
from seewhy.dataset.formats import WRITTEN
from seewhy.render import sheet


@pytest.fixture
def spots(tmp_path: Path) -> Path:
    """A red spot above on the left in one picture, a green one below on the right in the other."""
    folder = tmp_path / "photos"
    for name, colour, corner in (("red/a.png", "red", (4, 4)), ("green/b.png", "lime", (40, 40))):
        image = Image.new("RGB", (64, 64))
        image.paste(colour, (*corner, corner[0] + 20, corner[1] + 20))
        (folder / name).parent.mkdir(parents=True)
        image.save(folder / name)
    return Path("photos")


def labelled(folder: str | Path = "seewhy-labels") -> dict:
    return json.loads(Path(folder, "annotations.json").read_text())


def test_boxes_lie_on_the_spots(seewhy, spots, labels):
    result = seewhy("label", spots, *TINY, "--labels", labels)
    assert result.exit_code == 0, result.output
    (warning,) = result.stderr.splitlines()  # the resize before the crop is a guess
    assert warning.startswith("warning: all: the preprocessing is given in size and mean and std")
    data = labelled()
    assert [one["file_name"] for one in data["images"]] == ["green/b.png", "red/a.png"]
    assert [one["name"] for one in data["categories"]] == ["green", "red"]
    green, red = data["annotations"]
    assert (green["category_id"], red["category_id"]) == (1, 2)
    for annotation, wanted in ((green, (40, 40, 20, 20)), (red, (4, 4, 20, 20))):
        assert np.abs(np.array(annotation["bbox"]) - wanted).max() <= 6
    assert "seewhy-labels" in result.stdout.splitlines()
    with Image.open("seewhy-labels/preview.png") as sheet:
        sheet.load()
    protocol = json.loads(Path("seewhy-labels/protocol.json").read_text())
    assert protocol["method"] == "grad-cam"
    assert protocol["layer"] == "mixed"
    assert protocol["threshold"] == 0.15
    assert protocol["target"] == "predicted"
    assert protocol["pictures"] == 2
    assert protocol["failed"] == []


@pytest.mark.parametrize("format_", WRITTEN)
def test_every_format_is_written(seewhy, spots, format_):
    result = seewhy("label", spots, *TINY, "--format", format_, "--out", "new/set", "--preview", 0)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in Path("new").iterdir()) == ["set"]  # nothing left aside
    assert not Path("new/set/preview.png").exists()
    expected = {
        "coco": "annotations.json",
        "voc": "VOCdevkit/VOC2012/Annotations/a.xml",
        "yolo": "labels/a.txt",
        "masks": "masks/red/a.png",
    }
    assert Path("new/set", expected[format_]).is_file()
    read = read_dataset("new/set")  # alone: coco and masks say where the pictures are
    assert (read.kind, len(read), read.problems) == (format_, 2, ())
    assert read.labels == ("class 0", "class 1")
    assert {record.image.resolve() for record in read.records} == {
        (spots / name).resolve() for name in ("red/a.png", "green/b.png")
    }


def test_the_formats_are_those_of_the_package(seewhy, spots):
    assert all(f"{name}: " in seewhy("label", "--help").output for name in WRITTEN)
    result = seewhy("label", spots, *TINY, "--format", "folder")
    assert result.exit_code == 2
    assert "--format 'folder' is not known. Choose from coco, voc, yolo, masks" in result.stderr
    assert complete_formats("m") == ["masks"]


def test_classes_from_folders(seewhy, spots, labels):
    wrong = spots / "red" / "is-green.png"  # the model would say green
    Image.new("RGB", (64, 64), "lime").save(wrong)
    result = seewhy("label", spots, *TINY, "--labels", labels, "--class-from-folder")
    assert result.exit_code == 0, result.output
    data = labelled()
    names = {one["id"]: one["name"] for one in data["categories"]}
    files = {one["id"]: one["file_name"] for one in data["images"]}
    assert {(files[one["image_id"]], names[one["category_id"]]) for one in data["annotations"]} == {
        ("green/b.png", "green"), ("red/a.png", "red"),
    }  # fmt: skip
    assert len(data["images"]) == 3  # nothing red in it: kept, without an object
    assert "1 of 3 pictures have no object" in result.stdout


def test_a_folder_that_is_no_class_is_an_error_before_anything_runs(seewhy, spots, labels):
    (spots / "red").rename(spots / "purple")
    result = seewhy("label", spots, *TINY, "--labels", labels, "--class-from-folder")
    assert result.exit_code == 2
    assert "purple" in result.stderr
    assert not Path("seewhy-labels").exists()


def test_several_targets_and_all_components(seewhy, spots, labels):
    image = Image.new("RGB", (64, 64))
    image.paste("red", (4, 4, 24, 24))
    image.paste("red", (44, 44, 60, 60))
    image.paste("blue", (44, 4, 60, 20))
    folder = Path("both")
    folder.mkdir()
    image.save(folder / "c.png")
    result = seewhy("label", folder, *TINY, "--labels", labels, "-t", "red", "-t", "blue",
                    "--threshold", "0.4", "--all-components")  # fmt: skip
    assert result.exit_code == 0, result.output
    data = labelled()
    assert [one["name"] for one in data["categories"]] == ["blue", "red"]
    assert [one["category_id"] for one in data["annotations"]] == [2, 2, 1]
    assert data["annotations"][0]["area"] > data["annotations"][1]["area"]


def test_bad_pictures_are_named_and_the_others_labelled(seewhy, spots):
    Path(spots, "broken.png").write_text("no picture")
    Path(spots, "zero.jpg").touch()
    result = seewhy("label", spots, *TINY)
    assert result.exit_code == 1
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert "broken.png" in errors[0]
    assert "zero.jpg" in errors[1]
    assert errors[2] == "error: 2 of 4 pictures could not be labelled."
    assert len(labelled()["images"]) == 2
    assert json.loads(Path("seewhy-labels/protocol.json").read_text())["failed"] == [
        "photos/broken.png", "photos/zero.jpg",
    ]  # fmt: skip


def test_where_none_can_be_labelled_nothing_is_written(seewhy):
    Path("bad").mkdir()
    Path("bad/a.png").write_text("no picture")
    result = seewhy("label", "bad", *TINY)
    assert result.exit_code == 1
    assert "Nothing was written" in result.stderr
    assert not Path("seewhy-labels").exists()


def test_a_folder_with_something_in_it_is_not_written_to(seewhy, spots):
    Path("there").mkdir()
    assert seewhy("label", spots, *TINY, "--out", "there").exit_code == 0  # empty
    result = seewhy("label", spots, "--model", "nothing-there", "--out", "there")
    assert result.exit_code == 2  # before the model is looked for
    assert "'there' already exists" in result.stderr
    assert "it contains 'annotations.json'" in result.stderr


@pytest.mark.parametrize("format_", WRITTEN)
def test_an_empty_folder_stays_the_folder_that_it_is(seewhy, spots, format_, monkeypatch):
    """A mount point and the working folder can be neither removed nor replaced."""
    out = Path("mounted").resolve()
    out.mkdir()
    before = out.stat().st_ino
    photos = spots.resolve()
    monkeypatch.chdir(out)
    result = seewhy("label", photos, *TINY, "--format", format_, "--out", ".")
    assert result.exit_code == 0, result.output
    assert out.stat().st_ino == before
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    read = read_dataset(".")
    assert (read.kind, len(read), read.problems) == (format_, 2, ())


def test_what_a_killed_run_left_is_no_content(seewhy, spots):
    left = Path("out/.seewhy-filled/labels")
    left.mkdir(parents=True)
    (left / "annotations.json").touch()
    result = seewhy("label", spots, *TINY, "--out", "out")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "annotations.json", "preview.png", "protocol.json",
    ]  # fmt: skip


def test_a_failure_while_writing_into_an_empty_folder_leaves_it_empty(seewhy, spots, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("seewhy.dataset.writing.write_labels", full)
    Path("out").mkdir()
    assert seewhy("label", spots, *TINY, "--out", "out").exit_code == 1
    assert list(Path("out").iterdir()) == []


@pytest.mark.parametrize("out", ["a-file", "a-file/below", "no/more/room"])
def test_where_nothing_can_be_written_is_said_before_anything_is_computed(
    seewhy, spots, out, monkeypatch
):
    Path("a-file").touch()
    if out == "no/more/room":

        def read_only(*_: object, **__: object) -> None:
            raise OSError(30, "Read-only file system")

        monkeypatch.setattr("tempfile.mkdtemp", read_only)
    result = seewhy("label", spots, "--model", "nothing-there", "--out", out)
    assert result.exit_code == 2
    assert f"'{out}' cannot be written" in result.stderr
    assert not Path("no").exists()


def test_objects_of_improbable_classes_are_left_out(seewhy, spots, labels):
    words = ["label", spots, *TINY, "--labels", labels, "-t", "red", "-t", "green"]
    result = seewhy(*words, "--out", "all")
    assert result.exit_code == 0, result.output
    objects = labelled("all")["annotations"]
    middle = sorted(one["score"] for one in objects)[len(objects) // 2]
    result = seewhy(*words, "--out", "some", "--min-probability", middle)
    assert result.exit_code == 0, result.output
    kept = labelled("some")["annotations"]
    assert 0 < len(kept) < len(objects)
    assert min(one["score"] for one in kept) >= middle
    assert len(labelled("some")["images"]) == 2
    gone = len(objects) - len(kept)
    assert f"{gone} objects are left out: the probability of their class is below" in result.stdout
    assert json.loads(Path("some/protocol.json").read_text())["min_probability"] == middle
    assert json.loads(Path("all/protocol.json").read_text())["min_probability"] is None


def test_improbable_classes_are_warned_of(seewhy, spots, labels, monkeypatch):
    words = ["label", spots, *TINY, "--labels", labels]
    assert "--min-probability" not in seewhy(*words, "--out", "quiet").stderr
    monkeypatch.setattr("seewhy.cli.label._LOW", 1.0)
    result = seewhy(*words, "--out", "warned")
    assert result.exit_code == 0
    assert result.stderr.count("probability for this class is below 0.1") == 1
    assert result.stderr.startswith("warning: all: ")
    result = seewhy(*words, "--out", "chosen", "--min-probability", "0.2")
    assert "gives this class" not in result.stderr


def test_the_preview_says_how_probable_each_class_is(seewhy, spots, labels, monkeypatch):
    captions = []
    sample = sheet.sample

    def noting(*words):
        captions.append(words[-1])
        return sample(*words)

    monkeypatch.setattr(sheet, "sample", noting)
    assert seewhy("label", spots, *TINY, "--labels", labels).exit_code == 0
    scores = [one["score"] for one in labelled()["annotations"]]
    assert captions == [
        f"green/b.png: green {scores[0]:.2g}", f"red/a.png: red {scores[1]:.2g}",
    ]  # fmt: skip


@pytest.mark.parametrize("format_", WRITTEN)
@pytest.mark.parametrize(
    "name", [b"caf\xe9 \xff.png", b"two\nlines\x07.png", "😀 日本.png".encode()]
)
def test_pictures_of_any_name_are_labelled(seewhy, spots, labels, format_, name):
    (spots / "red" / "a.png").rename(spots / "red" / os.fsdecode(name))
    result = seewhy("label", spots, *TINY, "--labels", labels, "--format", format_)
    assert result.exit_code == 0, result.output
    read = read_dataset("seewhy-labels")
    assert (read.kind, len(read), read.problems) == (format_, 2, ())
    assert read.labels == ("green", "red")
    for record in read.records:
        assert record.image.stat().st_size
        record.id.encode("utf-8")


@pytest.mark.parametrize("format_", WRITTEN)
def test_classes_of_any_name_are_written(seewhy, spots, format_):
    names = ["red\tcrimson \x1b[31m", "grün 😀 & <co>", "no"]
    Path("labels.json").write_text(json.dumps(names), encoding="utf-8")
    result = seewhy("label", spots, *TINY, "--labels", "labels.json", "--format", format_)
    assert result.exit_code == 0, result.output
    read = read_dataset("seewhy-labels")
    assert read.problems == ()
    assert read.labels == ("grün 😀 & <co>", "red crimson [31m")


def test_links_are_walked_and_have_the_class_of_their_own_folder(seewhy, spots, labels):
    store = Path("store/purple")
    store.mkdir(parents=True)
    (spots / "red" / "a.png").rename(store / "1.png")
    (spots / "red" / "a.png").symlink_to(store.resolve() / "1.png")
    more = Path("more")
    (spots / "green").rename(more)
    (spots / "green").symlink_to(more.resolve())
    (more / "round").symlink_to(spots.resolve())  # and back to the start
    result = seewhy("label", spots, *TINY, "--labels", labels, "--class-from-folder")
    assert result.exit_code == 0, result.output
    data = labelled()
    assert [one["file_name"] for one in data["images"]] == ["green/b.png", "red/a.png"]
    names = {one["id"]: one["name"] for one in data["categories"]}
    assert [names[one["category_id"]] for one in data["annotations"]] == ["green", "red"]


def test_a_failure_while_writing_leaves_nothing(seewhy, spots, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("seewhy.dataset.writing.write_labels", full)
    result = seewhy("label", spots, *TINY)
    assert result.exit_code == 1
    assert "No space left on device" in result.stderr
    assert sorted(path.name for path in Path().iterdir() if path.name != "labels.txt") == ["photos"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--min-probability", "50"], "--min-probability must be from 0 to 1, not 50"),
        (["--threshold", "15"], "--threshold must be at least 0 and below 1, such as 0.15"),
        (["--method", "grad-cam,cam"], "label uses one method, but 2 were given"),
        (["--class-from-folder", "-t", "0"], "cannot be combined"),
        (["--method", "gradcam"], "did you mean"),
    ],
)
def test_a_wrong_command_is_an_error_before_the_model_is_loaded(seewhy, spots, words, message):
    result = seewhy("label", spots, "--model", "nothing-there", *words)
    assert result.exit_code == 2
    assert message in result.stderr


def test_labels_are_made_from_one_layer(seewhy, spots):
    result = seewhy("label", spots, *TINY, "--layer", "*")
    assert result.exit_code == 2
    assert "label uses one layer" in result.stderr
    assert seewhy("label", spots, *TINY, "--layer", "features.0").exit_code == 0


def test_the_argument_is_a_folder_with_pictures(seewhy, picture):
    result = seewhy("label", picture("a.png"), *TINY)
    assert result.exit_code == 2
    assert "Give a folder of pictures" in result.stderr
    Path("empty").mkdir()
    result = seewhy("label", "empty", *TINY)
    assert result.exit_code == 1
    assert "contains no pictures" in result.stderr


def test_the_preview_is_spread_over_the_pictures():
    names = [str(number) for number in range(10)]
    assert spread(names, 3) == {"0", "3", "6"}
    assert spread(names, 24) == set(names)
    assert spread(names, 0) == frozenset()
