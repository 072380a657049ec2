import io

import numpy as np
import pytest
from matplotlib.figure import Figure

from al_rotate.data import RotatedInstances
from al_rotate.report import plots

CLASSES = ("ship", r"$\plane$", "court")
LABELS = RotatedInstances(["a"], [0, 4], [[9, 9, 4, 4, 0]] * 3 + [[9, 9, 16, 16, 0]], [0, 0, 0, 2], classes=CLASSES)
FOUND = RotatedInstances(
    ["b"], [0, 3], [[9, 9, 8, 2, 0.4]] * 3, [1, 1, 2], [0.9, 0.8, 0.1], classes=CLASSES
)  # the last is too faint to count


@pytest.fixture
def ax():
    return Figure().subplots()


def names(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def draw(ax):
    ax.figure.savefig(io.BytesIO(), format="png", dpi=30)


def test_shares_of_classes(ax):
    assert plots.class_histogram({"labels": LABELS, "detections": FOUND}, ax) is ax
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["ship", r"$\plane$", "court"]
    labels, found = ([bar.get_width() for bar in bars] for bars in ax.containers)
    assert labels == [75, 0, 25]
    assert found == [0, 100, 0]
    assert names(ax) == ["labels: 4 boxes", "detections: 2 boxes"]
    assert ax.containers[0][0].get_hatch() != ax.containers[1][0].get_hatch()
    draw(ax)


def test_numbers_and_rare_classes(ax):
    many = tuple(f"class {k}" for k in range(30))
    labels = RotatedInstances(["a"], [0, 31], [[9, 9, 4, 4, 0]] * 31, [*range(30), 7], classes=many)
    plots.class_histogram({"labels": labels}, ax, share=False)
    ticks = [tick.get_text() for tick in ax.get_yticklabels()]
    assert (ticks[0], ticks[-1], len(ticks)) == ("class 7", "11 more", 20)
    assert [bar.get_width() for bar in ax.containers[0]] == [2, *[1] * 18, 11]


def test_sizes(ax):
    plots.size_histogram({"labels": LABELS, "detections": FOUND}, ax)
    labels, found = (patch.get_data() for patch in ax.patches)
    assert labels.values.sum() == pytest.approx(100)
    assert sorted(labels.values[labels.values > 0]) == [25, 75]
    assert labels.edges[0] < 4 < 16 < labels.edges[-1]
    (at,) = np.flatnonzero(found.values)
    assert labels.edges[at] <= 4 <= labels.edges[at + 1]  # the side of a square as large as 8 x 2
    assert names(ax) == ["labels, median 4 px", "detections, median 4 px"]
    draw(ax)


def test_sets_without_boxes(ax):
    nothing = RotatedInstances.empty(["a"], CLASSES)
    plots.class_histogram({"labels": nothing}, ax)
    plots.size_histogram({"labels": nothing}, other := Figure().subplots())
    draw(ax)
    draw(other)
    for histogram in (plots.class_histogram, plots.size_histogram):
        with pytest.raises(ValueError, match="one set of boxes"):
            histogram({})
    with pytest.raises(ValueError, match="same classes"):
        plots.class_histogram({"a": LABELS, "b": FOUND.replace(classes=("x", "y", "z"))})


def test_the_map_keeps_distances_of_features_in_a_plane(ax):
    """Points in a plane of a space of five dimensions: their map is that plane, turned."""
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(12, 2)) * [9, 2]
    basis = np.linalg.qr(rng.normal(size=(5, 5)))[0][:2]
    ids = [f"image{k}" for k in range(12)]
    pool = RotatedInstances.empty(ids).replace(image_features=plane @ basis + 3)
    plots.feature_map(pool, {"entropy": ids[:3], "core-set": ids[3:5]}, ids[10:], ax)
    points, labelled, entropy, core_set = (np.asarray(part.get_offsets()) for part in ax.collections)
    distances = np.linalg.norm(plane[:, None] - plane, axis=2)
    np.testing.assert_allclose(np.linalg.norm(points[:, None] - points, axis=2), distances, atol=1e-4)
    for part, rows in ((labelled, slice(10, 12)), (entropy, slice(3)), (core_set, slice(3, 5))):
        np.testing.assert_array_equal(part, points[rows])
    assert names(ax) == ["pool: 12 images", "labelled before: 2", "entropy: 3", "core-set: 2"]
    variance = np.linalg.eigvalsh(np.cov(plane.T))
    assert ax.get_xlabel() == f"first principal component ({variance[1] / variance.sum():.0%} of the variance)"
    draw(ax)


def test_a_map_needs_features(ax):
    with pytest.raises(ValueError, match="predict\\(features=True\\)"):
        plots.feature_map(FOUND, ["b"], ax=ax)
    pool = RotatedInstances.empty(["a", "b"]).replace(image_features=[[1.0], [2.0]])
    plots.feature_map(pool, ["a"], ax=ax)  # of one dimension
    with pytest.raises(KeyError, match="'z'"):
        plots.feature_map(pool, ["z"], ax=ax)
