"""Detections in flipped, turned, scaled and noisy views, mapped back."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.detectors import close, predict

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from al_rotate import boxes  # noqa: E402
from al_rotate.data import images  # noqa: E402
from al_rotate.data.views import View  # noqa: E402
from al_rotate.detection import Detector  # noqa: E402

VIEWS = (View(), View(flip=True), View(True, 1), View(degrees=5, scale=0.8, noise=4))


def test_what_is_seen_in_each_view_comes_back(detector: Detector, mixed):
    """As if each view had been made and predicted on alone, and its boxes mapped back by hand."""
    detections = detector.predict_views(mixed, VIEWS, progress=False, batch_size=3)
    assert close(detections[0], predict(detector, mixed))
    for view, part in zip(VIEWS[1:3], detections[1:3], strict=True):
        viewed = {i: view.pixels(images.read(file))[..., ::-1] for i, file in mixed.items()}
        alone = predict(detector, viewed.items())
        assert part.image_ids.tolist() == list(mixed)
        np.testing.assert_allclose(part.scores, alone.scores, atol=1e-4)
        assert [images.size(mixed[i]) for i in mixed] == list(map(tuple, part.image_sizes.tolist()))
        for (image_id, image), (_, view_alone) in zip(part, alone, strict=True):
            in_view = view.boxes(image.boxes, *images.size(mixed[image_id]))
            np.testing.assert_allclose(boxes.iou(in_view, view_alone.boxes, paired=True), 1, atol=1e-3)
    assert detections[3].n_boxes > 0
    again = detector.predict_views(mixed, VIEWS, progress=False, batch_size=3)
    assert again[3] == detections[3]  # noise and all


def test_arrays_broken_files_and_a_kill(detector: Detector, mixed, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(next(iter(mixed.values())).read_bytes()[:60])
    files = dict(list(mixed.items())[:3]) | {"broken": broken}
    with pytest.warns(UserWarning, match="2 images could not be read"):
        detections = detector.predict_views(files, VIEWS[1:3], progress=False, out=tmp_path / "out")
    assert [part.image_ids.tolist() for part in detections] == [list(files)[:3]] * 2
    assert [list(part.skipped) for part in detections] == [["broken"]] * 2
    with pytest.warns(UserWarning, match="2 images could not be read"):
        assert detector.predict_views(files, VIEWS[1:3], progress=False, out=tmp_path / "out") == detections
    arrays = [(i, np.ascontiguousarray(images.read(file)[..., ::-1])) for i, file in list(mixed.items())[:3]]
    of_arrays = detector.predict_views(arrays, VIEWS[1:3], progress=False)
    assert all(close(a, b.replace(skipped={})) for a, b in zip(of_arrays, detections, strict=True))


def test_views_must_be_distinct(detector: Detector, mixed):
    for views in ((), (View(), View(quarters=4))):
        with pytest.raises(ValueError, match="expected distinct views, got"):
            detector.predict_views(mixed, views)
