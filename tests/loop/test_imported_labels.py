"""Labels that exist already: what is taken over, what they count for, and what comes first."""

import numpy as np
import pandas as pd
import pytest
from helpers.loops.kills import dump
from helpers.loops.loop import BY_THE_MEAN, FILES, POOL, make, queried
from helpers.noisy import CLASSES, NoisyLearner, Start
from PIL import Image

from al_rotate.data import RotatedInstances
from al_rotate.loop import ActiveLoop
from al_rotate.loop.context import build_context
from al_rotate.workspace import COST_COLUMNS, Workspace
from al_rotate.workspace.held_out import held_out
from al_rotate.workspace.progress import trains_next

FIRST, LATER = POOL.image_ids[:8].tolist(), POOL.image_ids[20:].tolist()
GIVEN = POOL.subset(FIRST)


def test_a_pool_that_is_labelled_in_part(tmp_path):
    with make(tmp_path, labels=GIVEN, detector=Start(taught=4)) as loop:
        assert loop.workspace.counts() == {"unlabelled": 16, "queried": 0, "labelled": 8, "skipped": 0}
        assert loop.workspace.labels() == GIVEN
        ledger = loop.workspace.ledger()
        assert ledger[["image_id", *COST_COLUMNS]].values.tolist() == [[i, "imported", 0, 0, 0, 0, 0] for i in FIRST]
        assert ledger["n_boxes"].tolist() == GIVEN.counts.tolist()
        assert not trains_next(loop.workspace)  # these weights can choose
        assert not {*loop.query()["image_id"]} & {*FIRST}
        loop.collect()
        loop.train()
        (trained,) = loop.learner.trained
        assert trained[2].image_ids.tolist() == sorted([*FIRST, *queried(loop.workspace)[0]])
        history = loop.workspace.history()
        assert history[["n_queried", "n_labelled"]].values.tolist() == [[5, 13]]
        answered = loop.workspace.ledger().set_index("image_id").loc[queried(loop.workspace)[0]]
        assert history["cost"].tolist() == [answered["seconds"].sum()]
        (change,) = loop.workspace.changes().to_dict("records")
        assert (change["round"], change["what"]) == (0, "add_labels")
        assert change["summary"] == f"8 images with {GIVEN.n_boxes} boxes"


@pytest.mark.parametrize("detector", [None, Start()])
def test_without_trained_weights_they_are_trained_on_first(tmp_path, detector):
    with make(tmp_path, labels=GIVEN, detector=detector) as loop:
        assert trains_next(loop.workspace)
        metrics = loop.train()
        assert metrics["loss"] == pytest.approx(1 / 9)
        assert not trains_next(loop.workspace)
        assert loop.train() == pytest.approx(metrics)  # nothing was added since
        assert len(loop.learner.trained) == 1
        loop.query()
        history = loop.workspace.history()
        assert history[["stage", "strategy", "n_queried", "n_labelled", "cost"]].values.tolist() == [
            ["trained", "imported", 0, 8, 0],
            ["queried", "pal", 5, 8, 0],
        ]
        assert loop.report().exists()


def test_run_trains_on_them_first(tmp_path):
    with make(tmp_path, labels=GIVEN) as loop:
        assert loop.run(3)["strategy"].tolist() == ["imported", "pal", "pal"]
        assert loop.workspace.history()["n_labelled"].tolist() == [8, 13, 18]


def test_a_whole_pool_that_is_labelled_is_trained_on(tmp_path):
    with make(tmp_path, labels=POOL, detector=Start(taught=4)) as loop:
        assert loop.run(5)[["strategy", "n_labelled"]].values.tolist() == [["imported", 24]]
        with pytest.raises(ValueError, match="no unlabelled image is left"):
            loop.query()


def test_a_query_before_a_training_is_random_and_both_are_trained_on(tmp_path):
    with make(tmp_path, labels=GIVEN) as loop:
        assert loop.query()["why"].str.startswith("Drawn at random from 16 images").all()
        loop.collect()
        loop.train()
        assert loop.workspace.history()[["strategy", "n_labelled"]].values.tolist() == [["random", 13]]


def test_more_of_them_later(tmp_path):
    with make(tmp_path, detector=Start(taught=4)) as loop:
        loop.query()
        asked = queried(loop.workspace)[0]
        expected = sorted({*asked, *LATER})
        # An image may be imported while people have it before them.
        assert loop.add_labels(POOL.subset({*LATER, asked[0]})).empty
        loop.collect()
        loop.train()
        assert loop.workspace.labels() == POOL.subset(expected)
        # Between rounds they make a round of their own.
        loop.add_labels(POOL.subset(i for i in FIRST if i not in expected))
        loop.train()
        assert loop.workspace.history()["strategy"].tolist() == ["pal", "imported"]
        assert loop.workspace.history()["n_labelled"].tolist() == [len(expected), len({*expected, *FIRST})]
        assert loop.workspace.changes()["round"].tolist() == [0, 1]


