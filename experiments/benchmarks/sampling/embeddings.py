"""What embeddings of tiles are good for, without labels: near-duplicates, empty tiles, tiles of a class.

    pip install geoembed==1.1.2
    python -m experiments.benchmarks.sampling.embeddings --data PATH/TO/vhr10

Of each of 150 photographs of VHR-10 one tile of 192 px with an object's centre in it and one without are cut, at native
size. geoembed's ResNet-18 is compared with thumbnails of 8 x 8 pixels without their mean.

- distances, in shares of the median distance of two tiles, as the option `duplicates` of strategies has them;
- copies: the tile 12 px further right and down, 8 % brighter: how many have their original nearest;
- classes: how many tiles with an object have one of the same (first) class nearest, among other photographs' tiles;
- empty: the area under the ROC curve of the share of empty tiles among the five nearest of other photographs.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import rankdata

from al_rotate.data.formats import dota
from al_rotate.sampling.measures import duplicates
from al_rotate.sampling.measures.distances import unit

SIDE, SHIFT, BRIGHTER, COPIES = 192, 12, 1.08, 100
TRIES = 40  # places that are drawn for a tile
EMPTY = -1


def cut(data: Path, n_photographs: int, rng: np.random.Generator) -> tuple[list[Image.Image], list[Image.Image], Any]:
    """Return tiles, shifted copies, and (photograph, class) of each."""
    labels = dota.read(data / "labelTxt")
    tiles, copies, rows = [], [], []
    for number, name in enumerate(rng.permutation(np.sort(labels.image_ids))[:n_photographs]):
        image = Image.open(data / "images" / f"{name}.jpg").convert("RGB")
        centres, classes = labels[name].boxes[:, :2], labels[name].labels
        room = np.array(image.size) - SIDE - SHIFT
        if (room < 1).any():
            continue
        for wanted in (True, False):
            for _ in range(TRIES):
                corner = rng.integers(0, room)
                inside = ((centres > corner) & (centres < corner + SIDE)).all(axis=1)
                if inside.any() == wanted:
                    x, y = corner.tolist()
                    tiles.append(image.crop((x, y, x + SIDE, y + SIDE)))
                    copy = image.crop((x + SHIFT, y + SHIFT, x + SHIFT + SIDE, y + SHIFT + SIDE))
                    copies.append(copy.point(lambda value: min(255, round(value * BRIGHTER))))
                    rows.append((number, int(classes[inside].min()) if wanted else EMPTY))
                    break
    return tiles, copies[:COPIES], np.array(rows)


def thumbnails(tiles: list[Image.Image]) -> NDArray[np.float64]:
    pixels = np.stack([np.asarray(tile.resize((8, 8), Image.Resampling.BILINEAR), float).ravel() for tile in tiles])
    return unit(pixels - pixels.mean(axis=1, keepdims=True))


def by_geoembed(tiles: list[Image.Image]) -> NDArray[np.float32]:
    from geoembed import Model

    return Model.v3(device="cpu", workers=0).encode(tiles, batch_size=16)


def report(name: str, embed: Any, tiles: list[Image.Image], copies: list[Image.Image], rows: Any) -> None:
    photograph, label = rows.T
    started, cpu = time.perf_counter(), time.process_time()
    vectors = embed(tiles)
    seconds, cpu = (time.perf_counter() - started) / len(tiles), (time.process_time() - cpu) / len(tiles)
    shifted = embed(copies)
    found = (shifted @ vectors.T).argmax(axis=1) == np.arange(len(copies))
    cosines = vectors @ vectors.T
    cosines[photograph[:, None] == photograph] = -np.inf
    nearest = np.argsort(-cosines, axis=1)[:, :5]
    empty = label == EMPTY
    same = label[nearest[~empty, 0]] == label[~empty]
    ranks = rankdata((label[nearest] == EMPTY).mean(axis=1))
    n_empty, n_filled = empty.sum(), (~empty).sum()
    auc = (ranks[empty].sum() - n_empty * (n_empty + 1) / 2) / (n_empty * n_filled)
    share = 1 / duplicates.typical_distance(vectors)
    copied = share * np.linalg.norm(shifted - vectors[: len(copies)], axis=1)
    other = share * np.sqrt(np.maximum(0, 2 - 2 * cosines.max(axis=1)))
    half, most = np.quantile(copied, [0.5, 0.9])
    middle, least = np.quantile(other, [0.5, 0.01])
    print(f"{name}: distance of copies {half:.2f}, of 90 % at most {most:.2f}; of the nearest tile of another "
          f"photograph {middle:.2f}, of 1 % at most {least:.2f}")  # fmt: skip
    print(f"{name}: copies {found.mean():.0%}, classes {same.mean():.0%}, empty AUC {auc:.2f}, "
          f"{seconds:.4f} s a tile, {cpu:.4f} s of the CPU", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of VHR-10, with images and labelTxt")
    parser.add_argument("--photographs", type=int, default=150)
    args = parser.parse_args()
    tiles, copies, rows = cut(args.data, args.photographs, np.random.default_rng(0))
    print(f"{len(tiles)} tiles, {(rows[:, 1] == EMPTY).sum()} of them empty", flush=True)
    report("thumbnails", thumbnails, tiles, copies, rows)
    report("geoembed", by_geoembed, tiles, copies, rows)


if __name__ == "__main__":
    main()
