"""Boxes as SVG drawings, for notebooks and pages; and the colours of classes in every picture."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .convert import to_corners

__all__ = ["COLOURS", "Layer", "colour", "ink", "to_svg"]

# Distinct on land and on water, also for the colour-blind (after Okabe and Ito 2008, brightened).
COLOURS = ("#ffb000", "#3db8ff", "#ff5d8f", "#4ade80", "#ffffff", "#c084fc", "#ff7a1a", "#f5f749", "#00e0c6", "#b08968")
_DARK_ENOUGH = 0.55  # the brightness of a line on white
MOST_BOXES = 100  # drawn of a layer: more are neither legible nor small


class Layer(NamedTuple):
    """Boxes that are drawn alike.

    Attributes:
        boxes: (N, 5).
        labels: (N,) class numbers, which give the colours.
        dashed: as labels are drawn beside detections.
    """

    boxes: ArrayLike
    labels: ArrayLike
    dashed: bool = False


def colour(label: int) -> str:
    """Return the colour of a class, the same in every picture."""
    return COLOURS[label % len(COLOURS)]


def ink(label: int) -> str:
    """Return the colour of a class, dark enough for lines on white paper."""
    red, green, blue = (int(colour(label)[k : k + 2], 16) for k in (1, 3, 5))
    brightness = (0.299 * red + 0.587 * green + 0.114 * blue) / 255
    factor = min(1.0, _DARK_ENOUGH / brightness)
    return "#" + "".join(f"{round(part * factor):02x}" for part in (red, green, blue))


def to_svg(
    layers: Iterable[Layer], width: float, height: float, title: str = "", picture: str | None = None, side: int = 160
) -> str:
    """Draw boxes as an SVG element: as wide as `side` pixels of the screen, or as high if that is more.

    Args:
        layers: the first is the lowest; MOST_BOXES of each are drawn.
        width, height: of the image, in pixels.
        title: what the drawing shows, for people who do not see it.
        picture: address of the image, such as a data URL; None: the boxes lie on dark grey.
        side: the longer one of the drawing, in pixels of the screen.

    >>> svg = to_svg([Layer([[5, 5, 4, 2, 0]], [1])], 10, 10, "one ship")
    >>> svg.count("<polygon"), 'points="3,4 7,4 7,6 3,6"' in svg
    (2, True)
    """
    width, height = max(float(width), 1.0), max(float(height), 1.0)
    scale = side / max(width, height)
    below = f'<image href="{escape(picture)}" width="{width:g}" height="{height:g}"/>' if picture else ""
    shapes = "".join(_polygon(*row) for layer in layers for row in _rows(layer))
    return (
        f'<svg role="img" aria-label="{escape(title)}" xmlns="http://www.w3.org/2000/svg" '
        f'width="{max(1, round(width * scale))}" height="{max(1, round(height * scale))}" '
        f'viewBox="0 0 {width:g} {height:g}" style="background:#3a4654">'
        f'<title>{escape(title)}</title>{below}<g fill="none">{shapes}</g></svg>'
    )


def _rows(layer: Layer) -> Iterable[tuple[str, str, bool]]:
    corners = to_corners(layer.boxes)[:MOST_BOXES].round(1).tolist()
    for box, label in zip(corners, np.asarray(layer.labels).tolist(), strict=False):
        yield " ".join(f"{x:g},{y:g}" for x, y in box), colour(label), layer.dashed


def _polygon(points: str, stroke: str, dashed: bool) -> str:
    """Draw a box, on a dark line that keeps it visible on bright ground."""
    dashes = ' stroke-dasharray="4 3"' if dashed else ""
    thin = f'vector-effect="non-scaling-stroke"{dashes}'
    return (
        f'<polygon points="{points}" stroke="#000" stroke-opacity=".55" stroke-width="3" {thin}/>'
        f'<polygon points="{points}" stroke="{stroke}" stroke-width="1.5" {thin}/>'
    )
