from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seewhy.cli.file_names import FileNames, distinct_stems, slug
from seewhy.cli.pictures import find_pictures

NOWHERE = Path("nowhere")


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_a_folder_is_all_pictures_below_it_in_order(tmp_path):
    touch(tmp_path, "b.JPG", "a.png", "notes.txt", "deep/er/c.webp", ".hidden/d.png", "._a.png")
    found = find_pictures([str(tmp_path)], leave_out=NOWHERE)
    assert [Path(one).relative_to(tmp_path).as_posix() for one in found.pictures] == [
        "a.png", "b.JPG", "deep/er/c.webp",
    ]  # fmt: skip
    assert found.misses == []


def test_a_pattern_is_what_a_shell_makes_of_it(tmp_path, monkeypatch):
    touch(tmp_path, "x/1.png", "x/y/2.png", "x/3.jpg")
    monkeypatch.chdir(tmp_path)
    assert find_pictures(["x/*.png"], leave_out=NOWHERE).pictures == [str(Path("x/1.png"))]
    assert find_pictures(["**/*.png"], leave_out=NOWHERE).pictures == [
        str(Path("x/1.png")), str(Path("x/y/2.png")),
    ]  # fmt: skip
    assert find_pictures(["x/[!1].*"], leave_out=NOWHERE).pictures == [str(Path("x/3.jpg"))]


def test_a_file_whose_name_is_a_pattern_is_that_file(tmp_path, monkeypatch):
    touch(tmp_path, "photo[1].png", "photo1.png")
    monkeypatch.chdir(tmp_path)
    assert find_pictures(["photo[1].png"], leave_out=NOWHERE).pictures == ["photo[1].png"]


def test_no_picture_comes_twice(tmp_path, monkeypatch):
    touch(tmp_path, "a.png")
    monkeypatch.chdir(tmp_path)
    assert find_pictures(["a.png", ".", "*.png", "./a.png"], leave_out=NOWHERE).pictures == [
        "a.png"
    ]


def test_the_folder_of_results_is_left_out(tmp_path, monkeypatch):
    touch(tmp_path, "a.png", "out/a-grad-cam.png")
    monkeypatch.chdir(tmp_path)
    assert find_pictures(["."], leave_out=Path("out")).pictures == ["a.png"]
    assert find_pictures(["*"], leave_out=Path("out")).pictures == ["a.png"]


def test_names_say_as_little_as_tells_pictures_apart():
    assert distinct_stems(["a/x.png", "a/y.png"]) == {"a/x.png": "x", "a/y.png": "y"}
    assert list(distinct_stems(["a/x.png", "a/x.jpg"]).values()) == ["x-png", "x-jpg"]
    assert list(distinct_stems(["a/x.png", "b/x.png"]).values()) == ["a-x", "b-x"]
    assert list(distinct_stems(["a/x.png", "a/x.jpg", "b/x.jpg"]).values()) == [
        "a-x-png", "a-x-jpg", "b-x-jpg",
    ]  # fmt: skip


PATHS = st.lists(
    st.lists(st.sampled_from(["a", "A", "a-2", "a-png", "ab", "é"]), min_size=1, max_size=3).map(
        "/".join
    ).flatmap(lambda stem: st.sampled_from([f"{stem}.png", f"{stem}.jpg"])),
    unique=True,
    max_size=12,
)  # fmt: skip


@given(PATHS)
def test_no_two_pictures_share_a_name(paths):
    stems = distinct_stems(paths)
    assert set(stems) == set(paths)
    assert len({stem.casefold() for stem in stems.values()}) == len(paths)


@given(PATHS, st.lists(st.text(max_size=80), min_size=1, max_size=3))
def test_no_two_results_share_a_file(paths, labels):
    names = FileNames(Path("out"), paths)
    files = [
        file
        for path in paths
        for label in labels
        for file in names.claim(path, ["grad-cam", label], ["png", "npz"])
    ]
    assert len({str(file).casefold() for file in files}) == len(paths) * len(labels) * 2
    for file in files:
        assert file.parent == Path("out")
        assert len(file.name.encode()) < 255


def test_slugs_keep_letters_of_any_script():
    assert slug("Egyptian cat, Mau") == "egyptian-cat-mau"
    assert slug("小猫/dog") == "小猫-dog"
    assert slug("../..") == "target"
    assert len(slug("猫" * 100).encode()) <= 60
    assert slug("grad-cam++") == "grad-cam++"
    assert slug("layer4.2") == "layer4.2"


def test_what_a_folder_leaves_out_is_counted_and_named(tmp_path):
    touch(tmp_path, "a.png", "b.DNG", "deep/c.dng", "d.svg", "e.txt", "f.txt", "g", ".hidden.svg")
    found = find_pictures([str(tmp_path)], leave_out=NOWHERE)
    (sentence,) = found.left_out
    assert sentence.startswith(f"in '{tmp_path}' 6 files are left out: 2 .dng (a camera's raw")
    assert "1 .svg (an SVG drawing: export it as PNG" in sentence
    assert "2 .txt, 1 without an ending" in sentence
    touch(tmp_path, "only/pictures.png")
    assert find_pictures([str(tmp_path / "only")], leave_out=NOWHERE).left_out == []
    touch(tmp_path, "none/x.svg")
    found = find_pictures([str(tmp_path / "none")], leave_out=NOWHERE)
    assert found.pictures == []
    assert "contains no pictures" in found.misses[0]
    assert "1 file is left out: 1 .svg" in found.left_out[0]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_in_a_folder_is_left_out(tmp_path):
    os.mkfifo(tmp_path / "x.jpg")
    found = find_pictures([str(tmp_path)], leave_out=NOWHERE)
    assert found.pictures == []
    assert "1 pipes and the like" in found.left_out[0]
