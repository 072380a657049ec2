"""What the plots share: new Axes, grids of them, text that is no mathematics, and the colours of charts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.legend import Legend

# Okabe and Ito, "Color Universal Design" (2008), for charts on white; those that are too pale there come last.
OKABE_ITO = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
INK, GREY = "#1d2733", "#5a6877"


def new_axes() -> Axes:
    """Make a figure with one Axes."""
    from matplotlib import pyplot

    return pyplot.subplots(layout="constrained")[1]


def grid(
    axes: Any, rows: int, columns: int, width: float = 2.6, aspect: float = 1.0, text: float = 0.5
) -> NDArray[Any]:
    """Return an array of Axes (rows, columns): those given, or those of a new figure.

    Args:
        axes: an array of that many Axes, or None.
        rows, columns: of pictures.
        width: of one in inches.
        aspect: height by width of the tallest one.
        text: inches of height for the words of one.

    Raises:
        ValueError: for another number of Axes.
    """
    if axes is None:
        from matplotlib import pyplot

        size = (width * columns, rows * (width * min(aspect, 2.0) + text) + 0.4)
        return pyplot.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")[1]
    given: NDArray = np.asarray(axes, object)
    if given.size != rows * columns:
        raise ValueError(f"expected {rows} x {columns} Axes, got {given.size}")
    return given.reshape(rows, columns)


def without_frame(ax: Axes) -> None:
    """Hide the upper and the right border."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def without_mathtext(legend: Legend) -> None:
    """Show class names as they are: they may hold a $."""
    for text in legend.get_texts():
        text.set_parse_math(False)
