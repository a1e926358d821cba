"""A run in this process: rows, resuming, refusing, and what changed since."""

from __future__ import annotations

import json
import os

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from PIL import Image
from run_networks import Colours, loaded, write_pictures

import seewhy
from seewhy.errors import DataError, MethodError, TargetError
from seewhy.runs.parts import part_path
from seewhy.runs.rows import NUMBERS


@pytest.fixture
def pictures(tmp_path):
    write_pictures(tmp_path / "pictures", 20)
    return tmp_path / "pictures"


@pytest.fixture
def start(tmp_path, pictures):
    """Starts a run in this process; its notes are in `start.notes`."""

    def run(source=pictures, out="run", model=None, target=None, **options):
        notes.clear()
        options = {"workers": 0, "shard_size": 6, **options}
        return seewhy.run(
            loaded() if model is None else model, source, tmp_path / out, target,
            note=notes.append, **options,
        )  # fmt: skip

    notes = run.notes = []
    return run


def test_a_row_holds_what_the_explanation_does(start, pictures) -> None:
    made = start()
    rows = made.table()
    assert rows["id"].to_pylist() == list(range(20))
    assert len(made.parts) == 4
    assert made.finished
    explainer = seewhy.Explainer(loaded())
    for row in rows.to_pylist()[::7]:
        own = explainer(row["uri"])
        assert row["uri"] == str(pictures / f"{row['id']:04d}.png")
        assert row["target"] == own.label
        assert row["score"] == pytest.approx(own.score, rel=1e-6)
        assert row["probability"] == pytest.approx(own.probability, rel=1e-6)
        assert row["predicted"] == own.predictions[0].label
        assert [one["class"] for one in row["predictions"]] == [p.index for p in own.predictions]
        assert (row["width"], row["height"]) == (48, 40)
        assert row["error"] is None
        assert row["map_scale"] == pytest.approx(np.abs(own.map).max(), rel=1e-6)
        again = made.explanation(row["id"])
        assert np.abs(again.map - own.map).max() <= 2**-11 * np.abs(own.map).max()
        assert np.array_equal(again.picture, own.picture)
        assert again.window == own.window
        assert again.target == own.target
        assert again.predictions[0].label == own.predictions[0].label


def test_the_key_is_id_method_layer_target(start) -> None:
    made = start(target=("red", "blue"), method=["grad-cam", "layer-cam"], limit=5)
    keys = [tuple(row.values()) for row in made.table(["id", "method", "target"]).to_pylist()]
    assert keys == [
        (id_, method, target)
        for id_ in range(5) for method in ("grad-cam", "layer-cam") for target in ("red", "blue")
    ]  # fmt: skip
    one = made.explanation(3, method="layer-cam", target="blue")
    assert (one.method, one.label) == ("layer-cam", "blue")
    with pytest.raises(DataError, match="4 explanations of picture 3 are meant; name one of"):
        made.explanation(3)


def test_maps_of_several_sizes_are_lists_of_their_own_length(start) -> None:
    made = start(method=["grad-cam", "saliency"], limit=3)
    rows = made.table()
    sizes = {(row["method"], len(row["map"])) for row in rows.to_pylist()}
    assert sizes == {("grad-cam", 64), ("saliency", 32 * 32)}
    assert made.maps(rows)[1].shape == (32, 32)


def test_a_tiny_gradient_survives_float16(start) -> None:
    weak = Colours()
    with_tiny = loaded(weak)
    for weight in weak.head.parameters():
        weight.data *= 1e-9
    made = start(model=with_tiny, limit=2)
    own = seewhy.Explainer(with_tiny)(made.table(["uri"])["uri"][1].as_py()).map
    assert 0 < np.abs(own).max() < 1e-8
    assert np.abs(made.maps(made.table())[1] - own).max() <= 2**-11 * np.abs(own).max()


