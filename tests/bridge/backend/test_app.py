"""The ML backend over its HTTP, with a real detector; Label Studio itself is in test_connected."""

import base64
import json
import logging
import re
import threading

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from al_rotate import ActiveLoop
from al_rotate.bridge.backend import app
from al_rotate.bridge.backend.jobs import Busy, jobs
from al_rotate.bridge.backend.models import CheckpointModels, WorkspaceModels
from al_rotate.bridge.backend.service import MAX_TASKS, Service
from al_rotate.bridge.conversion.geometry import from_label_studio
from al_rotate.bridge.conversion.label_config import to_xml
from al_rotate.data import synthetic

pytestmark = pytest.mark.mm
NAMES = ("x", "y", "width", "height", "rotation")
XML = to_xml(synthetic.CLASSES)
TOKEN = "0123456789abcdef0123456789abcdef01234567"
SCORE_THR = 0.05


@pytest.fixture
def open_service(scenes, finetuned, many_boxes, tmp_path):
    """A service of the small detector; options as of Service."""
    opened = []

    def make(home=None, **options):
        home = home or CheckpointModels(finetuned.config, finetuned.checkpoint, "cpu", many_boxes, tmp_path / "backend")
        options = {"score_thr": SCORE_THR, "document_root": scenes.images.parent} | options
        opened.append(Service(home, **options).start())
        return opened[-1]

    yield make
    for service in opened:
        service.stop()


@pytest.fixture
def service(open_service):
    return open_service()


def client(service, **options):
    made = app.create_app(service, **options)
    return TestClient(made, base_url="http://127.0.0.1:8003", raise_server_exceptions=False)


def local(name, number=1):
    return {"id": number, "data": {"image": f"/data/local-files/?d=images/{name}.jpg"}, "predictions": []}


def request(*tasks, xml=XML):
    """As Label Studio 1.23 sends it."""
    params = {"login": None, "password": None, "context": None}
    return {"tasks": list(tasks), "project": "1.1700000000", "label_config": xml, "params": params}


def boxes_of(result, size=(128, 128)):
    values = [[region["value"][name] for name in NAMES] for region in result]
    return from_label_studio(np.reshape(values, (-1, 5)), *size)


def test_what_is_predicted(service, scenes, detector):
    """All tasks in order, as the detector has them; a bad one is answered by nothing and takes none with it."""
    ids = scenes.labels.image_ids.tolist()[:5][::-1]
    bad = [local("gone", 90), {"id": 91, "data": {}}, {"id": 92}, "task", local("../../etc/passwd", 94)]
    given = [local(ids[0], 1), bad[0], local(ids[1], 2), *bad[1:], *(local(i, k) for k, i in enumerate(ids[2:], 3))]
    answer = client(service).post("/predict", json=request(*given))
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert len(results) == len(given)
    assert [k for k, one in enumerate(results) if one == []] == [1, 3, 4, 5, 6]
    alone = detector.predict({i: scenes.images / f"{i}.jpg" for i in ids})
    for image_id, one in zip(ids, [one for one in results if one], strict=True):
        found = alone[image_id]
        found = found.where(found.scores >= SCORE_THR)
        assert [r["value"]["rectanglelabels"] for r in one["result"]] == [
            [synthetic.CLASSES[k]] for k in found.labels.tolist()
        ]
        np.testing.assert_allclose(boxes_of(one["result"]), found.boxes, atol=1e-3)
        np.testing.assert_allclose([r["score"] for r in one["result"]], found.scores, atol=1e-6)
        assert one["model_version"] == service.version
        assert 0 <= one["score"] <= 1
    assert sum(len(one["result"]) for one in results if one) > 10
    told = {where: why for _, where, why in service.notes}
    assert "no such file" in told["task 90"]
    assert "expected the address of an image in the task, got None" in told["task 91"]
    assert told["task 92"] == "expected a task with data, got dict"
    assert told["task None"] == "expected a task with data, got str"
    assert "leaves the document root" in told["task 94"]
    page = client(service).get("/").text
    assert all(word in page for word in (service.version, "task 94", "leaves the document root"))


