"""RotatedInstances: one columnar container for detections and labels, kept on disk as Parquet."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ..storage import parquet
from .columns import COLUMNS, as_classes, as_column, as_ids, as_offsets, check_values, require_distinct

__all__ = ["SHOWN_SCORE", "RotatedInstances"]

SHOWN_SCORE = 0.3  # from which on people are shown a box, until answers say what is worth showing: sampling.showing


class RotatedInstances:
    """Rotated boxes of many images as flat arrays: detections (with scores) or labels (without).

    The boxes of image ``i`` are rows ``offsets[i]:offsets[i + 1]`` of every per-box array. ``len()`` is the number
    of images, including those without a box.

    Args:
        image_ids: (M,) distinct strings: each image's POSIX path below its root, without the suffix.
        offsets: (M+1,) ascending integers from 0 to N.
        boxes: (N, 5) float32, le90 in pixels and radians (see :mod:`al_rotate.boxes`).
        labels: (N,) int32, indices into ``classes``.
        scores: (N,) float32 in [0, 1]. Detections carry them, labels do not.
        class_scores: (N, C) float32 in [0, 1], a box's score for each class.
        box_features: (N, D) float32.
        image_features: (M, E) float32.
        classes: the C class names.
        difficult: (N,) uint8, DOTA's flag of labels that are hard to see.
        image_sizes: (M, 2) int32, width and height in pixels; 0 where unknown.
        skipped: image id -> reason, for images that were requested and could not be read.

    Raises:
        ValueError: for wrong shapes or values; names the image.

    >>> labels = RotatedInstances(["a", "b"], [0, 1, 1], [[5, 5, 4, 2, 0]], [0], classes=["ship"])
    >>> len(labels), labels["a"].boxes.tolist(), labels.counts.tolist()
    (2, [[5.0, 5.0, 4.0, 2.0, 0.0]], [1, 0])
    """

    image_ids: NDArray[np.object_]
    offsets: NDArray[np.int64]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int32]
    scores: NDArray[np.float32] | None
    class_scores: NDArray[np.float32] | None
    box_features: NDArray[np.float32] | None
    image_features: NDArray[np.float32] | None
    difficult: NDArray[np.uint8] | None
    image_sizes: NDArray[np.int32] | None
    classes: tuple[str, ...] | None
    skipped: dict[str, str]

    def __init__(
        self,
        image_ids: Sequence[str] | NDArray,
        offsets: ArrayLike,
        boxes: ArrayLike,
        labels: ArrayLike,
        scores: ArrayLike | None = None,
        class_scores: ArrayLike | None = None,
        box_features: ArrayLike | None = None,
        image_features: ArrayLike | None = None,
        classes: Sequence[str] | None = None,
        *,
        difficult: ArrayLike | None = None,
        image_sizes: ArrayLike | None = None,
        skipped: Mapping[str, str] | None = None,
    ) -> None:
        arguments = {
            "boxes": boxes,
            "labels": labels,
            "scores": scores,
            "class_scores": class_scores,
            "box_features": box_features,
            "difficult": difficult,
            "image_features": image_features,
            "image_sizes": image_sizes,
        }
        self.image_ids = as_ids(image_ids)
        self.offsets = as_offsets(offsets, len(self.image_ids))
        self.classes = as_classes(classes)
        self.skipped = dict(skipped or {})
        n_rows = {"image": len(self.image_ids), "box": int(self.offsets[-1])}
        for name, values in arguments.items():
            setattr(self, name, None if values is None else as_column(name, values, n_rows[COLUMNS[name].per]))
        check_values({name: getattr(self, name) for name in COLUMNS}, self.image_ids, self.offsets, self.classes)

    @classmethod
    def empty(cls, image_ids: Sequence[str] = (), classes: Sequence[str] | None = None) -> RotatedInstances:
        """Make a container of images without boxes."""
        return cls(image_ids, np.zeros(len(image_ids) + 1, np.int64), np.zeros((0, 5)), [], classes=classes)

    @classmethod
    def concat(cls, parts: Iterable[RotatedInstances]) -> RotatedInstances:
        """Join all images of `parts`, in order.

        An optional column must be in all parts or in none, not counting parts without a row for it (no box, no image).

        Raises:
            ValueError: for parts that differ in columns, their widths or classes, or share an image.
        """
        parts = list(parts)
        if not parts:
            return cls.empty()
        classes = {part.classes for part in parts if part.classes is not None}
        if len(classes) > 1:
            raise ValueError(f"expected the same classes in all parts, got {sorted(map(str, classes))}")
        columns: dict[str, Any] = {}
        for name, column in COLUMNS.items():
            filled = [part for part in parts if (part.n_boxes if column.per == "box" else len(part))]
            arrays = [array for part in filled or parts if (array := getattr(part, name)) is not None]
            if filled and 0 < len(arrays) < len(filled):
                share = f"{len(arrays)} of {len(filled)}"
                raise ValueError(f"expected {name} in all parts or in none, got it in {share} with rows for it")
            if filled and len(widths := {array.shape[1:] for array in arrays}) > 1:
                raise ValueError(f"expected {name} of one width in all parts, got {sorted(w for (w,) in widths)}")
            columns[name] = np.concatenate(arrays if filled else arrays[:1]) if arrays else None
        starts = np.cumsum([0, *(part.n_boxes for part in parts)])
        offsets = np.concatenate([[0], *(part.offsets[1:] + start for part, start in zip(parts, starts, strict=False))])
        skipped = {image_id: reason for part in parts for image_id, reason in part.skipped.items()}
        ids = np.concatenate([part.image_ids for part in parts])
        return cls(ids, offsets, classes=next(iter(classes), None), skipped=skipped, **columns)

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def n_boxes(self) -> int:
        """N, the number of boxes of all images."""
        return len(self.boxes)

    @property
    def counts(self) -> NDArray[np.int64]:
        """(M,) number of boxes per image."""
        return np.diff(self.offsets)

    @property
    def image_index(self) -> NDArray[np.int64]:
        """(N,) position of each box's image."""
        return np.repeat(np.arange(len(self)), self.counts)

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._positions

    def __iter__(self) -> Iterator[tuple[str, RotatedInstances]]:
        for position, image_id in enumerate(self.image_ids):
            yield image_id, self._view(position)

    def __getitem__(self, image_id: str) -> RotatedInstances:
        """Return one image as a container that shares this one's memory; KeyError for an unknown id."""
        return self._view(self.position(image_id))

    def position(self, image_id: str) -> int:
        """Return the index of an image; KeyError for an unknown id."""
        if image_id not in self._positions:
            raise KeyError(f"no image {image_id!r} among these {len(self)}")
        return self._positions[image_id]

    def subset(self, image_ids: Iterable[str]) -> RotatedInstances:
        """Return the named images, in that order; KeyError for an unknown id."""
        positions = np.array([self.position(image_id) for image_id in image_ids], np.int64)
        counts = self.counts[positions]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        rows = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - self.offsets[positions], counts)
        return self._take(positions, rows, offsets)

    def where(self, mask: ArrayLike) -> RotatedInstances:
        """Return the same images with only the boxes where the boolean `mask` (N,) is true."""
        keep = np.asarray(mask)
        if keep.shape != (self.n_boxes,) or keep.dtype != bool:
            raise ValueError(f"expected a bool mask of shape ({self.n_boxes},), got {keep.dtype} {keep.shape}")
        return self._take(np.arange(len(self)), np.flatnonzero(keep), np.append(0, np.cumsum(keep))[self.offsets])

    def replace(self, **changes: Any) -> RotatedInstances:
        """Return a copy with some of the constructor's arguments changed; None removes an optional column."""
        arguments = {name: getattr(self, name) for name in ("image_ids", "offsets", "classes", "skipped", *COLUMNS)}
        if unknown := changes.keys() - arguments.keys():
            raise ValueError(f"expected changes of {', '.join(arguments)}, got {', '.join(sorted(unknown))}")
        return RotatedInstances(**{**arguments, **changes})

    def as_labels(self, classes: Sequence[str] | None = None) -> RotatedInstances:
        """Return a copy with only what labels have: no scores, class scores, features or skipped images.

        Args:
            classes: the class names that the labels shall have; None keeps this container's.

        Raises:
            ValueError: when this container has other classes.
        """
        names = self.classes if classes is None else as_classes(classes)
        if self.classes not in (None, names):
            raise ValueError(f"expected labels of the classes {names}, got {self.classes}")
        absent = ("scores", "class_scores", "box_features", "image_features", "skipped")
        return self.replace(classes=names, **dict.fromkeys(absent))

    def to_frame(self) -> pd.DataFrame:
        """Return one row per box: image_id, cx, cy, w, h, theta, label; class, score and difficult if present."""
        frame = pd.DataFrame(self.boxes, columns=["cx", "cy", "w", "h", "theta"])
        frame.insert(0, "image_id", pd.Series(self.image_ids[self.image_index], dtype=object))
        frame["label"] = self.labels
        if self.classes is not None:
            frame["class"] = np.array(self.classes, object)[self.labels]
        for column, name in (("score", "scores"), ("difficult", "difficult")):
            if getattr(self, name) is not None:
                frame[column] = getattr(self, name)
        return frame

    def save(self, path: str | Path) -> Path:
        """Write one Parquet file, atomically: one row per image, per-box arrays as list columns."""
        columns = {name: getattr(self, name) for name in COLUMNS if getattr(self, name) is not None}
        notes = json.dumps({"classes": self.classes, "skipped": self.skipped})
        return parquet.write(Path(path), self.image_ids, self.offsets, columns, COLUMNS, notes)

    @classmethod
    def load(cls, path: str | Path, only: Collection[str] | None = None) -> RotatedInstances:
        """Read a file that :meth:`save` wrote, or a folder of them in the order of their names.

        The arrays of a single file are read-only: they are the memory that Parquet was decoded into.

        Args:
            path: a file or folder.
            only: ids of the images to keep; ids that are not in the files are ignored. At most one shard's other
                images are in memory at a time.

        Raises:
            FileNotFoundError: when there is no file.
            ValueError: for a file that holds no RotatedInstances.
        """
        wanted = None if only is None else frozenset(only)
        parts = [
            shard if wanted is None else shard.subset(i for i in shard.image_ids if i in wanted)
            for shard in cls.stream(path)
        ]
        return parts[0] if len(parts) == 1 else cls.concat(parts)

    @classmethod
    def stream(cls, path: str | Path) -> Iterator[RotatedInstances]:
        """Yield the shards of a folder one by one, reading one ahead, for pools larger than memory."""
        files = list(parquet.shards(Path(path)))
        for file, (ids, offsets, columns, notes) in zip(files, parquet.read_ahead(files, COLUMNS), strict=True):
            try:
                yield cls(ids, offsets, **columns, **json.loads(notes))
            except (ValueError, TypeError) as error:
                raise ValueError(f"expected a Parquet file of RotatedInstances, got {file}: {error}") from error

    def __eq__(self, other: object) -> bool:
        """Compare images (with their order), columns, values and classes; `skipped` does not count."""
        if not isinstance(other, RotatedInstances):
            return NotImplemented
        arrays = ((getattr(self, n), getattr(other, n)) for n in ("image_ids", "offsets", *COLUMNS))
        same = all((a is None) == (b is None) and (a is None or np.array_equal(a, b)) for a, b in arrays)
        return same and self.classes == other.classes

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        kind = "detections" if self.scores is not None else "labels"
        classes = "" if self.classes is None else f", {len(self.classes)} classes"
        return f"<RotatedInstances: {len(self)} images, {self.n_boxes} {kind}{classes}>"

    def _repr_html_(self) -> str:
        from .images.previews import preview

        return preview(self)

    # What follows skips the constructor's checks: parts of valid columns are valid.

    def _take(self, positions: NDArray, rows: NDArray | slice, offsets: NDArray) -> RotatedInstances:
        part = object.__new__(RotatedInstances)
        part.image_ids, part.offsets = self.image_ids[positions], offsets
        part.classes, part.skipped = self.classes, {}
        for name, column in COLUMNS.items():
            values = getattr(self, name)
            setattr(part, name, None if values is None else values[rows if column.per == "box" else positions])
        require_distinct(part.image_ids)
        return part

    def _view(self, position: int) -> RotatedInstances:
        start, end = self.offsets[position : position + 2]
        return self._take(slice(position, position + 1), slice(start, end), np.array([0, end - start]))  # type: ignore[arg-type]

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {image_id: position for position, image_id in enumerate(self.image_ids)}
