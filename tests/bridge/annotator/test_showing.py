"""Which predicted boxes stand in a real server's tasks: those that the query's rule chose, or a score of one's own."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers.bridge.label_studio import predicted
from helpers.noisy import CLASSES, DoubtfulLearner, labels_of
from PIL import Image

from al_rotate import ActiveLoop, CostModel, RotatedInstances
from al_rotate.bridge import Connection
from al_rotate.workspace.artefacts import read_showing_rule

N = 18


@pytest.fixture(scope="module")
def truth():
    return labels_of(N)


def boxes_in(tasks, ids):
    """The predicted boxes of each task, in order."""
    return {image_id: predicted(tasks[image_id])[1] if tasks[image_id]["predictions"] else None for image_id in ids}


def check(found, wanted):
    for image_id, image in wanted:
        np.testing.assert_allclose(np.reshape(found[image_id], (-1, 5)), image.boxes, atol=1e-3)


def test_the_boxes_in_the_tasks(studio, truth, tmp_path):
    """Two rounds are answered, then what is worth showing is known; a score of one's own goes before it, and back.

    An answer that was given before the score was set is compared with the boxes that it began with.
    """
    folder, images = tmp_path / "work", studio.root / tmp_path.name
    images.mkdir()
    for image_id in truth.image_ids:
        Image.new("RGB", (128, 128), (90, 90, 90)).save(images / f"{image_id}.png")

    def open_loop():
        return ActiveLoop(folder, learner=DoubtfulLearner(truth))

    ActiveLoop(
        folder, images, CLASSES, budget=7, strategy="random", learner=DoubtfulLearner(truth), cost=CostModel(added=35)
    ).close()
    project = studio.join(folder, CLASSES).project
    assert Connection.load(folder).shown is None
    for number in range(2):
        with open_loop() as loop:
            asked = loop.query()["image_id"].tolist()
            tasks = studio.by_image(project)
            if number:  # too few answers to learn from
                detections = RotatedInstances.load(folder / "rounds" / "001" / "detections").subset(asked)
                check(boxes_in(tasks, asked), detections.where(detections.scores >= 0.3))
            for image_id in asked:
                studio.submit_labels(tasks[image_id], truth[image_id])
            loop.collect()
            loop.train()
    with open_loop() as loop:
        asked = loop.query()["image_id"].tolist()
    rule = read_showing_rule(folder / "rounds" / "002")
    assert (rule.cost.added, rule.calibrated is None) == (35, False)
    detections = RotatedInstances.load(folder / "rounds" / "002" / "detections").subset(asked)
    worth = rule.shown(detections)
    assert detections.where(detections.scores >= 0.3).n_boxes < worth.n_boxes < detections.n_boxes
    before = studio.by_image(project)
    check(boxes_in(before, asked), worth)

    by_score = detections.where(detections.scores >= 0.5)
    early = next(i for i, image in worth if image.n_boxes and image.n_boxes != by_score[i].n_boxes)
    studio.submit(before[early], predicted(before[early])[0])  # as they are
    own = replace(Connection.load(folder), shown=0.5)
    own.save(folder)
    with open_loop() as loop, pytest.warns(UserWarning, match=r"round 2 that wait .* from a score of 0.5, as the anno"):
        loop.collect()
    tasks = studio.by_image(project)
    check(boxes_in(tasks, [early]), worth.subset([early]))
    asked.remove(early)
    worth, by_score = worth.subset(asked), by_score.subset(asked)
    check(boxes_in(tasks, asked), by_score)
    made = pd.read_csv(folder / "rounds" / "002" / "corrections.csv")
    assert made["image_id"].tolist() == [early] * len(predicted(before[early])[0])
    assert (made["what"] == "kept").all()
    assert (made["iou"] == 1).all()

    replace(own, shown=None).save(folder)
    with open_loop() as loop:
        loop.collect()
    after = studio.by_image(project)
    check(boxes_in(after, asked), worth)
    # People who leave one as it is, and delete the others, are understood.
    image_id = next(image_id for image_id, image in worth if image.n_boxes > 1)
    result, boxes = predicted(after[image_id])
    studio.submit(after[image_id], result[:1])
    with open_loop() as loop:
        loop.collect()
        assert loop.workspace.labels()[image_id].boxes.tolist() == worth[image_id].boxes[:1].tolist()
        ledger = loop.workspace.ledger().set_index("image_id").loc[image_id]
    assert (ledger["n_added"], ledger["n_moved"], ledger["n_deleted"]) == (0, 0, len(boxes) - 1)
