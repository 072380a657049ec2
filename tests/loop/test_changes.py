"""Later changes of a loop: what they do to queries, trainings and the history, and that nothing is deleted."""

import json

import pytest
from helpers.loops.kills import dump
from helpers.loops.loop import FILES, POOL, TEST, TEST_FILES, make, queried
from helpers.noisy import NoisyLearner, Start, labels_of

from al_rotate.data import RotatedInstances
from al_rotate.loop import ActiveLoop, SimulatedAnnotator
from al_rotate.workspace import Workspace, current_weights
from al_rotate.workspace.progress import advise_on
from al_rotate.workspace.versions import all_weights

SMALL = {image_id: FILES[image_id] for image_id in POOL.image_ids[:12].tolist()}
MORE = {image_id: FILES[image_id] for image_id in POOL.image_ids[12:].tolist()}


def listed(loop):
    return loop.workspace.changes()[["round", "what", "summary"]].values.tolist()


def test_images_come_and_go(tmp_path):
    with make(tmp_path, images=SMALL, detector=Start(taught=4)) as loop:
        loop.run(1)
        assert loop.add_images({**SMALL, **MORE}) == [*MORE]
        assert loop.add_images(SMALL) == []  # nothing to do, nothing listed
        assert loop.workspace.counts()["unlabelled"] == 19
        labels, spent = loop.workspace.labels(), loop.workspace.history()["cost"][0]
        gone = [*queried(loop.workspace)[0][:2], "image_20"]
        assert loop.remove_images(gone) == sorted(gone)
        assert sum(loop.workspace.counts().values()) == 21
        assert loop.workspace.labels().image_ids.tolist() == sorted({*labels.image_ids} - {*gone})
        loop.run(2)
        assert not {*queried(loop.workspace)[1]} & {*gone}
        assert len(loop.learner.trained[1][2]) == 8
        history = loop.workspace.history()
        assert history["n_labelled"].tolist() == [5, 8]
        assert history["cost"][0] == spent < history["cost"][1]  # what they took is spent
        assert loop.add_images({i: FILES[i] for i in gone}) == sorted(gone)
        assert loop.workspace.labels().subset(gone[:2]) == labels.subset(gone[:2])
        assert "image_20" in loop.workspace.ids("unlabelled")
        assert listed(loop) == [
            [1, "add_images", "12 images"],
            [1, "remove_images", "3 images"],
            [2, "add_images", "3 images, 3 of them removed before"],
        ]
        loop.run(3)
        assert loop.report().exists()
    for images in (SMALL, FILES):  # what the loop was made with, and what it has now
        make(tmp_path, images=images, detector=Start(taught=4)).close()
    with pytest.raises(ValueError, match="use add_images or remove_images"):
        make(tmp_path, images={**FILES, "image_99": "x.png"})


def test_images_that_cannot_come_or_go(tmp_path):
    with make(tmp_path, images=SMALL) as loop:
        before = dump(tmp_path)
        with pytest.raises(ValueError, match=r"'image_00' is there already, with the file /images/image_00\.png, got"):
            loop.add_images({"image_00": "/elsewhere/image_00.png"})
        with pytest.raises(ValueError, match=r"of the test set outside the pool, got 1 .*/images/test_03\.png"):
            loop.add_images({"new": TEST_FILES["test_03"]})
        with pytest.raises(ValueError, match="expected images to be left, got all 12"):
            loop.remove_images([*SMALL])
        with pytest.raises(KeyError, match="no image 'z'"):
            loop.remove_images(["z"])
        assert dump(tmp_path) == before


def test_a_query_that_was_killed_detects_again_on_a_pool_that_changed(tmp_path):
    with make(tmp_path, images=SMALL, detector=Start(taught=4)) as loop:
        loop.workspace.begin_round()
        loop._record_query = None  # killed before it is recorded
        with pytest.raises(TypeError):
            loop.query()
    with make(tmp_path, images=SMALL, detector=Start(taught=4)) as loop:
        loop.add_images(MORE)
        loop.query()
        assert len(RotatedInstances.load(tmp_path / "rounds" / "000" / "detections")) == 24


def test_removed_images_wait_for_no_answer(tmp_path):
    with make(tmp_path, annotator=None, detector=Start(taught=4)) as loop:
        asked = loop.query()["image_id"].tolist()
        loop.remove_images(asked[:2])
        assert loop.workspace.query(0)["status"].tolist() == ["removed"] * 2 + ["queried"] * 3
        with pytest.raises(ValueError, match="images that were queried, got one for"):
            loop.workspace.record_answers(0, POOL.subset(asked[:1]))
        with pytest.raises(ValueError, match="was removed: add_images first"):
            loop.workspace.import_labels(POOL.subset(asked[:1]))
    with make(tmp_path, detector=Start(taught=4)) as loop:
        loop.run(1)
        assert loop.workspace.labels().image_ids.tolist() == sorted(asked[2:])


