"""A pool of tiles: what is cut, who gets which photograph, and how detections on tiles are measured on photographs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

import al_rotate as al
from al_rotate.data import images
from al_rotate.data.tiling import cut_labels, merge
from al_rotate.data.tiling.tiles import Tile, window
from al_rotate.storage.files import atomic_write, temporary_sibling

from .. import dota_folder
from ..dota_folder import DotaFolder
from .grid import Grid
from .overlaps import find_overlaps
from .rendered import MEAN_OBJECTS, render_scenes

Measure = Literal["val", "test"]
VAL_EVERY = 6  # of the photographs to train on, one in so many is for choices


@dataclass(frozen=True)
class Recipe:
    """How a pool is made.

    Attributes:
        source: a folder of photographs in DOTA form below the data folder, or ``rendered-55`` and the like.
        tile: about the side of a tile, in the photographs' own pixels.
        input: side of what the detector sees of a tile; it is resized like in a test pipeline.
        most: photographs in a seed's pool; None: all that are left.
    """

    source: str
    tile: int
    input: int
    most: int | None = None


POOLS = {
    "vhr10": Recipe("vhr10", 256, 160),
    "vhr10-large": Recipe("vhr10", 320, 640),  # for whole detectors, which nothing is chosen by
    "ssdd-large": Recipe("ssdd", 200, 192),
    "ssdd-small": Recipe("ssdd", 125, 128),
    **{f"scenes-{empties}": Recipe(f"rendered-{empties}", 160, 160) for empties in MEAN_OBJECTS},
}


@dataclass(frozen=True)
class Draw:
    """Which tiles a seed has for what; photographs are never divided.

    Attributes:
        known: tiles of the photographs that the detector is trained on before the loop begins.
        pool: tiles that a loop may ask for.
        measured: tiles to evaluate on.
        photographs: that `measured` are of.
    """

    known: list[str]
    pool: list[str]
    measured: list[str]
    photographs: list[str]


@dataclass(frozen=True)
class TilePool:
    """The tiles of a data set.

    Attributes:
        recipe: that it was made by.
        labels: of all tiles, in their own pixels.
        files: tile id -> file.
        truth: labels of the photographs.
        train, test: ids of the photographs.
        overlaps: pairs of photographs that show the same ground.
    """

    recipe: Recipe
    labels: al.RotatedInstances
    files: dict[str, Path]
    truth: al.RotatedInstances
    train: list[str]
    test: list[str]
    overlaps: list[tuple[str, str]]

    def draw(self, seed: int, measure: Measure, n_known: int) -> Draw:
        """Draw a seed's photographs.

        To choose by, the same one in six of the photographs to train on are measured for all seeds, and no seed's pool
        has them; for a report the published test set is measured, and all others are drawn from. Photographs that
        overlap with one that is measured are left out.

        Args:
            seed: of the draw.
            measure: which photographs to evaluate on.
            n_known: photographs that the detector begins with.
        """
        order = np.random.default_rng(0).permutation(sorted(self.train)).tolist()
        n_val = len(order) // VAL_EVERY
        measured, rest = (self.test, order) if measure == "test" else (order[:n_val], order[n_val:])
        away = {*measured}
        seen = {i for pair in self.overlaps if not away.isdisjoint(pair) for i in pair}
        drawn = np.random.default_rng([seed, 29]).permutation(sorted({*rest} - seen)).tolist()
        last = None if self.recipe.most is None else n_known + self.recipe.most
        known, pool = drawn[:n_known], drawn[n_known:last]
        return Draw(*map(self.tiles_of, (known, pool, measured)), photographs=sorted(measured))

    def tiles_of(self, photographs: Sequence[str]) -> list[str]:
        """The tiles of these photographs, sorted."""
        wanted = {*photographs}
        return sorted(i for i in self.labels.image_ids.tolist() if Tile.of(i).scene in wanted)

    def shares(self, tiles: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What tiles, and the boxes on them, are of their photographs. An object on an edge has a box on each side.

        Args:
            tiles: M ids.

        Returns:
            (M,) photographs to a tile: 1 divided by the tiles of its photograph; (M,) objects to a box: the objects of
            its photograph divided by the boxes on that one's tiles. Over all tiles of a photograph they add up to one
            photograph, and to each of its objects once.
        """
        scenes = [Tile.of(i).scene for i in self.labels.image_ids.tolist()]
        n_tiles, n_boxes = Counter(scenes), Counter[str]()
        for scene, count in zip(scenes, self.labels.counts.tolist(), strict=True):
            n_boxes[scene] += count
        n_objects = dict(zip(self.truth.image_ids.tolist(), self.truth.counts.tolist(), strict=True))
        wanted = [Tile.of(i).scene for i in tiles]
        objects = [n_objects[scene] / max(1, n_boxes[scene]) for scene in wanted]
        return np.array([1 / n_tiles[scene] for scene in wanted]), np.array(objects, float)

    def merged(self, detections: al.RotatedInstances, photographs: Sequence[str]) -> al.RotatedInstances:
        """Merge detections on tiles into detections on these photographs, as the library does."""
        truth = self.truth.subset(photographs)
        assert truth.image_sizes is not None
        sizes = dict(zip(truth.image_ids.tolist(), map(tuple, truth.image_sizes.tolist()), strict=True))
        return merge(detections.subset(self.tiles_of(photographs)), sizes).subset(photographs)


