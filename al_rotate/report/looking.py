"""How a person looks at a loop: its report, its gallery, and what a notebook shows of it and of its tables.

This module is light, since every loop imports it: what draws is imported when something is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd

from ..data import RotatedInstances
from ..workspace import Workspace

if TYPE_CHECKING:
    from .gallery import Gallery
    from .gallery.cards import Card

SHOWN_IMAGES = 8  # of a loop or a table


class Looking:
    """The methods of :class:`al_rotate.ActiveLoop` that show its workspace."""

    workspace: Workspace

    def report(self, path: str | Path | None = None) -> Path:
        """Write the HTML report, by default into the workspace."""
        from .page import write_report

        return write_report(self.workspace, path)

    def gallery(self, **options: Any) -> Gallery:
        """Return the images of the loop to browse, in a notebook or a file, see :meth:`al_rotate.Gallery.of`.

        Args:
            **options: of :meth:`al_rotate.Gallery.of`, such as ``most=100``.
        """
        from .gallery import Gallery

        return Gallery.of(self.workspace, **options)

    def _repr_html_(self) -> str:
        from .gallery.collecting import cards_of
        from .gallery.static import thumbnails_html
        from .summary import answers

        cards = cards_of(self.workspace, SHOWN_IMAGES)
        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(answer.question)}</th><td style='text-align:left'>"
            f"<b>{escape(answer.figure)}</b> {escape(answer.sentence)}</td></tr>"
            for answer in answers(self.workspace)
        )
        name = escape(self.workspace.folder.name)
        return f"<p><b>{name}</b></p><table>{rows}</table>{thumbnails_html(cards)}"


class PicturedTable(pd.DataFrame):
    """A table of images, best first, that a notebook shows with pictures of its first rows.

    It is a DataFrame in every other respect; parts of it have pictures, too, as long as they have ``image_id``.

    Attributes:
        cards: called with the first rows when the pictures are needed, for their cards.
    """

    _metadata: ClassVar[list[str]] = ["cards"]
    cards: Callable[[pd.DataFrame], list[Card]] | None = None

    @property
    def _constructor(self) -> type[PicturedTable]:
        return PicturedTable

    def __reduce__(self) -> Any:  # to another process it goes without pictures
        return pd.DataFrame, (pd.DataFrame(self),)

    def _repr_html_(self) -> str | None:
        table = pd.DataFrame(self)._repr_html_()  # type: ignore[operator]
        if self.cards is None or "image_id" not in self or not len(self):
            return table
        from .gallery.static import thumbnails_html

        try:
            cards = self.cards(pd.DataFrame(self).head(SHOWN_IMAGES))
        except (OSError, KeyError, ValueError):  # the workspace has moved, has lost the images, or holds damaged files
            return table
        figures = thumbnails_html(cards)
        return f"{figures}<details><summary>the table: {len(self)} rows</summary>{table}</details>"


def pictured(
    table: pd.DataFrame,
    images: str | Path | Iterable[str | Path] | Mapping[str, str | Path],
    detections: RotatedInstances | None = None,
    labels: RotatedInstances | None = None,
) -> PicturedTable:
    """Return a ranking that a notebook shows with pictures of its first rows: boxes, scores and the sentence why.

    Args:
        table: with a column image_id, such as a ranking of :func:`al_rotate.rank`.
        images: a folder, files, or image id -> file.
        detections: on any of the images, drawn solid.
        labels: of any of the images, drawn dashed.

    Raises:
        ValueError: for a table without image_id, or an image that is not among `images`.
    """
    if "image_id" not in table:
        raise ValueError(f"expected a table with a column image_id, got {[*table.columns]}")
    from .gallery.cards import make_cards
    from .plots.sheets import find_files

    files = find_files(images, table["image_id"])

    def cards(top: pd.DataFrame) -> list[Card]:
        shown = {image_id: files[image_id] for image_id in top["image_id"]}
        return make_cards(shown, table, detections, labels)  # the whole table: sentences compare with all its rows

    return _with_cards(table, cards)


def with_pictures(workspace: Workspace, table: pd.DataFrame) -> PicturedTable:
    """Return a table of images of a workspace that a notebook shows with pictures of its first rows."""
    folder = workspace.folder

    def cards(top: pd.DataFrame) -> list[Card]:
        from .gallery.collecting import cards_for

        with Workspace.open(folder, read_only=True) as reader:  # the loop may be closed by then
            return cards_for(reader, top["image_id"].tolist())

    return _with_cards(table, cards)


def _with_cards(table: pd.DataFrame, cards: Callable[[pd.DataFrame], list[Card]]) -> PicturedTable:
    shown = PicturedTable(table)
    shown.cards = cards
    return shown
