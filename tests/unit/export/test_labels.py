"""Names of classes, by set and by file."""

import json

import pytest
from saliency_tubes.engine.errors import UsageError
from saliency_tubes.export import labels


@pytest.mark.parametrize("name", labels.SETS)
def test_a_set_has_as_many_names_as_it_says(name):
    count = labels.SETS[name].classes
    names = labels.load(name, count)
    assert len(names) == len(set(names)) == count
    assert all(label == label.strip() != "" for label in names)
    assert labels.describe(names) == labels.SETS[name].title


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kinetics400", {0: "abseiling", 5: "archery", 6: "arm wrestling", 345: "sword fighting", 399: "zumba"}),
        ("ucf101", {0: "ApplyEyeMakeup", 34: "Hammering", 35: "HammerThrow", 36: "HandstandPushups", 100: "YoYo"}),
        ("hmdb51", {0: "brush_hair", 14: "flic_flac", 25: "pour", 50: "wave"}),
        ("epic100-verbs", {0: "take", 7: "cut", 30: "break", 51: "knead", 79: "let-go", 96: "unfreeze"}),
        (
            "epic100-nouns",
            {0: "tap", 18: "board:chopping", 106: "juicer", 172: "presser", 265: "bar", 299: "extract:vanilla"},
        ),
    ],
)
def test_names_are_at_their_ids(name, expected):
    names = labels.named(name)
    assert {index: names[index] for index in expected} == expected


@pytest.mark.parametrize(("name", "key"), [("ucf101", str.lower), ("hmdb51", None)])
def test_sets_in_alphabetical_order(name, key):
    assert list(labels.named(name)) == sorted(labels.named(name), key=key)


def test_kinetics_is_torchvisions():
    meta = pytest.importorskip("torchvision.models._meta", reason="export needs torchvision")
    assert labels.named("kinetics400") == tuple(meta._KINETICS400_CATEGORIES)


@pytest.mark.parametrize(
    "text",
    [
        "cut\nmix well\npour\n",
        "\ufeffcut\r\n  mix   well\r\npour\r\n\r\n",
        "0\tcut\n1\tmix well\n2\tpour\n",
        "1 cut\n2 mix well\n3 pour",
        "2 pour\n0 cut\n1 mix well",
        "0,cut\n1,mix well\n2,pour",
        "name\ncut\nmix well\npour",
        "id,name\n0,cut\n1,mix well\n2,pour",
        "\ufeffID;Label\r\n2;pour\r\n1;mix   well\r\n3;cut\r\n".replace("3;cut", "0;cut"),
        'id,key,instances\n0,cut,"[1, 2]"\n1,"mix well","[]"\n2,pour,x\n',
        "class_name\tclass_id\ncut\t1\nmix well\t2\npour\t3",
        json.dumps(["cut", "mix well", "pour"]),
        json.dumps({"0": "cut", "2": "pour", "1": "mix well"}),
        json.dumps({"1": "cut", "2": "mix well", "3": "pour"}),
        json.dumps({"pour": 2, "mix well": 1, "cut": 0}),
        json.dumps({"pour": "2", "mix well": "1", "cut": "0"}),
    ],
)
def test_files_of_every_kind(tmp_path, text):
    path = tmp_path / "names"
    path.write_bytes(text.encode())
    assert labels.load(path, 3) == ("cut", "mix well", "pour")


def test_names_that_begin_with_numbers_are_kept(tmp_path):
    path = tmp_path / "names"
    path.write_text("100 m sprint\n400 m sprint\n")
    assert labels.load(str(path), 2) == ("100 m sprint", "400 m sprint")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("a\n\nb", "no name for class 1"),
        ("[1, 2]", "expected names, got 1"),
        ('{"0": "a", "2": "b"}', "every id from 0 to 1"),
        ('{"a": 0, "b": 0}', "every id from 0 to 1"),
        ('{"a": "b"}', "every id from 0 to 0"),
        ("[", "are not JSON"),
        ("[" * 100_000, "are not JSON"),
        ("id,name\n0,a\n1\n", "line 3 has fewer columns than the first, id, name"),
        ("id,name\n0,a\n5,b\n", "every id from 0 to 1"),
        ("id,name\n0,a\n0,b\n", "every id from 0 to 1"),
        ("9" * 5000 + " a\n" + "1 b\n" + "c", "are 3, the network has 2 classes"),
    ],
)
def test_files_that_are_no_labels(tmp_path, text, message):
    path = tmp_path / "names"
    path.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        labels.load(path, 2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "classes", "message"),
    [
        ("kinetics-400", 400, r"no labels 'kinetics-400': give a file, or one of .*did you mean kinetics400\?"),
        ("nothing/like.it", 400, r"one of kinetics400, ucf101, hmdb51, epic100-verbs, epic100-nouns$"),
        ("ucf101", 400, "labels ucf101 are 101, the network has 400 classes; kinetics400 would fit"),
        ("ucf101", 7, "the network has 7 classes$"),
    ],
)
def test_a_wrong_name_or_count_is_told(name, classes, message):
    with pytest.raises(UsageError, match=message) as caught:
        labels.load(name, classes)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UsageError, match="Is a directory"):
        labels.load(tmp_path, 1)
    (tmp_path / "image").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(UsageError, match="not text in UTF-8"):
        labels.load(tmp_path / "image", 1)


def test_what_has_no_names():
    assert labels.numbered(2) == ("class 0", "class 1")
    assert labels.describe(labels.numbered(400)) == "400 classes"
