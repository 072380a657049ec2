"""Somebody at Label Studio's page who knows the truth: corrects predicted boxes through the API, as the page does."""

from __future__ import annotations

from collections import Counter
from typing import Any

import httpx
import numpy as np

from al_rotate import CostModel, RotatedInstances, boxes
from al_rotate.bridge.conversion.geometry import from_label_studio, to_label_studio

NAMES = ("x", "y", "width", "height", "rotation")
SAME, GOOD = 0.5, 0.9  # rotated IoU of boxes of one object, and of one that is left as it is


class Corrector:
    """Answers tasks with the true labels: good boxes are left, others moved, relabelled, deleted; missed ones drawn.

    Args:
        url: of the server.
        token: a legacy one.
        truth: labels of every image, with classes.
        cost: gives the seconds that an answer says to have taken.
    """

    def __init__(self, url: str, token: str, truth: RotatedInstances, cost: CostModel | None = None) -> None:
        self.http = httpx.Client(base_url=f"{url}/api/", headers={"Authorization": f"Token {token}"}, timeout=120)
        self.truth, self.cost = truth, cost or CostModel()
        self.made: Counter[str] = Counter()  # what it did
        self.submitted: dict[str, RotatedInstances] = {}  # what the pull shall bring

    def answer(self, task: dict[str, Any], size: tuple[int, int]) -> None:
        """Submit what the truth is.

        Args:
            task: as the API gives it.
            size: width and height of its image.
        """
        image_id = task["data"]["al_image_id"]
        truth, classes = self.truth[image_id], self.truth.classes or ()
        shown = task["predictions"][0]["result"] if task["predictions"] else []
        found = from_label_studio([[one["value"][name] for name in NAMES] for one in shown], *size).reshape(-1, 5)
        labels = np.array([classes.index(one["value"]["rectanglelabels"][0]) for one in shown], int)
        result, final, made = [], [], Counter()
        pairs = self._pairs(found, labels, truth)
        for k, region in enumerate(shown):
            if k not in pairs:
                made["deleted"] += 1
                continue
            at, overlap = pairs[k]
            moved, relabelled = overlap < GOOD, labels[k] != truth.labels[at]
            made["moved"] += int(moved)
            made["relabelled"] += int(relabelled)
            made["kept"] += int(not moved and not relabelled)
            box = truth.boxes[at].astype(float) if moved else found[k]
            final.append((box, truth.labels[at]))
            result.append(_region(region, box, classes[truth.labels[at]], size) if moved or relabelled else region)
        for at in {*range(truth.n_boxes)} - {at for at, _ in pairs.values()}:
            made["added"] += 1
            box = truth.boxes[at].astype(float)
            final.append((box, truth.labels[at]))
            shape = {"id": f"drawn{at}", "type": "rectanglelabels", "from_name": "label", "to_name": "image"}
            own = {"original_width": size[0], "original_height": size[1], "image_rotation": 0}
            result.append(_region({**shape, **own}, box, classes[truth.labels[at]], size))
        seconds = self.cost.image + sum(getattr(self.cost, name) * count for name, count in made.items())
        parent = task["predictions"][0]["id"] if task["predictions"] else None
        body = {"result": result, "lead_time": seconds, "parent_prediction": parent}
        url = f"tasks/{task['id']}/annotations/"
        self.http.post(url, json=body, params={"project": task["project"]}).raise_for_status()
        self.made += made
        rows = np.array([box for box, _ in final]).reshape(-1, 5)
        self.submitted[image_id] = RotatedInstances(
            [image_id], [0, len(rows)], boxes.canonical(rows), [label for _, label in final], classes=classes
        )

    def _pairs(self, found: Any, labels: Any, truth: RotatedInstances) -> dict[int, tuple[int, float]]:
        """predicted -> true box and their IoU, the best pairs first; at equal IoU those of one class."""
        overlap = boxes.iou(found, truth.boxes.astype(float)).round(9)
        same = labels[:, None] == truth.labels[None]
        rows, columns = np.nonzero(overlap >= SAME)
        order = np.lexsort((columns, rows, ~same[rows, columns], -overlap[rows, columns]))
        pairs: dict[int, tuple[int, float]] = {}
        for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
            if row not in pairs and column not in {at for at, _ in pairs.values()}:
                pairs[row] = column, float(overlap[row, column])
        return pairs


def _region(region: dict[str, Any], box: Any, label: str, size: tuple[int, int]) -> dict[str, Any]:
    numbers = dict(zip(NAMES, map(float, to_label_studio([box], *size)[0]), strict=True))
    return {**region, "value": {**numbers, "rectanglelabels": [label]}}
