"""Text files that appear whole or not at all, digests of files, and image ids as paths below a folder."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import TextIO


@contextmanager
def atomic_write(path: Path) -> Iterator[TextIO]:
    """A UTF-8 text file to write, which takes its name only when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = temporary_sibling(path)
    try:
        with open(scratch, "w", encoding="utf-8", newline="\n") as file:
            yield file
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def temporary_sibling(path: Path) -> Path:
    """A hidden file to write what shall become `path`; no other process, on whatever machine, has the same."""
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")


def sha256(path: Path) -> str:
    """Of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def path_for_image(folder: Path, image_id: str, suffix: str) -> Path:
    """Where an image's file lies in `folder`; ids that would leave the folder, or hide in it, are refused."""
    parts = PurePosixPath(image_id).parts
    if "/".join(parts) != image_id or "\\" in image_id or any(part[0] in "./" for part in parts):
        raise ValueError(
            f"expected an image id to be a relative POSIX path without '..' or hidden parts, got {image_id!r}"
        )
    return folder / f"{image_id}{suffix}"


def fsync(path: Path) -> None:
    """Wait until a file or a folder's list of files would survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def utc_now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
