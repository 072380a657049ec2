from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from mmengine.config import Config  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402
from mmrotate.registry import DATASETS  # noqa: E402

from al_rotate import RotatedInstances  # noqa: E402
from al_rotate.data import synthetic  # noqa: E402
from al_rotate.detection import finetune  # noqa: E402
from al_rotate.detection.training.config import training_config  # noqa: E402


@pytest.fixture(autouse=True)
def scope():
    init_default_scope("mmrotate")  # as a Runner does


def test_empty_images_are_kept_unless_asked_otherwise(quick, tmp_path: Path):
    labels = quick["labels"]
    fewer = labels.where(labels.image_index != 0)
    empty = int((fewer.counts == 0).sum())
    assert empty > 0
    for keep, count in ((True, 8), (False, 8 - empty)):
        config = training_config(**{**quick, "labels": fewer, "keep_empty": keep}, work_dir=tmp_path)
        assert len(DATASETS.build(config.train_dataloader.dataset)) == count


def test_shipped_configs_of_each_kind_become_trainable(quick, tmp_path: Path):
    """Data, classes and evaluator are put in their place, whatever the config wraps them in."""
    names = [
        "rotated_rtmdet_l-coco_pretrain-3x-dota_ms",
        "oriented-rcnn-le90_r50_fpn_1x_dota",
        "roi-trans-le90_r50_fpn_1x_dota",
        "rotated-retinanet-rbox-le90_r50_fpn_rr-6x_hrsc",
        "gliding-vertex-qbox_r50_fpn_1x_dota",
        "h2rbox-le90_r50_fpn_adamw-1x_dior",
    ]
    for name in names:
        data = {"images": quick["images"], "labels": quick["labels"], "classes": quick["classes"]}
        config = training_config(name, **data, work_dir=tmp_path / name, val=quick["labels"])
        again = Config.fromfile(tmp_path / name / "config.py")
        assert again.model == config.model
        for loader in (config.train_dataloader, config.val_dataloader):
            dataset = DATASETS.build(loader.dataset)
            assert dataset.metainfo["classes"] == synthetic.CLASSES
            sample = dataset[0]
            assert {"inputs", "data_samples"} == set(sample)
        # Only a checkpoint of the same training can be resumed: another one has no iterations to count from.
        assert config.resume is not bool(config.get("load_from"))


def test_a_config_that_an_earlier_training_wrote_gets_no_hook_twice(quick, tmp_path: Path):
    training_config(**quick, work_dir=tmp_path / "first")
    data = {name: quick[name] for name in ("images", "labels", "classes")}
    again = training_config(tmp_path / "first" / "config.py", **data, work_dir=tmp_path / "again")
    kinds = [hook["type"] for hook in again.custom_hooks]
    assert len(kinds) == len({*kinds})
    assert {"ProgressBar", "StepTogether", "StopWhenDiverged"} <= {*kinds}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ("a", "b")}, r"expected labels of the classes \('a', 'b'\), got \('vehicle'"),
        ({"labels": RotatedInstances.empty(["scene_0000"])}, "at least one box to train on, got <Rotated"),
        ({"images": {}}, "an image file for every label, got none for 8, e.g. 'scene_0000'"),
        ({"val": RotatedInstances.empty(["other"])}, "got none for 1, e.g. 'other'"),
    ],
)
def test_what_cannot_be_trained_on(quick, tmp_path: Path, change: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        finetune(**{**quick, **change}, work_dir=tmp_path)
    assert not list(tmp_path.glob("*.pth"))


def test_slurm_of_one_task_is_no_distributed_training(quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A shell inside an allocation has SLURM_PROCID too."""
    for variable in ("LOCAL_RANK", "SLURM_PROCID", "SLURM_NTASKS"):
        monkeypatch.delenv(variable, raising=False)
    launchers = []
    for variables in ({}, {"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, {"SLURM_NTASKS": "2"}, {"LOCAL_RANK": "0"}):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        launchers.append(training_config(**quick, work_dir=tmp_path).launcher)
    assert launchers == ["none", "none", "slurm", "pytorch"]
