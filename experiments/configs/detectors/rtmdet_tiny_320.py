"""RTMDet-R tiny at 320 px, trained from scratch in some hundred iterations: a real detector that a CPU can make."""

_base_ = "mmrotate::rotated_rtmdet/rotated_rtmdet_tiny-3x-dota.py"

size = (320, 320)
iterations = 500
lr = 1e-3

# exp_on_reg: without it a new head starts from boxes of size zero, whose IoU with anything is zero.
model = dict(backbone=dict(init_cfg=None), bbox_head=dict(exp_on_reg=True))

grey = dict(img=(114, 114, 114))
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
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type="CosineAnnealingLR", eta_min=lr / 20, by_epoch=False, begin=100, end=iterations, T_max=iterations - 100),
]
default_hooks = dict(
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=50, max_keep_ckpts=1), logger=dict(interval=25)
)
log_processor = dict(by_epoch=False)
