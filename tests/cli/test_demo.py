from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from al_rotate.cli import demo  # noqa: E402
from al_rotate.detection.checkpoints import read_checkpoint  # noqa: E402

SMALL = {"SIZE": 64, "POOL": 12, "TEST": 4, "BUDGET": 4, "ITERATIONS": 6}


def test_killed_in_a_training_it_resumes_and_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The loop on real MMRotate: SIGKILL between two checkpoints of the second round's training, and the call again."""
    folder, script = tmp_path / "demo", tmp_path / "script.py"
    script.write_text(f"""
import time
from al_rotate import demo
import al_rotate.detection.configs  # silences what the forks print on import
from al_rotate.detection.openmmlab.components import ProgressBar

for name, value in {SMALL!r}.items():
    setattr(demo, name, value)
after_train_iter = ProgressBar.after_train_iter
def wait(self, runner, *args, **kwargs):
    after_train_iter(self, runner, *args, **kwargs)
    if "001" in runner.work_dir and runner.iter == 4:
        time.sleep(600)  # until the parent kills this process
ProgressBar.after_train_iter = wait
demo.run({str(folder)!r}, rounds=2)
""")
    process = subprocess.Popen([sys.executable, "-u", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    training = folder / "rounds" / "001" / "training"
    while not (training / "iter_4.pth").exists() or "iter_4" not in (training / "last_checkpoint").read_text():
        assert process.poll() is None, process.communicate()[1].decode()[-3000:]
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    out, _ = process.communicate()
    assert out == b""
    first_round = (folder / "rounds" / "000" / "training" / "finetuned.pth").stat().st_mtime_ns
    assert not (folder / "report.html").exists()

    for name, value in SMALL.items():
        monkeypatch.setattr(demo, name, value)
    with demo.run(folder, rounds=2) as loop:
        history = loop.workspace.history()
        assert history["stage"].tolist() == ["trained", "trained"]
        assert history["n_labelled"].tolist() == [4, 8]
        assert np.isfinite(history["mAP"]).all()
        queried = [image_id for number in (0, 1) for image_id in loop.workspace.query(number)["image_id"]]
        assert len(set(queried)) == 8
        assert loop.workspace.counts()["labelled"] == 8
    assert (folder / "rounds" / "000" / "training" / "finetuned.pth").stat().st_mtime_ns == first_round
    logs = "".join(file.read_text() for file in training.rglob("*.log"))
    assert logs.count("resumed epoch: 0, iter: 4") == 1
    assert read_checkpoint(training / "finetuned.pth").classes == loop.classes
    report = (folder / "report.html").read_text()
    assert report.count("data:image/") >= 2  # curves and pictures, in the one file
