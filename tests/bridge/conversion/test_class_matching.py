"""Which label of a project means which class of a model."""

import pytest

from al_rotate.bridge.conversion.class_matching import match_classes


@pytest.mark.parametrize(
    ("classes", "labels", "expected"),
    [
        (["ship", "plane"], ["plane", "ship", "car"], {"ship": "ship", "plane": "plane"}),
        (["large-vehicle", "ship"], ["Large Vehicle", "SHIP"], {"large-vehicle": "Large Vehicle", "ship": "SHIP"}),
        (["storage_tank"], ["storage  tank"], {"storage_tank": "storage  tank"}),
        (["ship"], ["Ship", "SHIP"], {}),  # either could be meant
        (["ship", "Ship"], ["SHIP"], {}),
        (["ship", "Ship"], ["Ship", "SHIP"], {"Ship": "Ship", "ship": "SHIP"}),
        (["ship"], ["shipyard"], {}),
        (["STRASSE"], ["straße"], {"STRASSE": "straße"}),
        ([], ["ship"], {}),
    ],
)
def test_matches_by_spelling(classes, labels, expected):
    matches = match_classes(classes, labels)
    assert matches == expected
    assert list(matches) == [name for name in classes if name in expected]


def test_renamed_labels_come_first():
    assert match_classes(["ship", "plane"], ["boat", "plane"], {"boat": "ship"}) == {"ship": "boat", "plane": "plane"}
    assert match_classes(["ship"], ["Ship", "boat"], {"boat": "ship"}) == {"ship": "boat"}
    assert match_classes(["ship", "plane"], ["ship"], {"ship": "plane"}) == {"plane": "ship"}
    assert match_classes(["ship"], ["ship"], {"boat": "ship", "gone": "x"}) == {"ship": "ship"}
