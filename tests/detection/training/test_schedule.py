"""The length of a training and its learning rates, worked by hand, and as MMEngine's schedulers give them."""

import shutil

import numpy as np
import pytest
from helpers.detectors import equal_weights, read_weights

from al_rotate import Schedule
from al_rotate.detection.training.schedule import by_default


def test_iterations_follow_the_labels_within_limits():
    schedule = Schedule(per_image=2.5, least=50, most=100)
    assert [schedule.iterations(n) for n in (0, 10, 20, 21, 30, 40, 1000)] == [50, 50, 50, 52, 75, 100, 100]


def test_the_rate_rises_and_falls():
    schedule = Schedule(warm_up=0.25, rate=2)
    rates = schedule.rates(8)
    assert rates[:3] == pytest.approx([1, 2, 2])  # two of eight rise
    assert rates[5] == pytest.approx(2 * (0.05 + 0.95 / 2))  # half way down
    assert (np.diff(rates[2:]) < 0).all()
    assert rates[-1] > 2 * 0.05
    assert Schedule().rates(1).tolist() == [1.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"per_image": 0}, "per_image above 0, got 0"),
        ({"per_image": float("nan")}, "per_image above 0, got nan"),
        ({"least": 0}, "1 <= least <= most, got 0 and 4000"),
        ({"least": 9, "most": 8}, "1 <= least <= most, got 9 and 8"),
        ({"rate": 0}, "a rate above 0 and up to 10, got 0"),
        ({"warm_up": 1}, "warm_up from 0 to below 1, got 1"),
        ({"balance": -0.1}, "balance from 0 to below 1, got -0.1"),
        ({"ema": float("nan")}, "ema from 0 to below 1, got nan"),
    ],
)
def test_values_out_of_their_ranges(options, message):
    with pytest.raises(ValueError, match=message):
        Schedule(**options)


@pytest.mark.mm
def test_published_configs_have_one_by_default():
    pytest.importorskip("mmrotate")
    from al_rotate.detection import configs
    from al_rotate.detection.small_models import small_rtmdet

    name = "rotated_rtmdet_tiny-3x-dota"
    published = configs.load(name)
    assert by_default(published) == by_default(published, {"optim_wrapper.optimizer.lr": 1e-3}) == Schedule()
    for key in ("train_cfg.max_epochs", "train_cfg", "param_scheduler.0.end"):
        assert by_default(published, {key: 12}) is None
    assert by_default(configs.load(name, small_rtmdet(64))) is None  # it counts in iterations


@pytest.mark.mm
@pytest.mark.parametrize("warm_up", [0, 0.02, 0.1, 0.5])
def test_mmengines_schedulers_give_the_same_rates(quick, tmp_path, warm_up):
    """Stepped as its Runner steps them, also with parameters whose rate is a multiple."""
    torch = pytest.importorskip("torch")
    from mmengine.registry import PARAM_SCHEDULERS

    from al_rotate.detection.training.config import training_config

    schedule = Schedule(per_image=10, least=1, rate=0.5, warm_up=warm_up)
    config = training_config(**quick, work_dir=tmp_path, schedule=schedule)
    rate, iterations = config.optim_wrapper.optimizer.lr, config.train_cfg.max_iters
    assert (iterations, config.train_cfg.val_interval) == (80, 80)
    assert rate == pytest.approx(0.5 * quick["cfg_options"]["optim_wrapper.optimizer.lr"])
    parameters = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate * k} for k in (1, 3)]
    optimizer = torch.optim.SGD(parameters, lr=rate)
    schedulers = [PARAM_SCHEDULERS.build({**each, "optimizer": optimizer}) for each in config.param_scheduler]
    rates = []
    for _ in range(iterations):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    expected = schedule.rates(iterations) * rate / schedule.rate
    assert np.array(rates) == pytest.approx(np.outer(expected, [1, 3]), rel=1e-9)


