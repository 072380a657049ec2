"""The pretrained backbone of a detector without a checkpoint: from the cache, or said where to put it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.detectors import RTMDET, resnet18_options

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from mmengine.runner.checkpoint import get_torchvision_models  # noqa: E402

from al_rotate.detection import Detector  # noqa: E402
from al_rotate.detection.checkpoints.fetching import fetch_pretrained  # noqa: E402
from al_rotate.detection.small_models import small_rtmdet  # noqa: E402

NOWHERE = "https://weights.invalid/some/backbone.pth"  # .invalid is reserved by RFC 2606


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


def options(checkpoint: str, **more: Any) -> dict[str, Any]:
    return {**small_rtmdet(64), "model.backbone.init_cfg": {"type": "Pretrained", "checkpoint": checkpoint, **more}}


def published(path: Path) -> dict[str, Any]:
    """Backbone weights of another seed, with a prefix as the shipped configs have it."""
    torch.manual_seed(7)
    path.parent.mkdir(parents=True, exist_ok=True)
    backbone = Detector(RTMDET, None, "cpu", small_rtmdet(64), ["ship"]).model.backbone.state_dict()
    torch.save({"state_dict": {f"backbone.{name}": value for name, value in backbone.items()}}, path)
    return backbone


@pytest.mark.parametrize("where", ["cache", "file"])
def test_a_backbone_that_is_there_is_kept(cache: Path, tmp_path: Path, where: str, recwarn: pytest.WarningsRecorder):
    file = cache / "backbone.pth" if where == "cache" else tmp_path / "own.pth"
    backbone = published(file)
    torch.manual_seed(8)
    source = NOWHERE if where == "cache" else str(file)
    detector = Detector(RTMDET, None, "cpu", options(source, prefix="backbone."), ["ship"])
    loaded = detector.model.backbone.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in backbone.items())
    assert not [warning for warning in recwarn if "backbone" in str(warning.message)]
    assert detector.untrained  # its head
    # What is saved has the backbone, so that the config needs to name none.
    again = Detector(detector.config, detector.save(tmp_path / "start.pth"), "cpu")
    assert torch.equal(again.model.backbone.state_dict()["stem.0.conv.weight"], backbone["stem.0.conv.weight"])
    assert detector.config.model.backbone.init_cfg is None


def test_offline_it_says_which_file_to_put_where(cache: Path, tmp_path: Path):
    with pytest.warns(UserWarning, match="the backbone starts at random") as caught:
        Detector(RTMDET, None, "cpu", options(NOWHERE, prefix="backbone."), ["ship"])
    said = next(str(warning.message) for warning in caught if "backbone starts" in str(warning.message))
    assert f"could not download {NOWHERE}" in said
    assert f"put it at {cache / 'backbone.pth'}" in said
    with pytest.warns(UserWarning, match="could not find /nowhere/own.pth, the pretrained weights"):
        Detector(RTMDET, None, "cpu", options("/nowhere/own.pth"), ["ship"])


def test_a_backbone_that_cannot_be_read_is_an_error(cache: Path):
    cache.mkdir(parents=True)
    (cache / "backbone.pth").write_text("<html>log in</html>")
    with pytest.raises(ValueError, match="expected pretrained weights that can be loaded, got"):
        Detector(RTMDET, None, "cpu", options(NOWHERE), ["ship"])


def test_names_of_torchvision_lead_to_its_file(cache: Path):
    address = get_torchvision_models()["resnet50"]
    target = cache / address.rpartition("/")[2]
    target.parent.mkdir(parents=True)
    target.write_bytes(b"there")
    fetch_pretrained([{"type": "Pretrained", "checkpoint": "torchvision://resnet50"}])
    fetch_pretrained([{"type": "Kaiming"}, {"type": "Pretrained", "checkpoint": "s3://elsewhere/a.pth"}])  # MMEngine's
    assert [*cache.iterdir()] == [target]
    assert target.read_bytes() == b"there"


def test_with_a_checkpoint_no_backbone_is_fetched(cache: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder):
    small = Detector(RTMDET, None, "cpu", small_rtmdet(64), ["ship"])
    Detector(RTMDET, small.save(tmp_path / "whole.pth"), "cpu", options(NOWHERE), ["ship"])
    assert not [warning for warning in recwarn if "backbone" in str(warning.message)]
    assert not cache.exists()


def test_two_stage_detectors_keep_theirs(cache: Path, tmp_path: Path):
    name = "oriented-rcnn-le90_r50_fpn_1x_dota"
    plain = Detector(name, None, "cpu", resnet18_options(name), ["ship"])
    torch.save(plain.model.backbone.state_dict(), tmp_path / "resnet18.pth")
    start = {"type": "Pretrained", "checkpoint": str(tmp_path / "resnet18.pth")}
    started = Detector(name, None, "cpu", {**resnet18_options(name), "model.backbone.init_cfg": start}, ["ship"])
    assert torch.equal(started.model.backbone.conv1.weight, plain.model.backbone.conv1.weight)
