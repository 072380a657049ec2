"""What the page shows of a task."""

import numpy as np
import pandas as pd
import pytest
from helpers.bridge import harbour
from helpers.bridge.harbour import BOXES, CLASSES, HEIGHT, NAMES, OBJECT, SCENE, WIDTH, assert_drawn, submit
from PIL import Image, ImageDraw

from al_rotate import DOTA_V1, boxes
from al_rotate.bridge.client.addresses import LocalFiles
from al_rotate.bridge.client.labels import follow_classes


def test_the_boxes_lie_on_the_objects(studio, browser, task, pictures):
    browser.open_task(*task)
    seen = browser.screenshot(pictures / "task_with_predictions.png")
    assert_drawn(browser, seen)
    for box, name in zip(BOXES, NAMES, strict=True):
        # The same box rotated by ten degrees, upright, or moved or longer by some pixels is not what is drawn, except
        # where the outlines cross.
        for wrong in ([0, 0, 0, 0, 0.17], [0, 0, 0, 0, -box[4]], [5, 4, 0, 0, 0], [0, 0, 8, 0, 0]):
            lines = harbour.edges(box + np.float32(wrong))
            assert harbour.share_drawn(browser, seen, lines, harbour.colour_of(name)) < 0.7
    # And the picture is where it should be: the objects' centres are bright, the ground is dark.
    pixels = np.asarray(seen).astype(int)
    for x, y in browser.to_screen([[30, 30], [600, 380]]).astype(int):
        assert np.abs(pixels[y, x] - SCENE).max() < 12
    # What a box covers is seen through it: 15 % of its colour on the object.
    for (x, y), name in zip(browser.to_screen(BOXES[:, :2]).astype(int), NAMES, strict=True):
        assert np.abs(pixels[y, x] - (0.85 * np.array(OBJECT) + 0.15 * harbour.colour_of(name))).max() < 15
    rows = browser.driver.find_element("tag name", "body").text
    assert "0.40" in rows
    assert "0.80" in rows
    wanted = {"rectangle-tool", "rectangle-3-point-tool", "brightness", "contrast", "zoom-in", "zoom-out"}
    assert wanted <= {*browser.tools()}


def test_why_and_which_are_shown_above_the_image(studio, browser, picture, pictures):
    project = studio.project(CLASSES)
    why = "Its 3 boxes are unsure: the mean entropy of their scores is 0.62."
    selection = pd.DataFrame({"image_id": ["harbour"], "score": [0.62], "rank": [7], "why": [why]})
    files = {"harbour": picture}
    pushed = studio.client.push(project, selection, harbour.detect(), files, LocalFiles(studio.root), "round-000")
    browser.open_task(project, pushed.tasks["harbour"])
    browser.screenshot(pictures / "rank_and_reason.png")
    text = browser.driver.find_element("tag name", "body").text
    assert "Rank 7: harbour" in text
    assert why in text


@pytest.mark.parametrize("classes", [CLASSES, DOTA_V1], ids=["two", "fifteen"])
def test_the_labels_of_a_square_picture_are_in_sight(studio, browser, tmp_path, pictures, classes):
    file = studio.root / tmp_path.name / "square.png"
    file.parent.mkdir()
    Image.new("RGB", (1024, 1024), SCENE).save(file)
    project = studio.project(classes)
    why = "Its 41 boxes are unsure: the mean entropy of their scores is 0.62, and no labelled image looks like it."
    selection = pd.DataFrame({"image_id": ["square"], "why": [why]})
    pushed = studio.client.push(project, selection, None, {"square": file}, LocalFiles(studio.root))
    browser.open_task(project, pushed.tasks["square"])
    browser.screenshot(pictures / f"square_with_{len(classes)}_labels.png")
    labels = [label.rect for label in browser.driver.find_elements("css selector", ".lsf-label")]
    assert len(labels) == len(classes)
    assert max(label["y"] + label["height"] for label in labels) <= browser.button("Submit").rect["y"]


def test_boxes_across_the_edge_come_back_as_they_were_sent(studio, browser, tmp_path, pictures):
    """On every side and corner of the picture, and one that is longer than it; the server refuses none of them."""
    rows = np.array(
        [
            [20, 150, 160, 50, 0.6],
            [640, 280, 120, 70, -0.9],
            [420, 8, 60, 50, 0.3],
            [320, 402, 200, 40, 0.1],
            [630, 20, 80, 30, 1.2],
            [320, 200, 760, 20, 0.55],
        ],
        np.float32,
    )
    file = harbour.draw(studio.root / tmp_path.name / "edge.png", rows)
    project = studio.project(CLASSES)
    number = harbour.push(studio, project, file, None, "edge", None)  # as in a round without a detector
    detections = harbour.detect(rows, [0] * 6, [0.5] * 6, "edge")
    assert harbour.push(studio, project, file, detections, "edge") == number  # and then in one with
    assert len(studio.call("GET", f"tasks/{number}/")["predictions"]) == 1
    browser.open_task(project, number)
    browser.screenshot(pictures / "across_the_edge.png")
    assert [label for label, _ in browser.regions()] == ["ship"] * 6
    submit(studio, browser, number)
    labels = studio.client.pull(project, CLASSES).reading.labels["edge"]
    np.testing.assert_allclose(labels.boxes, rows, atol=1e-4)


def test_a_rotated_photograph(studio, browser, tmp_path, pictures):
    """Its boxes are in the picture as the browser shows it, which is how the detector reads it."""
    folder = studio.root / tmp_path.name
    folder.mkdir()
    upright = Image.new("RGB", (HEIGHT, WIDTH), SCENE)  # 400 x 640 as it is shown
    box = np.array([[150, 420, 200, 60, 1.0]], np.float32)
    ImageDraw.Draw(upright).polygon([tuple(point) for point in boxes.to_corners(box)[0]], fill=OBJECT)
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.jpg", exif=exif, quality=95)
    project = studio.project(CLASSES)
    number = harbour.push(studio, project, folder / "turned.jpg", harbour.detect(box, [0], [0.5], "turned"), "turned")
    browser.open_task(project, number)
    assert browser.picture()[4:] == [HEIGHT, WIDTH]
    assert_drawn(browser, browser.screenshot(pictures / "turned_photograph.png"), box, ["ship"])
    submit(studio, browser, number)
    labels = studio.client.pull(project, CLASSES, sizes={"turned": (HEIGHT, WIDTH)}).reading.labels["turned"]
    np.testing.assert_allclose(labels.boxes, box, atol=1e-3)


def test_labels_after_a_change_of_classes(studio, browser, task, pictures):
    """Boxes that were sent before keep their colours under the new name; a merged label is offered no more."""
    project, number = task
    follow_classes(studio.client.api, project, ["vessel", "pier"], CLASSES, [0, 0], {})
    browser.open_task(project, number)
    seen = browser.screenshot(pictures / "changed_classes.png")
    assert_drawn(browser, seen)
    text = browser.driver.find_element("tag name", "body").text
    assert "pier" in text
    assert "vessel (was storage tank)" in text  # in the list of regions
    offered = [label.text.split("\n")[0] for label in browser.driver.find_elements("css selector", ".lsf-label")]
    assert [name for name in offered if name] == ["vessel", "pier"]
    submit(studio, browser, number)
    rename = {"ship": "vessel", "storage tank": "vessel"}
    reading = studio.client.pull(project, ["vessel", "pier"], rename=rename).reading
    assert reading.labels["harbour"].labels.tolist() == [0, 0, 0]
