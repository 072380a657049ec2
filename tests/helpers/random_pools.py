"""Random pools with every column that a strategy may need, and contexts like those of a loop."""

import numpy as np

from al_rotate import RotatedInstances
from al_rotate.sampling import QueryContext


def rng(seed=0):
    return np.random.default_rng(seed)


def random_pool(counts, seed=0, tied=False):
    """Detections with all columns that a strategy may need; image i holds counts[i] boxes."""
    draw = rng(seed)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    images, boxes = len(counts), int(offsets[-1])
    class_scores = np.full((boxes, 3), 0.25) if tied else draw.random((boxes, 3)) * 0.9
    return RotatedInstances(
        [f"scene{i % 3}/tile{i:03d}" for i in range(images)],
        offsets,
        np.tile([32, 32, 20, 10, 0], (boxes, 1)) if tied else draw.random((boxes, 5)) + np.array([9, 9, 5, 2, 0]),
        np.zeros(boxes, int) if tied else class_scores.argmax(axis=1),
        scores=class_scores.max(axis=1) if boxes else [],
        class_scores=class_scores,
        box_features=np.ones((boxes, 4)) if tied else draw.normal(size=(boxes, 4)),
        image_features=np.ones((images, 4)) if tied else draw.normal(size=(images, 4)),
        classes=["ship", "plane", "tank"],
    )


def shuffled(instances, seed=9):
    return instances.subset(rng(seed).permutation(instances.image_ids))


MIXED = random_pool([0, 3, 5, 1, 0, 9, 2, 2, 0, 4, 1, 6] * 3)


def moved_views(candidates):
    """Views in which each image's first box has moved by the image's number, and its last one is missing."""

    def views(image_ids, wanted):
        images = candidates.subset(image_ids)
        moved = images.boxes.copy()
        numbers = np.array([int(i[-3:]) for i in image_ids])
        first, last = images.offsets[:-1][images.counts > 0], np.zeros(images.n_boxes, bool)
        moved[first, 0] += numbers[images.counts > 0] * 0.02
        last[images.offsets[1:][images.counts > 0] - 1] = True
        return [images.replace(boxes=moved).where(~last) for _ in wanted]

    return views


def context_of(candidates, labelled=0):
    """The context of a loop after so many images were labelled.

    A third of them is empty, and nothing was detected there; of the other images' detections half were right.
    """
    answered = random_pool([0 if i % 3 == 0 else 3 for i in range(labelled)], seed=5)
    answered = answered.replace(image_ids=[f"labelled/{i}" for i in range(labelled)])
    plain = {"scores": None, "class_scores": None, "box_features": None, "image_features": None}
    right = np.arange(answered.n_boxes) % 2 == 0
    labels = answered.replace(boxes=np.where(right[:, None], answered.boxes, [200, 200, 9, 4, 0]), **plain)
    features = answered.image_features if labelled else None
    on_labelled = answered if labelled else None
    return QueryContext(labels, answered, features, moved_views(candidates), labelled_detections=on_labelled)


def clusters(n, centres=12, d=16, seed=1):
    """Rows of features around random centres, (n, d) float32."""
    draw = rng(seed)
    return (draw.normal(0, 4, (centres, d))[draw.integers(0, centres, n)] + draw.normal(0, 1, (n, d))).astype("f4")
