"""What predicted boxes saved: answers worked by hand, and those of a loop whose first round shows nothing."""

import pandas as pd
import pytest
from helpers.loops.loop import POOL, make
from helpers.loops.page import Page
from helpers.noisy import Start

from al_rotate.data import RotatedInstances
from al_rotate.loop import Query, SimulatedAnnotator
from al_rotate.report.corrections import current_corrections, savings_by_round, table_of_savings
from al_rotate.sampling import CostModel
from al_rotate.workspace.artefacts import SHOWN


def test_by_hand(tmp_path):
    """Round 0 is drawn: 4 s an image and 20 s a box. In round 1 boxes are looked at, moved, relabelled and deleted."""
    cost = CostModel(image=4, added=20, moved=6, relabelled=3, deleted=2, kept=1)
    with make(tmp_path, annotator=SimulatedAnnotator(POOL, cost), budget=4) as loop:
        loop.run(1)
        drawn = loop.workspace.labels()
        asked = loop.query()["image_id"].tolist()
        truth = POOL.subset(asked)
        # Each image's first box is right, its second off by a fifth of its shorter side, the third of another class,
        # and one is on nothing; further boxes are not predicted.
        place = [min(image.n_boxes, 3) for _, image in truth]
        rows = [truth.offsets[k] + j for k, n in enumerate(place) for j in range(n)]
        which = [j for n in place for j in range(n)]
        boxes, labels = truth.boxes[rows].astype(float), truth.labels[rows].copy()
        for row, kind in enumerate(which):
            boxes[row, 0] += (kind == 1) * min(boxes[row, 2:4]) / 5
            labels[row] = (labels[row] + (kind == 2)) % 3
        shown = RotatedInstances.concat(
            RotatedInstances(
                [image_id],
                [0, n + 1],
                [*boxes[start : start + n], [5, 5, 4, 4, 0]],
                [*labels[start : start + n], 0],
                [0.9] * (n + 1),
                classes=truth.classes,
            )
            for image_id, n, start in zip(asked, place, pd.Series([0, *place]).cumsum(), strict=False)
        )
        loop.annotator.push(Query(asked, {}, shown, round=2))  # after the loop's own
        loop.collect()
        savings = savings_by_round(loop.workspace, current_corrections(loop.workspace))
        page = Page(loop.report())
    first, second, both = (row for _, row in savings.iterrows())
    assert (first["round"], first["images"], first["boxes"]) == (0, 4, drawn.n_boxes)
    assert first["corrected"] == first["from_nothing"] == 4 * 4 + 20 * drawn.n_boxes
    n_kept, n_moved, n_relabelled = (which.count(kind) for kind in range(3))
    n_added = truth.n_boxes - len(which)
    assert min(n_kept, n_moved, n_relabelled, n_added) > 0
    assert second["corrected"] == 4 * 4 + n_kept + 6 * n_moved + 3 * n_relabelled + 20 * n_added + 2 * 4
    assert second["from_nothing"] == 4 * 4 + 20 * truth.n_boxes
    assert second["saved"] == pytest.approx(1 - second["corrected"] / second["from_nothing"])
    assert (both["round"], both["boxes"]) == ("all", drawn.n_boxes + truth.n_boxes)
    assert both["corrected"] == first["corrected"] + second["corrected"]
    assert "Predicted boxes are shown from a score of 0.3, because scores are not calibrated" in page.text
    (table,) = [page.frame(k) for k in range(len(page.tables)) if "saved, %" in page.frame(k)]
    assert table["saved, %"].tolist() == ["0", f"{100 * second['saved']:.0f}", f"{100 * both['saved']:.0f}"]
    assert table["drawn from nothing, min"].tolist()[0] == f"{first['from_nothing'] / 60:.1f}"


def test_what_does_not_count(tmp_path):
    """Imported labels, reviewed ones, and answers of which nobody says what was corrected."""
    with make(tmp_path, labels=POOL.subset(POOL.image_ids[:4])) as loop:
        empty = savings_by_round(loop.workspace, current_corrections(loop.workspace))
        assert len(empty) == 0
        assert table_of_savings(empty) is None
        loop.train()
        loop.query()
        loop.collect()
        loop.train()
        before = savings_by_round(loop.workspace, current_corrections(loop.workspace))
        assert before["images"].tolist() == [5, 5]
        assert loop.workspace.ledger()["round"].nunique() == 2  # with the imported ones
        reviewed = loop.review(budget=2)["image_id"].tolist()
        loop.collect()
        table = current_corrections(loop.workspace)
        after = savings_by_round(loop.workspace, table)
        assert after["images"].tolist() == [5 - len(reviewed)] * 2
        told = table[table["image_id"] != table["image_id"].iloc[0]]
        assert savings_by_round(loop.workspace, told)["images"].tolist() == [4 - len(reviewed)] * 2


@pytest.mark.parametrize("content", ["", "{}", '{"why": 1'])
def test_a_damaged_rule_leaves_the_report_to_the_other_rounds(tmp_path, content):
    """Its savings and its sentence are left out, with a warning that names the file; notebooks go on, too."""
    with make(tmp_path, budget=4, detector=Start(taught=4)) as loop:
        loop.run(2)
        table = current_corrections(loop.workspace)
        before = savings_by_round(loop.workspace, table)
        file = tmp_path / "rounds" / "001" / SHOWN
        file.write_text(content)
        with pytest.warns(UserWarning, match=rf"{file} is damaged .*the report goes without what it said of round 1"):
            savings = savings_by_round(loop.workspace, table)
        with pytest.warns(UserWarning, match=f"{file} is damaged"):
            page = Page(loop.report())
        with pytest.warns(UserWarning, match=f"{file} is damaged"):
            assert "What did it cost?" in loop._repr_html_()
    assert before["round"].tolist() == [0, 1, "all"]
    assert savings["round"].tolist() == [0, "all"]
    assert savings.iloc[0].tolist() == before.iloc[0].tolist()
    assert savings.iloc[1].tolist()[1:] == before.iloc[0].tolist()[1:]
    assert page.text.count("Predicted boxes are shown from a score of 0.3") == 1
