"""Push and pull against a real server, and against one that fails in between."""

import base64
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress

import httpx
import numpy as np
import pandas as pd
import pytest
from helpers.label_studio import CLASSES
from helpers.proxy import Fault, proxy_to

from al_rotate import RotatedInstances, boxes
from al_rotate.bridge.client import push as _push
from al_rotate.bridge.client.addresses import Uploads, addresses
from al_rotate.bridge.client.api import LabelStudioError, NotAllowed
from al_rotate.bridge.client.label_studio import LabelStudio
from al_rotate.bridge.conversion.geometry import from_label_studio, to_label_studio


def push(studio, project, pool, ids=None, version="round-000", client=None, detections=None, **more):
    ids = list(pool.files if ids is None else ids)
    ranking = pd.DataFrame({"image_id": ids, "score": np.linspace(0.9, 0.1, len(ids))})
    client = client or studio.client
    return client.push(project, ranking, detections or pool.detections, pool.files, studio.files, version, **more)


@pytest.fixture
def quick(monkeypatch):
    """The same attempts with shorter pauses."""
    monkeypatch.setattr(_push, "pauses", lambda attempts: (time.sleep(0.05) or i for i in range(attempts)))


def by_image(tasks):
    return {task["data"]["al_image_id"]: task for task in tasks}


# Signing in.


def test_signing_in(studio):
    with pytest.raises(LabelStudioError, match=r"no Label Studio answers at http://127\.0\.0\.1:9"):
        LabelStudio.connect("http://127.0.0.1:9", "x" * 40)
    with pytest.raises(NotAllowed, match=r"does not take this token .*set LABEL_STUDIO_API_KEY"):
        LabelStudio.connect(studio.server.url, "0" * 40)
    with pytest.raises(NotAllowed, match=r"expected a token .*, got none"):
        LabelStudio.connect(studio.server.url, "")
    with pytest.raises(ValueError, match="expected an address like http://localhost:8080, got 'localhost'"):
        LabelStudio.connect("localhost", "x")


def test_a_personal_access_token(studio, pool):
    """It is exchanged for a short-lived one, as often as need be."""
    token = studio.call("POST", "token/")["token"]
    client = LabelStudio.connect(studio.server.url, token)
    project = studio.project()
    push(studio, project, pool, client=client)
    assert len(client.pull(project).reading.unanswered) == len(pool.files)
    parts = token.split(".")
    with pytest.raises(NotAllowed):
        LabelStudio.connect(studio.server.url, ".".join([*parts[:2], parts[2][::-1]]))


def test_a_token_that_is_taken_back(studio, pool):
    """Neither a push nor a pull goes on for minutes, or takes it for an empty project."""
    project = studio.project()
    push(studio, project, pool)
    with proxy_to(studio.server.url) as proxy:
        client = LabelStudio.connect(proxy.url, studio.server.token)
        proxy.faults = [Fault("refuse", method, "/api/", status=401, times=99) for method in ("GET", "POST")]
        with pytest.raises(NotAllowed, match="set LABEL_STUDIO_API_KEY"):
            client.pull(project)
        with pytest.raises(NotAllowed, match="set LABEL_STUDIO_API_KEY"):
            push(studio, project, pool, client=client)


# Projects.


def test_a_project_is_found_again(studio):
    project = studio.client.open_project("one of its kind", CLASSES)
    assert studio.client.open_project("one of its kind", CLASSES) == project
    assert studio.call("GET", f"projects/{project}/")["sampling"] == "Sequential sampling"
    with pytest.raises(ValueError, match="it lacks plane and has ship, storage tank, Kühlturm & Co"):
        studio.client.open_project("one of its kind", ("ship", "plane"))
    with pytest.raises(ValueError, match="title of 3 to 50 characters"):
        studio.client.open_project("no", CLASSES)


# Push.


