"""Detections on tiles merged into detections on their scenes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ...boxes import area, canonical, greedy, iou, near_pairs, to_hbb
from ..columns import COLUMNS
from ..instances import RotatedInstances
from .tiles import Tile

_EDGE = 8  # pixels: a box that ends this close to its tile's edge may continue beyond it
_CUT_WEIGHT = 0.5  # factor for the score of such a box in the ranking
_PIECE = 0.5  # share of a cut box's area from which it counts as a piece of the box that covers it


def merge(
    detections: RotatedInstances, sizes: Mapping[str, tuple[int, int]], iou_threshold: float = 0.1
) -> RotatedInstances:
    """Merge detections on tiles, so that each object of a scene is detected once.

    Boxes are mapped to the scene, then greedy class-wise non-maximum suppression removes duplicates. A tile's edge
    inside the scene may cut an object. A box at such an edge is ranked by half its score, and a better box of another
    tile suppresses it even if it covers only half of it: a piece never outlives the complete object that a neighbour
    saw. Boxes wholly in the padding beyond the scene's end are left out.

    Args:
        detections: on tiles with the ids of :class:`Tile`, in any order.
        sizes: scene id -> width and height in pixels.
        iou_threshold: rotated IoU with a better box of its class from which a box is suppressed.

    Returns:
        Detections on the scenes, in the order of their first tiles, boxes by descending score. A scene's
        ``image_features`` are the mean of its tiles'. A scene is skipped if any of its tiles was.

    Raises:
        ValueError: for ids that are no tile's, scenes without a size, tiles that begin beyond their scene, labels, or
            an IoU threshold outside (0, 1].
    """
    if detections.scores is None and detections.n_boxes:
        raise ValueError("expected detections with scores, got labels")
    if not 0 < iou_threshold <= 1:
        raise ValueError(f"expected an IoU threshold in (0, 1], got {iou_threshold}")
    tiles = [Tile.of(image_id) for image_id in detections.image_ids]
    skipped = {Tile.of(tile_id).scene: reason for tile_id, reason in detections.skipped.items()}
    scenes = [name for name in dict.fromkeys(tile.scene for tile in tiles) if name not in skipped]
    if missing := [name for name in scenes if name not in sizes]:
        raise ValueError(f"expected the size of every scene, got none of {missing[0]!r}")
    for tile in tiles:
        if tile.scene in sizes and (tile.x >= max(1, sizes[tile.scene][0]) or tile.y >= max(1, sizes[tile.scene][1])):
            raise ValueError(f"expected tiles of scenes of these sizes, got {tile.id} of {sizes[tile.scene]} pixels")
    number = {name: k for k, name in enumerate(scenes)}
    scene_of_tile = np.array([number.get(tile.scene, -1) for tile in tiles], np.int64)  # -1: skipped

    tile_of_box = detections.image_index
    scene_of_box = scene_of_tile[tile_of_box]
    windows = np.array([(tile.x, tile.y, tile.side) for tile in tiles], np.float64).reshape(-1, 3)[tile_of_box]
    extents = np.array([sizes.get(tile.scene, (0, 0)) for tile in tiles], np.float64).reshape(-1, 2)[tile_of_box]
    boxes = detections.boxes.astype(np.float64)
    boxes[:, :2] += windows[:, :2]
    scores = np.zeros(0, np.float32) if detections.scores is None else detections.scores
    hulls = to_hbb(boxes)
    cut = _at_inner_edge(hulls, windows, extents)
    in_scene = np.asarray(((hulls[:, 2:] > 0) & (hulls[:, :2] < extents)).all(axis=1))

    rows = _suppress(boxes, scores, detections.labels, scene_of_box, tile_of_box, cut, iou_threshold)
    rows = rows[(scene_of_box[rows] >= 0) & in_scene[rows]]
    scene = scene_of_box[rows]
    order = np.lexsort((rows, -scores[rows], scene))
    rows, counts = rows[order], np.bincount(scene, minlength=len(scenes))
    columns = {
        name: getattr(detections, name)[rows]
        for name, column in COLUMNS.items()
        if column.per == "box" and getattr(detections, name) is not None
    }
    columns["boxes"] = canonical(boxes[rows].astype(np.float32))
    if detections.image_features is not None:
        merged = scene_of_tile >= 0
        sums = np.zeros((len(scenes), detections.image_features.shape[1]))
        np.add.at(sums, scene_of_tile[merged], detections.image_features[merged])
        columns["image_features"] = sums / np.bincount(scene_of_tile[merged], minlength=len(scenes))[:, None]
    return RotatedInstances(
        scenes,
        np.concatenate([[0], np.cumsum(counts)]),
        classes=detections.classes,
        image_sizes=np.array([sizes[name] for name in scenes]).reshape(-1, 2),
        skipped=skipped,
        **columns,
    )


def _at_inner_edge(hulls: NDArray, windows: NDArray, extents: NDArray) -> NDArray[np.bool_]:
    """Tell which boxes, by their hulls, reach an edge of their tile beyond which the scene continues."""
    low, high = windows[:, :2], windows[:, :2] + windows[:, 2:3]
    at_low = (hulls[:, :2] < low + _EDGE) & (low > 0)
    at_high = (hulls[:, 2:] > high - _EDGE) & (high < extents)
    return np.asarray((at_low | at_high).any(axis=1))


def _suppress(
    boxes: NDArray, scores: NDArray, labels: NDArray, scene: NDArray, tile: NDArray, cut: NDArray, threshold: float
) -> NDArray[np.intp]:
    """Return the rows that remain, by descending weighted score."""
    order = np.argsort(-scores.astype(np.float64) * np.where(cut, _CUT_WEIGHT, 1.0), kind="stable")
    boxes, labels, scene, tile, cut = (values[order] for values in (boxes, labels, scene, tile, cut))
    # Scenes and classes are laid out next to each other, so that the search for near pairs never crosses them.
    group = np.unique(np.column_stack([scene, labels]), axis=0, return_inverse=True)[1].reshape(-1)
    hulls = to_hbb(boxes)
    laid_out = boxes.copy()
    laid_out[:, 0] += group * (np.ptp(hulls[:, [0, 2]]) + 1.0 if len(hulls) else 0.0)
    areas = area(boxes)
    rows, columns = near_pairs(laid_out)
    same = group[rows] == group[columns]

    def suppresses(i: NDArray[np.intp], j: NDArray[np.intp]) -> NDArray[np.bool_]:
        overlap = iou(boxes[i], boxes[j], paired=True)
        common = overlap * (areas[i] + areas[j]) / (1 + overlap)
        is_piece = cut[j] & (tile[i] != tile[j]) & (common >= _PIECE * areas[j])
        return (overlap >= threshold) | is_piece

    return order[greedy(len(boxes), rows[same], columns[same], suppresses)]
