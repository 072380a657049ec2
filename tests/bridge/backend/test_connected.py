"""The ML backend as a person starts it, connected to a real Label Studio."""

import os
from pathlib import Path

import httpx
import numpy as np
import pytest
from helpers.bridge.browser import CHROMIUM, DRIVER, browser_at
from helpers.bridge.label_studio import Studio, boxes_of, labels_in, predicted, wait_until
from helpers.bridge.serving import PASSWORD, USER, served, status_page

from al_rotate import ActiveLoop, Workspace
from al_rotate.data import synthetic

pytestmark = pytest.mark.mm
BASIC = {"auth_method": "BASIC_AUTH", "basic_auth_user": USER, "basic_auth_pass": PASSWORD}
SIZE = (128, 128)


def link(studio, project, url, **more):
    """Settings, Model, Connect Model."""
    body = {"project": project, "url": url, "title": "al_rotate", "is_interactive": False, **more}
    return studio.call("POST", "ml/", body)["id"]


def paste(browser, project, printed):
    """Do in the page what the service prints, by the names that it gives to its fields."""
    _, _, lines = printed.partition("project, Settings, Model, Connect Model:\n")
    browser.driver.get(f"{browser.studio.server.url}/projects/{project}/settings/ml")
    browser.press_button("Connect Model")
    for line in lines.splitlines():
        name, _, value = line.strip().partition(": ")
        if not value:
            browser.press_button(name)
            return
        label = browser.until(lambda d, name=name: d.find_element("xpath", f"//label[contains(., '{name}')]"))
        if name.startswith("Select"):
            label.find_element("tag name", "button").click()
            option = f"//*[@role='option'][contains(., '{value}')]"
            browser.until(lambda d, option=option: d.find_elements("xpath", option))[0].click()
        else:
            label.find_element("tag name", "input").send_keys(PASSWORD if "PASSWORD" in value else value)


def push_images(studio, scenes, pool, count):
    """A project with the scenes, and no predictions."""
    pool.symlink_to(scenes.images)
    project = studio.project(synthetic.CLASSES)
    files = {image_id: pool / f"{image_id}.jpg" for image_id in scenes.labels.image_ids[:count]}
    studio.client.push(project, list(files), None, files, studio.files)
    return project, files


def versions(url):
    return httpx.get(f"{url}/versions", auth=(USER, PASSWORD)).json()["versions"]


