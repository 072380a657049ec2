"""Which predicted boxes people are shown in a loop: one rule, kept with the query, of rankings, budgets and answers."""

import json
import re
import warnings

import numpy as np
import pandas as pd
import pytest
from helpers.loops.loop import POOL, TRUTH, make
from helpers.loops.page import Page
from helpers.noisy import DoubtfulLearner, Start

from al_rotate.data import RotatedInstances
from al_rotate.evaluation import corrections
from al_rotate.loop import ActiveLoop, SimulatedAnnotator
from al_rotate.sampling import Budget, CostModel, ShowingRule, showing, shown
from al_rotate.workspace.artefacts import SHOWN, read_showing_rule
from al_rotate.workspace.held_out import held_out


def three_rounds(folder, **changes):
    loop = make(folder, learner=DoubtfulLearner(TRUTH), **changes)
    loop.run(2)
    return loop, loop.query()


def test_one_rule_ranks_asks_and_charges(tmp_path):
    """The third round has learnt: its table counts, its annotator sees, and its costs are of the same boxes."""
    loop, query = three_rounds(tmp_path)
    with loop:
        rule = read_showing_rule(loop.workspace.rounds()[2].folder)
        assert rule.calibrated is not None
        assert "learnt from" in rule.why
        labels = loop.workspace.labels()
        again = showing.learn(held_out(loop.workspace, labels), labels, loop.annotator.cost)
        assert rule.to_json() == again.to_json()
        folder = loop.workspace.rounds()[2].folder
        detections = RotatedInstances.load(folder / "detections")
        mask = rule.select(detections)
        assert not np.array_equal(mask, detections.scores >= 0.3)  # else the constant would do
        ranking = pd.read_csv(folder / "ranking.csv")
        counts = dict(zip(detections.image_ids, rule.counts(detections), strict=True))
        assert ranking["n_shown"].tolist() == [counts[image_id] for image_id in ranking["image_id"]]
        loop.collect()
        asked = query["image_id"].tolist()
        table = corrections.compare(detections.where(mask), POOL.subset(asked))
        made = corrections.counts(table, asked)
        ledger = loop.workspace.ledger().set_index("image_id").loc[asked]
        assert ledger["seconds"].tolist() == CostModel().seconds(made).tolist()
        for name in ("added", "moved", "relabelled", "deleted"):
            assert ledger[f"n_{name}"].tolist() == made[f"n_{name}"].tolist()


def test_a_budget_of_boxes_counts_what_is_shown(tmp_path):
    loop, query = three_rounds(tmp_path, budget=Budget(boxes=9), detector=Start(taught=24))
    with loop:
        folder = loop.workspace.rounds()[2].folder
        detections = RotatedInstances.load(folder / "detections").subset(query["image_id"])
        charged = np.maximum(1, read_showing_rule(folder).counts(detections)).sum()
        assert 6 <= charged <= 9
        assert charged != np.maximum(1, ShowingRule().counts(detections)).sum()


def test_the_times_of_a_person_decide(tmp_path):
    """Who needs 35 s to draw is shown more than who needs 12 s; the loop's times go before the annotator's."""
    rules = {}
    for name, cost, person in (
        ("assumed", None, CostModel()),
        ("person", None, CostModel(added=35)),
        ("loop", CostModel(added=35), CostModel()),
    ):
        loop, _ = three_rounds(tmp_path / name, cost=cost, annotator=SimulatedAnnotator(POOL, person))
        with loop:
            past = loop.workspace.rounds()[2]
            rules[name] = read_showing_rule(past.folder)
            assert past.folder.joinpath(SHOWN).read_text().count('"added": 35') == (name != "assumed")
        with ActiveLoop(tmp_path / name, learner=DoubtfulLearner(TRUTH)) as loop:
            assert loop.settings.cost == cost
    assert (rules["person"].least < rules["assumed"].least - 0.05).all()
    assert (rules["person"].least == rules["loop"].least).all()


class Slow(SimulatedAnnotator):
    """Leaves the last two images of each query from round 1 on for later, and keeps what it was asked."""

    asked = None

    def push(self, query):
        super().push(query)
        self.asked = query

    def pull(self, since=None):
        answer = super().pull(since)
        late = [] if self.asked is None or not self.asked.round else self.asked.image_ids[-2:]
        return answer.only({*answer.labels.image_ids} - {*late})


def boxes_of(annotator):
    return {image_id: image.boxes.tolist() for image_id, image in annotator.asked.boxes_to_show()}