def make_pool(recipe: Recipe, folder: Path, data: Path | None) -> TilePool:
    """Cut a data set in `folder`, or load it from there. After a kill the same call resumes.

    Args:
        recipe: what to cut.
        folder: of this recipe alone.
        data: where the folders of photographs are; rendered scenes need none.

    Raises:
        ValueError: if the photographs are missing, or the folder holds another recipe's tiles.
    """
    note = folder / "made.json"
    if note.exists():
        made = json.loads(note.read_text(encoding="utf-8"))
        if made["recipe"] != vars(recipe):
            raise ValueError(f"expected {vars(recipe)} in {folder}, got {made['recipe']}: give another --work")
        labels, truth = (al.RotatedInstances.load(folder / f"{name}.parquet") for name in ("labels", "truth"))
        files = {tile: folder / "images" / f"{tile}.png" for tile in labels.image_ids.tolist()}
        return TilePool(recipe, labels, files, truth, made["train"], made["test"], list(map(tuple, made["overlaps"])))
    source = _source(recipe, folder, data)
    ids = source.labels.image_ids.tolist()
    sizes = {i: images.size(source.files[i]) for i in ids}
    labels = cut_labels(source.labels, sizes, Grid(recipe.tile, 0))
    files = _write_tiles(labels.image_ids.tolist(), source, folder / "images")
    truth = source.labels.replace(image_sizes=np.array([sizes[i] for i in ids]))
    labels.save(folder / "labels.parquet")
    truth.save(folder / "truth.parquet")
    overlaps = [] if _rendered(recipe) else find_overlaps({i: source.files[i] for i in ids})
    made = {"train": source.train, "test": source.test, "overlaps": overlaps}
    with atomic_write(note) as file:
        json.dump({"recipe": vars(recipe), **made}, file)
    return TilePool(recipe, labels, files, truth, **made)


def _rendered(recipe: Recipe) -> bool:
    """Whether photographs are rendered, so that no two share ground."""
    return recipe.source.startswith("rendered-")


def _source(recipe: Recipe, folder: Path, data: Path | None) -> DotaFolder:
    if _rendered(recipe):
        return render_scenes(folder / "scenes", int(recipe.source.partition("-")[2]))
    if data is None:
        raise ValueError(f"expected the folder that {recipe.source}/ is in, got none: give --data")
    return dota_folder.read(data / recipe.source)


def _write_tiles(tiles: Sequence[str], source: DotaFolder, folder: Path) -> dict[str, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    files = {tile: folder / f"{tile}.png" for tile in tiles}
    of_scene: dict[str, list[Tile]] = {}
    for name, file in files.items():
        if not file.exists():
            of_scene.setdefault(Tile.of(name).scene, []).append(Tile.of(name))
    for scene, missing in of_scene.items():
        pixels = images.read(source.files[scene])
        for tile in missing:
            _write_quickly(window(pixels, tile), files[tile.id])
    return files


def _write_quickly(pixels: NDArray[np.uint8], path: Path) -> None:
    """Write a PNG in a fifth of the time that the smallest file would take."""
    scratch = temporary_sibling(path).with_suffix(".png")
    cv2.imwrite(str(scratch), pixels[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    scratch.replace(path)
