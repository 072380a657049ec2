"""Which weights are served: those of a config and its checkpoint. Workspaces are in test_connected."""

import json

import pytest

from al_rotate.bridge.backend.models import CheckpointModels
from al_rotate.storage.files import sha256


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
