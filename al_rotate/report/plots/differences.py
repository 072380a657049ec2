"""One image with what was predicted against what people made of it, box by box."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...data import SHOWN_SCORE, RotatedInstances
from ...evaluation import corrections
from ...evaluation.tolerance import Tolerance
from .boxes import colour_legend, outline, show_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, brightened for photographs. Lines tell what colours do not: see show_corrections.
KIND_COLOURS = {
    "kept": "#56b4e9",
    "moved": "#ffb000",
    "relabelled": "#e58fc0",
    "deleted": "#ff6a1a",
    "added": "#1fd6a0",
}


class Differences(NamedTuple):
    """What became of the boxes of one image.

    Attributes:
        predicted: one of ``kept``, ``moved``, ``relabelled``, ``deleted`` per predicted box. One that was moved and
            relabelled is ``relabelled``.
        labels: the same for the labels' boxes, with ``added`` for those that nothing was predicted for.
    """

    predicted: list[str]
    labels: list[str]

    def counts(self) -> dict[str, int]:
        """Count the objects of each kind that occurs, in the order of KIND_COLOURS."""
        kinds = [*self.predicted, *(kind for kind in self.labels if kind == "added")]
        return {kind: kinds.count(kind) for kind in KIND_COLOURS if kind in kinds}


def differences(
    predicted: RotatedInstances, labels: RotatedInstances, tolerance: Tolerance | None = None
) -> Differences:
    """Tell what a person did to each predicted box of one image, as :func:`al_rotate.evaluation.corrections.compare`.

    Args:
        predicted: the boxes of the image that the person was shown.
        labels: of the same image.
        tolerance: how far off a box is left alone; None: as careful people do.

    Raises:
        ValueError: for more than one image, other images or other classes.
    """
    if len(predicted) != 1 or [*predicted.image_ids] != [*labels.image_ids]:
        raise ValueError(f"expected boxes of one and the same image, got {predicted!r} and {labels!r}")
    table = corrections.compare(predicted, labels, tolerance=tolerance)[: predicted.n_boxes]
    conditions = [table["what"] == "deleted", table["relabelled"].astype(bool), table["moved"].astype(bool)]
    kinds = np.select(conditions, ["deleted", "relabelled", "moved"], "kept").astype(object)
    of_labels = np.full(labels.n_boxes, "added", object)
    partner: NDArray = corrections.partners(predicted, labels)
    of_labels[partner[partner >= 0]] = kinds[partner >= 0]
    return Differences(kinds.tolist(), of_labels.tolist())


def show_corrections(
    image: NDArray[np.uint8],
    predicted: RotatedInstances,
    labels: RotatedInstances,
    ax: Axes | None = None,
    title: str | None = None,
    least_score: float = SHOWN_SCORE,
    tolerance: Tolerance | None = None,
) -> Axes:
    """Draw the corrections of one image: predicted boxes dashed, corrected ones solid, one colour per kind of change.

    A kept box is thin, so that the changes stand out. A deleted one has only a dashed line, an added one only a solid
    one. The legend below counts each kind.

    Args:
        image: (H, W, 3) uint8 RGB.
        predicted: detections on this image.
        labels: of this image.
        ax: where to draw; new Axes if None.
        title: above the image.
        least_score: people were not shown detections below it.
        tolerance: as for :func:`differences`.
    """
    own_figure = ax is None
    if predicted.scores is not None:
        predicted = predicted.where(predicted.scores >= least_score)
    found = differences(predicted, labels, tolerance)
    ax = show_image(image, ax, title)
    is_changed = np.array([kind != "kept" for kind in found.predicted], bool)
    colours = [KIND_COLOURS[kind] for kind in found.predicted if kind != "kept"]
    outline(ax, predicted.boxes[is_changed], colours, "--", 1.0)
    for kind, value in KIND_COLOURS.items():
        rows = np.array([other == kind for other in found.labels], bool)
        if rows.any():
            outline(ax, labels.boxes[rows], [value] * int(rows.sum()), "-", 0.8 if kind == "kept" else 1.6)
    named = {f"{count} {kind}": KIND_COLOURS[kind] for kind, count in found.counts().items()}
    if own_figure:
        colour_legend(ax.figure, named)  # type: ignore[arg-type]
    else:
        ax.set_xlabel(", ".join(named), fontsize=7, loc="left")
    return ax
