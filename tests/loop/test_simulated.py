import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from al_rotate.data.instances import RotatedInstances
from al_rotate.evaluation.corrections import COLUMNS
from al_rotate.evaluation.tolerance import Tolerance
from al_rotate.loop.annotator import Annotator, Answer, Query
from al_rotate.loop.simulated import SimulatedAnnotator, restore
from al_rotate.sampling.costs import CostModel
from al_rotate.workspace import COST_COLUMNS

SHIP, PLANE = 0, 1
A = [10, 10, 10, 4, 0]
FAR = [80, 80, 10, 4, 0.5]


def query_of(ids, detections):
    return Query(ids, {}, detections)


def test_cost_is_the_sum_of_its_parts():
    made = pd.DataFrame(
        [(7, 1, 2, 3, 4), (0,) * 5], columns=["n_kept", "n_added", "n_moved", "n_relabelled", "n_deleted"]
    )
    assert CostModel().seconds(made).tolist() == [5 + 7 * 1.5 + 12 + 2 * 5 + 3 * 3 + 4 * 2, 5]
    model = CostModel(image=1, added=0, moved=0, relabelled=0, deleted=0, kept=0.5)
    assert model.seconds(made).tolist() == [4.5, 1]


@pytest.fixture
def held_back():
    return RotatedInstances(["a", "b", "c"], [0, 2, 2, 3], [A, FAR, A], [SHIP, PLANE, SHIP], classes=["ship", "plane"])


@pytest.fixture
def detections():
    # In "a" the ship is found, the plane is below what is shown; "b" is empty in truth.
    boxes, labels, scores = [A, FAR, A, FAR], [SHIP, PLANE, SHIP, SHIP], [0.9, 0.29, 0.3, 0.8]
    return RotatedInstances(
        ["b", "a"], [0, 2, 4], boxes[2:] + boxes[:2], labels[2:] + labels[:2], scores[2:] + scores[:2]
    )


def test_simulated_annotator_answers_and_charges(held_back, detections):
    annotator: Annotator = SimulatedAnnotator(held_back)
    annotator.push(query_of(["b", "a"], detections))
    answer = annotator.pull()
    assert answer.labels == held_back.subset(["b", "a"])
    assert answer.skipped == {}
    assert list(answer.costs.columns) == ["image_id", *COST_COLUMNS]
    assert answer.costs.values.tolist() == [
        ["b", "simulated", 5.0 + 2 * 2, 0, 0, 0, 2],
        ["a", "simulated", 5.0 + 12 + 1.5, 1, 0, 0, 0],
    ]
    # Of the boxes that were shown: the plane's in "a", of score 0.29, was not.
    assert answer.corrections[["image_id", "what", "predicted_class", "corrected_class"]].values.tolist() == [
        ["b", "deleted", "ship", None],
        ["b", "deleted", "ship", None],
        ["a", "kept", "ship", "ship"],
        ["a", "added", None, "plane"],
    ]


def test_a_box_that_is_good_enough_stays_as_it_was_predicted(held_back, tmp_path):
    """The ship off by half a pixel costs a look; off by two it is moved, and the answer is the held-back box."""
    for tolerance, dx, seconds in ((None, 0.5, 6.5), (None, 2, 10), (Tolerance(pixels=2), 2, 6.5)):
        near = RotatedInstances(["c"], [0, 1], [[10 + dx, *A[1:]]], [SHIP], [0.9])
        annotator = SimulatedAnnotator(held_back, tolerance=tolerance)
        annotator.remember(tmp_path)
        for each in (annotator, restore(tmp_path)):
            each.push(query_of(["c"], near))
            answer = each.pull()
            assert answer.costs["seconds"].tolist() == [seconds]
            assert answer.labels.boxes[0].tolist() == [10 + dx if seconds == 6.5 else 10, *A[1:]]
            assert answer.labels.scores is None


def test_settings_from_before_the_tolerance_are_read(held_back, tmp_path):
    SimulatedAnnotator(held_back, CostModel(image=7)).remember(tmp_path)
    settings = json.loads((tmp_path / "held_back.json").read_text())
    del settings["tolerance"]
    (tmp_path / "held_back.json").write_text(json.dumps(settings))
    assert (restore(tmp_path).cost.image, restore(tmp_path).tolerance) == (7, Tolerance())


