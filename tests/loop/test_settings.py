"""Settings of a loop, on disk and with other arguments."""

import json
from types import SimpleNamespace

import pytest

from al_rotate import Schedule
from al_rotate.evaluation.pseudo_labels import PseudoLabels
from al_rotate.loop.settings import CUSTOM, LoopSettings, as_budget
from al_rotate.sampling import Budget
from al_rotate.sampling.costs import ExpectedCost

OLD = {
    "strategy": "entropy",
    "budget": {"images": None, "boxes": 9, "seconds": 60, "cost": {"image": 2.0, "box": 1.0, "correction": 3.0}},
    "strategy_options": {"how": "sum"},
    "warm_start": False,
    "seed": 7,
    "train_options": {"train_cfg.max_epochs": 3},
    "checkpoint": "initial.pth",
    "cold": False,
    "device": "cpu",
    "precision": "fp32",
}  # as al_rotate 0.1.0 wrote them


def test_settings_of_an_old_workspace():
    settings = LoopSettings.from_json(OLD)
    assert settings == LoopSettings(
        "entropy",
        {"how": "sum"},
        Budget(boxes=9, seconds=60, cost=ExpectedCost(2, 1, 3)),
        {"train_cfg.max_epochs": 3},
        warm_start=False,
        seed=7,
        checkpoint="initial.pth",
        untrained_start=False,
        device="cpu",
        precision="fp32",
    )
    assert LoopSettings.from_json({"budget": {"images": 50}}) == LoopSettings()


def test_what_is_written_is_what_old_versions_read():
    written = LoopSettings.from_json(OLD).to_json()
    assert written.keys() == OLD.keys()
    assert {**written, "budget": None} == {**OLD, "budget": None}
    assert LoopSettings.from_json(written) == LoopSettings.from_json(OLD)
    assert "train_options" not in LoopSettings().to_json()  # of which none were given
    assert LoopSettings.from_json({"untrained_start": False}).to_json()["cold"] is False


def test_keys_that_nobody_knows_are_kept():
    settings = LoopSettings.from_json({**OLD, "mood": "good", "other": 1})
    assert settings.other == {"mood": "good", "other": 1}
    assert settings.merged(seed=8).to_json()["mood"] == "good"


def test_arguments_replace_settings():
    settings = LoopSettings.from_json(OLD)
    assert settings.merged(seed=None, budget=None) == settings
    assert settings.merged(budget=4, seed=0).budget == Budget(images=4)
    assert settings.merged(strategy="entropy").strategy_options == {"how": "sum"}
    assert settings.merged(strategy="random").strategy_options == {}
    assert settings.merged(strategy="margin", strategy_options={"how": "mean"}).strategy_options == {"how": "mean"}
    own = settings.merged(strategy=lambda candidates, budget, rng: [])
    assert (own.strategy, own.strategy_options) == (CUSTOM, {})
    assert as_budget(3) == as_budget(Budget(images=3)) == Budget(images=3)


def test_keys_are_accepted_for_one_release():
    settings = LoopSettings.from_json(OLD)
    with pytest.warns(DeprecationWarning, match=r"use loop\.settings\.seed"):
        assert settings["seed"] == 7
    with pytest.warns(DeprecationWarning, match=r"use loop\.settings\.untrained_start"):
        assert settings["cold"] is False


def test_schedule_and_pseudo_labels_are_kept_where_there_are_any():
    settings = LoopSettings().merged(schedule=Schedule(per_image=2), pseudo_labels=True)
    assert settings.pseudo_labels == PseudoLabels()
    assert LoopSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings
    off = settings.merged(schedule="config", pseudo_labels=False)
    assert off == LoopSettings()
    assert not {"schedule", "pseudo_labels"} & off.to_json().keys()


def detector(cfg_options=(), **train_cfg):
    return SimpleNamespace(config=SimpleNamespace(train_cfg=train_cfg), cfg_options=dict.fromkeys(cfg_options, 1))


EPOCHS = detector(type="EpochBasedTrainLoop", max_epochs=36)
ITERATIONS = detector(type="IterBasedTrainLoop", max_iters=300)


def test_a_new_loop_has_a_schedule_where_its_config_counts_in_epochs():
    for start, given, schedule in (
        (EPOCHS, {}, Schedule()),
        (EPOCHS, {"schedule": "config"}, None),
        (EPOCHS, {"schedule": Schedule(rate=0.5)}, Schedule(rate=0.5)),
        (EPOCHS, {"train_options": {"train_cfg.max_epochs": 12}}, None),
        (EPOCHS, {"train_options": {"optim_wrapper.optimizer.lr": 1e-3}}, Schedule()),
        (ITERATIONS, {}, None),
        (ITERATIONS, {"schedule": Schedule()}, Schedule()),
        (detector(["train_cfg.max_epochs"], max_epochs=12), {}, None),
        (detector(["optim_wrapper.optimizer.lr"], max_epochs=36), {}, Schedule()),
        (SimpleNamespace(config=SimpleNamespace()), {}, None),
        (None, {}, None),
    ):
        settings = LoopSettings.of_new_loop(start, seed=3, **given)
        assert (settings.schedule, settings.warm_start, settings.seed) == (schedule, True, 3), given


def test_options_that_say_how_long_to_train_displace_a_schedule():
    settings = LoopSettings().merged(schedule=Schedule())
    assert settings.merged(train_options={"train_cfg.max_epochs": 12}).schedule is None
    assert settings.merged(train_options={"param_scheduler.0.end": 12}).schedule is None
    assert settings.merged(train_options={"train_dataloader.batch_size": 4}).schedule == Schedule()
    both = settings.merged(train_options={"train_cfg.max_epochs": 12}, schedule=Schedule(rate=0.5))
    assert both.schedule == Schedule(rate=0.5)  # the training will refuse it
