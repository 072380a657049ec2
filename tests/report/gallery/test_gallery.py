"""What the page is given: limits, orders, kinds of change, and images that cannot be read."""

import json

import numpy as np
import pytest
from helpers.loops.page import CLASSES, Page, make
from helpers.noisy import NoisyLearner, Start, labels_of
from PIL import Image

from al_rotate import rank
from al_rotate.data import RotatedInstances
from al_rotate.loop import SimulatedAnnotator
from al_rotate.report import Gallery
from al_rotate.report.gallery.cards import Card
from al_rotate.workspace import Workspace

IDS = ["a", "b", "c"]
FOUND = RotatedInstances(
    IDS,
    [0, 1, 3, 3],
    [[20, 20, 16, 8, 0], [20, 20, 16, 8, 0], [9, 9, 4, 4, 0]],
    [0, 0, 1],
    [0.5, 0.9, 0.2],
    classes=CLASSES,
)


@pytest.fixture
def files(tmp_path):
    files = {image_id: tmp_path / f"{image_id}.png" for image_id in IDS}
    for file in files.values():
        Image.new("RGB", (80, 60), (90, 90, 90)).save(file)
    return files


def test_a_ranking_gives_the_order_and_says_why(files):
    ranking = rank(FOUND, "entropy")
    rows = Gallery(files, FOUND, ranking=ranking).to_json()["images"]
    assert [row["id"] for row in rows] == ranking["image_id"].tolist()
    assert [row["rank"] for row in rows] == [1, 2, 3]
    assert rows[0]["why"].startswith("Rank 1 of 3: ")
    part = Gallery(files, FOUND, ranking=ranking.tail(1)).to_json()["images"]
    assert [row["id"] for row in part] == [ranking["image_id"][2], *sorted({*IDS} - {ranking["image_id"][2]})]


def test_boxes_scores_and_sizes(files):
    first, second, third = Gallery(files, FOUND).to_json()["images"]
    assert first["detections"] == [[12, 16, 28, 16, 28, 24, 12, 24, 0, 0.5, ""]]
    assert [row[9] for row in second["detections"]] == [0.9, 0.2]
    assert (first["width"], first["height"], first["labels"], third["detections"]) == (80, 60, None, [])
    assert first["picture"].startswith("data:image/webp;base64,")


def crowd(n, scores=None, labels=0):
    """An image of `n` boxes side by side."""
    boxes = [[40 * k + 20, 20, 16, 8, 0] for k in range(n)]
    return RotatedInstances(["a"], [0, n], boxes, np.broadcast_to(labels, n), scores, classes=CLASSES)


def test_faint_boxes_are_limited_and_counted(tmp_path):
    """Those that people were shown are all there, at whatever score."""
    few = Card("a", tmp_path / "a.png", detections=crowd(160, [0.09] * 20 + [0.2] * 100 + [0.5] * 40))
    row = few.to_json()
    assert [box[9] for box in row["detections"]] == [0.5] * 40 + [0.2] * 60
    assert row["leftOut"] == {"predicted": 0, "labels": 0, "faint": 60, "classes": []}
    many = Card("a", tmp_path / "a.png", detections=crowd(160, [0.2] * 20 + [0.5] * 140))
    assert [box[9] for box in many.to_json()["detections"]] == [0.5] * 140
    assert (many.n_boxes, many.to_json()["leftOut"]["faint"]) == (140, 20)


def test_all_that_people_were_shown_is_compared(tmp_path):
    """150 right predictions are 150 kept ones, whatever the page holds of them."""
    card = Card("a", tmp_path / "a.png", detections=crowd(150, [0.9] * 150), labels=crowd(150))
    row = card.to_json()
    assert row["changes"] == {"kept": 150}
    assert [box[10] for box in [*row["detections"], *row["labels"]]] == ["kept"] * 300
    assert row["leftOut"] == {"predicted": 0, "labels": 0, "faint": 0, "classes": []}
    cut = card.to_json(most=100)
    assert (cut["changes"], len(cut["detections"]), len(cut["labels"])) == ({"kept": 150}, 50, 50)
    assert cut["leftOut"] == {"predicted": 100, "labels": 100, "faint": 0, "classes": [0]}


