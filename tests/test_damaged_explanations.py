"""Explanations in files that are damaged, or made to do harm: read rightly, or refused in words."""

from __future__ import annotations

import base64
import io
import json
import math
import random
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import seewhy
from seewhy.errors import ImageError
from seewhy.explanation import Explanation, Prediction
from seewhy.images import Preprocess, Window
from seewhy.targets import Contrast, Target

MUTATIONS = 350  # a half of each ending


def explanation() -> Explanation:
    rng = np.random.default_rng(0)
    return Explanation(
        map=rng.normal(size=(5, 7)).astype(np.float32),
        picture=rng.integers(0, 255, (20, 30, 3)).astype(np.uint8),
        window=Window(-1.5, 0, 31.5, 20),
        target=Contrast(1, 2),
        label="red rather than green",
        score=1.25,
        probability=None,
        predictions=(Prediction(1, "red", 2.0, 0.7), Prediction(0, "blue", 1.0, 0.2)),
        method="grad-cam",
        layer="layer4",
        model="resnet18",
        image="a.jpg",
        preprocess=Preprocess((16, 16), 20, (0.5,) * 3, (0.25,) * 3),
        versions={"seewhy": "0.1", "torch": "2.0"},
        seconds=0.25,
        warnings=("the map is flat",),
    )


@pytest.fixture
def whole(tmp_path: Path) -> Callable[[str], Path]:
    """The file of a whole explanation, by its ending."""
    return lambda ending: explanation().save(tmp_path / f"whole.{ending}")


def is_whole(why: Explanation) -> None:
    """Every field is what the class says; and it can be drawn and saved."""
    assert isinstance(why, Explanation)
    assert (why.map.dtype, why.map.ndim) == (np.float32, 2)
    assert (why.picture.dtype, why.picture.shape[2:]) == (np.uint8, (3,))
    assert why.map.size
    assert why.picture.size
    for name, kind in (
        ("label", str), ("score", float), ("method", str), ("layer", str), ("model", str),
        ("seconds", float), ("versions", dict), ("predictions", tuple), ("warnings", tuple),
        ("target", Target), ("preprocess", Preprocess), ("window", Window),
        ("probability", float | None), ("image", str | None),
    ):  # fmt: skip
        assert isinstance(getattr(why, name), kind), name
    for one in why.predictions:
        assert isinstance(one.index, int)
        assert isinstance(one.label, str)
        assert isinstance(one.probability, float | None)
    assert all(isinstance(one, str) for one in (*why.warnings, *why.versions.values()))
    assert why.heatmap.shape == why.picture.shape[:2]
    assert repr(why).isprintable()
    json.dumps(why.to_json())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numbers near float32's end, which a map may hold
        why.overlay()


# --- Seeded mutations ----------------------------------------------------------------------------

VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 3.5, math.nan, math.inf, 10**400, 1e308, "", "text", "\x1b[31m", "\ud800",
    [], {}, [None], [[1]], {"kind": "ClassScore"}, {"kind": []}, [1, [2]],
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where there is something within JSON."""
    inner = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value) if isinstance(value, list) else inner
    return [path, *(place for key, one in inner for place in places(one, (*path, key)))]


def changed(content: Any, rng: random.Random) -> Any:
    """A copy with one value replaced, removed, or put elsewhere."""
    content = json.loads(json.dumps(content))
    place = rng.choice(places(content)[1:])
    holder = content
    for key in place[:-1]:
        holder = holder[key]
    how = rng.randrange(4)
    if how == 0:
        del holder[place[-1]]
    elif how == 1:
        other = content
        for key in rng.choice(places(content)):
            other = other[key]
        holder[place[-1]] = json.loads(json.dumps(other))
    else:
        holder[place[-1]] = rng.choice(VALUES)
    return content


def cut_up(data: bytes, rng: random.Random) -> bytes:
    """Bytes changed, taken out, put in, doubled, or cut off."""
    content = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        start = rng.randrange(len(content))
        end = min(len(content), start + rng.choice((1, 2, 16, 200)))
        how = rng.randrange(5)
        if how == 0:
            content[start] ^= 1 << rng.randrange(8)
        elif how == 1:
            content[start:end] = rng.randbytes(end - start)
        elif how == 2 and end - start < len(content):
            del content[start:end]
        elif how == 3:
            content[start:start] = content[start:end]
        elif start:
            del content[start:]
    return bytes(content)


def packed(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def array_file(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array), allow_pickle=True)
    return buffer.getvalue()


ARRAYS: tuple[Any, ...] = (
    np.zeros((2, 2)), np.zeros((2, 2), int), np.zeros((1, 2, 2), np.float32), np.float32(1),
    np.zeros((0, 3), np.float32), np.array([["a", "b"]]), np.array([[b"a", b"b"]]),
    np.array([[None]]), np.zeros((2, 2), "V4"), np.zeros((2, 2), complex), np.zeros((2, 2), bool),
    np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2, 4), np.uint8), np.zeros((2, 2), ">f4"),
    np.array([["2026-01-01"]], "M8"), np.zeros(3, [("a", "f4")]), np.full((3, 3), np.nan, "f4"),
)  # fmt: skip


def mutated_npz(data: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.3:
        return cut_up(data, rng)
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        members = {name: file.read(name) for name in file.namelist()}
    name = rng.choice(sorted(members))
    how = rng.randrange(4)
    if how == 0:
        members[name] = cut_up(members[name], rng)
    elif how == 1:
        members[name] = array_file(ARRAYS[rng.randrange(len(ARRAYS))])
    elif how == 2:
        facts = json.loads(str(np.load(io.BytesIO(members["facts.npy"]))))
        members["facts.npy"] = array_file(json.dumps(changed(facts, rng)))
    else:
        del members[name]
    return packed(members)


def mutated_json(data: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.3:
        return cut_up(data, rng)
    return json.dumps(changed(json.loads(data), rng)).encode()


@pytest.mark.parametrize("ending", ["npz", "json"])
def test_a_mutated_file_is_read_rightly_or_refused(
    ending: str, whole: Callable[[str], Path], tmp_path: Path
) -> None:
    data = whole(ending).read_bytes()
    mutated = {"npz": mutated_npz, "json": mutated_json}[ending]
    path = tmp_path / f"mutated.{ending}"
    told, read = {}, 0
    for seed in range(MUTATIONS // 2):
        path.write_bytes(mutated(data, random.Random(seed)))
        try:
            why = seewhy.load_explanation(path)
        except ImageError as error:
            told[seed] = str(error)
        except BaseException as error:
            raise AssertionError(f"mutation {seed} of {ending} made {error!r}") from error
        else:
            is_whole(why)
            read += 1
    strange = {seed: said for seed, said in told.items() if "mutated" not in said or "\n" in said}
    assert not strange
    # Some changes leave a whole explanation; if all did, or none, nothing would be tested.
    assert 0.05 * MUTATIONS / 2 < read < 0.8 * MUTATIONS / 2, read


def test_the_files_as_they_are_saved_are_whole(whole: Callable[[str], Path]) -> None:
    for ending in ("npz", "json"):
        is_whole(seewhy.load_explanation(whole(ending)))


# --- Each kind that was found ---------------------------------------------------------------------


@pytest.mark.parametrize("place", ["map", "picture", "facts"])
@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{np.asarray(a).dtype}{np.shape(a)}")
def test_an_array_of_another_kind_is_refused(
    array: Any, place: str, whole: Callable[[str], Path]
) -> None:
    path = whole("npz")
    with np.load(path) as file:
        content = {name: array_file(file[name]) for name in file.files}
    fits = np.asarray(array)
    if (place, fits.dtype, fits.ndim) == ("map", np.dtype("float32"), 2) and fits.size:
        return
    if (place, fits.dtype, fits.shape[2:]) == ("picture", np.dtype("uint8"), (3,)):
        return
    content[place] = array_file(array)
    path.write_bytes(packed({f"{name}.npy": data for name, data in content.items()}))
    with pytest.raises(ImageError, match=f"whole.npz .*its '{place}' must be .*, not "):
        seewhy.load_explanation(path)


@pytest.mark.parametrize(
    ("map_", "says"),
    [
        ([["1", "2"]], r"its 'map' must be float32 \(height, width\), not <U1 \(1, 2\)"),
        ([[[1.0, 2.0]]], r"its 'map' must be .*, not float32 \(1, 1, 2\)"),
        ([1.0, 2.0], r"its 'map' must be .*, not float32 \(2,\)"),
        ([[True]], "its 'map' must be .*, not bool"),
        ([[None, 1.0]], "its 'map' must be .*, not object"),
        ([[1.0], [1.0, 2.0]], "inhomogeneous"),
        ([[]], r"its 'map' must be .*, not float32 \(1, 0\)"),
        ({}, "its 'map' must be .*, not object"),
        (3.0, r"its 'map' must be .*, not float32 \(\)"),
        ("text", "is a text, and no PNG file"),
        (base64.b64encode(b"no picture").decode(), "is a text, and no PNG file"),
    ],
)
def test_a_map_in_json_that_is_none_is_refused(
    map_: Any, says: str, whole: Callable[[str], Path]
) -> None:
    path = whole("json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"map": map_}))
    with pytest.raises(ImageError, match=f"whole.json .*{says}"):
        seewhy.load_explanation(path)


def test_whole_numbers_make_a_map_in_json(whole: Callable[[str], Path]) -> None:
    path = whole("json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"map": [[1, 2], [3, 4]]}))
    why = seewhy.load_explanation(path)
    is_whole(why)
    assert why.map.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"label": None}, "its 'label' must be a text, not None"),
        ({"score": "8"}, "its 'score' must be a number, not '8'"),
        ({"score": True}, "its 'score' must be a number, not True"),
        ({"warnings": "one"}, "its 'warnings' must be a list, not 'one'"),
        ({"warnings": [1]}, r"its 'warnings\[0\]' must be a text, not 1"),
        (
            {"predictions": [{"index": 1.5}]},
            r"'predictions\[0\].index' must be a whole number, not 1.5",
        ),
        ({"predictions": [3]}, r"its 'predictions\[0\]' must be an object, not 3"),
        ({"versions": {"torch": 2}}, "its 'versions.torch' must be a text, not 2"),
        ({"window": {"left": 1}}, "its 'window.top' is missing"),
        ({"window": {"left": 1, "top": 0, "right": 1, "bottom": 2}}, "edges in order"),
        ({"window": {"left": 0, "top": 0, "right": math.nan, "bottom": 2}}, "edges in order"),
        ({"target": "tabby"}, "its 'target' must be an object, not 'tabby'"),
        ({"target": {}}, "not a saved target"),
        ({"preprocess": {"size": [0, 3]}}, "preprocessing"),
        ({"format": "seewhy explanation 9"}, "reads 'seewhy explanation 1'"),
        ({"format": 3}, "its 'format' must be a text, not 3"),
    ],
)
def test_facts_of_another_kind_are_named(
    change: dict[str, Any], says: str, whole: Callable[[str], Path]
) -> None:
    path = whole("json")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ImageError, match=f"whole.json .*{says}"):
        seewhy.load_explanation(path)


@pytest.mark.parametrize("ending", ["npz", "json"])
def test_facts_nested_a_hundred_thousand_deep_are_refused(
    ending: str, whole: Callable[[str], Path]
) -> None:
    path, deep = whole(ending), "[" * 100_000
    if ending == "json":
        path.write_text(deep)
    else:
        with zipfile.ZipFile(path) as file:
            members = {name: file.read(name) for name in file.namelist()}
        path.write_bytes(packed(members | {"facts.npy": array_file(deep)}))
    with pytest.raises(ImageError, match=r"nested too deeply"):
        seewhy.load_explanation(path)


def test_a_target_within_targets_within_targets_is_refused_or_named(
    whole: Callable[[str], Path],
) -> None:
    path = whole("json")
    content = json.loads(path.read_text())
    for _ in range(300):
        content["target"] = {"kind": "Counterfactual", "of": content["target"]}
    path.write_text(json.dumps(content))
    is_whole(seewhy.load_explanation(path))


def peak_of(read: Callable[[], Any]) -> float:
    """The most memory, in MB, that was held at once."""
    tracemalloc.start()
    try:
        read()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["map", "picture"])
def test_a_small_file_does_not_take_a_lot_of_memory(
    name: str, whole: Callable[[str], Path]
) -> None:
    path = whole("npz")
    with zipfile.ZipFile(path) as file:
        members = {one: file.read(one) for one in file.namelist()}
    shape = (15_000, 15_000) if name == "map" else (15_000, 15_000, 3)
    header = io.BytesIO()
    dtype = "<f4" if name == "map" else "|u1"
    np.lib.format.write_array_header_1_0(
        header, {"descr": dtype, "fortran_order": False, "shape": shape}
    )
    zeros = bytes(math.prod(shape) * np.dtype(dtype).itemsize)
    path.write_bytes(packed(members | {f"{name}.npy": header.getvalue() + zeros}))
    size = len(zeros) / 1e6
    del zeros

    def read() -> None:
        with pytest.raises(ImageError, match=r"MB unpack to \d+ MB"):
            seewhy.load_explanation(path)

    assert path.stat().st_size < 1e6
    assert peak_of(read) < 0.05 * size


def test_a_header_that_promises_more_than_there_is_takes_no_memory(
    whole: Callable[[str], Path],
) -> None:
    path = whole("npz")
    with zipfile.ZipFile(path) as file:
        members = {one: file.read(one) for one in file.namelist()}
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**6)}
    )
    path.write_bytes(packed(members | {"map.npy": header.getvalue() + b"1234"}))

    def read() -> None:
        with pytest.raises(ImageError, match=r"'map' is cut off"):
            seewhy.load_explanation(path)

    assert peak_of(read) < 10


def test_a_small_picture_file_in_json_does_not_take_a_lot_of_memory(
    whole: Callable[[str], Path],
) -> None:
    path, buffer = whole("json"), io.BytesIO()
    Image.new("RGB", (9_000, 9_000)).save(buffer, format="PNG")
    picture = base64.b64encode(buffer.getvalue()).decode()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"picture": picture}))

    def read() -> None:
        with pytest.raises(ImageError, match=r"MB unpack to 243 MB"):
            seewhy.load_explanation(path)

    assert peak_of(read) < 20


def test_a_file_that_runs_code_when_it_is_unpickled_is_not_unpickled(
    whole: Callable[[str], Path], tmp_path: Path
) -> None:
    class Harm:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "harm",)

    path = whole("npz")
    with zipfile.ZipFile(path) as file:
        members = {one: file.read(one) for one in file.namelist()}
    harm = np.empty((1, 1), object)
    harm[0, 0] = Harm()
    path.write_bytes(packed(members | {"map.npy": array_file(harm)}))
    with pytest.raises(ImageError, match=r"'map' must be .*, not object"):
        seewhy.load_explanation(path)
    assert not (tmp_path / "harm").exists()
