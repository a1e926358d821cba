from __future__ import annotations

from pathlib import Path

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
    found, misses = find_pictures([str(tmp_path)], leave_out=NOWHERE)
    assert [Path(one).relative_to(tmp_path).as_posix() for one in found] == [
        "a.png", "b.JPG", "deep/er/c.webp",
    ]  # fmt: skip
    assert misses == []


def test_a_pattern_is_what_a_shell_makes_of_it(tmp_path, monkeypatch):
    touch(tmp_path, "x/1.png", "x/y/2.png", "x/3.jpg")
    monkeypatch.chdir(tmp_path)
    assert find_pictures(["x/*.png"], leave_out=NOWHERE)[0] == [str(Path("x/1.png"))]
    assert find_pictures(["**/*.png"], leave_out=NOWHERE)[0] == [
        str(Path("x/1.png")), str(Path("x/y/2.png")),
    ]  # fmt: skip
    assert find_pictures(["x/[!1].*"], leave_out=NOWHERE)[0] == [str(Path("x/3.jpg"))]


def test_a_file_whose_name_is_a_pattern_is_that_file(tmp_path, monkeypatch):
    touch(tmp_path, "photo[1].png", "photo1.png")
    monkeypatch.chdir(tmp_path)
    assert find_pictures(["photo[1].png"], leave_out=NOWHERE)[0] == ["photo[1].png"]


def test_no_picture_comes_twice(tmp_path, monkeypatch):
    touch(tmp_path, "a.png")
    monkeypatch.chdir(tmp_path)
    assert find_pictures(["a.png", ".", "*.png", "./a.png"], leave_out=NOWHERE)[0] == ["a.png"]


def test_the_folder_of_results_is_left_out(tmp_path, monkeypatch):
    touch(tmp_path, "a.png", "out/a-grad-cam.png")
    monkeypatch.chdir(tmp_path)
    assert find_pictures(["."], leave_out=Path("out"))[0] == ["a.png"]
    assert find_pictures(["*"], leave_out=Path("out"))[0] == ["a.png"]


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
