"""Labels that existed already, in doubt: people see and correct them in Label Studio."""

import os
from pathlib import Path

import numpy as np
import pytest
from helpers.bridge.browser import CHROMIUM, DRIVER, browser_at
from helpers.bridge.label_studio import predicted
from helpers.noisy import NoisyLearner
from selenium.webdriver.common.keys import Keys

from al_rotate import ActiveLoop, RotatedInstances


def add_a_box(labels):
    """One image's labels, with a box more where it has most room; and that box."""
    places = np.array([[x, y] for x in (16, 64, 112) for y in (16, 64, 112)], float)
    distances = np.linalg.norm(places[:, None] - labels.boxes[None, :, :2], axis=2).min(axis=1)
    box = np.array([*places[distances.argmax()], 20, 10, 0.4])
    rows, names = np.vstack([labels.boxes, box]), [*labels.labels, 0]
    return RotatedInstances(
        labels.image_ids, [0, len(rows)], rows, names, classes=labels.classes, image_sizes=labels.image_sizes
    ), box


@pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver")
def test_imported_labels_are_reviewed_in_the_browser(studio, loop, project, truth, tmp_path, tmp_path_factory):
    """They are drawn as they are; what is corrected comes back, and the other boxes to the bit."""
    shots = Path(os.environ.get("AL_ROTATE_SCREENSHOTS") or tmp_path)
    with ActiveLoop(tmp_path / "work", learner=NoisyLearner(truth), budget=2) as opened:
        for image_id, task in studio.by_image(project).items():
            studio.submit_labels(task, truth[image_id])
        opened.collect()
        opened.train()
        opened.query()  # detects on the pool, which the imported image belongs to still
        queried = studio.by_image(project)
        wrong = next(i for i in truth.image_ids if i not in queried and truth[i].n_boxes)
        imported, extra = add_a_box(truth[wrong])
        opened.add_labels(imported)
        for image_id, task in queried.items():
            if not task["annotations"]:
                studio.submit_labels(task, truth[image_id])
        opened.collect()
        opened.train()
        review = opened.review(8).set_index("image_id")
        task = studio.by_image(project)[wrong]
        _, boxes = predicted(task)
        np.testing.assert_allclose(boxes, imported.boxes, atol=1e-4)
        assert task["data"]["al_why"] == review.loc[wrong, "why"]

        with browser_at(studio, tmp_path_factory.mktemp("profile")) as browser:
            browser.open_project(project)
            browser.press_button("Label All Tasks")
            browser.wait_for_task(task["id"])  # the only one without an answer
            browser.screenshot(shots / "imported_labels_reviewed.png")
            browser.click(browser.to_screen([extra[:2]])[0])
            browser.press(Keys.BACKSPACE)
            browser.press_button("Submit")
            browser.until(lambda d: studio.call("GET", f"tasks/{task['id']}/")["annotations"])
        statuses = opened.collect().set_index("image_id")["status"]
        assert statuses[wrong] == "labelled"
        labels = opened.workspace.labels()[wrong]
        assert labels.boxes.tolist() == truth[wrong].boxes.tolist()
        assert labels.labels.tolist() == truth[wrong].labels.tolist()
        row = opened.workspace.ledger().set_index("image_id").loc[wrong]
        assert row[["n_added", "n_deleted"]].tolist() == [0, 1]
