"""One picture with three objects and predicted boxes on them, and what a screenshot shows of such boxes."""

import numpy as np
from PIL import Image, ImageDraw

from al_rotate import RotatedInstances, boxes
from al_rotate.bridge.client.addresses import LocalFiles
from al_rotate.bridge.conversion.label_config import to_xml

WIDTH, HEIGHT = 640, 400
CLASSES = ("ship", "storage tank")
NAMES = ("ship", "ship", "storage tank")
BOXES = np.array([[200, 150, 160, 50, 0.6], [480, 280, 120, 70, -0.9], [420, 90, 60, 60, 0.3]], np.float32)
SCENE, OBJECT = (60, 70, 80), (200, 200, 190)


def draw(path, rows=BOXES, size=(WIDTH, HEIGHT)):
    """Write a picture with a bright object in each box."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.new("RGB", size, SCENE)
    for corners in boxes.to_corners(rows):
        ImageDraw.Draw(picture).polygon([tuple(point) for point in corners], fill=OBJECT)
    picture.save(path)
    return path


def detect(rows=BOXES, labels=(0, 0, 1), scores=(0.4, 0.6, 0.8), image_id="harbour", classes=CLASSES):
    """Detections on one picture."""
    sizes = [[WIDTH, HEIGHT]]
    return RotatedInstances([image_id], [0, len(rows)], rows, labels, scores=scores, classes=classes, image_sizes=sizes)


def push(studio, project, file, detections, image_id="harbour", version="round-000", **options):
    """Push one picture with its boxes; its task."""
    files = LocalFiles(studio.root)
    return studio.client.push(project, [image_id], detections, {image_id: file}, files, version, **options).tasks[
        image_id
    ]


def colour_of(name, classes=CLASSES):
    """The colour of a class in the page."""
    xml = to_xml(classes)
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


def assert_drawn(browser, screenshot, rows=BOXES, names=NAMES, least=0.95):
    """Each box is drawn where it is, in the colour of its class."""
    for box, name in zip(rows, names, strict=True):
        assert share_drawn(browser, screenshot, edges(box), colour_of(name)) > least


def selected_box(browser):
    """The selected box, (5,), and the place of its rotation handle."""
    corners, handle = browser.selected()
    return boxes.from_corners(corners.reshape(1, 8))[0], handle


def turn_selected(browser, angle):
    """Turn the selected box about its centre by its handle."""
    box, handle = selected_box(browser)
    centre = browser.to_screen([box[:2]])[0]
    arm = handle - centre
    turns = np.linspace(0, angle, 6)
    arms = [[np.cos(a) * arm[0] - np.sin(a) * arm[1], np.sin(a) * arm[0] + np.cos(a) * arm[1]] for a in turns]
    browser.drag([centre + step for step in arms], steps=4)


def submit(studio, browser, task):
    """Press Submit and wait for the answer."""
    browser.press_button("Submit")
    browser.until(lambda d: studio.call("GET", f"tasks/{task}/")["annotations"])
