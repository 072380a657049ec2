"""Images that browsers do not show: people get PNGs of them, and no round is stuck for one that cannot be shown."""

from __future__ import annotations

import io

import numpy as np
import pytest
from helpers.noisy import CLASSES, NoisyLearner, labels_of
from PIL import Image

from al_rotate import ActiveLoop, images
from al_rotate.bridge import Connection, addresses


def picture_of(studio, task):
    """What the server hands to the browser."""
    return np.asarray(Image.open(io.BytesIO(studio.picture(task))))


@pytest.fixture
def truth():
    return labels_of(6)


@pytest.fixture
def photographs(studio, truth, tmp_path):
    """Two that browsers show, a TIFF of 11 bits, two of 8 bits, and one that does not decode."""
    folder = studio.root / tmp_path.name
    folder.mkdir()
    values = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    first, second, deep, deeper, fractions, broken = truth.image_ids
    Image.fromarray(values).save(folder / f"{first}.png")
    Image.fromarray(values).save(folder / f"{second}.jpg")
    Image.fromarray(values[..., 0].astype(np.uint16) * 8).save(folder / f"{deep}.tif")
    Image.fromarray(values).save(folder / f"{deeper}.tif", compression="tiff_lzw")
    Image.fromarray(values).save(folder / f"{fractions}.tif")
    Image.fromarray(values).save(folder / f"{broken}.tif", compression="tiff_lzw")
    with open(folder / f"{broken}.tif", "rb+") as file:  # the header stays; the first of its strips does not decode
        offset = Image.open(folder / f"{broken}.tif").tag_v2[273][0]
        file.seek(offset)
        file.write(b"\xff" * 4000)
    return folder


@pytest.mark.parametrize("source", ["local", "upload"])
def test_a_round_with_tiffs(studio, truth, photographs, tmp_path, source):
    *shown, fractions, broken = truth.image_ids.tolist()
    folder = tmp_path / "work"
    learner = NoisyLearner(truth)
    ActiveLoop(folder, photographs, CLASSES, budget=6, learner=learner).close()
    # Once the loop is there, an image becomes one that it would have refused.
    values = np.linspace(0, 1, 128 * 128, dtype=np.float32).reshape(128, 128)
    Image.fromarray(values).save(photographs / f"{fractions}.tif")
    studio.join(folder, CLASSES, **({} if source == "local" else {"images": "upload", "document_root": None}))
    project = Connection.load(folder).project
    files = images.find(photographs)
    with ActiveLoop(folder, learner=learner) as loop:
        loop.query()
        tasks = studio.by_image(project)
        assert sorted(tasks) == sorted(shown)
        for image_id in shown:
            np.testing.assert_array_equal(picture_of(studio, tasks[image_id]), images.read(files[image_id]))
            is_upload = tasks[image_id]["data"]["image"].startswith("/data/upload/")
            assert is_upload == (source == "upload" or files[image_id].suffix == ".tif")
            studio.submit_labels(tasks[image_id], truth[image_id])
        loop.collect()
        assert sorted(loop.workspace.labels().image_ids) == sorted(shown)
        assert sorted(loop.workspace.ids("skipped")) == sorted([fractions, broken])
        assert loop.workspace.rounds()[0].stage == "collected"
        np.testing.assert_allclose(loop.workspace.labels().subset(shown).boxes, truth.subset(shown).boxes, atol=1e-3)
    account = (folder / "rounds" / "000" / "account.csv").read_text(encoding="utf-8")
    assert "stretch=(2, 98)" in account


def test_a_store_has_no_renditions(studio, photographs, truth, tmp_path):
    files = images.find(photographs)
    project = studio.project(CLASSES)
    chosen = {image_id: files[image_id] for image_id in (truth.image_ids[0], truth.image_ids[3])}
    how = addresses("https://host/{image_id}{suffix}", renditions=tmp_path / "made")
    places = how.prepare(studio.client.api, project, chosen)
    assert places[truth.image_ids[0]] == f"https://host/{truth.image_ids[0]}.png"
    assert places[truth.image_ids[3]].startswith("/data/upload/")
    assert how.prepare(studio.client.api, project, chosen) == places
