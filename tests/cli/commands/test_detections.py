"""The commands predict and tile."""

import pytest

import al_rotate
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
    summary = f"{tmp_path / 'detections'}: 2 images, {detections.n_boxes} boxes, 1 images could not be read\n  broken: "
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


def test_tile(al, tmp_path):
    labels = synthetic.write_dataset(tmp_path, 2, 96)
    dota.write(labels, tmp_path / "labelTxt")
    arguments = ("tile", tmp_path / "images", "--out", tmp_path / "tiles", "--tile", 64, "--overlap", 16)
    code, out, err = al(*arguments, "--labels", tmp_path / "labelTxt", "--classes", ",".join(synthetic.CLASSES))
    assert code == 0, err
    assert "8 tiles of 2 scenes" in out
    cut = dota.read(tmp_path / "tiles" / "labelTxt", synthetic.CLASSES)
    assert f"{cut.n_boxes} boxes, of {labels.n_boxes} in the scenes" in out
    assert cut.image_ids.tolist() == list(al_rotate.images.find(tmp_path / "tiles" / "images"))
    assert cut.n_boxes >= labels.n_boxes
    assert al(*arguments)[0] == 0  # again: nothing to do
    code, _, err = al("tile", tmp_path / "images", "--out", tmp_path / "tiles", "--overlap", 2000)
    assert (code, "expected 0 <= overlap < size" in err) == (1, True)
    (tmp_path / "labelTxt" / "other.txt").touch()
    code, _, err = al(*arguments, "--labels", tmp_path / "labelTxt")
    assert (code, "expected a scene for every label file, got none of 'other'" in err) == (1, True)


@pytest.mark.mm
def test_what_only_tiles_have_is_not_passed_over(al, tmp_path):
    arguments = ("predict", tmp_path, "--config", CONFIG, "--out", tmp_path / "out", "--scales", 0.5)
    code, _, err = al(*arguments)
    assert (code, "expected --tile with --overlap or --scales" in err) == (1, True)
