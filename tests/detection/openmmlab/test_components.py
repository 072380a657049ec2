"""The dataset of trainings, and configs that name it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from al_rotate import RotatedInstances, boxes  # noqa: E402
from al_rotate.data import dataset  # noqa: E402
from al_rotate.detection.openmmlab.components import RotatedInstancesDataset  # noqa: E402


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, RotatedInstances]:
    """Five images, of any suffix, in no order, one without a box."""
    names = ["b/two.jpeg", "a.b.tiff", "empty.png", "b/one.webp", "z.JPG"]
    files = {}
    for name in names:
        files[name.rsplit(".", 1)[0]] = tmp_path / name
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 30)).save(tmp_path / name)
    labels = RotatedInstances(
        list(files),
        [0, 2, 3, 3, 4, 5],
        [[10, 10, 8, 4, 0.5], [20, 20, 6, 3, -0.2], [9, 9, 4, 4, 0], [30, 20, 9, 2, 1.2], [5, 5, 4, 2, -1]],
        [1, 0, 1, 0, 0],
        classes=("ship", "plane"),
    )
    return dataset.write(tmp_path / "data.parquet", files, labels, labels.classes or ()), labels


def build(path: Path, **kwargs: Any) -> RotatedInstancesDataset:
    return RotatedInstancesDataset(ann_file=str(path), metainfo={"classes": ("ship", "plane")}, **kwargs)


def test_everything_is_there_in_order(written):
    path, labels = written
    built = build(path)
    assert [item["img_id"] for item in built] == ["b/two", "a.b", "empty", "b/one", "z"]
    assert [Path(item["img_path"]).name for item in built] == [
        "two.jpeg",
        "a.b.tiff",
        "empty.png",
        "one.webp",
        "z.JPG",
    ]
    instances = [instance for item in built for instance in item["instances"]]
    assert [instance["bbox_label"] for instance in instances] == labels.labels.tolist()
    corners = np.array([instance["bbox"] for instance in instances]).reshape(-1, 4, 2)
    np.testing.assert_allclose(boxes.from_corners(corners), labels.boxes, atol=1e-5)
    assert built.get_cat_ids(0) == [1, 0]
    assert built.metainfo["classes"] == ("ship", "plane")


def test_empty_images_leave_only_when_asked_to(written):
    path, _ = written
    counts = {
        None: 5,
        json.dumps({"filter_empty_gt": False}): 5,
        json.dumps({"filter_empty_gt": True}): 4,
    }
    for filter_cfg, count in counts.items():
        assert len(build(path, filter_cfg=filter_cfg and json.loads(filter_cfg))) == count
    assert len(build(path, filter_cfg={"filter_empty_gt": True}, test_mode=True)) == 5


def test_its_images_look_as_the_detector_sees_them(written):
    path, _ = written
    turned = Image.fromarray(np.arange(3600, dtype=np.uint8).reshape(30, 40, 3))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(path.with_name("empty.png"), exif=exif)
    loaded = build(path, pipeline=[{"type": "mmrotate.LoadImageAsShown"}])[2]
    assert loaded["img_shape"] == loaded["ori_shape"] == (40, 30)
    np.testing.assert_array_equal(loaded["img"], np.rot90(np.asarray(turned), -1)[..., ::-1])


CONFIG = """
custom_imports = dict(imports=["{module}"], allow_failed_imports=False)
dataset = dict(type="RotatedInstancesDataset", ann_file={data!r}, metainfo=dict(classes=("ship", "plane")),
               pipeline=[dict(type="LoadImageAsShown")])
metric = dict(type="RotatedMAP", iou_thrs=[0.5])
hooks = [dict(type="StopWhenDiverged"), dict(type="ProgressBar")]
"""
BUILD = """
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmrotate.registry import DATASETS, HOOKS, METRICS
config = Config.fromfile({config!r})
init_default_scope("mmrotate")
print(len(DATASETS.build(config.dataset)), METRICS.build(config.metric).iou_thrs)
print(*(type(HOOKS.build(hook)).__name__ for hook in config.hooks))
import mmcv.ops.diff_iou_rotated, mmrotate.structures.bbox.bbox_overlaps as overlaps
print(overlaps.box_iou_rotated.__module__)
"""


@pytest.mark.parametrize("module", ["al_rotate.registered", "al_rotate.detection.openmmlab.components"])
def test_configs_of_trainings_open_in_a_process_of_their_own(written, tmp_path: Path, module: str):
    """Those of version 0.1 name al_rotate.registered, and nothing else of this package is imported."""
    config = tmp_path / "config.py"
    config.write_text(CONFIG.format(module=module, data=str(written[0])))
    done = subprocess.run([sys.executable, "-c", BUILD.format(config=str(config))], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-3:] == [
        "5 [0.5]",
        "StopWhenDiverged ProgressBar",
        "al_rotate.detection.openmmlab.rotated_ops",
    ]
