"""The pixels of image files: those a browser shows and OpenCV reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from al_rotate.data import images
from al_rotate.data.images import pixels as pixels_module

WIDTH, HEIGHT = 23, 17
ORIENTATION = 0x0112


def noise(*channels: int, dtype: type = np.uint8) -> NDArray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (HEIGHT, WIDTH, *channels), dtype, endpoint=True)


def smooth() -> NDArray[np.uint8]:
    steps = np.random.default_rng(1).normal(0, 6, (67, 93, 3))
    return np.clip(np.cumsum(steps, axis=1) + 128, 0, 255).astype(np.uint8)


def put(path: Path) -> Path:
    """Write a small image, and its folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(3)).save(path)
    return path


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, suffix: str) -> None:
    """By the EXIF standard: what is row 0 and what is column 0 of the stored pixels, as seen."""
    stored = noise(3)
    seen = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: stored.transpose(1, 0, 2)[:, ::-1],
        7: stored.transpose(1, 0, 2)[::-1, ::-1],
        8: stored.transpose(1, 0, 2)[::-1],
    }[orientation]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"lossless": True} if suffix == "webp" else {}
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(stored).save(path, exif=exif, **options)
    np.testing.assert_array_equal(images.read(path), seen)
    assert images.size(path) == seen.shape[1::-1]


def save_as_mode(path: Path, mode: str) -> NDArray[np.uint8]:
    """Write a PNG of one of Pillow's modes; returns the RGB that it shows."""
    colour, grey = noise(3), noise()
    if mode == "P":
        image = Image.fromarray(colour).quantize(16)
        image.save(path, transparency=3)
        palette = np.reshape(image.getpalette(), (-1, 3))
        return palette[np.asarray(image)].astype(np.uint8)
    pixels, shown = {
        "RGB": (colour, colour),
        "RGBA": (np.dstack([colour, grey]), colour),  # alpha is dropped, not blended
        "L": (grey, grey),
        "LA": (np.dstack([grey, colour[..., 0]]), grey),
        "1": (grey > 127, np.where(grey > 127, 255, 0)),
        "I;16": (noise(dtype=np.uint16), noise(dtype=np.uint16) // 256),
    }[mode]
    Image.fromarray(pixels).save(path)
    return (shown if shown.ndim == 3 else np.stack([shown] * 3, axis=2)).astype(np.uint8)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA", "1", "I;16"])
def test_every_kind_of_png_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.png"
    expected = save_as_mode(path, mode)
    pixels = images.read(path)
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert pixels.dtype == np.uint8
    assert pixels.flags.writeable
    np.testing.assert_array_equal(pixels, expected)
    assert images.size(path) == (WIDTH, HEIGHT)


def test_16_bits_with_orientation(tmp_path: Path) -> None:
    stored, exif = noise(dtype=np.uint16), Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(images.read(tmp_path / "a.png")[..., 1], (stored // 256).T[:, ::-1])
    assert images.size(tmp_path / "a.png") == (HEIGHT, WIDTH)


def test_cmyk_jpeg(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (55, 195, 235, 0)).save(tmp_path / "a.jpg", quality=95)
    np.testing.assert_allclose(images.read(tmp_path / "a.jpg")[4, 4].astype(int), [200, 60, 20], atol=2)


def test_32_bits_are_refused(tmp_path: Path) -> None:
    Image.fromarray(noise(dtype=np.uint16).astype(np.int32) * 9).save(tmp_path / "int.tif")
    Image.fromarray(noise().astype(np.float32) / 255).save(tmp_path / "float.tif")
    for name in ("int.tif", "float.tif"):
        with pytest.raises(images.UnreadableImage, match=rf"{name}: expected 8 or 16 bits per channel"):
            images.read(tmp_path / name)


@pytest.mark.parametrize("order", ["RGB", "BGR"])
@pytest.mark.parametrize("size", [(67, 93), (1, 1), (4100, 1100)], ids=["small", "one pixel", "in several blocks"])
def test_the_pixels_are_the_same_with_and_without_opencv(
    tmp_path: Path, size: tuple[int, int], order: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cv2")
    stored = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(stored).save(tmp_path / "a.bmp")
    pixels = images.read(tmp_path / "a.bmp", order)
    np.testing.assert_array_equal(pixels, stored if order == "RGB" else stored[..., ::-1])
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable
    monkeypatch.setattr(pixels_module, "_opencv", lambda: None)
    np.testing.assert_array_equal(images.read(tmp_path / "a.bmp", order), pixels)


# Files that cannot be read.


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "bmp"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_truncated_files_are_refused(tmp_path: Path, suffix: str, kept: float) -> None:
    whole = tmp_path / f"whole.{suffix}"
    Image.fromarray(smooth()).save(whole)
    data = whole.read_bytes()
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(images.UnreadableImage, match=rf"cut\.{suffix}: "):
        images.read(path)


def test_empty_missing_and_other_files(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "folder.png").mkdir()
    messages = {
        "empty.jpg": r"empty\.jpg: empty file \(0 bytes\)",
        "text.png": r"text\.png: not an image \(8 bytes\)",
        "missing.png": r"missing\.png: .*No such file",
        "folder.png": r"folder\.png: .*directory",
    }
    for name, message in messages.items():
        with pytest.raises(images.UnreadableImage, match=message):
            images.read(tmp_path / name)
        with pytest.raises(images.UnreadableImage, match=rf"{name}: "):
            images.size(str(tmp_path / name))


def test_an_image_larger_than_pillows_limit_says_how_to_allow_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", WIDTH * HEIGHT // 3)
    for function in (images.read, images.size):
        with pytest.raises(images.UnreadableImage, match=r"a\.png: .*Raise PIL\.Image\.MAX_IMAGE_PIXELS"):
            function(path)


def test_size_reads_the_header_only(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(smooth()).save(path)
    path.write_bytes(path.read_bytes()[:700])  # the headers and a little more
    assert images.size(path) == (93, 67)
    with pytest.raises(images.UnreadableImage):
        images.read(path)


# OpenCV, MMRotate's decoder, as the judge.


def by_opencv(path: Path) -> NDArray[np.uint8]:
    cv2 = pytest.importorskip("cv2")
    return cv2.imread(str(path))[..., ::-1]


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0", "4:1:1"])
@pytest.mark.parametrize("quality", [40, 75, 95])
def test_jpeg_is_opencvs(tmp_path: Path, subsampling: str, quality: int, progressive: bool) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(smooth()).save(path, quality=quality, subsampling=subsampling, progressive=progressive)
    expected = by_opencv(path).astype(int)
    # The same libjpeg-turbo inside gives the same bits; another build of it may round otherwise.
    np.testing.assert_allclose(images.read(path).astype(int), expected, rtol=0, atol=1)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA", "1", "I;16"])
def test_png_is_opencvs(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.png"
    save_as_mode(path, mode)
    np.testing.assert_array_equal(images.read(path), by_opencv(path))


@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_colour_is_opencvs(tmp_path: Path, channels: int) -> None:
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / "a.png"
    assert cv2.imwrite(str(path), noise(channels, dtype=np.uint16))
    np.testing.assert_array_equal(images.read(path), by_opencv(path))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_opencvs(tmp_path: Path, orientation: int) -> None:
    path, exif = tmp_path / "a.jpg", Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(smooth()).save(path, exif=exif, quality=90)
    expected = by_opencv(path)
    np.testing.assert_allclose(images.read(path).astype(int), expected.astype(int), rtol=0, atol=1)
    assert images.size(path) == expected.shape[1::-1]
