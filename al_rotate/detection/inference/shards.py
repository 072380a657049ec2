"""The folder that a prediction streams to: finished shards, and a manifest of the model and settings behind them.

Several processes may write to one folder, each the shards of its own numbers. They communicate through nothing else.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...data import RotatedInstances
from ...data.images import UnreadableImage, stamp
from ...storage.files import atomic_write
from ...storage.manifest import claim
from ...storage.parquet import SHARDS_NOTE
from ...storage.user_warnings import warn_user
from .processes import this_process

PATIENCE = 60  # seconds of waiting for another process before a warning
_POLL = 0.2  # seconds


def stamp_of(files: Iterable[tuple[str, Path | None]]) -> str:
    """Digest the ids of images, and the sizes and times of change of their files: what a shard is made from.

    It changes when a file is repaired or replaced, and when another of the same name is given. Images that are no files
    are known by their ids alone.
    """
    stamps = []
    for image_id, file in files:
        try:
            stamps.append([image_id, *(stamp(file) if file else ())])
        except UnreadableImage:  # a missing file, which may come back
            stamps.append([image_id])
    return hashlib.sha256(json.dumps(stamps).encode()).hexdigest()


class Shards:
    """Numbered Parquet files of detections in a folder, each complete or absent.

    Args:
        folder: made if missing.
        facts: what the detections follow from (model, settings).
        count: how many shards there will be; None if unknown. It lets readers refuse a folder that is unfinished
            because a process was killed.

    Raises:
        ValueError: when the folder holds detections of another model, of other settings or of other images, or
            Parquet files that are no shards.
    """

    def __init__(self, folder: Path, facts: Mapping[str, Any], count: int | None = None) -> None:
        self.folder = folder
        manifest = folder / SHARDS_NOTE
        # In this order: another process may write the manifest, and then its first shard, at any moment.
        has_parquet, exists = any(folder.glob("*.parquet")), manifest.is_file()
        if has_parquet and not exists:
            raise ValueError(
                f"expected {folder} to be empty or to hold this detector's shards, got other Parquet files"
            )
        wanted = facts if exists else {**facts, "shards": count}
        recorded = claim(manifest, wanted, "detections", "choose another folder or delete it")
        if count is not None and (recorded.get("shards") or count) != count:
            raise self._other_images(f"{recorded['shards']}", count)

    def find(self, number: int, image_ids: Iterable[str], made_from: str | None = None) -> RotatedInstances | None:
        """Read a shard if it is finished; one that was made from files that have changed since is deleted.

        Args:
            number: of the shard.
            image_ids: of its images.
            made_from: the :func:`stamp_of` their files; None does not ask.

        Raises:
            ValueError: when it holds other images.
        """
        file, note = self._file(number), self._note(number)
        if not file.is_file():
            return None
        detections = RotatedInstances.load(file)
        if {*detections.image_ids, *detections.skipped} != set(image_ids):
            raise ValueError(
                f"{file} holds detections of other images than these; choose another `out` folder or delete it"
            )
        # Earlier versions wrote no note.
        if made_from is not None and note.is_file() and note.read_text(encoding="utf-8") != made_from:
            file.unlink()  # before the note changes: a kill in between must not leave the two together
            return None
        return detections

    def add(self, number: int, detections: RotatedInstances, made_from: str = "") -> None:
        """Write a shard; `made_from` is the :func:`stamp_of` its images' files."""
        with atomic_write(self._note(number)) as note:
            note.write(made_from)
        detections.save(self._file(number))

    def wait(self, image_ids: Sequence[Iterable[str]]) -> Iterator[RotatedInstances]:
        """Yield all shards in order, each as soon as it is finished: other processes may still work on theirs.

        Args:
            image_ids: of each shard.

        Raises:
            ValueError: when a shard holds other images, or when there are more shards, from an earlier prediction on
                more images.
        """
        count = len(image_ids)
        if (extra := self._file(count)).is_file():
            raise self._other_images(f"more ({extra.name})", count)
        for number, ids in enumerate(image_ids):
            deadline = time.monotonic() + PATIENCE
            while not (file := self._file(number)).is_file():
                if time.monotonic() > deadline:
                    process = number % this_process().total
                    warn_user(f"waiting for {file}, which process {process} has to write")
                    deadline = np.inf
                time.sleep(_POLL)
            detections = self.find(number, ids)
            assert detections is not None
            yield detections

    def _other_images(self, got: str, count: int) -> ValueError:
        return ValueError(
            f"expected {count} shards of these images in {self.folder}, got {got}: it holds detections of other "
            "images; choose another `out` folder or delete it"
        )

    def _note(self, number: int) -> Path:
        return self.folder / f"images-{number:05d}.txt"

    def _file(self, number: int) -> Path:
        return self.folder / f"part-{number:05d}.parquet"
