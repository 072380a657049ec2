"""Atomic writes, digests, and paths of image ids."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from al_rotate.storage.files import atomic_write, fsync, path_for_image, sha256, temporary_sibling, utc_now


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    with atomic_write(path) as file:
        file.write("été\n")
        assert not path.exists()
    assert path.read_bytes() == "été\n".encode()
    assert [file.name for file in path.parent.iterdir()] == ["a.txt"]


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(TypeError), atomic_write(path) as file:
        file.writelines(["half a line", None])  # type: ignore[list-item]
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_temporary_siblings_are_hidden_and_distinct(tmp_path: Path) -> None:
    siblings = {temporary_sibling(tmp_path / "a.txt") for _ in range(100)}
    assert len(siblings) == 100
    assert all(path.parent == tmp_path and re.fullmatch(r"\.a\.txt\..+\.tmp", path.name) for path in siblings)


@pytest.mark.parametrize("name", ["n" * 251, "\u8239" * 80 + "é" * 5, "x" + "\u8239" * 83])
def test_a_name_as_long_as_the_file_system_takes_can_be_written(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.txt"
    with atomic_write(path) as file:
        file.write("kept")
    assert path.read_text() == "kept"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_sha256_of_a_file_larger_than_a_block(tmp_path: Path) -> None:
    content = b"0123456789" * 300_000
    (tmp_path / "a").write_bytes(content)
    assert sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_the_path_of_an_image(tmp_path: Path) -> None:
    assert path_for_image(tmp_path, "part/P2.v2", ".txt") == tmp_path / "part" / "P2.v2.txt"


@pytest.mark.parametrize(
    "image_id", ["../a", "/a", "b/../../a", "a/", "a//b", "./a", ".hidden", "b/.hidden", "..", "a\\b", ""]
)
def test_ids_that_would_leave_the_folder_are_refused(tmp_path: Path, image_id: str) -> None:
    with pytest.raises(ValueError, match="expected an image id to be a relative POSIX path"):
        path_for_image(tmp_path, image_id, ".txt")


def test_ids_that_are_too_long_for_a_file_are_refused(tmp_path: Path) -> None:
    longest = "ä" * 125 + "x"  # 251 bytes
    path_for_image(tmp_path, f"{longest}/{longest}", ".txt").parent.mkdir()
    path_for_image(tmp_path, f"{longest}/{longest}", ".txt").touch()
    with pytest.raises(ValueError, match="of names up to 255 bytes, got 256 for"):
        path_for_image(tmp_path, f"a/{longest}x", ".txt")


def test_files_and_folders_are_flushed(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    fsync(tmp_path / "a")
    fsync(tmp_path)


def test_the_time_is_utc() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", utc_now())