def test_changed_boxes_have_the_first_places(tmp_path):
    """Ten boxes kept, two deleted, one added, three faint."""
    found = crowd(15, [0.9] * 12 + [0.2] * 3, labels=[1] * 2 + [0] * 13)
    boxes = [*found.boxes[2:12], [20, 90, 16, 8, 0]]
    labels = RotatedInstances(["a"], [0, 11], boxes, [0] * 10 + [2], classes=CLASSES)
    card = Card("a", tmp_path / "a.png", detections=found, labels=labels)
    assert card.n_boxes == 12 + 11 + 3
    assert card.to_json(25)["leftOut"] == {"predicted": 0, "labels": 0, "faint": 1, "classes": []}
    row = card.to_json(5)
    assert row["changes"] == {"kept": 10, "deleted": 2, "added": 1}
    assert [box[10] for box in row["detections"]] == ["deleted", "deleted"]
    assert [box[10] for box in row["labels"]] == ["kept", "kept", "added"]
    assert row["leftOut"] == {"predicted": 10, "labels": 8, "faint": 3, "classes": [0]}


def test_images_share_the_places(files):
    """Images with few boxes keep them: 1 and 2, and 3 of the 6 places are left to an image of 5."""
    labels = RotatedInstances(
        IDS, [0, 1, 3, 8], [[10 * k + 8, 20, 8, 8, 0] for k in range(8)], [0] * 8, classes=CLASSES
    )
    rows = Gallery(files, labels=labels, most_boxes=6).to_json()["images"]
    assert [(len(row["labels"]), row["leftOut"]["labels"]) for row in rows] == [(1, 0), (2, 0), (3, 2)]
    rows = Gallery(files, labels=labels, most_boxes=4).to_json()["images"]
    assert [len(row["labels"]) for row in rows] == [1, 1, 1]
    rows = Gallery(files, labels=labels, most_boxes=8).to_json()["images"]
    assert [len(row["labels"]) for row in rows] == [1, 2, 5]


def test_what_people_were_shown_is_compared(tmp_path):
    """The round's rule decides which boxes were deleted, not a score of 0.3."""
    labels = RotatedInstances(["b"], [0, 0], [], [], classes=CLASSES)
    by_score = Card("b", tmp_path / "b.png", detections=FOUND["b"], labels=labels).to_json()
    assert [row[10] for row in by_score["detections"]] == ["deleted", ""]
    by_rule = Card("b", tmp_path / "b.png", detections=FOUND["b"], labels=labels, shown=np.array([False, True]))
    assert [(row[9], row[10]) for row in by_rule.to_json()["detections"]] == [(0.2, "deleted"), (0.9, "")]


def test_images_that_cannot_be_read_are_named(files, tmp_path):
    files["b"].write_bytes(b"no image")
    files["c"] = tmp_path / "absent.png"
    rows = {row["id"]: row for row in Gallery(files, FOUND).to_json()["images"]}
    assert rows["b"]["problem"] == "cannot be read: not an image (8 bytes)"
    assert "No such file" in rows["c"]["problem"]
    assert str(tmp_path) not in rows["b"]["problem"]
    assert [rows[i]["picture"] is None for i in IDS] == [False, True, True]
    assert (rows["b"]["width"], rows["b"]["height"]) == (28, 24)  # as far as its boxes reach


def test_limits(files):
    gallery = Gallery(files, FOUND, most=2)
    assert (len(gallery), gallery.n_left_out, gallery.to_json()["leftOut"]) == (2, 1, 1)
    one = len(Gallery(files, FOUND).to_json()["images"][0]["picture"])
    pictures = [row["picture"] for row in Gallery(files, FOUND, most_bytes=one + 1).to_json()["images"]]
    assert [picture is None for picture in pictures] == [False, True, True]
    with pytest.raises(ValueError, match="at least 1, got 0 images"):
        Gallery(files, most=0)
    with pytest.raises(ValueError, match="and 0 boxes"):
        Gallery(files, most_boxes=0)
    with pytest.raises(ValueError, match="same classes"):
        Gallery(files, FOUND, FOUND.as_labels().replace(classes=("x", "y")))


