import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from helpers.noisy import NoisyLearner, Start
from PIL import Image

from al_rotate import report
from al_rotate.data import synthetic
from al_rotate.data.instances import SHOWN_SCORE, RotatedInstances
from al_rotate.evaluation.calibration import detection_ece
from al_rotate.loop.active_loop import ActiveLoop
from al_rotate.loop.annotator import Answer, Query
from al_rotate.loop.simulated import SimulatedAnnotator
from al_rotate.report import calibration as _report_scores
from al_rotate.report import corrections as _report_corrections
from al_rotate.report import figures, plots
from al_rotate.sampling import stopping
from al_rotate.workspace import Workspace

CLASSES = synthetic.CLASSES


class Page(HTMLParser):
    """What a reader of the page is shown: its text, tables (rows of cells) and images."""

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.text, self.tables, self.images, self.addresses, self.tags = "", [], [], [], set()
        self.feed(self.source)
        for address in self.addresses:
            kind, data = re.fullmatch(r"data:image/(\w+);base64,(.+)", address).groups()
            image = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
            image.load()
            assert image.format.lower() == kind
            self.images.append(image)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        self.addresses += [value for name, value in attributes if name in ("src", "href", "srcset", "data", "action")]
        self.inside = tag

    def handle_data(self, data):
        self.text += data
        if self.tables and self.tables[-1] and self.tables[-1][-1] and self.inside in ("td", "th"):
            self.tables[-1][-1][-1] += data.strip()

    def frame(self, number):
        head, *rows = self.tables[number]
        return pd.DataFrame(rows, columns=head)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """The folder, and the labels of pool and test set."""
    folder = tmp_path_factory.mktemp("scenes")
    pool = synthetic.write_dataset(folder / "pool", 16, 64, 5)
    test = synthetic.write_dataset(folder / "test", 8, 64, 8, prefix="test")
    return folder, pool, test


def make(folder, scenes, **changes):
    root, pool, test = scenes
    arguments = {
        "images": root / "pool" / "images",
        "classes": CLASSES,
        "budget": 4,
        "annotator": SimulatedAnnotator(pool),
        "test": (root / "test" / "images", test),
        "learner": NoisyLearner(RotatedInstances.concat([pool, test])),
    }
    return ActiveLoop(folder, **{**arguments, **changes})


@pytest.fixture(scope="module")
def done(scenes, tmp_path_factory):
    """A workspace after two rounds, its history, and its report."""
    folder = tmp_path_factory.mktemp("done") / "harbours"
    with make(folder, scenes) as loop:
        history = loop.run(2)
        return folder, history, Page(loop.report())


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


def test_the_figures_of_the_tables(done):
    folder, history, page = done
    rounds, effort = page.frame(0), page.frame(1)
    assert rounds["round"].tolist() == ["0", "1"]
    assert rounds["strategy"].tolist() == ["random", "pal"]
    for column in ("labelled", "skipped", "boxes"):
        assert rounds[column].tolist() == [str(value) for value in history[f"n_{column}"]]
    assert rounds["hours"].tolist() == [f"{seconds / 3600:.2f}" for seconds in history["cost"]]
    measured = [name for name in CLASSES if f"AP/{name}" in history]
    assert len(measured) == 3
    assert rounds.columns.tolist()[8:] == ["mAP", *(f"AP {name}" for name in measured)]
    for shown, column in (("mAP", "mAP"), (f"AP {measured[-1]}", f"AP/{measured[-1]}")):
        assert rounds[shown].tolist() == [f"{100 * value:.1f}" for value in history[column]]
    with Workspace.open(folder, read_only=True) as workspace:
        ledger = workspace.ledger()
    assert effort["images"].tolist() == ["4", "4"]
    for column in ("boxes", "added", "moved", "relabelled", "deleted"):
        assert effort[column].astype(int).tolist() == ledger.groupby("round")[f"n_{column}"].sum().tolist()
    assert effort["minutes"].astype(float).sum() == pytest.approx(ledger["seconds"].sum() / 60, abs=0.1)


