"""Pictures: boxes on images, corrections, sheets of a ranking, curves, distributions. All draw on Axes and return them.

Colours are the same everywhere, and can be told apart by the colour-blind; where colours alone would tell something,
lines, markers or hatches tell it, too.
"""

from ...boxes.drawing import COLOURS, colour
from .axes import OKABE_ITO, without_frame
from .boxes import class_legend, colour_legend, show_boxes
from .curves import class_curves, learning_curve, learning_curves, reliability_diagram
from .differences import KIND_COLOURS, Differences, differences, show_corrections
from .distributions import class_histogram, feature_map, size_histogram
from .scenes import show_tiles
from .sheets import contact_sheet, label_error_sheet

__all__ = [
    "COLOURS",
    "KIND_COLOURS",
    "OKABE_ITO",
    "Differences",
    "class_curves",
    "class_histogram",
    "class_legend",
    "colour",
    "colour_legend",
    "contact_sheet",
    "differences",
    "feature_map",
    "label_error_sheet",
    "learning_curve",
    "learning_curves",
    "reliability_diagram",
    "show_boxes",
    "show_corrections",
    "show_tiles",
    "size_histogram",
    "without_frame",
]