def test_what_is_pushed(studio, pool):
    project = studio.project()
    pushed = push(studio, project, pool, round=4)
    tasks = studio.tasks(project)
    assert [task["data"]["al_image_id"] for task in tasks] == list(pool.files) == pushed.created
    assert [task["id"] for task in tasks] == [pushed.tasks[i] for i in pool.files] == sorted(pushed.tasks.values())
    assert [task["data"]["al_rank"] for task in tasks] == [1, 2, 3, 4, 5, 6, 7]
    assert {task["data"]["al_round"] for task in tasks} == {4}
    np.testing.assert_allclose([task["data"]["al_uncertainty"] for task in tasks], np.linspace(0.9, 0.1, 7))
    for task in tasks:
        image_id = task["data"]["al_image_id"]
        picture = httpx.get(
            studio.server.url + task["data"]["image"], headers={"Authorization": f"Token {studio.server.token}"}
        )
        assert picture.content == pool.files[image_id].read_bytes()
        if image_id == "unseen":
            assert task["predictions"] == []
            continue
        (prediction,) = task["predictions"]
        assert prediction["model_version"] == "round-000"
        assert prediction["score"] == pytest.approx(1 - task["data"]["al_uncertainty"])
        one = pool.detections[image_id]
        values = [
            [r["value"][k] for k in ("x", "y", "width", "height", "rotation")] for r in prediction["result"]
        ] or np.zeros((0, 5))
        np.testing.assert_allclose(from_label_studio(values, 320, 200), one.boxes, atol=1e-4)
        assert [r["value"]["rectanglelabels"] for r in prediction["result"]] == [[CLASSES[k]] for k in one.labels]
        np.testing.assert_allclose([r["score"] for r in prediction["result"]], one.scores)
    assert studio.call("GET", f"projects/{project}/")["model_version"] == "round-000"


def test_the_order_is_kept_when_people_ask_for_the_next_task(studio, pool):
    project = studio.project()
    push(studio, project, pool)
    seen = []
    for _ in pool.files:
        task = studio.call("GET", f"projects/{project}/next/")
        seen.append(task["data"]["al_image_id"])
        studio.submit(task, [])
    assert seen == list(pool.files)


def test_pushing_again_sends_nothing(studio, pool):
    project = studio.project()
    first = push(studio, project, pool)
    before = studio.tasks(project)
    with proxy_to(studio.server.url) as proxy:
        again = push(studio, project, pool, client=LabelStudio.connect(proxy.url, studio.server.token))
        assert proxy.sent("POST", "/import") == 0
    assert again.tasks == first.tasks
    assert again.created == again.updated == []
    assert studio.tasks(project) == before


def test_a_new_rounds_predictions_take_the_place_of_the_last_ones(studio, pool):
    project = studio.project()
    ids = list(pool.files)
    push(studio, project, pool, ids[:4])
    push(studio, project, pool, ["unseen"], version=None)
    moved = pool.detections.boxes + np.float32([3, 0, 0, 0, 0])
    later = pool.detections.replace(boxes=moved)
    pushed = push(studio, project, pool, version="round-001", detections=later)
    assert pushed.created == ["empty", "x'y"]
    assert pushed.updated == ids[:4]
    for image_id, task in by_image(studio.tasks(project)).items():
        if image_id == "unseen":
            assert task["predictions"] == []
            continue
        (prediction,) = task["predictions"]
        assert prediction["model_version"] == "round-001"
        values = [[r["value"][k] for k in ("x", "y", "width", "height", "rotation")] for r in prediction["result"]]
        if values:
            np.testing.assert_allclose(from_label_studio(values, 320, 200), later[image_id].boxes, atol=1e-4)
    assert studio.call("GET", f"projects/{project}/")["model_version"] == "round-001"


def test_tasks_that_lost_their_predictions_get_them(studio, pool):
    """Label Studio keeps the tasks and drops all predictions when one of them displeases it."""
    project = studio.project()
    push(studio, project, pool, version=None)
    assert not any(task["predictions"] for task in studio.tasks(project))
    assert len(push(studio, project, pool).updated) == 6
    assert push(studio, project, pool).updated == []
    assert Counter(len(task["predictions"]) for task in studio.tasks(project)) == {1: 6, 0: 1}


def test_what_cannot_be_sent_is_not(studio, pool):
    project = studio.project()
    with pytest.raises(ValueError, match="it lacks plane"):
        push(studio, project, pool, detections=pool.detections.replace(classes=("ship", "plane", "court")))
    with pytest.raises(ValueError, match="expected distinct images"):
        push(studio, project, pool, ["plain", "plain"])
    elsewhere = type(pool)({**pool.files, "plain": studio.root.parent / "plain.png"}, pool.detections)
    with pytest.raises(ValueError, match=r"below the document root .*'plain'.*images='upload'"):
        push(studio, project, elsewhere)
    assert studio.tasks(project) == []


def test_uploads(studio, pool):
    project = studio.project()
    ranking = ["plain", "ä/ö"]
    for _ in range(2):
        studio.client.push(project, ranking, pool.detections, pool.files, Uploads(), "round-000")
    tasks = by_image(studio.tasks(project))
    assert list(tasks) == ranking
    for image_id, task in tasks.items():
        headers = {"Authorization": f"Token {studio.server.token}"}
        picture = httpx.get(studio.server.url + task["data"]["image"], headers=headers)
        assert picture.content == pool.files[image_id].read_bytes()
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


