"""Who may call the ML backend, what it refuses, and how trainings are requested."""

import base64
import json
import logging

import pytest
from helpers.bridge.label_studio import predict_request

from al_rotate.bridge.backend import app
from al_rotate.bridge.backend.jobs import jobs
from al_rotate.bridge.backend.service import MAX_TASKS
from al_rotate.bridge.conversion.label_config import to_xml
from al_rotate.data import synthetic

pytestmark = pytest.mark.mm
XML = to_xml(synthetic.CLASSES)
TOKEN = "0123456789abcdef0123456789abcdef01234567"


def test_what_it_says_of_itself(service, http, finetuned):
    client = http(service)
    health = {"status": "UP", "model_class": "al_rotate", "model_version": service.version}
    assert client.get("/health").json() == health
    assert client.get("/versions").json() == {"versions": [service.version]}
    body = {"project": "1.17", "schema": XML, "hostname": "http://localhost:8080", "access_token": TOKEN}
    assert client.post("/setup", json=body).json() == {"model_version": service.version}
    page = client.get("/").text
    assert "http://localhost:8080" in page
    assert TOKEN not in page
    assert service.version.startswith(finetuned.checkpoint.stem)
    # A later claim that Label Studio is elsewhere changes nothing.
    client.post("/setup", json=body | {"hostname": "http://127.0.0.1:9999", "access_token": "f" * 40})
    assert "9999" not in client.get("/").text


def test_label_studio_on_another_machine_must_be_named_in_the_options(service, http):
    body = {"schema": XML, "hostname": "http://attacker.example", "access_token": TOKEN}
    assert http(service).post("/setup", json=body).status_code == 200
    assert "not met yet" in http(service).get("/").text


