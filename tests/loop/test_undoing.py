"""What an undone round leaves as it is: images that were made candidates again, and imported labels under review."""

import numpy as np
import pytest
from helpers.loops.loop import POOL, make
from helpers.noisy import Start

SOME = POOL.image_ids[:12].tolist()


def moved(image_ids):
    """Labels whose boxes were moved by somebody."""
    labels = POOL.subset(sorted(image_ids))
    return labels.replace(boxes=labels.boxes + np.array([3, 0, 0, 0, 0]))


@pytest.mark.parametrize("stage", ["queried", "collected", "trained"])
def test_unskipped_images_stay_candidates(tmp_path, stage):
    """Skipped in round 0 and unskipped, before the query of round 1 or while it waits, they are not skipped again."""
    with make(tmp_path, annotator=None, detector=Start(taught=4), budget=24) as loop:
        workspace = loop.workspace
        asked = loop.query()["image_id"].tolist()
        before, meanwhile, kept = asked[:2], asked[2:4], asked[10:]
        costs = workspace.spent(before).assign(annotator="eve", seconds=4.0)
        labelled = POOL.subset(sorted(asked[4:10]))
        workspace.record_answers(0, labelled, dict.fromkeys([*before, *meanwhile, *kept], "clouds"), costs)
        loop.train()
        loop.unskip(before)
        assert sorted(loop.query()["image_id"]) == sorted(before)
        loop.unskip(meanwhile)
        if stage != "queried":
            workspace.record_answers(1, POOL.subset(before[:1]), {before[1]: "clouds"})
            workspace.close_collection(1)
        if stage == "trained":
            loop.train()
        loop.undo_last_round()
        assert workspace.ids("unlabelled") == sorted([*before, *meanwhile])
        assert workspace.ids("skipped") == sorted(kept)
        assert workspace.labels() == labelled
        assert workspace.spent(before)["seconds"].tolist() == [4, 4]  # what they took is not given back
        assert sorted(loop.query()["image_id"]) == sorted([*before, *meanwhile])


@pytest.mark.parametrize("answered", [False, True])
def test_imported_labels_under_review_stay(tmp_path, answered):
    """Whether or not somebody changed them in the round that is undone, the labels are again as they were imported."""
    with make(tmp_path, annotator=None, detector=Start(taught=4), labels=POOL.subset(SOME)) as loop:
        workspace = loop.workspace
        loop.train()
        workspace.begin_round()
        asked = SOME[:3]
        workspace.record_query(1, asked, [0.9, 0.8, 0.7], "review", again=True)
        assert workspace.ids("queried") == asked
        if answered:
            workspace.record_answers(1, moved(asked))
            assert workspace.labels().subset(asked) == moved(asked)
        loop.undo_last_round()
        assert workspace.labels() == POOL.subset(SOME)
        assert workspace.ids("queried") == []
        ledger = workspace.ledger().set_index("image_id").loc[asked]
        assert ledger["annotator"].tolist() == ["imported"] * 3
        assert ledger["seconds"].tolist() == [0, 0, 0]
        assert workspace.history()["stage"].tolist() == ["trained", "undone"]


def test_labels_imported_while_a_query_waits_stay(tmp_path):
    with make(tmp_path, annotator=None, detector=Start(taught=4)) as loop:
        workspace = loop.workspace
        first, second, *others = loop.query()["image_id"]
        loop.add_labels(moved([first]))
        workspace.record_answers(0, POOL.subset([second]), dict.fromkeys(others, "clouds"))
        loop.train()
        loop.undo_last_round()
        assert workspace.labels() == moved([first])
        assert workspace.counts()["unlabelled"] == 23
        assert workspace.counts()["skipped"] == 0
