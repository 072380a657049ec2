"""Datasets of the comparisons: scenes with near copies, and photographs split and scaled with their labels."""

import cv2
import numpy as np
import pytest

from al_rotate.data import RotatedInstances
from al_rotate.data.formats import dota
from al_rotate.sampling.measures.coverage import scene_of
from experiments.learners.datasets import photographs, scenes, small_copies


def test_rendered_scenes_hold_near_copies_empty_ones_and_a_long_tail(tmp_path):
    parts = scenes(tmp_path, 96, None, unique=30, copied=12)
    pool, files = parts["pool"]
    assert len(pool) == 42
    assert sorted(files) == sorted(pool.image_ids)
    ids = {i for labels, _ in parts.values() for i in labels.image_ids}
    assert len(ids) == sum(len(labels) for labels, _ in parts.values())
    assert (pool.counts == 0).any()
    counts = np.bincount(pool.labels, minlength=5)
    assert counts.max() > 5 * counts.min()
    copies = pool.subset(i for i in pool.image_ids if scene_of(i) == "again/00")
    assert len(copies) == 4
    assert np.ptp(copies.counts) <= max(2, copies.counts.max() // 2)
    assert ((copies.boxes[:, :2] >= 0) & (copies.boxes[:, :2] < 96)).all()


@pytest.fixture
def data(tmp_path):
    """Twelve photographs in DOTA form, the last two to test on."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    (folder / "splits").mkdir()
    ids = [f"p{k}" for k in range(12)]
    for image_id in ids:
        pixels = rng.integers(0, 255, (100, 200, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / "images" / f"{image_id}.png"), pixels)
    boxes = np.tile([100, 50, 40, 20, 0.3], (12, 1))
    labels = RotatedInstances(ids, np.arange(13), boxes, np.zeros(12, int), classes=("s",))
    dota.write(labels, folder / "labelTxt")
    (folder / "splits" / "train.txt").write_text("\n".join(ids[:10]))
    (folder / "splits" / "test.txt").write_text("\n".join(ids[10:]))
    return folder


def test_photographs_are_split_and_scaled_with_their_labels(tmp_path, data):
    parts = photographs(tmp_path / "out", 64, data)
    assert {name: len(labels) for name, (labels, _) in parts.items()} == {"pool": 8, "val": 2, "test": 2}
    test, files = parts["test"]
    assert test.boxes[0] == pytest.approx([32, 16, 12.8, 6.4, 0.3], abs=0.05)
    assert cv2.imread(str(files["p10"])).shape == (32, 64, 3)
    with pytest.raises(ValueError, match="--data"):
        photographs(tmp_path, 64, None)


def test_a_folder_keeps_its_dataset(tmp_path, data):
    made = small_copies("vhr10", tmp_path / "made", 64, data)
    again = small_copies("vhr10", tmp_path / "made", 64)  # without the photographs
    assert again == made
    with pytest.raises(ValueError, match=r"expected vhr10 at 32 px in .*made, got vhr10 at 64 px"):
        small_copies("vhr10", tmp_path / "made", 32, data)
