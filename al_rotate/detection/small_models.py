"""Models small enough to train on a CPU, for the demo, the tests and the experiments."""

from __future__ import annotations

from typing import Any


def small_rtmdet(size: int, iterations: int = 300, lr: float = 4e-3) -> dict[str, Any]:
    """Return cfg_options that make RTMDet-R tiny fast enough for a CPU: 2.2 M parameters, few iterations.

    Args:
        size: images are resized to fit in size x size pixels.
        iterations: of each training, in batches of 8, including warm-up and cosine decay.
        lr: the highest learning rate.
    """
    width = 64
    resize = {"type": "mmdet.Resize", "scale": (size, size), "keep_ratio": True}
    pad = {"type": "mmdet.Pad", "size": (size, size), "pad_val": {"img": (114, 114, 114)}}
    load = {"type": "mmdet.LoadImageFromFile"}
    labels = [
        {"type": "mmdet.LoadAnnotations", "with_bbox": True, "box_type": "qbox"},
        {"type": "ConvertBoxType", "box_type_mapping": {"gt_bboxes": "rbox"}},
    ]
    train = [
        load,
        *labels,
        resize,
        {"type": "mmdet.RandomFlip", "prob": 0.75, "direction": ["horizontal", "vertical", "diagonal"]},
        pad,
        {"type": "mmdet.PackDetInputs"},
    ]
    keys = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")
    pack = {"type": "mmdet.PackDetInputs", "meta_keys": keys}
    warm_up = max(1, min(50, iterations // 5))
    return {
        "model.backbone.widen_factor": width / 256,
        "model.backbone.init_cfg": None,  # no published weights are this narrow
        "model.neck.in_channels": [width, 2 * width, 4 * width],
        "model.neck.out_channels": width,
        "model.bbox_head.in_channels": width,
        "model.bbox_head.feat_channels": width,
        # Else a new head starts with boxes of size zero: their IoU with any box is zero, and so is its gradient.
        "model.bbox_head.exp_on_reg": True,
        "train_dataloader.num_workers": 1,
        "train_dataloader.sampler": {"_delete_": True, "type": "InfiniteSampler", "shuffle": True},
        "train_dataloader.dataset.pipeline": train,
        "val_dataloader.dataset.pipeline": [load, resize, pad, *labels, pack],
        "test_dataloader.dataset.pipeline": [load, resize, pad, pack],
        "train_cfg": {
            "_delete_": True,
            "type": "IterBasedTrainLoop",
            "max_iters": iterations,
            "val_interval": iterations,
        },
        "optim_wrapper.optimizer.lr": lr,
        "param_scheduler": [
            {"type": "LinearLR", "start_factor": 0.01, "by_epoch": False, "begin": 0, "end": warm_up},
            {
                "type": "CosineAnnealingLR",
                "eta_min": lr / 20,
                "by_epoch": False,
                "begin": warm_up,
                "end": iterations,
                "T_max": iterations - warm_up,
            },
        ],
        # Two, because the Runner deletes the older checkpoint before it has written the newer one.
        "default_hooks.checkpoint": {
            "type": "CheckpointHook",
            "interval": max(1, iterations // 3),
            "by_epoch": False,
            "max_keep_ckpts": 2,
        },
        "default_hooks.logger.interval": 25,
        "log_processor.by_epoch": False,
    }