@pytest.mark.parametrize(
    ("path", "content", "status", "detail"),
    [
        ("/predict", "{", 400, "expected JSON"),
        ("/predict", "[" * 100_000, 400, "expected JSON"),
        ("/predict", "[]", 422, "expected a JSON object, got list"),
        ("/predict", "{}", 422, "expected a list of tasks, got NoneType"),
        ("/predict", json.dumps(predict_request(xml=None)), 422, "expected a labelling configuration, got NoneType"),
        (
            "/predict",
            json.dumps(predict_request(xml="<View/>")),
            422,
            "expected one RectangleLabels over an Image, got 0",
        ),
        (
            "/predict",
            json.dumps(predict_request(*[{}] * (MAX_TASKS + 1), xml=XML)),
            413,
            f"expected at most {MAX_TASKS} tasks, got",
        ),
        ("/setup", '{"schema": "<View/>"}', 422, "expected one RectangleLabels over an Image, got 0"),
        ("/webhook", '{"action": "START_TRAINING"}', 422, "expected the id of the project to train on, got none"),
    ],
    ids=range(9),
)
def test_what_is_refused(service, http, path, content, status, detail):
    answer = http(service).post(path, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert answer.json()["detail"].startswith(detail)
    assert jobs(service.source.folder) == []


def test_web_pages_may_not_call(service, http):
    """A web page can post forms and plain text to any address, and can point its own name at this machine."""
    client = http(service)
    assert client.post("/webhook", content="{}", headers={"Content-Type": "text/plain"}).status_code == 415
    assert client.post("/webhook", data={"action": "START_TRAINING"}).status_code == 415
    for host in ("evil.example", "evil.example:8003", "127.0.0.1.evil.example", ""):
        assert client.get("/health", headers={"Host": host}).status_code == 400
    for host in ("localhost:8003", "127.0.0.1", "LOCALHOST", "[::1]:8003"):
        assert client.get("/health", headers={"Host": host}).status_code == 200
    # On another address it may have any name.
    public = http(service, host="0.0.0.0")
    assert public.get("/health", headers={"Host": "backend.example"}).status_code == 200


def test_bodies_that_are_too_large(service, http, monkeypatch):
    """By what they say, and by what they are."""
    monkeypatch.setattr(app, "MAX_BODY", 1000)
    client = http(service)
    assert client.post("/predict", json={"x": "y" * 1000}).status_code == 413
    sent = iter([b"x" * 600] * 3)
    assert client.post("/predict", content=sent, headers={"Content-Type": "application/json"}).status_code == 413


def test_a_password(service, http):
    locked = http(service, user="me", password="a secret word")
    right = {"Authorization": f"Basic {base64.b64encode(b'me:a secret word').decode()}"}
    for path in ("/health", "/", "/versions", "/nothing"):
        assert locked.get(path).status_code == 401
        assert locked.get(path, headers=right).status_code in (200, 404)
    body = predict_request(xml=XML)
    assert locked.post("/predict", json=body, headers=right).json()["results"] == []
    assert locked.get("/health", auth=("me", "another")).status_code == 401
    assert locked.post("/webhook", json={"action": "ANNOTATION_CREATED"}).status_code == 401
    assert any("give the project's webhook the header Authorization" in note.why for note in service.journal.notes)


def annotation_event(action="ANNOTATION_CREATED", n=None, project=3, **more):
    annotation = {"id": 1, "was_cancelled": False} | more
    content = annotation if n is None else [annotation] * n
    return {"action": action, "project": {"id": project}, "annotation": content}


def test_annotations_are_counted(open_service, http, tmp_path):
    """Skips do not count, a restart forgets none, and the fourth queues a training."""
    service = open_service(train_every=4)
    service.queue.tick = lambda: jobs(service.source.folder)  # nothing begins here
    client = http(service)

    def count(body):
        return client.post("/webhook", json=body).json()

    assert count(annotation_event()) == {"status": "counted", "annotations": 1}
    assert count(annotation_event(was_cancelled=True)) == {"status": "counted", "annotations": 1}
    assert count(annotation_event("ANNOTATION_UPDATED")) == {"status": "ignored"}
    assert count(annotation_event("ANNOTATIONS_CREATED", n=2)) == {"status": "counted", "annotations": 3}
    service.stop()
    again = open_service(train_every=4)
    again.queue.tick = lambda: jobs(again.source.folder)
    client = http(again)
    assert count(annotation_event()) == {"status": "queued", "training": 1}
    assert count(annotation_event()) == {"status": "counted", "annotations": 1}
    (job,) = jobs(tmp_path / "backend")
    assert (job.state, job.request["reason"], job.request["project"]) == ("waiting", "4 new annotations", 3)
    assert "4 new annotations (project 3)" in client.get("/").text
    answer = client.post("/webhook", json={"action": "START_TRAINING", "project": {"id": 5}})
    assert answer.status_code == 409
    assert "training 1, for project 3, waits already" in answer.json()["detail"]


def test_a_round_does_not_end_with_every_answer(service, http):
    """Label Studio's switch asks for a training after each of them; without a workspace that is as good as any."""
    service.queue.tick = lambda: jobs(service.source.folder)
    body = {"action": "START_TRAINING", "project": {"id": 5, "start_training_on_annotation_update": True}}
    service.source.project = 5  # as that of a workspace
    answer = http(service).post("/webhook", json=body)
    assert answer.status_code == 422
    assert "'Start model training on annotation submission' is on" in answer.json()["detail"]
    assert "&#39;Start model training on annotation submission&#39; is on" in http(service).get("/").text
    assert jobs(service.source.folder) == []
    body["project"]["start_training_on_annotation_update"] = False
    assert http(service).post("/webhook", json=body).json()["status"] == "queued"


def test_without_a_common_label_it_is_not_connected(service, http):
    body = {"schema": to_xml(["cow", "sheep"]), "hostname": "http://localhost:8080", "access_token": TOKEN}
    answer = http(service).post("/setup", json=body)
    assert answer.status_code == 422
    said = f"none of the model's classes ({', '.join(synthetic.CLASSES)}) is a label of the project (cow, sheep)"
    assert said in answer.json()["detail"]
    assert said.replace("'", "&#39;") in http(service).get("/").text
    assert http(service).post("/setup", json=body | {"schema": to_xml(["cow", "Ship"])}).status_code == 200


def test_what_a_training_may_fetch(open_service, http, scenes):
    """The same as the service."""
    service = open_service(allow_hosts=["images.example:9000"])
    service.queue.tick = lambda: jobs(service.source.folder)
    body = {"action": "START_TRAINING", "project": {"id": 5}}
    assert http(service).post("/webhook", json=body).json() == {"status": "queued", "training": 1}
    (job,) = jobs(service.source.folder)
    limits = {"bytes": 100 << 20, "pixels": 150_000_000, "seconds": 30.0}
    root = str(scenes.images.parent)
    assert job.request["fetch"] == {"hosts": ["images.example:9000"], "document_root": root, "limits": limits}


def test_what_cannot_be_served(finetuned, tmp_path):
    for options, message in [
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
            app.serve(**{"work_dir": tmp_path / "backend"} | options)
    with pytest.raises(FileNotFoundError, match="expected a checkpoint, there is no file"):
        app.serve(config=finetuned.config, checkpoint=tmp_path / "none.pth", work_dir=tmp_path / "backend")
    with pytest.raises(FileNotFoundError):
        app.serve(tmp_path / "nowhere")


def test_failures_are_reported_without_secrets(service, http, caplog):
    body = {"schema": XML, "hostname": "http://localhost:8080", "access_token": TOKEN}
    http(service).post("/setup", json=body)
    service.source.versions = lambda: (_ for _ in ()).throw(OSError(f"no disk for {TOKEN}"))
    with caplog.at_level(logging.INFO):
        answer = http(service).get("/versions")
    assert answer.status_code == 500
    assert answer.json() == {"detail": "this failed; the status page says why"}
    log = service.source.folder / "service.log"
    assert service.journal.last_error[1] == f"/versions: OSError: no disk for [hidden]; the traceback is in {log}"
