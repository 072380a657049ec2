"""The ML backend as a person starts it, connected to a real Label Studio."""

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from helpers.browser import CHROMIUM, DRIVER, browser_at
from helpers.label_studio import Studio, by_image, drawn, join, predicted, wait_until

from al_rotate import ActiveLoop, Workspace
from al_rotate.bridge.conversion.geometry import from_label_studio
from al_rotate.bridge.local_server import _free_port
from al_rotate.data import synthetic

pytestmark = pytest.mark.mm
NAMES = ("x", "y", "width", "height", "rotation")
USER, PASSWORD = "backend", "a password of the tests"
BASIC = {"auth_method": "BASIC_AUTH", "basic_auth_user": USER, "basic_auth_pass": PASSWORD}
SIZE = (128, 128)


@contextmanager
def served(log, *words):
    """`al-rotate serve ...` in a process of its own, its log in a file; its address."""
    port = _free_port()
    command = [sys.executable, "-m", "al_rotate", "serve", *map(str, words), "--port", str(port)]
    own = {name: value for name, value in os.environ.items() if not name.startswith("LABEL_STUDIO")}
    own |= {"AL_ROTATE_PASSWORD": PASSWORD} if "--user" in words else {}
    with open(log, "ab") as out, subprocess.Popen(command, stdout=out, stderr=out, env=own) as process:
        url = f"http://127.0.0.1:{port}"

        def up():
            assert process.poll() is None, log.read_text()
            try:
                return httpx.get(f"{url}/health", auth=(USER, PASSWORD)).status_code == 200
            except httpx.TransportError:
                return False

        try:
            wait_until(up, "the service answers")
            yield url
        finally:
            process.send_signal(signal.SIGINT)
            try:
                assert process.wait(60) == 0, log.read_text()
            finally:
                process.kill()


def link(studio, project, url, **more):
    """Settings, Model, Connect Model."""
    body = {"project": project, "url": url, "title": "al_rotate", "is_interactive": False, **more}
    return studio.call("POST", "ml/", body)["id"]


def push_images(studio, scenes, pool, count):
    """A project with the scenes, and no predictions."""
    pool.symlink_to(scenes.images)
    project = studio.project(synthetic.CLASSES)
    files = {image_id: pool / f"{image_id}.jpg" for image_id in scenes.labels.image_ids[:count]}
    studio.client.push(project, list(files), None, files, studio.files)
    return project, files


def draw_truth(studio, task, scenes, image_id):
    boxes = scenes.labels[image_id]
    pairs = zip(boxes.boxes, boxes.labels, strict=True)
    regions = [drawn(box, synthetic.CLASSES[k], SIZE, f"r{n}") for n, (box, k) in enumerate(pairs)]
    return studio.submit(task, regions)


def state(url):
    return re.sub(r"\s+", " ", httpx.get(url, auth=(USER, PASSWORD)).text)


def versions(url):
    return httpx.get(f"{url}/versions", auth=(USER, PASSWORD)).json()["versions"]


