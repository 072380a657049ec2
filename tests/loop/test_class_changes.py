"""Classes that are added, renamed and merged while a loop runs."""

import warnings

import numpy as np
import pytest
from helpers.loops.loop import BY_THE_MEAN, POOL, TRUTH, make, queried
from helpers.noisy import CLASSES, NoisyLearner, Start

from al_rotate.data import RotatedInstances
from al_rotate.loop import ActiveLoop, Answer, SimulatedAnnotator
from al_rotate.loop.changes.classes import merge
from al_rotate.loop.open_queries import record_answer
from al_rotate.workspace import Workspace
from al_rotate.workspace.held_out import held_out
from al_rotate.workspace.progress import advise_on


def named(boxes):
    return [boxes.classes[number] for number in boxes.labels]


def test_a_loop_goes_on_after_each_change(tmp_path):
    with make(tmp_path, detector=Start(taught=4), **BY_THE_MEAN) as loop:
        loop.run(2)
        loop.rename_class("ship", "vessel")
        assert loop.classes == loop.workspace.classes == ("vessel", "plane", "court")
        loop.add_class("tank")
        loop.merge_classes(["plane", "vessel"], into="craft")
        assert loop.classes == ("craft", "court", "tank")
        assert loop.workspace.changes()[["what", "summary"]].values.tolist() == [
            ["rename_class", "ship is vessel"],
            ["add_class", "tank"],
            ["merge_classes", "plane, vessel are craft"],
        ]
        asked = sorted([*queried(loop.workspace)[0], *queried(loop.workspace)[1]])
        before, after = POOL.subset(asked), loop.workspace.labels()
        names = {"ship": "craft", "plane": "craft", "court": "court"}
        assert named(after) == [names[name] for name in named(before)]
        assert after.boxes.tolist() == before.boxes.tolist()
        # This learner, which is somebody's own, still detects the classes that it knows.
        loop.query()
        loop.collect()
        metrics = loop.train()
        assert {name for name in metrics if name.startswith("AP/")} == {
            "AP/craft",
            "AP/court",
        }  # of tanks there is none
        assert loop.learner.trained[-1][2].classes == loop.classes
        found = held_out(loop.workspace, loop.workspace.labels())
        assert found.classes == loop.classes
        assert len(found) == 15
        assert loop.report().exists()
        assert advise_on(loop.workspace).stop is None
        loop.review(1)
    with ActiveLoop(tmp_path, learner=NoisyLearner(TRUTH)) as loop:  # another process
        assert loop.annotator.held_back.classes == loop.classes
        loop.collect()
        loop.train()
        assert named(loop.workspace.labels()) == [
            names[name] for name in named(POOL.subset(loop.workspace.labels().image_ids))
        ]
    with make(tmp_path, classes=CLASSES, detector=Start(taught=4)) as loop:  # as it was made
        assert loop.classes == ("craft", "court", "tank")
    with pytest.raises(ValueError, match=r"has the classes craft, court, tank, got craft, tank"):
        make(tmp_path, classes=("craft", "tank"))


def test_labels_with_old_and_new_names_are_one(tmp_path):
    """An annotator that was not told goes on with the old names."""
    with make(tmp_path, annotator=None, detector=Start(taught=4)) as loop:
        asked = loop.query()["image_id"].tolist()
        loop.workspace.record_answers(0, POOL.subset(asked[:3]))
        loop.train()
        loop.merge_classes(["court"], into="ship")
        later = loop.query()["image_id"].tolist()
        record_answer(loop.workspace, loop.workspace.rounds()[1], Answer(POOL.subset([*asked, *later])))
        labels = loop.workspace.labels()
        assert labels.image_ids.tolist() == sorted([*asked, *later])
        names = {"ship": "ship", "plane": "plane", "court": "ship"}
        assert named(labels) == [names[name] for name in named(POOL.subset(labels.image_ids))]


