"""The canvas of a rendered scene: ground, water, shadows and objects, then light and lens."""

from __future__ import annotations

from math import ceil, cos, hypot, pi, sin
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from ...boxes import iou
from .sprites import CLASSES, KINDS, Colour, Points, Sprite

SCALE = 3  # scenes are drawn larger by this factor and averaged down, which smooths the edges
TEXTURE = 48  # pixels between the knots of the coarsest noise


class Rectangle(NamedTuple):
    """A box, with the cosine and sine of its angle for the overlap test."""

    x: float
    y: float
    length: float
    width: float
    cos: float
    sin: float

    def is_separate(self, other: Rectangle, gap: float) -> bool:
        """Tell whether an axis along one of the sides separates the two by `gap` pixels (separating axis theorem)."""
        dx, dy = other.x - self.x, other.y - self.y
        if hypot(dx, dy) > (hypot(self.length, self.width) + hypot(other.length, other.width)) / 2 + gap:
            return True
        c = abs(self.cos * other.cos + self.sin * other.sin)
        s = abs(self.cos * other.sin - self.sin * other.cos)
        for a, b in ((self, other), (other, self)):
            if abs(dx * a.cos + dy * a.sin) > (a.length + b.length * c + b.width * s) / 2 + gap:
                return True
            if abs(dy * a.cos - dx * a.sin) > (a.width + b.length * s + b.width * c) / 2 + gap:
                return True
        return False


class Canvas:
    """A square image to draw on.

    Coordinates (u, v) are pixels from the centre of the image, in axes rotated by the scene's own angle, so that
    layouts are written upright. All random numbers come from `rng`, in the order of the calls.

    Args:
        size: side in pixels.
        rng: source of all random numbers.
        max_objects: no more objects than this are placed.

    Attributes:
        boxes: cx, cy, w, h, theta of each object, any angle.
        labels: its index into CLASSES.
    """

    def __init__(self, size: int, rng: np.random.Generator, max_objects: int) -> None:
        self.size, self.rng, self.max_objects = size, rng, max_objects
        self.reach = 0.72 * size  # beyond the corners at any angle
        self.zoom = float(np.clip(np.exp(rng.normal(0.05, 0.22)), 0.72, 1.55))
        self.turn = rng.uniform(0, 2 * pi)
        bearing, overcast = rng.uniform(0, 2 * pi), rng.random() < 0.2
        self.sun = (cos(bearing), sin(bearing))
        self.shadow_length = 0.0 if overcast else rng.uniform(0.5, 1.3)
        full = (SCALE * size, SCALE * size)
        modes = {"ground": "RGB", "water": "L", "shadow": "L", "objects": "RGB", "cover": "L"}
        self._layers = {name: Image.new(mode, full) for name, mode in modes.items()}
        self._pens = {name: ImageDraw.Draw(layer) for name, layer in self._layers.items()}
        self.boxes: list[tuple[float, float, float, float, float]] = []
        self.labels: list[int] = []
        self._occupied: list[Rectangle] = []
        self._wet = False

    def fill(self, u0: float, u1: float, v0: float, v1: float, colour: Colour, water: bool = False) -> None:
        """Paint a rectangle of ground (or of water, which ripples)."""
        self.shape(((u0, v0), (u1, v0), (u1, v1), (u0, v1)), colour, water)

    def shape(self, points: Points, colour: Colour, water: bool = False) -> None:
        """Paint a polygon of ground (or of water, which ripples)."""
        outline = _pixels([self.at(u, v) for u, v in points])
        self._pens["ground"].polygon(outline, fill=colour)
        self._wet |= water
        if self._wet:
            self._pens["water"].polygon(outline, fill=255 * water)

    def at(self, u: float, v: float) -> tuple[float, float]:
        """Convert scene coordinates to pixels x, y."""
        c, s, centre = cos(self.turn), sin(self.turn), self.size / 2
        return centre + u * c - v * s, centre + u * s + v * c

    def put(
        self, kind: str, u: float, v: float, turn: float = 0.0, length: float | None = None, gap: float = 1.5
    ) -> bool:
        """Place one sprite of `KINDS` if its place is free.

        Args:
            kind: key of `KINDS`.
            u, v: its centre.
            turn: its direction in the scene's axes, in radians.
            length: in pixels; by default drawn from the kind's range, at the scene's zoom.
            gap: pixels to leave free around it.

        Returns:
            Whether it was placed. An object of a class must have at least half of its area in the image.
        """
        make, lengths, name = KINDS[kind]
        length = length or self.rng.uniform(*lengths) * self.zoom
        (x, y), theta = self.at(u, v), self.turn + turn
        if not (-length < x < self.size + length and -length < y < self.size + length):
            return False
        c, s = cos(theta), sin(theta)
        sprite = make(self.rng, (self.sun[0] * c + self.sun[1] * s, self.sun[1] * c - self.sun[0] * s))
        rectangle = Rectangle(x, y, length, length * sprite.aspect, c, s)
        if name and (len(self.boxes) >= self.max_objects or not self._is_mostly_inside(rectangle, theta)):
            return False
        if not all(rectangle.is_separate(other, gap) for other in self._occupied):
            return False
        self._occupied.append(rectangle)
        if name:
            self.boxes.append((x, y, length, rectangle.width, 0.0 if name == "tank" else theta))
            self.labels.append(CLASSES.index(name))
        self._draw(sprite, rectangle)
        return True

    def render(self) -> NDArray[np.uint8]:
        """Return the image, (size, size, 3) RGB, with texture, shadows, light, blur and grain."""
        rng = self.rng
        land = noise(self.size, rng)
        image = self.layer("ground")
        relief, patches = rng.uniform(0.04, 0.09) * land, rng.uniform(-1, 1) * noise(self.size, rng, 2)
        if self._wet:
            water = self.layer("water")[0] / 255
            relief += water * (self._ripples(land) - relief)
            patches *= 1 - 0.5 * water
        image *= 1 + relief
        image += patches * np.array([[[9]], [[6]], [[3]]], np.float32)
        if self.shadow_length:
            image *= 1 - self.layer("shadow") / 255 * np.array([[[0.54]], [[0.5]], [[0.42]]], np.float32)
        # Objects are drawn on black, so the averaging has already weighted them by their cover.
        image *= 1 - self.layer("cover") / 255
        image += self.layer("objects")
        contrast, brightness = rng.uniform(0.85, 1.15), rng.uniform(-14, 16)
        cast = rng.uniform(0.95, 1.05, (3, 1, 1)).astype(np.float32)
        image *= contrast
        image += 118 * (1 - contrast) + brightness
        image *= cast
        image += rng.uniform(1.5, 4.5) * rng.standard_normal((self.size, self.size), np.float32)
        blur = rng.uniform(-0.4, 0.6)
        sharp = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8).transpose(1, 2, 0).copy())
        return np.array(sharp.filter(ImageFilter.BoxBlur(blur)) if blur > 0.1 else sharp)

    def layer(self, name: str) -> NDArray[np.float32]:
        """Return a layer averaged down, (3 or 1, size, size): channels first, for fast arithmetic over long rows."""
        bands = self._layers[name].reduce(SCALE).split()
        return np.stack([np.asarray(band) for band in bands]).astype(np.float32)

    def _draw(self, sprite: Sprite, rectangle: Rectangle) -> None:
        parts = [(_pixels(_stretch(points, rectangle)), colour) for points, colour in sprite.parts]
        shadow = sprite.height * rectangle.length * self.shadow_length * SCALE
        steps = ceil(shadow / (0.25 * SCALE * rectangle.width)) if shadow else 0
        for k in range(1, steps + 1):
            dx, dy = (-round(shadow * k / steps * s) for s in self.sun)
            for points, _ in parts[: sprite.solid]:
                self._pens["shadow"].polygon([(x + dx, y + dy) for x, y in points], fill=255)
        for points, _ in parts[: sprite.solid]:
            self._pens["cover"].polygon(points, fill=255)
        for points, colour in parts:
            self._pens["objects"].polygon(points, fill=colour)

    def _is_mostly_inside(self, rectangle: Rectangle, theta: float) -> bool:
        x, y, length, width, *_ = rectangle
        size = self.size
        if hypot(length, width) / 2 < min(x, y, size - x, size - y):
            return True
        overlap = float(iou([(x, y, length, width, theta)], [(size / 2, size / 2, size, size, 0)])[0, 0])
        area = length * width
        return overlap / (1 + overlap) * (area + size * size) > 0.52 * area

    def _ripples(self, land: NDArray[np.float32]) -> NDArray[np.float32]:
        line = np.arange(self.size, dtype=np.float32)
        waves, bearing = np.float32(0.03) * land, self.rng.uniform(0, 2 * pi)
        for spread, length in ((0.0, 7.0), (0.6, 4.5)):
            k, a = 2 * pi / (length * self.zoom), bearing + spread
            phase = (k * cos(a)) * line + ((k * sin(a)) * line)[:, None]
            waves = waves + 0.022 * np.sin(phase + 1.3 * land)
        return waves


