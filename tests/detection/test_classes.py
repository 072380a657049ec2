"""Which classes a detector or a training has: the user's, the weights', the file's."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
from helpers.detectors import RTMDET, predict, read_weights

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from al_rotate.data import synthetic  # noqa: E402
from al_rotate.detection import Detector, configs, finetune  # noqa: E402
from al_rotate.detection.small_models import small_rtmdet  # noqa: E402
from al_rotate.detection.training.config import training_config  # noqa: E402

SMALL = small_rtmdet(64)
CLS = "bbox_head.rtm_cls.0.weight"


def saved(folder: Path, n_classes: int, classes: Any) -> Path:
    """Weights for some classes, with any names beside them."""
    names = [f"class {number}" for number in range(n_classes)]
    weights = Detector(RTMDET, None, "cpu", SMALL, names).model.state_dict()
    torch.save({"meta": {"dataset_meta": {"classes": classes}}, "state_dict": weights}, folder / "epoch_12.pth")
    return folder / "epoch_12.pth"


def test_names_of_another_dataset_beside_the_weights(tmp_path: Path):
    path = saved(tmp_path, 1, tuple(f"coco-{number}" for number in range(80)))
    with pytest.warns(
        UserWarning, match=r"epoch_12\.pth names 80 classes, .* weights are for 1; they are taken for ship"
    ):
        detector = Detector(RTMDET, path, "cpu", SMALL, ["ship"])
    assert (detector.classes, detector.untrained) == (("ship",), False)
    assert torch.equal(detector.model.state_dict()[CLS], read_weights(path)[CLS])
    with pytest.raises(
        ValueError, match=r"as many class names as .*epoch_12\.pth has weights for, 1, got 80 .* classes="
    ):
        Detector(RTMDET, path, "cpu", SMALL)


@pytest.mark.parametrize("names", [("ship",), "ship"])
def test_names_that_the_config_knows_better(tmp_path: Path, names: Any):
    path = saved(tmp_path, 15, names)
    with pytest.warns(UserWarning, match="names 1 classes, ship, but its weights are for 15; they are taken for plane"):
        detector = Detector(RTMDET, path, "cpu", SMALL)
    assert detector.classes == configs.dataset_classes(detector.config)


@pytest.mark.parametrize("names", [None, ("ship", "ship"), (1, 2), [], {"a": 1}])
def test_names_that_are_none(tmp_path: Path, names: Any):
    path = saved(tmp_path, 2, names)
    assert Detector(RTMDET, path, "cpu", SMALL, ["a", "b"]).classes == ("a", "b")
    with pytest.raises(ValueError, match="weights for, 2, got 15 from the config"):
        Detector(RTMDET, path, "cpu", SMALL)


def test_classes_that_the_checkpoint_does_not_know_start_at_random(tmp_path: Path):
    path = saved(tmp_path, 3, ("ship", "large-vehicle", "plane"))
    with pytest.warns(
        UserWarning, match="ship keeps its weights; truck, tree start at random; .* large-vehicle, plane"
    ):
        detector = Detector(RTMDET, path, "cpu", SMALL, ["truck", "ship", "tree", "plane"][:3])
    old, new = read_weights(path), detector.model.state_dict()
    assert torch.equal(new[CLS][1], old[CLS][0])
    assert not torch.equal(new[CLS][0], old[CLS][1])
    assert torch.equal(new["backbone.stem.0.conv.weight"], old["backbone.stem.0.conv.weight"])
    with pytest.warns(UserWarning, match="truck takes those of large-vehicle"):
        mapped = Detector(RTMDET, path, "cpu", SMALL, ["truck", "ship"], class_map={"large-vehicle": "truck"})
    assert torch.equal(mapped.model.state_dict()[CLS], old[CLS][[1, 0]])
    with pytest.warns(UserWarning, match="truck takes those of large-vehicle"):
        renamed = Detector(RTMDET, path, "cpu", SMALL, class_map={"large-vehicle": "truck"})
    assert renamed.classes == ("ship", "truck", "plane")
    assert torch.equal(renamed.model.state_dict()[CLS], old[CLS])
    with pytest.raises(ValueError, match="expected a checkpoint with a class_map, got none"):
        Detector(RTMDET, None, "cpu", SMALL, class_map={"large-vehicle": "truck"})


def test_a_detector_that_knows_none_of_its_classes_says_so_once(tmp_path: Path, scenes: Any):
    path = saved(tmp_path, 2, ("ship", "plane"))
    with pytest.warns(UserWarning, match="a, b, c start at random"):
        detector = Detector(RTMDET, path, "cpu", SMALL, ["a", "b", "c"])
    assert (detector.untrained, detector.checkpoint) == (True, path)
    with pytest.warns(UserWarning, match="the detector's head has random weights") as caught:
        predict(detector, [scenes.images / "scene_0000.jpg"])
    assert [warning.filename for warning in caught if "head has random" in str(warning.message)] == [
        predict.__code__.co_filename
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predict(detector, [scenes.images / "scene_0000.jpg"])


WRONG = [("ship", "expected a sequence of class names, got 'ship'"), (["a", "b", "a"], "distinct non-empty strings")]


@pytest.mark.parametrize(("classes", "message"), WRONG)
def test_text_and_doubled_names_are_refused(quick: Any, tmp_path: Path, classes: Any, message: str):
    arguments = {**quick, "classes": classes, "work_dir": tmp_path}
    calls = [lambda: Detector(RTMDET, None, "cpu", SMALL, classes), lambda: finetune(**arguments)]
    calls += [lambda: configs.set_classes(configs.load(RTMDET), classes), lambda: training_config(**arguments)]
    for call in calls:
        with pytest.raises(ValueError, match=message):
            call()


def test_one_class_as_text_in_a_config():
    config = configs.load(RTMDET)
    config.train_dataloader.dataset.metainfo = {"classes": "ship"}
    with pytest.raises(ValueError, match=r"in the metainfo of train_dataloader, got the text 'ship'; .* \('ship',\)"):
        configs.dataset_classes(config)


def test_a_training_starts_from_other_classes_by_name(quick: Any, tmp_path: Path):
    path = saved(tmp_path, 3, ("court", "boat", "vehicle"))
    options = {**quick["cfg_options"], "optim_wrapper.optimizer.lr": 0.0, "train_cfg.max_iters": 1}
    options["param_scheduler"] = []
    arguments = {**quick, "cfg_options": options, "checkpoint": path, "class_map": {"boat": "ship"}}
    with pytest.warns(
        UserWarning, match="vehicle, court keep their weights; ship takes those of boat; plane, tank start"
    ):
        result = finetune(**arguments, work_dir=tmp_path / "work")
    old, new = read_weights(path)[CLS], read_weights(result.checkpoint)[CLS]
    assert synthetic.CLASSES == ("vehicle", "ship", "plane", "tank", "court")
    assert torch.equal(new[[0, 1, 4]], old[[2, 1, 0]])
    with pytest.raises(ValueError, match="holds a training with another class_map"):
        finetune(**{**arguments, "class_map": {"boat": "tank"}}, work_dir=tmp_path / "work")