def test_what_is_done_is_not_done_again(start) -> None:
    made = start()
    before = {part: part.stat().st_mtime_ns for part in made.parts}
    part_path(made.folder, 2).unlink()
    again = start()
    assert again.told.pictures == 6
    assert {part: part.stat().st_mtime_ns for part in again.parts if "2" not in part.name} == {
        part: time for part, time in before.items() if "2" not in part.name
    }
    assert again.table().equals(made.table())
    assert start().told.pictures == 0


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"method": "layer-cam"}, r"explaining.methods was \['grad-cam'\]"),
        ({"target": "red"}, "explaining.target was None and is 'red' now"),
        ({"batch_size": 4}, "batch_size was 8 and is 4 now"),
        ({"shard_size": 7}, "shard_size was 6 and is 7 now"),
        ({"limit": 19}, "pictures.count was 20 and is 19 now"),
        ({"overlays": True}, "overlays was None"),
        ({"layer": "features.0"}, "explaining.layer was None"),
    ],
)
def test_another_request_into_the_same_folder_is_refused(start, change, named) -> None:
    start()
    with pytest.raises(DataError, match=named):
        start(**change)
    assert len(start().table()) == 20


def test_other_weights_or_another_preprocessing_are_refused(start) -> None:
    start()
    other = loaded(Colours())
    other.module.head.weight.data += 1
    with pytest.raises(DataError, match=r"model\.weights"):
        start(model=other)
    explainer = seewhy.Explainer(
        loaded(), preprocess=seewhy.Preprocess((32, 32), 40, (0, 0, 0), (1, 1, 1))
    )
    with pytest.raises(DataError, match=r"preprocessing\.resize"):
        start(model=explainer)


def test_other_pictures_are_refused(start, pictures) -> None:
    start()
    write_pictures(pictures, 21)
    with pytest.raises(DataError, match=r"pictures.count was 20 and is 21 now"):
        start()


def test_a_picture_that_changed_is_computed_anew_and_said(start, pictures) -> None:
    made = start()
    before = made.table()
    changed = pictures / "0013.png"
    Image.new("RGB", (48, 40), "red").save(changed)
    with pytest.raises(DataError, match=r"0013\.png' has changed since the run"):
        made.explanation(13)
    again = start()
    assert any("1 pictures have changed since" in note for note in start.notes)
    assert again.told.pictures == 6
    after = again.table()
    assert after["id"].to_pylist() == list(range(20))
    differ = [
        id_ for id_ in range(20)
        if before["fingerprint"][id_] != after["fingerprint"][id_]
    ]  # fmt: skip
    assert differ == [13]
    assert again.explanation(13).label == "red"


def test_a_new_label_is_computed_anew(start, tmp_path, pictures) -> None:
    table = tmp_path / "table.csv"
    lines = [f"pictures/{number:04d}.png,cat" for number in range(20)]
    table.write_text("path,label\n" + "\n".join(lines) + "\n")
    start(source=table)
    lines[7] = lines[7].replace("cat", "dog")
    table.write_text("path,label\n" + "\n".join(lines) + "\n")
    again = start(source=table)
    assert again.told.pictures == 6
    assert again.table(["label"])["label"].to_pylist()[6:9] == ["cat", "dog", "cat"]


def test_a_picture_that_fails_is_a_row_with_its_error(start, pictures) -> None:
    (pictures / "0004.png").write_bytes(b"no picture")
    (pictures / "0011.png").write_bytes(b"")
    made = start()
    assert made.failures["id"].to_pylist() == [4, 11]
    assert "not a picture" in made.failures["error"][0].as_py()
    assert "0 bytes" in made.failures["error"][1].as_py()
    assert made.table(["id"])["id"].to_pylist() == list(range(20))
    assert made.told.failed == 2
    with pytest.raises(DataError, match="picture 4 could not be explained"):
        made.explanation(4)


def test_what_fails_with_any_picture_is_said_at_once(start, tmp_path) -> None:
    with pytest.raises(TargetError, match="yellow"):
        start(target="yellow")
    with pytest.raises(MethodError):
        start(method="no-such-method")
    assert not (tmp_path / "run" / "request.json").exists()


