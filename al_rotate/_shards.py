"""The folder that a prediction streams to: finished shards, and a note of whose they are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ._files import whole
from .instances import RotatedInstances


class Shards:
    """Numbered Parquet files of detections in a folder, each there whole or not at all.

    Args:
        folder: made if missing.
        notes: what the detections follow from (model, settings).

    Raises:
        ValueError: when the folder holds detections that follow from something else.
    """

    def __init__(self, folder: Path, notes: Mapping[str, Any]) -> None:
        self.folder = folder
        file = folder / "detections.json"
        if file.is_file():
            there = json.loads(file.read_text(encoding="utf-8"))
            if changed := [name for name in notes if there.get(name) != notes[name]]:
                raise ValueError(
                    f"{folder} holds detections with another {', '.join(changed)}; choose another folder or delete it"
                )
            return
        if any(folder.glob("*.parquet")):
            raise ValueError(
                f"expected {folder} to be empty or to hold this detector's shards, got other Parquet files"
            )
        with whole(file) as text:
            json.dump(notes, text, indent=1)

    def has(self, number: int, image_ids: Iterable[str]) -> bool:
        """Whether a shard is finished.

        Raises:
            ValueError: when it is one of other images.
        """
        file = self._file(number)
        if not file.is_file():
            return False
        there = RotatedInstances.load(file)
        if {*there.image_ids, *there.skipped} != set(image_ids):
            raise ValueError(
                f"{file} holds detections of other images than these; choose another `out` folder or delete it"
            )
        return True

    def add(self, number: int, found: RotatedInstances) -> None:
        found.save(self._file(number))

    def load(self, count: int) -> list[RotatedInstances]:
        """The `count` finished shards.

        Raises:
            ValueError: when there are more, from an earlier prediction on more images.
        """
        if (extra := self._file(count)).is_file():
            raise ValueError(
                f"expected {count} shards of these images in {self.folder}, got more ({extra.name}): it holds "
                "detections of more images; choose another `out` folder or delete it"
            )
        return [RotatedInstances.load(self._file(number)) for number in range(count)]

    def _file(self, number: int) -> Path:
        return self.folder / f"part-{number:05d}.parquet"
