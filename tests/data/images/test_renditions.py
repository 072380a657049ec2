"""Renditions: what browsers show of images that they cannot show themselves."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from al_rotate.data import images


def photograph(path: Path, seed: int = 0, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (20, 30, 3), np.uint8)).save(path, **options)
    return path


def satellite(path: Path, seed: int = 0, highest: int = 2047) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, highest, (20, 30)).astype(np.uint16)
    Image.fromarray(values).save(path)
    return path


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.bmp"])
def test_what_browsers_show_is_left_as_it_is(tmp_path: Path, name: str) -> None:
    path = photograph(tmp_path / name)
    assert images.rendition(path, tmp_path / "made") == path
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("name", ["a.tif", "a.png"])
@pytest.mark.parametrize("highest", [2047, 65_535])
def test_the_rendition_is_what_the_detector_sees(tmp_path: Path, name: str, highest: int) -> None:
    path = satellite(tmp_path / name, highest=highest)
    made = images.rendition(path, tmp_path / "made")
    assert made.parent == tmp_path / "made"
    assert made.suffix == ".png"
    assert images.is_shown_by_browsers(made)
    assert images.size(made) == images.size(path) == (30, 20)
    np.testing.assert_array_equal(images.read(made), images.read(path))
    np.testing.assert_array_equal(np.asarray(Image.open(made)), images.read(path))


def test_what_browsers_show_otherwise(tmp_path: Path) -> None:
    """A film instead of its first frame, the page through transparent pixels, inks by a profile of their own."""
    frames = [Image.fromarray(np.random.default_rng(seed).integers(0, 255, (20, 30, 4), np.uint8)) for seed in (0, 1)]
    for name in ("film.png", "film.webp"):
        frames[0].convert("RGB").save(tmp_path / name, save_all=True, append_images=[frames[1].convert("RGB")])
    frames[0].save(tmp_path / "alpha.png")
    frames[0].convert("RGB").quantize(16).save(tmp_path / "palette.png", transparency=3)
    Image.fromarray(np.asarray(frames[0]), "CMYK").save(tmp_path / "ink.jpg")
    for name in ("film.png", "film.webp", "alpha.png", "palette.png", "ink.jpg"):
        path = tmp_path / name
        made = images.rendition(path, tmp_path / "made")
        assert made != path, name
        np.testing.assert_array_equal(np.asarray(Image.open(made)), images.read(path))
    frames[0].putalpha(255)
    frames[0].save(tmp_path / "opaque.png")
    assert images.is_shown_by_browsers(tmp_path / "opaque.png")
    Image.open(tmp_path / "opaque.png").convert("RGB").save(
        tmp_path / "camera.jpg", "MPO", save_all=True, append_images=[frames[1].convert("RGB")]
    )
    assert images.is_shown_by_browsers(tmp_path / "camera.jpg")  # the first picture


def test_an_8_bit_tiff_with_orientation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = photograph(tmp_path / "a.tif", exif=exif)
    made = images.rendition(path, tmp_path / "made")
    assert images.size(made) == images.size(path) == (20, 30)
    np.testing.assert_array_equal(images.read(made), images.read(path))


def test_a_changed_image_or_option_gets_another_rendition(tmp_path: Path) -> None:
    path = satellite(tmp_path / "a.tif")
    first = images.rendition(path, tmp_path / "made")
    os.utime(first, (1, 1))
    assert images.rendition(path, tmp_path / "made") == first
    assert first.stat().st_mtime == 1  # not written again
    softer = images.rendition(path, tmp_path / "made", stretch=(0, 100))
    assert softer != first
    satellite(path, seed=1)
    os.utime(path, (5, 5))
    changed = images.rendition(path, tmp_path / "made")
    assert len({first, softer, changed}) == 3
    np.testing.assert_array_equal(images.read(changed), images.read(path))


def test_two_files_of_one_name_and_a_long_name(tmp_path: Path) -> None:
    a, b = satellite(tmp_path / "a" / "x.tif"), satellite(tmp_path / "b" / "x.tif", seed=1)
    made = [images.rendition(path, tmp_path / "made") for path in (a, b)]
    np.testing.assert_array_equal(images.read(made[0]), images.read(a))
    np.testing.assert_array_equal(images.read(made[1]), images.read(b))
    long = satellite(tmp_path / ("\u8239" * 83 + ".tif"))
    assert images.rendition(long, tmp_path / "made").is_file()


def test_no_rendition_of_what_cannot_be_read(tmp_path: Path) -> None:
    path = satellite(tmp_path / "a.tif")
    path.write_bytes(path.read_bytes()[:300])
    for file in (path, tmp_path / "missing.tif"):
        with pytest.raises(images.UnreadableImage, match=file.name):
            images.rendition(file, tmp_path / "made")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("content", [b"", b"<html>log in</html>", None], ids=["empty", "HTML", "truncated"])
def test_one_image_of_a_pool_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    pool = tmp_path / "pool"
    satellite(pool / "a.tif"), satellite(pool / "b.tif"), satellite(pool / "c.tif")
    whole = (pool / "b.tif").read_bytes()
    (pool / "b.tif").write_bytes(whole[:300] if content is None else content)
    with pytest.warns(UserWarning, match=r"1 of 3 images cannot be read and are left out, the first b: .*b\.tif"):
        assert [*images.render(pool, tmp_path / "made", stretch=(2, 98))] == ["a", "c"]
    with pytest.raises(images.UnreadableImage, match=r"b\.tif"):
        images.render(pool / "b.tif", tmp_path / "other", stretch=(2, 98))
    (pool / "b.tif").write_bytes(whole)
    assert [*images.render(pool, tmp_path / "made", stretch=(2, 98))] == ["a", "b", "c"]


def test_a_whole_pool_is_rendered_once_under_its_ids(tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    satellite(pool / "a.tif"), satellite(pool / "deep" / "b.tif", seed=1), photograph(pool / "c.jpg")
    made = images.render(pool, tmp_path / "made", stretch=(1, 99))
    assert made == {image_id: tmp_path / "made" / f"{image_id}.png" for image_id in ("a", "c", "deep/b")}
    assert images.find(tmp_path / "made") == made
    for image_id, file in images.find(pool).items():
        np.testing.assert_array_equal(images.read(made[image_id]), images.read(file, stretch=(1, 99)))
    for file in made.values():
        os.utime(file, (1, 1))
    satellite(pool / "a.tif", seed=2)
    os.utime(pool / "a.tif", (7, 7))
    images.render(pool, tmp_path / "made", stretch=(1, 99))
    assert [file.stat().st_mtime == 1 for file in made.values()] == [False, True, True]
    np.testing.assert_array_equal(images.read(made["a"]), images.read(pool / "a.tif", stretch=(1, 99)))
    images.render(pool, tmp_path / "made", stretch=(0, 100))
    np.testing.assert_array_equal(images.read(made["deep/b"]), images.read(pool / "deep" / "b.tif", stretch=(0, 100)))
