"""Small pools whose right answer is known, for tests of what strategies prefer and of agreement."""

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


def labelled(counts):
    """Labels, one image per class, with so many boxes of each class."""
    images = {f"labelled{k}": [(k, 1.0)] * n for k, n in enumerate(counts)}
    return pool(images).replace(scores=None)


def overconfident(n=200):
    """Held-out detections and their labels: half of the ships at 0.9 are right, and 97 % of the planes at 0.6."""
    images = {f"held{i:03d}": [(0, 0.9), (1, 0.6, (50, 150, 40, 10, 0))] for i in range(n)}
    detections = pool(images)
    right = np.column_stack([np.arange(n) % 2 == 0, np.arange(n) % 33 > 0]).ravel()
    return detections, detections.where(right).replace(scores=None)


def upright(*images, classes=("ship", "plane")):
    """Detections, one image each, with upright boxes as (cx, score, label), 10 x 4 at cy 50."""
    ids, counts = [f"i{k}" for k in range(len(images))], [len(image) for image in images]
    rows = [row for image in images for row in image]
    boxes = [[cx, 50, 10, 4, 0] for cx, _, _ in rows]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(int)
    scores, labels = [score for _, score, _ in rows], [label for *_, label in rows]
    return RotatedInstances(ids, offsets, np.reshape(boxes, (-1, 5)), labels, scores, classes=classes)
