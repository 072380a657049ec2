import numpy as np
import pytest

from al_rotate.annotators import Annotator, Answer, Corrections, CostModel, SimulatedAnnotator, corrections
from al_rotate.instances import RotatedInstances
from al_rotate.workspace import COST_COLUMNS

SHIP, PLANE = 0, 1
A = [10, 10, 10, 4, 0]
FAR = [80, 80, 10, 4, 0.5]


def shifted(dx):
    """A moved along its long side: IoU (10 - dx) / (10 + dx)."""
    return [10 + dx, 10, 10, 4, 0]


@pytest.mark.parametrize(
    ("predicted", "true", "expected"),
    [
        ([], [], Corrections(0, 0, 0, 0, 0)),
        ([(A, SHIP)], [(A, SHIP)], Corrections(kept=1, added=0, moved=0, relabelled=0, deleted=0)),
        ([], [(A, SHIP), (FAR, SHIP)], Corrections(0, added=2, moved=0, relabelled=0, deleted=0)),
        ([(A, SHIP), (FAR, SHIP)], [], Corrections(0, 0, 0, 0, deleted=2)),
        ([(A, PLANE)], [(A, SHIP)], Corrections(0, 0, moved=0, relabelled=1, deleted=0)),
        # IoU 9.5 / 10.5 = 0.905: left; 9.4 / 10.6 = 0.887: moved; 1/2 at dx = 10/3 still the same object; below not.
        ([(shifted(0.5), SHIP)], [(A, SHIP)], Corrections(1, 0, 0, 0, 0)),
        ([(shifted(0.6), SHIP)], [(A, SHIP)], Corrections(0, 0, moved=1, relabelled=0, deleted=0)),
        ([(shifted(3.3), PLANE)], [(A, SHIP)], Corrections(0, 0, moved=1, relabelled=1, deleted=0)),
        ([(shifted(3.4), SHIP)], [(A, SHIP)], Corrections(0, added=1, moved=0, relabelled=0, deleted=1)),
        # One true box takes one prediction, the nearer one.
        ([(shifted(0.6), SHIP), (A, SHIP)], [(A, SHIP)], Corrections(1, 0, 0, 0, deleted=1)),
        # Equal IoU: the one of the right class, although it comes later.
        ([(A, PLANE), (A, SHIP)], [(A, SHIP)], Corrections(1, 0, 0, 0, deleted=1)),
        ([(A, SHIP)], [(A, PLANE), (A, SHIP)], Corrections(1, added=1, moved=0, relabelled=0, deleted=0)),
        # Nearer of a wrong class comes before farther of the right one.
        ([(A, PLANE), (shifted(1), SHIP)], [(A, SHIP)], Corrections(0, 0, 0, relabelled=1, deleted=1)),
        # Greedy: shifted(3.3) with shifted(4) first (IoU 0.87), which leaves shifted(1) to A (0.82).
        (
            [(shifted(1), SHIP), (shifted(3.3), SHIP)],
            [(A, SHIP), (shifted(4), SHIP)],
            Corrections(0, 0, moved=2, relabelled=0, deleted=0),
        ),
        # The same rectangle written with another angle.
        ([([10, 10, 4, 10, np.pi / 2], SHIP)], [(A, SHIP)], Corrections(1, 0, 0, 0, 0)),
    ],
)
def test_corrections(predicted, true, expected):
    boxes, labels = [[b for b, _ in side] for side in (predicted, true)], [[c for _, c in s] for s in (predicted, true)]
    assert corrections(boxes[0], labels[0], boxes[1], labels[1]) == expected


def test_corrections_turned_by_a_tenth_of_a_radian():
    # A square of side 10 turned by t keeps 4 corner triangles less: far above 0.9 at 0.05, below at 0.4.
    square = [0, 0, 10, 10, 0]
    assert corrections([[0, 0, 10, 10, 0.05]], [0], [square], [0]).kept == 1
    assert corrections([[0, 0, 10, 10, 0.4]], [0], [square], [0]).moved == 1


def test_corrections_refuses_labels_that_do_not_fit():
    with pytest.raises(ValueError, match="got 2 labels of 1 predicted boxes"):
        corrections([A], [0, 1], [A], [0])


def test_cost_is_the_sum_of_its_parts():
    made = Corrections(kept=7, added=1, moved=2, relabelled=3, deleted=4)
    assert CostModel().seconds(made) == 5 + 12 + 2 * 5 + 3 * 3 + 4 * 2
    assert CostModel(image=1, added=0, moved=0, relabelled=0, deleted=0, kept=0.5).seconds(made) == 4.5


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
    annotator.push(["b", "a"], {}, detections)
    answer = annotator.pull()
    assert answer.labels == held_back.subset(["b", "a"])
    assert answer.skipped == {}
    assert list(answer.costs.columns) == ["image_id", *COST_COLUMNS]
    assert answer.costs.values.tolist() == [
        ["b", "simulated", 5.0 + 2 * 2, 0, 0, 0, 2],
        ["a", "simulated", 5.0 + 12, 1, 0, 0, 0],
    ]


def test_shown_is_the_least_score_that_costs(held_back, detections):
    annotator = SimulatedAnnotator(held_back, CostModel(image=0), shown=0.29)
    annotator.push(["a"], {}, detections)
    assert annotator.pull().costs["seconds"].tolist() == [0]


def test_pushing_again_changes_nothing_and_pull_does_not_forget(held_back, detections):
    annotator = SimulatedAnnotator(held_back)
    annotator.push(["a"], {}, detections)
    first = annotator.pull()
    annotator.push(["a"], {}, RotatedInstances.empty())  # would cost more
    annotator.push(["b"], {}, detections)
    later = annotator.pull()
    assert later.labels.subset(["a"]) == first.labels
    assert later.costs.iloc[:1].equals(first.costs)
    assert later.costs["image_id"].tolist() == ["a", "b"]

    again = SimulatedAnnotator(held_back)  # as after a kill
    again.push(["a", "b"], {}, detections)
    assert again.pull().costs.equals(later.costs)
    assert again.pull().labels == later.labels


def test_an_image_without_detections_is_labelled_from_nothing(held_back):
    annotator = SimulatedAnnotator(held_back)
    annotator.push(["c", "b"], {}, RotatedInstances.empty(["c"]))
    assert annotator.pull().costs["seconds"].tolist() == [5 + 12, 5]


def test_nothing_pushed_nothing_answered(held_back):
    answer = SimulatedAnnotator(held_back).pull()
    assert len(answer.labels) == len(answer.costs) == 0
    assert answer.labels.classes == held_back.classes
    assert Answer(RotatedInstances.empty()).costs.columns.tolist() == ["image_id", *COST_COLUMNS]


def test_refusals(held_back, detections):
    with pytest.raises(ValueError, match="held-back labels, which have no scores"):
        SimulatedAnnotator(detections)
    annotator = SimulatedAnnotator(held_back)
    with pytest.raises(KeyError, match="no image 'z'"):
        annotator.push(["a", "z"], {}, detections)
    assert len(annotator.pull().labels) == 0  # all or nothing
    with pytest.raises(ValueError, match="detections with scores"):
        annotator.push(["a"], {}, held_back)
    with pytest.raises(ValueError, match="detections of the classes"):
        annotator.push(["a"], {}, detections.replace(classes=["plane", "ship"]))
