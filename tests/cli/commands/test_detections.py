"""The command predict."""

import pytest

from al_rotate.data import RotatedInstances, synthetic
from al_rotate.data.formats import dota

CONFIG = "rotated_rtmdet_tiny-3x-dota"


@pytest.mark.mm
def test_predict(al, tmp_path):
    synthetic.write_dataset(tmp_path, 2, 64)
    (tmp_path / "images" / "broken.jpg").write_bytes(b"no image")
    small = ["test_dataloader.dataset.pipeline.1.scale=(64,64)", "test_dataloader.dataset.pipeline.2.size=(64,64)"]
    code, out, err = al(
        "predict", tmp_path / "images", "--config", CONFIG, "--device", "cpu", "--out", tmp_path / "detections",
        "--class-scores", "--features", "--batch-size", 2, "--workers", 1, "--score-thr", 0.2,
        "--cfg-options", *small,
    )  # fmt: skip
    assert code == 0, err
    detections = RotatedInstances.load(tmp_path / "detections")
    assert detections.image_ids.tolist() == ["scene_0000", "scene_0001"]
    summary = f"{tmp_path / 'detections'}: 2 images, {detections.n_boxes} boxes, 1 image could not be read\n  broken: "
    assert summary in out
    assert detections.classes == dota.DOTA_V1
    assert detections.class_scores.shape == (detections.n_boxes, 15)
    assert detections.image_features.shape == (2, detections.box_features.shape[1])


@pytest.mark.mm
def test_predict_on_scenes(al, tmp_path):
    synthetic.write_dataset(tmp_path, 2, 96)
    small = ["test_dataloader.dataset.pipeline.1.scale=(64,64)", "test_dataloader.dataset.pipeline.2.size=(64,64)"]
    code, out, err = al(
        "predict", tmp_path / "images", "--config", CONFIG, "--device", "cpu", "--out", tmp_path / "detections",
        "--tile", 64, "--overlap", 16, "--scales", 1, 0.5, "--score-thr", 0.2, "--cfg-options", *small,
    )  # fmt: skip
    assert code == 0, err
    detections = RotatedInstances.load(tmp_path / "detections")
    assert detections.image_ids.tolist() == ["scene_0000", "scene_0001"]
    assert detections.image_sizes.tolist() == [[96, 96]] * 2
    assert f"2 images, {detections.n_boxes} boxes, 0 images could not be read" in out


@pytest.mark.mm
def test_what_only_tiles_have_is_not_passed_over(al, tmp_path):
    arguments = ("predict", tmp_path, "--config", CONFIG, "--out", tmp_path / "out", "--scales", 0.5)
    code, _, err = al(*arguments)
    assert (code, "expected --tile with --overlap or --scales" in err) == (1, True)


@pytest.mark.mm
def test_nothing_to_detect_on_is_an_error_that_leads_on(al, tmp_path):
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "broken.jpg").write_bytes(b"no image")
    options = ("--config", CONFIG, "--device", "cpu", "--workers", 1)
    code, out, err = al("predict", tmp_path / "pool", *options, "--out", tmp_path / "out")
    assert (code, "next:" in out) == (1, False)
    assert "0 images, 0 boxes, 1 image could not be read\n  broken: " in out
    assert f"got none: delete {tmp_path / 'out'} before the next try" in err