def test_overlays_are_small_jpegs_by_id(start, tmp_path) -> None:
    big = tmp_path / "big"
    big.mkdir()
    Image.new("RGB", (640, 400), "red").save(big / "red.png")
    made = start(source=big, overlays=True, overlay_size=64, target=("red", "blue"))
    paths = made.table(["overlay"])["overlay"].to_pylist()
    assert paths == ["overlays/000000/000000000.jpg", "overlays/000000/000000000-1.jpg"]
    with Image.open(made.folder / paths[0]) as overlay:
        assert overlay.size == (64, 40)
        assert overlay.format == "JPEG"


def test_the_summary_says_where_the_map_is(start, tmp_path) -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[32:, 48:, 0] = 255
    corner = tmp_path / "corner"
    corner.mkdir()
    Image.fromarray(pixels).save(corner / "corner.png")
    (row,) = start(source=corner, target="red").table().to_pylist()
    assert row["center_x"] > 50
    assert row["center_y"] > 40
    assert 40 <= row["box_x0"] <= 48
    assert 24 <= row["box_y0"] <= 32
    assert (row["box_x1"], row["box_y1"]) == (64, 64)
    assert 0 < row["entropy"] < 1
    assert row["top_share"] > 0.5


def test_an_unfinished_run_is_read_and_says_so(start) -> None:
    made = start()
    part_path(made.folder, 0).unlink()
    read = seewhy.read_run(made.folder)
    assert not read.finished
    assert "3 of 4 parts" in repr(read)
    assert len(read.table()) == 14
    with pytest.raises(DataError, match="picture 2 is not done yet"):
        read.explanation(2)


def test_tables_by_column_condition_and_pandas(start) -> None:
    made = start()
    few = made.table(["id", "target"], where=pc.field("target") == "red")
    assert set(few["target"].to_pylist()) == {"red"}
    frame = made.to_pandas()
    assert list(frame["id"]) == list(range(20))
    assert len(frame["map"][0]) == 64
    assert set(NUMBERS) < set(frame)
    with pytest.raises(DataError, match="no column 'nothing'"):
        made.table(["nothing"])


def test_parts_have_one_schema_even_where_all_failed(start, pictures) -> None:
    for number in range(6, 12):
        (pictures / f"{number:04d}.png").write_bytes(b"no picture")
    made = start()
    assert len({str(pq.read_schema(part)) for part in made.parts}) == 1


def test_the_folder_of_something_else_is_refused(start, tmp_path) -> None:
    with pytest.raises(DataError, match="contains no run"):
        seewhy.read_run(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "request.json").write_text("{}")
    with pytest.raises(DataError, match="cannot be read as a run's request"):
        start()
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is a file"):
        start(out="file")
    for wrong in ({"workers": -1}, {"limit": 0}, {"shard_size": 0}, {"overlay_size": 3}):
        with pytest.raises(DataError, match="at least"):
            start(out="other", **wrong)


def test_nothing_is_left_beside_the_parts(start) -> None:
    made = start()
    names = sorted(os.listdir(made.folder))  # noqa: PTH208
    assert names == [
        ".lock", "manifest.parquet", *(part.name for part in made.parts), "request.json",
    ]  # fmt: skip
    assert json.loads((made.folder / "request.json").read_text())["seewhy run"] == 1


def test_the_model_comes_back_as_it_was(start) -> None:
    model = loaded()
    model.module.train()
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    start(model=model, limit=3)
    assert model.module.training
    assert all(value.equal(before[name]) for name, value in model.module.state_dict().items())
    assert all(one.grad is None for one in model.module.parameters())


def test_a_sheet_of_the_least_certain(start, tmp_path) -> None:
    made = start()
    rows = made.table().sort_by("probability").slice(0, 5)
    path = tmp_path / "sheet.png"
    made.sheet(rows, "the least certain").save(path)
    with Image.open(path) as sheet:
        assert sheet.width > sheet.height / 2
