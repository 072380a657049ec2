"""Class names to Label Studio's XML and back, and configurations of other people."""

import re
from xml.etree import ElementTree

import pytest

from al_rotate.bridge.conversion.label_config import LabelConfig, read_xml, to_xml

ODD = (
    "storage tank",
    "Kühlturm & Co",
    "<ship>",
    'the "Titanic"',
    "captain's gig",
    "船",
    "Ship",
    "ship",
    "a/b,c;d",
    "$image",
    "&amp;",
    "0",
    "🛩️",
)


def config(*tags, image='<Image name="image" value="$image"/>'):
    return f"<View>{image}{''.join(tags)}</View>"


def rectangles(*labels, name="label", to="image"):
    return f'<RectangleLabels name="{name}" toName="{to}">{"".join(labels)}</RectangleLabels>'


LABELS = '<Labels name="l" toName="image"><Label value="a"/><Label value="b"/></Labels>'
SHIP, PLANE = '<Label value="ship"/>', '<Label value="plane"/>'


@pytest.mark.parametrize("classes", [ODD, ["ship"], [f"class {k}" for k in range(60)], *([name] for name in ODD)])
def test_classes_survive_a_round_trip(classes):
    assert read_xml(to_xml(classes)) == LabelConfig(tuple(classes), "label", "image", "image", "rectangle")


def test_a_rectangle_with_labels_of_its_own():
    xml = config('<Rectangle name="r" toName="image" canRotate="true"/>', LABELS)
    assert read_xml(xml) == LabelConfig(("a", "b"), "l", "image", "image", "r")


def test_what_is_written():
    root = ElementTree.fromstring(to_xml(["ship", "storage tank"], ["#e6194b", "red"]))
    assert root.tag == "View"
    rank, why, image, rectangle, labels = root
    # Above the image, as headers without a name: tasks that lack these keys can be imported all the same.
    assert [(tag.tag, tag.get("value"), tag.get("name")) for tag in (rank, why)] == [
        ("Header", "Rank $al_rank: $al_image_id", None),
        ("Header", "$al_why", None),
    ]
    assert {image.get(f"{tool}Control") for tool in ("zoom", "brightness", "contrast")} == {"true"}
    assert (image.tag, image.get("name"), image.get("value")) == ("Image", "image", "$image")
    assert image.get("maxHeight") == "calc(100vh - 275px)"
    assert image.get("rotateControl") == "false"  # what is drawn on a rotated view cannot be read
    assert (rectangle.tag, rectangle.get("name"), rectangle.get("toName")) == ("Rectangle", "rectangle", "image")
    assert rectangle.get("canRotate") == "true"
    assert (labels.tag, labels.get("name"), labels.get("toName")) == ("Labels", "label", "image")
    assert [tag.get("opacity") for tag in (rectangle, labels)] == ["0.15"] * 2
    assert [label.attrib for label in labels] == [
        {"value": "ship", "background": "#e6194b", "hotkey": "1"},
        {"value": "storage tank", "background": "red", "hotkey": "2"},
    ]
    plain = ElementTree.fromstring(to_xml(["ship", "storage tank"], ["#e6194b", "red"], ranked=False))
    assert [ElementTree.tostring(tag) for tag in plain] == [ElementTree.tostring(tag) for tag in root][2:]


@pytest.mark.parametrize("count", [1, 9, 10, 15, 80])
def test_colours_and_keys(count):
    labels = list(ElementTree.fromstring(to_xml([f"class {k}" for k in range(count)])).iter("Label"))
    colours = [label.get("background") for label in labels]
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours)
    assert len({*colours}) == count
    channels = [[int(colour[k : k + 2], 16) for k in (1, 3, 5)] for colour in colours]
    # The colours of the first dozen classes are easy to tell apart.
    few = channels[:12]
    distances = [
        sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) ** 0.5 for k, a in enumerate(few) for b in few[:k]
    ]
    assert min(distances, default=255) > 40
    assert [label.get("hotkey") for label in labels] == [str(k) if k <= 9 else None for k in range(1, count + 1)]


def test_colours_stay_when_classes_are_added():
    short, long = (ElementTree.fromstring(to_xml([f"class {k}" for k in range(count)])) for count in (3, 20))
    assert [label.attrib for label in short.iter("Label")] == [label.attrib for label in long.iter("Label")][:3]


@pytest.mark.parametrize(
    "classes",
    [[], "ship", ["ship", "ship"], ["ship", ""], [" ship"], ["ship "], ["ship", "\n"], ["ship\x00"], ["sh\x0bip"], [3]],
)
def test_what_are_no_classes(classes):
    with pytest.raises(
        ValueError, match=r"expected distinct names .*, got \[?['3]|expected distinct names .*, got \[\]"
    ):
        to_xml(classes)


