"""What a pull brings back from a real server: all of it, or an error."""

import json
import time

import numpy as np
import pandas as pd
import pytest
from helpers.bridge.label_studio import CLASSES, drawn, labels_in
from helpers.bridge.proxy import Fault, proxy_to

from al_rotate.bridge.client import LabelStudio, LabelStudioError
from al_rotate.bridge.conversion.options import ReadOptions

PAGE = "al_rotate.bridge.client.api.PAGE"


def corrected(task, shift=(0.0, 0.0)):
    """The prediction's regions, moved by some pixels, as the page would send them."""
    result = json.loads(json.dumps(task["predictions"][0]["result"])) if task["predictions"] else []
    for region in result:
        region["value"]["x"] += 100 * shift[0] / 320
        region["value"]["y"] += 100 * shift[1] / 200
    return result


@pytest.fixture
def exact_cursor(monkeypatch):
    """A pull does not look back beyond its cursor."""
    monkeypatch.setattr("al_rotate.bridge.client.label_studio.CURSOR_OVERLAP", pd.Timedelta(0))


def test_what_is_pulled(studio, pool):
    project = studio.project()
    studio.push(project, pool)
    tasks = studio.by_image(project)
    studio.submit(tasks["a b"], corrected(tasks["a b"], (5, -2.5)), seconds=31.5)
    studio.submit(tasks["ä/ö"], [], seconds=4)
    studio.skip(tasks["plain"])
    studio.submit(tasks["unseen"], [drawn([90, 80, 60, 20, 0.7], CLASSES[2], (320, 200))])

    pulled = studio.client.pull(project, CLASSES)
    reading = pulled.reading
    assert sorted(reading.labels.image_ids) == ["a b", "unseen", "ä/ö"]
    expected = pool.detections["a b"].boxes + np.float32([5, -2.5, 0, 0, 0])
    np.testing.assert_allclose(reading.labels["a b"].boxes, expected, atol=1e-3)
    assert reading.labels["a b"].labels.tolist() == pool.detections["a b"].labels.tolist()
    assert reading.labels["ä/ö"].n_boxes == 0
    np.testing.assert_allclose(reading.labels["unseen"].boxes, [[90, 80, 60, 20, 0.7]], atol=1e-3)
    assert reading.labels["unseen"].labels.tolist() == [2]
    assert list(reading.skipped) == ["plain"]
    assert sorted(reading.unanswered) == ["c+d&e", "empty", "x'y"]
    costs = reading.costs.set_index("image_id")
    assert costs.loc["a b", "seconds"] == 31.5
    assert costs.loc["a b", "annotator"] == studio.server.email
    np.testing.assert_allclose(reading.predicted["a b"].boxes, pool.detections["a b"].boxes, atol=1e-3)
    own_labels = reading.labels.image_index == reading.labels.position("a b")
    own_predictions = reading.predicted.image_index == reading.predicted.position("a b")
    assert reading.label_ids[own_labels].tolist() == reading.predicted_ids[own_predictions].tolist()
    assert pulled.tasks == {image_id: task["id"] for image_id, task in tasks.items()}
    assert pulled.n_tasks == 7
    assert pulled.notes == []


def test_an_incremental_pull_brings_what_changed(studio, pool, exact_cursor):
    project = studio.project()
    studio.push(project, pool)
    tasks = studio.by_image(project)
    first = studio.submit(tasks["a b"], corrected(tasks["a b"]))
    second = studio.submit(tasks["plain"], corrected(tasks["plain"]))
    cursor = studio.client.pull(project).cursor
    studio.submit(tasks["ä/ö"], corrected(tasks["ä/ö"]))
    studio.call("PATCH", f"annotations/{first['id']}/", {"result": corrected(tasks["a b"], (1, 1))})
    studio.call("DELETE", f"annotations/{second['id']}/")
    later = studio.client.pull(project, since=cursor)
    assert sorted(later.reading.labels.image_ids) == ["a b", "ä/ö"]
    assert later.reading.unanswered == ["plain"]
    expected = pool.detections["a b"].boxes + np.float32([1, 1, 0, 0, 0])
    np.testing.assert_allclose(later.reading.labels["a b"].boxes, expected, atol=1e-3)
    nothing = studio.client.pull(project, since=later.cursor)
    assert set(nothing.tasks) <= {"a b", "ä/ö", "plain"}  # at most the last moment again
    assert nothing.cursor == later.cursor


