"""The two forms of ``torch.save``: what they hold, and where in the file the values of their tensors are.

Neither ``torch.load`` nor ``torch.jit.load`` is called, so a file has no way to be taken for a program.
"""

from __future__ import annotations

import io
import math
import mmap
import pickle
import struct
import sys
import zipfile
from abc import ABC, abstractmethod
from typing import Any, BinaryIO

import torch
from torch import Tensor

from .unpickling import Storage, Stored, Unreadable, load

_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of a file without an archive
_PROTOCOL = 1001


class Records(ABC):
    """An open checkpoint.

    Attributes:
        content: what was saved; tensors are :class:`.unpickling.Stored`.
    """

    content: Any

    def __init__(self, size: int) -> None:
        self._size = size  # bytes: no tensor is larger than the file
        self._left = size  # nor are all storages together
        self._storages: dict[str, Tensor] = {}

    def tensor(self, stored: Stored) -> Tensor:
        """Read a tensor. Tensors that share values in the file do so again.

        Raises:
            Unreadable: when its values are not all there; when it repeats them to more than the file's size.
        """
        storage = stored.storage
        if math.prod(stored.size) * storage.dtype.itemsize > self._size:
            raise Unreadable(f"a tensor that is larger than the file, of {' x '.join(map(str, stored.size))} values")
        if storage.key not in self._storages:
            n_bytes = storage.count * storage.dtype.itemsize
            self._left -= n_bytes
            if self._left < 0:
                raise Unreadable(f"tensors that are larger than the file, with {n_bytes} bytes for {storage.key!r}")
            values = torch.empty(n_bytes, dtype=torch.uint8)
            if n_bytes and self._read_into(storage, values.numpy().data) != n_bytes:
                raise Unreadable(f"fewer than {n_bytes} bytes for the tensor {storage.key!r}")
            self._storages[storage.key] = values
        values = self._storages[storage.key].view(storage.dtype)
        return values.as_strided(stored.size, stored.stride, stored.offset)  # which checks that it lies inside

    @abstractmethod
    def _read_into(self, storage: Storage, values: memoryview) -> int:
        """Fill `values` and return the number of bytes read."""


class Archive(Records):
    """A zip archive with a pickle, ``data.pkl``, and a record of bytes for each storage."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        super().__init__(size)
        self._archive = zipfile.ZipFile(file)
        names = self._archive.namelist()
        pickles = [name for name in names if name.endswith("/data.pkl")]
        if any(name.endswith("/constants.pkl") for name in names):
            raise Unreadable("a TorchScript archive, which holds a program: save its state_dict() instead")
        if len(pickles) != 1 or len({*names}) != len(names):
            raise Unreadable(f"an archive with {len(pickles)} data.pkl and {len(names) - len({*names})} doubled names")
        self._folder = pickles[0].removesuffix("data.pkl")
        order = f"{self._folder}byteorder"
        if order in names and self._archive.read(self._record(order, 6)) != sys.byteorder.encode():
            raise Unreadable("weights that were saved on a machine with another byte order")
        self.content = load(io.BytesIO(self._archive.read(self._record(pickles[0], size))))

    def _record(self, name: str, at_most: int) -> zipfile.ZipInfo:
        info = self._archive.getinfo(name)
        if info.compress_type != zipfile.ZIP_STORED or info.file_size > at_most:
            raise Unreadable(f"{name} compressed or too large; torch.save compresses nothing")
        return info

    def _read_into(self, storage: Storage, values: memoryview) -> int:
        record = self._record(f"{self._folder}data/{storage.key}", len(values))
        with self._archive.open(record) as file:
            return _fill(file, values)


class Legacy(Records):
    """Five pickles in a row, then the storages, each behind its length: ``torch.save`` before PyTorch 1.6."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        super().__init__(size)
        self._file = file
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if load(content) != _MAGIC or load(content) != _PROTOCOL:
                raise Unreadable("a pickle that torch.save did not write")
            machine = load(content)
            if isinstance(machine, dict) and machine.get("little_endian", True) != (sys.byteorder == "little"):
                raise Unreadable("weights that were saved on a machine with another byte order")
            storages: dict[str, Storage] = {}
            self.content = load(content, storages)
            self._starts: dict[str, int] = {}
            keys, position = load(content), content.tell()
            if not isinstance(keys, list) or {*map(type, keys)} - {str} or not {*keys} <= {*storages}:
                raise Unreadable("a list of storages that are not those of its tensors")
            for key in keys:
                (count,) = struct.unpack("<q", content[position : position + 8])
                if count != storages[key].count or key in self._starts:
                    raise Unreadable(f"{count} values for the tensor {key!r}, which has {storages[key].count}")
                self._starts[key] = position + 8
                position += 8 + count * storages[key].dtype.itemsize

    def _read_into(self, storage: Storage, values: memoryview) -> int:
        if storage.key not in self._starts:
            return 0
        self._file.seek(self._starts[storage.key])
        return _fill(self._file, values)


def open_records(file: BinaryIO) -> Records:
    """Read what a file of ``torch.save`` holds, but for the values of its tensors.

    Raises:
        Exception: of any type, for any other file; the caller names it.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    start = file.read(32)
    file.seek(0)
    if start[:2] == b"PK":
        return Archive(file, size)
    if start[:1] == pickle.PROTO:
        return Legacy(file, size)
    if start[8:10] == b'{"':
        raise Unreadable("a file of safetensors: load it with that library, and save the dict with torch.save")
    raise Unreadable(f"no file of torch.save, it begins with {start!r}" if size else "an empty file")


def _fill(file: Any, values: memoryview) -> int:
    """Read until `values` is full or the file ends, and return the number of bytes."""
    filled = 0
    while filled < len(values) and (count := file.readinto(values[filled:])):
        filled += count
    return filled
