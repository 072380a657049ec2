"""The gallery and the report in a real browser."""

import json

import numpy as np
import pytest
from helpers.loops.page import CLASSES
from PIL import Image
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from al_rotate.data import SHOWN_SCORE, RotatedInstances
from al_rotate.report import Gallery, plots
from al_rotate.workspace import Workspace

LEGIBLE = """[...document.querySelectorAll('body *')].filter(e =>
    e.checkVisibility() && !e.closest('svg') && [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())
    && parseFloat(getComputedStyle(e).fontSize) < 11).map(e => e.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module")
def workspace(done):
    folder, *_ = done
    with Workspace.open(folder, read_only=True) as workspace:
        yield workspace


@pytest.fixture(scope="module")
def page(workspace, tmp_path_factory):
    return Gallery.of(workspace).save(tmp_path_factory.mktemp("page") / "gallery.html")


def strokes(reader, number):
    """The colours of the outlines on a card, the dark lines below them left out."""
    script = "[...document.querySelectorAll('.gallery-card')[arguments[0]].querySelectorAll('polygon')].map("
    drawn = reader.run(f"{script}p => [p.getAttribute('stroke'), p.hasAttribute('stroke-dasharray')])", number)
    return [tuple(line) for line in drawn if line[0] != "#000"]


def test_all_images_are_there_and_found(reader, page, workspace):
    reader.open(page)
    assert {*reader.names()} == {f"scene_{k:04d}" for k in range(16)}
    assert reader.names()[:4] == workspace.query(1)["image_id"].tolist()  # the newest ranking comes first
    assert reader.texts(".gallery-count") == ["16 of 16 images."]

    reader.choose("status", "labelled")
    assert {*reader.names()} == {*workspace.ids("labelled")}
    reader.choose("round", "0")
    assert {*reader.names()} == {*workspace.query(0)["image_id"]}
    reader.choose("round", "")
    reader.choose("status", "")
    reader.choose("search", "0012")
    assert reader.names() == ["scene_0012"]
    reader.choose("search", "")
    detections, labels = RotatedInstances.load(workspace.folder / "rounds/001/detections"), workspace.labels()
    for number in range(len(CLASSES)):
        reader.choose("class", str(number))
        having = {i for i, image in labels if number in image.labels}
        having |= {i for i, image in detections if number in image.labels[image.scores >= SHOWN_SCORE]}
        assert {*reader.names()} == having
    reader.choose("class", "")
    reader.choose("sort", "id")
    assert reader.names() == sorted(reader.names())


def test_the_score_from_which_boxes_are_drawn(reader, page, workspace):
    detections = RotatedInstances.load(workspace.folder / "rounds/001/detections")
    (image_id, *_) = workspace.query(1)["image_id"]
    scores = np.sort(detections[image_id].scores)
    reader.open(page)
    reader.choose("search", image_id)
    reader.choose("least", "0.3")
    assert len(strokes(reader, 0)) == (scores >= 0.3).sum() + workspace.labels()[image_id].n_boxes
    reader.choose("least", "1")
    assert len(strokes(reader, 0)) == (scores >= 1).sum() + workspace.labels()[image_id].n_boxes


def test_keys_switch_layers(reader, tmp_path):
    """One kept, one deleted, one added box, in the colours of classes, and in those of the differences."""
    file = tmp_path / "a.png"
    Image.new("RGB", (100, 60), (90, 90, 90)).save(file)
    found = RotatedInstances(
        ["a"], [0, 2], [[20, 20, 16, 8, 0], [60, 20, 16, 8, 0]], [0, 1], [0.9, 0.8], classes=CLASSES
    )
    labels = RotatedInstances(["a"], [0, 2], [[20, 20, 16, 8, 0], [60, 50, 16, 8, 0]], [0, 2], classes=CLASSES)
    reader.open(Gallery({"a": file}, found, labels).save(tmp_path / "gallery.html"))
    solid, dashed = [(plots.colour(k), False) for k in (0, 1)], [(plots.colour(k), True) for k in (0, 2)]
    body = reader.find("body")[0]
    assert strokes(reader, 0) == dashed + solid
    body.send_keys("l")
    assert strokes(reader, 0) == solid
    body.send_keys("p")
    assert strokes(reader, 0) == []
    body.send_keys("l", "p", "d")
    kinds = plots.KIND_COLOURS
    assert strokes(reader, 0) == [(kinds["deleted"], True), (kinds["kept"], False), (kinds["added"], False)]
    assert {"deleted (dashed only)", "added (solid only)"} <= {*reader.texts(".gallery-legend li")}
    body.send_keys("d", "s")
    assert reader.run("[...document.querySelectorAll('.gallery-card text')].map(t => t.textContent)") == [
        "0.90",
        "0.80",
    ]
    points = reader.run("document.querySelector('.gallery-card polygon').getAttribute('points')")
    assert points == "12,16 28,16 28,24 12,24"


def test_what_the_file_does_not_hold(reader, tmp_path):
    """Changes count all boxes, and filters and sentences do not forget those that are left out."""
    file = tmp_path / "a.png"
    Image.new("RGB", (900, 60)).save(file)
    boxes, classes = [[20 * k + 20, 20, 16, 8, 0] for k in range(40)], [0] * 39 + [1]
    labels = RotatedInstances(["a"], [0, 40], boxes, classes, classes=CLASSES)
    found = RotatedInstances(["a"], [0, 41], [*boxes, [20, 50, 16, 8, 0]], [*classes, 2], [0.9] * 41, classes=CLASSES)
    reader.open(Gallery({"a": file}, found, labels, most_boxes=9).save(tmp_path / "gallery.html"))
    (card,) = reader.texts(".gallery-card")
    assert "1 change\n5 predicted boxes (36 more not in this file), 4 labels (36 more not in this file)" in card
    reader.choose("class", "1")
    assert reader.names() == ["a"]
    body = reader.find("body")[0]
    body.send_keys("d")
    reader.find(".gallery-card")[0].click()
    (footer,) = reader.texts(".gallery-dialog footer")
    assert "40 kept (thin)" in footer
    assert "1 deleted (dashed only)" in footer
    assert "faint" not in footer


def test_one_image_large_by_keyboard(reader, page):
    reader.open(page)
    reader.run("document.querySelector('.gallery-card').focus()")
    first, second = reader.names()[:2]
    view = "document.querySelector('.gallery-stage svg').getAttribute('viewBox').split(' ').map(Number)"
    reader.driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_LEFT, Keys.ENTER)
    assert reader.texts(".gallery-name") == [f"{first} (1 of 16)"]
    assert reader.run(view) == [0, 0, 64, 64]
    keys = reader.driver.switch_to.active_element
    keys.send_keys("+")
    x, y, width, height = reader.run(view)
    assert width == height == pytest.approx(64 / 1.5)
    assert x == y == pytest.approx((64 - width) / 2)
    keys.send_keys("0")
    assert reader.run(view) == [0, 0, 64, 64]
    keys.send_keys(Keys.ARROW_RIGHT)
    assert reader.texts(".gallery-name") == [f"{second} (2 of 16)"]
    assert "Rank 2 of 12" in reader.texts(".gallery-dialog footer")[0]
    keys.send_keys(Keys.ESCAPE)
    assert not reader.run("document.querySelector('dialog').open")
    focused = "document.activeElement.querySelector('b')?.textContent"
    WebDriverWait(reader.driver, 10).until(lambda _: reader.run(focused) == second)  # told late


def test_the_wheel_zooms_where_it_points(reader, page):
    reader.open(page)
    reader.find(".gallery-card")[0].click()
    before, after = reader.driver.execute_script(
        """const stage = document.querySelector('.gallery-stage'), svg = stage.firstChild;
        const box = stage.getBoundingClientRect();
        const at = [box.left + box.width * .6, box.top + box.height * .4];
        const place = () => {
            const point = new DOMPoint(...at).matrixTransform(svg.getScreenCTM().inverse());
            return [point.x, point.y];
        };
        const before = place();
        stage.dispatchEvent(new WheelEvent('wheel', {deltaY: -1, clientX: at[0], clientY: at[1], cancelable: true}));
        return [before, place()];"""
    )
    assert after == pytest.approx(before, abs=0.1)
    assert reader.run("document.querySelector('.gallery-stage svg').viewBox.baseVal.width") == pytest.approx(64 / 1.25)


def test_names_stay_text(reader, tmp_path):
    names = ["<script>window.broken = 1</script>", '"><img src=x onerror="window.broken = 1">', "</script>", "${1}"]
    image_ids = [f"{name}?" for name in names]
    file = tmp_path / "a.png"
    Image.new("RGB", (40, 40)).save(file)
    labels = RotatedInstances(image_ids, range(5), [[20, 20, 9, 5, 0]] * 4, range(4), classes=names)
    gallery = Gallery(dict.fromkeys(image_ids, file), labels=labels, title=names[0])
    reader.open(gallery.save(tmp_path / "gallery.html"))
    assert {*reader.names()} == {*image_ids}
    assert reader.texts(".gallery-legend li") == names
    assert reader.texts(".gallery [name=class] option")[1:] == names
    assert reader.texts("h1") == [names[0]]
    assert reader.run("[window.broken, document.scripts.length, document.querySelectorAll('img').length]") == [
        None,
        2,
        0,
    ]
    assert {
        json.dumps(label) for label in reader.run("[...document.querySelectorAll('svg')].map(s => s.ariaLabel)")
    } == {json.dumps(f"{image_id}: 1 label") for image_id in image_ids}


@pytest.mark.parametrize("width", [1440, 390])
def test_pages_are_legible_and_need_no_network(reader, page, done, width):
    for name, file in (("gallery", page), ("report", done[0] / "report.html")):
        reader.open(file, width)
        assert reader.run("document.documentElement.scrollWidth") <= width
        assert reader.run(LEGIBLE) == []
        assert reader.run("[...document.images].every(i => i.complete && i.naturalWidth && i.alt)")
        assert reader.run("[...document.querySelectorAll('svg')].every(s => s.ariaLabel)")
        narrow = "[...document.querySelectorAll('.gallery button')].filter(b => b.checkVisibility())"
        assert reader.run(f"Math.min(...{narrow}.map(b => b.getBoundingClientRect().height))") >= 24
        reader.screenshot(f"{name}_{width}")
        reader.find(".gallery-card")[0].click()
        reader.screenshot(f"{name}_{width}_image")
        events = [json.loads(entry["message"])["message"] for entry in reader.driver.get_log("performance")]
        sent = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
        assert {url.partition(":")[0] for url in sent} <= {"file", "data"}
        assert reader.driver.get_log("browser") == []