def test_answers_given_while_the_pages_are_read(studio, pool, monkeypatch, exact_cursor):
    """A task of a page that was read already, then one of a later page: the next pull brings the first."""
    monkeypatch.setattr(PAGE, 3)
    project = studio.project()
    studio.push(project, pool)
    tasks = list(studio.by_image(project).values())
    pages = studio.client.api.tasks

    def disturbed(*arguments, **options):
        for count, task in enumerate(pages(*arguments, **options)):
            if count == 3:
                monkeypatch.setattr(studio.client.api, "tasks", pages)
                studio.submit(tasks[0], corrected(tasks[0]))
                studio.submit(tasks[-2], corrected(tasks[-2]))
            yield task

    monkeypatch.setattr(studio.client.api, "tasks", disturbed)
    first = studio.client.pull(project)
    later = studio.client.pull(project, since=first.cursor)
    pulled = {*first.reading.labels.image_ids} | {*later.reading.labels.image_ids}
    assert tasks[0]["data"]["al_image_id"] in pulled
    assert tasks[-2]["data"]["al_image_id"] in pulled


def test_a_task_without_an_image_id(studio, pool):
    """Somebody else's, with an address that ends in no file's name: it is left out, and the others come."""
    project = studio.project()
    studio.push(project, pool)
    studio.call("POST", f"projects/{project}/import", [{"image": "https://example.org/?id=3"}])
    pulled = studio.client.pull(project)
    assert len(pulled.tasks) == 7
    assert pulled.reading.account["action"].tolist() == ["left out"]


def an_hour_ahead(body):
    """A page of tasks with times that lie ahead."""
    page = json.loads(body)
    for task in page["tasks"]:
        for entry in [task, *(task.get("annotations") or ())]:
            if "updated_at" in entry:
                entry["updated_at"] = str(pd.Timestamp(entry["updated_at"]) + pd.Timedelta(hours=1))
    return json.dumps(page).encode()


def test_a_task_stamped_ahead_hides_no_later_answer(studio, pool, exact_cursor):
    project = studio.project()
    studio.push(project, pool)
    tasks = studio.by_image(project)
    studio.submit(tasks["a b"], corrected(tasks["a b"]))
    with proxy_to(studio.server.url) as proxy:
        client = LabelStudio.connect(proxy.url, studio.server.token)
        proxy.faults = [Fault("edit", "GET", "/api/tasks", edit=an_hour_ahead, times=2)]
        first = client.pull(project)
    assert first.reading.labels.image_ids.tolist() == ["a b"]
    time.sleep(2.1)  # the server tells its clock to the second
    studio.submit(tasks["plain"], corrected(tasks["plain"]))
    later = studio.client.pull(project, since=first.cursor)
    assert "plain" in later.reading.labels.image_ids


def test_a_clock_that_was_set_back(studio, pool):
    """The cursor lies ahead of the clock: all is read."""
    project = studio.project()
    studio.push(project, pool)
    task = studio.by_image(project)["plain"]
    ahead = json.dumps({"updated_at": str(pd.Timestamp.now("UTC") + pd.Timedelta(hours=1))})
    studio.submit(task, corrected(task))
    pulled = studio.client.pull(project, since=ahead)
    assert len(pulled.tasks) == 7
    assert "clock is behind the moment of the last pull" in pulled.notes[0]


