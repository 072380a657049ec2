"""Run batches of prepared images through a detector's model, on every core, and give the results as arrays."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from ..networks import batched_heads, class_scores, features, normalising, precision
from ..networks.onnx import OnnxNetwork
from .device_resize import Unresized, resized
from .options import OutputOptions

_TOO_FAR = 1e9  # pixels: no coordinate is as large, and float32 still squares it

Prepared = dict[str, Any]  # an image after the test pipeline
Batch = list[tuple[int, Prepared]]  # with the image's position among all


class Forward:
    """A model with what one prediction needs of it: class scores, features, precision, a graph, threads.

    Args:
        model: in evaluation mode, on `device`.
        n_classes: of the model.
        output: what to keep of the results.
        device: where the model is.
        kind: fp32 or bf16.
        graph: the networks in ONNX Runtime, in place of PyTorch's.
        streams: batches at once, each in a thread of its own, and on a GPU in a CUDA stream of its own; 1 runs in the
            caller's thread.
        threads: that PyTorch uses for each of several batches.
    """

    def __init__(
        self,
        model: nn.Module,
        n_classes: int,
        output: OutputOptions,
        device: torch.device,
        kind: str,
        graph: OnnxNetwork | None,
        streams: int,
        threads: int = 1,
    ) -> None:
        self._model, self._n_classes, self._output, self._device = model, n_classes, output, device
        self._kind, self._graph, self._streams, self._threads = kind, graph, streams, threads
        on_gpu = device.type == "cuda" and streams > 1
        # Made once: PyTorch keeps freed memory for the stream that it was allocated in.
        self._cuda_streams = [torch.cuda.Stream(device) for _ in range(streams)] if on_gpu else []
        self._noted: threading.local | None = None  # the neck's levels, where features are wanted
        self._largest: float = float("inf")  # batch that the GPU's memory holds
        self._starting, self._turns = threading.Lock(), threading.Semaphore(streams)

    @contextmanager
    def ready(self) -> Iterator[None]:
        """While open, the model computes what is wanted; afterwards it is as before."""
        with ExitStack() as stack:
            stack.enter_context(normalising.in_batches(self._model))
            # On a CPU the heads' own way is as quick, and the order of scores that tie is theirs.
            if self._device.type != "cpu" and batched_heads.can_batch(self._model):
                stack.enter_context(batched_heads.in_batches(self._model, self._output.class_scores))
            elif self._output.class_scores:
                stack.enter_context(class_scores.keep_class_scores(self._model))
            if self._kind == "bf16":
                stack.enter_context(precision.bf16(self._model, self._device.type))
            if self._graph:
                stack.enter_context(self._graph.in_place())
            if self._output.features:
                self._noted = stack.enter_context(features.keep_levels(self._model))
            yield

    def run(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, list[dict[str, Any]]]]:
        """Yield each batch with its images' results, in the order of the batches.

        A result has the arrays rotated (n, 5) or, of heads that predict corners, (n, 8), scores (n,), labels (n,) and
        those of :class:`OutputOptions`; the image's size (width, height); and the number not_finite of boxes left out.
        """
        if self._streams == 1:
            for batch in batches:
                yield batch, self._predict([image for _, image in batch])
            return
        n_threads = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(
                self._streams, initializer=self._start_thread, initargs=(itertools.count(),)
            ) as pool:
                pending: list[tuple[Batch, Future[list[dict[str, Any]]]]] = []
                for batch in batches:
                    pending.append((batch, pool.submit(self._predict, [image for _, image in batch])))
                    if len(pending) > self._streams:  # one is queued, so that no core waits
                        first, future = pending.pop(0)
                        yield first, future.result()
                for first, future in pending:
                    yield first, future.result()
        finally:
            torch.set_num_threads(n_threads)  # else threads that PyTorch starts later would have as few

    def _start_thread(self, numbers: Iterator[int]) -> None:
        torch.set_num_threads(self._threads)
        if self._cuda_streams:
            stream = self._cuda_streams[next(numbers)]
            stream.wait_stream(torch.cuda.default_stream(self._device))  # which has made the weights
            torch.cuda.set_stream(stream)  # of this thread

    def _predict(self, images: Sequence[Prepared]) -> list[dict[str, Any]]:
        """Run images through the model, in smaller batches once a GPU's memory does not hold so many.

        An image that it does not hold beside other batches waits until they are done.
        """
        outputs: list[dict[str, Any]] = []
        alone = False
        while len(outputs) < len(images):
            size = int(min(self._largest, len(images) - len(outputs)))
            try:
                with self._turn(alone):
                    outputs += self._predict_at_once(images[len(outputs) :][:size])
                continue
            except torch.OutOfMemoryError:
                if alone:
                    raise
            alone = size == 1
            self._largest = min(self._largest, max(1, size // 2))  # another stream may have found less
            torch.cuda.empty_cache()  # only here, where the error no longer holds the batch
        return outputs

    @contextmanager
    def _turn(self, alone: bool) -> Iterator[None]:
        """While open, a batch may run, beside those of the other streams or `alone`."""
        turns = self._streams if alone else 1
        with self._starting:  # so that none starts while one waits for all others to end
            for _ in range(turns):
                self._turns.acquire()
        try:
            yield
        finally:
            self._turns.release(turns)

    @torch.no_grad()
    def _predict_at_once(self, images: Sequence[Prepared]) -> list[dict[str, Any]]:
        data: Any = {name: [image[name] for image in images] for name in ("inputs", "data_samples")}
        if isinstance(data["inputs"][0], Unresized):
            batch = resized(data["inputs"], self._device)
            data["inputs"] = batch if normalising.takes_batches(self._model) else [*batch]
        samples = self._model.test_step(data)  # type: ignore[operator]
        outputs = [self._as_arrays(sample) for sample in samples]
        if self._noted is not None:
            self._add_features(samples, outputs, self._noted.levels)
        return outputs

    def _as_arrays(self, sample: Any) -> dict[str, Any]:
        instances = sample.pred_instances
        # A barely trained model may overflow exp() and predict non-finite boxes.
        finite = (_as_tensor(instances.bboxes).abs() < _TOO_FAR).all(dim=1)
        score_thr = self._output.score_thr
        kept = finite if score_thr is None else finite & (instances.scores >= score_thr)
        if not kept.all():
            instances = instances[kept]
        rotated = _as_tensor(instances.bboxes).float()
        output = {
            "rotated": rotated.cpu().numpy(),
            "scores": instances.scores.float().cpu().numpy(),
            "labels": instances.labels.cpu().numpy(),
            "size": sample.ori_shape[1::-1],
            "not_finite": int((~finite).sum()),
        }
        if self._output.class_scores:
            rows = instances.class_scores.float().cpu().numpy() if "class_scores" in instances else None
            output["class_scores"] = rows if rows is not None else np.zeros((0, self._n_classes))
        return output

    def _add_features(
        self, samples: Sequence[Any], outputs: list[dict[str, Any]], levels: Sequence[torch.Tensor]
    ) -> None:
        """Add the images' and the boxes' features, copied from the device together."""
        pooled = []
        for number, (sample, output) in enumerate(zip(samples, outputs, strict=True)):
            rotated = torch.from_numpy(output["rotated"]).to(levels[0].device)
            centres = rotated.view(-1, 4, 2).mean(dim=1) if rotated.shape[1] == 8 else rotated[:, :2]
            centres = centres * centres.new_tensor(sample.get("scale_factor", (1, 1)))
            of_image = [level[number].float() for level in levels]
            pooled.append(features.pool(of_image, centres, sample.batch_input_shape[::-1]))
        images = torch.stack([image for image, _ in pooled]).cpu().numpy()
        at_boxes = torch.cat([boxes for _, boxes in pooled]).cpu().split([len(boxes) for _, boxes in pooled])
        for output, image, boxes in zip(outputs, images, at_boxes, strict=True):
            output.update(image_features=image, box_features=boxes.numpy())


def _as_tensor(bboxes: Any) -> torch.Tensor:
    """The tensor of a box type of MMDetection."""
    return getattr(bboxes, "tensor", bboxes)
