"""Annotators that answer late, in part, or not at all."""

from pathlib import Path

import pytest
from helpers.loops.loop import FILES, POOL, make, queried
from helpers.noisy import Start

from al_rotate.data import RotatedInstances
from al_rotate.loop import Answer, SimulatedAnnotator
from al_rotate.sampling import CostModel


class People(SimulatedAnnotator):
    """Answer only some images, and skip some; what they were asked is kept elsewhere, as a server would."""

    def __init__(self, answered=lambda image_id: True, skipped=()):
        super().__init__(POOL)
        self.answered, self.skips = answered, skipped

    def pull(self, since=None):
        answer = super().pull()
        skipped = {i: "clouds" for i in answer.labels.image_ids if i in self.skips}
        labelled = [i for i in answer.labels.image_ids if i not in skipped and self.answered(i)]
        costs = answer.costs[answer.costs["image_id"].isin([*labelled, *skipped])]
        return Answer(answer.labels.subset(labelled), skipped, costs)


def test_people_answer_when_they_like(tmp_path):
    people = People(answered=lambda image_id: False)
    with make(tmp_path, annotator=people) as loop:
        ids = loop.query()["image_id"].tolist()
        assert loop.query()["image_id"].tolist() == ids
        assert loop.collect()["status"].tolist() == ["queried"] * 5
        with pytest.raises(ValueError, match=r"nothing of round 0 is labelled yet \(5 queried\)"):
            loop.train()
        people.answered = {*ids[:2]}.__contains__
        assert loop.collect()["status"].tolist() == ["labelled"] * 2 + ["queried"] * 3
        with pytest.raises(ValueError, match="3 images are not answered yet"):
            loop.run(1)
        assert loop.workspace.rounds()[0].stage == "queried"
        loop.train()  # with what there is
        assert loop.learner.trained[0][2].image_ids.tolist() == sorted(ids[:2])
        second = loop.query()["image_id"].tolist()
        assert not {*second} & {*ids}  # they are asked for, still
        people.answered = lambda image_id: True
        loop.collect()
        loop.train()
        assert loop.learner.trained[1][2].image_ids.tolist() == sorted(ids + second)


def test_skipped_images_are_never_trained_on(tmp_path):
    with make(tmp_path / "work", annotator=SimulatedAnnotator(POOL)) as loop:
        ids = loop.query()["image_id"].tolist()
    people = People(skipped=ids[:2])
    with make(tmp_path / "work", annotator=people) as loop:
        history = loop.run(2)
        assert history["n_skipped"].tolist() == [2, 2]
        assert history["n_labelled"].tolist() == [3, 8]
        for _, files, labels in loop.learner.trained:
            assert not {*ids[:2]} & {*files, *labels.image_ids}
        assert not {*ids[:2]} & {*queried(loop.workspace)[1]}


def test_a_round_in_which_all_is_skipped_waits_for_a_label(tmp_path):
    people = People(skipped=[*FILES])
    with make(tmp_path, annotator=people) as loop:
        with pytest.raises(ValueError, match=r"nothing of round 0 is labelled yet \(5 skipped\)"):
            loop.run(1)
        people.skips = ()
        assert loop.run(1)["n_labelled"].tolist() == [5]


def test_the_annotator_sees_what_the_detector_saw(tmp_path):
    pushed = []

    class Watching(SimulatedAnnotator):
        def push(self, query):
            pushed.append(query)
            super().push(query)

    with make(tmp_path, annotator=Watching(POOL), detector=Start(taught=40)) as loop:
        ids = loop.query()["image_id"].tolist()
        (query,) = pushed
        detections = query.detections
        assert query.image_ids == detections.image_ids.tolist() == ids
        assert query.scores == loop.workspace.query(0)["score"].tolist()
        assert (query.round, query.model_version) == (0, "initial")
        assert query.paths == {image_id: Path(FILES[image_id]) for image_id in ids}
        assert detections.n_boxes > 0
        assert detections == RotatedInstances.load(tmp_path / "rounds" / "000" / "detections").subset(ids)
        loop.collect()
        ledger = loop.workspace.ledger()
        # Nearly right boxes are moved or kept and not drawn anew.
        assert ledger["n_added"].sum() < 0.3 * ledger["n_boxes"].sum()


def test_a_loop_without_an_annotator(tmp_path):
    with make(tmp_path, annotator=None) as loop:
        query = loop.query()
        assert query["status"].tolist() == ["queried"] * 5
        with pytest.raises(ValueError, match="has no annotator: give one to ActiveLoop"):
            loop.collect()


def test_a_simulated_annotators_prices_are_its_own(tmp_path):
    with make(tmp_path, annotator=SimulatedAnnotator(POOL, CostModel(image=100, added=0))) as loop:
        assert loop.run(1)["cost"].tolist() == [500]
