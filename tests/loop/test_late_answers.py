"""Answers that come after their round was trained: between rounds, and once no image is left to query."""

import pytest
from helpers.loops.loop import make
from helpers.noisy import labels_of

from al_rotate.loop import Answer

POOL = labels_of(24)


class Slow:
    """Someone who answers only the images that it is told to."""

    def __init__(self):
        self.ready, self.pushed = [], []

    def push(self, query):
        self.pushed.append((query.round, list(query.image_ids)))

    def pull(self, since=None):
        return Answer(POOL.subset(self.ready))


def start(folder, budget):
    """A first round of which two images are not answered, trained."""
    loop = make(folder, annotator=Slow(), budget=budget)
    queried = loop.query()["image_id"].tolist()
    loop.annotator.ready = queried[2:]
    loop.collect()
    loop.train()
    return loop, queried


def test_between_rounds(tmp_path):
    loop, queried = start(tmp_path, 10)
    with loop:
        loop.annotator.ready = queried[1:]
        late = loop.collect()
        assert late["image_id"].tolist() == queried[:2]
        assert late["status"].tolist() == ["queried", "labelled"]
        assert loop.annotator.pushed[-1] == (0, queried[:2])
        loop.query()  # goes on, and the late answer counts in its round
        assert loop.workspace.labels() == POOL.subset(sorted(queried[1:]))
        assert loop.workspace.history()["n_labelled"].tolist() == [8, 9]


def test_the_last_ones_are_trained_on(tmp_path):
    loop, queried = start(tmp_path, 24)
    with loop:
        assert loop.query()["image_id"].tolist() == queried[:2]  # what is left is what waits
        with pytest.raises(ValueError, match="2 images are not answered yet"):
            loop.run(9)
        loop.annotator.ready = queried
        history = loop.run(9)
        assert history["strategy"].tolist()[:2] == ["random", "late"]
        assert history["n_labelled"].tolist()[:2] == [22, 24]
        assert loop.workspace.labels() == POOL
        loop.undo_last_round()  # gives up the training, not the answers
        assert loop.workspace.labels() == POOL
        with pytest.raises(ValueError, match="no unlabelled image is left"):
            loop.query()
