"""Where images lie: read from their files, and kept by what is made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import label_files
from numpy.typing import NDArray
from PIL import Image

from al_rotate.data import formats, images, tiling
from al_rotate.data.images import raster

rasterio = pytest.importorskip("rasterio")
Affine = rasterio.Affine

WIDTH, HEIGHT = 60, 40
UTM32 = "EPSG:32632"
# By hand: pixels of 10 m, the upper left corner at 500 km east (the central meridian) and 5600 km north.
GRID = Affine(10, 0, 500_000, 0, -10, 5_600_000)
# Turned by 30 degrees, pixels of 0.5 m x 0.25 m.
TURNED = Affine.translation(400_000.25, 5_500_000.5) @ Affine.rotation(30) @ Affine.scale(0.5, -0.25)
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def pixels(seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def geotiff(path: Path, transform: Affine = GRID, crs: str | None = UTM32, **options: object) -> Path:
    profile = {"width": WIDTH, "height": HEIGHT, "count": 3, "dtype": "uint8", "transform": transform, **options}
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", "GTiff", crs=crs, **profile) as file:
        file.write(np.moveaxis(pixels(), -1, 0))
    return path


def test_a_grid_by_hand(tmp_path: Path) -> None:
    found = images.locate(geotiff(tmp_path / "a.tif"))
    assert found.transform == (10, 0, 500_000, 0, -10, 5_600_000)
    assert rasterio.CRS.from_wkt(found.crs).to_epsg() == 32632
    np.testing.assert_array_equal(found.to_world([[0, 0], [3, 2.5]]), [[500_000, 5_600_000], [500_030, 5_599_975]])
    assert found.of_window(20, 5).transform == (10, 0, 500_200, 0, -10, 5_599_950)


@pytest.mark.parametrize("transform", [GRID, TURNED, Affine(0.3, 0, 7, 0, 0.3, 9)], ids=["grid", "turned", "south up"])
def test_points_are_where_rasterio_has_them(tmp_path: Path, transform: Affine) -> None:
    found = images.locate(geotiff(tmp_path / "a.tif", transform))
    for point in ((0, 0), (60, 0), (12.5, 31.25)):
        np.testing.assert_allclose(found.to_world(point), transform @ point, rtol=1e-12)


@pytest.mark.parametrize("transform", [GRID, TURNED], ids=["grid", "turned"])
@pytest.mark.parametrize("crs", [UTM32, "EPSG:4326", "EPSG:3035", "EPSG:2193"])  # the last three: north first
def test_renditions_stay_in_their_place(tmp_path: Path, transform: Affine, crs: str) -> None:
    source = geotiff(tmp_path / "pool" / "deep" / "a.tif", transform, crs)
    expected = images.locate(source)
    (rendered,) = images.render(tmp_path / "pool", tmp_path / "pngs").values()
    for made in (images.rendition(source, tmp_path / "made"), rendered):
        np.testing.assert_array_equal(np.asarray(Image.open(made)), pixels())
        found = images.locate(made)
        np.testing.assert_allclose(found.transform, expected.transform, rtol=1e-14)
        with rasterio.open(made) as of_gis:
            assert of_gis.crs == rasterio.CRS.from_string(crs)
            np.testing.assert_allclose(tuple(of_gis.transform), tuple(transform), rtol=1e-14)
        ours, theirs = ([g.crs, "OGC:CRS84", *np.reshape(g.to_world([(9, 9)]), (2, 1))] for g in (found, expected))
        from rasterio.warp import transform as reproject

        np.testing.assert_allclose(reproject(*ours), reproject(*theirs), rtol=1e-12)
    assert images.find(tmp_path / "pngs") == {"deep/a": rendered}


def test_tiles_are_windows_of_their_scene(tmp_path: Path) -> None:
    scene = geotiff(tmp_path / "scenes" / "a.tif", TURNED)
    made = tiling.cut(tmp_path / "scenes", tmp_path / "tiles", tiling.Tiling(32, 8))
    assert len(made) == 6
    for tile_id, file in made.items():
        tile = tiling.Tile.of(tile_id)
        for x, y in ((0, 0), (32, 32), (7.5, 3)):
            np.testing.assert_allclose(images.locate(file).to_world((x, y)), TURNED @ (tile.x + x, tile.y + y))
        with rasterio.open(file) as of_gis:
            assert of_gis.crs.to_epsg() == 32632
    geotiff(scene, Affine.identity(), None)
    tiling.cut(tmp_path / "scenes", tmp_path / "tiles", tiling.Tiling(32, 8))
    with pytest.raises(images.NotGeoreferenced):
        images.locate(file)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_that_are_shown_turned(tmp_path: Path, orientation: int) -> None:
    """Every pixel, as shown, lies where the stored pixel of that colour lies."""
    path = geotiff(tmp_path / "a.tif", TURNED)
    stored = pixels()
    stored[..., 0] = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) // 256
    stored[..., 1] = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 256
    exif = Image.Exif()
    with Image.open(path) as image:
        tags = {tag: image.tag_v2[tag] for tag in (34264, 34735, 34736, 34737) if tag in image.tag_v2}
    exif[0x0112] = orientation
    Image.fromarray(stored).save(path, tiffinfo={**tags, 0x0112: orientation})
    shown, found = images.read(path), images.locate(path)
    rows, columns = np.mgrid[: shown.shape[0], : shown.shape[1]]
    number = shown[..., 0].astype(int) * 256 + shown[..., 1]
    expected = np.stack(TURNED @ (number % WIDTH + 0.5, number // WIDTH + 0.5), axis=-1)
    np.testing.assert_allclose(found.to_world(np.stack([columns + 0.5, rows + 0.5], axis=-1)), expected, rtol=1e-12)


def test_world_files_need_a_reference_system(tmp_path: Path) -> None:
    Image.fromarray(pixels()).save(tmp_path / "a.jpg")
    (tmp_path / "a.jgw").write_text("10\n0\n0\n-10\n500005\n5599995\n")  # of the centre of the first pixel
    with pytest.raises(
        images.NotGeoreferenced, match=r"a\.jpg: a place, but no coordinate reference system; gdal_edit"
    ):
        images.locate(tmp_path / "a.jpg")
    wkt = rasterio.CRS.from_string(UTM32).to_wkt()
    (tmp_path / "a.jpg.aux.xml").write_text(f"<PAMDataset><SRS>{wkt}</SRS></PAMDataset>".replace('"', "&quot;"))
    assert images.locate(tmp_path / "a.jpg").transform == tuple(GRID)[:6]


def test_images_that_lie_nowhere(tmp_path: Path) -> None:
    Image.fromarray(pixels()).save(tmp_path / "a.png")
    Image.fromarray(pixels()).save(tmp_path / "a.webp")
    geotiff(tmp_path / "a.tif", Affine.identity(), None)
    points = [rasterio.control.GroundControlPoint(row, column, column, row) for row, column in ((0, 0), (0, 9), (9, 0))]
    with rasterio.open(tmp_path / "gcps.tif", "w", "GTiff", 9, 9, 1, dtype="uint8", gcps=points, crs=UTM32) as file:
        file.write(np.zeros((1, 9, 9), np.uint8))
    for name, why in (
        ("a.png", "no georeference"),
        ("a.webp", ""),
        ("a.tif", "no georeference"),
        ("gcps.tif", "gdalwarp"),
    ):
        with pytest.raises(images.NotGeoreferenced, match=rf"{name}: .*{why}"):
            images.locate(tmp_path / name)
    (tmp_path / "cut.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:50])
    for name in ("missing.tif", "cut.tif"):
        with pytest.raises(images.UnreadableImage, match=name):
            images.locate(tmp_path / name)


def test_without_rasterio_the_loss_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    geotiff(tmp_path / "pool" / "a.tif"), geotiff(tmp_path / "pool" / "b.tif")
    Image.fromarray(pixels()).save(tmp_path / "pool" / "c.png")
    found = raster.find_spec
    monkeypatch.setattr(raster, "find_spec", lambda name: None if name == "rasterio" else found(name))
    with pytest.warns(
        UserWarning, match=r"a\.tif is georeferenced, and what .* pip install 'al_rotate\[geo\]'"
    ) as caught:
        images.render(tmp_path / "pool", tmp_path / "pngs")
    assert len(caught) == 1


def test_a_name_too_long_for_a_file_beside(tmp_path: Path) -> None:
    geotiff(tmp_path / "pool" / f"{'a' * 250}.tif")
    with pytest.warns(UserWarning, match="stays without a georeference: the name of an .aux.xml"):
        (made,) = images.render(tmp_path / "pool", tmp_path / "pngs").values()
    np.testing.assert_array_equal(images.read(made), pixels())


def test_files_beside_images_are_no_labels(tmp_path: Path) -> None:
    """Renditions of georeferenced images have one, and so has each image that QGIS has opened."""
    label_files.voc(tmp_path)
    (folder,) = {file.parent for file in tmp_path.rglob("*.xml")}
    expected = formats.read(folder).labels
    images.rendition(geotiff(tmp_path / "a.tif"), folder)
    assert len([*folder.glob("*.aux.xml")]) == 1
    assert formats.read(folder).labels == expected
