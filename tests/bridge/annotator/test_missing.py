"""Annotations, tasks and images that disappear between two collections."""

import pandas as pd
import pytest

from al_rotate.data.images import UnreadableImage


def read_account(workspace, number=0):
    """The account of a round, empty where there is none."""
    path = workspace / "rounds" / f"{number:03d}" / "account.csv"
    return pd.read_csv(path).fillna("") if path.exists() else pd.DataFrame(columns=["image_id", "action", "detail"])


def test_a_deleted_annotation_withdraws_its_label(studio, loop, project, truth, tmp_path):
    tasks = studio.by_image(project)
    annotations = {image_id: studio.submit_labels(task, truth[image_id]) for image_id, task in tasks.items()}
    deleted, *others = tasks
    with loop() as opened:
        assert (opened.collect()["status"] == "labelled").all()
        assert opened.workspace.rounds()[0].stage == "collected"
        opened.train()
        opened.query()
        studio.call("DELETE", f"annotations/{annotations[deleted]['id']}/")
        opened.collect()
        assert sorted(opened.workspace.labels().image_ids) == sorted(others)
        assert opened.workspace.ids("queried").count(deleted) == 1
        studio.submit_labels(studio.by_image(project)[deleted], truth[deleted])
        opened.collect()
        assert sorted(opened.workspace.labels().image_ids) == sorted(tasks)


def test_a_deleted_task(studio, loop, project, truth, tmp_path):
    """If it was answered, its labels stay; if not, it is made again. Both are reported."""
    tasks = studio.by_image(project)
    kept, lost, *others = tasks
    studio.submit_labels(tasks[kept], truth[kept])
    with loop() as opened:
        opened.collect()
        for image_id in (kept, lost):
            studio.call("DELETE", f"tasks/{tasks[image_id]['id']}/")
        opened.collect()
        assert opened.workspace.labels().image_ids.tolist() == [kept]
    later = studio.by_image(project)
    assert {*later} == {lost, *others}
    assert later[lost]["data"]["al_rank"] == 2
    account = read_account(tmp_path / "work").set_index("image_id")
    assert f"task {tasks[lost]['id']} was deleted in Label Studio before it was answered" in account.loc[lost, "detail"]
    studio.submit_labels(later[lost], truth[lost])
    with loop() as opened:
        opened.collect()
        assert sorted(opened.workspace.labels().image_ids) == sorted([kept, lost])


def test_a_deleted_task_of_an_earlier_round_is_made_again(studio, loop, project, truth, tmp_path):
    tasks = studio.by_image(project)
    first, *others = tasks
    studio.submit_labels(tasks[first], truth[first])
    with loop() as opened:
        opened.collect()
        opened.train()
        opened.query()
        studio.call("DELETE", f"tasks/{tasks[others[0]]['id']}/")
        opened.collect()
    later = studio.by_image(project)
    assert {*others} <= {*later}
    studio.submit_labels(later[others[0]], truth[others[0]])
    with loop() as opened:
        opened.collect()
        assert others[0] in opened.workspace.labels().image_ids


def test_files_that_are_missing_when_the_answers_come(studio, loop, project, truth, photographs, tmp_path):
    """An unmounted disk: answers are collected, and images without an answer are not skipped."""
    first, *others = tasks = studio.by_image(project)
    away = photographs.rename(photographs.with_name(f"{photographs.name} away"))
    studio.submit_labels(tasks[first], truth[first])
    with loop() as opened, pytest.raises(UnreadableImage, match="none of the 4 images asked for can be read"):
        opened.collect()
    away.rename(photographs)
    for image_id in (first, others[0]):
        (photographs / f"{image_id}.png").unlink()
    with loop() as opened:
        status = opened.collect().set_index("image_id")["status"].to_dict()
    assert status == {first: "labelled", **dict.fromkeys(others, "queried")}


def test_an_image_that_is_gone(studio, loop, project, truth, tmp_path):
    """It is not pushed, and answered as skipped with the reason; what was pushed already is still queried."""
    for image_id, task in studio.by_image(project).items():
        studio.submit_labels(task, truth[image_id])
    with loop() as opened:
        opened.collect()
        opened.train()
        missing = sorted(opened.workspace.ids("unlabelled"))[0]
        opened.workspace.paths([missing])[missing].unlink()
        opened.query()
        assert missing not in studio.by_image(project)
        status = opened.collect().set_index("image_id")["status"]
        assert status[missing] == "skipped"
    account = read_account(tmp_path / "work", 1).set_index("image_id")
    assert "cannot be read" in account.loc[missing, "detail"]