# Push, and what can go wrong.


@pytest.mark.parametrize(
    "faults",
    [
        [Fault("refuse", status=500)],
        [Fault("refuse", status=429, headers={"Retry-After": "1"}, times=2)],
        [Fault("lie", status=500)],
        [Fault("lie", status=504), Fault("refuse", "GET", "/api/tasks", status=502, after=2)],
        [Fault("cut")],
        [Fault("hang", seconds=4)],
        [Fault("lie", status=500), Fault("lie", status=409, times=3, after=1)],
        [Fault("cut", "PATCH", "/api/projects")],
    ],
    ids=lambda faults: "+".join(f"{fault.kind} {fault.status}" for fault in faults),
)
def test_every_task_is_there_once_after_a_fault(studio, pool, quick, faults):
    project = studio.project()
    with proxy_to(studio.server.url) as proxy:
        client = LabelStudio.connect(proxy.url, studio.server.token, timeout=2)
        proxy.faults = [Fault(**vars(fault)) for fault in faults]
        for _ in range(2):
            # Only a change of the project, which is not tried again by itself, comes to the caller's ears.
            with suppress(*[LabelStudioError] * ("PATCH" in {fault.method for fault in faults})):
                push(studio, project, pool, client=client)
                break
    tasks = studio.tasks(project)
    assert [task["data"]["al_image_id"] for task in tasks] == list(pool.files)
    assert [len(task["predictions"]) for task in tasks] == [1] * 6 + [0]


@pytest.mark.parametrize("seconds", [0.5, 2.5])
def test_what_is_done_after_all(studio, pool, monkeypatch, seconds):
    """The proxy gives up, the server does not: it is waited for; and what comes later still is not there twice."""
    monkeypatch.setattr(_push, "pauses", lambda attempts: (time.sleep(0.6) or i for i in range(attempts)))
    project = studio.project()
    with proxy_to(studio.server.url) as proxy:
        client = LabelStudio.connect(proxy.url, studio.server.token)
        slow_patch = Fault("hang", "PATCH", "/api/projects", seconds=0)
        proxy.faults = [Fault("late", status=504, seconds=seconds), slow_patch]
        push(studio, project, pool, client=client)
        imports = proxy.sent("POST", "/import")
    assert imports == (1 if seconds < 1 else 2)
    time.sleep(2)
    push(studio, project, pool)
    assert sorted(task["data"]["al_image_id"] for task in studio.tasks(project)) == sorted(pool.files)


def test_a_server_that_keeps_refusing(studio, pool, quick):
    project = studio.project()
    with proxy_to(studio.server.url) as proxy:
        client = LabelStudio.connect(proxy.url, studio.server.token)
        proxy.faults = [Fault("refuse", status=500, times=99)]
        with pytest.raises(LabelStudioError, match=r"7 of 7 tasks are not in project .*'a b'; push again .*500"):
            push(studio, project, pool, client=client)
        assert proxy.sent("POST", "/import") <= _push.ATTEMPTS
        proxy.faults = []
        push(studio, project, pool, client=client)
    assert len(studio.tasks(project)) == 7


PUSHER = """
import sys, json
from al_rotate import RotatedInstances
from al_rotate.bridge import _push
from al_rotate.bridge.client import LabelStudio, addresses
url, token, project, file, detections = sys.argv[1:]
_push.BATCH_TASKS = 20
found = RotatedInstances.load(detections)
files = {i: file for i in found.image_ids}
LabelStudio.connect(url, token).push(
    int(project), list(files), found, files, addresses("https://tiles.example/{image_id}"), "round-000"
)
"""


