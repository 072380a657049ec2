"""The folder that a prediction streams to: finished shards, and a note of whose they are.

Several processes may write to one folder, each the shards of its own numbers; nothing else passes between them.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...data.instances import RotatedInstances
from ...storage.files import atomic_write
from ...storage.parquet import SHARDS_NOTE
from .processes import this_process

_PATIENCE = 60  # seconds until one is told what is waited for


class Shards:
    """Numbered Parquet files of detections in a folder, each there whole or not at all.

    Args:
        folder: made if missing.
        notes: what the detections follow from (model, settings).
        count: how many shards there will be; None if that is not known. With it a folder that is not finished, because
            a process was killed, is not read as if it were.

    Raises:
        ValueError: when the folder holds detections that follow from something else, or of other images.
    """

    def __init__(self, folder: Path, notes: Mapping[str, Any], count: int | None = None) -> None:
        self.folder = folder
        file = folder / SHARDS_NOTE
        if file.is_file():
            there = json.loads(file.read_text(encoding="utf-8"))
            if changed := [name for name in notes if there.get(name) != notes[name]]:
                raise ValueError(
                    f"{folder} holds detections with another {', '.join(changed)}; choose another folder or delete it"
                )
            if count is not None and (there.get("shards") or count) != count:
                raise self._of_others(f"{there['shards']}", count)
            return
        if any(folder.glob("*.parquet")):
            raise ValueError(
                f"expected {folder} to be empty or to hold this detector's shards, got other Parquet files"
            )
        with atomic_write(file) as text:
            json.dump({**notes, "shards": count}, text, indent=1)

    def find(self, number: int, image_ids: Iterable[str]) -> RotatedInstances | None:
        """A shard if it is finished.

        Raises:
            ValueError: when it is one of other images.
        """
        file = self._file(number)
        if not file.is_file():
            return None
        there = RotatedInstances.load(file)
        if {*there.image_ids, *there.skipped} != set(image_ids):
            raise ValueError(
                f"{file} holds detections of other images than these; choose another `out` folder or delete it"
            )
        return there

    def add(self, number: int, found: RotatedInstances) -> None:
        found.save(self._file(number))

    def wait(self, image_ids: Sequence[Iterable[str]]) -> Iterator[RotatedInstances]:
        """All shards in order, each as soon as it is there: other processes may still be at work on theirs.

        Args:
            image_ids: of each shard.

        Raises:
            ValueError: when one is of other images, or there are more, from an earlier prediction on more images.
        """
        count = len(image_ids)
        if (extra := self._file(count)).is_file():
            raise self._of_others(f"more ({extra.name})", count)
        for number, ids in enumerate(image_ids):
            patience = time.monotonic() + _PATIENCE
            while not (file := self._file(number)).is_file():
                if time.monotonic() > patience:
                    who = number % this_process().total
                    warnings.warn(f"waiting for {file}, which process {who} has to write", stacklevel=5)
                    patience = np.inf
                time.sleep(0.2)
            found = self.find(number, ids)
            assert found is not None
            yield found

    def _of_others(self, got: str, count: int) -> ValueError:
        return ValueError(
            f"expected {count} shards of these images in {self.folder}, got {got}: it holds detections of other "
            "images; choose another `out` folder or delete it"
        )

    def _file(self, number: int) -> Path:
        return self.folder / f"part-{number:05d}.parquet"
