"""Sheets of many images, on pictures of one colour each."""

import io

import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from al_rotate import rank
from al_rotate.data import RotatedInstances
from al_rotate.evaluation.label_errors import find_label_errors
from al_rotate.report import plots

CLASSES = ("ship", r"$\plane$")
IDS = ["a", "b", "<c>", "d$e$"]
FOUND = RotatedInstances(
    IDS,
    [0, 1, 3, 4, 4],
    [[20, 20, 16, 8, 0], [20, 20, 16, 8, 0], [50, 40, 10, 10, 0.3], [30, 30, 12, 6, 0.5]],
    [0, 0, 1, 1],
    [0.5, 0.9, 0.2, 0.6],
    classes=CLASSES,
)


@pytest.fixture
def files(tmp_path):
    files = {image_id: tmp_path / f"{k}.png" for k, image_id in enumerate(IDS)}
    for k, file in enumerate(files.values()):
        Image.new("RGB", (80, 60), (40 * k, 90, 90)).save(file)
    return files


def shown(axes):
    return [ax for ax in axes.flat if ax.get_visible()]


def draw(axes):
    axes.flat[0].figure.savefig(io.BytesIO(), format="png", dpi=30)


def test_the_top_of_a_ranking(files):
    ranking = rank(FOUND, "entropy")
    axes = plots.contact_sheet(ranking, files, FOUND, n=3, columns=2)
    assert axes.shape == (2, 2)
    assert [ax.get_title(loc="left") for ax in shown(axes)] == ranking["image_id"].tolist()[:3]
    sentences = [" ".join(ax.xaxis.label.get_text().split()) for ax in shown(axes)]
    assert sentences[0].startswith("Rank 1 of 4: the highest ")
    by_title = {ax.get_title(loc="left"): ax for ax in shown(axes)}
    assert [text.get_text() for text in by_title["b"].texts] == ["0.90"]  # the fainter one is below 0.3
    draw(axes)


def test_the_sentences_of_the_table_come_first(files):
    table = pd.DataFrame({"image_id": ["b", "a"], "why": [r"because $\of$ this", ""]})
    axes = plots.contact_sheet(table, files, axes=Figure().subplots(1, 2))
    assert [ax.xaxis.label.get_text() for ax in axes.flat] == [r"because $\of$ this", ""]
    draw(axes)


def test_what_cannot_be_drawn_is_told(files):
    table = pd.DataFrame({"image_id": ["b", "a", "z"]})
    with pytest.raises(ValueError, match="none of 'z' among 4 images"):
        plots.contact_sheet(table, files)
    with pytest.raises(ValueError, match="column image_id and a row"):
        plots.contact_sheet(table.head(0), files)
    with pytest.raises(ValueError, match="expected 1 x 2 Axes, got 3"):
        plots.contact_sheet(table.head(2), files, axes=Figure().subplots(1, 3))


def test_an_image_that_cannot_be_read_is_grey(files):
    files["a"].write_bytes(b"no image")
    axes = plots.contact_sheet(pd.DataFrame({"image_id": ["a"]}), files, FOUND, axes=Figure().subplots())
    assert (axes[0, 0].images[0].get_array() == 200).all()


def test_label_errors_side_by_side(files):
    """An overlooked object, a label that was not seen, and one of another class: where, and what is said of them."""
    labels = RotatedInstances(
        IDS, [0, 0, 1, 2, 3], [[20, 20, 16, 8, 0], [30, 30, 12, 6, 0.5], [40, 40, 9, 5, 0]], [0, 0, 0], classes=CLASSES
    )
    errors = find_label_errors(FOUND, labels)
    assert errors["kind"].tolist()[:2] == ["swapped", "overlooked"]
    axes = plots.label_error_sheet(errors, files, FOUND, labels, axes=Figure().subplots(len(errors), 2))
    titles = [[ax.get_title(loc="left") for ax in row] for row in axes]
    assert titles[0] == ["<c>\nlabel: ship", "wrong class? 0.60\ndetector: $\\plane$ 0.60"]
    assert titles[1] == ["a\nno label", "overlooked? 0.50\ndetector: ship 0.50"]
    left, right = axes[1]
    assert left.collections[-1].get_linestyle()[0][1] is not None  # dashed: where the label would be
    assert right.collections[-1].get_linestyle()[0][1] is None
    for ax in (left, right):
        (x1, x2), (y2, y1) = ax.get_xlim(), ax.get_ylim()
        assert 0 <= x1 <= 12 < 28 <= x2 <= 80
        assert y2 - y1 == pytest.approx(x2 - x1)
    draw(axes)
    with pytest.raises(ValueError, match="no label is in doubt"):
        plots.label_error_sheet(errors.head(0), files, FOUND, labels)
