"""What is charged and kept does not depend on how often a loop is opened again in between."""

import pandas as pd
import pytest
from helpers.loops.kills import dump
from helpers.loops.loop import BY_THE_MEAN, POOL, TRUTH, make
from helpers.noisy import NoisyLearner

from al_rotate.data import RotatedInstances
from al_rotate.loop import ActiveLoop, Query, SimulatedAnnotator
from al_rotate.sampling import CostModel
from al_rotate.workspace import COST_COLUMNS

A, MOVED, FAR = [10, 10, 10, 4, 0], [12, 10, 10, 4, 0], [80, 80, 10, 4, 0.5]


def tables(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in sorted(folder.rglob("rounds/*/*.csv"))}


@pytest.mark.parametrize(
    "steps", [["query", "query", "review", "query"], ["query", "query", "query", "review", "review"]]
)
def test_a_review_costs_the_same_in_any_process(tmp_path, steps):
    first = {"seed": 1, "annotator": SimulatedAnnotator(POOL, CostModel(image=7), shown=0.5), **BY_THE_MEAN}
    for name, again in (("one", False), ("many", True)):
        loop = make(tmp_path / name, **first)
        for step in steps:
            for call in (step, "collect", "train"):
                if again:
                    loop.close()
                    loop = ActiveLoop(tmp_path / name, learner=NoisyLearner(TRUTH))
                getattr(loop, call)()
        loop.close()
    assert dump(tmp_path / "one") == dump(tmp_path / "many")
    assert tables(tmp_path / "one") == tables(tmp_path / "many")


def test_a_review_is_charged_by_the_labels_that_are_shown():
    held_back = RotatedInstances(["a", "b"], [0, 2, 3], [A, FAR, A], [0, 1, 0], classes=["ship", "plane"])
    labels = RotatedInstances(["a", "b"], [0, 1, 3], [A, A, FAR], [0, 0, 0], classes=["ship", "plane"])
    spent = pd.DataFrame([("a", "eve", 30.0, 1, 2, 0, 0)], columns=["image_id", *COST_COLUMNS])
    query = Query(["a", "b"], {}, labels.replace(scores=[1, 1, 1]), round=3, again=True, costs=spent)
    for asked_before in (True, False):
        annotator = SimulatedAnnotator(held_back)
        if asked_before:
            annotator.push(Query(["b", "a"], {}, RotatedInstances.empty(classes=["ship", "plane"]), round=1))
        annotator.push(query)
        annotator.push(query)  # a loop hands it over before each collection
        answer = annotator.pull()
        costs = answer.costs.set_index("image_id").loc[["a", "b"]]
        # 5 s for an image, and 1.5 s to look at the ship, which is right. a lacks the plane, which is 12 s, and 30 s
        # were spent before; b has a box too many.
        assert costs.values.tolist() == [["simulated", 48.5, 2, 2, 0, 0], ["simulated", 8.5, 0, 0, 0, 1]]
        assert {*zip(answer.corrections["image_id"], answer.corrections["what"], strict=True)} == {
            ("a", "kept"),
            ("a", "added"),
            ("b", "kept"),
            ("b", "deleted"),
        }
        assert len(answer.corrections) == 4


def test_a_later_query_of_the_same_image_is_charged_by_what_it_shows():
    held_back = RotatedInstances(["a"], [0, 1], [A], [0], classes=["ship"])
    shown = held_back.replace(boxes=[MOVED], scores=[0.9])
    annotator = SimulatedAnnotator(held_back)
    annotator.push(Query(["a"], {}, RotatedInstances.empty(classes=["ship"]), round=0))
    assert annotator.pull().costs["seconds"].tolist() == [17]
    annotator.push(Query(["a"], {}, shown, round=2))
    assert annotator.pull().costs.values.tolist() == [["a", "simulated", 10.0, 0, 1, 0, 0]]


def test_prices_are_remembered_with_the_labels(tmp_path):
    with make(tmp_path, annotator=SimulatedAnnotator(POOL, CostModel(image=100, added=1), shown=0.4)):
        pass
    with ActiveLoop(tmp_path, learner=NoisyLearner(TRUTH)) as loop:
        assert (loop.annotator.cost, loop.annotator.shown) == (CostModel(image=100, added=1), 0.4)
    (tmp_path / "held_back.json").unlink()  # as al_rotate 0.1 left it, whose looks cost nothing
    with ActiveLoop(tmp_path, learner=NoisyLearner(TRUTH)) as loop:
        assert (loop.annotator.cost, loop.annotator.shown) == (CostModel(kept=0), 0.3)
