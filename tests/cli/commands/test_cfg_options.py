"""Keys of --cfg-options that are not in the config, and options that are none."""

import warnings

import pytest

pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from al_rotate.cli.commands import cfg_options  # noqa: E402
from al_rotate.cli.parser import build_parser  # noqa: E402

CONFIG = "rotated_rtmdet_tiny-3x-dota"


@pytest.mark.parametrize(
    "key",
    [
        "train_cfg.max_epochs",
        "model.test_cfg.nms_pre",
        "model.bbox_head.num_classes",
        "test_dataloader.dataset.pipeline.1.scale",
        "randomness.seed",  # a Runner's, in this config or not
        "load_from",
        "auto_scale_lr.enable",
    ],
)
def test_what_is_there(key):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        cfg_options.check(CONFIG, {key: 1})
        cfg_options.check(CONFIG, None)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("train_cfg.max_epoch", "train_cfg.max_epochs"),
        ("trian_cfg.max_epochs", "train_cfg"),
        ("model.test_cfg.score_thre", "model.test_cfg.score_thr"),
        ("model.bbox_haed.num_classes", "model.bbox_head"),
        ("test_dataloader.dataset.pipelin.1.scale", "test_dataloader.dataset.pipeline"),
    ],
)
def test_slips(key, meant):
    with pytest.raises(ValueError, match=f"got {key}: did you mean {meant}\\?"):
        cfg_options.check(CONFIG, {key: 1})


@pytest.mark.parametrize("index", ["99", "first"])
def test_places_that_a_list_does_not_have(index):
    with pytest.raises(ValueError, match=r"test_dataloader.dataset.pipeline is a list of \d"):
        cfg_options.check(CONFIG, {f"test_dataloader.dataset.pipeline.{index}.scale": 1})


@pytest.mark.parametrize("key", ["optim_wrapper.clip_grad.max_norm", "model.backbone.frozen_stages", "my_own.value"])
def test_new_keys_are_told(key):
    with pytest.warns(UserWarning, match=f"--cfg-options {key} is new in the config"):
        cfg_options.check(CONFIG, {key: 1})


def test_a_slip_stops_the_command(al, tmp_path):
    (tmp_path / "a.png").touch()
    arguments = ("predict", tmp_path, "--config", CONFIG, "--out", tmp_path / "out")
    code, out, err = al(*arguments, "--cfg-options", "model.test_cfg.score_thre=0.3")
    assert (code, out) == (1, "")
    assert err == (
        "al-rotate predict: expected --cfg-options to name what is in the config, got model.test_cfg.score_thre: did "
        "you mean model.test_cfg.score_thr?\n"
    )


@pytest.mark.parametrize("option", ["nonsense", "=3", " =3", ""])
def test_what_is_no_option(capsys, option):
    command = ["predict", "pool", "--config", "a.py", "--checkpoint", "b.pth", "--out", "d"]
    with pytest.raises(SystemExit) as raised:
        build_parser().parse_args([*command, "--cfg-options", "a=1", option])
    assert raised.value.code == 2
    assert (
        f"--cfg-options: expected KEY=VALUE, such as train_cfg.max_epochs=12, got {option!r}" in capsys.readouterr().err
    )
