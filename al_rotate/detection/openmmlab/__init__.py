"""Our components in OpenMMLab's registries, and every patch of its packages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


def install() -> None:
    """Apply every patch that al_rotate makes to OpenMMLab. Calling it again changes nothing.

    - :mod:`.rotated_ops`: rotated NMS and rotated IoU in MMRotate's heads, assigners and metrics. mmcv's CPU loops
      compare every box with every other; ours skip pairs that cannot overlap. The results are equal to the bit.
    - :mod:`.rotated_iou_loss`: one step of mmcv's differentiable rotated IoU. mmcv has it for CUDA only, so that no
      config with ``RotatedIoULoss`` trains on a CPU.
    - :mod:`.instance_data`: ``InstanceData.__getitem__`` with a mask or indices. MMEngine indexes the boxes of a box
      type one by one.

    - :mod:`.gpu_ops`: mmcv's ops on a GPU for which they are not compiled.
    - :mod:`.faster.rtmdet_loss`: targets and losses of RTMDet-R for a whole batch at once. The targets are the same.
    - :mod:`.faster.updates`: averaged weights (EMA) in one operation instead of one for each tensor.

    Where mmcv's ops are not compiled, :mod:`.ops` provides some of them in PyTorch. ``al_rotate.detection`` sees to
    that when it is imported, since ``mmcv.ops`` cannot be imported without.

    What a single prediction needs (class scores, features, precision, an ONNX graph) is patched for its duration only,
    by the context managers in :mod:`al_rotate.detection.networks`.
    """
    from . import gpu_ops, instance_data, rotated_iou_loss, rotated_ops
    from .faster import rtmdet_loss, updates

    for patch in (gpu_ops, rotated_ops, rotated_iou_loss, instance_data, rtmdet_loss, updates):
        patch.install()


@contextmanager
def uninstalled() -> Iterator[None]:
    """While open, what is patched for speed is computed as OpenMMLab does, for comparisons."""
    from . import instance_data, rotated_ops
    from .faster import rtmdet_loss, updates

    with ExitStack() as stack:
        for patch in (rotated_ops, instance_data, rtmdet_loss, updates):
            stack.enter_context(patch.uninstalled())
        yield
