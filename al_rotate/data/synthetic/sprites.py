"""Sprites of rendered scenes, as flat polygons: the objects of the classes, and clutter.

A sprite has its own unit frame: x along it (bow, nose and bonnet at +0.5), y across, both in [-0.5, 0.5]. Its outline
touches all four sides of that square, so the box that the square is stretched to is tight by construction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import cos, pi, sin
from typing import NamedTuple, TypeVar

import numpy as np

CLASSES = ("vehicle", "ship", "plane", "tank", "court")

T = TypeVar("T")
Colour = tuple[int, int, int]
Points = Sequence[tuple[float, float]]


class Sprite(NamedTuple):
    """Polygons painted one over the other."""

    aspect: float  # width / length
    height: float  # above the ground, in lengths: how far the shadow falls
    solid: int  # the first so many parts make up the outline
    parts: list[tuple[Points, Colour]]


class Kind(NamedTuple):
    """A kind of sprite, and the class that it belongs to."""

    make: Callable[[np.random.Generator, tuple[float, float]], Sprite]  # (rng, direction of the sun in the unit frame)
    lengths: tuple[float, float]  # shortest and longest, in pixels at the usual ground sample distance
    name: str | None  # its class; None for clutter


def pick(rng: np.random.Generator, values: Sequence[T]) -> T:
    """Draw one of `values` uniformly."""
    return values[int(rng.random() * len(values))]


def shade(colour: Colour, factor: float) -> Colour:
    """Multiply the channels of a colour by `factor`."""
    r, g, b = (min(255, max(0, round(c * factor))) for c in colour)
    return r, g, b


def _bar(x0: float, x1: float, y0: float, y1: float) -> Points:
    return ((x0, y0), (x1, y0), (x1, y1), (x0, y1))


def _mirrored(*half: tuple[float, float]) -> Points:
    """Make a symmetric polygon from its half with y >= 0."""
    return (*half, *((x, -y) for x, y in reversed(half)))


def _disc(radius: float, x: float = 0.0, y: float = 0.0, sides: int = 28) -> Points:
    return [(x + radius * cos(2 * pi * k / sides), y + radius * sin(2 * pi * k / sides)) for k in range(sides)]


FULL = _bar(-0.5, 0.5, -0.5, 0.5)
GLASS, WHITE = (38, 46, 56), (238, 238, 234)
CAR_COLOURS = (
    *((232, 232, 230), (232, 232, 230), (176, 180, 184), (120, 124, 128), (48, 50, 54), (60, 62, 68)),
    *((168, 36, 34), (44, 76, 140), (40, 86, 72), (214, 176, 52), (182, 166, 136)),
)
_CAR = _mirrored((-0.5, 0.34), (-0.47, 0.46), (-0.38, 0.5), (0.3, 0.5), (0.44, 0.44), (0.5, 0.28))
_CABIN = _mirrored((-0.4, 0.32), (-0.3, 0.4), (0.1, 0.4), (0.24, 0.36))
_ROOF = _mirrored((-0.28, 0.33), (0.06, 0.33))
_HULL = _mirrored(
    (-0.5, 0.4), (-0.46, 0.48), (-0.15, 0.5), (0.14, 0.49), (0.3, 0.4), (0.42, 0.22), (0.48, 0.1), (0.5, 0.03)
)
_FUSELAGE = _mirrored(
    *(
        (-0.5, 0.01),
        (-0.36, 0.04),
        (-0.2, 0.062),
        (0.3, 0.066),
        (0.4, 0.056),
        (0.46, 0.036),
        (0.49, 0.018),
        (0.5, 0.008),
    )
)
_JET = _mirrored((-0.46, 0.07), (-0.3, 0.11), (0.06, 0.11), (0.2, 0.07), (0.36, 0.05), (0.48, 0.022), (0.5, 0.01))


def _inset(points: Points, x: float, y: float) -> Points:
    return [(px * x, py * y) for px, py in points]


def _car(rng: np.random.Generator, sun: tuple[float, float]) -> Sprite:
    paint = pick(rng, CAR_COLOURS)
    parts = [
        (_CAR, paint),
        (_bar(-0.4, 0.4, 0.3, 0.44), shade(paint, 0.86)),
        (_CABIN, GLASS),
        (_ROOF, shade(paint, 1.1)),
    ]
    return Sprite(rng.uniform(0.44, 0.5), 0.22, 1, parts)


def _truck(rng: np.random.Generator, sun: tuple[float, float]) -> Sprite:
    paint = pick(rng, CAR_COLOURS)
    load = pick(rng, ((226, 224, 216), (200, 204, 206), (150, 96, 62), (72, 104, 128)))
    parts = [
        (_bar(-0.5, 0.5, -0.4, 0.4), (54, 54, 56)),
        (_bar(-0.5, 0.22, -0.5, 0.5), load),
        (_bar(0.27, 0.5, -0.46, 0.46), paint),
        (_bar(-0.46, 0.18, -0.36, 0.36), shade(load, 1.07)),
        (_bar(0.4, 0.46, -0.4, 0.4), GLASS),
    ]
    return Sprite(rng.uniform(0.34, 0.38), 0.26, 3, parts)


def _freighter(rng: np.random.Generator, sun: tuple[float, float]) -> Sprite:
    hull = pick(rng, ((52, 56, 64), (122, 44, 38), (36, 62, 94), (70, 72, 74), (44, 74, 66)))
    deck = pick(rng, ((142, 82, 66), (120, 124, 122), (106, 124, 106), (158, 140, 116)))
    parts: list[tuple[Points, Colour]] = [(_HULL, hull), (_inset(_HULL, 0.95, 0.8), deck)]
    if rng.random() < 0.6:  # containers, or else the pipes of a tanker
        colours = ((168, 66, 48), (60, 98, 136), (196, 190, 178), (86, 122, 92), (206, 152, 66))
        for x in np.linspace(-0.2, 0.24, 5).tolist():
            for y in (-0.24, 0.0, 0.24):
                parts.append((_bar(x, x + 0.075, y - 0.1, y + 0.1), pick(rng, colours)))
    else:
        parts += [(_bar(-0.2, 0.36, y - 0.035, y + 0.035), shade(deck, 1.3)) for y in (-0.14, 0.14)]
        parts += [(_bar(x, x + 0.03, -0.36, 0.36), shade(deck, 0.75)) for x in (-0.1, 0.06, 0.22)]
    parts += [
        (_bar(-0.44, -0.25, -0.38, 0.38), WHITE),
        (_bar(-0.3, -0.26, -0.44, 0.44), (206, 210, 212)),
        (_bar(-0.42, -0.34, -0.12, 0.12), shade(hull, 1.3)),
    ]
    return Sprite(rng.uniform(0.2, 0.25), 0.1, 1, parts)


def _yacht(rng: np.random.Generator, sun: tuple[float, float]) -> Sprite:
    hull = pick(rng, (WHITE, WHITE, (222, 226, 228), (54, 74, 112), (150, 60, 48)))
    deck = pick(rng, ((196, 164, 120), (216, 210, 198), (176, 150, 116)))
    parts: list[tuple[Points, Colour]] = [
        (_HULL, hull),
        (_inset(_HULL, 0.9, 0.72), deck),
        (_mirrored((-0.24, 0.3), (0.1, 0.28), (0.22, 0.14)), GLASS),
        (_mirrored((-0.22, 0.24), (0.06, 0.22)), WHITE),
    ]
    return Sprite(rng.uniform(0.28, 0.34), 0.14, 1, parts)


def _airliner(rng: np.random.Generator, sun: tuple[float, float]) -> Sprite:
    body = pick(rng, (WHITE, (226, 228, 232), (208, 212, 216)))
    livery = pick(rng, ((178, 40, 44), (34, 66, 128), (30, 104, 96), (222, 144, 44), (70, 72, 78)))
    wing, root = shade(body, 0.85), rng.uniform(0.12, 0.18)
    parts: list[tuple[Points, Colour]] = [
        (_mirrored((root, 0.0), (root - 0.02, 0.06), (-0.14, 0.5), (-0.2, 0.5), (-0.07, 0.14), (-0.08, 0.0)), wing),
        (_mirrored((-0.34, 0.0), (-0.45, 0.2), (-0.5, 0.2), (-0.46, 0.0)), wing),
        (_FUSELAGE, body),
        *((_bar(0.0, 0.095, y - 0.03, y + 0.03), (96, 100, 108)) for y in (-0.2, 0.2)),
    ]
    low = 1 if sun[1] < 0 else -1
    parts += [
        (_bar(-0.18, 0.34, 0.03 * low, 0.06 * low), shade(body, 0.78)),
        (_bar(-0.47, -0.32, -0.014, 0.014), livery),
        (_bar(0.425, 0.45, -0.034, 0.034), GLASS),
    ]
    return Sprite(rng.uniform(0.82, 0.92), 0.13, 5, parts)


def _fighter(rng: np.random.Generator, sun: tuple[float, float]) -> Sprite:
    body = pick(rng, ((150, 156, 162), (128, 134, 138), (138, 136, 116)))
    parts: list[tuple[Points, Colour]] = [
        (_mirrored((0.14, 0.0), (0.12, 0.1), (-0.24, 0.5), (-0.34, 0.5), (-0.32, 0.0)), shade(body, 0.88)),
        (_mirrored((-0.3, 0.0), (-0.4, 0.28), (-0.5, 0.28), (-0.46, 0.0)), shade(body, 0.8)),
        (_JET, body),
        (_mirrored((0.16, 0.04), (0.28, 0.035), (0.34, 0.0)), GLASS),
        (_bar(-0.46, -0.3, -0.03, 0.03), shade(body, 0.6)),
    ]
    return Sprite(rng.uniform(0.66, 0.74), 0.1, 3, parts)


def _tank(rng: np.random.Generator, sun: tuple[float, float]) -> Sprite:
    top = pick(rng, ((226, 226, 220), (206, 208, 206), (188, 178, 160), (164, 120, 92), (150, 168, 162)))
    x, y = sun
    parts: list[tuple[Points, Colour]] = [
        (_disc(0.5), shade(top, 0.6)),
        (_disc(0.465, 0.033 * x, 0.033 * y), shade(top, 1.1)),
        (_disc(0.425), top),
    ]
    if rng.random() < 0.5:  # a floating roof is low: the wall's shadow falls into it
        parts += [(_disc(0.41), shade(top, 0.7)), (_disc(0.365, -0.045 * x, -0.045 * y), shade(top, 0.97))]
    else:
        parts += [(_disc(0.2, 0.1 * x, 0.1 * y), shade(top, 1.07))]
    a = rng.uniform(0, 2 * pi)
    ladder = [(r * cos(a + t), r * sin(a + t)) for r, t in ((0.46, -0.07), (0.46, 0.07), (0.22, 0.12), (0.22, -0.12))]
    return Sprite(1.0, 0.3, 1, [*parts, (ladder, shade(top, 0.78))])


def _court(rng: np.random.Generator, sun: tuple[float, float]) -> Sprite:
    surfaces: tuple[tuple[Colour, Colour], ...] = (
        *(((58, 112, 84), (48, 92, 150)), ((64, 118, 78), (178, 92, 66)), ((168, 84, 60), (196, 120, 84))),
        *(((48, 104, 132), (116, 84, 140)), ((176, 96, 62), (72, 124, 92))),
    )
    outer, inner = pick(rng, surfaces)
    line = (232, 232, 226)
    parts: list[tuple[Points, Colour]] = [(FULL, outer), (_bar(-0.38, 0.38, -0.34, 0.34), line)]
    t, s = 0.011, 0.022  # half the width of a line, along and across
    if rng.random() < 0.65:  # tennis, or else basketball
        parts.append((_bar(-0.38 + 2 * t, 0.38 - 2 * t, -0.34 + 2 * s, 0.34 - 2 * s), inner))
        parts += [(_bar(-0.38, 0.38, y - s, y + s), line) for y in (-0.25, 0.25)]
        parts += [(_bar(x - t, x + t, -0.25, 0.25), line) for x in (-0.2, 0.2)]
        parts += [(_bar(-0.2, 0.2, -s, s), line), (_bar(-t, t, -0.38, 0.38), (54, 58, 60))]
    else:
        parts.append((_bar(-0.38 + 2 * t, 0.38 - 2 * t, -0.34 + 2 * s, 0.34 - 2 * s), inner))
        circle = [(x, y * 2) for x, y in _disc(0.075)]
        parts += [(circle, line), (_inset(circle, 0.72, 0.72), shade(outer, 1.1)), (_bar(-t, t, -0.34, 0.34), line)]
        for side in (-1, 1):
            parts += [(_bar(0.22 * side, 0.38 * side, -0.15, 0.15), line)]
            parts += [(_bar(0.24 * side, 0.365 * side, -0.11, 0.11), shade(outer, 1.1))]
    return Sprite(rng.uniform(0.5, 0.58), 0.0, 1, parts)


def _house(rng: np.random.Generator, sun: tuple[float, float]) -> Sprite:
    roof = pick(rng, ((164, 92, 70), (142, 80, 62), (112, 106, 104), (128, 104, 86), (84, 88, 96), (176, 160, 140)))
    hip, bright = pick(rng, (0.0, 0.0, 0.2)), 0.16 * sun[1]
    parts: list[tuple[Points, Colour]] = [
        (FULL, shade(roof, 0.92)),
        (((-0.5, -0.5), (0.5, -0.5), (0.5 - hip, 0.0), (-0.5 + hip, 0.0)), shade(roof, 1 - bright)),
        (((-0.5, 0.5), (0.5, 0.5), (0.5 - hip, 0.0), (-0.5 + hip, 0.0)), shade(roof, 1 + bright)),
        (_bar(-0.5 + hip, 0.5 - hip, -0.02, 0.02), shade(roof, 1.2)),
        (_bar(0.14, 0.22, 0.1, 0.22), shade(roof, 0.65)),
    ]
    return Sprite(rng.uniform(0.58, 0.8), 0.22, 1, parts)


def _hall(rng: np.random.Generator, sun: tuple[float, float]) -> Sprite:
    roof = pick(rng, ((176, 178, 180), (148, 152, 156), (194, 188, 176), (132, 112, 102)))
    parts: list[tuple[Points, Colour]] = [(FULL, shade(roof, 1.14)), (_bar(-0.48, 0.48, -0.46, 0.46), roof)]
    parts += [(_bar(x, x + 0.03, -0.3, 0.3), shade(roof, 0.8)) for x in np.linspace(-0.4, 0.38, 7).tolist()]
    return Sprite(rng.uniform(0.4, 0.5), 0.14, 1, parts)


def _container(rng: np.random.Generator, sun: tuple[float, float]) -> Sprite:
    paint = pick(rng, ((158, 72, 54), (62, 92, 122), (190, 184, 172), (88, 112, 90), (190, 144, 72)))
    ribs = [(_bar(x, x + 0.03, -0.5, 0.5), shade(paint, 0.84)) for x in (-0.34, -0.18, -0.02, 0.14, 0.3)]
    return Sprite(0.4, 0.2, 1, [(FULL, paint), *ribs])


def _tree(rng: np.random.Generator, sun: tuple[float, float]) -> Sprite:
    leaf = pick(rng, ((62, 84, 46), (52, 76, 48), (76, 92, 50), (58, 70, 40)))
    rough = 0.38 + 0.12 * rng.random(11)
    crown = [(r * cos(0.571 * k), r * sin(0.571 * k)) for k, r in enumerate(rough.tolist())]
    lit = [
        [(0.5 * s * x + f * sun[0], 0.5 * s * y + f * sun[1]) for x, y in crown] for s, f in ((1.4, 0.1), (0.7, 0.16))
    ]
    return Sprite(1.0, 0.45, 1, [(crown, shade(leaf, 0.8)), (lit[0], leaf), (lit[1], shade(leaf, 1.25))])


def _pool(rng: np.random.Generator, sun: tuple[float, float]) -> Sprite:
    return Sprite(0.55, 0.0, 1, [(FULL, (206, 200, 188)), (_bar(-0.42, 0.42, -0.36, 0.36), (82, 172, 188))])


KINDS = {
    "car": Kind(_car, (17.5, 20.5), "vehicle"),
    "truck": Kind(_truck, (24, 29), "vehicle"),
    "freighter": Kind(_freighter, (50, 70), "ship"),
    "yacht": Kind(_yacht, (29, 38), "ship"),
    "airliner": Kind(_airliner, (44, 58), "plane"),
    "fighter": Kind(_fighter, (30, 36), "plane"),
    "tank": Kind(_tank, (21, 36), "tank"),
    "court": Kind(_court, (44, 56), "court"),
    "house": Kind(_house, (28, 40), None),
    "hall": Kind(_hall, (64, 100), None),
    "container": Kind(_container, (18, 24), None),
    "tree": Kind(_tree, (10, 22), None),
    "pool": Kind(_pool, (10, 15), None),
}