def assert_no_secrets(folder, *secrets):
    """No file that the service wrote holds a secret."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".pth", ".jpg")]
    assert files
    for path in files:
        content = path.read_bytes()
        assert not [secret for secret in secrets if secret.encode() in content], path


def test_a_config_and_a_checkpoint(studio: Studio, scenes, finetuned, many_boxes, served_detector, tmp_path):
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
        tasks = studio.by_image(project)
        assert [task["predictions"] for task in tasks.values()] == [[]] * 6

        # A person opens a task, and selects two others for prediction.
        first_id, second_id, third_id, fourth_id, *_ = tasks
        chosen = (first_id, second_id, third_id)
        opened = studio.call("GET", f"tasks/{tasks[first_id]['id']}", project=project)
        selected = {"selectedItems": {"all": False, "included": [tasks[i]["id"] for i in (third_id, second_id)]}}
        studio.call("POST", "dm/actions", selected, id="retrieve_tasks_predictions", project=project)
        later = studio.by_image(project)
        n_shown = 0
        for together in ([first_id], [second_id, third_id]):  # bfloat16 may differ from batch to batch
            detections = served_detector.predict({image_id: files[image_id] for image_id in together})
            detections = detections.where(detections.scores >= 0.05)
            for image_id in together:
                (prediction,) = (opened if image_id == first_id else later[image_id])["predictions"]
                assert prediction["model_version"] == first
                np.testing.assert_allclose(boxes_of(prediction["result"], SIZE), detections[image_id].boxes, atol=1e-3)
                n_shown += len(labels_in(prediction["result"]))
        assert n_shown > 5

        # They answer three, and press Start training.
        for image_id in chosen:
            studio.submit_labels(later[image_id], scenes.labels[image_id])
        studio.call("POST", f"ml/{backend}/train")
        wait_until(lambda: "running" in status_page(url), "the training began")
        health = httpx.get(f"{url}/health", auth=(USER, PASSWORD), timeout=1)
        assert health.json()["model_version"] == first
        wait_until(lambda: len(versions(url)) == 2, status_page(url), 300)
        second = versions(url)[1]
        wait_until(lambda: f"<h1>{second}</h1>" in status_page(url), "it is served")
        assert "Last error" not in status_page(url), log.read_text()
        opened = studio.call("GET", f"tasks/{later[fourth_id]['id']}", project=project)
        assert [prediction["model_version"] for prediction in opened["predictions"]] == [second]
    assert_no_secrets(tmp_path, studio.server.token, PASSWORD)
    result = (work / "jobs" / "0001" / "result.json").read_text()
    assert '"images": 3' in result

    # Started again, it serves the trained weights.
    with served(log, *words) as url:
        assert versions(url) == [first, second]
        assert f"<h1>{second}</h1>" in status_page(url)


@pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver")
def test_in_the_browser(studio: Studio, scenes, finetuned, many_boxes, tmp_path, tmp_path_factory):
    """A person sees the model in the settings, and its boxes in a task they open."""
    shots = Path(os.environ.get("AL_ROTATE_SCREENSHOTS") or tmp_path)
    project, files = push_images(studio, scenes, studio.root / tmp_path.name, 2)
    options = [f"{name}={value}" for name, value in many_boxes.items()]
    words = ["--config", finetuned.config, "--checkpoint", finetuned.checkpoint, "--device", "cpu"]
    words += ["--user", USER, "--score-thr", "0.05", "--work-dir", tmp_path / "backend", "--cfg-options", *options]
    with (
        served(tmp_path / "service.log", *words) as url,
        browser_at(studio, tmp_path_factory.mktemp("profile")) as browser,
    ):
        # Labels that the model does not know are refused; the page of the service says why.
        paste(browser, studio.project(["cow"]), (tmp_path / "service.log").read_text())
        browser.until(lambda d: "422 Client Error" in d.find_element("tag name", "body").text)
        browser.screenshot(shots / "model_refused.png")
        assert "is a label of the project (cow)" in status_page(url)

        paste(browser, project, (tmp_path / "service.log").read_text())
        (version,) = versions(url)
        browser.until(lambda d: "Connected" in d.find_element("tag name", "body").text)
        browser.screenshot(shots / "model_connected.png")
        text = browser.driver.find_element("tag name", "body").text
        assert url in text
        assert "Start model training on annotation submission" in text  # as we call it, too
        browser.driver.find_element("css selector", "button[aria-label='Machine learning model options']").click()
        browser.until(lambda d: "Start Training" in d.find_element("tag name", "body").text)
        browser.driver.get(f"{studio.server.url}/projects/{project}/settings/webhooks")
        browser.until(lambda d: f"{url}/webhook" in d.find_element("tag name", "body").text)
        number = studio.by_image(project)[next(iter(files))]["id"]
        browser.open_task(project, number)
        browser.screenshot(shots / "predicted_on_opening.png")
        (prediction,) = studio.call("GET", f"tasks/{number}/")["predictions"]
        assert prediction["model_version"] == version
        seen = browser.driver.find_element("tag name", "body").text
        rows = [f"{r['value']['labels'][0]}\n{r['score']:.2f}" for r in labels_in(prediction["result"])[:5]]
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
    project = studio.join(folder, synthetic.CLASSES, shown=0.05).project
    with ActiveLoop(folder) as loop:
        queried = loop.query()["image_id"].tolist()
    log = tmp_path / "service.log"
    with served(log, folder, "--device", "cpu", "--train-every", 3) as url:
        link(studio, project, url)  # which makes the webhook
        assert versions(url) == ["initial"]
        tasks = studio.by_image(project)
        assert list(tasks) == queried
        for image_id in queried:
            assert "training" not in log.read_text()
            studio.submit_labels(tasks[image_id], scenes.labels[image_id])
        wait_until(lambda: versions(url) == ["initial", "round-000"], "the round's weights", 300)
        wait_until(lambda: "<h1>round-000</h1>" in status_page(url), "they are served")
        # Another project's button does not train this workspace.
        other = studio.project(synthetic.CLASSES)
        answer = httpx.post(
            f"{url}/webhook", json={"action": "START_TRAINING", "project": {"id": other}}, auth=(USER, PASSWORD)
        )
        assert answer.status_code == 422
        assert f"expected project {project}" in status_page(url)
    with Workspace.open(folder, read_only=True) as workspace:
        (last,) = workspace.rounds()
        assert (last.stage, workspace.labels().image_ids.tolist()) == ("trained", sorted(queried))
        truth = scenes.labels.subset(sorted(queried))
        np.testing.assert_allclose(workspace.labels().boxes, truth.boxes, atol=1e-3)
    assert_no_secrets(folder, studio.server.token, PASSWORD)
    assert_no_secrets(tmp_path, PASSWORD)
    with ActiveLoop(folder) as loop:  # the loop continues
        again = loop.query()["image_id"].tolist()
    assert not {*again} & {*queried}
    # Boxes that were sent are shown though the connected model is off.
    handed_out = studio.call("GET", f"projects/{project}/next")
    assert handed_out["data"]["al_image_id"] == again[0]
    assert len(handed_out["predictions"]) == 1
    result, _ = predicted(studio.by_image(project)[again[0]])
    assert result is not None
