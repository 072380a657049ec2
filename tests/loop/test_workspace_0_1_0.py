"""A workspace that al_rotate 0.1.0 made, in the middle of its second round, opens, reports and resumes.

The archive holds everything but the weights, of which there are 9 MB per checkpoint.
"""

import json
import sqlite3
import tarfile
from pathlib import Path

import pandas as pd
import pytest
from helpers.noisy import NoisyLearner

from al_rotate import cli
from al_rotate.data import RotatedInstances, synthetic
from al_rotate.loop import ActiveLoop, SimulatedAnnotator
from al_rotate.loop.settings import LoopSettings
from al_rotate.report import write_report
from al_rotate.sampling import Budget, explain
from al_rotate.workspace import Workspace, current_weights

MADE_AT = "/tmp/al_rotate_0_1_0"  # the folder that its paths name
POOL = [f"pool_{k:04d}" for k in range(12)]
QUERIED = ["pool_0008", "pool_0005", "pool_0004", "pool_0011"]  # in the second round


@pytest.fixture
def work(tmp_path):
    """The workspace, with its images where this test has them."""
    with tarfile.open(Path(__file__).with_name("workspace_0_1_0.tar.gz")) as archive:
        archive.extractall(tmp_path, filter="data")
    root = tmp_path / "workspace_0_1_0"
    db = sqlite3.connect(root / "work" / "state.db")
    with db:
        db.execute("UPDATE images SET path = replace(path, ?, ?)", (MADE_AT, str(root)))
    db.close()
    files = root / "work" / "test.files.json"
    files.write_text(files.read_text().replace(MADE_AT, str(root)))
    return root / "work"


def test_the_settings_are_those_it_was_made_with(work):
    with Workspace.open(work, read_only=True) as workspace:
        assert workspace.settings["cold"] is True
        settings = LoopSettings.from_json(workspace.settings)
        assert settings.to_json() == workspace.settings
        assert current_weights(workspace).version == "round-000"
    assert (settings.untrained_start, settings.budget, settings.seed) == (True, Budget(images=4), 1)
    assert (settings.strategy, settings.checkpoint, settings.device) == ("pal", "initial.pth", "cpu")


def test_status_and_report(work, capsys):
    assert cli.main(["status", str(work)]) == 0
    out = capsys.readouterr().out
    assert "4 labelled" in out
    assert f"next: al-rotate collect {work}" in out
    with Workspace.open(work, read_only=True) as workspace:
        assert workspace.query(1)["image_id"].tolist() == QUERIED
        page = write_report(workspace).read_text()
    assert "Round 1: 4 of 8 images, picked by pal" in page
    assert '"why":"Rank 1 of 8: the highest uncertainty; 0 boxes to correct' in page


def test_its_rankings_are_read(work):
    """The column that says where an image was placed had another name."""
    folder = work / "rounds" / "001"
    ranking, selection = pd.read_csv(folder / "ranking.csv"), pd.read_csv(folder / "selection.csv")
    assert "placed" in ranking
    assert explain(ranking, QUERIED) == selection["why"].tolist()


def test_it_resumes(work):
    """With the held-back labels that it remembers, and a learner that takes little time."""
    truth = RotatedInstances.concat(
        [RotatedInstances.load(work / name) for name in ("held_back.parquet", "test.parquet")]
    )
    weights = work / "rounds" / "000" / "training" / "finetuned.pth"
    weights.write_text(json.dumps({"taught": 4, "trainings": 1}))
    learner = NoisyLearner(truth)
    with ActiveLoop(work, learner=learner) as loop:
        assert isinstance(loop.annotator, SimulatedAnnotator)
        assert loop.query()["image_id"].tolist() == QUERIED  # asked already: nothing is detected again
        assert learner.predicted == []
        assert loop.collect()["status"].tolist() == ["labelled"] * 4
        history = loop.run(3)
        assert history["strategy"].tolist() == ["random", "pal", "pal"]
        assert history["n_labelled"].tolist() == [4, 8, 12]
        assert [start for start, *_ in learner.trained] == [weights, loop.workspace.rounds()[1].checkpoint]
        assert loop.workspace.labels() == RotatedInstances.load(work / "held_back.parquet").subset(POOL)


@pytest.mark.mm
def test_it_resumes_with_mmrotate(work):
    """Its configs, of which one names a module that has moved since, load; a round is trained and the next queried."""
    pytest.importorskip("mmrotate")
    from al_rotate.detection import Detector

    trained_config = work / "rounds" / "000" / "training" / "config.py"
    assert "al_rotate.registered" in trained_config.read_text()
    detector = Detector(trained_config, device="cpu", classes=synthetic.CLASSES, precision="fp32")
    for weights in (work / "initial.pth", work / "rounds" / "000" / "training" / "finetuned.pth"):
        detector.save(weights)
    with ActiveLoop(work, train_options={"train_cfg.max_iters": 3, "train_cfg.val_interval": 3}) as loop:
        history = loop.run(2)
        assert history["stage"].tolist() == ["trained", "trained"]
        assert history["iterations"].tolist() == [60, 3]
        assert len(loop.query()) == 4
        assert sorted(path.name for path in (work / "rounds" / "001" / "training").glob("*.pth")) == ["finetuned.pth"]
