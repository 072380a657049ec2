"""Files that Datumaro 1.13 wrote, in the folders beside this file, of boxes that are known.

It is another program that keeps rotation: in CVAT's XML and DOTA's corners, and as the attribute ``rotation`` of level
boxes, which CVAT's own exports to COCO and VOC have too.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from helpers.shapes import corner_distance
from PIL import Image

from al_rotate.boxes import canonical
from al_rotate.data import formats

WRITTEN = Path(__file__).parent
SIZES = {"scene_1": (200, 100), "scene_2": (120, 160)}
ROWS = [[60, 40, 40, 20, math.radians(30)], [150, 70, 30, 10, 0], [50.5, 80.25, 60, 24, math.radians(120)]]


@pytest.mark.parametrize("folder", ["coco", "coco_polygons", "cvat", "dota", "voc", "yolo"])
def test_boxes_of_datumaro(tmp_path: Path, folder: str) -> None:
    for name, size in SIZES.items():
        Image.new("RGB", size).save(tmp_path / f"{name}.png")
    imported = formats.read(WRITTEN / folder, images=tmp_path)
    assert imported.format == folder.removesuffix("_polygons")
    assert imported.labels.image_ids.tolist() == [*SIZES]
    assert imported.labels.offsets.tolist() == [0, 2, 3]
    assert imported.labels.classes == ("ship", "truck")
    assert imported.labels.labels.tolist() == [0, 1, 0]
    rows = canonical([[*row[:4], 0] for row in ROWS] if folder == "yolo" else ROWS)
    assert corner_distance(rows, imported.labels.boxes).max() < 0.01  # it writes two decimals
