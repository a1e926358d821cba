"""Every source becomes the same manifest each time, in an order that is always the same."""

from __future__ import annotations

import io
import itertools
import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from run_networks import write_pictures

from seewhy.dataset import read_dataset
from seewhy.errors import DataError, ImageError
from seewhy.runs.archives import written_out
from seewhy.runs.manifest import CORE, Manifest, changed_rows, write_manifest
from seewhy.runs.sources import gathered, pieces_of
from seewhy.runs.stores import read_bytes

numbers = itertools.count()


def made(tmp_path, source, *, limit=None, **options):
    """The manifest of a source, and what was said of it."""
    notes = []
    path = tmp_path / f"manifest-{next(numbers)}.parquet"
    digests = write_manifest(path, pieces_of(source, note=notes.append, **options), limit)
    manifest = Manifest(path)
    assert len(manifest) == digests.count
    return manifest, notes


def rows(manifest):
    return manifest.rows(0, len(manifest)).to_pylist()


def names(manifest):
    return [row["uri"].rpartition("/")[2] for row in rows(manifest)]


def test_a_folder_is_walked_and_hidden_and_own_results_are_not(tmp_path) -> None:
    folder = tmp_path / "photos"
    for name in ("b/2.png", "a/1.png", "0.png", ".hidden/x.png", "b/.y.png", "run/overlay.png"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    (folder / "notes.txt").write_text("no picture")
    manifest, _ = made(tmp_path, folder, leave_out=folder / "run")
    assert names(manifest) == ["0.png", "1.png", "2.png"]
    first = rows(manifest)[0]
    assert first["id"] == 0
    assert first["size"] == (folder / "0.png").stat().st_size
    assert first["modified"] == (folder / "0.png").stat().st_mtime_ns


def test_a_folder_by_class_has_labels(tmp_path) -> None:
    write_pictures(tmp_path / "animals" / "cat", 2)
    write_pictures(tmp_path / "animals" / "dog", 1)
    manifest, _ = made(tmp_path, tmp_path / "animals")
    assert [row["label"] for row in rows(manifest)] == ["cat", "cat", "dog"]


def test_a_pattern_and_files(tmp_path) -> None:
    write_pictures(tmp_path / "p", 4)
    manifest, _ = made(tmp_path, str(tmp_path / "p" / "000[13].png"))
    assert names(manifest) == ["0001.png", "0003.png"]
    several = [tmp_path / "p" / "0002.png", tmp_path / "p" / "0000.png"]
    assert names(made(tmp_path, several)[0]) == ["0002.png", "0000.png"]
    with pytest.raises(ImageError, match="matches no file"):
        made(tmp_path, str(tmp_path / "p" / "*.jpg"))
    with pytest.raises(ImageError, match="there is no"):
        made(tmp_path, tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="contains no picture"):
        made(tmp_path, tmp_path / "empty")


TABLE = [
    {"path": "p/0000.png", "label": "cat", "camera": "a", "weight": 1.5},
    {"path": "p/0001.png", "label": "7", "camera": None, "weight": 2.0},
]


def as_csv(path):
    path.write_text("path,label,camera,weight\np/0000.png,cat,a,1.5\np/0001.png,7,,2\n")


def as_semicolons(path):
    path.write_text("﻿weight;path;camera;label\n1.5;p/0000.png;a;cat\n2;p/0001.png;;7\n")


def as_json(path):
    path.write_text(json.dumps(TABLE))


def as_lines(path):
    path.write_text("".join(json.dumps(row) + "\n" for row in TABLE))


def as_parquet(path):
    pq.write_table(pa.Table.from_pylist(TABLE), path)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("t.csv", as_csv),
        ("t.csv", as_semicolons),
        ("t.json", as_json),
        ("t.jsonl", as_lines),
        ("t.parquet", as_parquet),
    ],
)
def test_a_table_keeps_its_columns(tmp_path, name, write) -> None:
    paths = write_pictures(tmp_path / "p", 2)
    write(tmp_path / name)
    found = rows(made(tmp_path, tmp_path / name)[0])
    assert [row["uri"] for row in found] == list(map(str, paths))
    assert [row["label"] for row in found] == ["cat", "7"]
    assert [row["camera"] or None for row in found] == ["a", None]
    assert [row["weight"] for row in found] == [1.5, 2.0]
    assert all(row["modified"] for row in found)


def test_a_list_of_paths_in_json_and_strange_tables(tmp_path) -> None:
    write_pictures(tmp_path / "p", 1)
    table = tmp_path / "t.json"
    table.write_text('["p/0000.png"]')
    assert names(made(tmp_path, table)[0]) == ["0000.png"]
    table.write_text('{"a": 1}')
    with pytest.raises(DataError, match="contains no list of pictures"):
        made(tmp_path, table)
    table.write_text("[{")
    with pytest.raises(DataError, match="cannot be read as JSON"):
        made(tmp_path, table)
    csv = tmp_path / "t.csv"
    csv.write_text("name,label\nx,y\n")
    with pytest.raises(DataError, match=r"has the columns name, label; one of .*path"):
        made(tmp_path, csv)
    csv.write_text("path,label\n,y\n")
    with pytest.raises(DataError, match=r"row 0 .* has no path"):
        made(tmp_path, csv)
    csv.write_text("path,id,offset_given\np/0000.png,seven,1\n")
    assert rows(made(tmp_path, csv)[0])[0]["given_id"] == "seven"