def test_tasks_that_wait_are_read_whatever_their_times_say(studio, pool, monkeypatch):
    project = studio.project()
    studio.push(project, pool)
    task = studio.by_image(project)["c+d&e"]
    studio.submit(task, corrected(task))
    cursor = json.dumps({"updated_at": str(pd.Timestamp.now("UTC") + pd.Timedelta(seconds=60))})
    monkeypatch.setattr(studio.client.api, "clock", lambda: None)  # as if it had passed the cursor
    assert studio.client.pull(project, since=cursor).tasks == {}
    pulled = studio.client.pull(project, since=cursor, waiting=["c+d&e", "plain"])
    assert sorted(pulled.tasks) == ["c+d&e", "plain"]
    assert pulled.reading.labels.image_ids.tolist() == ["c+d&e"]


def test_pages(studio, pool, monkeypatch):
    """Tasks that come and go between two pages shift nothing."""
    monkeypatch.setattr(PAGE, 3)
    project = studio.project()
    tasks = studio.push(project, pool).tasks
    pages = studio.client.api.tasks(project, fields=["data"])
    seen = [next(pages)["data"]["al_image_id"] for _ in range(3)]
    studio.call("DELETE", f"tasks/{tasks['a b']}/")
    studio.call("POST", f"projects/{project}/import", [{"image": "/data/other.png"}])
    rest = [task["data"].get("al_image_id") for task in pages]
    assert seen + rest == [*pool.files, None]


def test_a_short_answer_is_an_error(studio, pool, monkeypatch):
    """A task lost on the way would be a label lost."""
    project = studio.project()
    studio.push(project, pool)

    def lose_one(body):
        page = json.loads(body)
        page["tasks"].pop()
        return json.dumps(page).encode()

    with proxy_to(studio.server.url) as proxy:
        client = LabelStudio.connect(proxy.url, studio.server.token)
        proxy.faults = [Fault("edit", "GET", "/api/tasks", edit=lose_one, after=1)]
        with pytest.raises(LabelStudioError, match="has 7 more tasks after task 0, and gave 6 of 7: nothing of this"):
            client.pull(project)
        # The SDK's pager takes this for the end of the data.
        monkeypatch.setattr(PAGE, 3)
        proxy.faults = [Fault("refuse", "GET", "/api/tasks", status=404, after=2)]
        with pytest.raises(LabelStudioError, match="404"):
            client.pull(project)
        proxy.faults = [Fault("refuse", "GET", "/api/tasks", status=503, times=2, headers={"Retry-After": "1"})]
        assert len(client.pull(project).tasks) == 7


def test_a_deleted_task_is_missed(studio, pool):
    project = studio.project()
    tasks = studio.push(project, pool).tasks
    studio.call("DELETE", f"tasks/{tasks['plain']}/")
    pulled = studio.client.pull(project)
    assert pulled.n_tasks == 6
    assert tasks.keys() - studio.client.task_ids(project).keys() == {"plain"}


def test_a_renamed_label(studio, pool):
    project = studio.project()
    studio.push(project, pool)
    tasks = studio.by_image(project)
    xml = studio.call("GET", f"projects/{project}/")["label_config"]
    studio.call("PATCH", f"projects/{project}/", {"label_config": xml.replace('"ship"', '"vessel"')})
    result = corrected(tasks["plain"])
    for region in labels_in(result):
        region["value"]["labels"] = ["vessel"]
    studio.submit(tasks["plain"], result)
    pulled = studio.client.pull(project, CLASSES)
    assert len(pulled.reading.labels) == 0
    assert "vessel" in pulled.reading.quarantined["plain"]
    assert "lacks ship and adds vessel; if a label was renamed, say rename=" in pulled.notes[0]
    again = studio.client.pull(project, CLASSES, rename={"vessel": "ship"})
    assert again.reading.labels["plain"].labels.tolist() == [0] * 4
    assert again.notes == []
    options = ReadOptions(CLASSES, rename={"vessel": "ship"})
    assert studio.client.pull(project, options=options).reading.labels == again.reading.labels
