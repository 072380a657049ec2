"""Flat arrays with offsets <-> Parquet list columns, without copies on the way to and from Arrow."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from . import manifest
from .files import fsync, temporary_sibling

SHARDS_NOTE = "detections.json"  # manifest in a folder of shards: what they follow from, and how many there will be
_NOTES = b"al_rotate"  # key of our notes in the schema's metadata


class Column(NamedTuple):
    """A column's layout: the dtype, what it has one row for, and a row's shape (None: any width)."""

    dtype: type
    per: Literal["box", "image"]
    shape: tuple[int | None, ...]


Layout = Mapping[str, Column]
Content = tuple[NDArray, NDArray, dict[str, Any], str]  # ids, offsets, columns, notes


def write(
    path: Path, ids: NDArray, offsets: NDArray, columns: Mapping[str, NDArray], layout: Layout, notes: str
) -> Path:
    """Write one row per image to `path`, atomically; when this returns, the file survives a power cut."""
    table = to_arrow(ids, offsets, columns, layout).replace_schema_metadata({_NOTES: notes.encode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = temporary_sibling(path)
    try:
        # A single row group and no dictionary, so that a column is read as one chunk and needs no copy.
        pq.write_table(table, scratch, row_group_size=max(1, len(ids)), compression="zstd", use_dictionary=False)
        fsync(scratch)
        os.replace(scratch, path)
        fsync(path.parent)
    finally:
        scratch.unlink(missing_ok=True)
    return path


def to_arrow(ids: NDArray, offsets: NDArray, columns: Mapping[str, NDArray], layout: Layout) -> pa.Table:
    """Make a table of one row per image that shares the memory of `columns`."""
    ends = pa.array(offsets.astype(np.int32 if offsets[-1] < 2**31 else np.int64, copy=False))
    list_type = pa.ListArray if ends.type == pa.int32() else pa.LargeListArray
    arrays = {"image_id": pa.array(ids, pa.string())}
    for name, values in columns.items():
        array = pa.array(values.reshape(-1))
        if values.ndim == 2 and values.shape[1]:
            array = pa.FixedSizeListArray.from_arrays(array, values.shape[1])
        elif values.ndim == 2:
            continue  # of width 0: nothing to keep
        arrays[name] = list_type.from_arrays(ends, array) if layout[name].per == "box" else array
    return pa.table(arrays)


def read(path: Path, layout: Layout) -> Content:
    """Read a file that :func:`write` wrote.

    Returns:
        ids (M,), offsets (M+1,), the columns by name, and the notes.

    Raises:
        FileNotFoundError: when it does not exist.
        ValueError: for any other file; names it.
    """
    try:
        table = pq.read_table(path, memory_map=True, partitioning=None)
        names = table.column_names  # a ValueError where one is not UTF-8
    except (FileNotFoundError, PermissionError):
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"expected a Parquet file of RotatedInstances, got {path}: {error}") from error
    if names[:1] != ["image_id"] or _NOTES not in (table.schema.metadata or {}) or not {*names[1:]} <= {*layout}:
        raise ValueError(f"expected a Parquet file of RotatedInstances, got {path} with columns {names}")
    try:
        return _content(table, layout)
    except (pa.ArrowException, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"expected a Parquet file of RotatedInstances, got {path}: {error}") from error


def _content(table: pa.Table, layout: Layout) -> Content:
    table = table.combine_chunks()
    ids = table["image_id"].to_numpy(zero_copy_only=False)
    offsets = np.zeros(1, np.int64)
    columns: dict[str, Any] = {}
    for name in table.column_names[1:]:
        column: Any = table[name].chunk(0) if table[name].num_chunks else pa.array([], table[name].type)
        if layout[name].per == "box":
            offsets = column.offsets.to_numpy(zero_copy_only=False) if len(column) else offsets
            column = column.values
        width = column.type.list_size if pa.types.is_fixed_size_list(column.type) else None
        flat = column.values if width else column
        values = flat.to_numpy(zero_copy_only=True)
        columns[name] = values.reshape(-1, width) if width else values
    return ids, offsets, columns, table.schema.metadata[_NOTES].decode()


def read_ahead(files: Sequence[Path], layout: Layout) -> Iterator[Content]:
    """Yield what :func:`read` returns for each file, reading the next one meanwhile."""
    if len(files) == 1:
        yield read(files[0], layout)
        return
    with ThreadPoolExecutor(1) as pool:
        pending = [pool.submit(read, file, layout) for file in files[:1]]
        for file in [*files[1:], None]:
            content = pending.pop().result()
            if file is not None:
                pending.append(pool.submit(read, file, layout))
            yield content


def shards(path: Path) -> Iterator[Path]:
    """Yield `path` itself if it is a file, else the folder's Parquet files by name.

    Raises:
        FileNotFoundError: when there is no file.
        ValueError: for the folder of a prediction that is not finished, or whose manifest is damaged.
    """
    if path.is_file():
        yield path
        return
    files = sorted(file for file in path.glob("*.parquet") if not file.name.startswith("."))
    if not files:
        raise FileNotFoundError(f"expected a Parquet file or a folder of them, got {path}")
    n_shards = manifest.read(path / SHARDS_NOTE).get("shards")
    if n_shards is not None and len(files) < n_shards:
        raise ValueError(
            f"expected {n_shards} shards in {path}, got {len(files)}: the prediction is not finished; run the same "
            "command again to resume it, or read single files"
        )
    yield from files
