"""The ops in PyTorch that S2ANet and focal losses need, against mmcv's compiled ones and MMDetection's formulas."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

import mmcv._ext as extension  # noqa: E402
from mmcv.ops import DeformConv2d, active_rotated_filter, sigmoid_focal_loss  # noqa: E402
from mmdet.models.losses.focal_loss import py_sigmoid_focal_loss  # noqa: E402
from mmrotate.models.utils import ORConv2d  # noqa: E402
from torch import Tensor  # noqa: E402

from al_rotate.detection.openmmlab import pytorch_layers  # noqa: E402


@pytest.fixture
def in_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    """mmcv's layers call the ops in PyTorch."""
    for op in pytorch_layers.OPS:
        monkeypatch.setattr(extension, op.__name__, op)


def gradients(output: Tensor, *inputs: Tensor) -> list[Tensor]:
    weights = torch.linspace(-1, 1, output.numel()).view_as(output)
    return [output.detach(), *torch.autograd.grad((output * weights).sum(), inputs)]


@pytest.mark.parametrize(
    "settings", [{}, {"stride": 2, "padding": 1}, {"dilation": 2, "padding": 2, "groups": 2, "deform_groups": 3}]
)
def test_deformable_convolutions(settings: dict[str, int], request: pytest.FixtureRequest):
    torch.manual_seed(0)
    layer = DeformConv2d(6, 4, (3, 1) if not settings else 3, **settings)
    image = torch.randn(2, 6, 11, 9, requires_grad=True)
    height, width = layer_size(layer, image)
    n_offsets = 2 * settings.get("deform_groups", 1) * layer.weight[0, 0].numel()
    offset = (2 * torch.randn(2, n_offsets, height, width)).requires_grad_()
    expected = gradients(layer(image, offset), image, offset, layer.weight)
    request.getfixturevalue("in_pytorch")
    found = gradients(layer(image, offset), image, offset, layer.weight)
    assert expected[0].abs().max() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def layer_size(layer: DeformConv2d, image: Tensor) -> list[int]:
    like = torch.nn.Conv2d(6, 4, layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups)
    return list(like(image).shape[2:])


def test_turned_filters(request: pytest.FixtureRequest):
    torch.manual_seed(0)
    layer = ORConv2d(3, 5, 3, arf_config=(2, 8))
    expected = gradients(active_rotated_filter(layer.weight, layer.indices), layer.weight)
    request.getfixturevalue("in_pytorch")
    found = gradients(active_rotated_filter(layer.weight, layer.indices), layer.weight)
    assert found[0].shape == (40, 6, 3, 3)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (1.5, 0.6)])
@pytest.mark.usefixtures("in_pytorch")
def test_focal_loss(gamma: float, alpha: float):
    """mmcv has it for GPUs only; MMDetection's own formula serves CPUs."""
    torch.manual_seed(0)
    logits = (3 * torch.randn(50, 4)).requires_grad_()
    classes = torch.arange(50) % 5  # the fifth is the background
    one_hot = torch.nn.functional.one_hot(classes, 5)[:, :4]
    expected = gradients(py_sigmoid_focal_loss(logits, one_hot, None, gamma, alpha, "none"), logits)
    found = gradients(sigmoid_focal_loss(logits, classes, gamma, alpha, None, "none"), logits)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)
    per_class = torch.tensor([1.0, 2.0, 3.0, 4.0])
    weighted = sigmoid_focal_loss(logits, classes, gamma, alpha, per_class, "none")
    torch.testing.assert_close(weighted[:5], found[0][:5] * torch.tensor([1.0, 2, 3, 4, 1])[:, None])
    assert not sigmoid_focal_loss(torch.tensor([[200.0], [-200.0]]), torch.tensor([1, 1])).isnan()
