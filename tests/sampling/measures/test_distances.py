"""Distances between images by their objects: by hand, and against the plain double loop."""

import numpy as np
import pytest

from al_rotate.data.instances import RotatedInstances
from al_rotate.sampling.measures import distances
from al_rotate.sampling.measures.distances import category_matching, gain, gradients


def detections(images, features, classes=None):
    """{image id: [(label, score), ...]} with a feature a box."""
    rows = [row for boxes in images.values() for row in boxes]
    offsets = np.cumsum([0, *(len(boxes) for boxes in images.values())])
    labels, scores = [label for label, _ in rows], [score for _, score in rows]
    boxes = np.tile([50, 50, 20, 10, 0], (len(rows), 1))
    return RotatedInstances(list(images), offsets, boxes, labels, scores, class_scores=classes, box_features=features)


class TestCategoryMatching:
    def test_by_hand(self):
        """a holds a ship along x (0.5) and a plane (0.25), b a ship along y (1.0), c a ship at 45 degrees (0.5)."""
        pool = detections(
            {"a": [(0, 0.5), (1, 0.25)], "b": [(0, 1.0)], "c": [(0, 0.5)]},
            [[2.0, 0.0], [0.0, 1.0], [0.0, 3.0], [1.0, 1.0]],
        )
        near = 1 - np.sqrt(0.5)
        a_to_b = (0.5 * 1 + 0.25 * 2) / 0.75  # the ships are at right angles, nobody else shows a plane
        a_to_c = (0.5 * near + 0.25 * 2) / 0.75
        expected = [
            [0, (a_to_b + 1) / 2, (a_to_c + near) / 2],
            [(a_to_b + 1) / 2, 0, near],
            [(a_to_c + near) / 2, near, 0],
        ]
        np.testing.assert_allclose(category_matching(pool), expected, rtol=1e-6)

    def test_images_without_a_box(self):
        pool = detections({"a": [], "b": [(0, 0.5)], "c": []}, [[1.0, 0.0]])
        assert category_matching(pool).tolist() == [[0, 2, 0], [2, 0, 2], [0, 2, 0]]
        assert category_matching(pool.subset(["a", "c"])).tolist() == [[0, 0], [0, 0]]

    @pytest.mark.parametrize("most", [3, 100])
    def test_against_the_double_loop(self, most):
        rng = np.random.default_rng(0)
        counts = rng.integers(0, 9, 25)
        rows = [[(int(rng.integers(4)), float(rng.random())) for _ in range(n)] for n in counts]
        pool = detections({f"{i:02d}": boxes for i, boxes in enumerate(rows)}, rng.normal(size=(counts.sum(), 8)))
        images = []
        for _, image in pool:
            best = np.argsort(-image.scores, kind="stable")[:most]
            lengths = np.linalg.norm(image.box_features[best], axis=1, keepdims=True)
            images.append((image.labels[best], image.scores[best], image.box_features[best] / lengths))

        def way(a, b):
            far = [min(1 - b[2][b[0] == k] @ f, default=2) for k, f in zip(a[0], a[2], strict=True)]
            return np.sum(a[1] * far) / np.sum(a[1])

        for i, a in enumerate(images):
            for j, b in enumerate(images):
                if i != j and len(a[0]) and len(b[0]):
                    assert category_matching(pool, most)[i, j] == pytest.approx((way(a, b) + way(b, a)) / 2, abs=1e-6)
            if i > 4:
                break

    def test_without_features(self):
        with pytest.raises(ValueError, match=r"expected detections with scores and box_features, got .*: predict\(fea"):
            category_matching(detections({"a": [(0, 1.0)]}, None))


class TestGradients:
    def test_by_hand(self):
        """(p - y) f, summed over the boxes: (0.5 - 1, 0.25) x (1, 2) + (0, 1 - 1) x (4, 4)."""
        pool = detections({"a": [(0, 0.5), (1, 1.0)], "b": []}, [[1.0, 2.0], [4.0, 4.0]], [[0.5, 0.25], [0.0, 1.0]])
        made = gradients(pool, np.random.default_rng(0))
        assert made.tolist() == [[-0.5, -1.0, 0.25, 0.5], [0, 0, 0, 0]]

    def test_wide_features_keep_their_distances(self):
        rng = np.random.default_rng(1)
        features, scores = rng.normal(size=(60, 2000)), rng.random((60, 2))
        pool = detections({f"{i}": [(0, 0.5)] for i in range(60)}, features, scores)
        made = gradients(pool, rng)
        assert made.shape == (60, 1024)
        wrong = scores - [1, 0]
        exact = (wrong[:, :, None] * features[:, None]).reshape(60, -1)
        distances_before = np.linalg.norm(exact[:30] - exact[30:], axis=1)
        np.testing.assert_allclose(np.linalg.norm(made[:30] - made[30:], axis=1), distances_before, rtol=0.15)

    def test_no_boxes_and_no_columns(self):
        rng = np.random.default_rng(0)
        assert not gradients(detections({"a": [], "b": []}, []), rng).any()
        with pytest.raises(ValueError, match="expected detections with class_scores and box_features, got"):
            gradients(detections({"a": [(0, 0.5)]}, [[1.0]]), rng)


@pytest.mark.parametrize("block", [4, 1024])
def test_gain_against_a_loop(block, monkeypatch):
    """Each pick's distance from all that was known or picked before it, however the picks are cut into blocks."""
    monkeypatch.setattr(distances, "_BLOCK", block)
    rng = np.random.default_rng(0)
    features, labelled, rows = rng.normal(size=(40, 3)), rng.normal(size=(5, 3)), rng.permutation(40)[:11]
    for covered in (labelled, labelled[:0], None):
        expected = np.full(40, np.nan)
        for k, row in enumerate(rows):
            before = [*(labelled if covered is labelled else []), *features[rows[:k]]]
            expected[row] = min((np.linalg.norm(features[row] - other) for other in before), default=np.nan)
        np.testing.assert_allclose(gain(features, rows, covered), expected)
