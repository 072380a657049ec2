"""A project's labels for a changed list of classes."""

from xml.etree import ElementTree

from al_rotate.bridge.conversion.label_config import change_labels, read_xml, to_xml

XML = to_xml(["ship", "plane", "jet"])


def labels_in(xml):
    """(shown, stored, hidden) of each label."""
    labels = ElementTree.fromstring(xml).iter("Label")
    return [(label.get("value"), label.get("alias"), label.get("visible") == "false") for label in labels]


def test_rename_merge_and_add():
    meanings = {"ship": "vessel", "plane": "plane", "jet": "plane"}
    xml, labels = change_labels(XML, meanings, ["ship", "jet"], ["vessel", "plane", "truck"])
    assert labels_in(xml) == [
        ("vessel", "ship", False),
        ("plane", None, False),
        ("plane (was jet)", "jet", True),
        ("truck", None, False),
    ]
    assert list(labels.items()) == [("jet", "plane"), ("plane", "plane"), ("ship", "vessel"), ("truck", "truck")]
    assert read_xml(xml).classes == ("ship", "plane", "jet", "truck")
    truck = list(ElementTree.fromstring(xml).iter("Label"))[3]
    assert truck.get("hotkey") == "4"
    # The same change again changes nothing.
    again = change_labels(xml, meanings | {"truck": "truck"}, ["ship", "jet"], ["vessel", "plane", "truck"])
    assert again == (xml, labels)


def test_merging_into_a_new_class():
    xml, labels = change_labels(
        XML, {"ship": "ship", "plane": "craft", "jet": "craft"}, ["plane", "jet"], ["ship", "craft"]
    )
    assert labels_in(xml) == [("ship", None, False), ("craft", "plane", False), ("craft (was jet)", "jet", True)]
    assert list(labels)[-1] == "plane"  # boxes are sent under the label that is shown
    # Renamed once more, the same one is shown.
    xml, _ = change_labels(xml, {"ship": "ship", "plane": "air", "jet": "air"}, ["plane", "jet"], ["ship", "air"])
    assert labels_in(xml) == [("ship", None, False), ("air", "plane", False), ("air (was jet)", "jet", True)]


def test_the_only_label_is_chosen_until_there_are_others():
    xml = to_xml(["ship"])
    assert xml.count('selected="true"') == 1
    assert "selected" not in to_xml(["ship", "plane"])
    renamed, _ = change_labels(xml, {"ship": "vessel"}, ["ship"], ["vessel"])
    assert 'selected="true"' in renamed
    more, meanings = change_labels(xml, {"ship": "ship"}, [], ["ship", "plane"])
    assert "selected" not in more
    assert meanings == {"ship": "ship", "plane": "plane"}


def test_names_that_meant_another_class():
    xml, labels = change_labels(to_xml(["a", "b"]), {"a": "b", "b": "a"}, ["a", "b"], ["b", "a"])
    assert labels_in(xml) == [("b (was a)", "a", False), ("a (was b)", "b", False)]
    assert labels == {"a": "b", "b": "a"}
    xml, labels = change_labels(to_xml(["ship"]), {"ship": "vessel"}, ["ship"], ["vessel", "ship"])
    assert labels_in(xml) == [("vessel", "ship", False), ("ship 2", None, False)]
    assert labels == {"ship": "vessel", "ship 2": "ship"}


def test_configurations_of_others_keep_what_else_they_have():
    xml = (
        '<View><Image name="i" value="$photo"/><Choices name="c" toName="i"><Choice value="calm"/></Choices>'
        '<RectangleLabels name="r" toName="i"><Label value="ship" background="red" hotkey="2"/><Label value="cloud"/>'
        "</RectangleLabels></View>"
    )
    changed, labels = change_labels(xml, {"ship": "ship"}, [], ["ship", "truck", "car"])
    assert labels_in(changed) == [(name, None, False) for name in ("ship", "cloud", "truck", "car")]
    assert [label.get("hotkey") for label in ElementTree.fromstring(changed).iter("Label")] == ["2", None, "3", "4"]
    assert ElementTree.fromstring(changed).find("Choices/Choice").get("value") == "calm"
    assert read_xml(changed) == read_xml(xml).__class__(("ship", "cloud", "truck", "car"), "r", "i", "photo")
    assert labels == {"ship": "ship", "truck": "truck", "car": "car"}
