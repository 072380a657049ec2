"""What a person sees in Label Studio's page, and what a pull brings of what they do there."""

import os
from pathlib import Path

import numpy as np
import pytest
from helpers.bridge.browser import CHROMIUM, DRIVER, browser_at
from PIL import Image, ImageDraw
from selenium.webdriver.common.keys import Keys

from al_rotate import RotatedInstances, boxes, rank
from al_rotate.bridge.client.addresses import LocalFiles
from al_rotate.bridge.conversion.geometry import to_label_studio
from al_rotate.bridge.conversion.label_config import to_xml
from al_rotate.data import images, synthetic

pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver")

WIDTH, HEIGHT = 640, 400
CLASSES = ("ship", "storage tank")
BOXES = np.array([[200, 150, 160, 50, 0.6], [480, 280, 120, 70, -0.9], [420, 90, 60, 60, 0.3]], np.float32)
SCENE, OBJECT = (60, 70, 80), (200, 200, 190)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """The folder of screenshots: $AL_ROTATE_SCREENSHOTS if that is set."""
    return Path(os.environ.get("AL_ROTATE_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))


@pytest.fixture(scope="module")
def browser(studio, tmp_path_factory):
    with browser_at(studio, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def detections():
    return RotatedInstances(
        ["harbour"], [0, 3], BOXES, [0, 0, 1], scores=[0.4, 0.6, 0.8], classes=CLASSES, image_sizes=[[WIDTH, HEIGHT]]
    )


@pytest.fixture
def task(studio, detections, tmp_path):
    """A new project with one task: three objects, and predicted boxes that lie on them."""
    folder = studio.root / tmp_path.name
    folder.mkdir()
    picture = Image.new("RGB", (WIDTH, HEIGHT), SCENE)
    for corners in boxes.to_corners(BOXES):
        ImageDraw.Draw(picture).polygon([tuple(point) for point in corners], fill=OBJECT)
    picture.save(folder / "harbour.png")
    project = studio.project(CLASSES)
    files = {"harbour": folder / "harbour.png"}
    pushed = studio.client.push(project, ["harbour"], detections, files, LocalFiles(studio.root), "round-000")
    return project, pushed.tasks["harbour"]


def colour_of(name):
    """The colour of a class in the page."""
    xml = to_xml(CLASSES)
    line = next(line for line in xml.replace("<Label", "\n<Label").splitlines() if f'value="{name}"' in line)
    text = line.partition('background="')[2][1:7]
    return np.array([int(text[k : k + 2], 16) for k in (0, 2, 4)])


def edges(box, n=24):
    """(4n, 2) points along the four sides, without the corners."""
    corners = boxes.to_corners(box[None])[0]
    share = np.linspace(0.12, 0.88, n)[:, None]
    return np.concatenate([a + share * (b - a) for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)])


def share_drawn(browser, screenshot, points, colour, reach=2):
    """The share of these points of the picture with a line of this colour within `reach` pixels of the screen."""
    pixels = np.asarray(screenshot).astype(int)
    has_line = []
    for x, y in browser.to_screen(points).round().astype(int):
        around = pixels[y - reach : y + reach + 1, x - reach : x + reach + 1].reshape(-1, 3)
        has_line.append((np.abs(around - colour).max(axis=1) < 60).any())
    return np.mean(has_line)


def test_the_boxes_lie_on_the_objects(studio, browser, task, pictures):
    browser.open_task(*task)
    seen = browser.screenshot(pictures / "task_with_predictions.png")
    for box, name in zip(BOXES, ("ship", "ship", "storage tank"), strict=True):
        assert share_drawn(browser, seen, edges(box), colour_of(name)) > 0.95
        # The same box rotated by ten degrees, upright, or moved or longer by some pixels is not what is drawn, except
        # where the outlines cross.
        for wrong in ([0, 0, 0, 0, 0.17], [0, 0, 0, 0, -box[4]], [5, 4, 0, 0, 0], [0, 0, 8, 0, 0]):
            assert share_drawn(browser, seen, edges(box + np.float32(wrong)), colour_of(name)) < 0.7
    # And the picture is where it should be: the objects' centres are bright, the ground is dark.
    pixels = np.asarray(seen)
    for x, y in browser.to_screen([[30, 30], [600, 380]]).astype(int):
        assert np.abs(pixels[y, x].astype(int) - SCENE).max() < 12
    for x, y in browser.to_screen(BOXES[:, :2]).astype(int):
        assert pixels[y, x].astype(int).mean() > np.mean(SCENE) + 40
    rows = browser.driver.find_element("tag name", "body").text
    assert "0.40" in rows
    assert "0.80" in rows


def selected(browser):
    """The selected box, (5,), and the place of its rotation handle."""
    corners, handle = browser.selected()
    return boxes.from_corners(corners.reshape(1, 8))[0], handle


def test_what_the_mouse_does_comes_back(studio, browser, task, detections, pictures):
    """Move one box, rotate another, submit: the pulled labels are where the mouse left them."""
    project, number = task
    browser.open_task(project, number)
    centres = browser.to_screen(BOXES[:, :2])

    browser.click(centres[1])
    browser.drag([centres[1], centres[1] + [-4, -3], centres[1] + [-120, -70]])
    moved, _ = selected(browser)
    # The page starts the drag some pixels late.
    np.testing.assert_allclose(moved[:2], BOXES[1, :2] + np.array([-120, -70]) / browser.scale, atol=5)
    np.testing.assert_allclose(moved[2:], BOXES[1, 2:], atol=5e-3)  # its canvas rounds

    browser.press(Keys.ESCAPE)  # nothing is selected
    browser.click(centres[0])
    before, handle = selected(browser)
    centre = browser.to_screen([before[:2]])[0]
    angle = 0.5
    arm = handle - centre
    turn = [
        [np.cos(a) * arm[0] - np.sin(a) * arm[1], np.sin(a) * arm[0] + np.cos(a) * arm[1]]
        for a in np.linspace(0, angle, 6)
    ]
    browser.drag([centre + step for step in turn], steps=4)
    turned, _ = selected(browser)
    assert turned[4] - BOXES[0, 4] == pytest.approx(angle, abs=0.03)
    np.testing.assert_allclose(turned[:4], BOXES[0, :4], atol=0.5)
    seen = browser.screenshot(pictures / "moved_and_turned.png")
    assert share_drawn(browser, seen, edges(moved.astype(np.float32)), colour_of("ship")) > 0.95

    browser.press_button("Submit")
    browser.until(lambda d: len(studio.call("GET", f"tasks/{number}/")["annotations"]))
    labels = studio.client.pull(project, CLASSES).reading.labels["harbour"]
    np.testing.assert_allclose(labels.boxes[:2], [turned, moved], atol=1e-2)
    np.testing.assert_allclose(labels.boxes[2], BOXES[2], atol=1e-3)  # untouched
    assert labels.labels.tolist() == [0, 0, 1]

    # The other tests of the bridge submit through the API; this is what the page sends.
    (body,) = browser.sent("POST", f"/tasks/{number}/annotations")
    assert {"lead_time", "result", "parent_prediction"} <= body.keys()
    reading = studio.client.pull(project, CLASSES).reading
    assert reading.costs["seconds"].tolist() == [pytest.approx(body["lead_time"])]
    assert [region["id"] for region in body["result"]] == reading.predicted_ids.tolist()


def test_a_drawn_box_is_added(studio, browser, task, pictures):
    project, number = task
    browser.open_task(project, number)
    browser.press("2")  # the hot key of the label
    corners = browser.to_screen([[60, 260], [180, 330]])
    browser.drag(list(corners))
    browser.screenshot(pictures / "drawn.png")
    browser.press_button("Submit")
    browser.until(lambda d: len(studio.call("GET", f"tasks/{number}/")["annotations"]))
    labels = studio.client.pull(project, CLASSES).reading.labels["harbour"]
    assert labels.labels.tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(labels.boxes[3, :4], [120, 295, 120, 70], atol=1.5)
    assert labels.boxes[3, 4] == pytest.approx(0, abs=1e-6)
    values = to_label_studio(labels.boxes[3:], WIDTH, HEIGHT)[0]
    assert values[4] == pytest.approx(0, abs=1e-4)


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


def test_separate_rectangles_and_labels(studio, browser, task, detections, pictures):
    config = to_xml(CLASSES).replace(
        "<RectangleLabels", '<Rectangle name="rect" toName="image" canRotate="true"/><Labels'
    )
    config = config.replace("</RectangleLabels>", "</Labels>")
    body = {"title": "Rectangles and labels", "label_config": config, "show_collab_predictions": True}
    project = studio.call("POST", "projects/", body)["id"]
    files = {"harbour": next(studio.root.glob("test_separate_rectangles*/harbour.png"))}
    pushed = studio.client.push(project, ["harbour"], detections, files, LocalFiles(studio.root), "round-000")
    number = pushed.tasks["harbour"]
    browser.open_task(project, number)
    seen = browser.screenshot(pictures / "rectangles_and_labels.png")
    for box, name in zip(BOXES, ("ship", "ship", "storage tank"), strict=True):
        assert share_drawn(browser, seen, edges(box), colour_of(name)) > 0.9
    browser.press_button("Submit")
    browser.until(lambda d: len(studio.call("GET", f"tasks/{number}/")["annotations"]))
    reading = studio.client.pull(project, CLASSES).reading
    np.testing.assert_allclose(reading.labels["harbour"].boxes, BOXES, atol=1e-3)
    assert reading.labels.labels.tolist() == [0, 0, 1]
    assert reading.label_ids.tolist() == reading.predicted_ids.tolist()


def test_why_and_which_are_shown_above_the_image(studio, browser, task):
    project, number = task
    data = studio.call("GET", f"tasks/{number}/")["data"] | {"al_rank": 7, "al_why": "Its boxes are unsure."}
    studio.call("PATCH", f"tasks/{number}/", {"data": data})
    browser.open_task(project, number)
    text = browser.driver.find_element("tag name", "body").text
    assert "Rank 7: harbour" in text
    assert "Its boxes are unsure." in text


def test_a_task_left_from_an_earlier_round_opens_with_its_boxes(studio, browser, task, detections, pictures):
    project, leftover = task
    pool = studio.root / "later"
    pool.mkdir()
    Image.new("RGB", (WIDTH, HEIGHT), SCENE).save(pool / "later.png")
    later = RotatedInstances(["later"], [0, 1], BOXES[:1], [0], scores=[0.5], classes=CLASSES)
    files = {"later": pool / "later.png"}
    studio.client.push(project, ["later"], later, files, LocalFiles(studio.root), "round-001", round=1)
    browser.open_project(project)
    browser.press_button("Label All Tasks")
    browser.wait_for_task(leftover)
    seen = browser.screenshot(pictures / "left_from_an_earlier_round.png")
    for box, name in zip(BOXES, ("ship", "ship", "storage tank"), strict=True):
        assert share_drawn(browser, seen, edges(box), colour_of(name)) > 0.95
    browser.press_button("Submit")
    browser.until(lambda d: len(studio.call("GET", f"tasks/{leftover}/")["annotations"]))
    reading = studio.client.pull(project, CLASSES).reading
    np.testing.assert_allclose(reading.labels["harbour"].boxes, BOXES, atol=1e-3)
    assert reading.label_ids.tolist() == reading.predicted_ids.tolist()  # matched with what they began as


def test_a_rotated_photograph(studio, browser, detections, tmp_path, pictures):
    """Its boxes are in the picture as the browser shows it, which is how the detector reads it."""
    folder = studio.root / tmp_path.name
    folder.mkdir()
    upright = Image.new("RGB", (HEIGHT, WIDTH), SCENE)  # 400 x 640 as it is shown
    box = np.array([[150, 420, 200, 60, 1.0]], np.float32)
    ImageDraw.Draw(upright).polygon([tuple(point) for point in boxes.to_corners(box)[0]], fill=OBJECT)
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.jpg", exif=exif, quality=95)
    prediction = RotatedInstances(["turned"], [0, 1], box, [0], scores=[0.5], classes=CLASSES)
    project = studio.project(CLASSES)
    files = {"turned": folder / "turned.jpg"}
    pushed = studio.client.push(project, ["turned"], prediction, files, LocalFiles(studio.root), "round-000")
    browser.open_task(project, pushed.tasks["turned"])
    assert browser.picture()[4:] == [HEIGHT, WIDTH]
    seen = browser.screenshot(pictures / "turned_photograph.png")
    assert share_drawn(browser, seen, edges(box[0]), colour_of("ship")) > 0.95
    browser.press_button("Submit")
    browser.until(lambda d: len(studio.call("GET", f"tasks/{pushed.tasks['turned']}/")["annotations"]))
    labels = studio.client.pull(project, CLASSES, sizes={"turned": (HEIGHT, WIDTH)}).reading.labels["turned"]
    np.testing.assert_allclose(labels.boxes, box, atol=1e-3)
