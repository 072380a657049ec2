"""Rounds that ask about labels in doubt."""

import numpy as np
import pandas as pd
import pytest
from helpers.loops.loop import BY_THE_MEAN, POOL, make, queried

from al_rotate.loop import Answer, SimulatedAnnotator
from al_rotate.sampling import Budget


class Hasty(SimulatedAnnotator):
    """Gives two images of the second round somebody else's boxes, until they are asked about again."""

    def __init__(self):
        super().__init__(POOL)
        self.wrong = []

    def push(self, query):
        super().push(query)
        if query.again:
            self.wrong = []
        elif query.round == 1:
            self.wrong = [i for i in query.image_ids if POOL[i].n_boxes][:2]

    def pull(self, since=None):
        answer = super().pull()
        moved = answer.labels.boxes.copy()
        moved[np.isin(answer.labels.image_ids[answer.labels.image_index], self.wrong), :2] += 300
        return Answer(answer.labels.replace(boxes=moved), {}, answer.costs)


def test_labels_in_doubt_are_asked_for_again(tmp_path):
    with make(tmp_path, annotator=Hasty(), seed=1, **BY_THE_MEAN) as loop:
        loop.run(2)
        labels = loop.workspace.labels()
        far = {i for i, image in labels if (image.boxes[:, 0] > 200).any()}
        assert len(far) == 2
        query = loop.review(2)
        assert {*query["image_id"]} == far
        assert (query["status"] == "queried").all()
        assert loop.workspace.labels() == labels  # nothing is taken away before it is answered
        assert loop.workspace.rounds()[2].strategy == "review"
        assert loop.review(2).equals(query)  # asked once
        collected = loop.collect()
        assert (collected["status"] == "labelled").all()
        assert loop.workspace.labels() == POOL.subset(
            sorted({*queried(loop.workspace)[0], *queried(loop.workspace)[1]})
        )
        loop.train()
        assert loop.learner.trained[-1][2] == loop.workspace.labels()
        assert loop.workspace.counts() == {"unlabelled": 14, "queried": 0, "labelled": 10, "skipped": 0}
        selection = pd.read_csv(tmp_path / "rounds" / "002" / "selection.csv")
        assert selection["why"].str.contains("has no label|was not seen").all()
        page = loop.report().read_text()
        assert "2 of 5 images, whose labels are in doubt" in page  # the first round queried without a trained detector
        loop.query()  # and on it goes
        assert len(queried(loop.workspace)[3]) == 5
        assert not {*queried(loop.workspace)[3]} & {*labels.image_ids}


def test_an_answer_that_confirms_labels_is_one(tmp_path):
    with make(tmp_path, seed=1) as loop:
        loop.run(2)
        labels = loop.workspace.labels()
        query = loop.review(Budget(images=1))
        assert (loop.collect()["status"] == "labelled").all()
        assert loop.workspace.labels() == labels
        assert len(query) == 1
        assert loop.workspace.rounds()[2].stage == "collected"


def test_nothing_to_review(tmp_path):
    with make(tmp_path) as loop:
        with pytest.raises(ValueError, match="no label of 0 images that can be judged is in doubt"):
            loop.review()
        loop.run(1)  # queried without a trained detector
        with pytest.raises(ValueError, match="no label of 0 images that can be judged is in doubt"):
            loop.review()
        assert len(loop.query()) == 5  # the round is still free


def test_an_open_review_does_not_hold_up_the_next_round(tmp_path):
    class Away(SimulatedAnnotator):
        def push(self, query):
            if not query.again:
                super().push(query)

        def pull(self, since=None):
            answer = super().pull()
            asked_again = {*loop.workspace.query(2)["image_id"]} if len(loop.workspace.rounds()) > 2 else {}
            keep = [i for i in answer.labels.image_ids if i not in asked_again]
            return Answer(answer.labels.subset(keep), {}, answer.costs[answer.costs["image_id"].isin(keep)])

    with make(tmp_path, annotator=Away(POOL), seed=1) as loop:
        loop.run(2)
        (image_id,) = loop.review(1)["image_id"]
        assert loop.collect()["status"].tolist() == ["queried"]
        loop.workspace.close_collection(2)
        loop.train()
        assert image_id in loop.learner.trained[-1][2]
        loop.query()
        loop.collect()
        assert loop.workspace.ids("queried") == [image_id]
        assert image_id in loop.workspace.labels()
