"""Labels of the data → classes of the model."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataset.drawn import write_json
from seewhy.dataset import map_classes, read_dataset, read_mapping, read_synsets
from seewhy.errors import DataError

MODEL = (
    "tench, Tinca tinca",
    "tabby, tabby cat",
    "cardigan",
    "Cardigan, Cardigan Welsh corgi",
    "crane",
    "crane",
    "great_white_shark",
    "7",
)
SYNSETS = tuple(f"n0000000{number}" for number in range(8))


def test_names_letter_by_letter_then_loosely_then_parts() -> None:
    assert map_classes(
        ["crane truck", "cardigan", "Tabby_Cat", "Tinca tinca", "Great White shark"],
        MODEL,
        mapping={"crane truck": [5]},
    ) == {
        "crane truck": (5,),
        "cardigan": (2,),  # the jacket; with another case it would be either
        "Tabby_Cat": (1,),
        "Tinca tinca": (0,),
        "Great White shark": (6,),
    }


def test_a_first_name_comes_before_another_classs_byname() -> None:
    names = ("spiny lobster, crayfish, sea crawfish", "crayfish, crawfish", "crawdad, crawfish")
    assert map_classes(["Crayfish"], names) == {"Crayfish": (1,)}
    with pytest.raises(DataError, match="'crawfish' fits 2 classes"):
        map_classes(["crawfish"], names)


def test_ids() -> None:
    assert map_classes(["n00000003"], MODEL, synsets=SYNSETS) == {"n00000003": (3,)}
    assert map_classes(["3", "07"], MODEL) == {"3": (3,), "07": (7,)}
    assert map_classes(["7"], (*MODEL[:7], "nine", "7")) == {"7": (8,)}  # a name before a number
    assert map_classes(["12"], None) == {"12": (12,)}
    assert map_classes(["n00000003"], None, synsets=SYNSETS) == {"n00000003": (3,)}


def test_a_mapping_names_several_classes_or_none() -> None:
    mapping = {"cat": ["tabby", 3, "n00000000", 3], "cow": []}
    assert map_classes(["cat", "cow"], MODEL, mapping=mapping, synsets=SYNSETS) == {
        "cat": (1, 3, 0),
        "cow": (),
    }


def test_the_datas_own_word_counts_for_a_thousand_classes_only() -> None:
    imagenet = ["cat", *(f"class {number}" for number in range(999))]
    said = {"cat": (281, 282)}
    assert map_classes(["cat"], imagenet, imagenet_ids=said) == {"cat": (281, 282)}
    assert map_classes(["cat"], None, classes=1000, imagenet_ids=said) == {"cat": (281, 282)}
    assert map_classes(["cat"], ["dog", "cat"], imagenet_ids=said) == {"cat": (1,)}
    assert map_classes(["cat"], imagenet, imagenet_ids=said, mapping={"cat": [4]}) == {"cat": (4,)}


def test_one_error_lists_every_label_that_fits_nothing() -> None:
    with pytest.raises(DataError) as raised:
        map_classes(["tabby", "tabbie", "crane", "n00000001", "99", "zzzz"], MODEL)
    said = str(raised.value)
    assert said.startswith("5 of the data's 6 labels match no class of the model: ")
    assert "'tabbie' (nearest: 'tabby' (1)" in said
    assert "'crane' fits 2 classes by the name 'crane': '4 (crane)', '5 (crane)'" in said
    assert "'n00000001' is a WordNet id, which takes a file of synsets" in said
    assert "'99' is class 99, but the model has 0 to 7" in said
    assert "'zzzz' (nothing is near)" in said
    assert "mapping file" in said
    with pytest.raises(DataError, match=r"and 12 more\. Name"):
        map_classes([f"zz{number}" for number in range(20)], MODEL)
    with pytest.raises(DataError, match="'cat' cannot be looked up: the model has no names"):
        map_classes(["cat"], None)
    with pytest.raises(DataError, match=r"\(n99999999\) is not among the 8 synsets"):
        map_classes(["cat"], MODEL, mapping={"cat": ["n99999999"]}, synsets=SYNSETS)


def test_mapping_files(tmp_path: Path) -> None:
    written = {"cat": ["tabby", 282, "n02123394"], "dog": "151-153,160", "cow": None, "ox": 345}
    wanted = {
        "cat": ["tabby", 282, "n02123394"],
        "dog": [151, 152, 153, 160],
        "cow": [],
        "ox": [345],
    }
    assert read_mapping(write_json(tmp_path / "m.json", written)) == wanted
    table = tmp_path / "m.csv"
    table.write_text(
        'label,class\ncat,tabby\ncat,282\ncow,\ncat,n02123394\ndog,"151-153,160"\nox,345\n'
    )
    assert read_mapping(table) == wanted
    table.write_text("label,number\n")
    with pytest.raises(
        DataError, match="has the columns label, number, but it needs label and class"
    ):
        read_mapping(table)
    for wrong in ({"cat": 1.5}, {"cat": {"a": 1}}, {"cat": ""}, {"cat": True}):
        with pytest.raises(DataError, match="an index, a name, a WordNet id"):
            read_mapping(write_json(tmp_path / "m.json", wrong))
    with pytest.raises(DataError, match="not a list"):
        read_mapping(write_json(tmp_path / "m.json", []))


def test_synset_files(tmp_path: Path) -> None:
    path = tmp_path / "synsets.txt"
    path.write_text("n01440764 tench, Tinca tinca\nn01443537 goldfish\n\n")
    assert read_synsets(path) == ("n01440764", "n01443537")
    path.write_text("n01440764 tench\ngoldfish\n")
    with pytest.raises(DataError, match="line 2, begins with 'goldfish'"):
        read_synsets(path)
    path.write_text("n01440764 tench\nn01440764 tench\n")
    with pytest.raises(DataError, match="in the lines 1 and 2"):
        read_synsets(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_synsets(tmp_path / "nowhere.txt")


def test_shared_labels_by_number_and_by_wordnet_id_agree(shared_data: Path) -> None:
    folder = shared_data / "ilsvrc_val"
    synsets = read_synsets(folder / "synset_words.txt")
    assert len(synsets) == 1000
    by_number = read_dataset(folder)
    by_id = read_dataset(folder, label="wnid")
    numbers = map_classes(by_number.labels, None, classes=1000)
    ids = map_classes(by_id.labels, None, classes=1000, synsets=synsets)
    for one, other in zip(by_number.records, by_id.records, strict=True):
        assert numbers[one.labels[0]] == ids[other.labels[0]]
    lines = (folder / "synset_words.txt").read_text().splitlines()
    names = [line.split(" ", 1)[1] for line in lines]
    by_name = read_dataset(folder, label="name")
    unclear = {"maillot", "crane"}  # two classes each bear these names
    clear = [label for label in by_name.labels if label not in unclear]
    found = map_classes(clear, names)
    for one, other in zip(by_number.records, by_name.records, strict=True):
        if other.labels[0] in found:
            assert found[other.labels[0]] == numbers[one.labels[0]]


def test_shared_animals_for_imagenet_and_for_cat_dog(shared_data: Path) -> None:
    dataset = read_dataset(shared_data / "voc_animals")
    found = map_classes(dataset.labels, None, classes=1000, imagenet_ids=dataset.imagenet_ids)
    assert found["dog"] == tuple(range(151, 269))
    assert found["sheep"] == (348, 349)
    with pytest.raises(DataError, match="3 of the data's 5 labels"):
        map_classes(dataset.labels, ("cat", "dog"), imagenet_ids=dataset.imagenet_ids)
    both = dataset.only(["cat", "dog"])
    assert len(both) == 217
    assert map_classes(both.labels, ("cat", "dog")) == {"cat": (0,), "dog": (1,)}
