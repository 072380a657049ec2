"""Files that a power cut left empty, and files that are gone: the round goes on, or the error says what to do."""

import json

import pandas as pd
import pytest
from helpers.loops.loop import TEST, TRUTH, make, queried
from helpers.noisy import NoisyLearner, Start

from al_rotate.data import RotatedInstances
from al_rotate.loop import ActiveLoop
from al_rotate.workspace.progress import advise_on

ROUND = "rounds/000"


@pytest.fixture
def folder(tmp_path):
    """Round 0 has queried with trained weights, and nothing is answered."""
    with make(tmp_path / "work", detector=Start(taught=4)) as loop:
        loop.query()
    return tmp_path / "work"


def reopen(folder):
    return ActiveLoop(folder, learner=NoisyLearner(TRUTH))


def undisturbed(tmp_path):
    with make(tmp_path / "undisturbed", detector=Start(taught=4)) as loop:
        loop.run(1)
        return loop.workspace.labels(), loop.workspace.ledger(), loop.workspace.history()["mAP"].tolist()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("selection.csv", b"", "the round goes on without saying why"),
        ("selection.csv", b"\0" * 4096, "the round goes on without saying why"),
        ("corrections.csv", b"", "kept as corrections.csv.damaged-1"),
        ("account.csv", b"\xff\xfe", None),  # nothing is to be told, so that nobody looks at it
        ("detections/0.parquet", b"", "round 0 are made again, and the rest is kept as detections.damaged-1"),
        ("detections/1.parquet", b"\0" * 4096, "round 0 are made again, and the rest is kept as detections.damaged-1"),
        ("detections/detections.json", b"", "round 0 are made again, and the rest is kept as detections.damaged-1"),
    ],
    ids=lambda value: f"{len(value)} bytes" if isinstance(value, bytes) else "",
)
def test_a_damaged_file_does_not_hold_up_the_round(folder, tmp_path, name, content, said):
    expected = undisturbed(tmp_path)
    (folder / ROUND / name).write_bytes(content)
    with reopen(folder) as loop:
        if said:
            with pytest.warns(UserWarning, match=f"{folder / ROUND / name}.*{said}"):
                loop.collect()
        else:
            loop.collect()
        loop.train()
        assert loop.workspace.labels() == expected[0]
        assert loop.workspace.ledger().equals(expected[1])  # the costs, too: the detections are the same
        assert loop.workspace.history()["mAP"].tolist() == expected[2]
        loop.query()


def test_detections_that_are_gone_are_made_again(folder, tmp_path):
    expected = undisturbed(tmp_path)
    for shard in (folder / ROUND / "detections").iterdir():
        shard.unlink()
    (folder / ROUND / "detections").rmdir()
    with reopen(folder) as loop:
        with pytest.warns(UserWarning, match=r"detections on the 5 images of round 0 are made again$"):
            loop.collect()
        assert loop.learner.predicted == [(folder / "initial.pth", queried(loop.workspace)[0])]
        assert loop.workspace.ledger().equals(expected[1])


@pytest.mark.parametrize("content", [b"", b"PAR1 and nothing more"])
def test_a_damaged_shard_of_a_killed_query_is_made_again(tmp_path, content):
    with make(tmp_path / "one", detector=Start(taught=4)) as loop:
        expected = loop.query()
    with make(tmp_path / "two", detector=Start(taught=4)) as loop:
        shard = loop.workspace.begin_round().folder / "detections" / "1.parquet"
        shard.parent.mkdir()
        shard.write_bytes(content)
        assert loop.query().equals(expected)
        assert len(RotatedInstances.load(shard)) == 12


def test_damaged_detections_on_the_test_set_are_made_again(folder, tmp_path):
    expected = undisturbed(tmp_path)
    shard = folder / ROUND / "test_detections" / "0.parquet"
    shard.parent.mkdir()
    shard.touch()
    with reopen(folder) as loop:
        loop.collect()
        assert loop.train()["mAP"] == expected[2][0]


@pytest.mark.parametrize("name", ["test.parquet", "test.files.json"])
@pytest.mark.parametrize("damage", ["emptied", "gone"])
def test_a_test_set_is_missed(folder, name, damage):
    (folder / name).write_bytes(b"") if damage == "emptied" else (folder / name).unlink()
    with reopen(folder) as loop:
        loop.collect()
        with pytest.raises(
            (ValueError, FileNotFoundError), match=rf"test set of {folder} is gone or damaged.*{name}.*set_test"
        ):
            loop.train()
        assert loop.learner.trained == []  # it is told before the training, not after it


def test_a_workspace_of_an_older_version_misses_its_test_set_too(tmp_path):
    """It did not record that there is one, but it has measured on it."""
    with make(tmp_path) as loop:
        loop.run(1)
        kept = {name: value for name, value in loop.workspace.settings.items() if name != "test"}
        with loop.workspace._transaction() as db:
            db.execute("UPDATE meta SET value = ? WHERE key = 'settings'", (json.dumps(kept),))
    for name in ("test.parquet", "test.files.json"):
        (tmp_path / name).unlink()
    with reopen(tmp_path) as loop:
        loop.query()
        loop.collect()
        with pytest.raises(FileNotFoundError, match=r"test\.parquet"):
            loop.train()


def test_a_test_set_without_a_readable_image_measures_nothing(tmp_path):
    learner = NoisyLearner(TRUTH, unreadable=TEST.image_ids.tolist())
    with make(tmp_path, learner=learner) as loop:
        loop.query()
        loop.collect()
        with pytest.raises(
            FileNotFoundError, match=r"none of the 8 test images can be read, e\.g\. 'test_00': no image"
        ):
            loop.train()


@pytest.mark.parametrize("name", ["held_back.parquet", "held_back.json"])
def test_damaged_held_back_labels_are_named(folder, name):
    (folder / name).write_bytes(b"")
    with pytest.raises(ValueError, match=rf"labels that {folder} holds back are gone or damaged.*held_back\.json"):
        reopen(folder)
    (folder / "held_back.parquet").unlink()
    with pytest.raises(ValueError, match=rf"{folder / 'held_back.parquet'}"):
        reopen(folder)


def test_damaged_detections_of_earlier_rounds_are_done_without(tmp_path):
    with make(tmp_path, detector=Start(taught=4)) as loop:
        loop.run(3)
        damaged = tmp_path / "rounds" / "001" / "detections" / "0.parquet"
        damaged.write_bytes(b"")
        with pytest.warns(UserWarning, match=f"{damaged}.*nothing is learnt from the detections of round 1: delete"):
            assert len(loop.query()) == 5
        (tmp_path / "rounds" / "002" / "test_detections" / "0.parquet").write_bytes(b"")
        with pytest.warns(UserWarning, match="the advice does without these detections: delete"):
            assert advise_on(loop.workspace).stop is None
        loop.collect()
        loop.train()
    assert pd.read_csv(tmp_path / "rounds" / "003" / "selection.csv")["why"].str.startswith("Rank").all()
