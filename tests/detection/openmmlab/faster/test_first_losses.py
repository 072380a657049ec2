"""A whole training, patches and hooks and all, against MMRotate's own code in MMEngine's Runner."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from helpers.detectors import RTMDET, SIZE  # noqa: E402
from mmengine.hooks import Hook  # noqa: E402
from mmengine.runner import Runner  # noqa: E402
from mmrotate.registry import HOOKS  # noqa: E402

import al_rotate as al  # noqa: E402
from al_rotate.detection.openmmlab import uninstalled  # noqa: E402
from al_rotate.detection.small_models import small_rtmdet  # noqa: E402
from al_rotate.detection.training.config import training_config  # noqa: E402

losses: list[dict[str, float]] = []
averages: list[Any] = []


@HOOKS.register_module()
class KeepLosses(Hook):
    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        losses.append({name: value.item() for name, value in outputs.items()})

    def after_train(self, runner: Any) -> None:
        averages.append(next(hook.ema_model for hook in runner.hooks if hasattr(hook, "ema_model")).state_dict())


def test_the_first_twenty_losses(scenes: Any, tmp_path: Path):
    """At MMRotate's own learning rate, reached in a tenth of its warm-up.

    Higher rates multiply rounding: at 1e-3 tenfold every three iterations, whatever it comes from.
    """
    mean = {"type": "EMAHook", "ema_type": "mmdet.ExpMomentumEMA", "momentum": 2e-4, "update_buffers": True}
    options = {
        **small_rtmdet(SIZE, iterations=20, lr=2.5e-4),
        "param_scheduler": [{"type": "LinearLR", "start_factor": 1e-5, "by_epoch": False, "begin": 0, "end": 100}],
        "custom_hooks": [{**mean, "priority": 49}, {"type": "KeepLosses"}],
    }
    arguments = (RTMDET, scenes.images, scenes.labels, al.synthetic.CLASSES)
    found = al.finetune(*arguments, tmp_path / "ours", cfg_options=options)
    ours, ours_mean = losses.copy(), averages.pop()
    losses.clear()

    plain = training_config(*arguments, tmp_path / "plain", options)
    plain.custom_hooks = [*options["custom_hooks"]]
    plain.default_hooks.runtime_info = {"type": "RuntimeInfoHook"}
    plain.train_dataloader.dataset.remember = 0
    with uninstalled(), contextlib.redirect_stdout(io.StringIO()):
        Runner.from_cfg(plain).train()

    assert len(ours) == len(losses) == 20
    assert ours[0]["loss"] > 1
    for mine, theirs in zip(ours, losses, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-4)
    theirs_mean = averages.pop()
    assert all(torch.allclose(ours_mean[name], theirs_mean[name], atol=1e-3) for name in theirs_mean)
    assert found.metrics["last_loss"] == pytest.approx(losses[-1]["loss"], abs=1e-4)
