"""Class names <-> Label Studio's labelling configuration (XML)."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from xml.etree import ElementTree

MAX_XML = 1 << 20  # characters of a configuration: ten thousand labels

_CONTROLS = ("RectangleLabels", "Rectangle", "Labels")


@dataclass(frozen=True)
class LabelConfig:
    """What the bridge needs of a project's configuration.

    Args:
        classes: the labels as annotations carry them: a label's alias where it has one.
        from_name: name of the tag that has the labels: Labels beside a Rectangle, or RectangleLabels.
        to_name: name of the Image tag.
        image_key: the key of a task's data that holds the image's address.
        rectangle: name of a Rectangle tag with labels of its own; None for RectangleLabels.
    """

    classes: tuple[str, ...]
    from_name: str = "label"
    to_name: str = "image"
    image_key: str = "image"
    rectangle: str | None = None


def to_xml(classes: Sequence[str], colours: Sequence[str] | None = None, ranked: bool = True) -> str:
    """Write a configuration for drawing and rotating boxes of these classes.

    It has Rectangle and Labels as two tags. With RectangleLabels, Label Studio 1.23 has no tool that draws a rotated
    box by three clicks, and forgets the chosen label after each box. The view itself cannot be rotated: Label Studio
    would save the boxes in rotated coordinates.

    Args:
        classes: distinct, not empty; the first nine get the keys 1 to 9.
        colours: one per class, like ``#e6194b``; None gives each position in the list its own.
        ranked: say above an image which it is and why it was chosen. False for tasks that al_rotate does not push:
            where they lack these keys, Label Studio writes "undefined".

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
    if ranked:  # without a name, these ask nothing of tasks that lack the keys
        ElementTree.SubElement(view, "Header", size="5", value="Rank $al_rank: $al_image_id")
        ElementTree.SubElement(view, "Header", size="6", value="$al_why")
    tools = ("zoom", "zoomControl", "brightnessControl", "contrastControl")
    image = ElementTree.SubElement(view, "Image", name="image", value="$image", rotateControl="false")
    image.attrib.update(dict.fromkeys(tools, "true"))
    # Label Studio's own height leaves no room for two headers, and the labels below the image would be out of sight.
    n_rows = min(1 + (len(names) - 1) // 6, 6)
    image.set("maxHeight", f"calc(100vh - {242 + 33 * n_rows}px)")
    style = {"toName": "image", "strokeWidth": "2", "opacity": "0.15"}  # crowded boxes are seen through each other
    ElementTree.SubElement(view, "Rectangle", {"name": "rectangle", **style, "canRotate": "true"})
    labels = ElementTree.SubElement(view, "Labels", {"name": "label", **style})
    for name, colour in zip(names, shades, strict=True):
        _add_label(labels, name, colour)
    if len(names) == 1:  # nothing is to be chosen; the tool of three clicks also draws without a label
        labels[0].set("selected", "true")
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode")


def read_xml(xml: str) -> LabelConfig:
    """Read what a configuration says about boxes, whoever wrote it.

    Raises:
        ValueError: if it is no XML, longer than ``MAX_XML``, has a document type, does not have over an Image exactly
            one named RectangleLabels, or one Rectangle and one Labels, with distinct labels, or the Image's value is
            not one key of the task's data.
    """
    root = _parse(xml)
    image_values = {tag.get("name"): tag.get("value", "") for tag in root.iter("Image")}
    control, rectangle = _controls(root, image_values)
    names = [_stored_name(tag) for tag in control.iter("Label")]
    if not all(names) or not 0 < len(names) == len({*names}):
        raise ValueError(f"expected labels with distinct names, got {names}")
    name, to_name = control.get("name"), control.get("toName") or ""
    if not name:
        raise ValueError(f"expected a {control.tag} with a name, as annotations refer to it, got none")
    key = re.fullmatch(r"\$(\w+)", image_values[to_name])
    if not key:
        raise ValueError(f"expected an Image with a value like $image, got {image_values[to_name]!r}")
    return LabelConfig(tuple(names), name, to_name, key[1], rectangle)


def change_labels(
    xml: str, meanings: Mapping[str, str], renamed: Collection[str], classes: Sequence[str]
) -> tuple[str, dict[str, str]]:
    """Change a project's labels for a changed list of classes; what is drawn already stays valid.

    A label of a renamed class keeps the name that annotations store (its alias) and its colour, and is shown under the
    new name. Of several labels of a merged class one is shown; the others are hidden, so that boxes which have them
    keep theirs. A class without a label gets one.

    Args:
        xml: the configuration, one that :func:`read_xml` takes.
        meanings: label, as annotations store it -> its class now, for labels of classes.
        renamed: labels whose class has another name than before.
        classes: the classes now.

    Returns:
        The changed configuration, and label -> class for all labels of classes that it has. Of several labels of one
        class, the one that is shown comes last.
    """
    root = _parse(xml)
    control, _ = _controls(root, {tag.get("name") for tag in root.iter("Image")})
    tags = {_stored_name(tag): tag for tag in control.iter("Label")}
    hidden: dict[str, str] = {}
    shown: dict[str, str] = {}  # class -> label

    def rank(label: str) -> tuple[bool, bool]:  # a label of the class's own name goes first, a hidden one last
        return meanings.get(label) != label, tags[label].get("visible") == "false"

    for label in sorted(tags, key=rank):
        name = meanings.get(label)
        if name is None:
            continue
        if name in shown:
            hidden[label] = name
            tags[label].attrib.update(alias=label, value=f"{name} (was {label})", visible="false")
            tags[label].attrib.pop("hotkey", None)
            continue
        shown[name] = label
        tags[label].attrib.pop("visible", None)
        if label in renamed:
            is_free = name == label or name not in tags
            tags[label].attrib.update(alias=label, value=name if is_free else f"{name} (was {label})")
    colours = {tag.get("background") for tag in tags.values()}
    for tag in tags.values() if len(classes) > 1 else ():
        tag.attrib.pop("selected", None)
    for name in classes:
        if name not in shown:
            taken = {*tags, *shown.values()}
            shown[name] = label = next(text for text in _numbered(name) if text not in taken)
            _add_label(control, label, next(c for c in map(_colour, count(len(tags))) if c not in colours))
            colours.add(control[-1].get("background"))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode"), hidden | {label: name for name, label in shown.items()}


def _parse(xml: str) -> ElementTree.Element:
    if len(xml) > MAX_XML:
        raise ValueError(f"expected a labelling configuration of at most {MAX_XML} characters, got {len(xml)}")
    if "<!DOCTYPE" in xml:  # its entities can expand to any size
        raise ValueError("expected a labelling configuration without a document type, got <!DOCTYPE: remove it")
    try:
        return ElementTree.fromstring(xml)
    except (ElementTree.ParseError, UnicodeError) as error:
        raise ValueError(f"expected a labelling configuration in XML, got {xml[:80]!r}: {error}") from None


def _stored_name(label: ElementTree.Element) -> str:
    """The name of a label in annotations."""
    return label.get("alias") or label.get("value") or ""


def _numbered(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name} {number}" for number in count(2))


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
        f"expected one RectangleLabels over an Image, got {len(joined)}, or one Rectangle with a name and one Labels "
        f"(the configuration has {has}): write <Rectangle name='rectangle' toName='image' canRotate='true'/> and "
        "<Labels name='label' toName='image'> with one <Label value='...'/> per class, as "
        "al_rotate.bridge.label_config.to_xml does"
    )


def _add_label(labels: ElementTree.Element, name: str, colour: str) -> None:
    """Add a label; the first nine get the keys 1 to 9."""
    others = list(labels.iter("Label"))
    label = ElementTree.SubElement(labels, "Label", value=name, background=colour)
    key = str(len(others) + 1)
    if len(key) == 1 and key not in {other.get("hotkey") for other in others}:
        label.set("hotkey", key)


def _is_name(name: object) -> bool:
    return isinstance(name, str) and name != "" and name == name.strip() and name.isprintable()


def _colour(position: int) -> str:
    """Space hues by the golden angle, so that neighbours in the list differ most; vary lightness and saturation."""
    hue = (position * 0.61803398875) % 1.0
    red, green, blue = colorsys.hls_to_rgb(hue, (0.48, 0.62, 0.36)[position // 13 % 3], (0.95, 0.75)[position % 2])
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"
