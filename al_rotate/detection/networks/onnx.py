"""A detector's networks in ONNX Runtime: in float32 on a CPU it is quicker than PyTorch, and as exact.

Backbone, neck and the dense head become one graph, for images of any size. Everything that computes with boxes stays
MMRotate's own. The packages ``onnx`` and ``onnxruntime`` are optional (``pip install al_rotate[fast]``).
"""

from __future__ import annotations

import contextlib
import io
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from .features import replaced

_CLOSE = 1e-3  # of the largest value of an output: what rounding in another order may change
_ENOUGH = 8  # image sizes that agreed: a size that the trace took for a constant would have shown


class NoGraph(RuntimeError):
    """A model that cannot be run as a graph; the message says why."""


class Engine:
    """Which library computes a detector's networks.

    Args:
        wanted: ``torch``, ``onnxruntime``, or ``auto``: the latter where it is installed and fits.
        device: of the model.
        kind: fp32 or bf16.

    Attributes:
        name: torch or onnxruntime.

    Raises:
        ValueError: for another word, or onnxruntime elsewhere than in fp32 on a CPU.
        ImportError: when onnxruntime is wanted and not installed.
    """

    def __init__(self, wanted: str, device: torch.device, kind: str) -> None:
        if wanted not in ("auto", "torch", "onnxruntime"):
            raise ValueError(f"expected engine auto, torch or onnxruntime, got {wanted!r}")
        fits, there = device.type == "cpu" and kind == "fp32", all(find_spec(p) for p in ("onnx", "onnxruntime"))
        if wanted == "onnxruntime" and not fits:
            raise ValueError(f"engine onnxruntime computes in fp32 on a CPU, not in {kind} on {device.type}")
        if wanted == "onnxruntime" and not there:
            raise ImportError("engine onnxruntime needs onnx and onnxruntime: pip install onnx onnxruntime")
        self.name = "torch" if wanted == "torch" or not (fits and there) else "onnxruntime"
        self._insists = wanted == "onnxruntime"
        self._made: tuple[str, OnnxNetwork | None] = ("", None)

    def graph(
        self, model: nn.Module, digest: str, sample: Callable[[], Tensor], threads: int = 1
    ) -> OnnxNetwork | None:
        """The networks with the weights of that `digest`; None where PyTorch computes them."""
        if self.name == "onnxruntime" and self._made[0] != digest:
            try:
                self._made = digest, OnnxNetwork(model, sample(), threads)
            except NoGraph as error:
                self.name, self._made = "torch", ("", None)
                if self._insists:
                    warnings.warn(f"{error}; PyTorch runs it", stacklevel=5)
        return self._made[1] if self.name == "onnxruntime" else None


class OnnxNetwork:
    """The networks of `model`, as they are now, as one graph.

    Args:
        model: an MMDetection detector on the CPU.
        sample: (1, 3, H, W) float, a prepared image to trace it with; not a blank one.
        threads: of each batch.

    Raises:
        NoGraph: when the model has operations that the graph cannot hold.
    """

    def __init__(self, model: nn.Module, sample: Tensor, threads: int = 1) -> None:
        self._model = model
        self._heads = [head for name in ("bbox_head", "rpn_head") if _is_dense(head := getattr(model, name, None))]
        self._given = threading.local()  # what this thread's last pass gave each head
        self._agrees: dict[torch.Size, bool] = {}  # image size -> whether the graph computes as the model does
        try:
            with torch.no_grad():
                flat, self._spec = pytree.tree_flatten(self._eager(sample))
            self._session = _session(_Flat(self._eager, model), sample, len(flat), threads)
            agrees = self._agrees_at(sample)
        except Exception as error:  # whatever model, exporter or runtime meet
            raise NoGraph(f"{type(model).__name__} cannot be exported: {error}") from error
        if not agrees:
            raise NoGraph(f"{type(model).__name__} computes otherwise as a graph")

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """While open, the model's networks are computed by the graph. Safe in several threads at once."""
        with ExitStack() as stack:
            stack.enter_context(replaced(self._model, "extract_feat", self._extract))
            for number, head in enumerate(self._heads):
                stack.enter_context(replaced(head, "forward", lambda *_, k=number: self._given.heads[k]))
            yield

    def _extract(self, images: Tensor) -> Any:
        compute = self._run if self._agrees_at(images) else self._eager
        levels, *self._given.heads = compute(images)
        return levels

    def _run(self, images: Tensor) -> Any:
        flat = self._session.run(None, {"images": images.contiguous().numpy()})
        return pytree.tree_unflatten([torch.from_numpy(values) for values in flat], self._spec)

    def _agrees_at(self, images: Tensor) -> bool:
        """A trace may have taken a size for a constant, the batch's too: two images of each are computed both ways."""
        size = images.shape[2:]
        if size not in self._agrees and len(self._agrees) >= _ENOUGH and all(self._agrees.values()):
            return True
        if size not in self._agrees:
            two = images[:2] if len(images) > 1 else torch.cat([images, images.flip(3)])
            with torch.no_grad():
                eager = pytree.tree_leaves(self._eager(two))
            try:
                graph = pytree.tree_leaves(self._run(two))
            except Exception:  # the runtime's own, for shapes that do not fit a constant
                graph = []
            self._agrees[size] = len(graph) == len(eager) and all(
                one.shape == other.shape and bool((one - other).abs().max() <= _CLOSE * one.abs().max())
                for one, other in zip(eager, graph, strict=True)
            )
        return self._agrees[size]

    def _eager(self, images: Tensor) -> tuple[Any, ...]:
        # The classes' own methods: the graph may be in place of the model's.
        levels = _own(self._model, "extract_feat")(images)
        return (levels, *(_own(head, "forward")(levels) for head in self._heads))


class _Flat(nn.Module):
    def __init__(self, function: Any, model: nn.Module) -> None:
        super().__init__()
        self.function, self.model = function, model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(pytree.tree_leaves(self.function(images)))


def _own(thing: Any, method: str) -> Any:
    return partial(getattr(type(thing), method), thing)


def _is_dense(head: Any) -> bool:
    """A single head whose forward takes the neck's levels alone."""
    return isinstance(head, nn.Module) and not isinstance(head, nn.ModuleList)


def _session(network: nn.Module, sample: Tensor, outputs: int, threads: int) -> Any:
    import onnxruntime

    graph = io.BytesIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            (sample,),
            graph,  # type: ignore[arg-type]
            dynamo=False,
            input_names=["images"],
            output_names=[f"output{number}" for number in range(outputs)],
            dynamic_axes={"images": {0: "batch", 2: "height", 3: "width"}},
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.enable_mem_pattern = False  # of shapes that change
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph.getvalue(), options, providers=["CPUExecutionProvider"])
