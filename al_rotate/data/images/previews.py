"""What a notebook shows of boxes whose image files are not at hand: drawings, and a table of the classes."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from ...boxes import to_hbb
from ...boxes.drawing import Layer, to_svg
from ...storage.plurals import many

if TYPE_CHECKING:
    from ..instances import RotatedInstances

MOST_IMAGES, MOST_CLASSES = 8, 20  # shown
_SIDE = 150  # of a drawing, in pixels


def preview(instances: RotatedInstances) -> str:
    """Show the first images that have boxes, and how many boxes each class has, as HTML of bounded size."""
    with_boxes = instances.image_ids[instances.counts > 0]
    shown = instances.subset(with_boxes[:MOST_IMAGES])
    drawings = "".join(
        f'<figure style="display:inline-block;margin:4px 8px 4px 0;vertical-align:top;max-width:{_SIDE}px">'
        f'{_draw(image_id, image)}<figcaption style="font-size:11px;overflow-wrap:anywhere">'
        f"{escape(image_id)}</figcaption></figure>"
        for image_id, image in shown
    )
    more = len(with_boxes) - len(shown)
    rest = f"<p>and {more} more images with boxes</p>" if more > 0 else ""
    return f"<p>{escape(repr(instances)[1:-1])}</p><div>{drawings}</div>{rest}{_class_table(instances)}"


def _draw(image_id: str, image: RotatedInstances) -> str:
    if image.image_sizes is not None and image.image_sizes.all():
        width, height = image.image_sizes[0].tolist()
    else:  # nobody measured it: as far as the boxes reach
        width, height = np.maximum(to_hbb(image.boxes)[:, 2:].max(axis=0), 1).tolist()
    told = many(image.n_boxes, "label" if image.scores is None else "detection")
    return to_svg([Layer(image.boxes, image.labels)], width, height, f"{image_id}: {told}", side=_SIDE)


def _class_table(instances: RotatedInstances) -> str:
    labels, counts = np.unique(instances.labels, return_counts=True)
    rows = []
    for label, count in sorted(zip(labels.tolist(), counts.tolist(), strict=True), key=lambda row: -row[1]):
        name = instances.classes[label] if instances.classes else str(label)
        mean = "" if instances.scores is None else f"{instances.scores[instances.labels == label].mean():.3f}"
        rows.append(f"<tr><td>{escape(name)}</td><td>{count}</td><td>{mean}</td></tr>")
    more = len(rows) - MOST_CLASSES
    rest = f'<tr><td colspan="3">and {more} more classes</td></tr>' if more > 0 else ""
    head = "<tr><th>class</th><th>boxes</th><th>mean score</th></tr>"
    return f"<table>{head}{''.join(rows[:MOST_CLASSES])}{rest}</table>"
