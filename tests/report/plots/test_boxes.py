import io

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from al_rotate.boxes.convert import to_corners
from al_rotate.data.instances import RotatedInstances
from al_rotate.report import plots

PICTURE = np.full((60, 100, 3), 120, np.uint8)
CLASSES = ("ship", "plane", "court")
FOUND = RotatedInstances(
    ["a"], [0, 3], [[20, 20, 16, 8, 0.4], [60, 30, 20, 10, -0.5], [80, 40, 8, 8, 0]], [0, 1, 1], [0.9, 0.5, 0.2],
    classes=CLASSES,
)  # fmt: skip
TRUTH = RotatedInstances(["a"], [0, 1], [[21, 20, 16, 8, 0.4]], [2], classes=CLASSES)


@pytest.fixture
def ax():
    return Figure().subplots()


def draw(figure):
    figure.savefig(io.BytesIO(), format="png", dpi=30)


def outlines(ax):
    """The coloured outlines, each (its corners, its colour, whether it is dashed); every one lies on a dark twin."""
    drawn = []
    for dark, bright in zip(ax.collections[::2], ax.collections[1::2], strict=True):
        segments = bright.get_segments()
        assert np.array_equal(dark.get_segments(), segments)
        assert to_hex(dark.get_color()[0]) == "#000000"
        dashed = bright.get_linestyle()[0][1] is not None
        drawn += [(s, to_hex(c), dashed) for s, c in zip(segments, bright.get_color(), strict=True)]
    return drawn


def test_boxes_are_drawn_where_they_are(ax):
    assert plots.show_boxes(PICTURE, FOUND, TRUTH, ax, title="a") is ax
    truth, *solid = outlines(ax)
    assert [dashed for *_, dashed in (truth, *solid)] == [True, False, False, False]
    assert [colour for _, colour, _ in solid] == [plots.colour(k) for k in FOUND.labels]
    assert truth[1] == plots.colour(2)
    for (segment, *_), corners in zip(
        (truth, *solid), [*to_corners(TRUTH.boxes), *to_corners(FOUND.boxes)], strict=True
    ):
        assert segment == pytest.approx(np.concatenate([corners, corners[:1]]))
    assert ax.get_xlim() == (0, 100)
    assert ax.get_ylim() == (60, 0)  # y down
    assert ax.images[0].get_array().shape == PICTURE.shape
    assert ax.get_title(loc="left") == "a"


def test_scores_are_written_at_the_upper_corner(ax):
    plots.show_boxes(PICTURE, FOUND, ax=ax)
    assert [text.get_text() for text in ax.texts] == ["0.90", "0.50", "0.20"]
    for text, corners in zip(ax.texts, to_corners(FOUND.boxes), strict=True):
        assert text.get_position() == pytest.approx(corners[corners[:, 1].argmin()])


def test_faint_detections_are_left_out(ax):
    plots.show_boxes(PICTURE, FOUND, TRUTH, ax, least_score=0.5)
    assert [dashed for *_, dashed in outlines(ax)] == [True, False, False]
    assert [text.get_text() for text in ax.texts] == ["0.90", "0.50"]


def test_labels_as_what_was_found_have_no_scores(ax):
    plots.show_boxes(PICTURE, TRUTH, ax=ax, least_score=0.5)
    assert len(outlines(ax)) == 1
    assert not ax.texts


@pytest.mark.parametrize("nothing", [None, RotatedInstances.empty(["a"])])
def test_a_picture_without_boxes(ax, nothing):
    plots.show_boxes(PICTURE, nothing, nothing, ax)
    assert outlines(ax) == []
    draw(ax.figure)


def test_many_boxes_have_thin_lines_and_no_scores(ax):
    crowd = RotatedInstances(["a"], [0, 50], np.tile(FOUND.boxes[:1], (50, 1)), [0] * 50, [0.5] * 50)
    plots.show_boxes(PICTURE, crowd, ax=ax)
    sparse = plots.show_boxes(PICTURE, FOUND, ax=Figure().subplots())
    assert ax.collections[1].get_linewidth()[0] < sparse.collections[1].get_linewidth()[0]
    assert not ax.texts


def test_names_with_dollars_are_drawn_as_they_are(ax):
    strange = FOUND.replace(classes=(r"$\ship$", "plane", "court"))
    plots.show_boxes(PICTURE, strange, ax=ax, title=r"a$\b$")
    plots.class_legend(ax.figure, strange)
    draw(ax.figure)  # would raise on mathematics that it cannot read


def test_the_legend_names_what_is_shown():
    figure = Figure(layout="constrained")
    plots.class_legend(figure, FOUND.where([True, False, False]), TRUTH)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["ship", "court"]
    assert [to_hex(patch.get_facecolor()) for patch in legend.get_patches()] == [plots.colour(0), plots.colour(2)]
    numbered = plots.class_legend(Figure(layout="constrained"), FOUND.replace(classes=None))
    assert [text.get_text() for text in numbered.legends[0].get_texts()] == ["0", "1"]
    assert plots.class_legend(Figure(layout="constrained"), RotatedInstances.empty(["a"])).legends == []


def test_colours_are_distinct_and_come_round():
    assert len(set(plots.COLOURS)) == len(plots.COLOURS)
    assert plots.colour(len(plots.COLOURS) + 1) == plots.colour(1)


def test_without_axes_there_are_new_ones():
    from matplotlib import pyplot

    made = [plots.show_boxes(PICTURE, FOUND), plots.show_boxes(PICTURE, FOUND)]
    assert len({id(ax.figure) for ax in made}) == 2
    for ax in made:
        pyplot.close(ax.figure)
