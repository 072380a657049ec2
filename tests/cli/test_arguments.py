import argparse

import pytest

from al_rotate import Schedule
from al_rotate.cli.arguments import as_classes, as_cost, as_options, as_pairs, as_schedule, number, whole_number
from al_rotate.data.formats import dota
from al_rotate.sampling import CostModel


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (None, None),
        ("dota-v1", dota.DOTA_V1),
        ("DOTA-v1", dota.DOTA_V1),
        (" Dota-V1.5", dota.DOTA_V15),
        ("dota-v2", dota.DOTA_V2),
        ("ship", ("ship",)),
        ("ship, plane,small vehicle,", ("ship", "plane", "small vehicle")),
    ],
)
def test_classes(text, names):
    assert as_classes(text) == names


@pytest.mark.parametrize(
    "content", [b"ship\nsmall vehicle\n\n", b"\xef\xbb\xbfship\r\nsmall vehicle \r\n", b"\n ship\nsmall vehicle"]
)
def test_classes_from_a_file(tmp_path, content):
    (tmp_path / "classes.txt").write_bytes(content)
    assert as_classes(str(tmp_path / "classes.txt")) == ("ship", "small vehicle")


def test_classes_from_a_data_yaml(tmp_path):
    (tmp_path / "data.yaml").write_text("names: {1: plane, 0: ship}\n")
    assert as_classes(str(tmp_path / "data.yaml")) == ("ship", "plane")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clases.txt", "clases.txt"),
        ("lists/names", "lists/names"),
        ("dota-v3", "dota-v1, dota-v1.5, dota-v2"),
        ("ship,plane,ship", "'ship' more than once"),
        (",", "at least one class name"),
    ],
)
def test_classes_that_cannot_be_meant(text, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        as_classes(text)


def test_schedules():
    read = as_schedule(["per_image=2.5", "least = 50", "ema=0.1"])
    assert read == Schedule(per_image=2.5, least=50, ema=0.1)
    assert as_schedule(None) is as_schedule([]) is None
    assert as_schedule(["config"]) == "config"
    for pairs, message in (
        (["epochs=9"], "expected --schedule of per_image, least, most, rate, warm_up, balance, ema, got 'epochs'"),
        (["least=2.5"], "expected a number in --schedule, such as least=200, got '2.5'"),
        (["least=9", "most=8"], "1 <= least <= most, got 9 and 8"),
        (["12"], "expected --schedule as KEY=VALUE, such as per_image=4, got '12'"),
    ):
        with pytest.raises(ValueError, match=message):
            as_schedule(pairs)


def test_costs():
    assert as_cost(["added=35", "kept = 0.5"]) == CostModel(added=35, kept=0.5)
    assert as_cost([]) is as_cost(None) is None
    for pairs, message in (
        (["drawn=9"], "expected --cost of image, added, moved, relabelled, deleted, kept, got 'drawn'"),
        (["added=quick"], "expected seconds in --cost, such as added=12, got 'quick'"),
        (["added=-1"], "expected finite seconds >= 0"),
        (["added"], "expected --cost as WHAT=SECONDS, such as added=20, got 'added'"),
    ):
        with pytest.raises(ValueError, match=message):
            as_cost(pairs)


def test_options_are_values():
    pairs = ["how=top-k", "k=3", "share=0.5", "tiny=1e-3", "yes=True", "no=false", "none=null", "a=b=c"]
    expected = {"how": "top-k", "k": 3, "share": 0.5, "tiny": 1e-3, "yes": True, "no": False, "none": None, "a": "b=c"}
    assert as_options(pairs) == expected
    assert as_options(None) == {}


@pytest.mark.parametrize("pairs", [["boat"], ["=ship"], ["boat="], ["boat=ship", "boat=plane"]])
def test_pairs_that_cannot_be_meant(pairs):
    with pytest.raises(ValueError, match=r"expected --rename as LABEL=CLASS.*got"):
        as_pairs(pairs, "--rename as LABEL=CLASS")


def test_numbers_in_a_range():
    assert [whole_number(0)("0"), whole_number(1, 65535)("65535")] == [0, 65535]
    assert [number(0, 1)("0"), number(0, 1)("1"), number(0, above=True)("1e-9")] == [0, 1, 1e-9]
    for read, text in ((whole_number(1), "1.0"), (whole_number(1), ""), (number(0), "x"), (number(0, above=True), "0")):
        with pytest.raises(argparse.ArgumentTypeError, match="expected a"):
            read(text)
