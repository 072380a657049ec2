"""RotatedInstances: the one container for predictions and for labels, columnar, with Parquet on disk."""

from __future__ import annotations

import html
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ..storage import parquet as _parquet
from .columns import COLUMNS, _as_classes, _as_ids, _as_offsets, _require_distinct

__all__ = ["SHOWN_SCORE", "RotatedInstances"]

SHOWN_SCORE = 0.3  # a box scored lower is not shown to people: it is quicker drawn than judged


class RotatedInstances:
    """Rotated boxes of many images as flat arrays: detections (with scores) or labels (without).

    The boxes of image ``i`` are rows ``offsets[i]:offsets[i + 1]`` of every per-box array. ``len()`` is the
    number of images; images without a box count.

    Args:
        image_ids: (M,) distinct strings, the POSIX path of an image under its root without the suffix.
        offsets: (M+1,) ascending integers from 0 to N.
        boxes: (N, 5) float32, le90 in pixels and radians (see :mod:`al_rotate.boxes`).
        labels: (N,) int32, indices into ``classes``.
        scores: (N,) float32 in [0, 1]. Detections carry them, labels do not.
        class_scores: (N, C) float32 in [0, 1], each class's own score of a box.
        box_features: (N, D) float32.
        image_features: (M, E) float32.
        classes: the C class names.
        difficult: (N,) uint8, DOTA's flag of labels that are hard to see.
        image_sizes: (M, 2) int32, width and height in pixels; 0 where unknown.
        skipped: image id -> reason, for images that were asked for and could not be read.

    Raises:
        ValueError: when shapes or values do not fit; it says what was expected, what came, and for which image.

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
        given = {
            "boxes": boxes,
            "labels": labels,
            "scores": scores,
            "class_scores": class_scores,
            "box_features": box_features,
            "difficult": difficult,
            "image_features": image_features,
            "image_sizes": image_sizes,
        }
        self.image_ids = _as_ids(image_ids)
        self.offsets = _as_offsets(offsets, len(self.image_ids))
        self.classes = _as_classes(classes)
        self.skipped = dict(skipped or {})
        for name, values in given.items():
            setattr(self, name, None if values is None else self._as_column(name, values))
        self._positions: dict[str, int] | None = None
        self._validate()

    @classmethod
    def empty(cls, image_ids: Sequence[str] = (), classes: Sequence[str] | None = None) -> RotatedInstances:
        """Images without a box."""
        return cls(image_ids, np.zeros(len(image_ids) + 1, np.int64), np.zeros((0, 5)), [], classes=classes)

    @classmethod
    def concat(cls, parts: Iterable[RotatedInstances]) -> RotatedInstances:
        """One container of all images of `parts`, in order; optional columns must be in all parts or in none.

        Parts without rows for a column (no box, or no image) need not have it.
        """
        parts = list(parts)
        if not parts:
            return cls.empty()
        classes = {part.classes for part in parts if part.classes is not None}
        if len(classes) > 1:
            raise ValueError(f"expected the same classes in all parts, got {sorted(map(str, classes))}")
        columns: dict[str, Any] = {}
        for name, (_, per, _) in COLUMNS.items():
            filled = [part for part in parts if (part.n_boxes if per == "box" else len(part))]
            arrays = [array for part in filled or parts if (array := getattr(part, name)) is not None]
            if filled and 0 < len(arrays) < len(filled):
                there = f"{len(arrays)} of {len(filled)}"
                raise ValueError(f"expected {name} in all parts or in none, got it in {there} with rows for it")
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
        return len(self.boxes)

    @property
    def counts(self) -> NDArray[np.int64]:
        """(M,) boxes per image."""
        return np.diff(self.offsets)

    @property
    def image_index(self) -> NDArray[np.int64]:
        """(N,) the position of each box's image."""
        return np.repeat(np.arange(len(self)), self.counts)

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._index()

    def __iter__(self) -> Iterator[tuple[str, RotatedInstances]]:
        for position, image_id in enumerate(self.image_ids):
            yield image_id, self._view(position)

    def __getitem__(self, image_id: str) -> RotatedInstances:
        """One image as a container that shares this one's memory.

        Raises:
            KeyError: for an id that is not here.
        """
        return self._view(self.position(image_id))

    def position(self, image_id: str) -> int:
        """Where an image stands; KeyError if it does not."""
        try:
            return self._index()[image_id]
        except KeyError:
            raise KeyError(f"no image {image_id!r} among these {len(self)}") from None

    def subset(self, image_ids: Iterable[str]) -> RotatedInstances:
        """The named images, in that order; KeyError for one that is not here."""
        positions = np.array([self.position(image_id) for image_id in image_ids], np.int64)
        counts = self.counts[positions]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        rows = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - self.offsets[positions], counts)
        return self._take(positions, rows, offsets)

    def where(self, mask: ArrayLike) -> RotatedInstances:
        """The same images with only the boxes that `mask` (N,) of bool keeps."""
        keep = np.asarray(mask)
        if keep.shape != (self.n_boxes,) or keep.dtype != bool:
            raise ValueError(f"expected a bool mask of shape ({self.n_boxes},), got {keep.dtype} {keep.shape}")
        ends = np.concatenate([[0], np.cumsum(keep)])
        return self._take(np.arange(len(self)), np.flatnonzero(keep), ends[self.offsets])

    def replace(self, **changes: Any) -> RotatedInstances:
        """A copy with some arguments of the constructor changed; None removes an optional column."""
        arguments = {name: getattr(self, name) for name in ("image_ids", "offsets", "classes", "skipped", *COLUMNS)}
        unknown = changes.keys() - arguments.keys()
        if unknown:
            raise ValueError(f"expected changes of {', '.join(arguments)}, got {', '.join(sorted(unknown))}")
        return RotatedInstances(**{**arguments, **changes})

    def to_frame(self) -> pd.DataFrame:
        """One row a box: image_id, cx, cy, w, h, theta, label, class, and score and difficult where they are."""
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
        """Write one Parquet file, whole or not at all. A row is an image; per-box arrays are list columns."""
        columns = {name: getattr(self, name) for name in COLUMNS if getattr(self, name) is not None}
        notes = {"classes": self.classes, "skipped": self.skipped}
        return _parquet.write(Path(path), self.image_ids, self.offsets, columns, COLUMNS, json.dumps(notes))

    @classmethod
    def load(cls, path: str | Path, only: Collection[str] | None = None) -> RotatedInstances:
        """Read a file of :meth:`save`, or a folder of them in the order of their names.

        The arrays of a single file are those that Parquet was decoded into, not copied and not writeable.

        Args:
            path: of a file or folder.
            only: ids of images to keep, as far as they are there; the others are not held in memory together.

        Raises:
            FileNotFoundError: when nothing is there.
            ValueError: for a file that is no saved RotatedInstances.
        """
        wanted = None if only is None else frozenset(only)
        parts = [
            shard if wanted is None else shard.subset(i for i in shard.image_ids if i in wanted)
            for shard in cls.stream(path)
        ]
        return parts[0] if len(parts) == 1 else cls.concat(parts)

    @classmethod
    def stream(cls, path: str | Path) -> Iterator[RotatedInstances]:
        """The shards of a folder one after the other, for pools larger than memory; the next is read meanwhile."""
        for ids, offsets, columns, notes in _parquet.read_ahead(list(_parquet.shards(Path(path))), COLUMNS):
            yield cls(ids, offsets, **columns, **json.loads(notes))

    def __eq__(self, other: object) -> bool:
        """Same images in the same order, same columns, same values."""
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
        rows = []
        for label, count in zip(*np.unique(self.labels, return_counts=True), strict=True):
            name = self.classes[label] if self.classes else str(label)
            mean = "" if self.scores is None else f"{self.scores[self.labels == label].mean():.3f}"
            rows.append(f"<tr><td>{html.escape(name)}</td><td>{count}</td><td>{mean}</td></tr>")
        head = "<tr><th>class</th><th>boxes</th><th>mean score</th></tr>"
        return f"<p>{html.escape(repr(self)[1:-1])}</p><table>{head}{''.join(rows)}</table>"

    # The unchecked ways: what they take apart was valid.

    def _take(self, positions: NDArray, rows: NDArray | slice, offsets: NDArray) -> RotatedInstances:
        part = object.__new__(RotatedInstances)
        part.image_ids, part.offsets = self.image_ids[positions], offsets
        part.classes, part.skipped, part._positions = self.classes, {}, None
        for name, (_, per, _) in COLUMNS.items():
            values = getattr(self, name)
            setattr(part, name, None if values is None else values[rows if per == "box" else positions])
        _require_distinct(part.image_ids)
        return part

    def _view(self, position: int) -> RotatedInstances:
        start, end = self.offsets[position : position + 2]
        return self._take(slice(position, position + 1), slice(start, end), np.array([0, end - start]))  # type: ignore[arg-type]

    def _index(self) -> dict[str, int]:
        if self._positions is None:
            self._positions = {image_id: position for position, image_id in enumerate(self.image_ids)}
        return self._positions

    # Checks.

    def _as_column(self, name: str, values: ArrayLike) -> NDArray:
        dtype, per, shape = COLUMNS[name]
        rows = int(self.offsets[-1]) if per == "box" else len(self)
        array = np.asarray(values)
        if array.size == 0 and rows == 0:
            width = array.shape[1] if array.ndim == 2 else 0
            array = array.reshape((0, *(width if d is None else d for d in shape)))
        expected = (rows, *shape)
        if array.ndim != len(expected) or any(e not in (None, a) for e, a in zip(expected, array.shape, strict=True)):
            wanted = ", ".join("any" if e is None else str(e) for e in expected)
            raise ValueError(f"expected {name} of shape ({wanted}{',' * (len(expected) == 1)}), got {array.shape}")
        if np.dtype(dtype).kind in "iu" and array.size and array.dtype.kind not in "iub":
            raise ValueError(f"expected integers in {name}, got {array.dtype}")
        column: NDArray = np.ascontiguousarray(array, dtype=dtype)
        if column.dtype.kind in "iu" and not np.array_equal(column, array):
            raise ValueError(f"expected {name} that fit {column.dtype}, got {array.min()} to {array.max()}")
        return column

    def _validate(self) -> None:
        for name in ("boxes", "scores", "class_scores", "box_features", "image_features"):
            values = getattr(self, name)
            if values is not None:
                self._require(np.isfinite(values), name, "finite values", values)
        self._require(self.boxes[:, 2:4] >= 0, "boxes", "sides w, h >= 0", self.boxes)
        for name in ("scores", "class_scores"):
            if (values := getattr(self, name)) is not None:
                self._require((values >= 0) & (values <= 1), name, "values in [0, 1]", values)
        self._require(self.labels >= 0, "labels", "indices >= 0", self.labels)
        if self.image_sizes is not None:
            self._require(self.image_sizes >= 0, "image_sizes", "width, height >= 0", self.image_sizes)
        if self.classes is not None:
            wanted = f"indices below the {len(self.classes)} classes"
            self._require(self.labels < len(self.classes), "labels", wanted, self.labels)
            width = None if self.class_scores is None else self.class_scores.shape[1]
            if width is not None and self.n_boxes and width != len(self.classes):
                raise ValueError(f"expected class_scores of {len(self.classes)} columns, got {width}")

    def _require(self, ok: NDArray, name: str, expected: str, values: NDArray) -> None:
        rows = ok.all(axis=tuple(range(1, ok.ndim)))
        if rows.all():
            return
        row = int(np.flatnonzero(~rows)[0])
        position = row if COLUMNS[name][1] == "image" else int(np.searchsorted(self.offsets, row, side="right")) - 1
        image_id = self.image_ids[position]
        raise ValueError(f"expected {expected} in {name}, got {values[row].tolist()} for image {image_id!r}")
