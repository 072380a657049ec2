"""Rounds on the noisy learner: what is asked, trained, measured and left behind."""

import json
from itertools import chain

import pandas as pd
import pytest
from helpers.loops.loop import FILES, POOL, TEST, TRUTH, make, queried
from helpers.noisy import CLASSES, NoisyLearner, Start

from al_rotate.data import RotatedInstances


def test_rounds_go_on_and_detections_get_better(loop):
    history = loop.run(3)
    assert history["stage"].tolist() == ["trained"] * 3
    assert history["strategy"].tolist() == ["random", "pal", "pal"]
    assert history["n_queried"].tolist() == history["n_labelled"].tolist() == [5, 10, 15]
    assert history["mAP"].is_monotonic_increasing
    assert history["mAP"].iloc[0] < 0.4 < 0.5 < history["mAP"].iloc[-1]
    assert history["cost"].is_monotonic_increasing
    assert history["loss"].tolist() == pytest.approx([1 / 6, 1 / 11, 1 / 16])
    assert {f"AP/{name}" for name in CLASSES} <= {*history.columns}
    assert len({*chain(*queried(loop.workspace))}) == 15
    assert loop.workspace.counts() == {"unlabelled": 9, "queried": 0, "labelled": 15, "skipped": 0}
    assert loop.run(3).equals(history)  # nothing is left to do
    assert len(loop.learner.trained) == 3


def test_what_a_round_leaves_behind(loop):
    loop.run(2)
    folder = loop.workspace.folder / "rounds" / "001"
    ranking, selection = (pd.read_csv(folder / f"{name}.csv") for name in ("ranking", "selection"))
    assert sorted(ranking["image_id"]) == sorted({*FILES} - {*queried(loop.workspace)[0]})
    assert ranking["rank"].tolist() == list(range(1, 20))
    query = loop.workspace.query(1)
    assert selection["image_id"].tolist() == query["image_id"].tolist() == ranking["image_id"].tolist()[:5]
    assert selection["score"].tolist() == pytest.approx(query["score"].tolist())
    assert RotatedInstances.load(folder / "detections").image_ids.shape == (19,)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics == loop.workspace.rounds()[1].metrics
    assert metrics["mAP"] == loop.workspace.history()["mAP"][1]


def test_training_sees_all_labels_so_far_and_only_these(tmp_path):
    with make(tmp_path, strategy="random") as loop:
        loop.run(4)
        for number, (_, files, labels) in enumerate(loop.learner.trained):
            so_far = sorted(chain(*queried(loop.workspace)[: number + 1]))
            assert labels.image_ids.tolist() == list(files) == so_far
            assert labels.boxes.tolist() == POOL.subset(so_far).boxes.tolist()
            assert {str(file) for file in files.values()} == {FILES[image_id] for image_id in so_far}
        # 20 of the 24 images: one at least of the five confirmed empty is there, as a negative.
        assert len(labels) == 20
        assert (labels.counts == 0).any()
        # The pool is what is left, and between queries come the test images.
        shown = [ids for _, ids in loop.learner.predicted]
        assert [len(ids) for ids in shown] == [8, 19, 8, 14, 8, 9, 8]
        assert all(ids == TEST.image_ids.tolist() for ids in shown[::2])
        assert shown[5] == sorted({*FILES} - {*chain(*queried(loop.workspace)[:3])})


def test_a_seed_says_it_all(tmp_path):
    queries, histories = [], []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        with make(tmp_path / name, seed=seed) as loop:
            histories.append(loop.run(2).drop(columns=["started", "finished"]))
            queries.append(queried(loop.workspace))
    assert queries[0] == queries[1]
    assert histories[0].equals(histories[1])
    assert queries[0][0] != queries[2][0]
    assert not histories[0]["mAP"].equals(histories[2]["mAP"])


@pytest.mark.parametrize("detector", [None, Start()])
def test_weights_that_know_nothing_are_not_asked(tmp_path, detector):
    with make(tmp_path, detector=detector) as loop:
        query = loop.query()
        assert loop.workspace.rounds()[0].strategy == "random"
        assert loop.learner.predicted == []
        assert query["image_id"].tolist() != sorted(FILES)[:5]  # as the order of equal scores would have it


def test_weights_that_know_something_are_asked_at_once(tmp_path):
    with make(tmp_path, detector=Start(taught=4)) as loop:
        loop.query()
        assert loop.workspace.rounds()[0].strategy == "pal"
        assert loop.learner.predicted == [(tmp_path / "initial.pth", sorted(FILES))]


@pytest.mark.parametrize(("warm", "trainings"), [(True, [1, 2, 3]), (False, [1, 1, 1])])
def test_where_trainings_start(tmp_path, warm, trainings):
    with make(tmp_path / "a", detector=Start(), warm_start=warm) as loop:
        loop.run(3)
        checkpoints = [r.checkpoint for r in loop.workspace.rounds()]
        first = tmp_path / "a" / "initial.pth"
        assert [start for start, *_ in loop.learner.trained] == ([first, *checkpoints[:2]] if warm else [first] * 3)
        assert [json.loads(c.read_text())["trainings"] for c in checkpoints] == trainings
    with make(tmp_path / "b", warm_start=warm) as loop:
        loop.run(2)
        starts = [start for start, *_ in loop.learner.trained]
        assert starts == [None, loop.workspace.rounds()[0].checkpoint if warm else None]


def test_steps_out_of_their_order(loop):
    with pytest.raises(ValueError, match="round 0 has not queried yet"):
        loop.collect()
    with pytest.raises(ValueError, match=r"nothing is labelled yet: query\(\) and collect\(\) first"):
        loop.train()
    query = loop.query()
    loop.collect()
    assert loop.query()["image_id"].tolist() == query["image_id"].tolist()
    assert loop.collect()["status"].tolist() == ["labelled"] * 5
    metrics = loop.train()
    assert loop.train() == pytest.approx(metrics)
    assert len(loop.learner.trained) == 1
    with pytest.raises(ValueError, match="round 1 has not queried yet"):
        loop.collect()


def test_until_the_pool_is_used_up(tmp_path):
    with make(tmp_path, budget=10) as loop:
        assert loop.run(99)["n_labelled"].tolist() == [10, 20, 24]
        assert len(loop.run(99)) == 3
        with pytest.raises(ValueError, match="no unlabelled image is left"):
            loop.query()


def test_images_that_cannot_be_read_are_not_asked_for(tmp_path):
    bad = ["image_03", "image_07", "test_01"]
    learner = NoisyLearner(TRUTH, unreadable=bad)
    with make(tmp_path, learner=learner, detector=Start(taught=4), budget=11) as loop:
        assert loop.run(2)["n_labelled"].tolist() == [11, 22]
        assert loop.workspace.ids("unlabelled") == bad[:2]
        metrics = loop.workspace.rounds()[0].metrics
        assert metrics["test_images_skipped"] == 1
        with pytest.raises(
            ValueError, match=r"none of the 2 unlabelled images can be read, e\.g\. 'image_03': no image"
        ):
            loop.query()


def test_without_a_test_set_there_is_no_figure(tmp_path):
    with make(tmp_path, test=None) as loop:
        loop.run(1)
        assert loop.workspace.rounds()[0].metrics.keys() == {"loss"}
