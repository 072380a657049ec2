"""Label Studio's tasks, answers and regions, as its JSON export has them."""

import numpy as np

from al_rotate.bridge.conversion import annotations

CLASSES = ("ship", "plane")
SIZE = (400, 200)
BOX = [80, 30, 80, 20, 0]  # of rect()
EARLY = "2026-01-02T10:00:00.500000Z"


def rect(x=10, label="ship", *, size=SIZE, name="r1", value=None, **more):
    """A rectangle from (40, 20) to (120, 40) pixels; `value` and `more` change it, and ... removes a key."""
    numbers = {"x": x, "y": 10, "width": 20, "height": 10, "rotation": 0, "rectanglelabels": [label]} | (value or {})
    region = {"id": name, "type": "rectanglelabels", "original_width": size[0], "original_height": size[1]}
    region |= {"value": {key: content for key, content in numbers.items() if content is not ...}, **more}
    return {key: content for key, content in region.items() if content is not ...}


def polygon(points, **more):
    return rect(**{"type": "polygonlabels", "value": {"points": points, "polygonlabels": ["plane"]}, **more})


def answer(*result, at=EARLY, by=1, number=5, **more):
    return {"id": number, "result": list(result), "completed_by": by, "updated_at": at, **more}


def skip(**more):
    return answer(**{"was_cancelled": True, **more})


def task(*answers, image="a", number=7, **more):
    return {"id": number, "data": {"image": "?", "al_image_id": image}, "annotations": list(answers), **more}


def read(*tasks, **options):
    return annotations.read(tasks, CLASSES, **options)


def rows(reading):
    """The rows of a reading's account."""
    return list(reading.account.itertuples(index=False, name=None))


def assert_boxes(instances, expected):
    np.testing.assert_allclose(instances.boxes, np.float32(expected), rtol=0, atol=1e-6)
