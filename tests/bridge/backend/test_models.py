"""Which weights are served: those of a config and its checkpoint, and what is shown. See test_connected, too."""

import json

import pytest
from helpers.loops.loop import TRUTH, make
from helpers.noisy import DoubtfulLearner, Start

from al_rotate.bridge import Connection
from al_rotate.bridge.backend.models import CheckpointModels, WorkspaceModels
from al_rotate.storage.files import sha256
from al_rotate.workspace.artefacts import read_showing_rule


def test_a_folder_of_trainings_belongs_to_one_checkpoint(tmp_path):
    checkpoint, other, work = tmp_path / "a.pth", tmp_path / "b.pth", tmp_path / "work"
    checkpoint.write_bytes(b"some weights")
    other.write_bytes(b"other weights")
    for _ in range(2):
        models = CheckpointModels("rtmdet", checkpoint, work_dir=work)
    message = "holds trainings that began with another checkpoint; give another work_dir"
    with pytest.raises(ValueError, match=message):
        CheckpointModels("rtmdet", other, work_dir=work)
    recorded = json.loads((work / "began.json").read_text())
    assert recorded == {"config": "rtmdet", "checkpoint": sha256(checkpoint)}
    assert models.versions() == [f"a-{sha256(checkpoint)[:8]}"]
    assert models.is_trained(models.weights())


def test_trainings_are_versions(tmp_path):
    """Each finished job adds one, as long as its checkpoint exists."""
    checkpoint, work = tmp_path / "first.pth", tmp_path / "work"
    checkpoint.write_bytes(b"some weights")
    models = CheckpointModels("rtmdet", checkpoint, work_dir=work)
    for number, state in enumerate(("finished", "failed", "finished"), start=1):
        folder = work / "jobs" / f"{number:04d}"
        folder.mkdir(parents=True)
        trained = folder / "finetuned.pth"
        trained.write_bytes(f"weights {number}".encode())
        (folder / "job.json").write_text("{}")
        (folder / "result.json").write_text(json.dumps({"state": state, "checkpoint": str(trained)}))
    assert [version.partition("-")[0] for version in models.versions()] == ["first", "finetuned", "finetuned"]
    assert len({*models.versions()}) == 3
    assert models.weights().path == trained
    trained.unlink()
    assert models.weights().path == work / "jobs" / "0001" / "finetuned.pth"


def test_a_workspace_shows_what_its_next_query_would(tmp_path):
    """Learnt from the answers, for the weights that are served; a score given to ``connect`` goes first."""
    with make(tmp_path, learner=DoubtfulLearner(TRUTH), detector=Start(taught=24), budget=8) as loop:
        loop.run(2)
        models = WorkspaceModels(tmp_path)
        rule = models.showing(models.weights())
        loop.query()
        assert rule.calibrated is not None
        assert rule.to_json() == read_showing_rule(loop.workspace.rounds()[2].folder).to_json()
        loop.collect()
        loop.train()
        loop.rename_class("ship", "vessel")
        assert models.showing(models.weights()).least == 0.3  # until it is started again
    Connection("http://127.0.0.1:1", 1, shown=0.0).save(tmp_path)
    assert WorkspaceModels(tmp_path).showing(models.weights()).least == 0
