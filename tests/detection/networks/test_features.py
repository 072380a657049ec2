from __future__ import annotations

import numpy as np
import pytest
from helpers.detectors import predict

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from al_rotate.data import images  # noqa: E402
from al_rotate.detection import Detector  # noqa: E402
from al_rotate.detection.networks import features  # noqa: E402


def test_pooling_by_hand():
    """Levels that hold the x and y of each of their pixels, in a picture of 64 x 32."""
    levels = []
    for stride in (8, 16):
        y, x = np.mgrid[0 : 32 // stride, 0 : 64 // stride]
        levels.append(torch.tensor(np.stack([x, y]) * stride + stride / 2))
    centres = torch.tensor([[20.0, 12.0], [33.0, 16.0], [0.0, 32.0]], dtype=torch.float64)
    image, at_boxes = features.pool(levels, centres, (64, 32))
    assert image.tolist() == [32, 16]
    # The corner lies beyond the outermost pixels' middles: 4 and 8, 28 and 24.
    np.testing.assert_allclose(at_boxes, [[20, 12], [33, 16], [6, 26]])


def test_no_centres_no_rows():
    image, at_boxes = features.pool([torch.ones(3, 2, 2)], torch.zeros(0, 2), (8, 8))
    assert (image.tolist(), tuple(at_boxes.shape)) == ([1, 1, 1], (0, 3))


def test_levels_of_different_widths_are_refused():
    with pytest.raises(NotImplementedError, match="same number of channels"):
        features.pool([torch.ones(3, 2, 2), torch.ones(4, 1, 1)], torch.zeros(0, 2), (8, 8))


@pytest.mark.parametrize("which", ["detector", "two_stage"])
def test_one_vector_an_image_and_a_box(which: str, request: pytest.FixtureRequest, scenes):
    detector = request.getfixturevalue(which)
    detections = predict(detector, scenes.images, features=True)
    width = {"detector": 64, "two_stage": 256}[which]
    assert detections.image_features.shape == (16, width)
    assert detections.box_features.shape == (detections.n_boxes, width)
    assert len(np.unique(detections.image_features, axis=0)) == 16
    assert detections.replace(image_features=None, box_features=None) == predict(detector, scenes.images)


def test_the_vectors_are_those_of_the_necks_maps(detector: Detector, scenes):
    """At twice the network's size, so that boxes and maps are on different scales."""
    array = np.repeat(np.repeat(images.read(scenes.images / "scene_0003.jpg"), 2, axis=0), 2, axis=1)[..., ::-1]
    detections = predict(detector, [array], features=True)
    data = detector._prepare(("0", np.ascontiguousarray(array)))
    prepared = detector.model.data_preprocessor({"inputs": [data["inputs"]], "data_samples": [data["data_samples"]]})
    with torch.no_grad():
        levels = detector.model.extract_feat(prepared["inputs"])
    np.testing.assert_allclose(
        detections.image_features[0],
        np.mean([level[0].mean(dim=(1, 2)).numpy() for level in levels], axis=0),
        atol=1e-5,
    )
    assert detections.n_boxes > 0
    for box, vector in zip(detections.boxes, detections.box_features, strict=True):
        sampled = []
        for level, stride in zip(levels, (8, 16, 32), strict=True):
            _, height, width = level[0].shape
            x, y = np.clip(box[:2] / 2 / stride - 0.5, 0, [width - 1, height - 1])
            left, top = min(int(x), width - 2), min(int(y), height - 2)
            u, v = x - left, y - top
            patch = level[0, :, top : top + 2, left : left + 2].numpy()
            sampled.append(((1 - v) * patch[:, 0] + v * patch[:, 1]) @ [1 - u, u])
        np.testing.assert_allclose(vector, np.mean(sampled, axis=0), atol=1e-4)