def test_annotations_with_boxes_are_a_data_set(tmp_path) -> None:
    write_pictures(tmp_path / "images", 2)
    (tmp_path / "annotations.csv").write_text(
        "image,label,x0,y0,x1,y1\n0000.png,cat,1,2,9,9\n0000.png,dog,3,3,8,8\n0001.png,cat,,,,\n"
    )
    by_file, _ = made(tmp_path, tmp_path / "annotations.csv")
    by_folder, notes = made(tmp_path, tmp_path, leave_out=None)
    given, _ = made(tmp_path, read_dataset(tmp_path))
    assert rows(by_file) == rows(by_folder) == rows(given)
    assert [row["labels"] for row in rows(given)] == [["cat", "dog"], ["cat"]]
    assert [row["label"] for row in rows(given)] == [None, "cat"]
    assert "data set of kind csv" in notes[0]
    (tmp_path / "images" / "0002.png").write_bytes((tmp_path / "images/0001.png").read_bytes())
    assert len(made(tmp_path, tmp_path, kind="pictures")[0]) == 3
    with pytest.raises(DataError, match="kind 'strange' is not known"):
        made(tmp_path, tmp_path, kind="strange")


def write_archive(path, samples) -> None:
    """A tar of WebDataset; `samples` maps names of members to their bytes."""
    with tarfile.open(path, "w") as tar:
        for name, data in samples.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def test_the_members_of_archives_are_read_in_place(tmp_path) -> None:
    paths = write_pictures(tmp_path / "p", 6)
    for number in range(2):
        samples = {}
        for path in paths[3 * number : 3 * number + 3]:
            samples[f"x/{path.stem}.png"] = path.read_bytes()
            samples[f"x/{path.stem}.cls"] = str(number).encode()
        samples[f"x/9{number}.json"] = b'{"label": "late"}'
        samples[f"x/9{number}.seg.png"] = paths[0].read_bytes()
        write_archive(tmp_path / f"s-{number:03d}.tar", samples)
    manifest, _ = made(tmp_path, str(tmp_path / "s-{000..001}.tar"))
    found = rows(manifest)
    assert [row["member"] for row in found[:4]] == [
        "x/0000.png", "x/0001.png", "x/0002.png", "x/90.seg.png",
    ]  # fmt: skip
    assert [row["label"] for row in found] == ["0", "0", "0", "late", "1", "1", "1", "late"]
    for row, path in zip(found[:3] + found[4:7], paths, strict=True):
        assert read_bytes(row["uri"], row["offset"], row["size"]) == path.read_bytes()
    assert rows(made(tmp_path, str(tmp_path / "s-*.tar"))[0]) == found
    (tmp_path / "t.tar.gz").write_bytes(b"x")
    with pytest.raises(DataError, match=r"packed as a whole"):
        made(tmp_path, tmp_path / "t.tar.gz")
    (tmp_path / "bad.tar").write_bytes(b"no archive" * 100)
    with pytest.raises(DataError, match=r"bad\.tar' cannot be read"):
        made(tmp_path, tmp_path / "bad.tar")


def test_braces_are_written_out() -> None:
    assert list(written_out("a-{08..11}.tar")) == ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]
    assert list(written_out("{0..1}/{1..2}.tar")) == ["0/1.tar", "0/2.tar", "1/1.tar", "1/2.tar"]
    assert list(written_out("plain.png")) == ["plain.png"]


def test_a_manifest_can_be_given_instead_and_cut(tmp_path) -> None:
    write_pictures(tmp_path / "p", 5)
    manifest, _ = made(tmp_path, tmp_path / "p")
    again, _ = made(tmp_path, manifest.path)
    assert rows(again) == rows(manifest)
    cut, _ = made(tmp_path, tmp_path / "p", limit=3)
    assert rows(cut) == rows(manifest)[:3]


@settings(max_examples=25)
@given(st.lists(st.integers(0, 70_000), min_size=1, max_size=4), st.data())
def test_rows_are_the_same_however_a_source_is_divided(tmp_path_factory, pieces, data) -> None:
    folder = tmp_path_factory.mktemp("manifest")
    uris = [f"/p/{number}" for number in range(sum(pieces))]
    if not uris:
        return
    whole = write_manifest(folder / "whole.parquet", gathered({"uri": uri} for uri in uris))

    def divided():
        begin = 0
        for length in pieces:
            yield from gathered(
                [{"uri": uri} for uri in uris[begin : begin + length]],
            )
            begin += length

    parts = write_manifest(folder / "parts.parquet", divided())
    assert (whole.count, whole.pictures, whole.content) == (
        parts.count, parts.pictures, parts.content,
    )  # fmt: skip
    manifest = Manifest(folder / "parts.parquet")
    start = data.draw(st.integers(0, len(uris) - 1))
    stop = data.draw(st.integers(start, min(start + 200, len(uris))))
    entries = manifest.entries(start, stop)
    assert [entry.id for entry in entries] == list(range(start, stop))
    assert [entry.uri for entry in entries] == uris[start:stop]
    assert not list(changed_rows(Manifest(folder / "whole.parquet"), manifest))


def test_what_changed_is_found_row_by_row(tmp_path) -> None:
    def write(name, changed):
        entries = (
            {"uri": f"/p/{number}", "label": "new" if number in changed else "old"}
            for number in range(70_000)
        )
        write_manifest(tmp_path / name, gathered(entries))
        return Manifest(tmp_path / name)

    before, after = write("before.parquet", ()), write("after.parquet", {3, 40_000, 69_999})
    assert list(changed_rows(before, after)) == [3, 40_000, 69_999]


def test_core_columns_come_first() -> None:
    assert CORE.names[:2] == ["id", "uri"]
