"""TODO data.columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

# column -> (dtype, one row per: "box" | "image", trailing shape; None: any width)
COLUMNS: dict[str, tuple[type, str, tuple[int | None, ...]]] = {
    "boxes": (np.float32, "box", (5,)),
    "labels": (np.int32, "box", ()),
    "scores": (np.float32, "box", ()),
    "class_scores": (np.float32, "box", (None,)),
    "box_features": (np.float32, "box", (None,)),
    "difficult": (np.uint8, "box", ()),
    "image_features": (np.float32, "image", (None,)),
    "image_sizes": (np.int32, "image", (2,)),
}


def _as_ids(image_ids: Sequence[str] | NDArray) -> NDArray[np.object_]:
    ids = np.empty(len(image_ids), object)
    ids[:] = [str(i) if isinstance(i, np.str_) else i for i in image_ids]
    for image_id in ids:
        if not isinstance(image_id, str) or not image_id:
            raise ValueError(f"expected image ids to be non-empty strings, got {image_id!r}")
    _require_distinct(ids)
    return ids


def _require_distinct(ids: NDArray[np.object_]) -> None:
    if len(set(ids)) != len(ids):
        (twice, _), *_ = Counter(ids).most_common(1)
        raise ValueError(f"expected distinct image ids, got {twice!r} more than once")


def _as_offsets(offsets: ArrayLike, images: int) -> NDArray[np.int64]:
    array = np.asarray(offsets)
    if array.shape != (images + 1,) or array.dtype.kind not in "iu":
        raise ValueError(f"expected offsets of {images + 1} integers (images + 1), got {array.dtype} {array.shape}")
    if array[0] != 0 or (np.diff(array) < 0).any():
        raise ValueError("expected offsets to ascend from 0")
    return array.astype(np.int64, copy=False)


def _as_classes(classes: Sequence[str] | None) -> tuple[str, ...] | None:
    if classes is None:
        return None
    named = not isinstance(classes, str) and all(isinstance(name, str) and name for name in classes)
    if not named or len(set(classes)) != len(classes):
        raise ValueError(f"expected classes to be distinct non-empty strings, got {classes!r}")
    return tuple(classes)
