"""RTMDet-R on EfficientNet-Lite0 at 320 px: learns on a CPU from a few hundred photographs."""

_base_ = "mmrotate::rotated_rtmdet/rotated_rtmdet_tiny-3x-dota.py"
custom_imports = dict(imports=["experiments.learners.lite0"], allow_failed_imports=False)

size = (320, 320)
width = 96
iterations = 300
lr = 1e-3

model = dict(
    data_preprocessor=dict(mean=[127.0] * 3, std=[128.0] * 3, bgr_to_rgb=True),
    backbone=dict(_delete_=True, type="EfficientNetLite0", frozen_blocks=3),
    neck=dict(in_channels=[40, 112, 320], out_channels=width, norm_cfg=dict(type="BN")),
    # exp_on_reg: without it a new head starts from boxes of size zero, whose IoU with anything is zero.
    bbox_head=dict(in_channels=width, feat_channels=width, exp_on_reg=True, norm_cfg=dict(type="BN")),
)

grey = dict(img=(127, 127, 127))
train_pipeline = [
    dict(type="mmdet.LoadImageFromFile"),
    dict(type="mmdet.LoadAnnotations", with_bbox=True, box_type="qbox"),
    dict(type="ConvertBoxType", box_type_mapping=dict(gt_bboxes="rbox")),
    dict(type="mmdet.Resize", scale=size, keep_ratio=True),
    dict(type="mmdet.RandomFlip", prob=0.75, direction=["horizontal", "vertical", "diagonal"]),
    dict(type="mmdet.Pad", size=size, pad_val=grey),
    dict(type="mmdet.PackDetInputs"),
]
test_pipeline = [
    dict(type="mmdet.LoadImageFromFile"),
    dict(type="mmdet.Resize", scale=size, keep_ratio=True),
    dict(type="mmdet.Pad", size=size, pad_val=grey),
    dict(type="mmdet.PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")),
]
train_dataloader = dict(
    num_workers=1,
    sampler=dict(_delete_=True, type="InfiniteSampler", shuffle=True),
    dataset=dict(pipeline=train_pipeline),
)
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))

train_cfg = dict(_delete_=True, type="IterBasedTrainLoop", max_iters=iterations, val_interval=iterations)
optim_wrapper = dict(optimizer=dict(lr=lr), clip_grad=dict(max_norm=35))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type="CosineAnnealingLR", eta_min=lr / 20, by_epoch=False, begin=50, end=iterations, T_max=iterations - 50),
]
default_hooks = dict(
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=50, max_keep_ckpts=1), logger=dict(interval=25)
)
log_processor = dict(by_epoch=False)
