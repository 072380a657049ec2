"""convert and export to GeoJSON: labels, detections, Label Studio's export and a workspace's labels."""

import json

import numpy as np
import pandas as pd
import pytest
from helpers import label_files
from helpers.noisy import CLASSES, NoisyLearner, labels_of
from shapely.geometry import shape

from al_rotate import ActiveLoop, RotatedInstances

rasterio = pytest.importorskip("rasterio")
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
UTM32 = {"crs": "EPSG:32632", "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 5_600_000)}


@pytest.fixture
def geotiffs(tmp_path):
    """Write a folder of georeferenced images with these ids, and one more without a georeference."""

    def write(*image_ids, size=(200, 100)):
        folder = tmp_path / "geotiffs"
        folder.mkdir()
        profile = {"width": size[0], "height": size[1], "count": 3, "dtype": "uint8"}
        for image_id in (*image_ids, "nowhere"):
            place = UTM32 if image_id != "nowhere" else {}
            with rasterio.open(folder / f"{image_id}.tif", "w", "GTiff", **profile, **place) as file:
                file.write(np.zeros((3, size[1], size[0]), np.uint8))
        return folder

    return write


def collection(folder):
    return json.loads((folder / "boxes.geojson").read_text(encoding="utf-8"))


def account(folder):
    return pd.read_csv(folder / "account.csv").fillna("")


def test_labels(al, tmp_path, geotiffs):
    source, images = label_files.dota(tmp_path), geotiffs("a", "b")
    out = tmp_path / "out"
    code, said, err = al("convert", source, "--to", "geojson", "--images", images, "--out", out, "--crs", "files")
    assert (code, err) == (0, "")
    assert f"{out}: 2 images, 2 boxes\n" in said
    written = collection(out)
    assert written["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::32632"
    assert [f["properties"]["class"] for f in written["features"]] == ["ship", "truck"]
    for feature, (_, _, w, h, _) in zip(written["features"], label_files.BOXES[True], strict=True):
        assert feature["properties"]["image_id"] == "a"
        assert shape(feature["geometry"]).area == pytest.approx(w * h * 100, rel=2e-3)  # pixels of 10 m
    assert account(out)["detail"].tolist() == ["1 images without a box: GeoJSON has a place for boxes alone"]


def test_detections_keep_their_scores(al, tmp_path, geotiffs):
    ids = ["a", "b", "nowhere", "gone", "larger"]
    detections = RotatedInstances(
        ids,
        range(6),
        [(50, 40, 20, 10, 0.5)] * 5,
        [0, 1, 0, 1, 0],
        [0.9, 0.25, 0.8, 0.7, 0.6],
        classes=("ship", "truck"),
        image_sizes=[(200, 100)] * 4 + [(400, 200)],
    )
    detections.save(tmp_path / "detections" / "00000.parquet")
    (tmp_path / "detections" / "manifest.json").write_text('{"model": "as predict writes it"}')
    images, out = geotiffs("a", "b", "larger"), tmp_path / "out"
    code, said, err = al("convert", tmp_path / "detections", "--to", "geojson", "--images", images, "--out", out)
    assert (code, err) == (0, "")
    assert f"{out}: 5 images, 2 boxes\n" in said
    features = collection(out)["features"]
    assert [(f["properties"]["class"], f["properties"]["score"]) for f in features] == [("ship", 0.9), ("truck", 0.25)]
    assert all(8.9 < x < 9.1 and 50 < y < 51 for f in features for x, y in f["geometry"]["coordinates"][0])
    left_out = account(out).set_index("image_id")["detail"]
    assert left_out["nowhere"].endswith("nowhere.tif: no georeference")
    assert left_out["gone"] == "there is no such image file"
    assert left_out["larger"].startswith("the boxes are of 400 x 200 pixels, ")


def test_label_studios_export(al, tmp_path, geotiffs):
    value = {"x": 20, "y": 30, "width": 20, "height": 20, "rotation": 0, "rectanglelabels": ["ship"]}
    region = {"id": "r", "type": "rectanglelabels", "from_name": "label", "to_name": "image", "image_rotation": 0}
    region |= {"original_width": 200, "original_height": 100, "value": value}
    answer = {"id": 1, "result": [region], "was_cancelled": False, "completed_by": 1, "updated_at": "2024-01-01T00:00Z"}
    task = {"id": 1, "data": {"image": "/data/upload/1/0a1b2c3d-a.tif"}, "annotations": [answer]}
    (tmp_path / "export.json").write_text(json.dumps([task]))
    images = geotiffs("a")
    arguments = ["--to", "geojson", "--images", images, "--crs", "EPSG:32632"]
    code, _, err = al("convert", tmp_path / "export.json", *arguments)
    assert (code, err) == (0, "")
    (feature,) = collection(tmp_path / "export-geojson")["features"]
    assert shape(feature["geometry"]).bounds == (500_400, 5_599_500, 500_800, 5_599_700)


def test_a_workspace(al, tmp_path, geotiffs):
    """Of the boxes of a loop that is given GeoTIFFs; the simulated labels are those of its images."""
    truth = labels_of(3)
    images = geotiffs(*truth.image_ids, size=(128, 128))
    (images / "nowhere.tif").unlink()
    work = tmp_path / "work"
    with ActiveLoop(work, images, CLASSES, learner=NoisyLearner(truth), labels=truth, budget=1):
        pass
    code, _, err = al("export", work, "--to", "geojson", "--crs", "EPSG:32632")
    assert (code, err) == (0, "")
    features = collection(work / "export" / "geojson")["features"]
    assert len(features) == truth.n_boxes
    areas = truth.boxes[:, 2] * truth.boxes[:, 3] * 100
    np.testing.assert_allclose([shape(f["geometry"]).area for f in features], areas, rtol=1e-5)


def test_what_is_missing_is_said(al, tmp_path, geotiffs):
    source, images = label_files.dota(tmp_path), geotiffs()
    code, _, err = al("convert", source, "--to", "geojson")
    assert (code, "expected --images, which say where the boxes lie" in err) == (1, True)
    code, _, err = al("convert", source, "--to", "coco", "--crs", "files")
    assert (code, "expected --crs with --to geojson alone" in err) == (1, True)
    (images / "nowhere.tif").rename(images / "a.tif")
    code, _, err = al("convert", source, "--to", "geojson", "--images", images, "--out", tmp_path / "out")
    assert (code, "expected georeferenced images, got none of 1: " in err) == (1, True)
    assert not (tmp_path / "out").exists()
