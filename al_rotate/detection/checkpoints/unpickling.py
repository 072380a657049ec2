"""Unpickle a checkpoint into plain values: nothing of the file runs, and memory stays in proportion to the file.

A pickle is a program that names the functions it calls. Here every name stands for an object of this module, so a
file can call nothing else. Tensors are only described; their values are read later, and only those that are wanted.
"""

from __future__ import annotations

import pickle
import pickletools
from typing import Any, ClassVar, Protocol

import torch

MAX_OPERATIONS = 4_000_000  # of one pickle: the checkpoint of a large model has some 100,000
_DIMENSIONS = 64  # of a tensor, at most: PyTorch names no more
_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
}


class Unreadable(ValueError):
    """What a file holds is not what a checkpoint holds; the message is fit for its reader."""


class Readable(Protocol):
    """What a pickle is read from. Reading more bytes than there are returns the rest, and allocates no more."""

    def read(self, size: int = ..., /) -> bytes: ...
    def readline(self) -> bytes: ...
    def tell(self) -> int: ...
    def seek(self, position: int, /) -> Any: ...


class Inert:
    """A stand-in for every object of a checkpoint that is no plain value (MMEngine's log history, optimizers, hooks).

    It does nothing, whatever a pickle does with it. A pickle that sets the state of an object, or of a class, finds
    ``__setstate__``, and so never touches attributes.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self

    __setstate__ = __setitem__ = append = extend = add = __init__  # type: ignore[assignment]


class Named(dict[str, Any]):
    """Stands for ``dict`` and ``collections.OrderedDict``: the entries whose keys are text; others are dropped.

    Nothing else of a file is hashed. A tuple of tuples could take forever, or more of the stack than there is, which
    ends the process.
    """

    def __init__(self, *content: Any) -> None:
        if content:  # a copy for each of the few bytes that ask for it would outgrow the file
            raise Unreadable("an OrderedDict as Python 2 wrote it; load and save it with PyTorch once")
        super().__init__()

    def __setitem__(self, key: Any, value: Any) -> None:
        if type(key) is str:
            super().__setitem__(key, value)

    def __setstate__(self, *state: Any) -> None: ...


class Storage(Inert):
    """The values of one or more tensors, still in the file.

    Attributes:
        dtype: of the values.
        key: names them in the file.
        count: of the values.
    """

    def __init__(self, dtype: torch.dtype, key: str, count: int) -> None:
        self.dtype, self.key, self.count = dtype, key, count


class Stored(Inert):
    """A tensor, still in the file.

    Attributes:
        storage: where its values are.
        offset, size, stride: of the tensor in it, in values.
    """

    def __init__(self, storage: Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> None:
        self.storage, self.offset, self.size, self.stride = storage, offset, size, stride


class _StorageType(Inert):
    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype


class _RebuildTensor(Inert):
    def __call__(self, storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Stored:
        whole = [offset, *size, *stride] if isinstance(size, tuple) and isinstance(stride, tuple) else [None]
        plain = all(type(number) is int and number >= 0 for number in whole) and len(whole) <= 2 * _DIMENSIONS + 1
        if not isinstance(storage, Storage) or not plain:
            raise Unreadable("a tensor without a storage, an offset, a size or strides")
        return Stored(storage, offset, size, stride)


class _RebuildParameter(Inert):
    def __call__(self, data: Any, *rest: Any) -> Any:
        return data


def _stand_in(module: str, name: str) -> Any:
    if module.split(".")[0] == "torch" and name in _DTYPES:
        return _StorageType(_DTYPES[name])
    known = {
        ("collections", "OrderedDict"): Named,
        ("torch._utils", "_rebuild_tensor"): _RebuildTensor(),
        ("torch._utils", "_rebuild_tensor_v2"): _RebuildTensor(),
        ("torch._utils", "_rebuild_parameter"): _RebuildParameter(),
    }
    return known.get((module, name), Inert)


_InPython: Any = pickle._Unpickler  # type: ignore[attr-defined]


class _Unpickler(_InPython):
    """The standard library's other unpickler: the one in C makes dicts and sets without asking."""

    dispatch: ClassVar = dict(_InPython.dispatch)

    def __init__(self, file: Readable, storages: dict[str, Storage]) -> None:
        super().__init__(file, encoding="utf-8")
        self._storages = storages

    def load_empty_dict(self) -> None:
        self.append(Named())

    def load_dict(self) -> None:
        items, content = self.pop_mark(), Named()
        for key, value in zip(items[::2], items[1::2], strict=True):
            content[key] = value
        self.append(content)

    def load_empty_set(self) -> None:
        self.append(Inert())

    def load_frozenset(self) -> None:
        self.pop_mark()
        self.append(Inert())

    dispatch[pickle.EMPTY_DICT[0]], dispatch[pickle.DICT[0]] = load_empty_dict, load_dict
    dispatch[pickle.EMPTY_SET[0]], dispatch[pickle.FROZENSET[0]] = load_empty_set, load_frozenset

    def find_class(self, module: str, name: str) -> Any:
        return _stand_in(module, name)

    def persistent_load(self, saved: Any) -> Any:
        """Describe ("storage", type, key, location, number of values, and in older files the part that is viewed)."""
        if isinstance(saved, tuple) and saved and saved[0] == "module":
            return Inert()
        if not isinstance(saved, tuple) or len(saved) not in (5, 6) or saved[0] != "storage":
            raise Unreadable("a storage without a type, a key or a length")
        kind, key, count, view = saved[1], saved[2], saved[4], saved[5:]
        if not isinstance(kind, _StorageType) or type(key) is not str or type(count) is not int or count < 0:
            raise Unreadable("a storage of an unknown type, key or length")
        if view not in ((), (None,)):
            raise Unreadable("a storage that views another, as PyTorch before 0.4 wrote it")
        return self._storages.setdefault(key, Storage(kind.dtype, key, count))


def load(file: Readable, storages: dict[str, Storage] | None = None) -> Any:
    """Unpickle the next pickle of a file, and leave the file behind it.

    Args:
        file: at the beginning of a pickle.
        storages: every storage that is named is added, by its key.

    Returns:
        Its dicts, lists, strings, numbers; a :class:`Stored` for every tensor, and :class:`Inert` for the rest.

    Raises:
        Exception: of any type, for a file that is no pickle, and before anything large is allocated for one that
            claims more than it holds.
    """
    start = file.tell()
    _check(file)
    file.seek(start)
    content: Any = _Unpickler(file, {} if storages is None else storages).load()
    return content


def _check(file: Readable) -> None:
    """Refuse a pickle of too many operations, or with text, bytes or numbers that are longer than the rest of it."""
    for number, _ in enumerate(pickletools.genops(file)):  # type: ignore[arg-type]
        if number >= MAX_OPERATIONS:
            raise Unreadable(f"more than {MAX_OPERATIONS} operations in a pickle")
