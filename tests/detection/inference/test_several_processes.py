"""torchrun on the CPU: each process has its own shards, and together they are the whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.detectors import MANY_BOXES, predict

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from al_rotate import RotatedInstances  # noqa: E402
from al_rotate.data import images  # noqa: E402
from al_rotate.detection import Detector  # noqa: E402
from al_rotate.detection import detector as module  # noqa: E402

SCRIPT = """
import os, sys, time
from pathlib import Path
from al_rotate import images
from al_rotate.detection import detector
detector.SHARD = 2
files = images.find({images!r})
work = Path({work!r})
rank = os.environ["RANK"]
slow = len(sys.argv) > 1 and rank == sys.argv[1]

def read(file):
    if slow and (work / "out" / f"part-0000{{rank}}.parquet").exists():
        (work / "pid").write_text(str(os.getpid()))
        time.sleep(600)  # with its second shard in hand
    return images.read(file, "BGR")

pairs = [(image_id, lambda file=file: read(file)) for image_id, file in files.items()]
loaded = detector.Detector({config!r}, {checkpoint!r}, "cpu", {options!r}, precision="fp32")
detections = loaded.predict(pairs, out=work / "out", class_scores=True, progress=False)
detections.save(work / f"rank{{rank}}.parquet")
"""


def test_processes_share_the_shards_and_a_killed_one_costs_one(
    detector: Detector, finetuned, scenes, tmp_path: Path, monkeypatch
):
    script, out = tmp_path / "script.py", tmp_path / "out"
    fields = {"config": str(finetuned.config), "checkpoint": str(finetuned.checkpoint), "options": MANY_BOXES}
    script.write_text(SCRIPT.format(images=str(scenes.images), work=str(tmp_path), **fields))

    def launch(processes: int, *words: str) -> subprocess.Popen:
        run = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), str(script)]
        return subprocess.Popen([sys.executable, *run, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    two = launch(2, "1")
    wanted = [tmp_path / "pid", *(out / f"part-0000{k}.parquet" for k in (0, 2, 4, 6))]
    while not all(file.exists() for file in wanted):
        assert two.poll() is None, two.communicate()
        time.sleep(0.05)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    two.communicate()
    before = {file.name: file.stat().st_mtime_ns for file in out.glob("part-*")}
    assert sorted(before) == [f"part-0000{k}.parquet" for k in (0, 1, 2, 4, 6)]
    with pytest.raises(ValueError, match=r"expected 8 shards in .*, got 5: the prediction is not finished"):
        RotatedInstances.load(out)

    four = launch(4)  # by more processes than began
    _, errors = four.communicate()
    assert four.returncode == 0, errors[-3000:]
    after = {file.name: file.stat().st_mtime_ns for file in out.glob("part-*")}
    assert len(after) == 8
    assert before.items() <= after.items()

    monkeypatch.setattr(module, "SHARD", 2)
    alone = predict(detector, scenes.images, class_scores=True, out=tmp_path / "alone")
    assert RotatedInstances.load(out) == alone
    assert all(RotatedInstances.load(tmp_path / f"rank{k}.parquet") == alone for k in range(4))


def test_a_stale_shard_of_another_process_is_noticed(detector: Detector, scenes, tmp_path: Path, monkeypatch):
    """The process that reads it has not written it."""
    monkeypatch.setattr(module, "SHARD", 8)
    files = images.find(scenes.images)
    predict(detector, files, out=tmp_path)
    first, *_, last = files
    changed = {image_id: file for image_id, file in files.items() if image_id != last} | {"other": files[first]}
    for name, value in {"RANK": 0, "WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(ValueError, match=r"part-00001\.parquet holds detections of other images"):
        predict(detector, changed, out=tmp_path)


def test_each_streams_its_own(detector: Detector, scenes, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(module, "SHARD", 6)
    monkeypatch.setattr(module, "cores", lambda: 2)
    parts = {}
    for number in (1, 0):
        for name, value in {"RANK": number, "WORLD_SIZE": 2}.items():
            monkeypatch.setenv(name, str(value))
        parts[number] = list(detector.stream(scenes.images, progress=False, out=tmp_path))
    monkeypatch.delenv("RANK")
    assert [[len(part) for part in parts[number]] for number in (0, 1)] == [[6, 4], [6]]
    both = RotatedInstances.concat([parts[0][0], parts[1][0], parts[0][1]])
    assert both == RotatedInstances.load(tmp_path) == predict(detector, scenes.images)
