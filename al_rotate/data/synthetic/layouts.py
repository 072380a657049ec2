"""Layouts of rendered scenes: one function per kind of scene places grounds and sprites on a canvas.

Lengths are pixels in the canvas's (u, v) axes, times its zoom where they scale with the objects.
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi

import numpy as np

from .canvas import Canvas
from .sprites import Colour, pick, shade

GREENS: tuple[Colour, ...] = ((98, 114, 66), (112, 122, 74), (84, 102, 60), (124, 124, 80), (104, 108, 72))
FIELDS: tuple[Colour, ...] = (*GREENS, (152, 138, 96), (140, 114, 84), (168, 154, 108), (122, 134, 82), (128, 104, 78))
PAVED: tuple[Colour, ...] = ((160, 156, 148), (146, 144, 140), (172, 166, 154))
ASPHALT: tuple[Colour, ...] = ((96, 96, 98), (84, 86, 88), (110, 108, 106))
WATER: tuple[Colour, ...] = ((46, 74, 94), (40, 86, 94), (64, 92, 88), (34, 60, 84))
LINE: Colour = (222, 220, 210)


def _harbour(c: Canvas, rng: np.random.Generator) -> None:
    r, z = c.reach, c.zoom
    shore = rng.uniform(0.0, 0.28) * c.size
    sea = _sea(c, rng)
    c.fill(-r, r, shore, r, pick(rng, PAVED))
    c.fill(-r, r, shore - 3, shore + 1, (96, 92, 86))
    c.fill(-r, r, shore + 2, shore + 4, (196, 190, 176))
    if rng.random() < 0.35:  # a marina: yachts on both sides of its piers
        length, spacing = 32 * z, rng.uniform(115, 160) * z
        for u in np.arange(-r + rng.uniform(0, spacing), r, spacing).tolist():
            pier, kept = rng.uniform(50, 100) * z, rng.uniform(0.35, 0.9)
            c.fill(u - 3 * z, u + 3 * z, shore - pier, shore, (150, 128, 102))
            for v in np.arange(shore - 10 * z, shore - pier, -0.4 * length).tolist():
                for side in (-1, 1):
                    if rng.random() < kept:
                        long = length * rng.uniform(0.85, 1.08)
                        turn = rng.normal(0, 0.04) + pi * (rng.random() < 0.25)
                        c.put("yacht", u + side * (long / 2 + 5 * z), v, turn + pi * (side < 0), long, gap=0.5)
    else:  # freighters, side by side with their sterns to the quay, or alongside it
        u = -r + rng.uniform(0, 60)
        while u < r:
            length = rng.uniform(50, 68) * z
            if rng.random() < 0.55:
                for _ in range(int(rng.integers(2, 5))):
                    v = shore - length * 0.5 - rng.uniform(5, 9) * z
                    c.put("freighter", u, v, -pi / 2 + rng.normal(0, 0.03), length * rng.uniform(0.9, 1.05), gap=0.5)
                    u += length * 0.29
            else:
                c.put("freighter", u + length / 2, shore - 0.17 * length - 3, pi * (rng.random() < 0.5), length)
                u += length
            u += rng.uniform(30, 110) * z
    for _ in range(_count(c, rng, 1.1)):
        u, v, turn = rng.uniform(-r, r), rng.uniform(-r, max(-r, shore - 70 * z)), rng.uniform(0, 2 * pi)
        kind, length = pick(rng, (("yacht", 30 * z), ("freighter", 56 * z)))
        if c.put(kind, u, v, turn, length, gap=4) and rng.random() < 0.7:
            _wake(c, u, v, turn, length, sea)
    for u in np.arange(-r, r, 24 * z).tolist():
        if rng.random() < 0.45:
            for row in range(int(rng.integers(1, 4))):
                c.put("container", u, shore + (14 + 10 * row) * z, 0.0, 21 * z)
        elif rng.random() < 0.15:
            c.put(pick(rng, ("truck", "car")), u, shore + 15 * z, rng.normal(0, 0.1))
    _scatter(c, rng, "hall", 4, shore + 55 * z)


def _airfield(c: Canvas, rng: np.random.Generator) -> None:
    r, z = c.reach, c.zoom
    _fields(c, rng, GREENS)
    paved = pick(rng, PAVED)
    top, depth = rng.uniform(-0.2, 0.1) * c.size, rng.uniform(95, 130) * z
    c.fill(-r, r, top, top + depth, paved)
    for u in np.arange(-r, r, 26 * z).tolist():  # joints between slabs
        c.fill(u, u + 0.7, top, top + depth, shade(paved, 0.92))
    runway = top - rng.uniform(45, 75) * z
    c.fill(-r, r, runway - 20 * z, runway + 20 * z, pick(rng, ASPHALT))
    for side in (-17, 17):
        c.fill(-r, r, runway + side * z - 0.6, runway + side * z + 0.6, LINE)
    for u in np.arange(-r, r, 26 * z).tolist():
        c.fill(u, u + 14 * z, runway - 0.8, runway + 0.8, LINE)
    c.fill(-r, r, top + 17 * z, top + 18 * z, (212, 176, 66))
    for u in np.arange(-r, r, rng.uniform(150, 260)).tolist():
        c.fill(u - 9 * z, u + 9 * z, runway, top, paved)

    kind, step = pick(rng, (("airliner", 64 * z), ("airliner", 64 * z), ("fighter", 36 * z)))
    lean, kept = pick(rng, (0.0, 0.0, 0.5, -0.5)), rng.uniform(0.5, 1.0)
    for u in np.arange(-r + rng.uniform(0, step), r, step).tolist():
        c.fill(u - 0.6, u + 0.6, top + 18 * z, top + depth - 6 * z, (212, 176, 66))
        if rng.random() < kept:
            turn = pi / 2 + lean + rng.normal(0, 0.04) + pi * (rng.random() < 0.1)
            c.put(kind, u, top + depth - 40 * z + rng.normal(0, 2), turn)
        elif rng.random() < 0.5:
            c.put(pick(rng, ("truck", "car", "container")), u, top + depth - rng.uniform(15, 50) * z, rng.uniform(0, 6))
    if rng.random() < 0.4:
        c.put(
            pick(rng, ("airliner", "fighter")),
            rng.uniform(-r, r),
            runway,
            pi * (rng.random() < 0.5) + rng.normal(0, 0.03),
        )
    for u in np.arange(-r, r, 105 * z).tolist():
        c.put("hall", u, top + depth + 24 * z, 0.0, 96 * z)
    _scatter(c, rng, "car", 2, top, top + depth)
    _scatter(c, rng, "tree", 14, top + depth + 50 * z)
    _scatter(c, rng, "tree", 6, -r, runway - 40 * z)


def _roads(c: Canvas, rng: np.random.Generator) -> None:
    r, z = c.reach, c.zoom
    _fields(c, rng, GREENS if rng.random() < 0.6 else FIELDS)
    middle = rng.uniform(-0.35, 0.05) * c.size
    _road(c, rng, middle, int(rng.integers(1, 3)), rng.uniform(0.12, 0.4))
    edge = middle + 34 * z
    if rng.random() < 0.7:
        slant = pick(rng, (pi / 2, pi / 2, 1.05))
        bay, deep, aisle = 11.5 * z, 23 * z, rng.uniform(17, 24) * z
        left, right = sorted((rng.uniform(-1, -0.4) * r, rng.uniform(0.3, 1) * r))
        rows = int(rng.integers(1, 4))
        kept = rng.uniform(0.25, 0.9) / rows  # or the first row alone would use up all objects
        c.fill(left - 6, right + 6, edge, edge + rows * (deep * 2 + aisle) + 4 * z, pick(rng, ASPHALT))
        for row in range(rows):
            for half in range(2):
                v = edge + row * (deep * 2 + aisle) + deep * (half + 0.5) + 4 * z
                for u in np.arange(left + bay, right - bay, bay).tolist():
                    lean = (deep / 2) / np.tan(slant)
                    line = ((u - lean - 0.5, v - deep / 2), (u - lean + 0.5, v - deep / 2))
                    c.shape((*line, (u + lean + 0.5, v + deep / 2), (u + lean - 0.5, v + deep / 2)), LINE)
                    if rng.random() < kept:
                        turn = slant + rng.normal(0, 0.05) + pi * (rng.random() < 0.4)
                        c.put("car", u + bay / 2, v + rng.normal(0, 0.8), turn, gap=0.5)
    else:
        _scatter(c, rng, "house", 12, edge)
    _scatter(c, rng, "hall", 2, edge + 40 * z)
    _scatter(c, rng, "house", 3, -r, middle - 40 * z)
    _scatter(c, rng, "container", 4, -r, middle - 30 * z)
    _scatter(c, rng, "tree", 10, edge)
    _scatter(c, rng, "tree", 16, -r, middle - 40 * z)
    if rng.random() < 0.5:
        _hedge(c, rng, middle - 40 * z)


def _tank_farm(c: Canvas, rng: np.random.Generator) -> None:
    r, z = c.reach, c.zoom
    _fields(c, rng, GREENS)
    gravel = pick(rng, ((158, 148, 130), (146, 140, 130), (166, 152, 126)))
    c.fill(-0.62 * c.size, 0.62 * c.size, -0.45 * c.size, r, gravel)
    step = rng.uniform(62, 80) * z
    middle = rng.uniform(-0.5, 0.5) * step
    for v in np.arange(middle - 3 * step, r, step).tolist():
        if v - step / 2 < -0.45 * c.size:
            continue
        kept, big = rng.uniform(0.25, 0.8), rng.uniform(26, 40) * z
        for u in np.arange(-0.62 * c.size + step / 2, 0.62 * c.size, step).tolist():
            c.fill(u - step * 0.46, u + step * 0.46, v - step * 0.46, v + step * 0.46, shade(gravel, 1.16))
            c.fill(u - step * 0.43, u + step * 0.43, v - step * 0.43, v + step * 0.43, shade(gravel, 0.92))
            c.fill(u - 0.8, u + 0.8, v, v + step / 2, (120, 124, 126))
            if rng.random() < kept:
                turn, length = -c.turn, big * rng.uniform(0.9, 1.1)  # a tank's box is upright in the image
                if rng.random() < 0.8:
                    c.put("tank", u + rng.normal(0, 2), v + rng.normal(0, 2), turn, length)
                else:
                    for du in (-0.21, 0.21):
                        c.put("tank", u + du * step, v, turn, 20 * z)
        for dv in (-1.5, 1.5):
            c.fill(-r, r, v + step / 2 + dv - 0.7, v + step / 2 + dv + 0.7, (176, 176, 170))
    _road(c, rng, -0.45 * c.size - 18 * z, 1, 0.15)
    _scatter(c, rng, "car", 2)
    _scatter(c, rng, "container", 4)
    _scatter(c, rng, "house", 1)
    _scatter(c, rng, "tree", 14, 0.3 * c.size)


def _suburb(c: Canvas, rng: np.random.Generator) -> None:
    r, z = c.reach, c.zoom
    _fields(c, rng, GREENS)
    block, first = rng.uniform(120, 150) * z, rng.uniform(-0.45, -0.1) * c.size
    streets = np.arange(first, r, block).tolist()
    for _ in range(_count(c, rng, 1.1)):
        u, v, turn = rng.uniform(-0.36, 0.36) * c.size, pick(rng, streets) + block / 2, pick(rng, (0.0, pi / 2))
        length = rng.uniform(44, 54) * z
        for k in range(int(rng.integers(1, 3))):  # often two next to each other
            across = 0.62 * length * k
            c.put("court", u + across * (turn > 0), v + across * (turn == 0), turn, length, gap=3)
    for v in streets:
        _road(c, rng, v, 1, 0.1, narrow=True)
        for side in (-1, 1):
            for u in np.arange(-r + rng.uniform(0, 30), r, 48 * z).tolist():
                away = v + side * rng.uniform(34, 40) * z
                if rng.random() < 0.85:
                    c.put("house", u, away, rng.normal(0, 0.05) + pi / 2 * (rng.random() < 0.25))
                if rng.random() < 0.18:
                    c.put("car", u + 25 * z, v + side * 24 * z, pi / 2 + rng.normal(0, 0.08))
                if rng.random() < 0.25:
                    c.put("pool", u + rng.uniform(-12, 12), away + side * 24 * z, rng.uniform(0, pi))
        _scatter(c, rng, "tree", 24, v + 32 * z, v + block - 32 * z)


def _empty(c: Canvas, rng: np.random.Generator) -> None:
    if rng.random() < 0.4:
        _sea(c, rng)
    else:
        _fields(c, rng, FIELDS)
        for v in rng.uniform(-0.5, 0.5, 2).tolist():
            _hedge(c, rng, v * c.size)
        wood = rng.uniform(-0.3, 0.9) * c.size
        _scatter(c, rng, "tree", 180, wood)
        _scatter(c, rng, "house", 2, -c.reach, wood)


# layout -> its share of all scenes
LAYOUTS: tuple[tuple[Callable[[Canvas, np.random.Generator], None], float], ...] = (
    *((_roads, 0.27), (_harbour, 0.22), (_airfield, 0.2), (_tank_farm, 0.09), (_suburb, 0.14), (_empty, 0.08)),
)


def _sea(c: Canvas, rng: np.random.Generator) -> Colour:
    colour = pick(rng, WATER)
    c.fill(-c.reach, c.reach, -c.reach, c.reach, colour, water=True)
    return colour


def _fields(c: Canvas, rng: np.random.Generator, colours: tuple[Colour, ...]) -> None:
    """Draw a patchwork of fields, some with furrows."""
    r = c.reach
    cuts = [np.cumsum([-r, *rng.uniform(70, 190, int(2 * r / 70) + 1)]).tolist() for _ in range(2)]
    for u0, u1 in zip(cuts[0], cuts[0][1:], strict=False):
        for v0, v1 in zip(cuts[1], cuts[1][1:], strict=False):
            colour = pick(rng, colours)
            c.fill(u0, u1, v0, v1, colour)
            if rng.random() < 0.35:
                for v in np.arange(v0, min(v1, r), rng.uniform(4, 8)).tolist():
                    c.fill(u0, u1, v, v + 1.3, shade(colour, 0.93))


def _road(c: Canvas, rng: np.random.Generator, v: float, lanes: int, traffic: float, narrow: bool = False) -> None:
    """Draw a road along u with `lanes` in each direction and cars on it, and trucks unless it is narrow."""
    r, lane = c.reach, 12.5 * c.zoom
    half = lanes * lane
    c.fill(-r, r, v - half - 3, v + half + 3, (166, 160, 146))
    c.fill(-r, r, v - half, v + half, pick(rng, ASPHALT))
    for k in range(1 - lanes, lanes):
        for u in np.arange(-r, r, 16 * c.zoom).tolist():
            c.fill(u, u + (16 if k == 0 and lanes > 1 else 8) * c.zoom, v + k * lane - 0.5, v + k * lane + 0.5, LINE)
    for k in range(2 * lanes):
        for u in np.arange(-r + rng.uniform(0, 30), r, 34 * c.zoom).tolist():
            if rng.random() < traffic:
                kind = "truck" if rng.random() < 0.15 and not narrow else "car"
                turn = pi * (k < lanes) + rng.normal(0, 0.03)
                c.put(kind, u + rng.normal(0, 3), v + (k - lanes + 0.5) * lane, turn)


def _hedge(c: Canvas, rng: np.random.Generator, v: float) -> None:
    for u in np.arange(-c.reach, c.reach, 13 * c.zoom).tolist():
        if rng.random() < 0.8:
            c.put("tree", u, v + rng.normal(0, 2), gap=-3)


def _wake(c: Canvas, u: float, v: float, turn: float, length: float, sea: Colour) -> None:
    """Draw foam behind a moving ship, fading with the distance."""
    forward, left = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    stern = np.array([u, v]) - 0.4 * length * forward
    for reach, width, brightness in ((1.3, 0.17, 1.1), (0.9, 0.12, 1.25), (0.45, 0.08, 1.7)):
        end = stern - reach * length * forward
        near = (stern + 0.06 * length * left, stern - 0.06 * length * left)
        far = (end - width * length * left, end + width * length * left)
        c.shape([(float(x), float(y)) for x, y in (*near, *far)], shade(sea, brightness), water=True)


def _scatter(
    c: Canvas, rng: np.random.Generator, kind: str, density: int, v0: float | None = None, v1: float | None = None
) -> None:
    """Place sprites of a kind in free places between v0 and v1, on average `density` / 2 tries per 256 x 256 pixels."""
    low, high = (-c.reach if v0 is None else v0), (c.reach if v1 is None else v1)
    gap = -2 if kind == "tree" else 2
    for _ in range(_count(c, rng, density / 2) if high > low else 0):
        c.put(kind, rng.uniform(-c.reach, c.reach), rng.uniform(low, high), rng.uniform(0, 2 * pi), gap=gap)


def _count(c: Canvas, rng: np.random.Generator, mean: float) -> int:
    """Draw a number of sprites, of mean `mean` per 256 x 256 pixels."""
    return int(rng.poisson(mean * (c.size / 256) ** 2))
