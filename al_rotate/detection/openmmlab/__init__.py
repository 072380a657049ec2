"""Our components in OpenMMLab's registries, and every patch of its packages."""

from __future__ import annotations


def install() -> None:
    """Apply every patch that al_rotate makes to OpenMMLab; calling it again changes nothing.

    ======================== ===================================================== ====================================
    module                   what it replaces                                      why
    ======================== ===================================================== ====================================
    :mod:`.rotated_ops`      rotated NMS and IoU in MMRotate's heads, assigners    mmcv's CPU loops compare every box
                             and metrics                                           with every other; the same results,
                                                                                   to the bit
    :mod:`.rotated_iou_loss` one step of mmcv's differentiable rotated IoU         mmcv has it in CUDA alone, so that
                                                                                   no config with ``RotatedIoULoss``
                                                                                   trains on a CPU
    :mod:`.instance_data`    ``InstanceData.__getitem__`` with a mask or indices   MMEngine indexes rotated boxes one
                                                                                   by one
    ======================== ===================================================== ====================================

    Class scores, features and precision are patched for the time of one prediction only, by the context managers in
    :mod:`al_rotate.detection.networks`.
    """
    from . import instance_data, rotated_iou_loss, rotated_ops

    for patch in (rotated_ops, rotated_iou_loss, instance_data):
        patch.install()
