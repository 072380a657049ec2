"""What a push brings into a project of a real server."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from helpers.bridge.label_studio import CLASSES, boxes_of, ids_in, labels_in, named_by, names_in
from helpers.bridge.proxy import proxy_to
from PIL import Image

from al_rotate import RotatedInstances
from al_rotate.bridge.client import LabelStudio, Uploads, addresses
from al_rotate.bridge.conversion.tasks import image_id_of


def test_what_is_pushed(studio, pool):
    project = studio.project()
    pushed = studio.push(project, pool, round=4)
    tasks = studio.tasks(project)
    assert [task["data"]["al_image_id"] for task in tasks] == list(pool.files) == pushed.created
    assert [task["id"] for task in tasks] == [pushed.tasks[i] for i in pool.files] == sorted(pushed.tasks.values())
    assert [task["data"]["al_rank"] for task in tasks] == [1, 2, 3, 4, 5, 6, 7]
    assert {task["data"]["al_round"] for task in tasks} == {4}
    np.testing.assert_allclose([task["data"]["al_uncertainty"] for task in tasks], np.linspace(0.9, 0.1, 7))
    for task in tasks:
        image_id = task["data"]["al_image_id"]
        assert studio.picture(task) == pool.files[image_id].read_bytes()
        if image_id == "unseen":
            assert task["predictions"] == []
            continue
        (prediction,) = task["predictions"]
        assert ids_in(prediction["result"]) == named_by("round-000", image_id, prediction["result"])
        assert prediction["score"] == pytest.approx(1 - task["data"]["al_uncertainty"])
        expected, result = pool.detections[image_id], prediction["result"]
        np.testing.assert_allclose(boxes_of(result, (320, 200)), expected.boxes, atol=1e-4)
        assert names_in(result) == [CLASSES[k] for k in expected.labels]
        np.testing.assert_allclose([r["score"] for r in labels_in(result)], expected.scores)


def test_people_get_tasks_in_the_order_of_the_push(studio, pool):
    project = studio.project()
    studio.push(project, pool)
    seen = []
    for _ in pool.files:
        task = studio.call("GET", f"projects/{project}/next/")
        seen.append(task["data"]["al_image_id"])
        studio.submit(task, [])
    assert seen == list(pool.files)


def test_pushing_again_sends_nothing(studio, pool):
    project = studio.project()
    first = studio.push(project, pool)
    before = studio.tasks(project)
    with proxy_to(studio.server.url) as proxy:
        again = studio.push(project, pool, client=LabelStudio.connect(proxy.url, studio.server.token))
        assert proxy.sent("POST", "/import") == 0
    assert again.tasks == first.tasks
    assert again.created == again.updated == []
    assert studio.tasks(project) == before


def test_predictions_of_a_new_round_replace_those_of_the_last(studio, pool):
    project = studio.project()
    ids = list(pool.files)
    studio.push(project, pool, ids[:4])
    studio.push(project, pool, ["unseen"], version=None)
    later = pool.detections.replace(boxes=pool.detections.boxes + np.float32([3, 0, 0, 0, 0]))
    pushed = studio.push(project, pool, version="round-001", detections=later)
    assert pushed.created == ["empty", "x'y"]
    assert pushed.updated == ids[:4]
    for image_id, task in studio.by_image(project).items():
        if image_id == "unseen":
            assert task["predictions"] == []
            continue
        (prediction,) = task["predictions"]
        if prediction["result"]:
            assert ids_in(prediction["result"]) == named_by("round-001", image_id, prediction["result"])
            np.testing.assert_allclose(boxes_of(prediction["result"], (320, 200)), later[image_id].boxes, atol=1e-4)


def next_task(studio, project):
    """The task that the labelling stream hands out: its image, the predicted regions, and itself."""
    task = studio.call("GET", f"projects/{project}/next/")
    return task["data"]["al_image_id"], [r for p in task["predictions"] for r in labels_in(p["result"])], task


def test_what_somebody_has_answered_keeps_the_boxes_that_the_answer_began_with(studio, pool):
    """Another rule shows others of the same boxes. Tasks without an answer get them, also where they are as many."""
    project = studio.project()
    first, second = (pool.detections.where(np.arange(pool.detections.n_boxes) % 2 == k) for k in (0, 1))
    ids = ["a b", "x'y", "c+d&e", "plain"]
    studio.push(project, pool, ids, detections=first)
    before = studio.by_image(project)
    studio.submit(before["a b"], before["a b"]["predictions"][0]["result"])
    studio.skip(before["x'y"])
    assert [(first[i].n_boxes, second[i].n_boxes) for i in ids] == [(2, 1), (3, 2), (1, 1), (2, 2)]
    assert studio.push(project, pool, ids, detections=second).updated == ids[1:]
    after = studio.by_image(project)
    for image_id in ids[1:]:
        result = after[image_id]["predictions"][0]["result"]
        np.testing.assert_allclose(boxes_of(result, (320, 200)), second[image_id].boxes, atol=1e-4)
    reading = studio.client.pull(project).reading
    assert reading.predicted_ids.tolist() == reading.label_ids.tolist()
    np.testing.assert_allclose(reading.predicted.boxes, first["a b"].boxes, atol=1e-4)


def test_predictions_that_version_0_1_pushed_stay_where_the_boxes_are_the_same(studio, pool):
    """There an id ended in the position of the box."""
    project = studio.project()
    studio.push(project, pool, ["a b", "plain"])
    for task in studio.tasks(project):
        (prediction,) = task["predictions"]
        names = ids_in(prediction["result"])
        ids = {name: f"{name.partition('_')[0]}_{k}" for k, name in enumerate(names)}
        result = [{**region, "id": ids[region["id"]]} for region in prediction["result"]]
        studio.call("PATCH", f"predictions/{prediction['id']}/", {"result": result})
    before = studio.tasks(project)
    assert studio.push(project, pool, ["a b", "plain"]).updated == []
    assert studio.tasks(project) == before
    fewer = pool.detections.where(np.arange(pool.detections.n_boxes) != 0)  # the first box of "a b"
    assert studio.push(project, pool, ["a b", "plain"], detections=fewer).updated == ["a b"]


def test_the_labelling_stream_shows_the_boxes_of_every_round(studio, pool):
    project = studio.project()
    studio.push(project, pool, ["a b", "plain"], version="round-000")
    studio.push(project, pool, ["c+d&e"], version="round-001")
    for image_id, version, count in (("a b", "round-000", 3), ("plain", "round-000", 4), ("c+d&e", "round-001", 2)):
        shown, regions, task = next_task(studio, project)
        assert (shown, len(regions)) == (image_id, count)
        assert ids_in(regions) == named_by(version, image_id, regions)
        studio.submit(task, task["predictions"][0]["result"])
    reading = studio.client.pull(project).reading
    assert reading.label_ids.tolist() == reading.predicted_ids.tolist()
    assert reading.labels.n_boxes == 9


def make_as_before(studio, project, versions):
    """Name predictions after their weights, and the project after the last, as 0.1 did."""
    for image_id, task in studio.by_image(project).items():
        for prediction in task["predictions"]:
            studio.call("PATCH", f"predictions/{prediction['id']}/", {"model_version": versions[image_id]})
    studio.call("PATCH", f"projects/{project}/", {"model_version": [*versions.values()][-1]})


def test_a_project_of_an_earlier_release_shows_the_boxes_of_every_round(studio, pool):
    project = studio.project()
    studio.push(project, pool, ["a b"], version="round-000")
    studio.push(project, pool, ["plain"], version="round-001")
    make_as_before(studio, project, {"a b": "round-000", "plain": "round-001"})
    before = studio.by_image(project)
    assert next_task(studio, project)[1] == []  # the fault
    studio.push(project, pool, ["c+d&e"], version="round-002")
    image_id, regions, _ = next_task(studio, project)
    assert (image_id, len(regions)) == ("a b", 3)
    assert ids_in(regions) == named_by("round-000", "a b", regions)
    after = studio.by_image(project)
    for image_id in before:
        (was,), (is_now,) = before[image_id]["predictions"], after[image_id]["predictions"]
        assert (was["id"], was["result"], was["score"]) == (is_now["id"], is_now["result"], is_now["score"])


def test_tasks_that_lost_their_predictions_get_them(studio, pool):
    """Label Studio keeps the tasks and drops all predictions if it cannot import one of them."""
    project = studio.project()
    studio.push(project, pool, version=None)
    assert not any(task["predictions"] for task in studio.tasks(project))
    assert len(studio.push(project, pool).updated) == 6
    assert studio.push(project, pool).updated == []
    assert Counter(len(task["predictions"]) for task in studio.tasks(project)) == {1: 6, 0: 1}


def test_boxes_that_the_bulk_import_leaves_out_arrive(studio, pool):
    """Of tasks that have no prediction yet: one box is wider than its image, one crosses its lower right corner."""
    project = studio.project()
    ids = ["plain", "a b", "x'y"]
    studio.push(project, pool, ids, version=None)
    rows = [[160, 100, 340, 10, 0.02], [310, 190, 40, 20, 1.4], [90, 80, 60, 20, 0.7]]
    odd = RotatedInstances(ids, [0, 1, 2, 3], rows, [0, 1, 2], scores=[0.5] * 3, classes=CLASSES)
    assert sorted(studio.push(project, pool, ids, detections=odd).updated) == sorted(ids)
    for image_id, task in studio.by_image(project).items():
        (prediction,) = task["predictions"]
        np.testing.assert_allclose(boxes_of(prediction["result"], (320, 200)), odd[image_id].boxes, atol=1e-4)
        studio.submit(task, prediction["result"])
    reading = studio.client.pull(project, CLASSES).reading
    np.testing.assert_allclose(reading.labels.subset(ids).boxes, rows, atol=1e-4)


def test_what_cannot_be_sent_is_not(studio, pool):
    project = studio.project()
    with pytest.raises(ValueError, match="it lacks plane"):
        studio.push(project, pool, detections=pool.detections.replace(classes=("ship", "plane", "court")))
    with pytest.raises(ValueError, match="expected distinct images"):
        studio.push(project, pool, ["plain", "plain"])
    elsewhere = replace(pool, files={**pool.files, "plain": studio.root.parent / "plain.png"})
    with pytest.raises(ValueError, match=r"below the document root .*'plain'.*images='upload'"):
        studio.push(project, elsewhere)
    assert studio.tasks(project) == []


def test_tasks_are_updated_when_they_are_queried_again(studio, pool):
    """Rank, reason and round change; boxes, answers and images without a task do not."""
    project = studio.project()
    studio.push(project, pool, ["plain", "a b"])
    before = studio.by_image(project)
    studio.client.update_tasks(project, ["a b", "unseen"], round=3)
    after = studio.by_image(project)
    assert after["plain"] == before["plain"]
    changes = {"al_rank": 1, "al_round": 3, "al_uncertainty": None, "al_why": ""}
    assert after["a b"]["data"] == before["a b"]["data"] | changes
    assert after["a b"]["predictions"] == before["a b"]["predictions"]
    assert after.keys() == before.keys()
    with pytest.warns(DeprecationWarning, match="use update_tasks, tell_again will go in 0.3"):
        studio.client.tell_again(project, ["a b"], round=4)
    assert studio.by_image(project)["a b"]["data"]["al_round"] == 4


def test_percent_signs_in_names(studio, tmp_path):
    """The server decodes the names in a query twice."""
    folder = studio.root / tmp_path.name
    folder.mkdir()
    files = {name: folder / f"{name}.png" for name in ("a%20b", "a b", "100%", "50%25", "%C3%A4")}
    for k, file in enumerate(files.values(), start=1):
        Image.new("RGB", (40 + k, 30)).save(file)
    project = studio.project()
    first, again = (studio.client.push(project, list(files), None, files, studio.files) for _ in range(2))
    assert (first.created, again.created, again.tasks) == (list(files), [], first.tasks)
    tasks = studio.by_image(project)
    assert list(tasks) == list(files)
    for image_id, task in tasks.items():
        assert studio.picture(task) == files[image_id].read_bytes()
        assert image_id_of({"image": task["data"]["image"]}) == image_id
    assert studio.client.answered(project, list(files)) == dict.fromkeys(files, "")


def test_uploads(studio, pool):
    project = studio.project()
    ranking = ["plain", "ä/ö"]
    for _ in range(2):
        studio.client.push(project, ranking, pool.detections, pool.files, Uploads(), "round-000")
    tasks = studio.by_image(project)
    assert list(tasks) == ranking
    for image_id, task in tasks.items():
        assert studio.picture(task) == pool.files[image_id].read_bytes()
    # A push that was killed after an upload does not upload again.
    before = len(studio.call("GET", f"projects/{project}/file-uploads", all="true"))
    places = Uploads().prepare(studio.client.api, project, pool.files)
    assert Uploads().prepare(studio.client.api, project, pool.files) == places
    assert len(studio.call("GET", f"projects/{project}/file-uploads", all="true")) == before + len(pool.files) - 2


def test_addresses_elsewhere(studio, pool, tmp_path):
    files = {"ä/ö": pool.files["ä/ö"]}
    api = studio.client.api
    web = addresses("https://tiles.example/{image_id}{suffix}?v=1").prepare(api, 1, files)
    assert web == {"ä/ö": "https://tiles.example/%C3%A4/%C3%B6.png?v=1"}
    assert addresses("s3://bucket/{name}").prepare(api, 1, files) == {"ä/ö": "s3://bucket/ö.png"}
    for wrong in ("locally", "https://host/all.png", "https://host/{position}"):
        with pytest.raises(ValueError, match="expected images as 'local', 'upload', or a template"):
            addresses(wrong)
    with pytest.raises(ValueError, match="expected document_root with images='local'"):
        addresses("local")
    project = studio.project()
    studio.client.push(project, ["ä/ö"], pool.detections, files, addresses("s3://bucket/{image_id}"), "round-000")
    (task,) = studio.client.api.tasks(project, fields=["data"])
    assert task["data"]["image"] == "s3://bucket/ä/ö"
