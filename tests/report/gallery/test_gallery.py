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


def test_faint_and_countless_boxes_are_counted(tmp_path):
    crowd = RotatedInstances(
        ["a"], [0, 160], [[20, 20, 16, 8, 0]] * 160, [0] * 160, [0.09] * 20 + [0.5] * 140, classes=CLASSES
    )
    card = Card("a", tmp_path / "a.png", detections=crowd)
    row = card.to_json()
    assert (len(row["detections"]), row["leftOut"]) == (100, 60)


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
            assert len(row["detections"]) + row["leftOut"] == detections[image_id].n_boxes
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