@pytest.mark.parametrize("colours", [[], ["red"], ["red"] * 3])
def test_a_colour_for_each_class(colours):
    with pytest.raises(ValueError, match=rf"expected a colour for each of the 2 classes, got {len(colours)}"):
        to_xml(["ship", "plane"], colours)


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        (config(rectangles(SHIP, PLANE)), LabelConfig(("ship", "plane"))),
        (
            config(rectangles(SHIP, name="box", to="img"), image='<Image name="img" value="$photo_url"/>'),
            LabelConfig(("ship",), "box", "img", "photo_url"),
        ),
        # Annotations carry the alias.
        (config(rectangles('<Label value="Large ship" alias="ship"/>', PLANE)), LabelConfig(("ship", "plane"))),
        (config(rectangles('<Label value="Large ship" alias=""/>')), LabelConfig(("Large ship",))),
        # Other controls have names of their own, and labels that are no classes.
        (
            config(
                '<Header value="Ships?"/>',
                '<Choices name="sea" toName="image"><Choice value="calm"/></Choices>',
                '<BrushLabels name="brush" toName="image"><Label value="oil"/></BrushLabels>',
                '<PolygonLabels name="polygon" toName="image"><Label value="pond"/></PolygonLabels>',
                rectangles(SHIP, name="boxes"),
            ),
            LabelConfig(("ship",), "boxes"),
        ),
        # Nested in views, after its labels; an XML declaration, comments.
        (
            '<?xml version="1.0"?><!-- ours --><View><View style="x">'
            + rectangles(f"<!-- one -->{SHIP}<View>{PLANE}</View>")
            + '</View><Image name="image" value="$image"/></View>',
            LabelConfig(("ship", "plane")),
        ),
        # Two images, one of them to draw on.
        (
            config(
                '<Image name="map" value="$map"/>',
                '<BrushLabels name="b" toName="image"><Label value="oil"/></BrushLabels>',
                rectangles(SHIP, to="map"),
            ),
            LabelConfig(("ship",), "label", "map", "map"),
        ),
        # Rectangles over a video's frames do not count.
        (
            config('<Video name="v" value="$v"/>', rectangles(PLANE, name="no", to="v"), rectangles(SHIP)),
            LabelConfig(("ship",)),
        ),
    ],
)
def test_other_peoples_configurations(xml, expected):
    assert read_xml(xml) == expected


ONE = r"expected one RectangleLabels over an Image, got "


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        ("", r"expected a labelling configuration in XML, got '': "),
        ("ships", r"expected a labelling configuration in XML, got 'ships': "),
        ("<View><Image>", r"expected a labelling configuration in XML, got '<View><Image>': "),
        ("<View/>", ONE + r"0, .* \(the configuration has nothing\): write <Rectangle name='rectangle'"),
        (config(), ONE + r"0, .* \(the configuration has Image\)"),
        (
            config('<BrushLabels name="b" toName="image"><Label value="oil"/></BrushLabels>'),
            ONE + r"0, .* \(the configuration has BrushLabels, Image\)",
        ),
        (config('<Rectangle name="r" toName="image"/>'), ONE + r"0, .* \(the configuration has Image, Rectangle\)"),
        (config(LABELS), ONE + r"0, .* \(the configuration has Image, Labels\)"),
        (config('<Rectangle toName="image"/>', LABELS), "or one Rectangle with a name and one Labels"),
        (config('<Rectangle name="r" toName="image"/>', LABELS, LABELS), "one Labels"),
        ("<View>\ud800</View>", "expected a labelling configuration in XML, got"),
        (config(rectangles(SHIP, to="elsewhere")), ONE + r"0, .* \(the configuration has Image, RectangleLabels\)"),
        (config(rectangles(SHIP), image=""), ONE + r"0, .* \(the configuration has RectangleLabels\)"),
        (config(rectangles(SHIP), rectangles(PLANE, name="other")), ONE + "2, "),
        (
            config('<Image name="two" value="$two"/>', rectangles(SHIP), rectangles(SHIP, name="l", to="two")),
            ONE + "2, ",
        ),
        (config(rectangles(SHIP, SHIP)), r"expected labels with distinct names, got \['ship', 'ship'\]"),
        (
            config(rectangles(SHIP, '<Label value="b" alias="ship"/>')),
            r"expected labels with distinct names, got \['ship', 'ship'\]",
        ),
        (config(rectangles(SHIP, "<Label/>")), r"expected labels with distinct names, got \['ship', ''\]"),
        (config(rectangles()), r"expected labels with distinct names, got \[\]"),
        (
            config(rectangles(SHIP), image='<Image name="image"/>'),
            r"expected an Image with a value like \$image, got ''",
        ),
        (
            config(rectangles(SHIP), image='<Image name="image" valueList="$images"/>'),
            r"expected an Image with a value like \$image, got ''",
        ),
        (
            config(rectangles(SHIP), image='<Image name="image" value="https://example.org/$photo"/>'),
            r"expected an Image with a value like \$image, got 'https://example\.org/\$photo'",
        ),
        (
            config(rectangles(SHIP).replace('name="label" ', "")),
            r"expected a RectangleLabels with a name",
        ),
    ],
)
def test_what_cannot_be_read(xml, message):
    with pytest.raises(ValueError, match=message):
        read_xml(xml)
