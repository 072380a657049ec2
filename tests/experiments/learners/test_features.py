"""Stored features are those that a detector would compute from the pixels, in each view, and resume after a kill."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from al_rotate.data import RotatedInstances
from experiments.learners.features import CHANNELS, MIRRORED, STRIDES, prepare_tiles, write_features
from experiments.learners.pools.tile_pool import Recipe, TilePool
from experiments.learners.sandbox import StoredFeatures

SIZE = 64


class Levels(nn.Module):
    """A backbone of the right shape that looks at pixels: a convolution a level, its weights drawn once."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.levels = nn.ModuleList(nn.Conv2d(3, c, s, s) for c, s in zip(CHANNELS, STRIDES, strict=True))

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        return [level(images) for level in self.levels]


@pytest.fixture
def pool(tmp_path):
    """Five tiles of three photographs, of which the last is for tests; a side of theirs is 80 pixels."""
    rng = np.random.default_rng(0)
    ids = [f"{scene}__80__{x}___0" for scene, x in (("a", 0), ("a", 80), ("b", 0), ("b", 80), ("t", 0))]
    files = {image_id: tmp_path / f"{image_id}.png" for image_id in ids}
    for file in files.values():
        smooth = cv2.resize(rng.integers(0, 255, (5, 5, 3), np.uint8), (80, 80), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(file), smooth)
    labels = RotatedInstances.empty(ids, ("ship",)).replace(image_sizes=np.full((5, 2), 80))
    truth = RotatedInstances.empty(["a", "b", "t"], ("ship",))
    return TilePool(Recipe("photos", 80, SIZE), labels.replace(scores=None), files, truth, ["a", "b"], ["t"], [])


def fresh(backbone: nn.Module, pixels: np.ndarray) -> list[torch.Tensor]:
    """What the backbone makes of RGB pixels."""
    seen = cv2.resize(pixels, (SIZE, SIZE), interpolation=cv2.INTER_AREA).astype(np.float32)
    with torch.no_grad():
        return backbone(torch.from_numpy((seen - 127) / 128).permute(2, 0, 1)[None])


def test_stored_features_are_fresh_ones(pool, tmp_path):
    backbone = Levels().eval()
    sandbox = prepare_tiles(pool, tmp_path, backbone)
    assert sandbox.features.shape == (
        4 * 2 + 1,
        sum(c * (SIZE // s) ** 2 for c, s in zip(CHANNELS, STRIDES, strict=True)),
    )
    assert isinstance(sandbox.features, np.memmap)
    for image_id, file in pool.files.items():
        pixels = cv2.imread(str(file))[..., ::-1]
        for view in MIRRORED if image_id[0] != "t" else MIRRORED[:1]:
            stored = StoredFeatures(SIZE)(torch.from_numpy(sandbox.of(image_id, view)[None].copy()))
            for level, expected in zip(stored, fresh(backbone, view.pixels(np.ascontiguousarray(pixels))), strict=True):
                assert torch.allclose(level, expected, atol=0.01, rtol=0.01), (image_id, view.name)
    assert sandbox.scale["a__80__0___0"] == pytest.approx(0.8)
    assert sandbox.sizes["t__80__0___0"] == (SIZE, SIZE)


def test_a_killed_run_resumes(pool, tmp_path):
    backbone = Levels().eval()
    views = dict.fromkeys(pool.files, MIRRORED)
    write_features(tmp_path / "whole.npy", pool.files, views, SIZE, backbone)
    whole = np.load(tmp_path / "whole.npy")
    part = np.lib.format.open_memmap(tmp_path / "cut.part.npy", "w+", np.float16, whole.shape)
    part[:5] = whole[:5]  # the first two tiles, and the third in one of its views
    part.flush()
    (tmp_path / "cut.part.txt").write_text("5")
    seen = []
    write_features(
        tmp_path / "cut.npy", pool.files, views, SIZE, lambda images: seen.append(len(images)) or backbone(images)
    )
    assert seen == [5]
    assert np.array_equal(np.load(tmp_path / "cut.npy"), whole)
    assert not [*tmp_path.glob("cut.part*")]
