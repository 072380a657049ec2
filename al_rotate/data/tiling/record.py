"""What a folder of tiles was cut from, so that tiles of another tiling or of another scene are never mixed with it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...storage import manifest
from ...storage.files import atomic_write
from .. import images
from .tiles import Tile, Tiling

_FILE = "tiles.json"
_REMEDY = "give another folder, or delete it and the labels of its tiles"


class Record:
    """The manifest of a folder of tiles.

    Args:
        folder: of the tiles.
        tiling, bands, stretch: how they are cut.
        tiles: scene id -> its tiles.

    Raises:
        ValueError: when the folder has tiles that were cut otherwise, or other tiles of these scenes.
    """

    def __init__(
        self,
        folder: Path,
        tiling: Tiling,
        bands: int | Sequence[int] | None,
        stretch: Sequence[float] | None,
        tiles: Mapping[str, Sequence[Tile]],
    ) -> None:
        self._file = folder / _FILE
        expected = {tile.id for of_scene in tiles.values() for tile in of_scene}
        found = _tiles_in(folder)
        is_recorded = self._file.is_file()
        other = {tile.id for tile in found if tile.scene in tiles or not is_recorded} - expected
        facts = {
            **dataclasses.asdict(tiling),
            "bands": images.as_bands(bands),
            "stretch": images.as_stretch(stretch),
        }
        facts = json.loads(json.dumps(facts))  # tuples as the lists that will be read back
        if is_recorded or not other:  # else an older version cut them, which recorded nothing to compare with
            self._recorded = manifest.claim(self._file, facts, "tiles", _REMEDY, in_use=bool(found))
        if other:
            raise ValueError(f"{folder} has tiles of another cut, such as {min(other)}; {_REMEDY}")
        self._scenes: dict[str, list[int]] = self._recorded.get("scenes", {})

    def is_cut(self, scene_id: str, file: Path) -> bool:
        """Tell whether a scene was cut completely from this very file."""
        return self._scenes.get(scene_id) == images.stamp(file)

    def add(self, scene_id: str, file: Path) -> None:
        """Record that all tiles of a scene are written."""
        self._scenes[scene_id] = images.stamp(file)
        with atomic_write(self._file) as written:
            json.dump({**self._recorded, "scenes": self._scenes}, written, indent=1)


def _tiles_in(folder: Path) -> list[Tile]:
    tiles = []
    for file in folder.rglob("*.png"):
        try:
            tiles.append(Tile.of(file.relative_to(folder).with_suffix("").as_posix()))
        except ValueError:
            continue
    return tiles
