"""The scripted annotator keeps, moves, relabels, deletes and draws boxes as the truth demands."""

import json

import httpx
import numpy as np
import pytest

from al_rotate import CostModel, boxes
from al_rotate.bridge.conversion.geometry import from_label_studio, to_label_studio
from al_rotate.data import RotatedInstances
from experiments.annotators.corrector import NAMES, Corrector

SIZE = (200, 100)
TRUE = np.array([[30, 30, 20, 10, 0.3], [80, 30, 20, 10, 0.3], [130, 30, 20, 10, 0.3], [170, 70, 20, 10, 0.3]])
PREDICTED = TRUE + np.array([[0, 0, 0, 0, 0], [2, 0, 0, 0, 0], [0, 0, 0, 0, 0], [-150, 0, 0, 0, 0]])
COST = CostModel()


def region(box, label):
    numbers = dict(zip(NAMES, map(float, to_label_studio([box], *SIZE)[0]), strict=True))
    return {"id": f"{label}{box[0]:.0f}", "value": {**numbers, "rectanglelabels": [label]}}


@pytest.fixture
def corrector():
    truth = RotatedInstances(["a"], [0, 4], TRUE, [0, 0, 1, 1], classes=("ship", "plane"))
    return Corrector("http://localhost", "token", truth)


def answered(corrector, predictions):
    """The body that is posted for a task with these predictions."""
    bodies = []

    def respond(request):
        assert request.url.path == "/api/tasks/5/annotations/"
        bodies.append(json.loads(request.content))
        return httpx.Response(201)

    transport = httpx.MockTransport(respond)
    corrector.http = httpx.Client(base_url="http://localhost/api/", transport=transport)
    task = {"id": 5, "project": 2, "data": {"al_image_id": "a"}, "predictions": predictions}
    corrector.answer(task, SIZE)
    (body,) = bodies
    return body


def test_each_kind_of_correction(corrector):
    shown = [region(box, "ship") for box in PREDICTED]  # right, beside, of another class, of nothing
    body = answered(corrector, [{"id": 9, "result": shown}])
    assert corrector.counts == {"kept": 1, "moved": 1, "relabelled": 1, "deleted": 1, "added": 1}
    assert body["result"][0] == shown[0]
    assert [r["value"]["rectanglelabels"] for r in body["result"]] == [["ship"], ["ship"], ["plane"], ["plane"]]
    submitted = from_label_studio([[r["value"][name] for name in NAMES] for r in body["result"]], *SIZE)
    assert np.diag(boxes.iou(submitted, TRUE)) == pytest.approx(np.ones(4), abs=1e-6)
    assert body["parent_prediction"] == 9
    assert body["lead_time"] == COST.image + COST.kept + COST.moved + COST.relabelled + COST.deleted + COST.added
    assert corrector.submitted["a"].labels.tolist() == [0, 0, 1, 1]


def test_without_predictions_everything_is_drawn(corrector):
    body = answered(corrector, [])
    assert corrector.counts == {"added": 4}
    assert [r["id"] for r in body["result"]] == ["drawn0", "drawn1", "drawn2", "drawn3"]
    assert body["parent_prediction"] is None