def test_an_image_that_the_detector_cannot_read(service, scenes):
    """It has a header and nothing else."""
    broken = scenes.images.parent / "broken.jpg"
    broken.write_bytes((scenes.images / f"{scenes.labels.image_ids[0]}.jpg").read_bytes()[:200])
    try:
        task = {"id": 7, "data": {"image": "/data/local-files/?d=broken.jpg"}}
        good = [local(i) for i in scenes.labels.image_ids[:2]]
        results = client(service).post("/predict", json=request(good[0], task, good[1])).json()["results"]
    finally:
        broken.unlink()
    assert [bool(one) for one in results] == [True, False, True]


def test_a_turned_photograph(service, scenes, detector):
    """Stored on its side with an EXIF orientation: answered as the browser shows it."""
    upright = Image.open(scenes.images / f"{scenes.labels.image_ids[0]}.jpg").crop((0, 0, 128, 90))
    stored = scenes.images.parent / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # the stored picture is shown turned by 90 degrees to the right
    upright.rotate(90, expand=True).save(stored, quality=95, exif=exif)
    try:
        task = {"id": 1, "data": {"image": "/data/local-files/?d=turned.jpg"}}
        (one,) = client(service).post("/predict", json=request(task)).json()["results"]
        expected = detector.predict({"turned": stored})
    finally:
        stored.unlink()
    sizes = {(region["original_width"], region["original_height"]) for region in one["result"]}
    assert sizes == {(128, 90)}
    expected = expected.where(expected.scores >= SCORE_THR)
    np.testing.assert_allclose(boxes_of(one["result"], (128, 90)), expected.boxes, atol=1e-3)


def test_labels_that_are_written_otherwise(service, scenes):
    task = local(scenes.labels.image_ids[0])
    renamed = [name.upper().replace("-", " ") for name in synthetic.CLASSES]
    (one,) = client(service).post("/predict", json=request(task, xml=to_xml(renamed))).json()["results"]
    assert {r["value"]["rectanglelabels"][0] for r in one["result"]} <= {*renamed}
    assert one["result"]
    few = client(service).post("/predict", json=request(task, xml=to_xml(renamed[:1]))).json()["results"][0]
    assert {r["value"]["rectanglelabels"][0] for r in few["result"]} <= {renamed[0]}
    assert any(why.startswith("the project has no label for") for _, _, why in service.notes)
    answer = client(service).post("/predict", json=request(task, xml=to_xml(["cat"])))
    assert answer.status_code == 422
    assert "none of the model's classes" in answer.json()["detail"]
    assert "is a label of the project (cat)" in service.last_error[1]


def test_who_it_is(service, finetuned):
    ours = client(service)
    assert ours.get("/health").json() == {"status": "UP", "model_class": "al_rotate", "model_version": service.version}
    assert ours.get("/versions").json() == {"versions": [service.version]}
    body = {"project": "1.17", "schema": XML, "hostname": "http://localhost:8080", "access_token": TOKEN}
    assert ours.post("/setup", json=body).json() == {"model_version": service.version}
    page = ours.get("/").text
    assert "http://localhost:8080" in page
    assert TOKEN not in page
    assert service.version.startswith(finetuned.checkpoint.stem)
    # Who says afterwards that Label Studio is elsewhere gets nothing.
    ours.post("/setup", json=body | {"hostname": "http://127.0.0.1:9999", "access_token": "f" * 40})
    assert "9999" not in ours.get("/").text


def test_who_says_that_label_studio_is_on_another_machine_is_not_believed(service):
    body = {"schema": XML, "hostname": "http://attacker.example", "access_token": TOKEN}
    assert client(service).post("/setup", json=body).status_code == 200
    assert "not met yet" in client(service).get("/").text


