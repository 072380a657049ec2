"""Images that were decoded and resized once, remembered in memory that all workers of a data loader share.

What is remembered is what the first steps of a pipeline give, as long as they draw no random numbers: loading, labels,
resizing. So pixels and boxes are the same as without, bit for bit, and so are the random numbers of the steps after.
"""

from __future__ import annotations

import contextlib
import itertools
import mmap
import multiprocessing
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import mmcv.transforms
import mmdet.datasets.transforms
import mmrotate.datasets.transforms
import numpy as np
from mmengine.dataset import Compose

from ...inference.processes import this_process

_MOST = 4 << 30  # bytes
_SHARE = 4  # at most a quarter of the free memory
_RESIZING = (mmdet.datasets.transforms.Resize, mmcv.transforms.Resize)
_STEADY = (
    *_RESIZING,
    mmdet.datasets.transforms.LoadAnnotations,
    mmrotate.datasets.transforms.ConvertBoxType,
    mmcv.transforms.LoadImageFromFile,
)


class Memory:
    """Pickled objects by number. Forked processes share them; a copy that was pickled itself remembers nothing.

    Args:
        count: numbers run from 0 to count - 1.
        room: bytes for all of them. The system gives a page only when something is written there.
    """

    def __init__(self, count: int, room: int) -> None:
        self._room = room
        self._bytes = mmap.mmap(-1, max(room, 1))
        # Where each object begins and how long it is, then how much is in use.
        self._places = np.frombuffer(mmap.mmap(-1, 16 * (count + 1)), np.int64).reshape(-1, 2)
        self._lock = multiprocessing.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return Memory, (len(self._places) - 1, 0)

    def get(self, number: int) -> Any:
        """Return a new copy of an object, None if it is not there."""
        length = self._places[number, 1]  # without the lock, so first what is written last
        if not length:
            return None
        start = self._places[number, 0]
        return pickle.loads(memoryview(self._bytes)[start : start + length])

    def put(self, number: int, value: Any) -> None:
        """Remember an object, unless there is no room for it or it is there already."""
        used = self._places[-1]
        if used[0] >= self._room or self._places[number, 1]:
            return
        data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        with self._lock:
            if self._places[number, 1] or used[0] + len(data) > self._room:
                return
            start = int(used[0])
            self._bytes[start : start + len(data)] = data
            used[0] += len(data)
            self._places[number, 0] = start
            self._places[number, 1] = len(data)  # last: from now on others read it


class RememberingPipeline(Compose):
    """A pipeline that takes the outcome of its first `n_steady` steps from memory, by ``sample_idx``."""

    def __init__(self, transforms: Sequence[Any], n_steady: int, memory: Memory) -> None:
        super().__init__(transforms)
        self._n_steady, self._memory = n_steady, memory

    def __call__(self, data: dict[str, Any]) -> dict[str, Any] | None:
        number = data["sample_idx"]
        results: Any = self._memory.get(number)
        if results is None:
            results = self._run(data, self.transforms[: self._n_steady])
            if results is not None:
                self._memory.put(number, results)
        return self._run(results, self.transforms[self._n_steady :])

    @staticmethod
    def _run(data: Any, transforms: Sequence[Any]) -> Any:
        for transform in transforms:
            if data is None:
                return None
            data = transform(data)
        return data


def remembering(pipeline: Compose, count: int, loaders: tuple[type, ...] = (), room: int | None = None) -> Compose:
    """Let a pipeline remember, if it resizes before it draws random numbers and there is room; else return it as it is.

    Args:
        pipeline: of a training.
        count: of the dataset's images.
        loaders: further steps that draw no random numbers.
        room: bytes; by default a quarter of the free memory, at most 4 GB; processes of one training share it.
    """
    steady = (*_STEADY, *loaders)
    n_steady = sum(1 for _ in itertools.takewhile(lambda step: type(step) in steady, pipeline.transforms))
    if not any(isinstance(step, _RESIZING) for step in pipeline.transforms[:n_steady]):
        return pipeline
    if room is None:
        room = min(_MOST, free_bytes() // _SHARE) // this_process().local_total
    try:
        memory = Memory(count, room)
    except OSError:  # a system that promises no more memory than it has
        return pipeline
    return RememberingPipeline(pipeline.transforms, n_steady, memory)


def free_bytes(root: Path = Path("/")) -> int:
    """Return how much memory is free, within the control groups of this process; 0 where the system does not say.

    Args:
        root: where ``proc`` and ``sys`` are.
    """
    free = [*_left_in_groups(root)]
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = (root / "proc/meminfo").read_text().splitlines()
        free.append(1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]))
    return max(0, min(free, default=0))


def _left_in_groups(root: Path) -> Iterator[int]:
    """Yield what the control groups around this process leave of their limits, from the innermost outwards."""
    paths = {"": "/", "memory": "/"}  # by controller: version 2 has one tree for all, version 1 one for each
    with contextlib.suppress(OSError, ValueError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            paths.update(dict.fromkeys(controllers.split(","), path))
    for tree, path, limit, used in (
        ("sys/fs/cgroup", paths[""], "memory.max", "memory.current"),
        ("sys/fs/cgroup/memory", paths["memory"], "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        inner = PurePosixPath(path.lstrip("/"))  # in a container perhaps one of the host: then only the root is there
        for group in (inner, *inner.parents):
            with contextlib.suppress(OSError, ValueError):  # no such group, or "max"
                folder = root / tree / group
                yield int((folder / limit).read_text()) - int((folder / used).read_text())
