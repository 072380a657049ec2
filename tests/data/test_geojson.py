"""GeoJSON: boxes where they lie in the world, by hand and by PROJ."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq
from shapely.geometry import shape

from al_rotate import RotatedInstances, geojson, tiling
from al_rotate.boxes import to_corners

rasterio = pytest.importorskip("rasterio")
Affine = rasterio.Affine

UTM32 = "EPSG:32632"
# Pixels of 10 m; the upper left corner at 500 km east, on the central meridian, and 5600 km north.
GRID = Affine(10, 0, 500_000, 0, -10, 5_600_000)
TURNED = Affine.translation(400_000.25, 5_500_000.5) @ Affine.rotation(30) @ Affine.scale(0.5, -0.25)
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def geotiff(path: Path, transform: Affine = GRID, crs: str | None = UTM32, size: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", "GTiff", width=size, height=size, count=3, dtype="uint8", crs=crs, transform=transform
    ) as file:
        file.write(np.zeros((3, size, size), np.uint8))
    return path


def detections(*boxes: tuple[float, ...], image_id: str = "a") -> RotatedInstances:
    n = len(boxes)
    scores = np.linspace(0.9, 0.5, n)
    return RotatedInstances([image_id], [0, n], boxes, np.arange(n) % 2, scores, classes=("ship", "pier"))


def written(path: Path, instances: RotatedInstances, files: object, **options: str) -> dict:
    return json.loads(geojson.write(instances, path / "out.geojson", files, **options).read_text(encoding="utf-8"))


def points(feature: dict) -> np.ndarray:
    (ring,) = feature["geometry"]["coordinates"]
    assert ring[0] == ring[-1]
    assert shape(feature["geometry"]).exterior.is_ccw  # RFC 7946, 3.1.6
    return np.array(ring[:-1])


def same_points(a: np.ndarray, b: np.ndarray, atol: float) -> None:
    np.testing.assert_allclose(*(x[np.lexsort(np.round(x, 7).T)] for x in (a, b)), rtol=0, atol=atol)


def reproject(source: str, target: str, at: np.ndarray) -> np.ndarray:
    from rasterio.warp import transform

    return np.stack(transform(source, target, *at.T.tolist()), axis=-1)


def test_a_box_on_the_central_meridian_by_hand(tmp_path: Path) -> None:
    geotiff(tmp_path / "a.tif")
    collection = written(tmp_path, detections((0, 20, 40, 10, 0)), tmp_path)
    assert {key: value for key, value in collection.items() if key != "features"} == {"type": "FeatureCollection"}
    (feature,) = collection["features"]
    assert feature["type"] == "Feature"
    assert feature["properties"] == {"image_id": "a", "class": "ship", "score": 0.9, "angle": 0.0, "azimuth": 90.0}
    # The centre is 200 m south of the corner: longitude 9, and the latitude up to which the meridian, in UTM's scale
    # of 0.9996, has this length.
    square = 0.00669437999014
    meridian = lambda phi: quad(lambda t: 6_378_137 * (1 - square) / (1 - square * np.sin(t) ** 2) ** 1.5, 0, phi)[0]  # noqa: E731
    latitude = np.degrees(brentq(lambda phi: meridian(phi) - 5_599_800 / 0.9996, 0.5, 1.2))
    np.testing.assert_allclose(points(feature).mean(axis=0), [9, latitude], rtol=0, atol=1e-6)
    # 400 m from east to west, 100 m from south to north, of about 111.2 km a degree.
    width, height = np.ptp(points(feature), axis=0)
    assert width == pytest.approx(400 / 0.9996 / (111_412 * np.cos(np.radians(latitude))), rel=2e-3)
    assert height == pytest.approx(100 / 0.9996 / 111_229, rel=2e-3)


@pytest.mark.parametrize(("angle", "azimuth"), [(0, 90), (30, 120), (-30, 60), (89, 179), (-90, 0)])
def test_azimuths_by_hand(tmp_path: Path, angle: float, azimuth: float) -> None:
    """North is up on the central meridian; angles are clockwise on the screen."""
    geotiff(tmp_path / "a.tif")
    (feature,) = written(tmp_path, detections((0, 0, 40, 10, np.radians(angle))), tmp_path)["features"]
    assert feature["properties"]["angle"] == pytest.approx(angle, abs=1e-3)
    off = (feature["properties"]["azimuth"] - azimuth + 90) % 180 - 90
    assert abs(off) < 0.01


@pytest.mark.parametrize(
    "transform", [GRID, TURNED, Affine(0.3, 0.1, 7e5, 0, 0.3, 9e5)], ids=["grid", "turned", "sheared"]
)
def test_corners_and_azimuths_are_projs(tmp_path: Path, transform: Affine) -> None:
    geotiff(tmp_path / "a.tif", transform)
    boxes = np.array([(30, 40, 20, 8, 0.3), (70.5, 20.25, 33, 3, -1.2), (50, 50, 9, 9, 0.7)], np.float32)
    collection = written(tmp_path, detections(*boxes), {"a": tmp_path / "a.tif"})
    for feature, corners in zip(collection["features"], to_corners(boxes.astype(float)), strict=True):
        in_utm = np.stack(transform @ tuple(corners.T), axis=-1)
        expected = reproject(UTM32, "OGC:CRS84", in_utm)
        same_points(points(feature), expected, atol=2e-9)
        # On a map with the true directions from its centre.
        lon, lat = expected.mean(axis=0)
        local = reproject("OGC:CRS84", f"+proj=aeqd +lon_0={lon} +lat_0={lat} +datum=WGS84", expected)
        sides = np.diff(local[:3], axis=0)
        east, north = sides[np.hypot(*sides.T).argmax()]
        off = (feature["properties"]["azimuth"] - np.degrees(np.arctan2(east, north)) + 90) % 180 - 90
        assert abs(off) < 0.01


@pytest.mark.parametrize("crs", ["EPSG:32632", "files", "EPSG:3035", "EPSG:4326"])
def test_other_reference_systems(tmp_path: Path, crs: str) -> None:
    geotiff(tmp_path / "a.tif", TURNED)
    box = (30, 40, 20, 8, 0.3)
    collection = written(tmp_path, detections(box), tmp_path, crs=crs)
    number = UTM32[5:] if crs == "files" else crs[5:]
    assert collection["crs"] == {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{number}"}}
    (feature,) = collection["features"]
    (corners,) = to_corners([box])
    expected = reproject(UTM32, f"EPSG:{number}", np.stack(TURNED @ tuple(corners.T), axis=-1))
    same_points(points(feature), expected, atol=1e-6)
    if number == "32632":  # pixels of 0.5 m x 0.25 m
        assert shape(feature["geometry"]).area == pytest.approx(20 * 8 * 0.5 * 0.25)


def test_boxes_across_the_antimeridian_are_cut(tmp_path: Path) -> None:
    geotiff(tmp_path / "a.tif", Affine(0.01, 0, 179.5, 0, -0.01, -16.5), "EPSG:4326")
    collection = written(tmp_path, detections((50, 20, 40, 10, 0), (80, 20, 10, 5, 0)), tmp_path)
    crossing, beyond = collection["features"]
    assert crossing["geometry"]["type"] == "MultiPolygon"
    parts = shape(crossing["geometry"]).geoms
    bounds = sorted(np.round(part.bounds, 9).tolist() for part in parts)
    assert bounds == [[-180, -16.75, -179.8, -16.65], [179.8, -16.75, 180, -16.65]]
    assert all(part.exterior.is_ccw for part in parts)
    assert crossing["properties"]["azimuth"] == pytest.approx(90)
    assert beyond["geometry"]["type"] == "Polygon"
    np.testing.assert_allclose(shape(beyond["geometry"]).bounds, [-179.75, -16.725, -179.65, -16.675])


def test_tiles_and_their_scene_say_the_same(tmp_path: Path) -> None:
    geotiff(tmp_path / "scenes" / "a.tif", TURNED)
    made = tiling.cut(tmp_path / "scenes", tmp_path / "tiles", tiling.Tiling(64, 16))
    tile = tiling.Tile.of(max(made))
    assert (tile.x, tile.y) == (36, 36)
    whole = written(tmp_path, detections((60, 70, 20, 8, 0.3)), tmp_path / "scenes")
    on_tile = detections((60 - 36, 70 - 36, 20, 8, 0.3), image_id=tile.id)
    expected = points(whole["features"][0])
    for files in (tmp_path / "tiles", tmp_path / "scenes"):
        (feature,) = written(tmp_path, on_tile, files)["features"]
        assert feature["properties"]["image_id"] == tile.id
        same_points(points(feature), expected, atol=2e-9)


def test_labels_and_images_without_boxes(tmp_path: Path) -> None:
    geotiff(tmp_path / "a.tif")
    labels = RotatedInstances(["empty", "a"], [0, 0, 1], [(5, 5, 4, 2, 0)], [0], classes=("Schiff ü",), difficult=[1])
    (feature,) = written(tmp_path, labels, tmp_path)["features"]
    assert abs(feature["properties"].pop("azimuth") - 90) < 0.01
    assert feature["properties"] == {"image_id": "a", "class": "Schiff ü", "difficult": 1, "angle": 0}
    nothing = written(tmp_path, RotatedInstances.empty(["a"], ["ship"]), tmp_path)
    assert nothing == {"type": "FeatureCollection", "features": []}


def test_images_that_lie_nowhere_are_named(tmp_path: Path) -> None:
    geotiff(tmp_path / "a.tif"), geotiff(tmp_path / "b.tif", Affine.identity(), None)
    both = RotatedInstances.concat([detections((5, 5, 4, 2, 0), image_id=i) for i in ("a", "b", "gone")])
    with pytest.raises(ValueError, match=r"got 2 of 3 .* that are not, e\.g\. 'b': .*b\.tif: no georeference"):
        geojson.write(both, tmp_path / "out.geojson", tmp_path)
    assert not (tmp_path / "out.geojson").exists()
    found, missing = geojson.located(both, tmp_path)
    assert [*found] == ["a"]
    assert missing["gone"] == "there is no such image file"
    kept = both.where(np.isin(both.image_ids[both.image_index], [*found]))
    assert len(written(tmp_path, kept, tmp_path)["features"]) == 1


def test_what_cannot_be_written(tmp_path: Path) -> None:
    geotiff(tmp_path / "a.tif"), geotiff(tmp_path / "b.tif", crs="EPSG:32633")
    boxes = RotatedInstances.concat([detections((5, 5, 4, 2, 0), image_id=i) for i in ("a", "b")])
    out = tmp_path / "out.geojson"
    with pytest.raises(ValueError, match=r"one reference system, got EPSG:32632 of 'a' and EPSG:32633 of 'b'"):
        geojson.write(boxes, out, tmp_path, "files")
    with pytest.raises(ValueError, match=r"such as EPSG:32632, got 'Mars'"):
        geojson.write(boxes, out, tmp_path, "Mars")
    with pytest.raises(ValueError, match="with a number, which GeoJSON can name"):
        geojson.write(boxes, out, tmp_path, "+proj=aeqd +lon_0=1 +lat_0=2")
    with pytest.raises(ValueError, match="expected instances with classes"):
        geojson.write(boxes.replace(classes=None), out, tmp_path)
    geotiff(tmp_path / "a.tif", Affine(10, 0, 1e12, 0, -10, 1e12))
    with pytest.raises(ValueError, match=r"some of 'a' without a place in OGC:CRS84: "):
        geojson.write(boxes, out, tmp_path)
    assert not out.exists()