def assert_no_secrets(folder, *secrets):
    """In no file that the service wrote."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".pth", ".jpg")]
    assert files
    for path in files:
        text = path.read_bytes()
        assert not [secret for secret in secrets if secret.encode() in text], path


def test_a_config_and_a_checkpoint(studio: Studio, scenes, finetuned, many_boxes, detector, tmp_path):
    """Connected: predictions on opening a task; Start training: a new version, whose predictions come next."""
    project, files = push_images(studio, scenes, studio.root / tmp_path.name, 6)
    log, work = tmp_path / "service.log", tmp_path / "backend"
    options = [f"{name}={value}" for name, value in many_boxes.items()]
    options += ["train_cfg.max_iters=4", "train_cfg.val_interval=4"]
    words = ["--config", finetuned.config, "--checkpoint", finetuned.checkpoint, "--device", "cpu"]
    words += ["--user", USER, "--score-thr", "0.05", "--work-dir", work, "--cfg-options", *options]
    with served(log, *words) as url:
        backend = link(studio, project, url, **BASIC)
        (first,) = versions(url)
        tasks = by_image(studio, project)
        assert [task["predictions"] for task in tasks.values()] == [[]] * 6

        # A person opens a task, and selects two others to have them predicted.
        one, two, three, *rest = tasks
        opened = studio.call("GET", f"tasks/{tasks[one]['id']}", project=project)
        selected = {"selectedItems": {"all": False, "included": [tasks[i]["id"] for i in (three, two)]}}
        studio.call("POST", "dm/actions", selected, id="retrieve_tasks_predictions", project=project)
        later = by_image(studio, project)
        found = detector.predict({image_id: files[image_id] for image_id in (one, two, three)})
        shown = 0
        for task, image_id in ((opened, one), (later[two], two), (later[three], three)):
            (prediction,) = task["predictions"]
            assert prediction["model_version"] == first
            expected = found[image_id].where(found[image_id].scores >= 0.05)
            values = [[region["value"][name] for name in NAMES] for region in prediction["result"]]
            np.testing.assert_allclose(from_label_studio(np.reshape(values, (-1, 5)), *SIZE), expected.boxes, atol=1e-3)
            shown += len(values)
        assert shown > 5

        # They answer three, and press Start training.
        for image_id in (one, two, three):
            draw_truth(studio, later[image_id], scenes, image_id)
        studio.call("POST", f"ml/{backend}/train")
        wait_until(lambda: "running" in state(url), "the training began")
        health = httpx.get(f"{url}/health", auth=(USER, PASSWORD), timeout=1)
        assert health.json()["model_version"] == first
        wait_until(lambda: len(versions(url)) == 2, state(url), 300)
        second = versions(url)[1]
        wait_until(lambda: f"<h1>{second}</h1>" in state(url), "it is served")
        assert "Last error" not in state(url), log.read_text()
        fourth = rest[0]
        opened = studio.call("GET", f"tasks/{later[fourth]['id']}", project=project)
        assert [one["model_version"] for one in opened["predictions"]] == [second]
    assert_no_secrets(tmp_path, studio.server.token, PASSWORD)
    result = (work / "jobs" / "0001" / "result.json").read_text()
    assert '"images": 3' in result

    # Started again, it serves what it has learnt.
    with served(log, *words) as url:
        assert versions(url) == [first, second]
        assert f"<h1>{second}</h1>" in state(url)


@pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver")
def test_in_the_browser(studio: Studio, scenes, finetuned, many_boxes, tmp_path, tmp_path_factory):
    """A person connects nothing by hand but sees: the model among the settings, its boxes in a task they open."""
    shots = Path(os.environ.get("AL_ROTATE_SCREENSHOTS") or tmp_path)
    project, files = push_images(studio, scenes, studio.root / tmp_path.name, 2)
    options = [f"{name}={value}" for name, value in many_boxes.items()]
    words = ["--config", finetuned.config, "--checkpoint", finetuned.checkpoint, "--device", "cpu"]
    words += ["--user", USER, "--score-thr", "0.05", "--work-dir", tmp_path / "backend", "--cfg-options", *options]
    with (
        served(tmp_path / "service.log", *words) as url,
        browser_at(studio, tmp_path_factory.mktemp("profile")) as browser,
    ):
        link(studio, project, url, **BASIC)
        (version,) = versions(url)
        browser.driver.get(f"{studio.server.url}/projects/{project}/settings/ml")
        browser.until(lambda d: "Connected" in d.find_element("tag name", "body").text)
        browser.screenshot(shots / "model_connected.png")
        assert url in browser.driver.find_element("tag name", "body").text
        number = by_image(studio, project)[next(iter(files))]["id"]
        browser.open_task(project, number)
        browser.screenshot(shots / "predicted_on_opening.png")
        (prediction,) = studio.call("GET", f"tasks/{number}/")["predictions"]
        assert prediction["model_version"] == version
        seen = browser.driver.find_element("tag name", "body").text
        rows = [f"{r['value']['rectanglelabels'][0]}\n{r['score']:.2f}" for r in prediction["result"][:5]]
        assert all(row in seen for row in rows)
        assert len(rows) > 1
        browser.driver.get(url.replace("//", f"//{USER}:{PASSWORD.replace(' ', '%20')}@"))
        browser.screenshot(shots / "backend_status.png")


def test_a_workspace(studio: Studio, scenes, detector, tmp_path):
    """Its open round is answered in the browser; with the third answer it is trained on, which ends the round."""
    from al_rotate.detection.small_models import small_rtmdet

    pool, folder = studio.root / tmp_path.name, tmp_path / "work"
    pool.symlink_to(scenes.images)
    options = small_rtmdet(128, iterations=4)
    ActiveLoop(folder, pool, synthetic.CLASSES, detector, "entropy", budget=3, train_options=options).close()
    made = join(studio, folder, synthetic.CLASSES, shown=0.05)
    with ActiveLoop(folder) as loop:
        asked = loop.query()["image_id"].tolist()
    log = tmp_path / "service.log"
    with served(log, folder, "--device", "cpu", "--train-every", 3) as url:
        link(studio, made.project, url)  # which makes the webhook
        assert versions(url) == ["initial"]
        tasks = by_image(studio, made.project)
        assert list(tasks) == asked
        for image_id in asked:
            assert "training" not in log.read_text()
            draw_truth(studio, tasks[image_id], scenes, image_id)
        wait_until(lambda: versions(url) == ["initial", "round-000"], "the round's weights", 300)
        wait_until(lambda: "<h1>round-000</h1>" in state(url), "they are served")
        # Another project's button does not train this workspace.
        other = studio.project(synthetic.CLASSES)
        answer = httpx.post(
            f"{url}/webhook", json={"action": "START_TRAINING", "project": {"id": other}}, auth=(USER, PASSWORD)
        )
        assert answer.status_code == 422
        assert f"expected project {made.project}" in state(url)
    with Workspace.open(folder, read_only=True) as workspace:
        (last,) = workspace.rounds()
        assert (last.stage, workspace.labels().image_ids.tolist()) == ("trained", sorted(asked))
        truth = scenes.labels.subset(sorted(asked))
        np.testing.assert_allclose(workspace.labels().boxes, truth.boxes, atol=1e-3)
    assert_no_secrets(folder, studio.server.token, PASSWORD)
    assert_no_secrets(tmp_path, PASSWORD)
    with ActiveLoop(folder) as loop:  # and the loop goes on
        again = loop.query()["image_id"].tolist()
    assert not {*again} & {*asked}
    result, _ = predicted(by_image(studio, made.project)[again[0]])
    assert result is not None
