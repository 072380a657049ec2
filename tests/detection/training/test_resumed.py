"""Trainings that were killed, and folders that belong to another one."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from al_rotate.data import synthetic  # noqa: E402
from al_rotate.detection import Detector, configs, finetune  # noqa: E402


class TestResume:
    def test_a_kill_costs_what_came_after_the_last_checkpoint(self, quick, tmp_path: Path):
        labels = quick["labels"].save(tmp_path / "labels.parquet")
        script = tmp_path / "script.py"
        script.write_text(f"""
import sys, time
from al_rotate import RotatedInstances
from al_rotate.detection.training import finetuning
from al_rotate.detection.openmmlab.components import ProgressBar

after_train_iter = ProgressBar.after_train_iter
def wait(self, runner, *args, **kwargs):
    after_train_iter(self, runner, *args, **kwargs)
    if runner.iter == 4:
        time.sleep(600)  # the parent's moment
ProgressBar.after_train_iter = wait

arguments = {dict(quick, labels=None, images=str(quick["images"]))!r}
arguments["labels"] = RotatedInstances.load({str(labels)!r})
finetuning.finetune(**arguments, work_dir={str(tmp_path / "work")!r})
""")
        process = subprocess.Popen([sys.executable, "-u", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        written = tmp_path / "work" / "last_checkpoint"
        while not (written.exists() and written.read_text().endswith("iter_4.pth")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        out, _ = process.communicate()
        assert out == b""

        # The next checkpoint is half written, and named already.
        whole = (tmp_path / "work" / "iter_4.pth").read_bytes()
        (tmp_path / "work" / "iter_6.pth").write_bytes(whole[: len(whole) // 2])
        written.write_text(str(tmp_path / "work" / "iter_6.pth"))
        with pytest.raises(ValueError, match="another labels"):
            finetune(**{**quick, "labels": quick["labels"].subset(["scene_0000"])}, work_dir=tmp_path / "work")
        result = finetune(**quick, work_dir=tmp_path / "work")
        assert result.metrics["iterations"] == 6
        logs = "".join(file.read_text() for file in (tmp_path / "work").rglob("*.log"))
        assert logs.count("resumed epoch: 0, iter: 4") == 1
        assert Detector(result.config, result.checkpoint, "cpu").classes == synthetic.CLASSES

    def test_nothing_trained_nothing_claimed(self, quick, tmp_path: Path):
        """A call that failed before its first checkpoint does not stand in the way of a corrected one."""
        with pytest.raises(ValueError, match="at least one box"):
            finetune(**{**quick, "labels": quick["labels"].where(quick["labels"].labels < 0)}, work_dir=tmp_path)
        assert finetune(**quick, work_dir=tmp_path).metrics["iterations"] == 6


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_request_as_version_0_1_wrote_it_is_recognised(quick, tmp_path: Path):
    labels, settings = quick["labels"], configs.load(quick["config"], quick["cfg_options"]).to_dict()
    arrays = [labels.offsets.tobytes(), labels.labels.tobytes(), labels.boxes.tobytes()]
    request = {
        "config": sha256(json.dumps((settings, list(quick["classes"]), 0, True), sort_keys=True, default=str).encode()),
        "labels": sha256(b"\0".join([*(image_id.encode() for image_id in labels.image_ids), *arrays])),
        "val": None,
        "checkpoint": None,
    }
    content = json.dumps(request, indent=1)
    (tmp_path / "request.json").write_text(content, encoding="utf-8")
    (tmp_path / "finetuned.json").write_text(json.dumps({"metrics": {"last_loss": 0.5}}), encoding="utf-8")
    (tmp_path / "finetuned.pth").touch()
    assert finetune(**quick, work_dir=tmp_path).metrics == {"last_loss": 0.5}
    assert (tmp_path / "request.json").read_text(encoding="utf-8") == content
    with pytest.raises(ValueError, match="holds a training with another config, val; choose another work_dir"):
        finetune(**quick, work_dir=tmp_path, val=labels, seed=1)
