"""What it takes to draw a rotated box in the page, and what a pull brings of it."""

import numpy as np
from helpers.bridge import harbour
from helpers.bridge.harbour import BOXES, CLASSES, assert_drawn, selected_box, submit, turn_selected
from selenium.webdriver.common.keys import Keys

from al_rotate import boxes
from al_rotate.bridge.conversion.geometry import to_label_studio

KEYS = ("1", "1", "2")  # the labels of BOXES


def draw_by_three_clicks(browser, box):
    for point in browser.to_screen(boxes.to_corners(box[None])[0, :3]):
        browser.click(point)


def drawn_and_true(studio, project, image_id="harbour"):
    """The IoU of each pulled box with the object that it was drawn around, and the labels."""
    labels = studio.client.pull(project, CLASSES).reading.labels[image_id]
    return np.diag(boxes.iou(labels.boxes, BOXES)), labels.labels.tolist()


def test_three_clicks_draw_a_rotated_box(studio, browser, picture, pictures):
    project = studio.project(CLASSES)
    number = harbour.push(studio, project, picture, harbour.detect(BOXES[:0], [], []))
    browser.open_task(project, number)
    assert "rectangle-3-point-tool" in browser.tools()
    browser.choose_three_clicks()
    browser.press("1")
    browser.count()
    draw_by_three_clicks(browser, BOXES[0])
    browser.screenshot(pictures / "three_clicks_first.png")
    assert browser.count() == {"clicks": 3}
    assert browser.regions() == [("ship", False)]
    draw_by_three_clicks(browser, BOXES[1])  # the label is still chosen
    assert browser.count() == {"clicks": 3}
    browser.press("2")
    draw_by_three_clicks(browser, BOXES[2])
    assert browser.count() == {"keys": 1, "clicks": 3}
    seen = browser.screenshot(pictures / "three_clicks.png")
    assert_drawn(browser, seen)
    submit(studio, browser, number)
    overlaps, labels = drawn_and_true(studio, project)
    assert overlaps.min() > 0.95
    assert labels == [0, 0, 1]
    # The tool is remembered: the next picture needs none to be chosen.
    browser.open_task(project, number)
    assert browser.active_tool() == "rectangle-3-point-tool"


def test_it_took_a_key_a_click_and_two_drags(studio, browser, picture, pictures, joined_labels):
    """As in projects of earlier releases, by somebody who sees at once how long the upright box must be."""
    number = harbour.push(studio, joined_labels, picture, harbour.detect(BOXES[:0], [], []))
    browser.open_task(joined_labels, number)
    assert "rectangle-3-point-tool" not in browser.tools()
    for box, key in zip(BOXES, KEYS, strict=True):
        browser.count()
        browser.press(key)  # each time: the page forgets the label after a box
        half = box[2:4] / 2
        browser.drag(list(browser.to_screen([box[:2] - half, box[:2] + half])))
        browser.click(browser.to_screen([box[:2]])[0])
        turn_selected(browser, float(box[4]))
        assert browser.count() == {"keys": 1, "clicks": 1, "drags": 2}
        browser.press(Keys.ESCAPE)
    browser.screenshot(pictures / "drag_and_turn.png")
    submit(studio, browser, number)
    overlaps, labels = drawn_and_true(studio, joined_labels)
    assert overlaps.min() > 0.85
    assert labels == [0, 0, 1]


def test_an_upright_box_is_dragged(studio, browser, task, pictures):
    project, number = task
    browser.open_task(project, number)
    browser.press("2")  # the hot key of the label
    browser.drag(list(browser.to_screen([[60, 260], [180, 330]])))
    browser.choose_three_clicks()
    browser.drag(list(browser.to_screen([[220, 260], [280, 330]])))  # with either tool
    browser.screenshot(pictures / "drawn.png")
    submit(studio, browser, number)
    labels = studio.client.pull(project, CLASSES).reading.labels["harbour"]
    assert labels.labels.tolist() == [0, 0, 1, 1, 1]
    np.testing.assert_allclose(labels.boxes[3, :4], [120, 295, 120, 70], atol=1.5)
    assert labels.boxes[3, 4] == 0
    np.testing.assert_allclose(to_label_studio(labels.boxes[4:], 640, 400)[0, 2:4] * [6.4, 4], [70, 60], atol=3)


