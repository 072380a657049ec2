"""The devices that a test runs on: ``pytest -m gpu`` runs what needs a GPU, and it is skipped where there is none."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

GPU = (pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))
DEVICES = ["cpu", pytest.param("cuda:0", marks=GPU)]
