"""Labels as hurried people would leave them: boxes a little off, small objects missed, classes taken for another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import al_rotate as al


@dataclass(frozen=True)
class Mistakes:
    """How far people are wrong; nothing is wrong by default.

    Args:
        shift: standard deviation of each corner's place, as a share of the box's shorter side. The four corners of a
            rotated box stay a rectangle: its middle and its sides take the shift.
        degrees: standard deviation of the angle.
        missed: chance that a small object gets no box. Small: in the smallest third by area.
        confused: chance that a box gets another class, any other alike.
    """

    shift: float = 0.0
    degrees: float = 0.0
    missed: float = 0.0
    confused: float = 0.0

    def made(self, labels: al.RotatedInstances, seed: int) -> al.RotatedInstances:
        """The labels with mistakes; the same ones for a seed, whatever is asked for and when."""
        rng, n = np.random.default_rng([seed, 17]), labels.n_boxes
        boxes = labels.boxes.astype(float)
        shorter, area = boxes[:, 2:4].min(axis=1, keepdims=True), boxes[:, 2] * boxes[:, 3]
        # Corners that move by s each move their mean by s / 2, and a side, the mean of two differences, by s.
        boxes[:, :2] += rng.normal(0, 1, (n, 2)) * shorter * self.shift / 2
        boxes[:, 2:4] = np.maximum(boxes[:, 2:4] + rng.normal(0, 1, (n, 2)) * shorter * self.shift, 1)
        boxes[:, 4] += np.radians(rng.normal(0, 1, n) * self.degrees)
        many = len(labels.classes or ())
        other = (labels.labels + rng.integers(1, max(many, 2), n)) % max(many, 1)
        classes = np.where(rng.random(n) < self.confused, other, labels.labels)
        small = area <= np.quantile(area, 1 / 3) if n else np.zeros(0, bool)
        seen = ~(small & (rng.random(n) < self.missed))
        changed = labels.replace(boxes=al.boxes.canonical(boxes), labels=classes)
        return changed.where(seen)