def test_a_box_without_a_label_holds_its_image_back(studio, browser, task):
    """With the tool of three clicks the page draws without a label, too."""
    project, number = task
    browser.open_task(project, number)
    browser.choose_three_clicks()
    draw_by_three_clicks(browser, np.array([120, 300, 120, 40, -0.4]))
    assert browser.regions()[-1] == ("", False)
    submit(studio, browser, number)
    (reason,) = studio.client.pull(project, CLASSES).reading.quarantined.values()
    assert reason == "a rectangle without a label: select it in the browser, choose its label, and update"


def test_the_only_class_is_chosen_already(studio, browser, picture):
    """In a project of one class a box has its label without a key; with the label let go it is read so, too."""
    project = studio.project(["vessel"])
    number = harbour.push(studio, project, picture, harbour.detect(BOXES[:0], [], []).replace(classes=["vessel"]))
    browser.open_task(project, number)
    browser.choose_three_clicks()
    draw_by_three_clicks(browser, BOXES[0])
    assert browser.regions() == [("vessel", False)]
    browser.press("1")  # the label is no longer chosen
    draw_by_three_clicks(browser, BOXES[1])
    assert browser.regions()[-1] == ("", False)
    submit(studio, browser, number)
    reading = studio.client.pull(project, ["vessel"]).reading
    assert np.diag(boxes.iou(reading.labels["harbour"].boxes, BOXES[:2])).min() > 0.95
    assert "a rectangle without a label, taken as vessel, the only class" in reading.account["detail"].tolist()


def test_with_a_setting_of_the_page_a_drawn_box_is_selected(studio, browser, task, pictures):
    project, number = task
    browser.open_task(project, number)
    browser.switch("Show region labels", "Select region after creating it")
    browser.choose_three_clicks()
    browser.press("1")
    wanted = np.array([[120, 300, 120, 40, -0.4], [300, 330, 100, 30, 0.2]])
    draw_by_three_clicks(browser, wanted[0])
    assert browser.regions()[-1] == ("ship", True)
    box, _ = selected_box(browser)  # it has handles
    assert boxes.iou(box[None], wanted[:1])[0, 0] > 0.95
    draw_by_three_clicks(browser, wanted[1])  # and the next one needs no key all the same
    assert browser.regions()[-2:] == [("ship", False), ("ship", True)]
    browser.screenshot(pictures / "labels_scores_and_selection.png")
    submit(studio, browser, number)
    labels = studio.client.pull(project, CLASSES).reading.labels["harbour"]
    assert np.diag(boxes.iou(labels.boxes[3:], wanted)).min() > 0.95


def test_a_polygon_of_four_clicks_is_a_box(studio, browser, picture, pictures):
    """In a project that somebody made with polygons besides."""
    xml = studio.call("GET", f"projects/{studio.project(CLASSES)}/")["label_config"]
    xml = xml.replace("<Labels ", '<Polygon name="polygon" toName="image"/><Labels ')
    project = studio.call("POST", "projects/", {"title": "with polygons", "label_config": xml})["id"]
    number = harbour.push(studio, project, picture, harbour.detect(BOXES[:0], [], []))
    browser.open_task(project, number)
    browser.press("p")
    browser.press("1")
    browser.count()
    corners = browser.to_screen(boxes.to_corners(BOXES[:1])[0])
    for point in (*corners, corners[0]):
        browser.click(point)
    assert browser.count() == {"clicks": 5}  # the last one closes it
    browser.screenshot(pictures / "polygon.png")
    submit(studio, browser, number)
    reading = studio.client.pull(project, CLASSES).reading
    assert boxes.iou(reading.labels.boxes, BOXES[:1])[0, 0] > 0.95
    assert reading.account["detail"].tolist() == ["a polygon, taken as its smallest rectangle"]
