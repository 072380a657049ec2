"""Loops on TIFFs: those that need no choice are taken as they are, others are refused with the command that helps."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.noisy import CLASSES, NoisyLearner, labels_of
from PIL import Image

from al_rotate import ActiveLoop, images


@pytest.fixture
def truth():
    return labels_of(4)


@pytest.fixture
def pool(truth, tmp_path):
    """Four TIFFs of 11 bits."""
    folder = tmp_path / "pool"
    folder.mkdir()
    values = np.random.default_rng(0).integers(0, 2048, (128, 128), np.uint16)
    for image_id in truth.image_ids:
        Image.fromarray(values).save(folder / f"{image_id}.tif")
    return folder


def fractions(path):
    Image.fromarray(np.linspace(0, 1, 128 * 128, dtype=np.float32).reshape(128, 128)).save(path)
    return path


def test_what_needs_a_choice_is_refused_at_the_start(truth, pool, tmp_path):
    with ActiveLoop(tmp_path / "good", pool, CLASSES, learner=NoisyLearner(truth)) as loop:
        assert loop.workspace.counts()["unlabelled"] == 4
        more = tmp_path / "more"
        more.mkdir()
        fractions(more / "f.tif")
        labels = labels_of(1).replace(image_ids=["f"])
        for change in (lambda: loop.add_images(more), lambda: loop.set_test(more, labels)):
            with pytest.raises(
                images.UndecidedImage, match=r"f\.tif: .*stretch=\(2, 98\)\. Make PNGs .*al-rotate render"
            ):
                change()
        assert loop.workspace.counts()["unlabelled"] == 4
    fractions(pool / f"{truth.image_ids[2]}.tif")
    with pytest.raises(images.UndecidedImage, match=rf"{truth.image_ids[2]}\.tif: .*al-rotate render"):
        ActiveLoop(tmp_path / "work", pool, CLASSES, learner=NoisyLearner(truth))
    assert not (tmp_path / "work").exists()
    rendered = images.render(pool, tmp_path / "pngs", stretch=(2, 98))
    with ActiveLoop(tmp_path / "work", rendered, CLASSES, learner=NoisyLearner(truth)) as loop:
        assert loop.workspace.counts()["unlabelled"] == 4


def test_broken_files_are_left_to_whoever_uses_them(pool):
    (pool / "broken.tif").write_bytes(b"II*\0 and nothing more")
    images.require_decided([*images.find(pool).values(), pool / "gone.tif"])
    files = [fractions(pool / f"f{number:03d}.tif") for number in range(30)]
    with pytest.raises(images.UndecidedImage, match=r"f000\.tif"):
        images.require_decided(files)
