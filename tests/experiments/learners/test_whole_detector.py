"""The whole detectors' configs: one size throughout, and schedules as long as the comparison says."""

import pytest
from mmengine.config import Config
from whole_detector import CONFIGS, schedule


@pytest.fixture(params=[320, 640])
def config(request):
    path = CONFIGS / f"rtmdet_lite0_{request.param}.py"
    # Without its backbone, which needs requirements/experiments.txt.
    return Config.fromfile(path, import_custom_modules=False), request.param


def test_one_size_throughout(config):
    found, size = config
    for loader in (found.train_dataloader, found.test_dataloader):
        steps = {step["type"]: step for step in loader.dataset.pipeline}
        assert tuple(steps["mmdet.Resize"]["scale"]) == (size, size)
        assert tuple(steps["mmdet.Pad"]["size"]) == (size, size)


def test_a_schedule_is_stretched_and_nothing_is_added(config):
    found, _ = config
    before = {*found.to_dict()}
    found.merge_from_dict(schedule(90, 2e-3))
    assert {*found.to_dict()} == before
    assert found.train_cfg.max_iters == 90
    warm, cosine = found.param_scheduler
    assert (warm.begin, warm.end) == (0, 15)
    assert (cosine.begin, cosine.end, cosine.T_max, cosine.eta_min) == (15, 90, 75, 1e-4)
    assert found.optim_wrapper.optimizer.lr == 2e-3
    assert found.optim_wrapper.optimizer.type == "AdamW"
