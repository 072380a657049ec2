import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from al_rotate.boxes.drawing import ink
from al_rotate.evaluation.calibration import reliability
from al_rotate.report import plots

CLASSES = ("ship", "plane", "court")


@pytest.fixture
def ax():
    return Figure().subplots()


HISTORY = pd.DataFrame(
    {
        "round": [0, 1, 2],
        "n_labelled": [10, 20, 30],
        "n_boxes": [50, 120, 180],
        "cost": [1800.0, 3600.0, 9000.0],
        "mAP": [0.2, 0.4, np.nan],  # the last round is not trained yet
        "AP/ship": [0.1, 0.2, np.nan],
        "AP/court": [0.3, 0.9, np.nan],
    }
)


@pytest.mark.parametrize(
    ("x", "along", "label"),
    [
        ("n_labelled", [10, 20], "labelled images"),
        ("n_boxes", [50, 120], "labelled boxes"),
        ("cost", [0.5, 1.0], "labelling time, hours (estimated)"),
    ],
)
def test_learning_curve(ax, x, along, label):
    assert plots.learning_curve(HISTORY, x, ax=ax, label="entropy", color="#ff0000") is ax
    (line,) = ax.lines
    assert line.get_xydata().tolist() == [[along[0], 0.2], [along[1], 0.4]]
    assert (line.get_label(), line.get_color()) == ("entropy", "#ff0000")
    assert (ax.get_xlabel(), ax.get_ylabel()) == (label, "mAP")
    assert ax.yaxis.get_major_formatter().format_pct(0.4, 0.5) == "40%"


def test_curves_in_one_picture_are_all_whole(ax):
    plots.learning_curve(HISTORY, y="AP/court", ax=ax)
    plots.learning_curve(HISTORY, y="AP/ship", ax=ax)
    low, high = ax.get_ylim()
    assert low == 0
    assert high > 0.9
    plots.class_curves(HISTORY, CLASSES, ax=(other := Figure().subplots()))
    assert other.get_ylim() == (low, high)


def test_class_curves(ax):
    plots.class_curves(HISTORY, CLASSES, "n_boxes", ax)
    assert [line.get_label() for line in ax.lines] == ["ship", "court"]  # nobody measured the plane
    assert [to_hex(line.get_color()) for line in ax.lines] == [ink(0), ink(2)]
    assert ax.lines[1].get_xydata().tolist() == [[50, 0.3], [120, 0.9]]
    assert ax.get_ylabel() == "AP"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["ship", "court"]


def test_white_is_grey_on_white(ax):
    white = plots.COLOURS.index("#ffffff")
    names = [f"class {k}" for k in range(white + 1)]
    plots.class_curves(HISTORY.rename(columns={"AP/ship": f"AP/{names[-1]}"}), names, ax=ax)
    assert to_hex(ax.lines[0].get_color()) == "#8c8c8c"


def test_curves_of_a_loop_that_measured_nothing(ax):
    for draw in (
        lambda: plots.learning_curve(HISTORY.drop(columns="mAP"), ax=ax),
        lambda: plots.learning_curve(HISTORY.iloc[:0], ax=ax),
        lambda: plots.learning_curve(HISTORY.iloc[2:], ax=ax),
    ):
        assert all(line.get_xydata().size == 0 for line in draw().lines)
    plots.class_curves(HISTORY, ["gull"], ax=(other := Figure().subplots()))
    assert not other.lines
    assert other.get_legend() is None


def test_class_names_with_dollars_are_drawn_as_they_are(ax):
    plots.class_curves(HISTORY.rename(columns={"AP/ship": r"AP/$\ship$"}), [r"$\ship$", "plane"], ax=ax)
    ax.figure.savefig(io.BytesIO(), format="png", dpi=30)  # would raise on mathematics that it cannot read


def test_curves_of_several_loops_differ_in_colour_and_marker(ax):
    half = HISTORY.assign(mAP=HISTORY["mAP"] / 2)
    plots.learning_curves({"entropy": HISTORY, r"$\random$": half}, ax=ax)
    assert [line.get_xydata().tolist() for line in ax.lines] == [[[0.5, 0.2], [1.0, 0.4]], [[0.5, 0.1], [1.0, 0.2]]]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["entropy", r"$\random$"]
    assert len({line.get_color() for line in ax.lines}) == len({line.get_marker() for line in ax.lines}) == 2
    ax.figure.savefig(io.BytesIO(), format="png", dpi=30)


def test_reliability_diagram(ax):
    """Two bins with boxes of ten: bars as high as the share that is right, the one of few boxes paler."""
    table = reliability([0.15, 0.15, 0.15, 0.85], np.array([True, False, False, True]))
    plots.reliability_diagram(table, ax)
    assert [(bar.get_height(), bar.get_x() + bar.get_width() / 2) for bar in ax.patches] == [
        pytest.approx((1 / 3, 0.15)),
        pytest.approx((1, 0.85)),
    ]
    assert ax.patches[1].get_facecolor()[3] < ax.patches[0].get_facecolor()[3]
    assert ax.lines[-1].get_xdata().tolist() == pytest.approx([0.15, 0.85])
    ax.figure.savefig(io.BytesIO(), format="png", dpi=30)
