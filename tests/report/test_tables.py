"""The figures of the page's tables, against the workspace they come from."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers.loops.page import CLASSES, Page, make
from helpers.noisy import Start

from al_rotate.data import RotatedInstances
from al_rotate.evaluation.calibration import detection_ece
from al_rotate.loop import Query, SimulatedAnnotator
from al_rotate.report import calibration, corrections, figures
from al_rotate.sampling import stopping
from al_rotate.workspace import Workspace


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
    assert rounds["mAP"].tolist() == [f"{100 * value:.1f}" for value in history["mAP"]]
    (by_class,) = [page.frame(k) for k in range(len(page.tables)) if "round 0" in page.frame(k)]
    assert by_class["class"].tolist() == measured
    for number in (0, 1):
        expected = [f"{100 * history[f'AP/{name}'][number]:.1f}" for name in measured]
        assert by_class[f"round {number}"].tolist() == expected
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
        table = corrections.current_corrections(workspace)
        drawn = corrections.corrections_figure(table).axes
    files = [pd.read_csv(folder / "rounds" / name / "corrections.csv") for name in ("000", "001")]
    assert (files[0]["what"] == "added").all()  # nothing had been predicted
    # The simulation returns everything each time; a round keeps what is new in it.
    assert not {*files[0]["image_id"]} & {*files[1]["image_id"]}
    assert len(table) == len(files[0]) + len(files[1])
    assert (table[table["round"] == 0]["what"] == "added").all()

    effort, classes = page.frame(1), page.frame(2)
    later = table[table["round"] == 1]
    predicted, moved = later[later["what"] != "added"], later[later["moved"]]
    assert effort["predicted"].tolist() == ["0", str(len(predicted))]
    assert effort["kept, %"].tolist() == ["", f"{100 * (predicted['what'] == 'kept').mean():.0f}"]
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
    assert heights == pytest.approx([(predicted["what"] == what).mean() for what in ("kept", "changed", "deleted")])
    for ax in drawn[1:]:
        assert sum(patch.get_height() for patch in ax.patches) == len(moved)


def test_changes_of_an_image_that_was_answered_again(tmp_path, scenes):
    """Each image counts in the round of its current answer; and the account is cut short."""
    image_ids = scenes[1].image_ids.tolist()
    wrong = RotatedInstances(image_ids, range(17), [[20, 20, 9, 5, 0]] * 16, [0] * 16, classes=CLASSES)

    class Person(SimulatedAnnotator):
        def pull(self, since=None):
            answer = super().pull()
            rows = [(i, "dropped", f"region <b>{k}</b>", "") for i in answer.labels.image_ids for k in range(6)]
            return replace(answer, account=pd.DataFrame(rows, columns=["image_id", "action", "detail", "region"]))

    with make(tmp_path, scenes, annotator=Person(wrong)) as loop:
        loop.run(1)
    with make(tmp_path, scenes, annotator=Person(scenes[1])) as loop:
        first = loop.workspace.query(0)["image_id"].tolist()
        loop.query()
        loop.annotator.push(Query(first, {}, RotatedInstances.empty()))
        loop.collect()
        page = Page(loop.report())
        table = corrections.current_corrections(loop.workspace)
    assert {*table["round"]} == {1}
    assert {*first} & {*table["image_id"]} == {i for i in first if scenes[1][i].n_boxes}
    assert page.frame(1)["images"].tolist() == ["8"]
    earlier, later = (page.frame(len(page.tables) - k) for k in (1, 2))
    assert later.columns.tolist() == ["image_id", "action", "detail"]  # nothing is in the fourth
    assert len(later) == len(earlier) == 20
    assert later["detail"].tolist()[:7] == [f"region <b>{k}</b>" for k in (0, 1, 2, 3, 4, 5, 0)]
    assert "and 28 more, in rounds/001/account.csv" in page.text
    assert "and 4 more, in rounds/000/account.csv" in page.text


def test_imported_labels_are_no_answers(tmp_path, scenes):
    """They are counted, in a column of their own, and took no time; each round's seconds are those of its answers."""
    labels = scenes[1].subset(scenes[1].image_ids[:5])
    with make(tmp_path, scenes, labels=labels) as loop:
        loop.run(2)
        ledger = loop.workspace.ledger().set_index("image_id")
        effort = Page(loop.report()).frame(1)
    answered = ledger[ledger["annotator"] != "imported"]
    assert effort["images"].tolist() == ["0", "4"]
    assert effort["imported"].tolist() == ["5", "0"]
    assert effort["s/image"].tolist() == ["", f"{answered['seconds'].mean():.1f}"]
    assert effort["boxes"].tolist() == ["", str(answered["n_boxes"].sum())]


def test_another_test_set_is_shown_from_then_on(tmp_path, scenes):
    root, _, test = scenes
    with make(tmp_path, scenes) as loop:
        loop.run(1)
        loop.set_test(root / "test" / "images", test.subset(test.image_ids[:2]))
        loop.run(2)
        titles = [ax.get_title(loc="left") for ax in figures.evaluation_figure(loop.workspace).axes]
    assert {title.partition(": ")[2] for title in titles} == {*test.image_ids[:2].tolist()}


def test_whether_to_go_on_and_whether_scores_are_honest(tmp_path, scenes):
    """Five rounds: the advice, and the reliability of what the queries showed."""
    with make(tmp_path, scenes, budget=3, detector=Start(taught=4, classes=CLASSES)) as loop:
        history = loop.run(5)
        page = Page(loop.report())
        judged = calibration.judge_scores(loop.workspace)
    assert stopping.advise(history).reason.partition("he last")[2] in page.text
    scores, probabilities, hits, _ = judged
    sentence = f"Of {len(hits)} detections in queried images {hits.mean():.0%} lie on an object; too few"
    assert sentence in page.text
    assert np.array_equal(scores, probabilities)
    enough = calibration.JudgedScores(
        np.tile(scores, 99)[:200], np.tile(probabilities, 99)[:200] * 0.5, np.tile(hits, 99)[:200]
    )
    left, right = calibration.reliability_figure(enough).axes
    assert [ax.get_title() for ax in (left, right)] == ["scores", "calibrated"]
    assert calibration.reliability_figure(judged) is None
    before, after = (detection_ece(values, enough[2]) for values in enough[:2])
    assert f"off by {before:.3f} on average (D-ECE), calibrated on other images by {after:.3f}" in (
        calibration.describe_scores(enough)
    )
