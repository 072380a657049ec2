"""Coverage: queries with something of every class, size, shape and direction, and not ten tiles of one scene.

It is measured on predicted boxes, never on labels that are held back.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ... import boxes
from ...data import RotatedInstances

__all__ = ["contents", "cover", "require_scene_pattern", "scene_of", "spread_over_scenes", "turns"]

SIDES = (16.0, 32.0, 64.0, 128.0)  # pixels: bounds of the mean side, the square root of the area
ASPECTS = (1.2, 2.0, 4.0)  # bounds of the long over the short side; below the first a box has no direction
DIRECTIONS = 4


def contents(detections: RotatedInstances, n_classes: int | None = None) -> NDArray[np.float64]:
    """Count what each image is predicted to hold, weighted by the scores.

    Args:
        detections: with scores; or labels, each of which counts 1.
        n_classes: None takes the detections' own.

    Returns:
        (M, C * 14): for each class the expected boxes by five sizes, by four shapes, and by four directions and none.
    """
    if n_classes is None:
        n_classes = len(detections.classes) if detections.classes else int(detections.labels.max(initial=-1)) + 1
    box = detections.boxes.astype(np.float64)
    sides = np.sqrt(boxes.area(box))
    long, short = box[:, 2:4].max(axis=1, initial=0), np.maximum(box[:, 2:4].min(axis=1, initial=np.inf), 1e-9)
    size, shape = np.searchsorted(SIDES, sides, "right"), np.searchsorted(ASPECTS, long / short, "right")
    sector = np.minimum(((box[:, 4] + np.pi / 2) / np.pi * DIRECTIONS).astype(np.int64) % DIRECTIONS, DIRECTIONS - 1)
    direction = np.where(shape == 0, DIRECTIONS, sector)
    parts = (len(SIDES) + 1, len(ASPECTS) + 1, DIRECTIONS + 1)
    table = np.zeros((len(detections), n_classes, sum(parts)))
    weights = np.ones(len(box)) if detections.scores is None else detections.scores.astype(np.float64)
    start = 0
    for kind, width in zip((size, shape, direction), parts, strict=True):
        np.add.at(table, (detections.image_index, detections.labels, start + kind), weights)
        start += width
    return table.reshape(len(detections), -1)


def cover(
    held: ArrayLike, n: int, have: ArrayLike | None = None, quality: ArrayLike | None = None
) -> NDArray[np.int64]:
    """Pick rows that together hold something of everything: greedily, for the largest sum of roots of what they hold.

    The root makes the second of a kind worth less than the first. The sum is monotone and submodular, so the
    greedy choice reaches 63 % of the best one (Nemhauser, Wolsey and Fisher 1978), by lazy evaluation (Minoux 1978);
    as feature-based selection in Wei, Iyer and Bilmes, "Submodularity in Data Subset Selection" (ICML 2015).

    Args:
        held: (M, K) >= 0, of :func:`contents`.
        n: rows to pick; all if there are fewer.
        have: (K,) what is labelled already.
        quality: (M,) >= 0, multiplies a row's gain, such as its uncertainty.

    Returns:
        (n,) row numbers in order; ties go to the lower one.

    Raises:
        ValueError: for shapes that do not fit, values that are negative or not finite, or n < 1.

    >>> cover([[4, 0], [4, 0], [0, 1]], 2).tolist()
    [0, 2]
    """
    table = np.asarray(held, np.float64)
    total = np.zeros(table.shape[-1]) if have is None else np.asarray(have, np.float64).copy()
    factor = np.ones(len(table)) if quality is None else np.asarray(quality, np.float64)
    fits = table.ndim == 2 and total.shape == table.shape[1:] and factor.shape == table.shape[:1]
    if not fits or any(not ((values >= 0) & (values < np.inf)).all() for values in (table, total, factor)):
        raise ValueError(
            f"expected finite values >= 0, (M, K), (K,) and (M,), got {table.shape}, {total.shape}, {factor.shape}"
        )
    if n < 1:
        raise ValueError(f"expected to pick at least one row, got {n}")

    def gain(row: int) -> float:
        # Rounded, so that gains that differ only by the order of additions tie.
        return round(float(factor[row] * (np.sqrt(total + table[row]) - np.sqrt(total)).sum()), 9)

    queue = [(-gain(row), row) for row in range(len(table))]
    heapq.heapify(queue)
    picked: list[int] = []
    while queue and len(picked) < n:
        _, row = heapq.heappop(queue)
        entry = (-gain(row), row)
        if queue and entry > queue[0]:
            heapq.heappush(queue, entry)  # its gain has fallen since it was computed
            continue
        picked.append(row)
        total += table[row]
    return np.array(picked, np.int64)


def scene_of(image_id: str, pattern: str | None = None) -> str:
    """Return the scene that an image shows a part of; an image that is no part of one is its own scene.

    Args:
        image_id: of a tile, or of a frame of a video.
        pattern: a regular expression for the whole id; its first group is the scene. None: MMRotate's and DOTA's names
            of tiles, ``P0001__1024__0___824`` is of ``P0001``.

    >>> scene_of("flight/00012", "(.*)/.*")
    'flight'
    """
    if pattern is None:
        return image_id.partition("__")[0] or image_id
    match = re.fullmatch(pattern, image_id)
    return (match and match[1]) or image_id


def spread_over_scenes(image_ids: Iterable[str], most: int, scene: Callable[[str], str] = scene_of) -> list[str]:
    """Move images beyond the first `most` of a scene behind all others, since overlapping tiles show the same objects.

    Args:
        image_ids: best first.
        most: images of one scene before the other scenes have had theirs.
        scene: image id -> scene.

    Returns:
        All ids, each scene's next `most` after each scene's first, and so on.

    Raises:
        ValueError: for most < 1.

    >>> spread_over_scenes(["a__1", "a__2", "b__1", "a__3"], most=1)
    ['a__1', 'b__1', 'a__2', 'a__3']
    """
    ids: Sequence[str] = list(image_ids)
    return [ids[k] for k in np.argsort(turns(ids, most, scene), kind="stable")]


def turns(image_ids: Iterable[str], most: int, scene: Callable[[str], str] = scene_of) -> NDArray[np.int64]:
    """Count how often the scene of each image has had its `most` images before, (M,).

    Args, Raises:
        as for :func:`spread_over_scenes`.

    >>> turns(["a__1", "a__2", "b__1", "a__3"], most=2).tolist()
    [0, 0, 0, 1]
    """
    if most < 1:
        raise ValueError(f"expected at least one image of a scene, got {most}")
    counts: Counter[str] = Counter()
    turn = []
    for image_id in image_ids:
        name = scene(image_id)
        turn.append(counts[name] // most)
        counts[name] += 1
    return np.array(turn, np.int64)


def require_scene_pattern(pattern: str | None) -> None:
    """Raise ValueError unless the pattern of :func:`scene_of` is None or a regular expression with a group."""
    try:
        groups = 1 if pattern is None else re.compile(pattern).groups
    except (re.error, TypeError):
        groups = 0
    if not groups:
        raise ValueError(f"expected scene to be a regular expression with a group, got {pattern!r}")