def test_the_same_again_changes_nothing(tmp_path):
    with make(tmp_path, labels=GIVEN) as loop:
        before = dump(tmp_path)
        loop.add_labels(GIVEN)
        loop.add_labels(GIVEN.subset(FIRST[:2]))
        assert dump(tmp_path) == before
        mended = GIVEN.subset(FIRST[:1]).replace(boxes=GIVEN[FIRST[0]].boxes + 1)
        loop.add_labels(mended)  # somebody has worked on the file
        assert loop.workspace.labels()[FIRST[0]] == mended
        assert len(dump(tmp_path)["answers"]) == 9


def test_answers_in_the_loop_are_kept(tmp_path):
    with make(tmp_path, detector=Start(taught=4), annotator=None) as loop:
        asked = loop.query()["image_id"].tolist()
        loop.workspace.record_answers(0, POOL.subset(asked[:1]), {asked[1]: "clouds"})
        other = POOL.subset(asked[:2]).replace(boxes=POOL.subset(asked[:2]).boxes + 3)
        with pytest.warns(
            UserWarning, match="2 of 2 labelled images are not taken over.*answered in this loop already"
        ):
            account = loop.add_labels(other)
        assert account[["image_id", "action"]].values.tolist() == [[asked[0], "kept"], [asked[1], "kept"]]
        assert loop.workspace.labels()[asked[0]] == POOL[asked[0]]
        assert loop.workspace.ids("skipped") == [asked[1]]
        assert loop.add_labels(other, overwrite=True).empty
        assert loop.workspace.labels().subset(asked[:2]) == other
        assert loop.workspace.ids("skipped") == []


def test_an_answer_replaces_them_and_nobody_takes_them_back(tmp_path):
    with make(tmp_path, detector=Start(taught=4)) as loop:
        asked = loop.query()["image_id"].tolist()
        loop.add_labels(POOL.subset(asked[:2]).replace(boxes=POOL.subset(asked[:2]).boxes + 3))
        answer = POOL.subset(asked[:1])
        loop.workspace.record_answers(0, answer, withdrawn=asked)
        assert loop.workspace.query(0)["status"].tolist() == ["labelled"] * 2 + ["queried"] * 3
        assert loop.workspace.labels()[asked[0]] == answer
        loop.workspace.record_answers(0, RotatedInstances.empty(), withdrawn=asked)  # a person's answer can be
        assert loop.workspace.query(0)["status"].tolist() == ["queried", "labelled", "queried", "queried", "queried"]


def test_what_is_not_of_the_pool_is_told(tmp_path):
    more = POOL.replace(image_ids=[*FIRST, *(f"elsewhere_{k}" for k in range(16))])
    with pytest.warns(UserWarning, match=r"16 of 24 labelled images are not taken over, e\.g\. 'elsewhere_0'"):
        loop = make(tmp_path / "one", labels=more)
    with loop:
        account = pd.read_csv(tmp_path / "one" / "imported_account.csv")
        assert account["image_id"].tolist() == [f"elsewhere_{k}" for k in range(16)]
        assert loop.workspace.ids("labelled") == FIRST
        assert loop.workspace.changes()["summary"].tolist() == [f"8 images with {GIVEN.n_boxes} boxes, 16 left out"]
    unread = GIVEN.replace(skipped={"image_20": "a mask is on it"})  # of the reader of a format
    with make(tmp_path / "three", labels=unread) as loop:
        account = pd.read_csv(tmp_path / "three" / "imported_account.csv")
        assert account.values.tolist() == [["image_20", "left out", "a mask is on it"]]
        assert loop.workspace.changes()["summary"].tolist() == [f"8 images with {GIVEN.n_boxes} boxes, 1 left out"]
    with (
        make(tmp_path / "two") as loop,
        pytest.raises(
            ValueError, match=r"24 images that are not in it, e\.g\. 'x0'; its images have ids like 'image_00'"
        ),
    ):
        loop.add_labels(POOL.replace(image_ids=[f"x{k}" for k in range(24)]))


def test_classes_are_told_by_their_names(tmp_path):
    turned = GIVEN.replace(classes=["court", "ship", "plane", "boat"], labels=(GIVEN.labels + 1) % 3)
    with make(tmp_path, labels=turned) as loop:
        assert loop.workspace.labels() == GIVEN
        with pytest.raises(
            ValueError, match="of the classes ship, plane, court, got boxes of boat: rename them, or add"
        ):
            loop.add_labels(turned.replace(labels=np.full(turned.n_boxes, 3)))
        with pytest.raises(ValueError, match="labels, which have no scores"):
            loop.add_labels(GIVEN.replace(scores=np.ones(GIVEN.n_boxes)))


