"""Labels as hurried people leave them: boxes a little off, small objects missed, classes confused."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import al_rotate as al
from al_rotate.evaluation.tolerance import Tolerance


@dataclass(frozen=True)
class Mistakes:
    """How far answers are wrong; nothing is wrong by default.

    Args:
        shift: standard deviation of each corner's position, as a share of the box's shorter side. The four corners of
            a rotated box stay a rectangle: its centre and its sides take the shift.
        degrees: standard deviation of the angle.
        missed: chance that a small object gets no box. Small: in the smallest third by area.
        confused: chance that a box gets another class, all others being equally likely.
    """

    shift: float = 0.0
    degrees: float = 0.0
    missed: float = 0.0
    confused: float = 0.0

    @property
    def tolerance(self) -> Tolerance:
        """How far two of this person's drawings of an object differ: sqrt(2) times what one is off by.

        The corners of a rectangle that takes the shift are off by `shift` shorter sides, root mean square.
        """
        careful = Tolerance()
        return Tolerance(max(careful.share, np.sqrt(2) * self.shift), careful.pixels, np.sqrt(2) * self.degrees)

    def apply(self, labels: al.RotatedInstances, seed: int) -> al.RotatedInstances:
        """Return the labels with mistakes: the same ones for a seed, in whatever order images are queried."""
        rng, n = np.random.default_rng([seed, 17]), labels.n_boxes
        boxes = labels.boxes.astype(float)
        shorter, area = boxes[:, 2:4].min(axis=1, keepdims=True), boxes[:, 2] * boxes[:, 3]
        # Corners that move by s each move their mean by s / 2, and a side, the mean of two differences, by s.
        boxes[:, :2] += rng.normal(0, 1, (n, 2)) * shorter * self.shift / 2
        boxes[:, 2:4] = np.maximum(boxes[:, 2:4] + rng.normal(0, 1, (n, 2)) * shorter * self.shift, 1)
        boxes[:, 4] += np.radians(rng.normal(0, 1, n) * self.degrees)
        n_classes = len(labels.classes or ())
        other = (labels.labels + rng.integers(1, max(n_classes, 2), n)) % max(n_classes, 1)
        classes = np.where(rng.random(n) < self.confused, other, labels.labels)
        small = area <= np.quantile(area, 1 / 3) if n else np.zeros(0, bool)
        kept = ~(small & (rng.random(n) < self.missed))
        return labels.replace(boxes=al.boxes.canonical(boxes), labels=classes).where(kept)
