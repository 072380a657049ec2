"""Images of more than 8 bits, and of many bands: what is left to see of them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from al_rotate.data import images
from al_rotate.data.images import raster

HEIGHT, WIDTH = 40, 60


def counts(highest: int, bands: int | None = None, dtype: type = np.uint16) -> NDArray:
    """Values from 0 to `highest`, (H, W) or (H, W, bands)."""
    shape = (HEIGHT, WIDTH) if bands is None else (HEIGHT, WIDTH, bands)
    values = np.random.default_rng(0).integers(0, highest, shape, endpoint=True)
    values.flat[0], values.flat[-1] = 0, highest
    return values.astype(dtype)


def stretched(values: NDArray, low: float = 2, high: float = 98) -> NDArray[np.int64]:
    """By the definition, in other words: linear between two percentiles, rounded."""
    out = np.empty(values.shape, np.int64)
    for k in range(values.shape[2]):
        a, b = np.percentile(values[..., k], [low, high])
        out[..., k] = np.rint(np.interp(values[..., k], [a, b], [0, 255]))
    return out


def save(path: Path, values: NDArray) -> Path:
    Image.fromarray(values).save(path)
    return path


@pytest.fixture(params=["rasterio", "tifffile"])
def write_tiff(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write a TIFF of many bands, to be read by one of the two libraries."""
    tifffile = pytest.importorskip("tifffile")
    pytest.importorskip(request.param)
    if request.param == "tifffile":
        found = raster.find_spec
        monkeypatch.setattr(raster, "find_spec", lambda name: None if name == "rasterio" else found(name))

    def write(path: Path, values: NDArray, photometric: str = "minisblack", **options: object) -> Path:
        tifffile.imwrite(path, values, photometric=photometric, **{"planarconfig": "contig", **options})
        return path

    return write


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("highest", [16_384, 30_000, 65_535])
def test_16_bits_that_are_used_keep_their_upper_8(tmp_path: Path, highest: int, suffix: str) -> None:
    values = counts(highest)
    pixels = images.read(save(tmp_path / f"a.{suffix}", values))
    np.testing.assert_array_equal(pixels, np.repeat((values // 256)[..., None], 3, axis=2))


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("highest", [255, 2047, 4095, 10_000, 16_383])
def test_16_bits_of_which_little_is_used_are_stretched(tmp_path: Path, highest: int, suffix: str) -> None:
    values = counts(highest)
    path = save(tmp_path / f"a.{suffix}", values)
    expected = stretched(np.repeat(values[..., None], 3, axis=2))
    np.testing.assert_allclose(images.read(path), expected, atol=1)
    np.testing.assert_array_equal(images.read(path), images.read(path, stretch=(2, 98)))
    np.testing.assert_array_equal(images.read(path, "BGR"), images.read(path)[..., ::-1])


def test_other_depths(tmp_path: Path) -> None:
    in_32_bits = save(tmp_path / "int.tif", counts(255, dtype=np.int32))
    np.testing.assert_allclose(images.read(in_32_bits), stretched(np.repeat(counts(255)[..., None], 3, axis=2)), atol=1)
    wide = save(tmp_path / "wide.tif", counts(1 << 20, dtype=np.int32))
    share = save(tmp_path / "share.tif", counts(1000).astype(np.float32) / 1000)
    below = save(tmp_path / "below.tif", counts(1000, dtype=np.int32) - 500)
    for path in (wide, share, below):
        with pytest.raises(images.UnreadableImage, match=rf"{path.name}: expected 8 or 16 bits .* stretch=\(2, 98\)"):
            images.read(path)
        pixels = images.read(path, stretch=(0, 100))
        assert (pixels.min(), pixels.max()) == (0, 255)


def test_what_a_stretch_makes_of_flat_dark_and_missing_pixels(tmp_path: Path) -> None:
    assert images.read(save(tmp_path / "black.tif", np.zeros((4, 4), np.uint16))).max() == 0
    assert images.read(save(tmp_path / "flat.tif", np.full((4, 4), 900, np.uint16))).max() == 0
    values = np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20)
    values[0, :2] = np.nan, np.inf
    pixels = images.read(save(tmp_path / "nan.tif", values), stretch=(0, 100))
    assert pixels[0, :2].max() == 0
    assert pixels.max() == 255


def test_8_bits_are_never_stretched(tmp_path: Path) -> None:
    dark = (counts(255, 3) // 16).astype(np.uint8)
    np.testing.assert_array_equal(images.read(save(tmp_path / "a.png", dark), stretch=(2, 98)), dark)


@pytest.mark.parametrize("stretch", [(2,), (98, 2), (2, 2), (-1, 98), (2, 101), "ab", 2])
def test_a_stretch_that_cannot_be(tmp_path: Path, stretch: object) -> None:
    path = save(tmp_path / "a.png", counts(255))
    with pytest.raises(ValueError, match="expected stretch as two percentiles") as caught:
        images.read(path, stretch=stretch)  # type: ignore[arg-type]
    assert type(caught.value) is ValueError


# Many bands.


def test_bands_become_red_green_and_blue(tmp_path: Path, write_tiff: Callable[..., Path]) -> None:
    values = counts(2047, 8)
    path = write_tiff(tmp_path / "a.tif", values)
    planes = write_tiff(tmp_path / "b.tif", np.moveaxis(values, -1, 0), planarconfig="separate")
    expected = stretched(values[..., [3, 2, 1]])
    for file in (path, planes):
        assert images.size(file) == (WIDTH, HEIGHT)
        np.testing.assert_allclose(images.read(file, bands=(4, 3, 2)), expected, atol=1)
        np.testing.assert_allclose(images.read(file, "BGR", bands=(4, 3, 2)), expected[..., ::-1], atol=1)
        np.testing.assert_allclose(images.read(file, bands=8), stretched(values[..., [7, 7, 7]]), atol=1)
    full = write_tiff(tmp_path / "c.tif", values * 31)
    np.testing.assert_array_equal(images.read(full, bands=(1, 2, 3)), values[..., :3] * 31 // 256)


def test_bands_that_are_not_there_or_not_said(tmp_path: Path, write_tiff: Callable[..., Path]) -> None:
    path = write_tiff(tmp_path / "a.tif", counts(2047, 5))
    with pytest.raises(images.UnreadableImage, match=r"a\.tif: the image has 5 bands; say which are red"):
        images.read(path)
    with pytest.raises(images.UnreadableImage, match=r"a\.tif: expected bands up to 5, which the image has"):
        images.read(path, bands=(6, 1, 2))
    for wrong in ((0, 1, 2), (1, 2), (1.5, 2, 3), ()):
        with pytest.raises(ValueError, match="expected bands as three numbers from 1"):
            images.read(path, bands=wrong)
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(images.UnreadableImage, match=r"a\.tif: "):
        images.read(path, bands=(1, 2, 3))


def test_16_bit_colour_of_which_little_is_used(tmp_path: Path, write_tiff: Callable[..., Path]) -> None:
    values = counts(2047, 3)
    path = write_tiff(tmp_path / "a.tif", values, "rgb")
    np.testing.assert_allclose(images.read(path), stretched(values), atol=1)
    full = write_tiff(tmp_path / "b.tif", values * 31, "rgb")
    np.testing.assert_array_equal(images.read(full), values * 31 // 256)
    np.testing.assert_allclose(images.read(full, stretch=(5, 95)), stretched(values * 31, 5, 95), atol=1)


def test_16_bit_colour_as_png(tmp_path: Path) -> None:
    pytest.importorskip("rasterio")
    cv2 = pytest.importorskip("cv2")
    values = counts(2047, 3)
    assert cv2.imwrite(str(tmp_path / "a.png"), values[..., ::-1])
    np.testing.assert_allclose(images.read(tmp_path / "a.png"), stretched(values), atol=1)


def test_pixels_without_content_do_not_count(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    values = counts(1000, 3) + 1000
    values[:, :30] = 0
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        file = rasterio.open(
            tmp_path / "a.tif", "w", "GTiff", width=WIDTH, height=HEIGHT, count=3, dtype="uint16", nodata=0
        )
    with file:
        file.write(np.moveaxis(values, -1, 0))
    pixels = images.read(tmp_path / "a.tif")
    assert pixels[:, :30].max() == 0
    np.testing.assert_allclose(pixels[:, 30:], stretched(values[:, 30:]), atol=1)


def test_what_to_install_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "a.tif", counts(2047, 8), photometric="minisblack", planarconfig="contig")
    monkeypatch.setattr(raster, "find_spec", lambda name: None)
    with caplog.at_level(logging.WARNING):
        for call in (lambda: images.read(tmp_path / "a.tif", bands=(4, 3, 2)), lambda: images.size(tmp_path / "a.tif")):
            with pytest.raises(images.UnreadableImage, match=r"a\.tif: .*pip install 'al_rotate\[geo\]', or tifffile"):
                call()
    assert caplog.text == ""
