"""The labels of a project beside the classes of a model."""

import pytest

from al_rotate.bridge.conversion.class_matching import matched


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
def test_what_means_which_class(classes, labels, expected):
    found = matched(classes, labels)
    assert found == expected
    assert list(found) == [name for name in classes if name in expected]


def test_what_a_person_said_goes_first():
    assert matched(["ship", "plane"], ["boat", "plane"], {"boat": "ship"}) == {"ship": "boat", "plane": "plane"}
    assert matched(["ship"], ["Ship", "boat"], {"boat": "ship"}) == {"ship": "boat"}
    assert matched(["ship", "plane"], ["ship"], {"ship": "plane"}) == {"plane": "ship"}
    assert matched(["ship"], ["ship"], {"boat": "ship", "gone": "x"}) == {"ship": "ship"}