def test_what_people_changed(done):
    folder, _, page = done
    with Workspace.open(folder, read_only=True) as workspace:
        ledger = workspace.ledger()
        table = _report_corrections.current(workspace)
        drawn = _report_corrections.figure(table).axes
    files = [pd.read_csv(folder / "rounds" / name / "corrections.csv") for name in ("000", "001")]
    assert (files[0]["what"] == "added").all()  # nothing had been predicted
    assert len(files[1]) > len(files[1][~files[1]["image_id"].isin(files[0]["image_id"])]) > 0
    assert len(table) == len(files[1])  # the simulation tells all it knows each time, and each row counts once
    assert (table[table["round"] == 0]["what"] == "added").all()

    effort, classes = page.frame(1), page.frame(2)
    later = table[table["round"] == 1]
    seen, moved = later[later["what"] != "added"], later[later["moved"]]
    assert effort["predicted"].tolist() == ["0", str(len(seen))]
    assert effort["kept, %"].tolist() == ["", f"{100 * (seen['what'] == 'kept').mean():.0f}"]
    assert effort["shift, px"].tolist() == ["", f"{moved['centre_shift'].median():.1f}"]
    assert effort["IoU"].tolist() == ["", f"{moved['iou'].median():.2f}"]
    assert effort["moved"].tolist() == ["0", str(len(moved))]
    assert effort["s/image"].astype(float).tolist() == pytest.approx(
        ledger.groupby("round")["seconds"].mean(), abs=0.06
    )
    for column in ("added", "moved", "relabelled", "deleted"):
        assert classes[column].astype(int).sum() == effort[column].astype(int).sum() == ledger[f"n_{column}"].sum()
    assert {*classes["class"]} <= {*CLASSES}

    heights = [patch.get_height() for patch in drawn[0].patches]  # of the one round with predictions
    assert heights == pytest.approx([(seen["what"] == what).mean() for what in ("kept", "changed", "deleted")])
    for ax in drawn[1:]:
        assert sum(patch.get_height() for patch in ax.patches) == len(moved)


def test_changes_of_an_image_that_was_answered_again(tmp_path, scenes):
    """Each image counts in the round of its current answer; and the account is cut short."""
    image_ids = scenes[1].image_ids.tolist()
    wrong = RotatedInstances(image_ids, range(17), [[20, 20, 9, 5, 0]] * 16, [0] * 16, classes=CLASSES)

    class Person(SimulatedAnnotator):
        def pull(self, since=None):
            told = super().pull()
            rows = [(i, "dropped", f"region <b>{k}</b>", "") for i in told.labels.image_ids for k in range(6)]
            return replace(told, account=pd.DataFrame(rows, columns=["image_id", "action", "detail", "region"]))

    with make(tmp_path, scenes, annotator=Person(wrong)) as loop:
        loop.run(1)
    with make(tmp_path, scenes, annotator=Person(scenes[1])) as loop:
        first = loop.workspace.query(0)["image_id"].tolist()
        loop.query()
        loop.annotator.push(Query(first, {}, RotatedInstances.empty()))
        loop.collect()
        page = Page(loop.report())
        table = _report_corrections.current(loop.workspace)
    assert {*table["round"]} == {1}
    assert {*first} & {*table["image_id"]} == {i for i in first if scenes[1][i].n_boxes}
    assert page.frame(1)["images"].tolist() == ["8"]
    earlier, later = (page.frame(len(page.tables) - k) for k in (1, 2))
    assert later.columns.tolist() == ["image_id", "action", "detail"]  # nothing is in the fourth
    assert len(later) == len(earlier) == 20
    assert later["detail"].tolist()[:7] == [f"region <b>{k}</b>" for k in (0, 1, 2, 3, 4, 5, 0)]
    assert "and 28 more, in rounds/001/account.csv" in page.text
    assert "and 4 more, in rounds/000/account.csv" in page.text


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
    assert page.text.count("the detector was not asked") == 1  # in round 0


