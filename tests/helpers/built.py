"""Small pools whose right answer is known, for tests of what strategies prefer."""

import numpy as np

from al_rotate.data.instances import RotatedInstances

CLASSES = ("ship", "plane", "court")
PLACE = (50, 50, 40, 10, 0)


def pool(images, **columns):
    """{image id: [(label, score) or (label, score, box)]} as detections of CLASSES."""
    rows = [(*row, PLACE)[:3] if len(row) < 3 else row for boxes in images.values() for row in boxes]
    return RotatedInstances(
        list(images),
        np.cumsum([0, *map(len, images.values())]),
        np.reshape([box for *_, box in rows], (-1, 5)),
        [label for label, *_ in rows],
        [score for _, score, *_ in rows],
        classes=CLASSES,
        **columns,
    )


def labelled(counts, prefix="known"):
    """Labels, an image a class, with so many boxes of each class."""
    images = {f"{prefix}{k}": [(k, 1.0)] * n for k, n in enumerate(counts)}
    return pool(images).replace(scores=None)


def overconfident(n=200):
    """Held-out detections and their labels: of the ships at 0.9 half are right, of the planes at 0.6 all but 3 %."""
    images = {f"held{i:03d}": [(0, 0.9), (1, 0.6, (50, 150, 40, 10, 0))] for i in range(n)}
    found = pool(images)
    right = np.column_stack([np.arange(n) % 2 == 0, np.arange(n) % 33 > 0]).ravel()
    return found, found.where(right).replace(scores=None)
