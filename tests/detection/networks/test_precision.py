"""How networks are cast to bfloat16, and back."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from torch import Tensor, nn  # noqa: E402

from al_rotate.detection.networks import precision  # noqa: E402


class Model(nn.Module):
    """A detector as far as this module is concerned: a backbone."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Watched(4, 4)


class Watched(nn.Linear):
    """Notes whether casts of weights are kept, and in what it computes."""

    noted: Any = None

    def forward(self, values: Tensor) -> Tensor:
        found = super().forward(values)
        self.noted = torch.is_autocast_cache_enabled(), found.dtype
        return found


def test_backbone_in_bfloat16_and_its_outcome_in_float32():
    model = Model()
    values = torch.rand(2, 4)
    expected = model.backbone(values)
    with precision.bf16(model, "cpu"):
        found = model.backbone(values)
    assert model.backbone.noted == (True, torch.bfloat16)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0.02)
    assert not torch.equal(found, expected)
    assert torch.equal(model.backbone(values), expected)


def test_streams_of_a_gpu_share_no_cast_weights():
    """PyTorch keeps them for the whole process: one stream could read what another has yet to write."""
    model = Model()
    with warnings.catch_warnings(), precision.bf16(model, "cuda"):
        warnings.simplefilter("ignore")  # where there is no GPU nothing is cast
        model.backbone(torch.rand(2, 4))
    assert model.backbone.noted[0] is False
