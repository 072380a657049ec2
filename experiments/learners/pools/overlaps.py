"""Which photographs show the same ground: data sets are cut from larger scenes, and a split may divide these.

SIFT keypoints (Lowe, 2004) of RootSIFT descriptors (Arandjelovic and Zisserman, 2012) are matched between all
photographs. Two overlap if enough matches agree on one similarity transform, found by RANSAC. Ground without keypoints,
such as empty sea, is found by phase correlation (`shifts.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .shifts import find_shifted, read_grey

KEYPOINTS = 200  # of a photograph
LEAST_COSINE = 0.92  # of two descriptors
CANDIDATE, AGREE = 6, 10  # matches of two photographs that are worth RANSAC, and that agree on a transform
OFF_BY = 4.0  # pixels, of a match that agrees
_ROWS = 4000  # descriptors compared with all others at once


def find_overlaps(files: Mapping[str, Path]) -> list[tuple[str, str]]:
    """Find the pairs of photographs that overlap: by keypoints among all, by phase correlation among neighbours.

    Args:
        files: id -> file.

    Returns:
        Pairs of ids, each pair and the list sorted.
    """
    return sorted({*_by_keypoints(files), *find_shifted(files)})


def group(ids: Sequence[str], pairs: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Number the groups of photographs that overlap, directly or by way of others; most are alone in theirs."""
    row = {i: k for k, i in enumerate(ids)}
    rows, columns = np.array([(row[a], row[b]) for a, b in pairs], int).reshape(-1, 2).T
    joined = coo_array((np.ones(len(rows)), (rows, columns)), (len(ids), len(ids)))
    return dict(zip(ids, connected_components(joined, directed=False)[1].tolist(), strict=True))


def _by_keypoints(files: Mapping[str, Path]) -> list[tuple[str, str]]:
    ids = sorted(files)
    found = [_describe(files[i]) for i in ids]
    descriptors = np.concatenate([np.zeros((0, 128), np.float32), *(d for _, d in found)])
    owner = np.repeat(np.arange(len(ids)), [len(points) for points, _ in found])
    return [
        (ids[a], ids[b])
        for (a, b), matches in _matches(descriptors, owner).items()
        if len(matches) >= CANDIDATE and _agree(found[a][0], found[b][0], matches - _starts(owner, a, b)) >= AGREE
    ]


def _describe(file: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Keypoints (n, 2) in pixels, and their descriptors (n, 128) of length 1."""
    points, descriptors = cv2.SIFT_create(KEYPOINTS).detectAndCompute(read_grey(file), None)
    if descriptors is None:
        return np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32)
    root = np.sqrt(descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-9))
    return np.array([point.pt for point in points], np.float32), root.astype(np.float32)


def _matches(descriptors: NDArray[np.float32], owner: NDArray[np.int64]) -> dict[tuple[int, int], NDArray[np.int64]]:
    """The rows of matching descriptors, (K, 2), of each pair of photographs that has any."""
    left, right = [np.zeros(0, int)], [np.zeros(0, int)]
    for start in range(0, len(descriptors), _ROWS):
        block = descriptors[start : start + _ROWS]
        row, other = np.nonzero(block @ descriptors[start:].T >= LEAST_COSINE)
        apart = owner[row + start] < owner[other + start]  # the earlier photograph comes first
        left.append(row[apart] + start)
        right.append(other[apart] + start)
    rows = np.column_stack([np.concatenate(left), np.concatenate(right)])
    pair = owner[rows]
    order = np.lexsort(pair.T[::-1])
    bounds = np.flatnonzero(np.any(np.diff(pair[order], axis=0) != 0, axis=1)) + 1
    return {tuple(owner[part[0]].tolist()): part for part in np.split(rows[order], bounds) if len(part)}


def _starts(owner: NDArray[np.int64], a: int, b: int) -> NDArray[np.int64]:
    """The first rows of two photographs, (2,)."""
    return np.searchsorted(owner, [a, b])


def _agree(left: NDArray[np.float32], right: NDArray[np.float32], matches: NDArray[np.int64]) -> int:
    """How many matches (K, 2) of keypoints agree on one similarity transform."""
    cv2.setRNGSeed(0)
    _, inliers = cv2.estimateAffinePartial2D(
        left[matches[:, 0]], right[matches[:, 1]], method=cv2.RANSAC, ransacReprojThreshold=OFF_BY
    )
    if inliers is None:
        return 0
    agreed = matches[inliers[:, 0].astype(bool)]
    return min(len({*agreed[:, 0].tolist()}), len({*agreed[:, 1].tolist()}))
