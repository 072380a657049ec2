"""The columns of RotatedInstances: their dtypes and shapes, and the checks of what the constructor is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..storage.parquet import Column

COLUMNS: dict[str, Column] = {
    "boxes": Column(np.float32, "box", (5,)),
    "labels": Column(np.int32, "box", ()),
    "scores": Column(np.float32, "box", ()),
    "class_scores": Column(np.float32, "box", (None,)),
    "box_features": Column(np.float32, "box", (None,)),
    "difficult": Column(np.uint8, "box", ()),
    "image_features": Column(np.float32, "image", (None,)),
    "image_sizes": Column(np.int32, "image", (2,)),
}


def as_ids(image_ids: Sequence[str] | NDArray) -> NDArray[np.object_]:
    """Return image ids as an (M,) array of Python strings.

    Raises:
        ValueError: unless they are distinct, not empty, and valid Unicode; names the id.
    """
    if isinstance(image_ids, str):
        raise ValueError(f"expected a sequence of image ids, got the string {image_ids!r}")
    ids = np.empty(len(image_ids), object)
    ids[:] = [str(image_id) if isinstance(image_id, np.str_) else image_id for image_id in image_ids]
    for image_id in ids:
        if not isinstance(image_id, str) or not image_id:
            raise ValueError(f"expected image ids to be non-empty strings, got {image_id!r}")
        require_unicode(image_id, "an image id")
    require_distinct(ids)
    return ids


def require_unicode(name: str, what: str) -> None:
    """Raise ValueError for a name with bytes that are not UTF-8, which no text file or Parquet file can hold.

    Python reads such a file name with a lone surrogate in place of each byte.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"expected {what} in UTF-8, got {name!r}; rename the file") from None


def require_distinct(ids: NDArray[np.object_]) -> None:
    """Raise ValueError if an id occurs twice; the message names it."""
    if len(set(ids)) != len(ids):
        (duplicate, _), *_ = Counter(ids).most_common(1)
        raise ValueError(f"expected distinct image ids, got {duplicate!r} more than once")


def as_offsets(offsets: ArrayLike, n_images: int) -> NDArray[np.int64]:
    """Return offsets as (n_images + 1,) int64; ValueError unless they are integers that ascend from 0."""
    array = np.asarray(offsets)
    if array.shape != (n_images + 1,) or array.dtype.kind not in "iu":
        raise ValueError(f"expected offsets of {n_images + 1} integers (images + 1), got {array.dtype} {array.shape}")
    if array[0] != 0 or (np.diff(array) < 0).any():
        raise ValueError("expected offsets to ascend from 0")
    return array.astype(np.int64, copy=False)


def as_classes(classes: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return class names as a tuple; ValueError unless they are a sequence of distinct non-empty strings."""
    if classes is None:
        return None
    if isinstance(classes, str):
        raise ValueError(f"expected a sequence of class names, got {classes!r}; write [{classes!r}] for one class")
    names = tuple(classes)
    if not all(isinstance(name, str) and name for name in names) or len(set(names)) != len(names):
        raise ValueError(f"expected classes to be distinct non-empty strings, got {names!r}")
    for name in names:
        require_unicode(name, "a class name")
    return names


def as_column(name: str, values: ArrayLike, n_rows: int) -> NDArray:
    """Return a column's values in its dtype, C-contiguous, copied only if need be.

    Args:
        name: key of COLUMNS.
        values: array-like; without an element it takes the column's shape if there are no rows.
        n_rows: boxes or images, whichever the column has one row for.

    Raises:
        ValueError: for another shape, fractions in an integer column, or integers out of the dtype's range.
    """
    dtype, _, shape = COLUMNS[name]
    array = np.asarray(values)
    if array.size == 0 and n_rows == 0:
        width = array.shape[1] if array.ndim == 2 else 0
        array = array.reshape((0, *(width if length is None else length for length in shape)))
    expected = (n_rows, *shape)
    if array.ndim != len(expected) or any(e not in (None, a) for e, a in zip(expected, array.shape, strict=True)):
        wanted = ", ".join("any" if length is None else str(length) for length in expected)
        raise ValueError(f"expected {name} of shape ({wanted}{',' * (len(expected) == 1)}), got {array.shape}")
    if np.dtype(dtype).kind in "iu" and array.size and array.dtype.kind not in "iub":
        raise ValueError(f"expected integers in {name}, got {array.dtype}")
    column: NDArray = np.ascontiguousarray(array, dtype=dtype)
    if column.dtype.kind in "iu" and not np.array_equal(column, array):
        raise ValueError(f"expected {name} that fit {column.dtype}, got {array.min()} to {array.max()}")
    return column


def check_values(
    columns: Mapping[str, NDArray | None],
    image_ids: NDArray[np.object_],
    offsets: NDArray[np.int64],
    classes: tuple[str, ...] | None,
) -> None:
    """Check the values of columns that :func:`as_column` made.

    Args:
        columns: name -> array or None, for all of COLUMNS.
        image_ids, offsets, classes: of the container, checked before.

    Raises:
        ValueError: for values that are not finite, negative, above 1, or beyond the classes; names the image.
    """

    def require(valid: NDArray[np.bool_], name: str, expected: str) -> None:
        rows = valid.all(axis=tuple(range(1, valid.ndim)))
        if rows.all():
            return
        row = int(np.flatnonzero(~rows)[0])
        position = row if COLUMNS[name].per == "image" else int(np.searchsorted(offsets, row, side="right")) - 1
        got = columns[name][row].tolist()  # type: ignore[index]
        raise ValueError(f"expected {expected} in {name}, got {got} for image {image_ids[position]!r}")

    for name in ("boxes", "scores", "class_scores", "box_features", "image_features"):
        if (values := columns[name]) is not None:
            require(np.isfinite(values), name, "finite values")
    boxes, labels, class_scores = columns["boxes"], columns["labels"], columns["class_scores"]
    assert boxes is not None
    assert labels is not None
    require(boxes[:, 2:4] >= 0, "boxes", "sides w, h >= 0")
    for name in ("scores", "class_scores"):
        if (values := columns[name]) is not None:
            require((values >= 0) & (values <= 1), name, "values in [0, 1]")
    require(labels >= 0, "labels", "indices >= 0")
    if (sizes := columns["image_sizes"]) is not None:
        require(sizes >= 0, "image_sizes", "width, height >= 0")
    if classes is not None:
        require(labels < len(classes), "labels", f"indices below the {len(classes)} classes")
        width = len(classes) if class_scores is None else class_scores.shape[1]
        if len(boxes) and width != len(classes):
            raise ValueError(f"expected class_scores of {len(classes)} columns, got {width}")
