"""The options that a pull, a connection and an export share."""

import pytest

from al_rotate.bridge import Connection, LabelStudio, connect, export
from al_rotate.bridge.conversion import annotations
from al_rotate.bridge.conversion.class_matching import match_classes
from al_rotate.bridge.conversion.options import ReadOptions


def test_merging():
    options = ReadOptions(["ship"], "agreement", rename={"boat": "ship"})
    assert ReadOptions.merged(options, None, {}) == options
    merged = ReadOptions.merged(options, ["plane", "ship"], {"policy": "latest"})
    assert merged == ReadOptions(["plane", "ship"], "latest", rename={"boat": "ship"})
    assert ReadOptions.merged(None, None, {"polygons": False}) == ReadOptions(polygons=False)
    with pytest.raises(TypeError, match="polygon"):
        ReadOptions.merged(None, None, {"polygon": True})


def test_policies():
    with pytest.raises(ValueError, match="expected a policy of latest, ground-truth, agreement, got 'first'"):
        ReadOptions(policy="first")


def test_label_codes():
    options = ReadOptions(["ship", "plane"], rename={"boat": "ship", "cat": "pet"})
    assert options.label_codes() == {"ship": 0, "plane": 1, "boat": 0}


def test_reading_needs_classes():
    with pytest.raises(ValueError, match="expected the class names in the order of the labels, got none"):
        annotations.read([])
    assert annotations.read([], options=ReadOptions(["ship"])).labels.classes == ("ship",)


TEXT = r"expected a sequence of class names, got 'ship'; write \['ship'\] for one class"


@pytest.mark.parametrize(
    "take",
    [
        lambda: annotations.read([], "ship"),
        lambda: ReadOptions("ship"),
        lambda: Connection("http://x", 3, classes="ship").read_options(),
        lambda: connect("nowhere", "http://x", "token", "ship"),
        lambda: match_classes("ship", ["ship"]),
        lambda: export.convert("export.json", "dota", "out", "ship"),
        lambda: LabelStudio(None).open_project("ships", "ship"),
    ],
)
def test_text_is_no_sequence_of_classes(take):
    with pytest.raises(ValueError, match=TEXT):
        take()


def test_a_connection_says_how_to_read():
    connection = Connection(
        "http://x", 3, policy="agreement", polygons=False, rename={"boat": "ship"}, classes=["ship"]
    )
    sizes = {"a": (4, 3)}
    assert connection.read_options(sizes) == ReadOptions(["ship"], "agreement", False, {"boat": "ship"}, sizes)
    assert connection.project_labels(["ship", "plane"]) == ("boat", "plane")
