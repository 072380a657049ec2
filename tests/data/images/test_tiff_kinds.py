"""TIFFs and JPEG 2000 of every kind: the pixels that people and detectors get are those that were written."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from al_rotate.data import images

rasterio = pytest.importorskip("rasterio")

HEIGHT, WIDTH = 40, 60
COLOUR = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
GREY, ALPHA = COLOUR[..., 0], COLOUR[..., 1]
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def as_rgb(grey: NDArray) -> NDArray[np.uint8]:
    return np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)


def write(path: Path, values: NDArray, driver: str = "GTiff", **options: object) -> Path:
    values = values[..., None] if values.ndim == 2 else values
    profile = {"width": WIDTH, "height": HEIGHT, "count": values.shape[2], "dtype": values.dtype, **options}
    with rasterio.open(path, "w", driver, **profile) as file:
        file.write(np.moveaxis(values, -1, 0))
    return path


def check(path: Path, expected: NDArray) -> None:
    """Compare what the detector, the browser and size() get with what was written."""
    np.testing.assert_array_equal(images.read(path), expected)
    assert images.size(path) == (WIDTH, HEIGHT)
    made = images.rendition(path, path.parent / "made")
    assert made != path
    np.testing.assert_array_equal(np.asarray(Image.open(made)), expected)


LAYOUTS = [*product(("pixel", "band"), ("rgb", "minisblack"), ("none", "deflate"), ("NO", "YES"), (False, True))]


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize(("interleave", "photometric", "compress", "big", "tiled"), LAYOUTS)
def test_layouts_of_colour(
    tmp_path: Path, interleave: str, photometric: str, compress: str, big: str, tiled: bool, dtype: str
) -> None:
    """Pillow takes the first of several planes for all of the image, and colour of 16 bits in planes for noise."""
    options = {"photometric": photometric, "interleave": interleave, "compress": compress, "BIGTIFF": big}
    options |= {"tiled": True, "blockxsize": 16, "blockysize": 16} if tiled else {}
    values = COLOUR.astype(dtype) * (257 if dtype == "uint16" else 1)
    check(write(tmp_path / "a.tif", values, **options), COLOUR)
    four = np.dstack([values, values[..., 0]])
    path = write(tmp_path / "b.tif", four, alpha="no", **options)
    if photometric == "rgb":
        check(path, COLOUR)
    else:
        with pytest.raises(images.UndecidedImage, match="the image has 4 bands"):
            images.read(path)
        np.testing.assert_array_equal(images.read(path, bands=(3, 2, 1)), COLOUR[..., ::-1])


@pytest.mark.parametrize("compress", ["lzw", "zstd", "lzma", "lerc", "packbits"])
def test_compressions(tmp_path: Path, compress: str) -> None:
    check(write(tmp_path / "a.tif", COLOUR, compress=compress), COLOUR)


def test_jpeg_in_tiff(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(HEIGHT) * 2, np.arange(WIDTH))[..., None] + np.array([0, 20, 60])
    tiles = {"tiled": True, "blockxsize": 16, "blockysize": 16}
    path = write(tmp_path / "a.tif", smooth.astype(np.uint8), compress="jpeg", photometric="ycbcr", **tiles)
    np.testing.assert_allclose(images.read(path).astype(int), smooth, atol=8)
    with rasterio.open(path) as file:
        np.testing.assert_allclose(images.read(path).astype(int), np.moveaxis(file.read(), 0, -1), atol=2)
    made = images.rendition(path, tmp_path / "made")
    np.testing.assert_array_equal(np.asarray(Image.open(made)), images.read(path))


@pytest.mark.parametrize("photometric", ["rgb", "minisblack"])
def test_alpha_is_dropped(tmp_path: Path, photometric: str) -> None:
    for interleave, depth in product(("pixel", "band"), (1, 257)):
        options = {"alpha": "yes", "interleave": interleave}
        dtype = np.uint8 if depth == 1 else np.uint16
        if photometric == "rgb":
            values, expected = np.dstack([COLOUR, ALPHA]), COLOUR
        else:
            values, expected = np.dstack([GREY, ALPHA]), as_rgb(GREY)
        path = tmp_path / f"{interleave}{depth}.tif"
        check(write(path, values.astype(dtype) * dtype(depth), photometric=photometric, **options), expected)


def test_bands_that_the_file_names(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.dstack([COLOUR[..., ::-1], GREY]).astype(np.uint16) * 257)
    with rasterio.open(path, "r+") as file:
        roles = rasterio.enums.ColorInterp
        file.colorinterp = (roles.blue, roles.green, roles.red, roles.undefined)
    check(path, COLOUR)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits(tmp_path: Path, bits: int) -> None:
    values = GREY >> (8 - bits)
    check(write(tmp_path / "a.tif", values, nbits=bits), as_rgb(np.rint(values * (255 / (2**bits - 1)))))


@pytest.mark.parametrize("compression", ["group4", "tiff_ccitt", "packbits"])
def test_facsimile(tmp_path: Path, compression: str) -> None:
    Image.fromarray(GREY > 127).save(tmp_path / "a.tif", compression=compression)
    check(tmp_path / "a.tif", as_rgb((GREY > 127) * 255))


def test_negatives(tmp_path: Path) -> None:
    deep = np.where(GREY < 8, 0, GREY).astype(np.uint16) * 257
    for name, values, interleave in (("8", GREY, "pixel"), ("16", deep, "pixel"), ("planes", deep, "band")):
        path = write(tmp_path / f"{name}.tif", values, photometric="miniswhite", interleave=interleave)
        check(path, as_rgb(255 - (values >> 8 if values.dtype == np.uint16 else values)))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("big", ["NO", "YES"])
def test_palettes(tmp_path: Path, dtype: str, big: str) -> None:
    values = (GREY >> 4).astype(dtype)
    colours = {number: (number * 10, 255 - number * 10, number * 5, 255) for number in range(16)}
    with rasterio.open(
        tmp_path / "a.tif", "w", "GTiff", WIDTH, HEIGHT, 1, dtype=dtype, photometric="palette", BIGTIFF=big
    ) as file:
        file.write(values, 1)
        file.write_colormap(1, colours)
    number = values.astype(int)
    check(tmp_path / "a.tif", np.stack([number * 10, 255 - number * 10, number * 5], axis=2).astype(np.uint8))


def test_cmyk(tmp_path: Path) -> None:
    cmyk = np.dstack([COLOUR, np.zeros_like(GREY)])
    Image.fromarray(cmyk, "CMYK").save(tmp_path / "a.tif")
    check(tmp_path / "a.tif", 255 - COLOUR)


def test_pages_masks_and_overviews(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).save(tmp_path / "pages.tif", save_all=True, append_images=[Image.fromarray(255 - COLOUR)])
    write(tmp_path / "overviews.tif", COLOUR)
    with rasterio.open(tmp_path / "overviews.tif", "r+") as file:
        file.build_overviews([2, 4])
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(write(tmp_path / "mask.tif", COLOUR), "r+") as file:
        file.write_mask(GREY > 127)
    write(tmp_path / "cog.tif", COLOUR, "COG")
    for name in ("pages", "overviews", "mask", "cog"):
        check(tmp_path / f"{name}.tif", COLOUR)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_numbers_without_a_known_range(tmp_path: Path, dtype: str, interleave: str) -> None:
    values = (COLOUR.astype(float) / 2 - 100).astype(dtype)
    path = write(tmp_path / "a.tif", values, interleave=interleave)
    with pytest.raises(images.UndecidedImage, match=rf"a\.tif: .* got {dtype} with negative .*stretch=\(2, 98\)"):
        images.read(path)
    low, high = values.min(axis=(0, 1)).astype(float), values.max(axis=(0, 1)).astype(float)
    expected = np.rint((values.astype(float) - low) / (high - low) * 255)
    np.testing.assert_allclose(images.read(path, stretch=(0, 100)), expected, atol=1)


def test_what_is_not_there_is_black(tmp_path: Path) -> None:
    values = COLOUR.astype(np.float32) + 1
    values[:10] = np.nan
    values[10:20] = -9999
    path = write(tmp_path / "a.tif", values, nodata=-9999)
    shown = images.read(path, stretch=(0, 100))
    assert shown[:20].max() == 0
    there = COLOUR[20:].astype(float)
    low, high = there.min(axis=(0, 1)), there.max(axis=(0, 1))
    np.testing.assert_allclose(shown[20:], (there - low) / (high - low) * 255, atol=1)


@pytest.mark.parametrize("stretch", [None, (2, 98)])
def test_complex_numbers(tmp_path: Path, stretch: tuple[int, int] | None) -> None:
    path = write(tmp_path / "a.tif", GREY.astype(np.complex64))
    with pytest.raises(images.UnreadableImage, match=r"a\.tif: expected real numbers, got complex64"):
        images.read(path, stretch=stretch)


# JPEG 2000.


def test_jpeg_2000(tmp_path: Path) -> None:
    assert ".jp2" in images.SUFFIXES
    Image.fromarray(COLOUR).save(tmp_path / "a.jp2", irreversible=False)
    check(tmp_path / "a.jp2", COLOUR)
    np.testing.assert_array_equal(images.read(tmp_path / "a.jp2", bands=(3, 2, 1)), COLOUR[..., ::-1])
    Image.fromarray(GREY.astype(np.uint16) * 257).save(tmp_path / "b.jp2", irreversible=False)
    check(tmp_path / "b.jp2", as_rgb(GREY))


@pytest.mark.parametrize("bits", [11, 16])
def test_deep_colour_in_jpeg_2000(tmp_path: Path, bits: int) -> None:
    """Of 11 bits in 16 Pillow would keep the three upper ones."""
    values = COLOUR.astype(np.uint16) * (257 if bits == 16 else 8)
    path = write(tmp_path / "a.jp2", values, "JP2OpenJPEG", QUALITY=100, REVERSIBLE="YES")
    expected = COLOUR
    if bits == 11:
        low, high = np.percentile(values, [2, 98], axis=(0, 1))
        expected = np.rint(np.clip((values - low) / (high - low), 0, 1) * 255)
    np.testing.assert_allclose(images.read(path), expected, atol=bits == 11)