@pytest.mark.parametrize("victim", ["client", "server"])
def test_killed_in_mid_push(studio, pool, tmp_path, victim):
    """Either side is killed while 400 tasks are on their way; the same push then completes them."""
    rng = np.random.default_rng(0)
    ids = [f"tile_{k:04d}" for k in range(400)]
    many = rng.uniform([50, 50, 20, 10, -1.5], [250, 150, 40, 20, 1.5], (4000, 5))
    found = RotatedInstances(
        ids, np.arange(0, 4001, 10), boxes.canonical(many), np.zeros(4000, int), np.full(4000, 0.5), classes=CLASSES
    )
    project = studio.project()
    command = [sys.executable, "-c", PUSHER, studio.server.url, studio.server.token, str(project)]
    command += [str(pool.files["plain"]), str(found.save(tmp_path / "found.parquet"))]
    with open(tmp_path / "log", "w") as log:
        pusher = subprocess.Popen(command, stdout=log, stderr=log)
        while studio.client.api.count(project) < 60:
            assert pusher.poll() is None, (tmp_path / "log").read_text()
        if victim == "client":
            pusher.send_signal(signal.SIGKILL)
        else:
            studio.server.kill()
            time.sleep(1)
            studio.server.start()
        pusher.wait()
    if victim == "client":
        assert 60 <= studio.client.api.count(project) < 400
        subprocess.run(command, check=True)
    tasks = list(studio.client.api.tasks(project, fields=["data", "predictions", "result"]))
    assert [task["data"]["al_image_id"] for task in tasks] == ids, (tmp_path / "log").read_text()
    assert all(len(one["result"]) == 10 for task in tasks for one in task["predictions"])
    assert {len(task["predictions"]) for task in tasks} == {1}


# Pull.


def correct(task, shift=(0.0, 0.0)):
    """The prediction's regions, moved by some pixels, as the page would send them."""
    result = json.loads(json.dumps(task["predictions"][0]["result"])) if task["predictions"] else []
    for region in result:
        region["value"]["x"] += 100 * shift[0] / 320
        region["value"]["y"] += 100 * shift[1] / 200
    return result


def test_what_is_pulled(studio, pool):
    project = studio.project()
    push(studio, project, pool)
    tasks = by_image(studio.tasks(project))
    studio.submit(tasks["a b"], correct(tasks["a b"], (5, -2.5)), seconds=31.5)
    studio.submit(tasks["ä/ö"], [], seconds=4)
    studio.skip(tasks["plain"])
    names, numbers = ("x", "y", "width", "height", "rotation"), to_label_studio([[90, 80, 60, 20, 0.7]], 320, 200)[0]
    value = dict(zip(names, numbers, strict=True))
    drawn = {"id": "new", "type": "rectanglelabels", "from_name": "label", "to_name": "image"}
    drawn |= {"original_width": 320, "original_height": 200, "image_rotation": 0}
    studio.submit(tasks["unseen"], [{**drawn, "value": {**value, "rectanglelabels": [CLASSES[2]]}}])

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
    there = reading.labels.image_index == reading.labels.position("a b")
    saw = reading.predicted.image_index == reading.predicted.position("a b")
    assert reading.label_ids[there].tolist() == reading.predicted_ids[saw].tolist()
    assert pulled.tasks == {image_id: task["id"] for image_id, task in tasks.items()}
    assert pulled.n_tasks == 7
    assert pulled.notes == []


def test_an_incremental_pull_brings_what_changed(studio, pool, monkeypatch):
    monkeypatch.setattr("al_rotate.bridge.client.OVERLAP", pd.Timedelta(0))
    project = studio.project()
    push(studio, project, pool)
    tasks = by_image(studio.tasks(project))
    first = studio.submit(tasks["a b"], correct(tasks["a b"]))
    second = studio.submit(tasks["plain"], correct(tasks["plain"]))
    cursor = studio.client.pull(project).cursor
    studio.submit(tasks["ä/ö"], correct(tasks["ä/ö"]))
    studio.call("PATCH", f"annotations/{first['id']}/", {"result": correct(tasks["a b"], (1, 1))})
    studio.call("DELETE", f"annotations/{second['id']}/")
    later = studio.client.pull(project, since=cursor)
    assert sorted(later.reading.labels.image_ids) == ["a b", "ä/ö"]
    assert later.reading.unanswered == ["plain"]
    expected = pool.detections["a b"].boxes + np.float32([1, 1, 0, 0, 0])
    np.testing.assert_allclose(later.reading.labels["a b"].boxes, expected, atol=1e-3)
    nothing = studio.client.pull(project, since=later.cursor)
    assert set(nothing.tasks) <= {"a b", "ä/ö", "plain"}  # at most the last moment again
    assert nothing.cursor == later.cursor


