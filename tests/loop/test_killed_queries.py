"""A query that is killed in its first shard leaves a manifest alone; the loop goes on with it, or without it."""

import shutil

import pandas as pd
import pytest
from helpers.loops.loop import POOL, TRUTH, make, queried
from helpers.noisy import NoisyLearner, Start

from al_rotate.evaluation.pseudo_labels import PseudoLabels
from al_rotate.loop.context import decide_showing
from al_rotate.report.figures import pool_figure
from al_rotate.storage.manifest import claim
from al_rotate.storage.parquet import SHARDS_NOTE
from al_rotate.workspace.artefacts import clear_unless_made_for, discard_unfinished


def kill_query(loop, n_finished=0):
    """Leave what a query does that is killed after so many of its two shards."""
    folder = loop.workspace.begin_round().folder / "detections"
    clear_unless_made_for(folder, {}, loop.workspace.ids("unlabelled"))
    folder.mkdir()
    claim(folder / SHARDS_NOTE, {"shards": 2}, "detections", "delete it")
    for number in range(n_finished):
        shutil.copy(folder.parents[1] / "000" / "detections" / "0.parquet", folder / f"{number}.parquet")
    return folder


def added(loop):
    """Labels of three images that nobody was asked about."""
    return POOL.subset(loop.workspace.ids("unlabelled")[:3])


@pytest.fixture
def pair(tmp_path):
    """Two loops after one round; the query of the first is killed."""
    with (
        make(tmp_path / "killed", detector=Start(taught=4)) as killed,
        make(tmp_path / "other", detector=Start(taught=4)) as other,
    ):
        for loop in (killed, other):
            loop.run(1)
        yield killed, other


@pytest.mark.parametrize("n_finished", [0, 1])
def test_labels_are_added_and_the_query_is_made_anew(pair, n_finished):
    kill_query(pair[0], n_finished)
    for loop in pair:
        loop.add_labels(added(loop))
        loop.query()
    assert queried(pair[0].workspace) == queried(pair[1].workspace)
    assert len(queried(pair[0].workspace)[1]) == 5


@pytest.mark.parametrize("n_finished", [0, 1])
def test_labels_are_added_and_trained_on(pair, n_finished):
    folder = kill_query(pair[0], n_finished)
    for loop in pair:
        loop.add_labels(added(loop))
        loop.train()
        assert loop.report().exists()
        loop.query()
    assert not folder.exists()
    assert [r.strategy for r in pair[0].workspace.rounds()] == ["pal", "imported", "pal"]
    assert queried(pair[0].workspace) == queried(pair[1].workspace)


def test_a_review_takes_its_place(tmp_path):
    with make(tmp_path, detector=Start(taught=4)) as loop:
        folder = kill_query(loop)
        with pytest.raises(ValueError, match="no label of 0 images"):
            loop.review(1)
        assert folder.exists()  # the query may still be resumed
        loop.run(1)
        folder = kill_query(loop, 1)
        assert len(loop.review(1)) == 1
        assert not folder.exists()
        assert loop.report().exists()
        loop.collect()
        loop.train()
        assert len(loop.query()) == 5


class Pseudo(NoisyLearner):
    """Keeps what it is told to train on besides labels."""

    pseudo = None

    def train(self, checkpoint, images, labels, work_dir, pseudo=None):
        self.pseudo = pseudo
        return super().train(checkpoint, images, labels, work_dir)


def test_what_earlier_versions_left_is_done_without(tmp_path):
    """They skipped the query and kept its manifest: rules, pseudo-labels and the report go without it."""
    options = {"learner": Pseudo(TRUTH), "detector": Start(taught=4), "pseudo_labels": PseudoLabels(precision=0.5)}
    with make(tmp_path, **options) as loop:
        loop.run(1)
        before = decide_showing(loop.workspace, None, None).to_json()
        folder = kill_query(loop)
        loop.add_labels(added(loop))
        loop.workspace.skip_query(1)
        with pytest.warns(UserWarning, match=f"{folder}; trained without pseudo-labels: delete {folder}"):
            metrics = loop.train()
        assert (metrics["pseudo_images"], loop.learner.pseudo) == (0, None)
        assert folder.exists()
        figure = pool_figure(loop.workspace)
        named = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        assert named[1].startswith("detections on the pool: ")  # of round 0
        assert loop.report().exists()
        with pytest.warns(UserWarning, match="nothing is learnt from the detections of round 1: delete"):
            assert len(loop.query()) == 5
        assert decide_showing(loop.workspace, None, None).to_json() == before
        assert pd.read_csv(tmp_path / "rounds" / "002" / "selection.csv")["why"].str.startswith("Rank").all()


def test_finished_detections_are_kept(tmp_path):
    with make(tmp_path, detector=Start(taught=4)) as loop:
        loop.run(1)
        folder = loop.workspace.rounds()[0].folder / "detections"
        discard_unfinished(folder)
        assert sorted(file.name for file in folder.iterdir()) == ["0.parquet", "1.parquet"]
        discard_unfinished(folder / "none")
