"""TODO data.tiling.merge."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ... import boxes
from ...boxes.nms import greedy
from ..columns import COLUMNS
from ..instances import RotatedInstances
from .tiles import Tile

_AT_EDGE = 8  # pixels: a box that ends so near the edge of its tile may go on beyond it

_HALF = 0.5


def merge(
    detections: RotatedInstances, sizes: Mapping[str, tuple[int, int]], iou_threshold: float = 0.1
) -> RotatedInstances:
    """What was detected on tiles, on their scenes, each object once.

    Boxes move to the scene; then the best of each class suppress the others that they overlap. Where a tile ends inside
    the scene it may have cut an object: a box at such an edge stands behind at half its score, and goes as well when
    half of it lies in a better one, so that a piece never outlives the whole that a neighbour saw.

    Args:
        detections: on tiles named as :class:`Tile` names them, in any order.
        sizes: width and height in pixels of each scene.
        iou_threshold: the rotated IoU from which a worse box of the same class goes.

    Returns:
        Detections on the scenes, in the order in which their first tiles came, boxes by descending score. A scene's
        ``image_features`` are the mean of its tiles'. A scene of which a tile was skipped is skipped.

    Raises:
        ValueError: for ids that are no tiles', scenes without a size, labels, or an IoU threshold outside (0, 1].
    """
    if detections.scores is None and detections.n_boxes:
        raise ValueError("expected detections with scores, got labels")
    if not 0 < iou_threshold <= 1:
        raise ValueError(f"expected an IoU threshold in (0, 1], got {iou_threshold}")
    tiles = [Tile.of(image_id) for image_id in detections.image_ids]
    skipped = {Tile.of(image_id).scene: why for image_id, why in detections.skipped.items()}
    scenes = [name for name in dict.fromkeys(tile.scene for tile in tiles) if name not in skipped]
    if missing := [name for name in scenes if name not in sizes]:
        raise ValueError(f"expected the size of every scene, got none of {missing[0]!r}")
    number = {name: k for k, name in enumerate(scenes)}
    scene_of_tile = np.array([number.get(tile.scene, -1) for tile in tiles], np.int64)

    at = detections.image_index
    corner = np.array([(tile.x, tile.y, tile.side) for tile in tiles], np.float64).reshape(-1, 3)[at]
    extent = np.array([sizes.get(tile.scene, (0, 0)) for tile in tiles], np.float64).reshape(-1, 2)[at]
    moved = detections.boxes.astype(np.float64)
    moved[:, :2] += corner[:, :2]
    scores = np.zeros(0, np.float32) if detections.scores is None else detections.scores
    cut = _at_inner_edge(moved, corner, extent)

    rows = _kept(moved, scores, detections.labels, scene_of_tile[at], at, cut, iou_threshold)
    scene = scene_of_tile[at][rows]
    rows, scene = rows[scene >= 0], scene[scene >= 0]
    order = np.lexsort((rows, -scores[rows], scene))
    rows, counts = rows[order], np.bincount(scene, minlength=len(scenes))
    columns = {
        name: getattr(detections, name)[rows]
        for name, (_, per, _) in COLUMNS.items()
        if per == "box" and getattr(detections, name) is not None
    }
    columns["boxes"] = boxes.canonical(moved[rows].astype(np.float32))
    if detections.image_features is not None:
        inside = scene_of_tile >= 0
        sums = np.zeros((len(scenes), detections.image_features.shape[1]))
        np.add.at(sums, scene_of_tile[inside], detections.image_features[inside])
        columns["image_features"] = sums / np.bincount(scene_of_tile[inside], minlength=len(scenes))[:, None]
    return RotatedInstances(
        scenes,
        np.concatenate([[0], np.cumsum(counts)]),
        classes=detections.classes,
        image_sizes=np.array([sizes[name] for name in scenes]).reshape(-1, 2),
        skipped=skipped,
        **columns,
    )


def _at_inner_edge(moved: NDArray, corner: NDArray, extent: NDArray) -> NDArray[np.bool_]:
    """Which boxes reach an edge of their tile beyond which the scene goes on."""
    hull = boxes.to_hbb(moved)
    low, high = corner[:, :2], corner[:, :2] + corner[:, 2:3]
    return (((hull[:, :2] < low + _AT_EDGE) & (low > 0)) | ((hull[:, 2:] > high - _AT_EDGE) & (high < extent))).any(
        axis=1
    )


def _kept(
    box: NDArray, scores: NDArray, labels: NDArray, scene: NDArray, tile: NDArray, cut: NDArray, threshold: float
) -> NDArray[np.intp]:
    order = np.argsort(-scores.astype(np.float64) * np.where(cut, _HALF, 1.0), kind="stable")
    box, labels, scene, tile, cut = (values[order] for values in (box, labels, scene, tile, cut))
    # Scenes and classes side by side, so that the sweep for neighbours never compares across them.
    group = np.unique(np.column_stack([scene, labels]), axis=0, return_inverse=True)[1].reshape(-1)
    hull = boxes.to_hbb(box)
    apart = box.copy()
    apart[:, 0] += group * (np.ptp(hull[:, [0, 2]]) + 1.0 if len(hull) else 0.0)
    area = boxes.area(box)
    rows, columns = boxes.near_pairs(apart)
    near = group[rows] == group[columns]

    def suppresses(i: NDArray[np.intp], j: NDArray[np.intp]) -> NDArray[np.bool_]:
        overlap = boxes.iou(box[i], box[j], paired=True)
        common = overlap * (area[i] + area[j]) / (1 + overlap)
        piece = cut[j] & (tile[i] != tile[j]) & (common >= _HALF * area[j])
        return (overlap >= threshold) | piece

    return order[greedy(len(box), rows[near], columns[near], suppresses)]
