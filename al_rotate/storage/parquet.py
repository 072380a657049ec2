"""Flat arrays with offsets <-> Parquet list columns, without copying on the way to and from Arrow."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .files import temporary_sibling

Layout = Mapping[str, tuple[type, str, tuple[int | None, ...]]]
_NOTES = b"al_rotate"
SHARDS_NOTE = "detections.json"  # beside shards: what they follow from, and how many there will be


def write(
    path: Path, ids: NDArray, offsets: NDArray, columns: Mapping[str, NDArray], layout: Layout, notes: str
) -> Path:
    """One row a image in `path`, which appears whole or not at all."""
    arrays = to_arrow(ids, offsets, columns, layout).replace_schema_metadata({_NOTES: notes.encode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = temporary_sibling(path)
    try:
        # A single row group and no dictionary, so that a column is read as one chunk and needs no copy.
        pq.write_table(arrays, scratch, row_group_size=max(1, len(ids)), compression="zstd", use_dictionary=False)
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)
    return path


def to_arrow(ids: NDArray, offsets: NDArray, columns: Mapping[str, NDArray], layout: Layout) -> pa.Table:
    """A table, one row a image, whose numbers are the memory of `columns`."""
    lists = pa.array(offsets.astype(np.int32 if offsets[-1] < 2**31 else np.int64, copy=False))
    kind = pa.ListArray if lists.type == pa.int32() else pa.LargeListArray
    arrays = {"image_id": pa.array(ids, pa.string())}
    for name, values in columns.items():
        arrow = pa.array(values.reshape(-1))
        if values.ndim == 2 and values.shape[1]:
            arrow = pa.FixedSizeListArray.from_arrays(arrow, values.shape[1])
        elif values.ndim == 2:
            continue  # no width: nothing to keep
        arrays[name] = kind.from_arrays(lists, arrow) if layout[name][1] == "box" else arrow
    return pa.table(arrays)


def read(path: Path, layout: Layout) -> tuple[NDArray, NDArray, dict[str, Any], str]:
    """ids (M,), offsets (M+1,), the columns as flat arrays, and the notes."""
    try:
        table = pq.read_table(path, memory_map=True, partitioning=None)
    except pa.ArrowInvalid as error:
        raise ValueError(f"expected a Parquet file of RotatedInstances, got {path}: {error}") from error
    if "image_id" not in table.column_names or _NOTES not in (table.schema.metadata or {}):
        raise ValueError(f"expected a Parquet file of RotatedInstances, got {path} with columns {table.column_names}")
    table = table.combine_chunks()
    ids = table["image_id"].to_numpy(zero_copy_only=False)
    offsets = np.zeros(1, np.int64)
    columns: dict[str, Any] = {}
    for name in table.column_names[1:]:
        column: Any = table[name].chunk(0) if table[name].num_chunks else pa.array([], table[name].type)
        if layout[name][1] == "box":
            offsets = column.offsets.to_numpy(zero_copy_only=False) if len(column) else offsets
            column = column.values
        width = column.type.list_size if pa.types.is_fixed_size_list(column.type) else None
        flat = column.values if width else column
        values = flat.to_numpy(zero_copy_only=True)
        columns[name] = values.reshape(-1, width) if width else values
    return ids, offsets, columns, table.schema.metadata[_NOTES].decode()


def read_ahead(files: Sequence[Path], layout: Layout) -> Iterator[tuple[NDArray, NDArray, dict[str, Any], str]]:
    """What :func:`read` gives of each file, the next being read while one is looked at."""
    if len(files) == 1:
        yield read(files[0], layout)
        return
    with ThreadPoolExecutor(1) as pool:
        coming = [pool.submit(read, file, layout) for file in files[:1]]
        for file in [*files[1:], None]:
            found = coming.pop().result()
            if file is not None:
                coming.append(pool.submit(read, file, layout))
            yield found


def shards(path: Path) -> Iterator[Path]:
    """`path` itself if it is a file, else the Parquet files in that folder by name."""
    if path.is_file():
        yield path
        return
    files = sorted(file for file in path.glob("*.parquet") if not file.name.startswith("."))
    if not files:
        raise FileNotFoundError(f"expected a Parquet file or a folder of them, got {path}")
    note = path / SHARDS_NOTE
    count = json.loads(note.read_text(encoding="utf-8")).get("shards") if note.is_file() else None
    if count is not None and len(files) < count:
        raise ValueError(
            f"expected {count} shards in {path}, got {len(files)}: the prediction is not finished; give the same "
            "command again, or read single files"
        )
    yield from files
