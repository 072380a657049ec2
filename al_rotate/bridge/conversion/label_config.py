"""Class names <-> Label Studio's labelling configuration (XML)."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

MAX_XML = 1 << 20  # characters of a configuration: ten thousand labels

_CONTROLS = ("RectangleLabels", "Rectangle", "Labels")


@dataclass(frozen=True)
class LabelConfig:
    """What the bridge needs of a project's configuration.

    Args:
        classes: the labels as annotations carry them: a label's alias where it has one.
        from_name: name of the tag that has the labels: RectangleLabels, or Labels beside a Rectangle.
        to_name: name of the Image tag.
        image_key: the key of a task's data that holds the image's address.
        rectangle: name of a Rectangle tag with labels of its own; None for RectangleLabels.
    """

    classes: tuple[str, ...]
    from_name: str = "label"
    to_name: str = "image"
    image_key: str = "image"
    rectangle: str | None = None


def to_xml(classes: Sequence[str], colours: Sequence[str] | None = None) -> str:
    """Write a configuration for drawing and rotating boxes of these classes.

    The view itself cannot be rotated: Label Studio would save the boxes in rotated coordinates.

    Args:
        classes: distinct, not empty; the first nine get the keys 1 to 9.
        colours: one per class, like ``#e6194b``; None gives each position in the list its own.

    Raises:
        ValueError: for no classes, empty, duplicate or unprintable ones, or a different number of colours.
    """
    names = list(classes)
    if isinstance(classes, str) or not all(map(_is_name, names)) or not 0 < len(names) == len({*names}):
        raise ValueError(f"expected distinct names of printable characters, no spaces around them, got {classes!r}")
    shades = list(colours) if colours is not None else [_colour(position) for position in range(len(names))]
    if len(shades) != len(names):
        raise ValueError(f"expected a colour for each of the {len(names)} classes, got {len(shades)}")
    view = ElementTree.Element("View")
    # Which image this is and why it was chosen; without a name, these ask nothing of tasks that lack the keys.
    ElementTree.SubElement(view, "Header", size="5", value="Rank $al_rank: $al_image_id")
    ElementTree.SubElement(view, "Header", size="6", value="$al_why")
    tools = ("zoom", "zoomControl", "brightnessControl", "contrastControl")
    image = ElementTree.SubElement(view, "Image", name="image", value="$image", rotateControl="false")
    image.attrib.update(dict.fromkeys(tools, "true"))
    labels = ElementTree.SubElement(
        view, "RectangleLabels", name="label", toName="image", canRotate="true", strokeWidth="2", opacity="0.15"
    )
    for position, (name, colour) in enumerate(zip(names, shades, strict=True), start=1):
        label = ElementTree.SubElement(labels, "Label", value=name, background=colour)
        if position <= 9:
            label.set("hotkey", str(position))
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode")


def read_xml(xml: str) -> LabelConfig:
    """Read what a configuration says about boxes, whoever wrote it.

    Raises:
        ValueError: if it is no XML, longer than ``MAX_XML``, has a document type, does not have over an Image exactly
            one named RectangleLabels, or one Rectangle and one Labels, with distinct labels, or the Image's value is
            not one key of the task's data.
    """
    if len(xml) > MAX_XML:
        raise ValueError(f"expected a labelling configuration of at most {MAX_XML} characters, got {len(xml)}")
    if "<!DOCTYPE" in xml:  # its entities can expand to any size
        raise ValueError("expected a labelling configuration without a document type, got <!DOCTYPE: remove it")
    try:
        root = ElementTree.fromstring(xml)
    except (ElementTree.ParseError, UnicodeError) as error:
        raise ValueError(f"expected a labelling configuration in XML, got {xml[:80]!r}: {error}") from None
    image_values = {tag.get("name"): tag.get("value", "") for tag in root.iter("Image")}
    control, rectangle = _controls(root, image_values)
    names = [tag.get("alias") or tag.get("value") or "" for tag in control.iter("Label")]
    if not all(names) or not 0 < len(names) == len({*names}):
        raise ValueError(f"expected labels with distinct names, got {names}")
    name, to_name = control.get("name"), control.get("toName") or ""
    if not name:
        raise ValueError(f"expected a {control.tag} with a name, as annotations refer to it, got none")
    key = re.fullmatch(r"\$(\w+)", image_values[to_name])
    if not key:
        raise ValueError(f"expected an Image with a value like $image, got {image_values[to_name]!r}")
    return LabelConfig(tuple(names), name, to_name, key[1], rectangle)


def _controls(root: ElementTree.Element, images: Container[str | None]) -> tuple[ElementTree.Element, str | None]:
    """The tag with the labels, and the name of its Rectangle where that is a tag of its own."""
    tags = {kind: [tag for tag in root.iter(kind) if tag.get("toName") in images] for kind in _CONTROLS}
    joined, rectangles, labels = tags.values()
    if len(joined) == 1 and not rectangles:
        return joined[0], None
    if not joined and len(rectangles) == len(labels) == 1 and rectangles[0].get("name"):
        if labels[0].get("toName") == rectangles[0].get("toName"):
            return labels[0], rectangles[0].get("name")
    has = ", ".join(sorted({tag.tag for tag in root.iter()} - {"View", "Label"})) or "nothing"
    raise ValueError(
        f"expected one RectangleLabels over an Image, got {len(joined)} (the configuration has {has}): write "
        "<RectangleLabels name='label' toName='image' canRotate='true'> with one <Label value='...'/> per class, as "
        "al_rotate.bridge.label_config.to_xml does, or one Rectangle with a name and one Labels"
    )


def _is_name(name: object) -> bool:
    return isinstance(name, str) and name != "" and name == name.strip() and name.isprintable()


def _colour(position: int) -> str:
    """Space hues by the golden angle, so that neighbours in the list differ most; vary lightness and saturation."""
    hue = (position * 0.61803398875) % 1.0
    red, green, blue = colorsys.hls_to_rgb(hue, (0.48, 0.62, 0.36)[position // 13 % 3], (0.95, 0.75)[position % 2])
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"
