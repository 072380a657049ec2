"""Slips in the parts of a config that only a training builds."""

import re

import pytest

pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from al_rotate.cli.commands import config_slips  # noqa: E402
from al_rotate.detection import configs  # noqa: E402

CONFIG = "rotated_rtmdet_tiny-3x-dota"


@pytest.mark.parametrize(
    ("options", "slip"),
    [
        ({"optim_wrapper.optimizer.type": "AdamWW"}, "optimizer has the type 'AdamWW', .* did you mean 'AdamW'"),
        ({"optim_wrapper.optimizer.weight_decoy": 0.1}, "gives AdamW the argument 'weight_decoy': .* 'weight_decay'"),
        ({"optim_wrapper.clip_gradd": None}, "gives OptimWrapper the argument 'clip_gradd': did you mean 'clip_grad'"),
        (
            {"optim_wrapper.typ": 1},
            r"gives OptimWrapper the argument 'typ', which it does not take; it takes .*\bclip_",
        ),
        ({"default_hooks.checkpoint.max_keep_ckpt": 2}, "CheckpointHook the argument .* did you mean 'max_keep_ckpts'"),
        (
            {"default_hooks.timer.type": "ItrTimerHook"},
            "timer has the type 'ItrTimerHook', .* did you mean 'IterTimerHook'",
        ),
        ({"param_scheduler.0.star_factor": 1}, "param_scheduler.0 gives LinearLR .* did you mean 'start_factor'"),
        ({"train_dataloader.dataset.pipeline.0.type": "mmdet.LoadImageFromFil"}, "pipeline.0 .* 'LoadImageFromFile'"),
        ({"train_dataloader.sampler.shufle": True}, "train_dataloader.sampler gives .* did you mean 'shuffle'"),
        ({"custom_hooks": [{"type": "EMAHook", "begin_itr": 1}]}, "custom_hooks.0 gives EMAHook .* mean 'begin_iter'"),
    ],
)
def test_slips_are_named_with_the_nearest_right_name(options, slip):
    assert re.search(slip, config_slips.find(configs.load(CONFIG, options)))


@pytest.mark.parametrize(
    "name", [CONFIG, "oriented-rcnn-le90_r50_fpn_1x_dota", "rotated-retinanet-rbox-le90_r50_fpn_amp-1x_dota"]
)
def test_shipped_configs_have_none(name, capfd):
    assert config_slips.find(configs.load(name)) is None
    assert capfd.readouterr() == ("", "")


def test_a_slip_stops_init_before_anything_is_written(al, tmp_path):
    (tmp_path / "a.png").touch()
    option = "optim_wrapper.optimizer.type=AdamWW"
    arguments = ("--images", tmp_path, "--classes", "ship,plane", "--config", CONFIG, "--cfg-options", option)
    code, out, err = al("init", tmp_path / "work", *arguments)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert f"{CONFIG}: optim_wrapper.optimizer has the type 'AdamWW'" in err
    assert not (tmp_path / "work").exists()
