"""Atomic writes, digests of files, and the paths of image ids below a folder."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import TextIO

LONGEST_NAME = 255  # bytes of a file's name, on every file system in common use


@contextmanager
def atomic_write(path: Path) -> Iterator[TextIO]:
    """Open a UTF-8 text file that replaces `path` only when the ``with`` block ends without an error.

    Missing folders are made. After an error, or a kill, `path` is as it was before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = temporary_sibling(path)
    try:
        with open(scratch, "w", encoding="utf-8", newline="\n") as file:
            yield file
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def temporary_sibling(path: Path) -> Path:
    """Return an unused hidden path in the same folder, to write to before a rename to `path`.

    The name is random, so that processes on several machines that share the folder do not collide. A long name is cut,
    so that a file whose own name just fits can be written.
    """
    suffix = f".{secrets.token_hex(6)}.tmp"
    start = os.fsencode(path.name)[: LONGEST_NAME - len(suffix) - 1].decode("utf-8", "ignore")
    return path.with_name(f".{start}{suffix}")


def sha256(path: Path) -> str:
    """Return the SHA-256 digest of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def path_for_image(folder: Path, image_id: str, suffix: str) -> Path:
    """Return the path of an image's file below `folder`.

    Args:
        folder: the root.
        image_id: a relative POSIX path without suffix.
        suffix: appended to the id, with its dot.

    Raises:
        ValueError: for an id whose file would lie outside the folder, be hidden in it, or have too long a name.
    """
    parts = PurePosixPath(image_id).parts
    if not parts or "/".join(parts) != image_id or "\\" in image_id or any(part[0] in "./" for part in parts):
        raise ValueError(
            f"expected an image id to be a relative POSIX path without '..' or hidden parts, got {image_id!r}"
        )
    if (longest := max(len(os.fsencode(part)) for part in f"{image_id}{suffix}".split("/"))) > LONGEST_NAME:
        raise ValueError(f"expected an image id of names up to {LONGEST_NAME} bytes, got {longest} for {image_id!r}")
    return folder / f"{image_id}{suffix}"


def fsync(path: Path) -> None:
    """Flush a file, or a folder's list of files, to the disk, so that it survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Flush all files below a folder, and the folders' lists of files, to the disk.

    A rename alone does not do it: after a power cut a file may have its name and be empty.
    """
    for root, _, names in os.walk(folder):
        for name in names:
            if not (path := Path(root, name)).is_symlink():
                fsync(path)
        fsync(Path(root))
    if folder.exists():
        fsync(folder.parent)


def utc_now() -> str:
    """Return the time in UTC to the second, as ``2024-05-31T12:00:00Z``."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
