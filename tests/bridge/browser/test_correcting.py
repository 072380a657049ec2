"""What people do with predicted boxes in the page, and what a pull brings of it."""

import numpy as np
import pytest
from helpers.bridge import harbour
from helpers.bridge.harbour import BOXES, CLASSES, assert_drawn, selected_box, submit, turn_selected
from selenium.webdriver.common.keys import Keys

from al_rotate import boxes, rank
from al_rotate.bridge.client.addresses import LocalFiles
from al_rotate.data import images, synthetic


@pytest.mark.parametrize("kind", ["labels", "rectanglelabels"])
def test_what_the_mouse_does_comes_back(studio, browser, task, joined_labels, picture, pictures, kind):
    """Move one box, rotate another, submit: the pulled labels are where the mouse left them. In old projects, too."""
    project, number = task
    if kind == "rectanglelabels":
        project, number = joined_labels, harbour.push(studio, joined_labels, picture, harbour.detect())
    browser.open_task(project, number)
    centres = browser.to_screen(BOXES[:, :2])

    browser.click(centres[1])
    browser.drag([centres[1], centres[1] + [-4, -3], centres[1] + [-120, -70]])
    moved, _ = selected_box(browser)
    # The page starts the drag some pixels late.
    np.testing.assert_allclose(moved[:2], BOXES[1, :2] + np.array([-120, -70]) / browser.scale, atol=5)
    np.testing.assert_allclose(moved[2:], BOXES[1, 2:], atol=5e-3)  # its canvas rounds

    browser.press(Keys.ESCAPE)  # nothing is selected
    browser.click(centres[0])
    turn_selected(browser, 0.5)
    turned, _ = selected_box(browser)
    assert turned[4] - BOXES[0, 4] == pytest.approx(0.5, abs=0.03)
    np.testing.assert_allclose(turned[:4], BOXES[0, :4], atol=0.5)
    seen = browser.screenshot(pictures / f"moved_and_turned_{kind}.png")
    assert_drawn(browser, seen, moved[None].astype(np.float32), ["ship"])

    submit(studio, browser, number)
    labels = studio.client.pull(project, CLASSES).reading.labels["harbour"]
    np.testing.assert_allclose(labels.boxes[:2], [turned, moved], atol=1e-2)
    np.testing.assert_allclose(labels.boxes[2], BOXES[2], atol=1e-3)  # untouched
    assert labels.labels.tolist() == [0, 0, 1]

    # The other tests of the bridge submit through the API; this is what the page sends.
    (body,) = browser.sent("POST", f"/tasks/{number}/annotations")
    assert {"lead_time", "result", "parent_prediction"} <= body.keys()
    reading = studio.client.pull(project, CLASSES).reading
    assert reading.costs["seconds"].tolist() == [pytest.approx(body["lead_time"])]
    kinds = ["rectangle", "labels"] if kind == "labels" else ["rectanglelabels"]
    assert [region["type"] for region in body["result"]] == kinds * 3
    assert [region["id"] for region in body["result"][:: len(kinds)]] == reading.predicted_ids.tolist()


def test_label_all_tasks_and_skip_one(studio, browser, tmp_path, pictures):
    """The button "Label All Tasks" hands out the most uncertain image first; a skipped one gets no label."""
    folder = studio.root / tmp_path.name
    truth = synthetic.write_dataset(folder, 4, 512, seed=21)
    rng = np.random.default_rng(2)
    near = boxes.canonical(truth.boxes + rng.normal(0, 1, truth.boxes.shape) * [3, 3, 2, 2, 0.04])
    detections = truth.replace(boxes=near, scores=rng.uniform(0.31, 0.95, truth.n_boxes), difficult=None)
    ranking = rank(detections, "entropy")
    project = studio.client.open_project("Harbours and airfields", truth.classes)
    files = images.find(folder / "images")
    tasks = studio.client.push(project, ranking, detections, files, LocalFiles(studio.root), "round-001").tasks
    assert list(tasks) == ranking["image_id"].tolist()
    uncertain = [studio.call("GET", f"tasks/{task}/")["data"]["al_uncertainty"] for task in tasks.values()]
    assert uncertain == ranking["score"].tolist()  # the strategy's own figure
    browser.open_project(project)
    browser.screenshot(pictures / "project.png")
    browser.press_button("Label All Tasks")
    for place, (name, button) in enumerate(zip(tasks, ("Submit", "Skip", "Submit"), strict=False), start=1):
        browser.wait_for_task(tasks[name])
        browser.screenshot(pictures / f"handed_out_{place}.png")
        browser.press_button(button)
        browser.until(lambda d, name=name: len(studio.call("GET", f"tasks/{tasks[name]}/")["annotations"]))
    reading = studio.client.pull(project, truth.classes).reading
    first, second, third, _ = tasks
    assert sorted(reading.labels.image_ids) == sorted([first, third])
    assert list(reading.skipped) == [second]
    np.testing.assert_allclose(reading.labels[first].boxes, detections[first].boxes, atol=1e-3)


def test_a_task_left_from_an_earlier_round_opens_with_its_boxes(studio, browser, task, tmp_path, pictures):
    project, leftover = task
    later = harbour.draw(studio.root / tmp_path.name / "later.png", BOXES[:0])
    harbour.push(studio, project, later, harbour.detect(BOXES[:1], [0], [0.5], "later"), "later", "round-001", round=1)
    browser.open_project(project)
    browser.press_button("Label All Tasks")
    browser.wait_for_task(leftover)
    assert_drawn(browser, browser.screenshot(pictures / "left_from_an_earlier_round.png"))
    submit(studio, browser, leftover)
    reading = studio.client.pull(project, CLASSES).reading
    np.testing.assert_allclose(reading.labels["harbour"].boxes, BOXES, atol=1e-3)
    assert reading.label_ids.tolist() == reading.predicted_ids.tolist()  # matched with what they began as
