from xml.etree import ElementTree

import pytest

from al_rotate.boxes import to_corners
from al_rotate.boxes.drawing import COLOURS, MOST_BOXES, Layer, colour, ink, to_svg

SVG = "{http://www.w3.org/2000/svg}"


def polygons(svg):
    drawn = ElementTree.fromstring(svg).iter(f"{SVG}polygon")
    return [p for p in drawn if p.get("stroke") != "#000"]


def test_boxes_are_where_they_are():
    boxes = [[20, 20, 16, 8, 0.4], [60, 30, 20, 10, -0.5]]
    svg = to_svg([Layer(boxes[:1], [1], dashed=True), Layer(boxes[1:], [12])], 100, 50, side=200)
    dashed, solid = polygons(svg)
    for polygon, corners in zip((dashed, solid), to_corners(boxes), strict=True):
        points = [[float(value) for value in point.split(",")] for point in polygon.get("points").split()]
        for point, corner in zip(points, corners.tolist(), strict=True):
            assert point == pytest.approx(corner, abs=0.051)
    assert (dashed.get("stroke"), solid.get("stroke")) == (COLOURS[1], COLOURS[2])
    assert (dashed.get("stroke-dasharray") is None, solid.get("stroke-dasharray") is None) == (False, True)
    root = ElementTree.fromstring(svg)
    assert (root.get("width"), root.get("height"), root.get("viewBox")) == ("200", "100", "0 0 100 50")


def test_text_stays_text():
    title = '<script>"&'
    root = ElementTree.fromstring(to_svg([], 10, 10, title, 'data:x"><script>'))
    assert root.get("aria-label") == root.find(f"{SVG}title").text == title
    assert root.find(f"{SVG}image").get("href") == 'data:x"><script>'
    assert not [*root.iter(f"{SVG}script")]


def test_the_size_is_bounded():
    many = [[5, 5, 4, 2, 0]] * 1000
    assert len(polygons(to_svg([Layer(many, [0] * 1000)], 10, 10))) == MOST_BOXES
    assert polygons(to_svg([Layer([], [])], 0, 0)) == []


@pytest.mark.parametrize("label", range(len(COLOURS)))
def test_ink_is_dark_enough_for_white(label):
    red, green, blue = (int(ink(label)[k : k + 2], 16) for k in (1, 3, 5))
    assert 0.299 * red + 0.587 * green + 0.114 * blue <= 0.56 * 255
    assert colour(label) == colour(label + len(COLOURS))
