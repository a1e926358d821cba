"""Pictures in a store far away: listed, read, and read again where a connection is cut."""

from __future__ import annotations

import io
import sys

import pytest
from run_networks import loaded, write_pictures
from s3_server import BUCKET, serving
from test_sources import write_archive

import seewhy
from seewhy.errors import DataError, ImageError
from seewhy.runs import stores
from seewhy.runs.stores import in_advance, is_remote, read_bytes, with_patience


@pytest.fixture(autouse=True)
def _impatient(monkeypatch) -> None:
    monkeypatch.setattr(stores, "_PAUSE", 0.01)


@pytest.fixture
def objects(tmp_path):
    paths = write_pictures(tmp_path / "local", 6)
    return {f"a/{path.name}": path.read_bytes() for path in paths}


def equal(one, other) -> None:
    keys = ["id", "target", "score", "map", "fingerprint", "error"]
    assert one.table(keys).equals(other.table(keys))


@pytest.fixture
def here(tmp_path, objects):
    """The run over the same pictures on this machine."""
    return seewhy.run(loaded(), tmp_path / "local", tmp_path / "here", workers=0)


def on_s3(monkeypatch, store) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", store.address)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    stores._arrow_system.cache_clear()


def test_a_bucket_is_listed_and_read_though_connections_are_cut(
    tmp_path, objects, here, monkeypatch
) -> None:
    # By pyarrow, as where s3fs is not installed, which pins other versions than are tested here.
    monkeypatch.setitem(sys.modules, "s3fs", None)
    others = {"a/notes.txt": b"no picture", "a/.hidden.png": b"", "b/c.png": objects["a/0000.png"]}
    with serving({**objects, **others}, {"a/0002.png": 1, "a/0004.png": 2}) as store:
        on_s3(monkeypatch, store)
        made = seewhy.run(loaded(), f"s3://{BUCKET}/a", tmp_path / "run", workers=0)
        assert not any(store.cuts.values())
    assert made.table(["uri"])["uri"].to_pylist()[0] == f"s3://{BUCKET}/a/0000.png"
    equal(made, here)


def test_web_addresses_in_a_table(tmp_path, objects, here) -> None:
    with serving(objects, {"a/0001.png": 1}) as store:
        table = tmp_path / "t.csv"
        lines = [f"{store.address}/{BUCKET}/{key}" for key in objects]
        table.write_text("\n".join(["url", *lines, f"{store.address}/{BUCKET}/gone.png"]))
        made = seewhy.run(loaded(), table, tmp_path / "run", workers=0)
    assert made.failures["id"].to_pylist() == [6]
    assert "there is no" in made.failures["error"][0].as_py()
    wanted = here.table(["score", "map"])
    assert made.table(["score", "map"]).slice(0, 6).equals(wanted)


def test_a_store_that_fails_each_time_is_a_row_with_its_error(tmp_path, objects) -> None:
    with serving(objects, {"a/0001.png": 99}) as store:
        addresses = [f"{store.address}/{BUCKET}/{key}" for key in list(objects)[:3]]
        table = tmp_path / "t.csv"
        table.write_text("\n".join(["url", *addresses]))
        made = seewhy.run(loaded(), table, tmp_path / "run", workers=0)
    (failure,) = made.failures.to_pylist()
    assert failure["id"] == 1
    assert "failed 4 times" in failure["error"]


def test_archives_and_other_stores_of_fsspec(tmp_path, objects, here) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    for key, data in objects.items():
        memory.pipe_file(f"/bucket/{key}", data)
    equal(seewhy.run(loaded(), "memory://bucket/a", tmp_path / "m", workers=0), here)
    made = seewhy.run(loaded(), "memory://bucket/a/000[12].png", tmp_path / "glob", workers=0)
    assert len(made.table()) == 2
    archive = io.BytesIO()
    path = tmp_path / "s.tar"
    write_archive(path, {key.rpartition("/")[2]: data for key, data in objects.items()})
    memory.pipe_file("/bucket/s.tar", path.read_bytes())
    equal(seewhy.run(loaded(), "memory://bucket/s.tar", tmp_path / "tar", workers=0), here)
    with pytest.raises(ImageError, match="contains no file with the ending of a picture"):
        seewhy.run(loaded(), "memory://bucket/nothing", tmp_path / "none", workers=0)
    with pytest.raises((ImageError, DataError), match="strange"):
        seewhy.run(loaded(), "strange://bucket", tmp_path / "none", workers=0)
    del archive


def test_addresses_and_paths_are_told_apart() -> None:
    assert [is_remote(one) for one in ("s3://b/k", "/a/b", "file:///a", "a.png", "c:/a")] == [
        True, False, False, False, False,
    ]  # fmt: skip


def test_patience_ends(tmp_path) -> None:
    tries = []

    def work():
        tries.append(1)
        raise OSError("the connection was cut")

    with pytest.raises(ImageError, match="failed 4 times"):
        with_patience("s3://b/k", work)
    assert len(tries) == 4
    (tmp_path / "f").write_bytes(b"abc")
    with pytest.raises(ImageError, match="ends after 3 of 9 bytes"):
        read_bytes(str(tmp_path / "f"), 0, 9)


def test_what_is_fetched_in_advance_comes_in_order() -> None:
    got = [(item, future.result()) for item, future in in_advance(range(50), lambda n: n * n)]
    assert got == [(n, n * n) for n in range(50)]
