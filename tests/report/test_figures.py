"""The page's pictures: curves, test images, queried images."""

import numpy as np
from helpers.loops.page import CLASSES, Page, make
from PIL import Image

from al_rotate.data import SHOWN_SCORE, RotatedInstances
from al_rotate.loop import SimulatedAnnotator
from al_rotate.report import figures, plots
from al_rotate.workspace import Workspace


def test_curves(done):
    _, history, _ = done
    images, boxes, classes = figures.curves_figure(history, CLASSES).axes
    assert images.lines[0].get_xydata().tolist() == history[["n_labelled", "mAP"]].to_numpy(float).tolist()
    assert boxes.lines[0].get_xydata().tolist() == history[["n_boxes", "mAP"]].to_numpy(float).tolist()
    assert [line.get_label() for line in classes.lines] == [n for n in CLASSES if f"AP/{n}" in history]
    assert figures.curves_figure(history.drop(columns="mAP"), CLASSES) is None
    assert figures.curves_figure(history.assign(mAP=np.nan), CLASSES) is None


def test_the_same_test_images_after_each_round(done, scenes):
    folder, *_ = done
    with Workspace.open(folder, read_only=True) as workspace:
        figure = figures.evaluation_figure(workspace)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    first, second = titles[:4], titles[4:]
    assert [title.replace("round 0: ", "round 1: ") for title in first] == second
    labels = scenes[2].subset(title.removeprefix("round 0: ") for title in first)
    assert {*labels.labels.tolist()} == {*scenes[2].labels.tolist()}  # every class there is to show
    for number, row in ((0, figure.axes[:4]), (1, figure.axes[4:])):
        detections = RotatedInstances.load(folder / "rounds" / f"00{number}" / "test_detections")
        for ax, image_id in zip(row, labels.image_ids, strict=True):
            image = detections[image_id]
            drawn = [len(lines.get_segments()) for lines in ax.collections[1::2]]  # each outline's bright half
            assert drawn == [labels[image_id].n_boxes, int((image.scores >= SHOWN_SCORE).sum())]
    named = {text.get_text() for text in figure.legends[0].get_texts()}
    assert {CLASSES[k] for k in labels.labels} <= named


def test_no_more_than_four_rounds_of_test_images(tmp_path, scenes):
    with make(tmp_path, scenes, budget=3) as loop:
        loop.run(5)
        rows = [ax.get_title(loc="left").split(":")[0] for ax in figures.evaluation_figure(loop.workspace).axes[::4]]
    assert rows == ["round 0", "round 1", "round 3", "round 4"]


def test_colours_of_the_pictures(tmp_path, scenes):
    """A box is where it was found, in its class's colour, in the picture that is in the page."""
    field = tmp_path / "field.png"
    Image.new("RGB", (64, 64), (90, 90, 90)).save(field)
    labels = RotatedInstances(["field"], [0, 1], [[32, 32, 30, 16, 0.5]], [1], classes=CLASSES)
    with make(tmp_path / "work", scenes, images={"field": field}, annotator=SimulatedAnnotator(labels)) as loop:
        loop.query()
        before = Page(loop.report()).images[0].convert("RGB")
        loop.collect()
        after = Page(loop.report()).images[0].convert("RGB")
    wanted = np.array([int(plots.colour(1)[k : k + 2], 16) for k in (1, 3, 5)])

    def coloured(image):
        return (np.abs(np.asarray(image, int) - wanted).max(axis=2) < 40).sum()

    assert coloured(before) == 0
    assert coloured(after) > 200
