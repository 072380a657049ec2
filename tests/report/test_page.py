"""The page stands alone and says what there is to say, at every stage of a loop."""

import re

import pandas as pd
from helpers.loops.page import CLASSES, Page, make
from helpers.noisy import NoisyLearner, Start
from PIL import Image

from al_rotate.data import RotatedInstances
from al_rotate.loop import Answer, SimulatedAnnotator
from al_rotate.report import write_report
from al_rotate.workspace import Workspace


def test_the_page_stands_alone(done):
    folder, _, page = done
    assert (folder / "report.html").exists()
    assert [path.name for path in folder.glob(".*")] == []
    assert len(page.addresses) == 4  # curves, test images, what is in the pool, corrections: and all of them decode
    assert all(min(image.size) > 100 for image in page.images)
    outside_images = re.sub(r"base64,[^\"]+", "", page.source).replace("http://www.w3.org/2000/svg", "")
    for reference in ("http", "url(", "@import", "file:", 'src="/', str(folder)):
        assert reference not in outside_images
    assert not {"link", "iframe", "object", "base"} & page.tags
    assert all(len(alternative) > 20 for alternative in page.alternatives)
    assert len(page.source) < 2_000_000


def test_what_a_person_wants_comes_first(done):
    _, history, page = done
    before, after = (100 * value for value in history["mAP"])
    places = [
        page.text.index(text)
        for text in (
            f"{after:.1f} %mAP at rotated IoU 0.5: {after - before:+.1f} points in the last round, {before:.1f} %",
            "What did it cost?",
            "8 images answered, with 11 boxes.",
            "Is another round worth it?Too early to tell",
            "QueryAsk for labels of the most useful of 8 images left.al-rotate query harbours",
            "The images",
            "The same test images, round by round",
            "Rounds",
            "What people changed",
        )
    ]
    assert places == sorted(places)


def test_what_the_page_says(done):
    folder, _, page = done
    assert "harbours" in page.text
    assert all(name in page.text for name in CLASSES)
    headings = ["Round 1: 4 of 12 images, picked by pal", "Round 0: 4 of 16 images, picked by random"]
    assert page.text.index(headings[0]) < page.text.index(headings[1])
    selection = pd.read_csv(folder / "rounds" / "001" / "selection.csv")
    for image_id, why in zip(selection["image_id"], selection["why"], strict=True):
        assert page.gallery[image_id]["why"] == why
        assert page.gallery[image_id]["round"] == 1
    assert selection["why"][0].startswith("Rank 1 of 12: ")
    assert page.text.count("no detections, because nothing was trained yet") == 1  # in round 0


def test_before_the_first_query(tmp_path, scenes):
    with make(tmp_path, scenes) as loop:
        loop.workspace.begin_round()
        page = Page(loop.report())
    assert page.images == []
    assert "So far no round has been evaluated" in page.text
    assert "No image is answered." in page.text
    assert "Round 0" not in page.text
    assert len(page.frame(0)) == 0
    assert "16 unlabelled" in page.text


def test_asked_but_not_answered(tmp_path, scenes):
    with make(tmp_path, scenes, annotator=None, detector=Start(taught=40, classes=CLASSES)) as loop:
        loop.query()
        page = Page(loop.report(tmp_path / "elsewhere" / "page.html"))
    assert not (tmp_path / "report.html").exists()
    assert len(page.images) == 1  # what is in the pool
    assert "4 images wait for an answer. Then collect." in page.text
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
    assert len(page.images) == 2  # what is in the pool, corrections
    assert "Round 1: 4 of 12 images, picked by custom" in page.text
    whys = [card["why"] for card in page.gallery.values()]
    assert any(re.fullmatch(r"Rank 1 of 12: \d box(es)? to correct\.", why) for why in whys)


def test_names_cannot_break_the_page(tmp_path, scenes):
    root, pool, test = scenes
    ids = ["a<u>", "<script>alert(1)</script>", "x$\\frac$", "very/long/" * 12 + "name", "&amp;", '"quoted"']
    classes = ("<em>", "</script><script>alert(2)</script>", "c&d", "a$b$", "f")
    named = pool.subset(pool.image_ids[: len(ids)]).replace(image_ids=ids, classes=classes)
    files = {i: root / "pool" / "images" / f"{old}.jpg" for i, old in zip(ids, pool.image_ids, strict=False)}
    tested = test.replace(classes=classes)
    learner = NoisyLearner(RotatedInstances.concat([named, tested]))
    changes = {"images": files, "classes": classes, "annotator": SimulatedAnnotator(named), "learner": learner}
    with make(tmp_path / "a&b<c>", scenes, **changes, test=(root / "test" / "images", tested), budget=6) as loop:
        loop.run(1)
        page = Page(loop.report())
    assert not {"u", "em"} & page.tags
    assert len(page.scripts) == 2  # the gallery's data, and its program
    assert {*page.gallery} == {*ids}
    for name in (*classes, "a&b<c>"):
        assert name in page.text
    (by_class,) = [page.frame(k) for k in range(len(page.tables)) if "round 0" in page.frame(k)]
    assert {"<em>", "</script><script>alert(2)</script>"} <= {*by_class["class"]}


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
    statuses = {image_id: card["status"] for image_id, card in page.gallery.items()}
    assert statuses == {"image0": "labelled", "image1": "labelled", "image2": "skipped"}
    assert [len(page.gallery[name]["labels"]) for name in ("image0", "image1")] == [0, 1]
    assert page.gallery["image2"]["labels"] is None
    assert page.gallery["image2"]["picture"] is None
    assert page.gallery["image2"]["problem"] == "cannot be read: not an image (8 bytes)"
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
