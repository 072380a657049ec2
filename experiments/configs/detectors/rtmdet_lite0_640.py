"""RTMDet-R on EfficientNet-Lite0 at 640 px, for a GPU."""

_base_ = "rtmdet_lite0_320.py"

size = (640, 640)
train_pipeline = _base_.train_pipeline
test_pipeline = _base_.test_pipeline
for step in (*train_pipeline, *test_pipeline):
    if step["type"] == "mmdet.Resize":
        step["scale"] = size
    elif step["type"] == "mmdet.Pad":
        step["size"] = size
train_dataloader = dict(num_workers=2, dataset=dict(pipeline=train_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