def test_labels_of_images_of_another_size_are_left_out(tmp_path):
    """In which boxes would lie elsewhere."""
    files = {}
    for image_id, size in (("a", (64, 48)), ("b", (64, 48)), ("c", (64, 48)), ("d", (64, 48))):
        files[image_id] = tmp_path / f"{image_id}.png"
        Image.new("RGB", size).save(files[image_id])
    files["c"].write_bytes(b"no image")
    sizes = [(64, 48), (640, 480), (64, 48), (0, 0)]
    labels = RotatedInstances(
        list("abcd"), range(5), [[9, 9, 8, 4, 0]] * 4, [0] * 4, classes=CLASSES, image_sizes=sizes
    )
    learner = NoisyLearner(labels.replace(image_sizes=None))
    with pytest.warns(UserWarning, match=r"2 of 4 .*'b'.*of 640 x 480 pixels, as when it was labelled, got 64 x 48"):
        loop = ActiveLoop(tmp_path / "work", files, CLASSES, labels=labels, learner=learner)
    loop.close()
    assert pd.read_csv(tmp_path / "work" / "imported_account.csv")["image_id"].tolist() == ["b", "c"]
    with ActiveLoop(tmp_path / "work", files, CLASSES, labels=labels, learner=learner) as loop:  # the same again
        assert loop.workspace.ids("labelled") == ["a", "d"]


def test_opened_again_with_labels(tmp_path):
    with make(tmp_path, labels=GIVEN) as loop:
        loop.run(2)
    with make(tmp_path, labels=GIVEN) as loop:
        assert len(loop.workspace.rounds()) == 2
    with pytest.raises(ValueError, match=r"without the labels of \d+ images, .* use add_labels\(labels\)"):
        make(tmp_path, labels=POOL)
    Workspace.create(tmp_path / "killed", FILES, CLASSES, {}).close()  # before the labels were there
    with make(tmp_path / "killed", labels=GIVEN, test=None) as loop:
        assert loop.workspace.labels() == GIVEN


def test_not_between_collection_and_training(tmp_path):
    with make(tmp_path, detector=Start(taught=4)) as loop:
        loop.query()
        loop.collect()
        with pytest.raises(ValueError, match=r"round 0 has its labels and is not trained yet: train\(\) first"):
            loop.add_labels(GIVEN)


def test_they_count_for_strategies(tmp_path):
    """As labels and in features; for calibration only where detections from before a training exist."""
    with make(tmp_path, labels=GIVEN) as loop:
        loop.train()
        current = loop.workspace.begin_round()
        weights = loop._weights_to_query()
        needs = frozenset({"labels", "labelled_features"})
        context = build_context(loop.workspace, loop.learner, current, weights, needs)
        assert context.labels == GIVEN
        assert len(context.features) == 8
        assert len(context.detections) == 0  # none from before the training
        asked = loop.query()["image_id"].tolist()
        added = next(i for i in LATER if i not in asked)
        loop.add_labels(POOL.subset([added]))
        loop.collect()
        loop.train()
        found = held_out(loop.workspace, loop.workspace.labels())
        assert sorted(found.image_ids) == sorted([*asked, added])
        made = RotatedInstances.load(tmp_path / "rounds" / "001" / "detections")
        assert found[added].boxes.tolist() == made[added].boxes.tolist()


def test_a_review_shows_imported_labels(tmp_path):
    """An image without a task has to come with its labels, not without a box."""
    pushed = []

    class Watched(type(make(tmp_path / "other").annotator)):
        def push(self, query):
            pushed.append(query)
            super().push(query)

    with make(tmp_path / "work", annotator=Watched(POOL), **BY_THE_MEAN, detector=Start(taught=40)) as loop:
        loop.query()
        wrong = next(i for i in LATER if POOL[i].n_boxes > 1 and i not in queried(loop.workspace)[0])
        labels = POOL.subset([wrong]).replace(boxes=POOL[wrong].boxes + np.array([300, 0, 0, 0, 0]))
        loop.add_labels(labels)
        loop.collect()
        loop.train()
        assert wrong in loop.review(1)["image_id"].tolist()
        query = pushed[-1]
        assert query.again
        assert query.detections.replace(scores=None) == labels
        assert query.detections.scores.tolist() == [1] * labels.n_boxes
        loop.collect()
        assert loop.workspace.labels()[wrong] == POOL[wrong]
        n_boxes = labels.n_boxes
        row = loop.workspace.ledger().set_index("image_id").loc[wrong]
        assert row[["annotator", "seconds", "n_added", "n_deleted"]].tolist() == [
            "simulated",
            5 + 14 * n_boxes,
            n_boxes,
            n_boxes,
        ]
