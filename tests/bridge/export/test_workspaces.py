"""The labels of a workspace -> DOTA, COCO, YOLO-OBB."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.bridge.exports import PLANE, SHIP, SIZE
from PIL import Image

from al_rotate import RotatedInstances, Workspace
from al_rotate.bridge.export import FORMATS, export_workspace
from al_rotate.data.formats import coco, cvat, dota, yolo_obb
from al_rotate.data.formats.reading import Notes
from al_rotate.data.images import UnreadableImage


@pytest.fixture
def workspace(tmp_path: Path):
    """Three images labelled of four, with the sizes of only two of them."""
    files = {}
    for k, name in enumerate(["a", "deep/b", "c", "d"]):
        files[name] = tmp_path / "photos" / f"{k}.png"
        files[name].parent.mkdir(exist_ok=True)
        Image.new("RGB", SIZE).save(files[name])
    with Workspace.create(tmp_path / "work", files, ["ship", "storage tank"], {}) as created:
        created.begin_round()
        created.record_query(0, ["a", "deep/b", "c"])
        first = RotatedInstances(["a", "c"], [0, 2, 2], [SHIP, PLANE], [0, 1], image_sizes=[SIZE, SIZE])
        second = RotatedInstances(["deep/b"], [0, 1], [PLANE], [1])
        created.record_answers(0, first)
        created.record_answers(0, second)
    with Workspace.open(tmp_path / "work", read_only=True) as opened:
        yield opened


@pytest.mark.parametrize("to", FORMATS)
def test_a_workspace(tmp_path: Path, workspace: Workspace, to: str) -> None:
    exported = export_workspace(workspace, to, tmp_path / "out")
    again = {
        "dota": lambda: dota.read(exported.folder, ["ship", "storage-tank"]),
        "coco": lambda: coco.read(exported.folder / "annotations.json"),
        "cvat": lambda: cvat.read(exported.folder / "annotations.xml", None, Notes()),
        **dict.fromkeys(("ultralytics", "yolo-obb"), lambda: yolo_obb.read(exported.folder)),
    }[to]()
    assert again.image_ids.tolist() == ["a", "c", "deep/b"]
    assert again.counts.tolist() == [2, 0, 1]
    assert again.labels.tolist() == [0, 1, 1]
    np.testing.assert_allclose(again.boxes, [SHIP, PLANE, PLANE], atol=1e-4)
    if to != "dota":
        assert again.image_sizes is not None
        assert again.image_sizes.tolist() == [list(SIZE)] * 3
    assert exported.account["action"].tolist() == (["noted"] if to == "dota" else [])
    account = (exported.folder / "account.csv").read_text()
    assert account.startswith("image_id,task,annotation,region,action,detail\n")
    if to == "coco":
        pictures = json.loads((exported.folder / "annotations.json").read_text())["images"]
        assert [picture["file_name"] for picture in pictures] == ["a.png", "c.png", "deep/b.png"]


def test_a_workspace_with_an_image_that_is_gone(tmp_path: Path, workspace: Workspace) -> None:
    (tmp_path / "photos" / "1.png").unlink()
    export_workspace(workspace, "dota", tmp_path / "dota")
    with pytest.raises(UnreadableImage, match=r"1\.png"):
        export_workspace(workspace, "coco", tmp_path / "coco")


def test_a_workspace_without_labels(tmp_path: Path) -> None:
    with (
        Workspace.create(tmp_path / "new", {"a": "a.png"}, ["ship"], {}) as workspace,
        pytest.raises(ValueError, match=r"expected labelled images in .*new, got none yet"),
    ):
        export_workspace(workspace, "dota", tmp_path / "none")
