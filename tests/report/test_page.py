"""The page stands alone and says what there is to say, at every stage of a loop."""

import re

import pandas as pd
from helpers.loops.page import CLASSES, Page, make
from helpers.noisy import NoisyLearner, Start
from PIL import Image

from al_rotate.data import RotatedInstances
from al_rotate.loop import Answer, SimulatedAnnotator
from al_rotate.report import figures, write_report
from al_rotate.workspace import Workspace


def test_the_page_stands_alone(done):
    folder, _, page = done
    assert (folder / "report.html").exists()
    assert [path.name for path in folder.glob(".*")] == []
    assert len(page.addresses) == 5  # curves, corrections, test images, two rounds: and all of them decode
    assert all(min(image.size) > 100 for image in page.images)
    outside_images = re.sub(r"base64,[^\"]+", "", page.source)
    for reference in ("http", "//", "url(", "@import", "file:", str(folder)):
        assert reference not in outside_images
    assert not {"script", "link", "iframe", "object", "base"} & page.tags
    assert len(page.source) < 2_000_000


def test_what_the_page_says(done):
    folder, history, page = done
    assert f"{history['mAP'][1] * 100:.1f} %" in page.text
    assert f"{history['mAP'][0] * 100:.1f} % after the first round" in page.text
    assert "harbours" in page.text
    assert all(name in page.text for name in CLASSES)
    headings = ["Round 1: 4 of 12 images, picked by pal", "Round 0: 4 of 16 images, picked by random"]
    assert page.text.index(headings[0]) < page.text.index(headings[1])
    selection = pd.read_csv(folder / "rounds" / "001" / "selection.csv")
    first = selection.iloc[0]
    assert f"{first['image_id']}: {first['why']}" in page.text
    assert first["why"].startswith("Rank 1 of 12: ")
    assert all(image_id in page.text for image_id in selection["image_id"])
    assert page.text.count("no detections, because nothing was trained yet") == 1  # in round 0


def test_before_the_first_query(tmp_path, scenes):
    with make(tmp_path, scenes) as loop:
        loop.workspace.begin_round()
        page = Page(loop.report())
    assert page.images == []
    assert "No round has been evaluated" in page.text
    assert "Round 0" not in page.text
    assert len(page.frame(0)) == 0
    assert re.search(r"16\s*unlabelled", page.text)


def test_asked_but_not_answered(tmp_path, scenes):
    with make(tmp_path, scenes, annotator=None, detector=Start(taught=40, classes=CLASSES)) as loop:
        loop.query()
        page = Page(loop.report(tmp_path / "elsewhere" / "page.html"))
    assert not (tmp_path / "report.html").exists()
    assert len(page.images) == 1
    assert "Round 0: 4 of 16 images, picked by pal" in page.text
    assert "nothing was trained yet" not in page.text
    assert page.frame(0).iloc[0].tolist()[:7] == ["0", "queried", "pal", "4", "0", "0", "0"]


def test_without_a_test_set(tmp_path, scenes):
    def any_four(candidates, budget, rng):
        return sorted(candidates.image_ids)[:4]

    with make(tmp_path, scenes, test=None, strategy=any_four) as loop:
        loop.run(2)
        page = Page(loop.report())
    assert "give the loop a test set" in page.text
    assert "AP in percent" in page.text
    assert len(page.images) == 3  # corrections, two rounds
    assert "Round 1: 4 of 12 images, picked by custom" in page.text
    assert re.search(r"scene_\d+: Rank 1 of 12: \d box(es)? to correct\.", page.text)


def test_names_cannot_break_the_page(tmp_path, scenes):
    root, pool, test = scenes
    ids = ["a<u>", "<script>alert(1)</script>", "x$\\frac$", "very/long/" * 12 + "name", "&amp;", '"quoted"']
    classes = ("<i>", "a$b$", "c&d", "e", "f")
    named = pool.subset(pool.image_ids[: len(ids)]).replace(image_ids=ids, classes=classes)
    files = {i: root / "pool" / "images" / f"{old}.jpg" for i, old in zip(ids, pool.image_ids, strict=False)}
    tested = test.replace(classes=classes)
    learner = NoisyLearner(RotatedInstances.concat([named, tested]))
    changes = {"images": files, "classes": classes, "annotator": SimulatedAnnotator(named), "learner": learner}
    with make(tmp_path / "a&b<c>", scenes, **changes, test=(root / "test" / "images", tested), budget=6) as loop:
        loop.run(1)
        page = Page(loop.report())
    assert not {"u", "script", "i"} & page.tags
    for name in (*ids, *classes, "a&b<c>"):
        assert name in page.text
    assert {"AP <i>", "AP a$b$"} <= {*page.frame(0).columns}


def test_images_skipped_unreadable_or_empty(tmp_path, scenes):
    files = {f"image{k}": tmp_path / f"image{k}.png" for k in range(3)}
    tall = Image.new("RGB", (40, 400))
    for name in ("image0", "image1"):
        tall.save(files[name])
    files["image2"].write_bytes(b"no image")
    labels = RotatedInstances(list(files), [0, 0, 1, 2], [[20, 20, 9, 5, 0]] * 2, [0, 0], classes=CLASSES)

    class Person(SimulatedAnnotator):
        def pull(self, since=None):
            return Answer(labels.subset(["image0", "image1"]), {"image2": "it does not open"})

    with make(tmp_path / "work", scenes, images=files, annotator=Person(labels)) as loop:
        loop.run(1)
        with Workspace.open(loop.workspace.folder, read_only=True) as reader:  # while the loop has it
            page = Page(write_report(reader))
        query = loop.workspace.query(0)
        drawn = figures.query_figure(loop.workspace, query, None)
    titles = {ax.get_title(loc="left") for ax in drawn.axes}
    assert {"labelled", "labelled: no object", "skipped", *files} <= titles
    assert page.frame(0)["skipped"].tolist() == ["1"]
    assert page.frame(1)["minutes"].tolist() == ["unknown"]
    assert "predicted" not in page.frame(1)  # this annotator reported no corrections
    assert "dropped, held back or odd" not in page.text


def test_images_that_the_detector_could_not_read_are_named(tmp_path, scenes):
    learner = NoisyLearner(RotatedInstances.concat(scenes[1:]), unreadable=["scene_0002", "test_0001"])
    with make(tmp_path, scenes, learner=learner, detector=Start(taught=4, classes=CLASSES)) as loop:
        loop.run(1)
        page = Page(loop.report())
    assert "Could not be read: scene_0002 (no image)" in page.text
    assert "without 1 of its images, which could not be read" in page.text
    assert "of 15 images" in page.text
