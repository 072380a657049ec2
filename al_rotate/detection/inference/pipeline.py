"""Detect in many images: decoded ahead, batched by shape, run on every core, collected shard by shard."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import cv2
import numpy as np
import torch
from tqdm.auto import tqdm

from ... import boxes
from ...data import RotatedInstances
from ...data.images import UnreadableImage
from ...data.sources import Source
from ...storage.user_warnings import warn_user
from .forward import Batch, Forward, Prepared
from .processes import Process, cores
from .shards import Shards, stamp_of

if TYPE_CHECKING:
    from .preparing import Preparation

Pair = tuple[str, Source]  # image id, file or pixels
Shard = tuple[list[str], RotatedInstances | None]  # image ids, and the detections unless another process has them
Item = TypeVar("Item")


class InferencePipeline:
    """Detect in lists of images.

    Args:
        prepare: turns an image into the model's input, in a decoding thread, and some in batches after that.
        forward: the model.
        classes: of the detections.
        batch_size: images per forward pass.
        workers: decoding threads; None for one per core, at most 16.
        bar: advances by one per image.
    """

    def __init__(
        self,
        prepare: Preparation,
        forward: Forward,
        classes: Sequence[str],
        batch_size: int,
        workers: int | None,
        bar: tqdm,
    ) -> None:
        self._prepare, self._forward, self._classes = prepare, forward, classes
        self._batch_size, self._workers, self._bar = batch_size, workers or min(16, cores()), bar

    def __call__(self, pairs: list[Pair]) -> RotatedInstances:
        skipped: dict[str, str] = {}
        outputs: dict[int, dict[str, Any]] = {}

        def readable() -> Iterator[tuple[int, Prepared]]:
            ahead = prefetch(pool, self._prepare, pairs, self._prepare.batches_ahead * self._batch_size)
            for position, image in enumerate(self._prepare.finished(ahead, pairs)):
                if isinstance(image, UnreadableImage):
                    skipped[pairs[position][0]] = str(image)
                    self._bar.update()
                else:
                    yield position, image

        with ThreadPoolExecutor(self._workers) as pool, _opencv_in_one_thread(), self._forward.ready():
            for batch, batch_outputs in self._forward.run(batch_by_shape(readable(), self._batch_size)):
                outputs.update(zip((position for position, _ in batch), batch_outputs, strict=True))
                self._bar.update(len(batch))
        return collect(
            [(pairs[position][0], outputs[position]) for position in sorted(outputs)], skipped, self._classes
        )


def iterate_shards(
    groups: Iterable[list[Item]],
    files: Callable[[list[Item]], list[tuple[str, Path | None]]],
    detect: Callable[[list[Item]], RotatedInstances],
    shards: Shards | None,
    process: Process,
    on_finished: Callable[[list[Item]], object],
) -> Iterator[Shard]:
    """Detect in every group of images, and yield its image ids and detections in order.

    The detections are None for the groups of other processes.

    Args:
        groups: each becomes a shard.
        files: lists the images of a group, with their files where there are any.
        detect: detects in a group.
        shards: where finished shards are read and new ones written; None keeps none.
        process: of all groups, every `process.total`-th is this process's.
        on_finished: called with every group that was finished before.
    """
    for number, group in enumerate(groups):
        images = files(group)
        ids = [image_id for image_id, _ in images]
        if number % process.total != process.number:
            yield ids, None
            continue
        made_from = stamp_of(images) if shards else ""
        detections = shards.find(number, ids, made_from) if shards else None
        if detections is not None:
            on_finished(group)
        else:
            detections = detect(group)
            if shards:
                shards.add(number, detections, made_from)
        yield ids, detections


def collect(
    outputs: list[tuple[str, dict[str, Any]]], skipped: dict[str, str], classes: Sequence[str]
) -> RotatedInstances:
    """Join the forward passes' outputs, of :meth:`Forward.run` and with their image ids, in one container.

    It warns of boxes that were left out because their numbers are not finite.
    """
    if not outputs:
        return RotatedInstances.empty([], classes).replace(skipped=skipped)
    image_ids, images = [image_id for image_id, _ in outputs], [output for _, output in outputs]
    offsets = np.cumsum([0, *(len(image["labels"]) for image in images)])
    rotated = [boxes.from_corners(i["rotated"]) if i["rotated"].shape[1] == 8 else i["rotated"] for i in images]
    columns = {
        name: np.concatenate([image[name] for image in images])
        for name in ("scores", "class_scores", "box_features")
        if name in images[0]
    }
    if "image_features" in images[0]:
        columns["image_features"] = np.stack([image["image_features"] for image in images])
    if not_finite := {image_id: image["not_finite"] for image_id, image in outputs if image["not_finite"]}:
        warn_user(
            f"{sum(not_finite.values())} boxes in {len(not_finite)} images, the first {next(iter(not_finite))}, are "
            "left out: their numbers are not finite. Was the training too short, or has it diverged?"
        )
    return RotatedInstances(
        image_ids,
        offsets,
        boxes.canonical(np.concatenate(rotated)),
        np.concatenate([image["labels"] for image in images]),
        classes=classes,
        image_sizes=np.array([image["size"] for image in images]),
        skipped=skipped,
        **columns,
    )


def progress_bar(total: int, unit: str, shown: bool, process: Process) -> tqdm:
    """Make the bar of a prediction, for this process's share of `total`; only the first process shows one."""
    share = -(-total // process.total)
    return tqdm(total=share, unit=unit, disable=not (shown and process.number == 0), desc="predict")


@contextmanager
def _opencv_in_one_thread() -> Iterator[None]:
    """While open, OpenCV starts no threads of its own: every decoding thread resizes its own image."""
    n_threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(n_threads)


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of `size` items, the last one shorter."""
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def prefetch(pool: ThreadPoolExecutor, function: Callable[[Any], Any], items: list[Any], depth: int) -> Iterator[Any]:
    """Yield function(item) in order, computed ahead: at most `depth` items at a time, so that memory stays bounded."""
    remaining = iter(items)
    pending = [pool.submit(function, item) for item in itertools.islice(remaining, depth)]
    while pending:
        yield pending.pop(0).result()
        pending += [pool.submit(function, item) for item in itertools.islice(remaining, 1)]


def batch_by_shape(prepared: Iterable[tuple[int, Prepared]], size: int) -> Iterator[Batch]:
    """Yield batches of at most `size` images of one shape, so that no image is padded otherwise than when alone."""
    waiting: dict[torch.Size, Batch] = {}
    for position, image in prepared:
        waiting.setdefault(image["inputs"].shape, []).append((position, image))
        # When all shapes differ, at most four batches' images wait for others of their shape.
        largest = max(waiting, key=lambda shape: len(waiting[shape]))
        if len(waiting[largest]) == size or sum(map(len, waiting.values())) == 4 * size:
            yield waiting.pop(largest)
    yield from waiting.values()
