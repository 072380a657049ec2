"""Batches of prepared images through a detector's model, on every core, and what comes out as arrays."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from ..networks import class_scores, features, precision
from ..networks.onnx import OnnxNetwork

_FAR = 1e9  # pixels: no box reaches so far

Prepared = dict[str, Any]  # what a test pipeline makes of an image
Batch = list[tuple[int, Prepared]]  # with its place among the images


class OutputOptions(NamedTuple):
    """What of the predictions is kept."""

    score_thr: float | None
    class_scores: bool
    features: bool


class Forward:
    """The model made ready to run, for the time of a prediction.

    Args:
        model: in evaluation mode, on `device`.
        n_classes: how many there are.
        keep: what of the results is wanted.
        device: where the model is.
        kind: fp32 or bf16.
        graph: the networks in ONNX Runtime, in place of PyTorch's.
        streams: batches at once, each in a thread of its own; 1 stays in the caller's.
        threads: that PyTorch uses for each of several batches.
    """

    def __init__(
        self,
        model: nn.Module,
        n_classes: int,
        keep: OutputOptions,
        device: torch.device,
        kind: str,
        graph: OnnxNetwork | None,
        streams: int,
        threads: int = 1,
    ) -> None:
        self._model, self._n_classes, self._keep, self._device = model, n_classes, keep, device
        self._kind, self._graph, self._streams, self._threads = kind, graph, streams, threads
        self._levels: threading.local | None = None

    @contextmanager
    def ready(self) -> Iterator[None]:
        """While open, the model does what was asked for; afterwards it is as it was."""
        with ExitStack() as stack:
            if self._keep.class_scores:
                stack.enter_context(class_scores.kept(self._model))
            if self._kind == "bf16":
                stack.enter_context(precision.bf16(self._model, self._device.type))
            if self._graph:
                stack.enter_context(self._graph.in_place())
            if self._keep.features:
                self._levels = stack.enter_context(features.kept(self._model))
            yield

    def run(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, list[dict[str, Any]]]]:
        """Each batch with its images' results, in the order of the batches."""
        if self._streams == 1:
            for batch in batches:
                yield batch, self._one([prepared for _, prepared in batch])
            return
        threads = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(
                self._streams, initializer=torch.set_num_threads, initargs=(self._threads,)
            ) as pool:
                pending: list[tuple[Batch, Future[list[dict[str, Any]]]]] = []
                for batch in batches:
                    pending.append((batch, pool.submit(self._one, [prepared for _, prepared in batch])))
                    if len(pending) > self._streams:  # one waits, so that no core does
                        first, result = pending.pop(0)
                        yield first, result.result()
                for first, result in pending:
                    yield first, result.result()
        finally:
            torch.set_num_threads(threads)  # else threads that PyTorch starts later would have as few

    @torch.no_grad()
    def _one(self, prepared: Sequence[Prepared]) -> list[dict[str, Any]]:
        data = {name: [one[name] for one in prepared] for name in ("inputs", "data_samples")}
        samples = self._model.test_step(data)  # type: ignore[operator]
        return [self._arrays(number, sample) for number, sample in enumerate(samples)]

    def _arrays(self, number: int, sample: Any) -> dict[str, Any]:
        found = sample.pred_instances
        # A model trained for minutes puts out an exponential that overflows now and then.
        usable = (getattr(found.bboxes, "tensor", found.bboxes).abs() < _FAR).all(dim=1)
        wanted = usable if self._keep.score_thr is None else usable & (found.scores >= self._keep.score_thr)
        unusable = int((~usable).sum())
        if not wanted.all():
            found = found[wanted]
        rotated = getattr(found.bboxes, "tensor", found.bboxes).float()
        output = {"rotated": rotated.cpu().numpy(), "size": sample.ori_shape[1::-1], "unusable": unusable}
        output.update(scores=found.scores.float().cpu().numpy(), labels=found.labels.cpu().numpy())
        if self._keep.class_scores:
            kept = found.class_scores.float().cpu().numpy() if "class_scores" in found else None
            output["class_scores"] = kept if kept is not None else np.zeros((0, self._n_classes))
        if self._levels is not None:
            centres = rotated.view(-1, 4, 2).mean(dim=1) if rotated.shape[1] == 8 else rotated[:, :2]
            image, at_boxes = features.pooled(
                [level[number].float() for level in self._levels.levels],
                centres * centres.new_tensor(sample.get("scale_factor", (1, 1))),
                sample.batch_input_shape[::-1],
            )
            output.update(image_features=image.cpu().numpy(), box_features=at_boxes.cpu().numpy())
        return output