def test_in_a_notebook_it_is_a_frame_of_bounded_size(tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (600, 600, 3), np.uint8))
    noise.save(file := tmp_path / "noise.png")
    frame = Gallery({f"image{k}": file for k in range(60)})._repr_html_()
    assert frame.startswith("<iframe srcdoc=")
    assert len(frame) < 5_000_000


def test_the_cards_of_a_workspace(done):
    folder, *_ = done
    with Workspace.open(folder, read_only=True) as workspace:
        rows = {row["id"]: row for row in Gallery.of(workspace).to_json()["images"]}
        labels, newest = workspace.labels(), workspace.query(1)["image_id"].tolist()
        first = workspace.query(0)["image_id"].tolist()
        few = Gallery.of(workspace, most=6)
    detections = RotatedInstances.load(folder / "rounds/001/detections")
    assert len(rows) == 16
    for image_id, row in rows.items():
        answered = image_id in labels
        assert row["status"] == ("labelled" if answered else "unlabelled")
        assert (row["labels"] is not None) == answered
        assert row["round"] == (1 if image_id in newest else 0 if image_id in first else None)
        # Nothing was trained before the first query.
        assert (row["detections"] is None) == (image_id in first)
        if row["detections"] is not None:
            assert len(row["detections"]) + row["leftOut"]["faint"] == detections[image_id].n_boxes
    assert [card.image_id for card in few.cards][:4] == newest
    assert (len(few), few.n_left_out) == (6, 10)


def test_a_report_on_5000_images_is_below_5_mb(tmp_path, scenes):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (500, 500, 3), np.uint8))
    noise.save(file := tmp_path / "noise.png")  # no picture compresses worse
    labels = labels_of(5000).replace(image_sizes=None)
    changes = {
        "images": dict.fromkeys(labels.image_ids.tolist(), file),
        "classes": labels.classes,
        "annotator": SimulatedAnnotator(labels),
        "learner": NoisyLearner(labels),
        "test": None,
        "strategy": "entropy",
        "budget": 300,
        "detector": Start(taught=40, classes=labels.classes),
    }
    with make(tmp_path / "work", scenes, **changes) as loop:
        loop.query()
        loop.collect()
        loop.train()
        loop.query()
        page = Page(loop.report())
    assert 1_000_000 < len(page.source.encode()) < 5_000_000
    data = json.loads(page.scripts[0])
    assert (len(data["images"]), data["leftOut"]) == (120, 4880)
    assert any(row["status"] == "unlabelled" for row in data["images"])  # the top of the ranking has its place


def test_a_report_on_crowded_images_is_below_5_mb(tmp_path, scenes):
    """120 images with 800 labels each, far from the origin, so that their numbers are long."""
    Image.new("RGB", (400, 400)).save(file := tmp_path / "grey.png")
    n, each = 120, 800
    boxes = np.random.default_rng(0).uniform(
        [10_000, 10_000, 20, 8, -1.5], [19_000, 19_000, 60, 18, 1.5], (n * each, 5)
    )
    ids = [f"image_{k:03d}" for k in range(n)]
    labels = RotatedInstances(ids, np.arange(n + 1) * each, boxes, np.arange(n * each) % 3, classes=CLASSES)
    changes = {"images": dict.fromkeys(ids, file), "labels": labels, "annotator": None, "test": None}
    with make(tmp_path / "work", scenes, **changes) as loop:
        page = Page(loop.report())
    assert len(page.scripts[0]) < 1_200_000
    assert len(page.source.encode()) < 2_500_000  # and pictures of 2.5 MB at most
    assert {(len(row["labels"]), row["leftOut"]["labels"]) for row in page.gallery.values()} == {(100, 700)}