@pytest.mark.parametrize(
    ("names", "into", "classes", "numbers"),
    [
        (["ship", "court"], "ship", ("ship", "plane"), [0, 1, 0]),
        (["court", "ship"], "court", ("plane", "court"), [1, 0, 1]),
        (["plane", "court"], "air", ("ship", "air"), [0, 1, 1]),
        (["plane"], "ship", ("ship", "court"), [0, 0, 1]),
        ([*CLASSES], "object", ("object",), [0, 0, 0]),
    ],
)
def test_merging(tmp_path, names, into, classes, numbers):
    with Workspace.create(tmp_path / "work", {"a": "a.png"}, CLASSES, {}) as workspace:
        merge(workspace, names, into)
        assert workspace.classes == classes
        assert workspace.former_classes() == {CLASSES: tuple(numbers)}
        boxes = RotatedInstances(["a"], [0, 3], [[9, 9, 8, 4, 0]] * 3, [0, 1, 2], [0.9, 0.8, 0.7], classes=CLASSES)
        boxes = boxes.replace(class_scores=[[0.5, 0.25, 0.25], [0.7, 0.8, 0], [0.1, 0.2, 0.3]], skipped={"b": "broken"})
        now = workspace.in_current_classes(boxes)
        assert now.labels.tolist() == numbers
        summed = np.zeros((3, len(classes)))
        for old, new in enumerate(numbers):
            summed[:, new] += boxes.class_scores[:, old]
        np.testing.assert_allclose(now.class_scores, summed.clip(max=1), rtol=1e-6)
        assert now.skipped == {"b": "broken"}


def test_changes_that_cannot_be(tmp_path):
    with make(tmp_path, detector=Start(taught=4)) as loop:
        for change, message in (
            (lambda: loop.add_class("ship"), "'ship' is a class already: ship, plane, court"),
            (lambda: loop.add_class(""), "distinct non-empty strings"),
            (lambda: loop.rename_class("boat", "vessel"), "classes of the workspace, ship, plane, court, got 'boat'"),
            (lambda: loop.rename_class("ship", "plane"), "'plane' is a class already: .* use merge_classes"),
            (lambda: loop.merge_classes("ship", "plane"), "expected a list of class names, got the text 'ship'"),
            (lambda: loop.merge_classes(["ship"], "ship"), "expected two classes or more to make one of, got ship"),
            (lambda: loop.merge_classes(["ship", "boat"], "ship"), "got 'boat'"),
        ):
            with pytest.raises(ValueError, match=message):
                change()
        assert loop.workspace.changes().empty
        loop.query()
        with pytest.raises(ValueError, match=r"round 0 waits for answers: train\(\) first, or undo_last_round\(\)"):
            loop.add_class("tank")


def test_a_name_that_meant_something_else_is_refused(tmp_path):
    """Labels of the class list before could not be told from those of the class list now."""
    with make(tmp_path) as loop:
        loop.merge_classes(["court"], into="ship")
        with pytest.raises(
            ValueError, match="had the classes ship, plane, court before, and a class of them is another"
        ):
            loop.add_class("court")
        loop.add_class("field")
        loop.rename_class("plane", "aircraft")
        loop.rename_class("aircraft", "plane")  # and back, which is no harm
        assert loop.classes == ("ship", "plane", "field")
        assert loop.workspace.former_classes() == {
            ("ship", "aircraft", "field"): (0, 1, 2),
            ("ship", "plane", "field"): (0, 1, 2),
            ("ship", "plane"): (0, 1),
            CLASSES: (0, 1, 0),
        }


@pytest.mark.mm
def test_the_weights_of_mmrotate_follow(tmp_path, detector, scenes):
    """Detections under a new name are those under the old one; a merged class takes the weights of both."""
    from al_rotate.detection.checkpoints.class_rows import OtherClasses

    files = {image_id: next(scenes.images.glob(f"{image_id}.*")) for image_id in scenes.labels.image_ids[:4]}
    held_back = scenes.labels.subset(files)
    with ActiveLoop(
        tmp_path / "work", files, detector.classes, detector, "entropy", 2, SimulatedAnnotator(held_back)
    ) as loop:
        before = loop.learner.predict(tmp_path / "work" / "initial.pth", files, tmp_path / "before")
        first, second, *rest = detector.classes
        loop.rename_class(first, "thing")
        loop.add_class("new one")
        loop.merge_classes([second], into=rest[0])
        with warnings.catch_warnings():  # that its own weights are of the classes before is no news
            warnings.simplefilter("error", OtherClasses)
            after = loop.learner.predict(tmp_path / "work" / "initial.pth", files, tmp_path / "after")
        assert after.classes == loop.classes == ("thing", *rest, "new one")
        of_first = before.where((before.labels == 0) & (before.scores > 0.3))
        still = after.where((after.labels == 0) & (after.scores > 0.3))
        np.testing.assert_allclose(still.boxes, of_first.boxes, atol=1e-3)
        assert of_first.n_boxes
        assert loop.query()["why"].str.startswith("Rank").all()