def test_whether_to_go_on_and_whether_scores_are_honest(tmp_path, scenes):
    """Five rounds: the forecasts, and the reliability of what the queries showed."""
    with make(tmp_path, scenes, budget=3, detector=Start(taught=4, classes=CLASSES)) as loop:
        history = loop.run(5)
        page = Page(loop.report())
        known = _report_scores.judged(loop.workspace)
    table = next(
        page.frame(k) for k in range(len(page.tables)) if page.tables[k][0] == ["round", "forecast", "measured"]
    )
    assert table["round"].tolist() == ["3", "4", "5"]
    assert table["measured"].tolist() == [f"{100 * gain:.1f}" for gain in history["mAP"].diff()[3:]] + [""]
    assert stopping.advise(history).reason.split(":")[0] in page.text
    scores, probabilities, hits = known
    found = f"Of {len(hits)} detections in queried images {hits.mean():.0%} lie on an object; too few"
    assert found in page.text
    assert np.array_equal(scores, probabilities)
    many = np.tile(scores, 99)[:200], np.tile(probabilities, 99)[:200] * 0.5, np.tile(hits, 99)[:200]
    left, right = _report_scores.figure(many).axes
    assert [ax.get_title() for ax in (left, right)] == ["scores", "calibrated"]
    assert _report_scores.figure(known) is None
    before, after = (detection_ece(values, many[2]) for values in many[:2])
    assert f"off by {before:.3f} on average (D-ECE), calibrated on other images by {after:.3f}" in (
        _report_scores.sentence(many)
    )


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
        figure = figures.tested_figure(workspace)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    first, second = titles[:4], titles[4:]
    assert [title.replace("round 0: ", "round 1: ") for title in first] == second
    labels = scenes[2].subset(title.removeprefix("round 0: ") for title in first)
    assert {*labels.labels.tolist()} == {*scenes[2].labels.tolist()}  # every class there is to show
    for number, row in ((0, figure.axes[:4]), (1, figure.axes[4:])):
        found = RotatedInstances.load(folder / "rounds" / f"00{number}" / "test_detections")
        for ax, image_id in zip(row, labels.image_ids, strict=True):
            seen = found[image_id]
            drawn = [len(lines.get_segments()) for lines in ax.collections[1::2]]  # each outline's bright half
            assert drawn == [labels[image_id].n_boxes, int((seen.scores >= SHOWN_SCORE).sum())]
    named = {text.get_text() for text in figure.legends[0].get_texts()}
    assert {CLASSES[k] for k in labels.labels} <= named


def test_no_more_than_four_rounds_of_test_images(tmp_path, scenes):
    with make(tmp_path, scenes, budget=3) as loop:
        loop.run(5)
        rows = [ax.get_title(loc="left").split(":")[0] for ax in figures.tested_figure(loop.workspace).axes[::4]]
    assert rows == ["round 0", "round 1", "round 3", "round 4"]


def test_before_the_first_query(tmp_path, scenes):
    with make(tmp_path, scenes) as loop:
        loop.workspace.begin_round()
        page = Page(loop.report())
    assert page.images == []
    assert "No round has been measured" in page.text
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
    assert "the detector was not asked" not in page.text
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
            page = Page(report.write_report(reader))
        asked = loop.workspace.query(0)
        drawn = figures._picked_figure(loop.workspace, asked, None)
    titles = {ax.get_title(loc="left") for ax in drawn.axes}
    assert {"labelled", "labelled: no object", "skipped", *files} <= titles
    assert page.frame(0)["skipped"].tolist() == ["1"]
    assert page.frame(1)["minutes"].tolist() == ["not known"]
    assert "predicted" not in page.frame(1)  # this annotator told nothing of it
    assert "dropped, held back or odd" not in page.text


def test_images_that_the_detector_could_not_read_are_named(tmp_path, scenes):
    learner = NoisyLearner(RotatedInstances.concat(scenes[1:]), unreadable=["scene_0002", "test_0001"])
    with make(tmp_path, scenes, learner=learner, detector=Start(taught=4, classes=CLASSES)) as loop:
        loop.run(1)
        page = Page(loop.report())
    assert "Could not be read: scene_0002 (no image)" in page.text
    assert "without 1 of its images, which could not be read" in page.text
    assert "of 15 images" in page.text


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