@pytest.mark.mm
def test_an_epoch_based_config_is_counted_in_iterations(quick, tmp_path):
    pytest.importorskip("mmrotate")
    from mmengine.registry import init_default_scope
    from mmrotate.registry import DATASETS

    import al_rotate.detection.openmmlab.components  # noqa: F401  registers the dataset
    from al_rotate.detection import configs
    from al_rotate.detection.training.config import training_config

    init_default_scope("mmrotate")
    data = {"images": quick["images"], "labels": quick["labels"], "classes": quick["classes"]}
    schedule = Schedule(per_image=3, least=1, balance=0.9, ema=0.25)
    config = training_config("rotated_rtmdet_tiny-3x-dota", **data, work_dir=tmp_path, schedule=schedule)
    assert config.train_cfg == {"type": "IterBasedTrainLoop", "max_iters": 24, "val_interval": 24}
    checkpoint = config.default_hooks.checkpoint
    assert (checkpoint.by_epoch, checkpoint.interval, checkpoint.max_keep_ckpts) == (False, 8, 2)
    (mean,) = [hook for hook in config.custom_hooks if configs.kind(hook) == "EMAHook"]
    assert mean["momentum"] == pytest.approx(1 / 6)  # the config's own hook is gone
    # Eight images; a class on n of them is repeated sqrt(0.9 * 8 / n) times, rounded up; the rarest on it counts.
    present = [{*image.labels.tolist()} for _, image in quick["labels"]]
    n_images = {k: sum(k in classes for classes in present) for classes in present for k in classes}
    times = [max([1, *(np.ceil((0.9 * 8 / n_images[k]) ** 0.5) for k in classes)]) for classes in present]
    assert len({*times}) > 1
    dataset = DATASETS.build(config.train_dataloader.dataset)
    assert np.bincount(dataset.repeat_indices).tolist() == times


@pytest.mark.mm
def test_a_training_follows_its_schedule_and_is_another_one_without(quick, tmp_path):
    from al_rotate.detection import finetune

    schedule = Schedule(per_image=0.5, least=1, balance=0.5, ema=0.5)
    result = finetune(**quick, work_dir=tmp_path, schedule=schedule)
    assert result.metrics["iterations"] == 4
    assert finetune(**quick, work_dir=tmp_path, schedule=schedule) == result
    for other in (None, Schedule(per_image=0.5, least=1)):
        with pytest.raises(ValueError, match="holds a training with another config; choose another work_dir"):
            finetune(**quick, work_dir=tmp_path, schedule=other)


@pytest.mark.mm
def test_a_killed_training_ends_with_the_same_weights(quick, tmp_path):
    """Where nothing is drawn but the images: the rate, the averages and the order go on where they were."""
    from al_rotate.detection import finetune

    steps = [
        {**step, "prob": 0.0} if step["type"].endswith("RandomFlip") else step
        for step in quick["cfg_options"]["train_dataloader.dataset.pipeline"]
    ]
    options = {**quick["cfg_options"], "train_dataloader.dataset.pipeline": steps}
    arguments = {**quick, "cfg_options": options, "schedule": Schedule(per_image=1, least=1, balance=0.5, ema=0.5)}
    whole = finetune(**arguments, work_dir=tmp_path / "whole")
    assert sorted(file.name for file in (tmp_path / "whole").glob("iter_*")) == ["iter_6.pth", "iter_8.pth"]
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    for name in ("iter_8.pth", "finetuned.pth", "finetuned.json"):
        (tmp_path / "killed" / name).unlink()
    resumed = finetune(**arguments, work_dir=tmp_path / "killed")
    assert resumed.metrics == pytest.approx(whole.metrics)
    assert equal_weights(read_weights(resumed.checkpoint), read_weights(whole.checkpoint))


@pytest.mark.mm
def test_a_warm_up_longer_than_the_training_is_told(quick, tmp_path):
    pytest.importorskip("mmrotate")
    from al_rotate.detection.training.config import training_config, unfinished_warm_up

    data = {"images": quick["images"], "labels": quick["labels"], "classes": quick["classes"]}
    name = "rotated_rtmdet_tiny-3x-dota"  # 36 epochs, batches of eight, a warm-up of 1,000 iterations
    config = training_config(name, **data, work_dir=tmp_path / "own")
    for n_images, iterations, percent in ((50, 252, 25), (8, 36, 4), (216, 972, 97)):
        said = unfinished_warm_up(config, n_images)
        expected = (
            f"rises for 1000 iterations, and this training has {iterations}: it ends at {percent} % of the warm-up"
        )
        assert expected in said
    assert unfinished_warm_up(config, 217) is None  # 36 times 28 batches
    followed = training_config(name, **data, work_dir=tmp_path / "schedule", schedule=Schedule())
    assert unfinished_warm_up(followed, 50) is None
    assert unfinished_warm_up(training_config(**quick, work_dir=tmp_path / "short"), 8) is None
