"""Run a detector's networks in ONNX Runtime: in float32 on a CPU it is faster than PyTorch, and as exact.

Backbone, neck and dense head become one graph, for images of any size. Everything that computes with boxes stays in
MMRotate. The packages ``onnx`` and ``onnxruntime`` are optional (``pip install al_rotate[fast]``).
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

from ...storage.user_warnings import warn_user
from .features import replaced

_TOLERANCE = 1e-3  # of an output's largest value: what rounding in another order may change
_SIZES_TO_CHECK = 8  # image sizes: by then a size that the trace took for a constant has shown


class NoGraph(RuntimeError):
    """A model that cannot run as a graph; the message gives the reason."""


class Engine:
    """The library that computes a detector's networks.

    Args:
        engine: ``torch``, ``onnxruntime``, or ``auto``: the latter where it is installed and fits.
        device: of the model.
        precision: fp32 or bf16.

    Attributes:
        name: torch or onnxruntime.

    Raises:
        ValueError: for another engine, or for onnxruntime in bf16 or on another device than a CPU.
        ImportError: when onnxruntime is asked for and not installed.
    """

    def __init__(self, engine: str, device: torch.device, precision: str) -> None:
        if engine not in ("auto", "torch", "onnxruntime"):
            raise ValueError(f"expected engine auto, torch or onnxruntime, got {engine!r}")
        fits = device.type == "cpu" and precision == "fp32"
        installed = all(find_spec(package) for package in ("onnx", "onnxruntime"))
        if engine == "onnxruntime" and not fits:
            raise ValueError(f"engine onnxruntime computes in fp32 on a CPU, not in {precision} on {device.type}")
        if engine == "onnxruntime" and not installed:
            raise ImportError("engine onnxruntime needs onnx and onnxruntime: pip install onnx onnxruntime")
        self.name = "torch" if engine == "torch" or not (fits and installed) else "onnxruntime"
        self._warns = engine == "onnxruntime"
        self._digest = ""  # of the weights in the graph
        self._network: OnnxNetwork | None = None

    def graph(
        self, model: nn.Module, digest: str, sample: Callable[[], Tensor], threads: int = 1
    ) -> OnnxNetwork | None:
        """Make the graph of `model`, or reuse it for the same `digest`; None where PyTorch computes the networks."""
        if self.name == "onnxruntime" and self._digest != digest:
            try:
                self._network = OnnxNetwork(model, sample(), threads)
                self._digest = digest
            except NoGraph as error:
                self.name, self._network = "torch", None
                if self._warns:
                    warn_user(f"{error}; PyTorch runs it")
        return self._network


class OnnxNetwork:
    """The networks of `model`, with their present weights, as one graph.

    Args:
        model: an MMDetection detector on the CPU.
        sample: (1, 3, H, W) float, a prepared image for the trace; not a blank one.
        threads: per batch.

    Raises:
        NoGraph: when the model has operations that the graph cannot represent.
    """

    def __init__(self, model: nn.Module, sample: Tensor, threads: int = 1) -> None:
        self._model = model
        self._heads = [head for name in ("bbox_head", "rpn_head") if _is_dense(head := getattr(model, name, None))]
        self._noted = threading.local()  # each head's output in this thread's last pass, as ``heads``
        self._agrees: dict[torch.Size, bool] = {}  # image size -> whether the graph computes as the model does
        try:
            with torch.no_grad():
                flat, self._spec = pytree.tree_flatten(self._eager(sample))
            self._session = _session(_Flat(self._eager, model), sample, len(flat), threads)
            agrees = self._agrees_at(sample)
        except Exception as error:  # the model, the exporter and the runtime may raise anything
            raise NoGraph(f"{type(model).__name__} cannot be exported: {error}") from error
        if not agrees:
            raise NoGraph(f"{type(model).__name__} computes other values as a graph")

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """While open, the graph computes the model's networks. Safe in several threads at once."""
        with ExitStack() as stack:
            stack.enter_context(replaced(self._model, "extract_feat", self._extract))
            for number, head in enumerate(self._heads):
                stack.enter_context(replaced(head, "forward", lambda *_, k=number: self._noted.heads[k]))
            yield

    def _extract(self, images: Tensor) -> Any:
        compute = self._run if self._agrees_at(images) else self._eager
        levels, *self._noted.heads = compute(images)
        return levels

    def _run(self, images: Tensor) -> Any:
        flat = self._session.run(None, {"images": images.contiguous().numpy()})
        return pytree.tree_unflatten([torch.from_numpy(values) for values in flat], self._spec)

    def _agrees_at(self, images: Tensor) -> bool:
        """Check once per image size that the graph computes what the model does.

        A trace may have taken a size for a constant, the batch's too: two images of each size are computed both ways.
        """
        size = images.shape[2:]
        if size not in self._agrees and len(self._agrees) >= _SIZES_TO_CHECK and all(self._agrees.values()):
            return True
        if size not in self._agrees:
            two = images[:2] if len(images) > 1 else torch.cat([images, images.flip(3)])
            with torch.no_grad():
                eager = pytree.tree_leaves(self._eager(two))
            try:
                graph = pytree.tree_leaves(self._run(two))
            except Exception:  # of the runtime: shapes that do not fit a constant
                graph = []
            self._agrees[size] = len(graph) == len(eager) and all(
                expected.shape == output.shape
                and bool((expected - output).abs().max() <= _TOLERANCE * expected.abs().max())
                for expected, output in zip(eager, graph, strict=True)
            )
        return self._agrees[size]

    def _eager(self, images: Tensor) -> tuple[Any, ...]:
        levels = _class_method(self._model, "extract_feat")(images)
        return (levels, *(_class_method(head, "forward")(levels) for head in self._heads))


class _Flat(nn.Module):
    """A network whose outputs are one flat tuple, as the exporter needs them."""

    def __init__(self, function: Any, model: nn.Module) -> None:
        super().__init__()
        self.function, self.model = function, model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(pytree.tree_leaves(self.function(images)))


def _class_method(module: Any, name: str) -> Any:
    """The method of the module's class, where the graph may have replaced the module's own."""
    return partial(getattr(type(module), name), module)


def _is_dense(head: Any) -> bool:
    """Whether it is a single head whose forward takes the neck's levels alone."""
    return isinstance(head, nn.Module) and not isinstance(head, nn.ModuleList)


def _session(network: nn.Module, sample: Tensor, n_outputs: int, threads: int) -> Any:
    """Export a network and load it into ONNX Runtime."""
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
            output_names=[f"output{number}" for number in range(n_outputs)],
            dynamic_axes={"images": {0: "batch", 2: "height", 3: "width"}},
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.enable_mem_pattern = False  # it plans memory for shapes that stay the same
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph.getvalue(), options, providers=["CPUExecutionProvider"])