def test_skipped_images_are_asked_for_again(tmp_path):
    pushed = []

    class Watched(SimulatedAnnotator):
        def push(self, query):
            pushed.append(query)
            super().push(query)

    with make(tmp_path, annotator=None, detector=Start(taught=4)) as loop:
        asked = loop.query()["image_id"].tolist()
        costs = loop.workspace.spent(asked[:1]).assign(annotator="eve", seconds=4.0)
        loop.workspace.record_answers(0, POOL.subset(asked[2:]), dict.fromkeys(asked[:2], "clouds"), costs)
        loop.train()
        assert loop.unskip() == sorted(asked[:2])
        assert loop.unskip() == []
        with pytest.raises(ValueError, match="expected skipped images, got 1 others"):
            loop.unskip(asked[2:3])
        assert loop.remove_images(POOL.image_ids[-1:]) == ["image_23"]
        assert loop.workspace.history()["cost"].tolist() == [4]
        assert listed(loop) == [[1, "unskip", "2 images"], [1, "remove_images", "1 image"]]
        loop.add_images({"image_23": FILES["image_23"]})
    with make(tmp_path, annotator=Watched(POOL), detector=Start(taught=4), budget=30) as loop:
        assert {*asked[:2]} <= {*loop.query()["image_id"]}
        assert [(query.again, len(query.image_ids)) for query in pushed] == [(False, 19), (True, 2)]
        assert sorted(pushed[1].image_ids) == sorted(asked[:2])
        loop.collect()
        ledger = loop.workspace.ledger().set_index("image_id")
        alone = SimulatedAnnotator(POOL)
        alone.push(pushed[1].__class__(asked[:1], {}, pushed[1].detections.subset(asked[:1])))
        assert ledger["seconds"][asked[0]] == alone.pull().costs["seconds"][0] + 4
        assert loop.workspace.ids("skipped") == []


def test_the_last_round_is_undone(tmp_path):
    with make(tmp_path, detector=Start(taught=4)) as loop:
        loop.run(1)
        first = loop.workspace.labels(), current_weights(loop.workspace), loop.workspace.history()
        loop.run(2)
        undone = loop.undo_last_round()
        assert (undone.number, undone.stage) == (1, "undone")
        assert undone.checkpoint.exists()
        assert (loop.workspace.labels(), current_weights(loop.workspace)) == first[:2]
        history = loop.workspace.history()
        assert history["stage"].tolist() == ["trained", "undone"]
        assert history["n_queried"].tolist() == history["n_labelled"].tolist() == [5, 5]
        assert history["cost"].tolist() == [first[2]["cost"][0]] * 2
        assert history["mAP"].notna().tolist() == [True, False]
        assert listed(loop) == [[1, "undo_last_round", "round 1"]]
        assert loop.train()["mAP"] == first[2]["mAP"][0]  # nothing to train
        assert loop.run(2)["stage"].tolist() == ["trained", "undone", "trained"]
        assert loop.learner.trained[2][0] == first[1].path  # not from what was undone
        assert len(loop.learner.trained[2][2]) == 10
        assert all_weights(loop.workspace)[-1].version == "round-002"
        assert advise_on(loop.workspace).stop is None
        assert loop.report().exists()


@pytest.mark.parametrize("stage", ["queried", "collected"])
def test_a_round_is_undone_before_its_training(tmp_path, stage):
    with make(tmp_path) as loop:
        with pytest.raises(ValueError, match="has no round to undo"):
            loop.undo_last_round()
        loop.query()
        if stage == "collected":
            loop.collect()
        loop.undo_last_round()
        assert loop.workspace.counts()["unlabelled"] == 24
        with pytest.raises(ValueError, match="has no round to undo"):
            loop.undo_last_round()
        assert loop.run(1)["stage"].tolist() == ["undone", "trained"]
        assert loop.workspace.rounds()[1].strategy == "random"  # still nothing is trained


def test_what_is_undone_may_be_answered_by_the_same_answers(tmp_path):
    with make(tmp_path, annotator=None, detector=Start(taught=4)) as loop:
        asked = loop.query()["image_id"].tolist()
        loop.workspace.record_answers(0, POOL.subset(asked), cursor="monday")
        loop.undo_last_round()
        assert loop.workspace.cursor is None
        assert loop.query()["image_id"].tolist() == asked  # the same detections
        loop.workspace.record_answers(1, POOL.subset(asked))
        assert loop.workspace.labels() == POOL.subset(sorted(asked))


def test_an_undone_review_gives_the_labels_back(tmp_path):
    with make(tmp_path, seed=1, detector=Start(taught=4)) as loop:
        loop.run(2)
        labels, ledger = loop.workspace.labels(), loop.workspace.ledger()
        (image_id,) = loop.review(1)["image_id"]
        loop.undo_last_round()
        assert loop.workspace.labels() == labels
        assert loop.workspace.ids("queried") == []
        loop.review(1)
        loop.workspace.record_answers(3, POOL.subset([image_id]).replace(boxes=POOL[image_id].boxes + 5))
        loop.undo_last_round()
        assert loop.workspace.labels() == labels
        columns = ["image_id", "status", "n_boxes", "seconds"]
        assert loop.workspace.ledger()[columns].equals(ledger[columns])