def noise(size: int, rng: np.random.Generator, octaves: int = 6) -> NDArray[np.float32]:
    """Draw smooth noise of several octaves, (size, size), with mean about 0 and standard deviation about 1."""
    field = np.zeros((2, 2), np.float32)
    cell, amplitude, power = float(TEXTURE), 1.0, 0.0
    for _ in range(octaves):
        n = ceil(size / cell) + 1
        field = _resized(field, n) + amplitude * rng.standard_normal((n, n), np.float32)
        power += amplitude**2
        cell, amplitude = cell / 2, amplitude * 0.8
    return _resized(field, size) / np.float32(0.8 * power**0.5)


def _resized(field: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    return np.asarray(Image.fromarray(field).resize((size, size), Image.Resampling.BICUBIC))


def _stretch(points: Points, rectangle: Rectangle) -> Points:
    """Map points of a sprite's unit frame into a rectangle."""
    cx, cy, length, width, c, s = rectangle
    # Pillow paints a polygon's edges too, which adds half a pixel on every side.
    length, width = length - 1 / SCALE, width - 1 / SCALE
    ux, uy, vx, vy = length * c, length * s, -width * s, width * c
    return [(cx + x * ux + y * vx, cy + x * uy + y * vy) for x, y in points]


def _pixels(points: Points) -> list[tuple[int, int]]:
    """Convert coordinates (a pixel spans [i, i + 1]) to indices of the enlarged layer; Pillow would truncate them."""
    return [(round(x * SCALE - 0.5), round(y * SCALE - 0.5)) for x, y in points]