def test_shown_is_the_least_score_that_costs(held_back, detections):
    annotator = SimulatedAnnotator(held_back, CostModel(image=0), shown=0.29)
    annotator.push(query_of(["a"], detections))
    assert annotator.pull().costs["seconds"].tolist() == [2 * 1.5]


def test_what_the_loop_decided_is_shown_unless_the_annotator_is_set_to_a_score(held_back, detections, tmp_path):
    """Of "a" the loop shows the plane alone, whatever its score: the ship is drawn, 12 s, and the plane looked at."""
    decided = detections.where(detections.scores == np.float32(0.29))
    query = replace(query_of(["a"], detections), shown=decided)
    for shown, seconds in ((None, 5 + 12 + 1.5), (0.5, 5 + 12 + 1.5), (0.2, 5 + 2 * 1.5), (0.95, 5 + 2 * 12)):
        annotator = SimulatedAnnotator(held_back, shown=shown)
        annotator.remember(tmp_path)
        for each in (annotator, restore(tmp_path)):
            each.push(query)
            answer = each.pull()
            assert answer.costs["seconds"].tolist() == [seconds]
            drawn = answer.corrections[answer.corrections["what"] == "added"]["corrected_class"].tolist()
            assert drawn == {None: ["ship"], 0.5: ["plane"], 0.2: [], 0.95: ["ship", "plane"]}[shown]


def test_pushing_again_changes_nothing_and_pull_does_not_forget(held_back, detections):
    annotator = SimulatedAnnotator(held_back)
    annotator.push(query_of(["a"], detections))
    first = annotator.pull()
    annotator.push(query_of(["a"], RotatedInstances.empty()))  # would cost more
    annotator.push(query_of(["b"], detections))
    later = annotator.pull()
    assert later.labels.subset(["a"]) == first.labels
    assert later.costs.iloc[:1].equals(first.costs)
    assert later.costs["image_id"].tolist() == ["a", "b"]
    assert later.corrections["image_id"].tolist() == ["a", "a", "b", "b"]

    again = SimulatedAnnotator(held_back)  # as after a kill
    again.push(query_of(["a", "b"], detections))
    assert again.pull().costs.equals(later.costs)
    assert again.pull().labels == later.labels
    assert again.pull().corrections.equals(later.corrections)


def test_an_image_without_detections_is_labelled_from_nothing(held_back):
    annotator = SimulatedAnnotator(held_back)
    annotator.push(query_of(["c", "b"], RotatedInstances.empty(["c"])))
    assert annotator.pull().costs["seconds"].tolist() == [5 + 12, 5]
    assert annotator.pull().corrections["what"].tolist() == ["added"]
    annotator.push(query_of(["b"], RotatedInstances.empty()))  # an image without a box has no row
    assert annotator.pull().corrections.columns.tolist() == list(COLUMNS)


def test_nothing_pushed_nothing_answered(held_back):
    answer = SimulatedAnnotator(held_back).pull()
    assert len(answer.labels) == len(answer.costs) == 0
    assert answer.labels.classes == held_back.classes
    assert answer.corrections is None
    assert Answer(RotatedInstances.empty()).costs.columns.tolist() == ["image_id", *COST_COLUMNS]


def test_refusals(held_back, detections):
    with pytest.raises(ValueError, match="held-back labels, which have no scores"):
        SimulatedAnnotator(detections)
    annotator = SimulatedAnnotator(held_back)
    with pytest.raises(KeyError, match="no image 'z'"):
        annotator.push(query_of(["a", "z"], detections))
    assert len(annotator.pull().labels) == 0  # all or nothing
    with pytest.raises(ValueError, match="detections with scores"):
        annotator.push(query_of(["a"], held_back))
    with pytest.raises(ValueError, match="predictions of the labels' classes"):
        annotator.push(query_of(["a"], detections.replace(classes=["plane", "ship"])))
