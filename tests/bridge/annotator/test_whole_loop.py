"""The whole loop with a real detector: the labels are what people made of its boxes."""

import numpy as np
import pandas as pd
import pytest
from helpers.bridge.label_studio import Studio, drawn, ids_in, named_by, names_in, predicted, redrawn

from al_rotate import ActiveLoop
from al_rotate.boxes import canonical
from al_rotate.data import synthetic


@pytest.mark.mm
def test_the_whole_loop(studio: Studio, scenes, detector, tmp_path):
    """Query, push, corrections, pull, fine-tune, second query."""
    from al_rotate.detection.small_models import small_rtmdet

    size, options = (128, 128), small_rtmdet(128, iterations=4)
    pool = studio.root / tmp_path.name
    pool.symlink_to(scenes.images)
    folder = tmp_path / "work"
    classes = synthetic.CLASSES
    ActiveLoop(folder, pool, classes, detector, "entropy", budget=4, train_options=options).close()
    project = studio.join(folder, classes, shown=0.05).project

    with ActiveLoop(folder) as loop:
        queried = loop.query()
    tasks = studio.by_image(project)
    assert list(tasks) == queried["image_id"].tolist()
    assert [task["data"]["al_rank"] for task in tasks.values()] == [1, 2, 3, 4]
    wanted = {}
    # The first: one box moved and turned, one of another class, one deleted, one added; the others are kept.
    first, second, third, fourth = tasks
    result, boxes = predicted(tasks[first])
    assert len(result) >= 4
    moved = boxes[0] + [3.25, -2.5, 1.5, -0.5, 0.3]
    other = classes[(classes.index(names_in(result)[1]) + 1) % len(classes)]
    new = np.array([64.5, 50.25, 30, 12, -0.7])
    studio.submit(
        tasks[first],
        [
            redrawn(result[0], moved, size),
            redrawn(result[1], boxes[1], size, other),
            *result[3:],
            drawn(new, classes[0], size),
        ],
        seconds=42.5,
    )
    names = names_in(result)
    wanted[first] = [moved, boxes[1], *boxes[3:], new], [names[0], other, *names[3:], classes[0]]
    # The second shows nothing, the third is skipped, the fourth is right as it is.
    studio.submit(tasks[second], [], seconds=3)
    studio.skip(tasks[third])
    wanted[second] = [], []
    with ActiveLoop(folder) as loop:
        status = loop.collect().set_index("image_id")["status"]
        assert status.to_dict() == {first: "labelled", second: "labelled", third: "skipped", fourth: "queried"}
        assert loop.workspace.rounds()[0].stage == "queried"
    result, boxes = predicted(tasks[fourth])
    studio.submit(tasks[fourth], result)
    wanted[fourth] = boxes, names_in(result)

    with ActiveLoop(folder) as loop:
        assert loop.collect()["status"].tolist() == ["labelled", "labelled", "skipped", "labelled"]
        labels = loop.workspace.labels()
        assert {*labels.image_ids} == {*wanted}
        for image_id, (boxes, names) in wanted.items():
            collected = labels[image_id]
            assert [classes[k] for k in collected.labels] == names
            np.testing.assert_allclose(collected.boxes, canonical(np.reshape(boxes, (-1, 5))), atol=1e-3)
        ledger = loop.workspace.ledger().set_index("image_id")
        counts = ["n_added", "n_moved", "n_relabelled", "n_deleted"]
        assert ledger.loc[first, ["seconds", *counts]].tolist() == [42.5, 1, 1, 1, 1]
        assert ledger.loc[fourth, counts].tolist() == [0, 0, 0, 0]
        assert ledger["annotator"].unique().tolist() == [studio.server.email]
        loop.train()
        trained = loop.workspace.rounds()[0].checkpoint
        assert trained.read_bytes() != (folder / loop.settings.checkpoint).read_bytes()
        again = loop.query()
        assert not {*again["image_id"]} & {*queried["image_id"]}
        page = loop.report().read_text()
    assert "What people changed" in page
    tasks = studio.by_image(project)
    assert list(tasks) == [*queried["image_id"], *again["image_id"]]
    drawn_by = ["initial"] * 4 + ["round-000"] * 4
    for (image_id, task), version in zip(tasks.items(), drawn_by, strict=True):
        (prediction,) = task["predictions"]
        assert ids_in(prediction["result"]) == named_by(version, image_id, prediction["result"])
    assert len(tasks[first]["annotations"]) == 1
    table = pd.read_csv(folder / "rounds" / "000" / "corrections.csv")
    counts = table[table["image_id"] == first]["what"].value_counts()
    assert counts[["changed", "deleted", "added"]].tolist() == [2, 1, 1]
