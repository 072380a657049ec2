"""Configs with a slip, of another version, or without parts: one ValueError that says where, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.detectors import RTMDET, predict

pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from mmengine.config import Config  # noqa: E402

from al_rotate.detection import Detector, configs, finetune  # noqa: E402
from al_rotate.detection.small_models import small_rtmdet  # noqa: E402

SLIPS = {
    "slip.py": ("model = dict(\n", r"slip\.py: expected a config of MMEngine, got in line 1 of .*slip\.py SyntaxError"),
    "name.py": ("x = 1\nmodel = dict(type=undefined)\n", r"line 2 of .*name\.py NameError: name 'undefined' is not"),
    "base.py": ("_base_ = ['name.py']\n", r"base\.py: .* in line 2 of .*name\.py NameError"),
    "base_slip.py": ("_base_ = ['slip.py']\n", r"base_slip\.py: .* in one of its _base_ files SyntaxError"),
    "twice.py": (
        "_base_ = ['a.py', 'b.py']\nmodel = dict(type='A')\n",
        r"twice\.py: expected a config of MMEngine, got",
    ),
    "slip.yaml": ("model: [1,\n", r"slip\.yaml: expected a config of MMEngine, got ParserError"),
    "slip.json": ('{"model": ', r"slip\.json: expected a config of MMEngine, got \w+Error"),
    "list.json": ("[1]", r"list\.json: expected a config of MMEngine, got \w+Error"),
    "leaving.py": ("raise SystemExit(3)\n", r"leaving\.py: .*, got in line 1 of .*leaving\.py SystemExit: 3"),
    "divided.py": ("model = dict(depth=1 / 0)\n", r"line 1 of .*divided\.py ZeroDivisionError"),
    "empty.py": ("", r"empty\.py: expected a config with model, for a detector, got only an empty one"),
    "data.py": ("img_size = 3\n", r"expected a config with model, .* got only img_size.* Use the complete config"),
    "type.py": (
        "model = dict(type='RotatedRTMDett')\n",
        r"type\.py: expected a model that can be built, got .*RotatedRTMDett",
    ),
    "old.py": (
        "model = dict(type='RotatedRetinaNet')\ndata = dict(train=dict(type='DOTADataset', classes=('ship',)))\n",
        r"old\.py: expected a config of MMRotate 1\.x, got one of 0\.x, with model, data\. Start from",
    ),
}


@pytest.mark.parametrize("name", SLIPS)
def test_a_slip_is_said_in_one_line(tmp_path: Path, name: str):
    for file in ("a.py", "b.py"):
        (tmp_path / file).write_text("shared = 1\nmodel = dict(type='B')\n")
    for file, (text, _) in SLIPS.items():
        (tmp_path / file).write_text(text)
    with pytest.raises(ValueError, match=SLIPS[name][1]) as error:
        Detector(tmp_path / name, None, "cpu", classes=["ship"])
    assert "\n" not in str(error.value)


def test_options_that_do_not_fit():
    for options in ({"train_pipeline.99.type": "A"}, {"model.bbox_head.num_classes.deeper": 1}):
        with pytest.raises(ValueError, match=rf"takes the cfg_options {next(iter(options))}, got"):
            configs.load(RTMDET, options)
    with pytest.raises(ValueError, match=r"a model that can be built, got TypeError: .*widen_faktor"):
        Detector(RTMDET, None, "cpu", {**small_rtmdet(64), "model.backbone.widen_faktor": 1}, ["ship"])
    pipeline = [{"type": "mmdet.LoadImageFromFile"}, {"type": "mmdet.Resise"}]
    with pytest.raises(ValueError, match=r"a test pipeline that can be built, got KeyError: .*Resise"):
        Detector(RTMDET, None, "cpu", {**small_rtmdet(64), "test_dataloader.dataset.pipeline": pipeline}, ["ship"])


def test_the_users_config_is_left_as_it_was():
    config = Config.fromfile(configs.find(RTMDET))
    config.merge_from_dict(small_rtmdet(64))
    before = config.pretty_text
    Detector(config, None, "cpu", None, ["ship"])
    assert config.pretty_text == before


def part_of(config: Config, folder: Path, *names: str) -> Path:
    path = folder / "part.py"
    Config({name: config[name] for name in ("model", *names)}).dump(path)
    return path


def test_configs_for_inference_predict(finetuned: Any, detector: Detector, scenes: Any, tmp_path: Path):
    whole = configs.load(finetuned.config, {"model.test_cfg": detector.config.model.test_cfg})
    whole.test_pipeline = whole.test_dataloader.dataset.pipeline
    expected = predict(detector, scenes.images)
    for parts in (["default_scope", "test_dataloader"], ["test_dataloader"], ["test_pipeline"], ["val_dataloader"]):
        part = Detector(part_of(whole, tmp_path, *parts), finetuned.checkpoint, "cpu", precision="fp32")
        if parts != ["val_dataloader"]:
            assert predict(part, scenes.images) == expected
    with pytest.raises(ValueError, match="expected a config with test_dataloader and test_pipeline, for the prepar"):
        Detector(part_of(whole, tmp_path), finetuned.checkpoint, "cpu")


def test_without_a_dataset_classes_have_to_be_given(tmp_path: Path):
    path = part_of(configs.load(RTMDET, small_rtmdet(64)), tmp_path, "test_pipeline")
    with pytest.raises(
        ValueError, match=r"part\.py: expected a dataset that names its classes, got none; give classes"
    ):
        Detector(path, None, "cpu")
    assert Detector(path, None, "cpu", classes=["ship"]).classes == ("ship",)


@pytest.mark.parametrize(
    ("lacking", "message"),
    [
        (["train_dataloader"], "expected a config with train_dataloader, for training, got only"),
        (["optim_wrapper", "train_cfg"], "a config with train_cfg and optim_wrapper, for training"),
        (["val_dataloader"], "a config with val_dataloader, for an evaluation while training"),
    ],
)
def test_a_training_says_what_its_config_lacks(quick: Any, tmp_path: Path, lacking: list[str], message: str):
    config = configs.load(RTMDET, quick["cfg_options"])
    for name in lacking:
        config.pop(name)
    arguments = {**quick, "config": config, "cfg_options": None, "val": quick["labels"]}
    with pytest.raises(ValueError, match=message):
        finetune(**arguments, work_dir=tmp_path)


def test_a_training_without_an_environment_and_with_a_misspelt_sampler(quick: Any, tmp_path: Path):
    config = configs.load(RTMDET, quick["cfg_options"])
    config.pop("env_cfg")
    config.train_dataloader.sampler.type = "EndlessSampler"
    with pytest.raises(ValueError, match=r"a config that can be trained, got KeyError: .*EndlessSampler"):
        finetune(**{**quick, "config": config, "cfg_options": None}, work_dir=tmp_path)
