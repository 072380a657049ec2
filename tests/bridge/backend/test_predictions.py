"""What the ML backend predicts, over its HTTP, with a real detector."""

import json
import re
import socket
import threading

import numpy as np
import pytest
from helpers.bridge.label_studio import boxes_of, labels_in, local_task, names_in, predict_request
from PIL import Image

from al_rotate import ActiveLoop
from al_rotate.bridge.backend import predictor
from al_rotate.bridge.backend.jobs import Busy
from al_rotate.bridge.backend.models import WorkspaceModels
from al_rotate.bridge.backend.service import MAX_WAITING, Service
from al_rotate.bridge.conversion.label_config import to_xml
from al_rotate.data import synthetic

pytestmark = pytest.mark.mm


@pytest.fixture
def predict(http):
    """Sends /predict, as Label Studio does."""

    def predict(service, *tasks, classes=synthetic.CLASSES):
        return http(service).post("/predict", json=predict_request(*tasks, xml=to_xml(classes)))

    return predict


@pytest.fixture
def put_image(scenes):
    """Puts a file into the document root; its task. The file is removed after the test."""
    files = []

    def put_image(name, save):
        files.append(scenes.images.parent / name)
        save(files[-1])
        return {"id": 7, "data": {"image": f"/data/local-files/?d={name}"}}

    yield put_image
    for file in files:
        file.unlink()


def test_all_tasks_in_order(service, predict, http, scenes, served_detector, score_thr):
    """They are answered as the detector sees them; a bad one is answered by nothing and affects no other."""
    ids = scenes.labels.image_ids.tolist()[:5][::-1]
    bad = [local_task("gone", 90), {"id": 91, "data": {}}, {"id": 92}, "task", local_task("../../etc/passwd", 94)]
    good = [local_task(image_id, number) for number, image_id in enumerate(ids, start=1)]
    tasks = [good[0], bad[0], good[1], *bad[1:], *good[2:]]
    answer = predict(service, *tasks)
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert len(results) == len(tasks)
    assert [k for k, result in enumerate(results) if result == []] == [1, 3, 4, 5, 6]
    detections = served_detector.predict({i: scenes.images / f"{i}.jpg" for i in ids})
    for image_id, result in zip(ids, [result for result in results if result], strict=True):
        expected = detections[image_id]
        expected = expected.where(expected.scores >= score_thr)
        regions = result["result"]
        assert names_in(regions) == [synthetic.CLASSES[k] for k in expected.labels.tolist()]
        np.testing.assert_allclose(boxes_of(regions, (128, 128)), expected.boxes, atol=1e-3)
        np.testing.assert_allclose([r["score"] for r in labels_in(regions)], expected.scores, atol=1e-6)
        assert result["model_version"] == service.version
        assert 0 <= result["score"] <= 1
    assert sum(len(result["result"]) for result in results if result) > 10
    notes = {note.where: note.why for note in service.journal.notes}
    assert "no such file" in notes["task 90"]
    assert "expected the address of an image in the task, got None" in notes["task 91"]
    assert notes["task 92"] == "expected a task with data, got dict"
    assert notes["task None"] == "expected a task with data, got str"
    assert "leaves the document root" in notes["task 94"]
    page = http(service).get("/").text
    assert all(word in page for word in (service.version, "task 94", "leaves the document root"))


def test_an_image_that_the_detector_cannot_read(service, predict, put_image, scenes):
    """It has a header and nothing else."""
    head = (scenes.images / f"{scenes.labels.image_ids[0]}.jpg").read_bytes()[:200]
    broken = put_image("broken.jpg", lambda file: file.write_bytes(head))
    first, second = (local_task(image_id) for image_id in scenes.labels.image_ids[:2])
    results = predict(service, first, broken, second).json()["results"]
    assert [bool(result) for result in results] == [True, False, True]


def test_a_rotated_photograph(service, predict, put_image, scenes, served_detector, score_thr):
    """Stored on its side with an EXIF orientation: the answer is for the image as the browser shows it."""
    upright = Image.open(scenes.images / f"{scenes.labels.image_ids[0]}.jpg").crop((0, 0, 128, 90))
    exif = Image.Exif()
    exif[0x0112] = 6  # the stored picture is shown rotated by 90 degrees to the right
    stored = upright.rotate(90, expand=True)
    task = put_image("turned.jpg", lambda file: stored.save(file, quality=95, exif=exif))
    (result,) = predict(service, task).json()["results"]
    expected = served_detector.predict({"turned": scenes.images.parent / "turned.jpg"})
    sizes = {(region["original_width"], region["original_height"]) for region in result["result"]}
    assert sizes == {(128, 90)}
    expected = expected.where(expected.scores >= score_thr)
    np.testing.assert_allclose(boxes_of(result["result"], (128, 90)), expected.boxes, atol=1e-3)


def test_labels_with_another_spelling(service, predict, scenes):
    task = local_task(scenes.labels.image_ids[0])
    names = [name.upper().replace("-", " ") for name in synthetic.CLASSES]
    (result,) = predict(service, task, classes=names).json()["results"]
    assert {*names_in(result["result"])} <= {*names}
    assert result["result"]
    (few,) = predict(service, task, classes=names[:1]).json()["results"]
    assert {*names_in(few["result"])} <= {names[0]}
    assert any(note.why.startswith("the project has no label for") for note in service.journal.notes)
    answer = predict(service, task, classes=["cat"])
    assert answer.status_code == 422
    assert "none of the model's classes" in answer.json()["detail"]
    assert "is a label of the project (cat)" in service.journal.last_error[1]