def test_imported_labels_outlive_an_undone_round(tmp_path):
    with make(tmp_path, labels=POOL.subset([*SMALL])) as loop:
        loop.train()
        loop.undo_last_round()
        assert loop.workspace.labels() == POOL.subset([*SMALL])
        loop.train()
        assert loop.workspace.history()[["stage", "strategy"]].values.tolist() == [
            ["undone", "imported"],
            ["trained", "imported"],
        ]


def test_another_test_set(tmp_path):
    other = labels_of(6, "test").replace(image_sizes=None)
    files = {image_id: f"/other/{image_id}.png" for image_id in other.image_ids}
    turned = other.replace(classes=["court", "ship", "plane"], labels=(other.labels + 1) % 3)
    truth = RotatedInstances.concat([POOL, other])
    with make(tmp_path) as loop:
        loop.run(1)
        with pytest.raises(ValueError, match="of the test set outside the pool"):
            loop.set_test(FILES, POOL)
        loop.set_test(files, turned)
    (tmp_path / "test.parquet").unlink()  # of no use any more
    with ActiveLoop(tmp_path, learner=NoisyLearner(truth)) as loop:
        loop.run(2)
        assert loop.learner.predicted[-1][1] == other.image_ids.tolist()
        assert listed(loop) == [[1, "set_test", f"a test set of 6 images with {other.n_boxes} boxes"]]
        assert loop.report().exists()
    make(tmp_path, learner=NoisyLearner(truth)).close()  # with the arguments that it was made with


def test_a_test_set_for_a_loop_without_one_and_one_that_is_gone(tmp_path):
    with make(tmp_path, test=None) as loop:
        loop.run(1)
        loop.set_test(TEST_FILES, TEST)
        assert loop.run(2)["mAP"].isna().tolist() == [True, False]
        (tmp_path / "test-001.parquet").unlink()
        loop.set_test(TEST_FILES, TEST)
        assert loop.run(3)["mAP"].notna().tolist() == [False, True, True]


def test_another_detector(tmp_path):
    with make(tmp_path, detector=Start()) as loop:
        loop.run(1)
        with pytest.raises(ValueError, match=r"expected a detector of the classes .*classes=loop\.classes"):
            loop.set_detector(Start(classes=("a", "b")))
        loop.set_detector(Start(taught=30, text="model = 2\n"))
        assert current_weights(loop.workspace).version == "detector-001"
        loop.query()
        with pytest.raises(ValueError, match="round 1 waits for answers"):
            loop.set_detector(Start())
        loop.run(2)
        assert loop.learner.trained[1][0] == tmp_path / "detector-001.pth"
        versions = [weights.version for weights in all_weights(loop.workspace)]
        assert versions == ["initial", "round-000", "detector-001", "round-001"]
        assert [weights.is_trained for weights in all_weights(loop.workspace)] == [False, True, True, True]
        before = [current_weights(loop.workspace, before_round=k).version for k in range(3)]
        assert before == ["initial", "detector-001", "round-001"]
        assert (tmp_path / "config.py").read_text() == "model = 1\n"
        assert (tmp_path / loop.settings.config).read_text() == "model = 2\n"
        assert json.loads((tmp_path / "initial.pth").read_text())["taught"] == 0
        loop.set_detector(Start(text="model = 3\n"))  # random weights
        assert loop.query()["why"].str.startswith("Drawn at random").all()
    make(tmp_path, detector=Start()).close()
    with pytest.raises(ValueError, match=r"another config, see .*config-detector-002\.py.*use set_detector"):
        make(tmp_path, detector=Start(text="model = 9\n"))


def test_another_detector_without_a_warm_start(tmp_path):
    with make(tmp_path, detector=Start(), warm_start=False) as loop:
        loop.run(1)
        loop.set_detector(Start(taught=30))
        loop.run(3)
        starts = [start.name for start, *_ in loop.learner.trained]
        assert starts == ["initial.pth", "detector-001.pth", "detector-001.pth"]


def test_an_older_al_rotate_refuses_a_changed_workspace(tmp_path):
    """It would misread it. One that was not changed stays as it was."""
    with make(tmp_path, images=SMALL) as loop:
        assert loop.workspace._db.execute("PRAGMA user_version").fetchone() == (1,)
        assert loop.workspace.changes().empty
        loop.add_images(MORE)
        assert loop.workspace._db.execute("PRAGMA user_version").fetchone() == (2,)
    with Workspace.open(tmp_path, read_only=True) as reader:
        assert reader.changes()["what"].tolist() == ["add_images"]
        with pytest.raises(PermissionError, match="for reading only"):
            reader.remove_images(["image_00"])