def test_what_is_answered_while_the_pages_are_read(studio, pool, monkeypatch):
    """A task of a page that is read already, then one of a page that is not: the next pull brings the first."""
    monkeypatch.setattr("al_rotate.bridge._api.PAGE", 3)
    monkeypatch.setattr("al_rotate.bridge.client.OVERLAP", pd.Timedelta(0))
    project = studio.project()
    push(studio, project, pool)
    tasks = list(by_image(studio.tasks(project)).values())
    pages = studio.client.api.tasks

    def disturbed(*arguments, **options):
        for count, task in enumerate(pages(*arguments, **options)):
            if count == 3:
                monkeypatch.setattr(studio.client.api, "tasks", pages)
                studio.submit(tasks[0], correct(tasks[0]))
                studio.submit(tasks[-2], correct(tasks[-2]))
            yield task

    monkeypatch.setattr(studio.client.api, "tasks", disturbed)
    first = studio.client.pull(project)
    later = studio.client.pull(project, since=first.cursor)
    name = tasks[0]["data"]["al_image_id"]
    assert name in {*first.reading.labels.image_ids} | {*later.reading.labels.image_ids}
    assert tasks[-2]["data"]["al_image_id"] in {*first.reading.labels.image_ids} | {*later.reading.labels.image_ids}


def test_a_task_whose_image_nobody_knows(studio, pool):
    """Somebody else's, with an address that ends in no file's name: it is left out, and the others come."""
    project = studio.project()
    push(studio, project, pool)
    studio.call("POST", f"projects/{project}/import", [{"image": "https://example.org/?id=3"}])
    pulled = studio.client.pull(project)
    assert len(pulled.tasks) == 7
    assert pulled.reading.account["action"].tolist() == ["left out"]


def test_an_expired_token():
    """A personal access token says itself until when it is good; no server is asked."""
    parts = ({"alg": "HS256", "typ": "JWT"}, {"exp": 1_600_000_000, "token_type": "refresh"}, {})
    token = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    with pytest.raises(NotAllowed, match="does not take this token"):
        LabelStudio.connect("http://127.0.0.1:9", token)
    with pytest.raises(NotAllowed, match="odd characters"):
        LabelStudio.connect("http://127.0.0.1:9", "tökenx")


def test_pages(studio, pool, monkeypatch):
    """Tasks that come and go between two pages shift nothing."""
    monkeypatch.setattr("al_rotate.bridge._api.PAGE", 3)
    project = studio.project()
    tasks = push(studio, project, pool).tasks
    pages = studio.client.api.tasks(project, fields=["data"])
    seen = [next(pages)["data"]["al_image_id"] for _ in range(3)]
    studio.call("DELETE", f"tasks/{tasks['a b']}/")
    studio.call("POST", f"projects/{project}/import", [{"image": "/data/other.png"}])
    rest = [task["data"].get("al_image_id") for task in pages]
    assert seen + rest == [*pool.files, None]


def test_a_short_answer_is_an_error(studio, pool, monkeypatch):
    """A task that is lost on the way would be a label that is lost."""
    project = studio.project()
    push(studio, project, pool)

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
        monkeypatch.setattr("al_rotate.bridge._api.PAGE", 3)
        proxy.faults = [Fault("refuse", "GET", "/api/tasks", status=404, after=2)]
        with pytest.raises(LabelStudioError, match="404"):
            client.pull(project)
        proxy.faults = [Fault("refuse", "GET", "/api/tasks", status=503, times=2, headers={"Retry-After": "1"})]
        assert len(client.pull(project).tasks) == 7


def test_a_deleted_task_is_missed(studio, pool):
    project = studio.project()
    tasks = push(studio, project, pool).tasks
    studio.call("DELETE", f"tasks/{tasks['plain']}/")
    pulled = studio.client.pull(project)
    assert pulled.n_tasks == 6
    assert tasks.keys() - studio.client.task_ids(project).keys() == {"plain"}


def test_a_renamed_label(studio, pool):
    project = studio.project()
    push(studio, project, pool)
    tasks = by_image(studio.tasks(project))
    old = studio.call("GET", f"projects/{project}/")["label_config"]
    studio.call("PATCH", f"projects/{project}/", {"label_config": old.replace('"ship"', '"vessel"')})
    result = correct(tasks["plain"])
    for region in result:
        region["value"]["rectanglelabels"] = ["vessel"]
    studio.submit(tasks["plain"], result)
    pulled = studio.client.pull(project, CLASSES)
    assert len(pulled.reading.labels) == 0
    assert "vessel" in pulled.reading.quarantined["plain"]
    assert "lacks ship and adds vessel; if a label was renamed, say rename=" in pulled.notes[0]
    again = studio.client.pull(project, CLASSES, rename={"vessel": "ship"})
    assert again.reading.labels["plain"].labels.tolist() == [0] * 4
    assert again.notes == []