def test_health_and_setup_do_not_wait_for_the_model(service, http, scenes):
    """The model's thread is busy until both have answered."""
    client, free, answers = http(service), threading.Event(), []
    service.model_thread.submit(free.wait)
    body = predict_request(local_task(scenes.labels.image_ids[0]), xml=to_xml(synthetic.CLASSES))
    prediction = threading.Thread(target=lambda: answers.append(client.post("/predict", json=body)))
    prediction.start()
    try:
        assert client.get("/health").status_code == 200
        assert client.post("/setup", json={"schema": to_xml(synthetic.CLASSES)}).status_code == 200
        assert client.post("/webhook", json={"action": "PROJECT_UPDATED"}).json() == {"status": "ignored"}
        assert client.get("/").status_code == 200
        assert not answers
    finally:
        free.set()
        prediction.join()
    assert answers[0].json()["results"][0]["result"]


def test_only_so_many_requests_can_wait(service, predict, monkeypatch, scenes):
    monkeypatch.setattr(f"{Service.__module__}.MAX_WAITING", 0)
    answer = predict(service, local_task(scenes.labels.image_ids[0]))
    assert answer.status_code == 503
    assert "try again later" in answer.json()["detail"]


def test_a_workspace_with_an_untrained_start(open_service, predict, http, scenes, tmp_path):
    """Random weights predict nothing; the page says so, and one service at a time works there."""
    from al_rotate.detection.detector import Detector
    from al_rotate.detection.small_models import small_rtmdet

    folder = tmp_path / "work"
    config, options = "rotated_rtmdet_tiny-3x-dota", small_rtmdet(128, 2)
    untrained = Detector(config, device="cpu", cfg_options=options, classes=synthetic.CLASSES)
    ActiveLoop(folder, scenes.images, synthetic.CLASSES, untrained, budget=2).close()
    service = open_service(WorkspaceModels(folder))
    answer = predict(service, local_task(scenes.labels.image_ids[0]))
    assert answer.status_code == 422
    assert "initial has random weights: label the first images and train" in answer.json()["detail"]
    assert "it predicts nothing" in re.sub(r"\s+", " ", http(service).get("/").text)
    with pytest.raises(Busy, match="another service works in"):
        Service(WorkspaceModels(folder))


def test_one_odd_task_affects_no_other(service, predict, http, scenes):
    """Whatever its address, its id and its names are; the page says why it was refused."""
    good = [local_task(image_id, k) for k, image_id in enumerate(scenes.labels.image_ids[:3].tolist(), start=1)]
    good[1]["data"]["al_image_id"] = "\ud800"  # its boxes are named by the task instead
    odd = [
        {"id": 50, "data": {"image": "http://[::1/x"}},
        {"id": 51, "data": {"image": "//[x"}},
        {"id": 52, "data": {"image": "\ud800"}},
        {"id": "\ud800" * 1000, "data": {"image": "http://evil.example/a.png"}},
        {"id": {"a": 1}, "data": {"image": ["x"]}},
        {"id": 55, "data": []},
        None,
        {"id": 10**400, "data": {"image": "s3://bucket/a.png"}},
    ]
    body = json.dumps(predict_request(good[0], *odd, *good[1:], xml=to_xml(synthetic.CLASSES)))
    client = http(service)
    answer = client.post("/predict", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert [bool(result) for result in results] == [True, *[False] * len(odd), True, True]
    page = client.get("/")
    assert page.status_code == 200
    for number in (50, 51):
        assert f"<td>task {number}<td>expected the address of an image" in page.text
    assert "--allow-host evil.example:80" in page.text


def test_an_exception_of_the_detector_is_told(service, predict, http, scenes):
    """Such as that of a full GPU, of which there is none here: it is simulated."""
    _, detector = service.predictor.loaded()
    detector.predict = lambda *args, **kwargs: (_ for _ in ()).throw(RuntimeError("out of memory\nTried to"))
    try:
        answer = predict(service, *(local_task(image_id) for image_id in scenes.labels.image_ids[:2]))
    finally:
        del detector.predict
    assert answer.json()["results"] == [[], []]
    (note,) = service.journal.notes
    assert (note.why, note.times) == ("RuntimeError: out of memory Tried to", 2)


def test_slow_hosts_hold_up_no_other_request(open_service, http, scenes, monkeypatch):
    """As many requests as may wait but one, each for images of a host that never answers."""
    monkeypatch.setattr(f"{predictor.__name__}.REQUEST_SECONDS", 6.0)
    xml, answers = to_xml(synthetic.CLASSES), []
    with socket.create_server(("127.0.0.1", 0), backlog=500) as silent:
        name = f"127.0.0.1:{silent.getsockname()[1]}"
        client = http(open_service(allow_hosts=[name]))
        slow = [{"id": number, "data": {"image": f"http://{name}/{number}.png"}} for number in range(20)]

        def ask():
            answers.append(client.post("/predict", json=predict_request(*slow, xml=xml)))

        threads = [threading.Thread(target=ask) for _ in range(MAX_WAITING - 1)]
        for thread in threads:
            thread.start()
        (result,) = client.post(
            "/predict", json=predict_request(local_task(scenes.labels.image_ids[0]), xml=xml)
        ).json()["results"]
        assert result
        assert not answers
        for thread in threads:
            thread.join()
    assert [answer.json()["results"] for answer in answers] == [[[]] * 20] * (MAX_WAITING - 1)
    assert "was not fetched within the 6 s of its request" in client.get("/").text
