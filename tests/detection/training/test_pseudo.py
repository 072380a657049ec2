"""Trainings on pseudo-labelled images: what is erased, what is counted, and that any config can do it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from mmengine.registry import init_default_scope  # noqa: E402
from mmrotate.registry import DATASETS  # noqa: E402

from al_rotate import RotatedInstances, Schedule  # noqa: E402
from al_rotate.data import synthetic  # noqa: E402
from al_rotate.data.images import find, read  # noqa: E402
from al_rotate.detection import finetune  # noqa: E402
from al_rotate.detection.training.config import training_config  # noqa: E402
from al_rotate.detection.training.data import readable  # noqa: E402
from al_rotate.detection.training.pseudo import EraseIgnored  # noqa: E402
from al_rotate.evaluation.pseudo_labels import PseudoLabelled  # noqa: E402


@pytest.fixture
def parts(quick, tmp_path: Path):
    """The arguments of a training on eight labelled images, and two more with a sure box and boxes in doubt."""
    more = synthetic.write_dataset(tmp_path / "more", 4, 128, seed=4, prefix="more")
    more = more.subset(more.image_ids[more.counts >= 2][:2])
    first = np.isin(np.arange(more.n_boxes), more.offsets[:-1])
    images = {**find(quick["images"]), **find(tmp_path / "more" / "images")}
    return {**quick, "images": images}, PseudoLabelled(more.where(first), more.where(~first))


def test_doubtful_boxes_are_erased_but_for_the_pixels_of_sure_ones():
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, 30:] = [30, 60, 90]  # the mean is half of it
    ignored = np.array([[20, 20, 20, 10, 0]], np.float32)  # with its margin: x from 8 to 32, y from 14 to 26
    sure = {"bbox": [24, 10, 40, 10, 40, 30, 24, 30]}
    results = EraseIgnored()({"img": image.copy(), "ignored": ignored, "instances": [sure]})
    changed = (results["img"] != image).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (14, 26, 8, 23)
    assert changed.sum() == 13 * 16
    assert {tuple(pixel) for pixel in results["img"][changed].tolist()} == {(15, 30, 45)}


@pytest.mark.parametrize("name", ["rotated_rtmdet_tiny-3x-dota", "oriented-rcnn-le90_r50_fpn_1x_dota"])
def test_unlabelled_images_come_beside_the_labelled_ones(parts, tmp_path: Path, name):
    init_default_scope("mmrotate")
    quick, pseudo = parts
    data = {"images": quick["images"], "labels": quick["labels"], "classes": quick["classes"]}
    schedule = Schedule(per_image=5, least=1, balance=0.9)
    config = training_config(name, **data, work_dir=tmp_path / "work", schedule=schedule, pseudo=pseudo)
    assert config.train_cfg.max_iters == 40  # of eight labelled images
    labelled, unlabelled = DATASETS.build(config.train_dataloader.dataset).datasets
    assert len(labelled.dataset) == 8  # whose classes alone are balanced
    for k, (image_id, image) in enumerate(pseudo.labels):
        item = unlabelled.get_data_info(k)
        assert [instance["bbox_label"] for instance in item["instances"]] == image.labels.tolist()
        assert item["ignored"].tolist() == pseudo.ignored[image_id].boxes.tolist()
        load, erase = unlabelled.pipeline.transforms[:2]
        shown = erase(load(item))["img"]
        assert (shown != read(quick["images"][image_id], "BGR")).any()
        assert {*unlabelled[k]} == {"inputs", "data_samples"}  # the whole pipeline


def test_images_that_have_gone_changed_or_broken_are_left_out(parts, tmp_path: Path):
    quick, pseudo = parts
    files = quick["images"]
    one, other = pseudo.labels.image_ids.tolist()
    assert readable(files, pseudo).labels == pseudo.labels
    Image.new("RGB", (32, 32)).save(tmp_path / "small.png")
    (tmp_path / "broken.png").write_bytes(files[one].read_bytes()[:200])
    for bad in (tmp_path / "small.png", tmp_path / "broken.png", tmp_path / "absent.png"):
        kept = readable({**files, one: bad}, pseudo)
        assert kept.labels.image_ids.tolist() == kept.ignored.image_ids.tolist() == [other]
    assert readable({}, pseudo) is None


def test_a_training_with_them_is_another_one_than_without(parts, tmp_path: Path):
    quick, pseudo = parts
    result = finetune(**quick, work_dir=tmp_path / "work", pseudo=pseudo)
    assert result.metrics["iterations"] == 6
    assert finetune(**quick, work_dir=tmp_path / "work", pseudo=pseudo) == result
    with pytest.raises(ValueError, match="holds a training with another labels; choose another work_dir"):
        finetune(**quick, work_dir=tmp_path / "work")
    assert RotatedInstances.load(tmp_path / "work" / "data" / "train.parquet") == quick["labels"]
