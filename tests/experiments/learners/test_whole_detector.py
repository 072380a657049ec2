"""The whole detectors' configs: one size throughout, and schedules as long as the comparison says."""

from importlib.util import find_spec

import pytest
from mmengine.config import Config

from experiments.learners.whole_detector import schedule
from experiments.paths import DETECTORS


@pytest.fixture(params=[320, 640])
def config(request):
    path = DETECTORS / f"rtmdet_lite0_{request.param}.py"
    # Without its backbone, which needs requirements/experiments.txt.
    return Config.fromfile(path, import_custom_modules=False), request.param


def test_one_size_throughout(config):
    parsed, size = config
    for loader in (parsed.train_dataloader, parsed.test_dataloader):
        steps = {step["type"]: step for step in loader.dataset.pipeline}
        assert tuple(steps["mmdet.Resize"]["scale"]) == (size, size)
        assert tuple(steps["mmdet.Pad"]["size"]) == (size, size)


def test_a_schedule_is_stretched_and_nothing_is_added(config):
    parsed, _ = config
    before = {*parsed.to_dict()}
    parsed.merge_from_dict(schedule(90, 2e-3))
    assert {*parsed.to_dict()} == before
    assert parsed.train_cfg.max_iters == 90
    warm_up, cosine = parsed.param_scheduler
    assert (warm_up.begin, warm_up.end) == (0, 15)
    assert (cosine.begin, cosine.end, cosine.T_max, cosine.eta_min) == (15, 90, 75, 1e-4)
    assert parsed.optim_wrapper.optimizer.lr == 2e-3
    assert parsed.optim_wrapper.optimizer.type == "AdamW"


def test_the_backbone_is_found_from_the_repositorys_root(config):
    parsed, _ = config
    assert [*parsed.custom_imports.imports] == ["experiments.learners.lite0"]
    assert find_spec("experiments.learners.lite0")
