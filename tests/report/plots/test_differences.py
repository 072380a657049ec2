"""Every kind of change on one image, worked by hand."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from al_rotate.data import RotatedInstances
from al_rotate.report import plots

PICTURE = np.full((100, 200, 3), 120, np.uint8)
CLASSES = ("ship", "plane")
PREDICTED = RotatedInstances(
    ["a"],
    [0, 5],
    [[20, 20, 20, 10, 0], [60, 20, 20, 10, 0], [100, 20, 20, 10, 0], [140, 20, 20, 10, 0], [180, 20, 20, 10, 0]],
    [0, 0, 0, 0, 0],
    [0.9, 0.8, 0.7, 0.6, 0.2],
    classes=CLASSES,
)
LABELS = RotatedInstances(  # the third predicted box has no label, the last label no box
    ["a"],
    [0, 4],
    [[140, 20, 20, 10, 0], [63, 21, 20, 10, 0], [20, 20, 20, 10, 0], [180, 80, 20, 10, 0]],
    [1, 0, 0, 0],
    classes=CLASSES,
)


def test_each_box_has_its_kind():
    found = plots.differences(PREDICTED, LABELS)
    assert found.predicted == ["kept", "moved", "deleted", "relabelled", "deleted"]
    assert found.labels == ["relabelled", "moved", "kept", "added"]
    assert found.counts() == {"kept": 1, "moved": 1, "relabelled": 1, "deleted": 2, "added": 1}


def test_a_box_that_is_moved_and_relabelled_is_relabelled():
    other = LABELS.replace(labels=[1, 1, 0, 0])
    assert plots.differences(PREDICTED, other).predicted == ["kept", "relabelled", "deleted", "relabelled", "deleted"]


def test_images_without_boxes():
    nothing = RotatedInstances.empty(["a"], CLASSES)
    assert plots.differences(nothing, LABELS) == ([], ["added"] * 4)
    assert plots.differences(PREDICTED, nothing) == (["deleted"] * 5, [])
    assert plots.differences(nothing, nothing).counts() == {}


def test_other_images_are_refused():
    with pytest.raises(ValueError, match="one and the same image"):
        plots.differences(PREDICTED, LABELS.replace(image_ids=["b"]))
    with pytest.raises(ValueError, match="one and the same image"):
        plots.differences(RotatedInstances.empty(["a", "b"]), RotatedInstances.empty(["a", "b"]))


def test_what_is_drawn():
    """Predicted boxes that changed are dashed, labels solid; what people were not shown is left out."""
    ax = plots.show_corrections(PICTURE, PREDICTED, LABELS, Figure().subplots(), "a")
    drawn = []
    for lines in ax.collections[1::2]:
        is_dashed = lines.get_linestyle()[0][1] is not None
        for segment, colour in zip(lines.get_segments(), lines.get_color(), strict=True):
            drawn.append((tuple(segment[:4].mean(axis=0).round().tolist()), to_hex(colour), is_dashed))
    kinds = plots.KIND_COLOURS
    assert drawn == [
        ((60, 20), kinds["moved"], True),
        ((100, 20), kinds["deleted"], True),
        ((140, 20), kinds["relabelled"], True),
        ((20, 20), kinds["kept"], False),
        ((63, 21), kinds["moved"], False),
        ((140, 20), kinds["relabelled"], False),
        ((180, 80), kinds["added"], False),
    ]
    assert ax.get_xlabel() == "1 kept, 1 moved, 1 relabelled, 1 deleted, 1 added"


def test_a_figure_of_its_own_has_a_legend():
    from matplotlib import pyplot

    ax = plots.show_corrections(PICTURE, PREDICTED, LABELS)
    (legend,) = ax.figure.legends
    assert legend.get_texts()[0].get_text() == "1 kept"
    pyplot.close(ax.figure)
