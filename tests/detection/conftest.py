"""Images of many sizes, and a training of a few seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.detectors import RTMDET
from PIL import Image

from al_rotate.data import synthetic


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Twelve images of nine sizes, in an order that is not the alphabet's."""
    folder = tmp_path_factory.mktemp("mixed")
    files = {}
    sizes = [(128, 128), (200, 200), (150, 100), (100, 150), (64, 64), (97, 131), (260, 128), (31, 40), (128, 96)]
    for i, (width, height) in enumerate(sizes + sizes[:3]):
        picture, _, _ = synthetic.render(max(width, height, 64), 100 + i)
        suffix = "jpg" if i % 2 else "png"
        files[f"z{99 - i}"] = folder / f"{99 - i}.{suffix}"
        Image.fromarray(picture[:height, :width]).save(files[f"z{99 - i}"])
    return files


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The arguments of a training that takes a few seconds."""
    from al_rotate.detection.small_models import small_rtmdet

    folder = tmp_path_factory.mktemp("quick")
    labels = synthetic.write_dataset(folder, 8, 64, seed=1)
    options = {
        **small_rtmdet(64, iterations=6),
        "train_dataloader.batch_size": 2,
        "train_dataloader.num_workers": 0,
        "default_hooks.checkpoint.interval": 2,
    }
    return {
        "config": RTMDET,
        "images": folder / "images",
        "labels": labels,
        "classes": synthetic.CLASSES,
        "cfg_options": options,
    }