@pytest.mark.parametrize("renamed_before", [False, True])
def test_a_query_keeps_its_rule(tmp_path, renamed_before):
    """Asked again by another process, once classes were renamed and merged: with the same boxes as at first.

    This learner detects the classes of the start, whatever the workspace calls them.
    """
    with make(
        tmp_path, learner=DoubtfulLearner(TRUTH), annotator=Slow(POOL), detector=Start(taught=24), budget=8
    ) as loop:
        loop.run(1)
        loop.query()
        loop.collect()
        loop.train()
        if renamed_before:
            loop.rename_class("ship", "vessel")
        loop.query()
        rule = read_showing_rule(loop.workspace.rounds()[2].folder)
        assert rule.classes[0] == ("vessel" if renamed_before else "ship")
        assert rule.calibrated
        first = boxes_of(loop.annotator)
        loop.collect()
        loop.train()
        loop.rename_class("plane", "aircraft")
        loop.merge_classes(["aircraft", "court"], into="other")
        left = loop.workspace.ids("queried")
    with ActiveLoop(tmp_path, learner=DoubtfulLearner(TRUTH), annotator=Slow(POOL)) as loop:
        loop.collect()
        again = boxes_of(loop.annotator)
        assert loop.annotator.asked.boxes_to_show().classes == loop.classes
    assert 2 <= len(left) <= 4
    assert len(again) > 0
    assert again == {image_id: first[image_id] for image_id in again}


def test_a_round_without_a_rule_shows_by_the_constant(tmp_path):
    """As older versions left it; a damaged one is named."""
    loop, query = three_rounds(tmp_path)
    with loop:
        file = loop.workspace.rounds()[2].folder / SHOWN
        kept = file.read_text()
        file.write_text(kept[:100])
        with pytest.raises(ValueError, match=r"shown.json is damaged .*: delete it, and boxes of a score of 0.3"):
            loop.collect()
        file.unlink()
    annotator = Slow(POOL)
    with ActiveLoop(tmp_path, learner=DoubtfulLearner(TRUTH), annotator=annotator) as loop:
        loop.collect()
        detections = RotatedInstances.load(file.parent / "detections").subset(query["image_id"])
        assert annotator.asked.boxes_to_show() == detections.where(detections.scores >= 0.3)
        # It may have been another score, such as `connect --shown 0.5`, so nothing is said of it.
        assert read_showing_rule(file.parent).why == ""
        assert Page(loop.report()).text.count("Predicted boxes are shown") == 1  # in round 1


def test_a_score_of_ones_own_decides(tmp_path):
    loop, _ = three_rounds(tmp_path, annotator=SimulatedAnnotator(POOL, shown=0.45))
    with loop:
        folder = loop.workspace.rounds()[2].folder
        assert json.loads((folder / SHOWN).read_text())["why"] == (
            "boxes are shown from a score of 0.45, as the annotator is set"
        )
        detections = RotatedInstances.load(folder / "detections")
        ranking = pd.read_csv(folder / "ranking.csv")
        counts = detections.where(detections.scores >= 0.45).subset(ranking["image_id"]).counts
        assert ranking["n_shown"].tolist() == counts.tolist()


def test_a_score_that_is_set_between_query_and_answers(tmp_path):
    """People see other boxes than the round's ranking and report speak of, which is said as long as it is so."""
    loop, _ = three_rounds(tmp_path)
    with loop:
        why = read_showing_rule(loop.workspace.rounds()[2].folder).why
        loop.annotator.shown = 0.45
        said = f"images of round 2 that wait for an answer show boxes from a score of 0.45, .*{re.escape(why)}$"
        with pytest.warns(UserWarning, match=said):
            loop.collect()
        loop.train()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            loop.query()
            loop.collect()


def test_nothing_is_shown_before_a_training_whatever_the_annotator_is_set_to(tmp_path):
    with make(tmp_path, annotator=SimulatedAnnotator(POOL, shown=0.45)) as loop:
        loop.query()
        why = "no box is shown, because nothing is trained yet"
        assert read_showing_rule(loop.workspace.rounds()[0].folder).why == why


def test_who_counts_nothing_but_drawing_can_query(tmp_path):
    """Simulations of earlier versions, in which looking and moving cost nothing."""
    cost = CostModel(image=0, moved=0, kept=0)
    for strategy in ("entropy", "hybrid", "object-coverage"):
        annotator, folder = SimulatedAnnotator(POOL, cost), tmp_path / strategy
        budget = Budget(seconds=60)
        with make(folder, annotator=annotator, strategy=strategy, budget=budget, detector=Start(taught=4)) as loop:
            asked = loop.query()["image_id"].tolist()
            detections = RotatedInstances.load(folder / "rounds" / "000" / "detections").subset(asked)
            assert 12 * ShowingRule().counts(detections).sum() <= 60  # as if each were drawn


def test_a_function_of_ones_own_may_count_the_constant(tmp_path):
    """A strategy without a context cannot know the rule: what it takes by the score of 0.3 is within the budget."""

    def in_order(candidates, budget, rng):
        return budget.take(candidates.image_ids, shown(candidates))

    loop, query = three_rounds(tmp_path, strategy=in_order, budget=Budget(boxes=12))
    with loop:
        detections = RotatedInstances.load(loop.workspace.rounds()[2].folder / "detections").subset(query["image_id"])
        assert np.maximum(1, shown(detections)).sum() <= 12
