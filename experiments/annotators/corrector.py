"""A scripted annotator in Label Studio: corrects predicted boxes through the API, as its page does."""

from __future__ import annotations

from collections import Counter
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from al_rotate import CostModel, RotatedInstances, boxes
from al_rotate.bridge.conversion.geometry import from_label_studio, to_label_studio
from al_rotate.bridge.conversion.joined import join_entries
from al_rotate.evaluation.tolerance import Tolerance

NAMES = ("x", "y", "width", "height", "rotation")
MATCH_IOU = 0.5  # of a predicted box and its object


class Corrector:
    """Answers tasks with the true labels: keeps, moves, relabels and deletes predicted boxes, and draws missed ones.

    Args:
        url: of the server.
        token: a legacy one.
        truth: labels of every image, with classes.
        cost: the seconds that an answer claims to have taken.

    Attributes:
        counts: what it did, by kind of correction.
        submitted: image id -> the labels that a pull must return.
    """

    def __init__(self, url: str, token: str, truth: RotatedInstances, cost: CostModel | None = None) -> None:
        self.http = httpx.Client(base_url=f"{url}/api/", headers={"Authorization": f"Token {token}"}, timeout=120)
        self.truth, self.cost = truth, cost or CostModel()
        self.counts: Counter[str] = Counter()
        self.submitted: dict[str, RotatedInstances] = {}

    def answer(self, task: dict[str, Any], size: tuple[int, int]) -> None:
        """Submit the truth as an annotation.

        Args:
            task: as the API returns it.
            size: width and height of its image.
        """
        image_id = task["data"]["al_image_id"]
        truth = self.truth[image_id]
        shown = list(join_entries(task["predictions"][0]["result"])) if task["predictions"] else []
        regions, final, counts = self._corrected(shown, truth, size)
        seconds = self.cost.image + sum(getattr(self.cost, name) * count for name, count in counts.items())
        parent = task["predictions"][0]["id"] if task["predictions"] else None
        body = {"result": regions, "lead_time": seconds, "parent_prediction": parent}
        url = f"tasks/{task['id']}/annotations/"
        self.http.post(url, json=body, params={"project": task["project"]}).raise_for_status()
        self.counts += counts
        rows = np.array([box for box, _ in final]).reshape(-1, 5)
        self.submitted[image_id] = RotatedInstances(
            [image_id],
            [0, len(rows)],
            boxes.canonical(rows),
            [label for _, label in final],
            classes=self.truth.classes or (),
        )

    def _corrected(
        self, shown: list[dict[str, Any]], truth: RotatedInstances, size: tuple[int, int]
    ) -> tuple[list[dict[str, Any]], list[tuple[NDArray[np.float64], int]], Counter[str]]:
        """The regions to submit, their boxes with classes, and the number of corrections by kind."""
        classes = self.truth.classes or ()
        predicted = [[region["value"][name] for name in NAMES] for region in shown]
        predicted = from_label_studio(predicted, *size).reshape(-1, 5)
        labels = np.array([classes.index(region["value"]["rectanglelabels"][0]) for region in shown], int)
        regions, final, counts = [], [], Counter[str]()
        pairs = _match(predicted, labels, truth)
        own = truth.boxes[list(pairs.values())]
        left = dict(zip(pairs, Tolerance().leaves(predicted[list(pairs)], own), strict=True))
        for k, region in enumerate(shown):
            if k not in pairs:
                counts["deleted"] += 1
                continue
            at = pairs[k]
            moved, relabelled = not left[k], labels[k] != truth.labels[at]
            counts["moved"] += int(moved)
            counts["relabelled"] += int(relabelled)
            counts["kept"] += int(not moved and not relabelled)
            box = truth.boxes[at].astype(float) if moved else predicted[k]
            final.append((box, truth.labels[at]))
            changed = moved or relabelled
            regions.append(_with_box(region, box, classes[truth.labels[at]], size) if changed else region)
        for at in {*range(truth.n_boxes)} - {*pairs.values()}:
            counts["added"] += 1
            box = truth.boxes[at].astype(float)
            final.append((box, truth.labels[at]))
            region = {"id": f"drawn{at}", "type": "rectanglelabels", "from_name": "label", "to_name": "image"}
            region |= {"original_width": size[0], "original_height": size[1], "image_rotation": 0}
            regions.append(_with_box(region, box, classes[truth.labels[at]], size))
        return regions, final, counts


def _match(predicted: NDArray[np.float64], labels: NDArray[np.int_], truth: RotatedInstances) -> dict[int, int]:
    """Predicted -> true box, the best pairs first; at equal IoU those of one class."""
    overlap = boxes.iou(predicted, truth.boxes.astype(float)).round(9)
    same_class = labels[:, None] == truth.labels[None]
    rows, columns = np.nonzero(overlap >= MATCH_IOU)
    order = np.lexsort((columns, rows, ~same_class[rows, columns], -overlap[rows, columns]))
    pairs: dict[int, int] = {}
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in pairs and column not in pairs.values():
            pairs[row] = column
    return pairs


def _with_box(region: dict[str, Any], box: Any, label: str, size: tuple[int, int]) -> dict[str, Any]:
    numbers = dict(zip(NAMES, map(float, to_label_studio([box], *size)[0]), strict=True))
    return {**region, "value": {**numbers, "rectanglelabels": [label]}}
