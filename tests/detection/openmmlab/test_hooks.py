"""Our hooks in MMEngine's Runner, with a model of one weight whose losses are prescribed."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from mmengine.logging import HistoryBuffer  # noqa: E402
from mmengine.model import BaseModel  # noqa: E402
from mmengine.runner import Runner  # noqa: E402
from mmrotate.registry import HOOKS  # noqa: E402
from torch import nn  # noqa: E402

from al_rotate.detection.openmmlab import hooks  # noqa: E402


class OneWeight(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, inputs: Any, mode: str = "tensor") -> Any:
        return {
            "loss_a": self.weight * inputs,
            "loss_b": self.weight * 0 + 1,
            "share": torch.tensor(0.5),
        }


def run(folder: Path, losses: list[float], *extra: dict[str, Any], info: str = "mmengine.RuntimeInfoHook") -> Runner:
    data = {"batch_size": 1, "num_workers": 0, "sampler": {"type": "InfiniteSampler", "shuffle": False}}
    runner = Runner(
        OneWeight(),
        str(folder),
        train_dataloader={**data, "dataset": list(map(torch.tensor, losses)), "collate_fn": {"type": "pseudo_collate"}},
        train_cfg={"type": "IterBasedTrainLoop", "max_iters": len(losses)},
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.0}},
        default_hooks={
            "runtime_info": HOOKS.build({"type": info}),
            "checkpoint": {"type": "CheckpointHook", "interval": 3, "by_epoch": False},
            "logger": {"type": "LoggerHook", "interval": 2},
        },
        custom_hooks=[HOOKS.build({**hook, "type": "mmrotate." + hook["type"]}) for hook in extra],
        log_processor={"by_epoch": False},
        log_level="ERROR",
        experiment_name=folder.name,
    )
    runner.train()
    return runner


def test_losses_on_demand_are_those_of_mmengine(tmp_path: Path):
    losses = [5.0, 4.0, 3.5, 3.25, 3.125, 3.0]
    plain = run(tmp_path / "plain", losses)
    lazy = run(tmp_path / "lazy", losses, info="mmrotate.LossesOnDemand")
    expected, found = (runner.message_hub.log_scalars for runner in (plain, lazy))
    assert found["train/loss"].data[0].tolist() == [6, 5, 4.5, 4.25, 4.125, 4]
    for name in ("train/loss", "train/loss_a", "train/loss_b", "train/share", "train/lr"):
        assert [column.tolist() for column in found[name].data] == [column.tolist() for column in expected[name].data]
    logged = [sorted((tmp_path / name).rglob("scalars.json"))[0].read_text() for name in ("plain", "lazy")]
    lines = [[line.partition('"loss"')[2].partition('"time"')[0] for line in text.splitlines()] for text in logged]
    assert lines[0] == lines[1]
    assert len(lines[0]) == 3
    saved = torch.load(tmp_path / "lazy" / "iter_6.pth", weights_only=False)["message_hub"]["log_scalars"]["train/loss"]
    assert type(saved) is HistoryBuffer
    assert saved.data[0].tolist() == [6, 5, 4.5, 4.25, 4.125, 4]


@pytest.mark.parametrize(("interval", "seen_at"), [(None, 4), (10, 6)])
def test_it_stops_before_a_checkpoint_of_a_diverged_model(tmp_path: Path, interval: int | None, seen_at: int):
    stop = {"type": "StopWhenDiverged", "interval": interval}
    with pytest.raises(hooks.TrainingDiverged, match="the loss is nan at iteration 4, learning rate 0"):
        run(tmp_path / "work", [1, 1, 1, float("nan"), 1, 1, 1], stop)
    assert [file.name for file in (tmp_path / "work").glob("*.pth")] == ["iter_3.pth"]


def test_it_looks_at_the_last_iterations_too(tmp_path: Path):
    with pytest.raises(hooks.TrainingDiverged, match="the loss is inf at iteration 5"):
        run(tmp_path / "work", [1, 1, 1, 1, float("inf")], {"type": "StopWhenDiverged", "interval": 10})


def test_the_bar_shows_each_loss(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    logging.disable()
    runner = run(tmp_path / "work", [5.0, 4.0], {"type": "ProgressBar"})
    logging.disable(logging.NOTSET)
    assert runner.iter == 2
    assert "loss=5.000" in capsys.readouterr().err
