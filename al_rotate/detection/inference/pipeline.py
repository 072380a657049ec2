"""One prediction on many images: decoded ahead, batched, run on every core, gathered, shard by shard."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from tqdm.auto import tqdm

from ... import boxes
from ...data.images import UnreadableImage
from ...data.instances import RotatedInstances
from ...data.sources import Source
from .forward import Batch, Forward, Prepared
from .processes import Process, cores
from .shards import Shards

Pair = tuple[str, Source]
Item = TypeVar("Item")


class InferencePipeline:
    """Detects in lists of images.

    Args:
        prepare: what becomes of an image in a decoding thread.
        forward: the model.
        classes: of the detections.
        batch_size: images a forward pass.
        workers: decoding threads; None for as many as cores, at most 8.
        bar: moves on by one an image.
    """

    def __init__(
        self,
        prepare: Callable[[Pair], Prepared | UnreadableImage],
        forward: Forward,
        classes: Sequence[str],
        batch_size: int,
        workers: int | None,
        bar: tqdm,
    ) -> None:
        self._prepare, self._forward, self._classes = prepare, forward, classes
        self._batch_size, self._workers, self._bar = batch_size, workers or min(8, cores()), bar

    def __call__(self, pairs: list[Pair]) -> RotatedInstances:
        skipped: dict[str, str] = {}
        results: dict[int, dict[str, Any]] = {}

        def readable() -> Iterator[tuple[int, Prepared]]:
            for position, one in enumerate(prefetch(pool, self._prepare, pairs, 4 * self._batch_size)):
                if isinstance(one, UnreadableImage):
                    skipped[pairs[position][0]] = str(one)
                    self._bar.update()
                else:
                    yield position, one

        with ThreadPoolExecutor(self._workers) as pool, _one_thread_an_image(), self._forward.ready():
            for batch, outputs in self._forward.run(batch_by_shape(readable(), self._batch_size)):
                results.update(zip((position for position, _ in batch), outputs, strict=True))
                self._bar.update(len(batch))
        return collect([(pairs[p][0], results[p]) for p in sorted(results)], skipped, self._classes)


def iterate_shards(
    groups: Iterable[list[Item]],
    image_ids: Callable[[list[Item]], Iterable[str]],
    detect: Callable[[list[Item]], RotatedInstances],
    shards: Shards | None,
    me: Process,
    finished: Callable[[list[Item]], object],
) -> Iterator[tuple[list[str], RotatedInstances | None]]:
    """The image ids and detections of every group of images in order; None for the groups of other processes.

    Args:
        groups: each becomes a shard.
        image_ids: of a group.
        detect: in a group.
        shards: where finished ones are found and new ones written.
        me: which groups are this process's: every `total`-th.
        finished: is told of a group that was there.
    """
    for number, group in enumerate(groups):
        ids = list(image_ids(group))
        if number % me.total != me.number:
            yield ids, None
            continue
        found = shards.find(number, ids) if shards else None
        if found is not None:
            finished(group)
        else:
            found = detect(group)
            if shards:
                shards.add(number, found)
        yield ids, found


def collect(
    found: list[tuple[str, dict[str, Any]]], skipped: dict[str, str], classes: Sequence[str]
) -> RotatedInstances:
    """One container of what the forward passes gave for each image."""
    if not found:
        return RotatedInstances.empty([], classes).replace(skipped=skipped)
    outputs = [output for _, output in found]
    offsets = np.cumsum([0, *(len(output["labels"]) for output in outputs)])
    rotated = [boxes.from_corners(o["rotated"]) if o["rotated"].shape[1] == 8 else o["rotated"] for o in outputs]
    columns = {
        name: np.concatenate([output[name] for output in outputs])
        for name in ("scores", "class_scores", "box_features")
        if name in outputs[0]
    }
    if "image_features" in outputs[0]:
        columns["image_features"] = np.stack([output["image_features"] for output in outputs])
    if unusable := {image_id: output["unusable"] for image_id, output in found if output["unusable"]}:
        warnings.warn(
            f"{sum(unusable.values())} boxes in {len(unusable)} images, the first {next(iter(unusable))}, are left "
            "out: their numbers are not finite. Was the training too short, or has it diverged?",
            stacklevel=6,
        )
    return RotatedInstances(
        [image_id for image_id, _ in found],
        offsets,
        boxes.canonical(np.concatenate(rotated)),
        np.concatenate([output["labels"] for output in outputs]),
        classes=classes,
        image_sizes=np.array([output["size"] for output in outputs]),
        skipped=skipped,
        **columns,
    )


@contextmanager
def _one_thread_an_image() -> Iterator[None]:
    """While open, OpenCV starts no threads of its own: every decoding thread resizes its own image."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of `size` items, the last one shorter."""
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def prefetch(pool: ThreadPoolExecutor, function: Callable[[Any], Any], items: list[Any], depth: int) -> Iterator[Any]:
    """function(item) in order, at most `depth` of them under way or waiting, so that memory stays bounded."""
    remaining = iter(items)
    pending = [pool.submit(function, item) for item in itertools.islice(remaining, depth)]
    while pending:
        yield pending.pop(0).result()
        pending += [pool.submit(function, item) for item in itertools.islice(remaining, 1)]


def batch_by_shape(prepared: Iterable[tuple[int, Prepared]], size: int) -> Iterator[Batch]:
    """Batches of at most `size` images of one shape, so that nothing is padded differently from an image alone."""
    waiting: dict[torch.Size, Batch] = {}
    for position, one in prepared:
        waiting.setdefault(one["inputs"].shape, []).append((position, one))
        # Of images that all differ in shape only so many wait for their like.
        most = max(waiting, key=lambda shape: len(waiting[shape]))
        if len(waiting[most]) == size or sum(map(len, waiting.values())) == 4 * size:
            yield waiting.pop(most)
    yield from waiting.values()
