"""Image files: which are found under which id."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from al_rotate.data import images


def put(path: Path) -> Path:
    """Write a small image, and its folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (3, 2)).save(path)
    return path


def test_find_gives_posix_ids_sorted_and_passes_over_the_rest(tmp_path: Path) -> None:
    expected = {
        "P10": put(tmp_path / "P10.PNG"),
        "P2.v2": put(tmp_path / "P2.v2.jpeg"),
        "b/c/P1": put(tmp_path / "b" / "c" / "P1.tif"),
        "b/c/P1.bmp": put(tmp_path / "b" / "c" / "P1.bmp.webp"),
    }
    put(tmp_path / ".cache" / "thumb.jpg")
    put(tmp_path / ".hidden.jpg")
    (tmp_path / "labels.txt").write_text("no image")
    (tmp_path / "folder.jpg").mkdir()
    files = images.find(tmp_path)
    assert files == expected
    assert list(files) == sorted(expected)
    assert images.find(str(tmp_path)) == files


def test_find_works_below_a_hidden_folder(tmp_path: Path) -> None:
    put(tmp_path / ".data" / "a.jpg")
    assert list(images.find(tmp_path / ".data")) == ["a"]


def test_find_refuses_two_files_of_one_id(tmp_path: Path) -> None:
    put(tmp_path / "a" / "P1.jpg")
    put(tmp_path / "a" / "P1.png")
    with pytest.raises(ValueError, match=r"expected one image per id, got .*P1.jpg and .*P1.png, both 'a/P1'; rename"):
        images.find(tmp_path)


def test_find_without_images(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("")
    for root in (tmp_path, tmp_path / "missing"):
        with pytest.raises(FileNotFoundError, match=r"expected a folder with images \(\.jpg.*got .*"):
            images.find(root)


def test_resolve_takes_folder_file_files_and_mapping(tmp_path: Path) -> None:
    a, b = put(tmp_path / "x" / "a.jpg"), put(tmp_path / "x" / "y" / "b.v2.png")
    assert images.resolve(tmp_path / "x") == {"a": a, "y/b.v2": b}
    assert images.resolve(str(tmp_path / "x")) == {"a": a, "y/b.v2": b}
    assert images.resolve(a) == {"a": a}
    assert list(images.resolve(iter([b, str(a)])).items()) == [("b.v2", b), ("a", a)]
    assert images.resolve({"y/b": str(b)}) == {"y/b": b}
    with pytest.raises(FileNotFoundError, match="expected a folder with images"):
        images.resolve(tmp_path / "missing")
    with pytest.raises(ValueError, match=r"both 'a'; give a folder, or a mapping"):
        images.resolve([a, tmp_path / "z" / "a.png"])


@pytest.mark.parametrize("name", [b"\xb4\xac.png", b"sub/\xb4\xac.JPG", b"\xb4\xac/a.tif"])
def test_a_name_that_is_not_utf8_is_refused_before_anything_is_predicted(tmp_path: Path, name: bytes) -> None:
    put(tmp_path / "good.png")
    path = os.path.join(os.fsencode(tmp_path), name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        Image.new("RGB", (3, 2)).save(file, "PNG")
    with pytest.raises(ValueError, match=r"in UTF-8, got '.*\\udcb4\\udcac.*'; rename the file"):
        images.find(tmp_path)
