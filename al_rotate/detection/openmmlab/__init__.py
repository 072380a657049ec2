"""Our components in OpenMMLab's registries, and every patch of its packages."""

from __future__ import annotations


def install() -> None:
    """Apply every patch that al_rotate makes to OpenMMLab. Calling it again changes nothing.

    - :mod:`.rotated_ops`: rotated NMS and rotated IoU in MMRotate's heads, assigners and metrics. mmcv's CPU loops
      compare every box with every other; ours skip pairs that cannot overlap. The results are equal to the bit.
    - :mod:`.rotated_iou_loss`: one step of mmcv's differentiable rotated IoU. mmcv has it for CUDA only, so that no
      config with ``RotatedIoULoss`` trains on a CPU.
    - :mod:`.instance_data`: ``InstanceData.__getitem__`` with a mask or indices. MMEngine indexes the boxes of a box
      type one by one.

    Where mmcv's ops are not compiled, :mod:`.ops` provides some of them in PyTorch. ``al_rotate.detection`` sees to
    that when it is imported, since ``mmcv.ops`` cannot be imported without.

    What a single prediction needs (class scores, features, precision, an ONNX graph) is patched for its duration only,
    by the context managers in :mod:`al_rotate.detection.networks`.
    """
    from . import instance_data, rotated_iou_loss, rotated_ops

    for patch in (rotated_ops, rotated_iou_loss, instance_data):
        patch.install()
