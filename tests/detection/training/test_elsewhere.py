"""The same training by MMRotate's own tool, and by torchrun."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.detectors import read_weights

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from al_rotate.detection import configs  # noqa: E402
from al_rotate.detection.small_models import small_rtmdet  # noqa: E402
from al_rotate.detection.training.config import training_config  # noqa: E402

SCRIPT = """
import json, os
from al_rotate import RotatedInstances
from al_rotate.detection import finetune
from al_rotate.detection.checkpoints import read_checkpoint

labels = RotatedInstances.load({labels!r})
arguments = {arguments!r}
arguments.update(labels=labels, val=labels)
result = finetune(**arguments)
read_checkpoint(result.checkpoint)  # there for every rank when the call returns
assert finetune(**arguments) == result
with open({work!r} + "/rank" + os.environ["RANK"], "w") as file:
    json.dump(result.metrics, file)
"""


def test_mmrotates_own_tool_runs_the_config(quick, tmp_path: Path):
    training_config(**quick, val=quick["labels"], work_dir=tmp_path / "work")
    tool = configs.SHIPPED.parent / "tools" / "train.py"
    command = [sys.executable, tool, tmp_path / "work" / "config.py", "--work-dir", tmp_path / "elsewhere"]
    options = ["--cfg-options", "train_cfg.max_iters=2", "train_cfg.val_interval=2"]
    done = subprocess.run([*map(str, command), *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "elsewhere" / "iter_2.pth").exists()
    assert "dota/mAP" in next((tmp_path / "elsewhere").rglob("*.log")).read_text()


def test_two_processes_train_one_model(quick, finetuned, tmp_path: Path):
    labels = quick["labels"].save(tmp_path / "labels.parquet")
    options = {**quick["cfg_options"], **small_rtmdet(64, iterations=2, lr=0.0), "train_dataloader.num_workers": 0}
    arguments = {**quick, "images": str(quick["images"]), "cfg_options": options}
    arguments |= {"labels": None, "checkpoint": str(finetuned.checkpoint), "work_dir": str(tmp_path / "work")}
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(labels=str(labels), arguments=arguments, work=str(tmp_path)))
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    done = subprocess.run([sys.executable, *launch], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (json.loads((tmp_path / f"rank{rank}").read_text()) for rank in (0, 1))
    assert first == second
    assert (first["iterations"], "dota/mAP" in first) == (2, True)
    assert [file.name for file in (tmp_path / "work").glob("*.pth") if "iter" not in file.name] == ["finetuned.pth"]
    # At a learning rate of zero nothing but the statistics of batch normalisation changes.
    before, after = read_weights(finetuned.checkpoint), read_weights(tmp_path / "work" / "finetuned.pth")
    trained = [name for name in before if "running" not in name and "tracked" not in name]
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in trained)
