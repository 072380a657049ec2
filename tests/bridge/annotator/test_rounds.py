"""Label Studio as the annotator of a loop: queries, answers, labels in doubt."""

import numpy as np
import pandas as pd
import pytest
from helpers.bridge.label_studio import as_sent, draw_labels

from al_rotate.bridge import Connection, LabelStudioAnnotator, NotAllowed


def test_a_loop_without_an_initial_detector(studio, loop, project, truth, tmp_path):
    """The first round has no predictions to send, and no figure; the second has both, in the ranking's order.

    The score of ``pal`` only counts down, so that Label Studio keeps the order. Its own figure is an uncertainty.
    """
    tasks = studio.by_image(project)
    assert [len(task["predictions"]) for task in tasks.values()] == [0] * 4
    assert [task["data"]["al_uncertainty"] for task in tasks.values()] == [None] * 4  # drawn at random
    for image_id, task in tasks.items():
        studio.submit_labels(task, truth[image_id])
    with loop() as opened:
        opened.collect()
        np.testing.assert_allclose(opened.workspace.labels().boxes, truth.subset(sorted(tasks)).boxes, atol=1e-3)
        opened.train()
        selection = opened.query()
    later = studio.by_image(project)
    assert list(later)[4:] == selection["image_id"].tolist()
    assert selection["score"].tolist() == [1, 0.75, 0.5, 0.25]
    ranking = pd.read_csv(tmp_path / "work" / "rounds" / "001" / "ranking.csv").set_index("image_id")
    for row in selection.itertuples():
        task, uncertainty = later[row.image_id], ranking["uncertainty"][row.image_id]
        assert task["data"]["al_uncertainty"] == (None if np.isnan(uncertainty) else pytest.approx(uncertainty))
        assert [prediction["score"] for prediction in task["predictions"]] == [pytest.approx(1 - row.score)]
    assert ranking["uncertainty"][selection["image_id"]].notna().any()


def test_labels_in_doubt_are_queried_in_their_own_tasks(studio, loop, project, truth, tmp_path):
    """The first answer to a task does not answer the second query; an update does, even one that changes nothing."""
    with loop() as opened:
        for image_id, task in studio.by_image(project).items():
            studio.submit_labels(task, truth[image_id])
        opened.collect()
        opened.train()
        wrong, right, *_ = (i for i in opened.query()["image_id"] if truth[i].n_boxes)
        for image_id, task in studio.by_image(project).items():
            if image_id == wrong:
                annotation = studio.submit(task, [])  # somebody deletes all boxes
            elif not task["annotations"]:
                studio.submit_labels(task, truth[image_id])
        opened.collect()
        opened.train()
        assert opened.workspace.labels()[wrong].n_boxes == 0
        before = studio.by_image(project)
        queried = opened.review(8)["image_id"].tolist()
        assert wrong in queried
    tasks = studio.by_image(project)
    assert {i: task["id"] for i, task in tasks.items()} == {i: task["id"] for i, task in before.items()}
    data = tasks[wrong]["data"]
    assert (data["al_round"], data["al_rank"]) == (2, queried.index(wrong) + 1)
    assert "has no label" in data["al_why"]
    assert data["al_image_id"] == wrong
    assert data["image"] == before[wrong]["data"]["image"]
    assert all(tasks[i]["data"] == before[i]["data"] for i in tasks if i not in queried)

    def collect(opened):
        return opened.collect().set_index("image_id")["status"].to_dict()

    with loop() as opened:  # another process, which remembers when it queried
        assert {*collect(opened).values()} == {"queried"}
        assert opened.workspace.labels()[wrong].n_boxes == 0
        studio.call("PATCH", f"annotations/{annotation['id']}/", {"result": as_sent(draw_labels(truth[wrong]))})
        assert collect(opened) == {i: "labelled" if i == wrong else "queried" for i in queried}
        np.testing.assert_allclose(opened.workspace.labels()[wrong].boxes, truth[wrong].boxes, atol=1e-3)
        opened.train()
        # Asked about a correct label, somebody presses Update: that confirms it.
        opened.workspace.begin_round()
        right = right if right in opened.workspace.ids("labelled") else wrong
        opened.workspace.record_query(3, [right], [0.5], "review", again=True)
        assert opened.collect()["status"].tolist() == ["queried"]
        (annotation,) = studio.by_image(project)[right]["annotations"]
        studio.call("PATCH", f"annotations/{annotation['id']}/", {"result": annotation["result"]})
        labels = opened.workspace.labels()
        assert opened.collect()["status"].tolist() == ["labelled"]
        assert opened.workspace.labels() == labels


def test_a_wrong_token(studio, loop, tmp_path, monkeypatch):
    (tmp_path / "token").write_text("0" * 40)
    with loop() as opened, pytest.raises(NotAllowed, match="does not take this token"):
        opened.collect()
    (tmp_path / "token").unlink()
    monkeypatch.delenv("LABEL_STUDIO_API_KEY", raising=False)
    with loop() as opened, pytest.raises(NotAllowed, match="LABEL_STUDIO_API_KEY"):
        opened.collect()
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", studio.server.token)
    with loop() as opened:
        assert (opened.collect()["status"] == "queried").all()


def test_a_workspace_that_is_not_connected(tmp_path):
    with pytest.raises(ValueError, match="is not connected to Label Studio: al-rotate connect"):
        LabelStudioAnnotator(tmp_path)
    for damaged in ("", '{"project": 1, "ta', '{"project": 1, "tasks": []}', "[]"):
        (tmp_path / "label_studio_tasks.json").write_text(damaged)
        with pytest.raises(ValueError, match=r"label_studio_tasks\.json, got a damaged file .* delete it"):
            LabelStudioAnnotator(tmp_path, Connection("http://localhost", 1))
    (tmp_path / "label_studio.json").write_text('{"url": "x"}')
    with pytest.raises(ValueError, match=r"expected a connection in .*label_studio\.json"):
        LabelStudioAnnotator(tmp_path)
