"""Which rows of a head belong to which class, on a model small enough to count them by hand, and on MMRotate's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.detectors import MANY_BOXES, predict, resnet18_options

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

import numpy as np  # noqa: E402
from torch import nn  # noqa: E402

from al_rotate.data import images  # noqa: E402
from al_rotate.detection import Detector, models  # noqa: E402
from al_rotate.detection.checkpoints import Checkpoint  # noqa: E402
from al_rotate.detection.checkpoints.class_rows import Adapted, ClassLayers, Rows, adapt, fits  # noqa: E402

CONVOLUTION = Rows(2, 0, by_anchor=True)
SOFTMAX, REGRESSION = Rows(1, 1, by_anchor=False), Rows(5, 0, by_anchor=False)


def build(n_classes: int) -> nn.Module:
    """A backbone; a dense head of two anchors; a softmax with a background and a box for each class."""
    parts = {"backbone": nn.Linear(2, 3), "dense": nn.Conv2d(3, 2 * n_classes, 1)}
    parts |= {"fc_cls": nn.Linear(3, n_classes + 1), "fc_reg": nn.Linear(3, 5 * n_classes)}
    return nn.ModuleDict(parts)


def numbered(n_classes: int, classes: tuple[str, ...] | None) -> Checkpoint:
    """Weights that are the numbers of their rows."""
    state = {
        name: torch.arange(len(weight), dtype=torch.float32)
        .view(-1, *[1] * (weight.ndim - 1))
        .expand(weight.shape)
        .clone()
        for name, weight in build(n_classes).state_dict().items()
    }
    return Checkpoint(Path("numbered.pth"), state, classes)


def rows_of(adapted: Adapted, name: str) -> list[float]:
    return adapted.checkpoint.state[f"{name}.bias"].tolist()


def zeroed(n_classes: int) -> nn.Module:
    model = build(n_classes)
    for weight in model.parameters():
        nn.init.constant_(weight, -1)
    return model


def test_layers_of_classes_are_found_and_counted():
    state = torch.random.get_rng_state()
    layers = ClassLayers(build, 4)
    assert torch.equal(torch.random.get_rng_state(), state)
    kinds = {"dense": CONVOLUTION, "fc_cls": SOFTMAX, "fc_reg": REGRESSION}
    assert layers.rows == {f"{name}.{part}": rows for name, rows in kinds.items() for part in ("weight", "bias")}
    assert layers.count(numbered(3, None)) == 3
    assert layers.count(Checkpoint(Path("other.pth"), {"dense.bias": torch.zeros(7)}, None)) is None
    mixed = {"dense.bias": torch.zeros(4), "fc_cls.bias": torch.zeros(4)}
    assert layers.count(Checkpoint(Path("mixed.pth"), mixed, None)) is None


def test_another_order():
    adapted = adapt(numbered(3, ("a", "b", "c")), zeroed(3), ("c", "a", "b"), build)
    assert rows_of(adapted, "dense") == [2, 0, 1, 5, 3, 4]
    assert rows_of(adapted, "fc_cls") == [2, 0, 1, 3]
    assert rows_of(adapted, "fc_reg") == [10, 11, 12, 13, 14, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert rows_of(adapted, "backbone") == [0, 1, 2]
    assert torch.equal(adapted.checkpoint.state["dense.weight"][:, 2, 0, 0], torch.tensor([2.0, 0, 1, 5, 3, 4]))
    assert (adapted.said, adapted.untrained) == ("", False)


def test_fewer_more_and_new_ones():
    adapted = adapt(numbered(3, ("a", "b", "c")), zeroed(4), ("new", "c", "d", "a"), build)
    assert rows_of(adapted, "dense") == [-1, 2, -1, 0, -1, 5, -1, 3]
    assert rows_of(adapted, "fc_cls") == [-1, 2, -1, 0, 3]
    assert adapted.sources == {"new": (), "c": ("c",), "d": (), "a": ("a",)}
    assert adapted.said == (
        "numbered.pth is of other classes: c, a keep their weights; new, d start at random; to start from one of the "
        "checkpoint's other classes, b, give e.g. class_map={'b': 'new'}"
    )
    assert rows_of(adapt(numbered(3, ("a", "b", "c")), zeroed(1), ("b",), build), "fc_cls") == [1, 3]


def test_a_map():
    checkpoint = numbered(3, ("large-vehicle", "ship", "small-vehicle"))
    adapted = adapt(checkpoint, zeroed(3), ("ship", "truck", "tree"), build, {"large-vehicle": "truck"})
    assert rows_of(adapted, "dense") == [1, 0, -1, 4, 3, -1]
    assert "truck takes those of large-vehicle; tree starts at random" in adapted.said
    both = {"large-vehicle": "vehicle", "small-vehicle": "vehicle"}
    adapted = adapt(checkpoint, zeroed(2), ("vehicle", "ship"), build, both)
    assert rows_of(adapted, "fc_cls") == [1, 1, 3]  # the mean of 0 and 2
    assert "vehicle takes those of large-vehicle and small-vehicle" in adapted.said
    for wrong, message in [({"car": "truck"}, r"numbered\.pth in class_map, .* got 'car'"), ({"ship": "x"}, "got 'x'")]:
        with pytest.raises(ValueError, match=message):
            adapt(checkpoint, zeroed(1), ("truck",), build, wrong)
    with pytest.raises(ValueError, match=r"names its classes with a class_map, numbered\.pth does not"):
        adapt(numbered(2, None), zeroed(1), ("truck",), build, {"car": "truck"})


def test_new_names_in_old_places():
    adapted = adapt(numbered(3, ("a", "b", "c")), zeroed(3), ("a", "beta", "c"), build)
    assert rows_of(adapted, "fc_cls") == [0, 1, 2, 3]
    assert adapted.said == "numbered.pth is of other classes: a, c keep their weights; beta takes those of b"
    # c has moved: so the places say nothing.
    assert rows_of(adapt(numbered(3, ("a", "b", "c")), zeroed(3), ("a", "c", "d"), build), "fc_cls") == [0, 2, -1, 3]


def test_weights_are_believed_more_than_names():
    coco = tuple(f"coco-{number}" for number in range(80))
    adapted = adapt(numbered(2, coco), zeroed(2), ("ship", "plane"), build)
    assert rows_of(adapted, "fc_cls") == [0, 1, 2]
    assert adapted.said.startswith("numbered.pth names 80 classes, coco-0, coco-1, ")
    assert adapted.said.endswith(
        "and 60 others, but its weights are for 2; they are taken for ship, plane, in this order"
    )
    adapted = adapt(numbered(2, coco), zeroed(3), ("ship", "plane", "coco-1"), build)
    assert adapted.untrained
    assert rows_of(adapted, "fc_cls") == [-1, -1, -1, 2]
    assert adapted.said.endswith("its weights are for 2: all classes start at random")
    assert adapt(numbered(2, None), zeroed(2), ("ship", "plane"), build).said == ""


def test_what_fits_already():
    checkpoint = numbered(2, ("a", "b"))
    assert fits(checkpoint, build(2), ("a", "b"))
    assert not fits(checkpoint, build(2), ("b", "a"))
    assert not fits(checkpoint, build(3), ("a", "b"))
    assert fits(numbered(2, None), build(2), ("b", "a"))


def require_same(before: Any, after: Any) -> None:
    """The same boxes with the same scores and the same names, in any order."""
    assert before.n_boxes == after.n_boxes > 20
    assert len({*before.labels}) > 1
    rows, moved = (np.lexsort((found.scores, found.image_index)) for found in (before, after))
    np.testing.assert_allclose(after.scores[moved], before.scores[rows], atol=1e-6)
    np.testing.assert_allclose(after.boxes[moved], before.boxes[rows], atol=1e-3)
    names, names_moved = (np.array(found.classes)[found.labels] for found in (before, after))
    assert (names_moved[moved] == names[rows]).all()


def test_a_trained_rtmdet_finds_the_same_in_another_order(finetuned: Any, detector: Detector, scenes: Any):
    turned = detector.classes[::-1]
    other = Detector(finetuned.config, finetuned.checkpoint, "cpu", MANY_BOXES, turned, "fp32", "torch")
    assert (other.classes, other.untrained) == (turned, False)
    require_same(predict(detector, scenes.images), predict(other, scenes.images))


NAMES = ("ship", "plane", "harbor", "bridge")
ROWS = {
    "oriented-rcnn-le90_r50_fpn_1x_dota": {Rows(1, 1, False)},
    "rotated-fcos-le90_r50_fpn_1x_dota": {Rows(1, 0, True)},
    "rotated-retinanet-rbox-le90_r50_fpn_1x_dota": {Rows(9, 0, True)},  # nine anchors
    "roi-trans-le90_r50_fpn_1x_dota": {
        Rows(1, 1, False),
        Rows(5, 0, False),
    },  # boxes for each class in its second stage
}


@pytest.mark.parametrize("name", ROWS)
def test_other_heads_find_the_same_in_another_order(name: str, scenes: Any, tmp_path: Path):
    options = resnet18_options(name)
    torch.manual_seed(1)
    original = Detector(name, None, "cpu", options, NAMES, "fp32", "torch")
    layers = ClassLayers(lambda count: models.build(original.config, count), 4).rows
    assert {*layers.values()} == ROWS[name]
    for layer in layers:
        if layer.endswith("weight") and "reg" not in layer:  # scores far enough apart to have one order
            original.model.get_parameter(layer).data *= 30
    path = original.save(tmp_path / "original.pth")
    turned = Detector(name, path, "cpu", options, ("bridge", "ship", "harbor", "plane"), "fp32", "torch")
    few = list(images.find(scenes.images).values())[:3]
    require_same(predict(original, few), predict(turned, few))