def test_health_and_setup_do_not_wait_for_the_model(service, scenes):
    """The model's thread is kept busy until both have answered."""
    ours, free, answers = client(service), threading.Event(), []
    service._model.submit(free.wait)
    asked = threading.Thread(
        target=lambda: answers.append(ours.post("/predict", json=request(local(scenes.labels.image_ids[0]))))
    )
    asked.start()
    try:
        assert ours.get("/health").status_code == 200
        assert ours.post("/setup", json={"schema": XML}).status_code == 200
        assert ours.post("/webhook", json={"action": "PROJECT_UPDATED"}).json() == {"status": "ignored"}
        assert ours.get("/").status_code == 200
        assert not answers
    finally:
        free.set()
        asked.join()
    assert answers[0].json()["results"][0]["result"]


def test_not_everybody_can_wait(open_service, monkeypatch, scenes):
    monkeypatch.setattr(f"{Service.__module__}.MAX_WAITING", 0)
    answer = client(open_service()).post("/predict", json=request(local(scenes.labels.image_ids[0])))
    assert answer.status_code == 503
    assert "try again later" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "content", "status", "detail"),
    [
        ("/predict", "{", 400, "expected JSON"),
        ("/predict", "[" * 100_000, 400, "expected JSON"),
        ("/predict", "[]", 422, "expected a JSON object, got list"),
        ("/predict", "{}", 422, "expected a list of tasks, got NoneType"),
        ("/predict", json.dumps(request(xml=None)), 422, "expected a labelling configuration, got NoneType"),
        ("/predict", json.dumps(request(xml="<View/>")), 422, "expected one RectangleLabels over an Image, got 0"),
        ("/predict", json.dumps(request(*[{}] * (MAX_TASKS + 1))), 413, f"expected at most {MAX_TASKS} tasks, got"),
        ("/setup", '{"schema": "<View/>"}', 422, "expected one RectangleLabels"),
        ("/webhook", '{"action": "START_TRAINING"}', 422, "expected the id of the project to train on, got none"),
    ],
    ids=range(9),
)
def test_what_is_refused(service, path, content, status, detail):
    answer = client(service).post(path, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert answer.json()["detail"].startswith(detail)
    assert jobs(service.home.folder) == []


def test_who_may_call(service, monkeypatch):
    monkeypatch.setattr(app, "MAX_BODY", 1000)
    # A web page can post forms and plain text to any address, and can point its own name at this machine.
    ours = client(service, hosts=["localhost", "127.0.0.1"])
    assert ours.post("/webhook", content="{}", headers={"Content-Type": "text/plain"}).status_code == 415
    assert ours.post("/webhook", data={"action": "START_TRAINING"}).status_code == 415
    for host in ("evil.example", "evil.example:8003", "127.0.0.1.evil.example", ""):
        assert ours.get("/health", headers={"Host": host}).status_code == 400
    for host in ("localhost:8003", "127.0.0.1", "LOCALHOST"):
        assert ours.get("/health", headers={"Host": host}).status_code == 200
    # Too large: by what it says, and by what it is.
    assert ours.post("/predict", json={"x": "y" * 1000}).status_code == 413
    sent = iter([b"x" * 600] * 3)
    assert ours.post("/predict", content=sent, headers={"Content-Type": "application/json"}).status_code == 413
    # With a password.
    locked = client(service, user="me", password="a secret word")
    right = {"Authorization": f"Basic {base64.b64encode(b'me:a secret word').decode()}"}
    for path in ("/health", "/", "/versions", "/nothing"):
        assert locked.get(path).status_code == 401
        assert locked.get(path, headers=right).status_code in (200, 404)
    assert locked.post("/predict", json=request(), headers=right).json()["results"] == []
    assert locked.get("/health", auth=("me", "another")).status_code == 401
    assert locked.post("/webhook", json={"action": "ANNOTATION_CREATED"}).status_code == 401
    assert any("give the project's webhook the header Authorization" in why for _, _, why in service.notes)


def annotated(action="ANNOTATION_CREATED", many=None, project=3, **more):
    one = {"id": 1, "was_cancelled": False} | more
    return {"action": action, "project": {"id": project}, "annotation": one if many is None else [one] * many}


def test_annotations_are_counted(open_service, tmp_path):
    """Skips are none, a restart forgets none, and the fourth asks for a training."""
    service = open_service(train_every=4)
    service.queue.tick = lambda: jobs(service.home.folder)  # nothing is begun here
    ours = client(service)

    def count(body):
        return ours.post("/webhook", json=body).json()

    assert count(annotated()) == {"status": "counted", "annotations": 1}
    assert count(annotated(was_cancelled=True)) == {"status": "counted", "annotations": 1}
    assert count(annotated("ANNOTATION_UPDATED")) == {"status": "ignored"}
    assert count(annotated("ANNOTATIONS_CREATED", many=2)) == {"status": "counted", "annotations": 3}
    service.stop()
    again = open_service(train_every=4)
    again.queue.tick = lambda: jobs(again.home.folder)
    ours = client(again)
    assert count(annotated()) == {"status": "queued", "training": 1}
    assert count(annotated()) == {"status": "counted", "annotations": 1}
    (job,) = jobs(tmp_path / "backend")
    assert (job.state, job.request["reason"], job.request["project"]) == ("waiting", "4 new annotations", 3)
    assert "4 new annotations (project 3)" in ours.get("/").text
    answer = ours.post("/webhook", json={"action": "START_TRAINING", "project": {"id": 5}})
    assert answer.status_code == 409
    assert "training 1, for project 3, waits already" in answer.json()["detail"]


def test_a_workspace_that_has_learnt_nothing_yet(open_service, scenes, tmp_path):
    """Random weights have nothing to say; the page tells so, and a training can be asked for."""
    from al_rotate.detection.detector import Detector
    from al_rotate.detection.small_models import small_rtmdet

    folder = tmp_path / "work"
    config, options = "rotated_rtmdet_tiny-3x-dota", small_rtmdet(128, 2)
    untrained = Detector(config, device="cpu", cfg_options=options, classes=synthetic.CLASSES)
    ActiveLoop(folder, scenes.images, synthetic.CLASSES, untrained, budget=2).close()
    service = open_service(WorkspaceModels(folder))
    answer = client(service).post("/predict", json=request(local(scenes.labels.image_ids[0])))
    assert answer.status_code == 422
    assert "initial has random weights: label the first images and train" in answer.json()["detail"]
    assert "it predicts nothing" in re.sub(r"\s+", " ", client(service).get("/").text)
    with pytest.raises(Busy, match="another service works in"):
        Service(WorkspaceModels(folder))


def test_what_cannot_be_served(finetuned, tmp_path):
    for arguments, message in [
        ({}, "expected either a workspace, or a config with a checkpoint"),
        ({"workspace": tmp_path, "config": "x"}, "expected either a workspace"),
        ({"config": finetuned.config}, "expected a checkpoint: without weights there is nothing to serve"),
        ({"config": finetuned.config, "checkpoint": finetuned.checkpoint, "user": "me"}, "user and password together"),
        (
            {"config": finetuned.config, "checkpoint": finetuned.checkpoint, "host": "0.0.0.0"},
            "expected user and password to serve on 0.0.0.0",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            app.serve(**{"work_dir": tmp_path / "backend"} | arguments)
    with pytest.raises(FileNotFoundError, match="expected a checkpoint, there is no file"):
        app.serve(config=finetuned.config, checkpoint=tmp_path / "none.pth", work_dir=tmp_path / "backend")
    with pytest.raises(FileNotFoundError):
        app.serve(tmp_path / "nowhere")


def test_what_fails_is_told_without_secrets(service, caplog):
    client(service).post("/setup", json={"schema": XML, "hostname": "http://localhost:8080", "access_token": TOKEN})
    service.home.versions = lambda: (_ for _ in ()).throw(OSError(f"no disk for {TOKEN}"))
    with caplog.at_level(logging.INFO):
        answer = client(service).get("/versions")
    assert answer.status_code == 500
    assert answer.json() == {"detail": "this failed; the status page says why"}
    assert service.last_error[1] == "/versions: OSError: no disk for [hidden]"
