"""The gallery: one HTML file with images, boxes and everything that is needed to browse them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from ...boxes import to_hbb
from ...boxes.drawing import colour
from ...data import SHOWN_SCORE, RotatedInstances
from ...data import images as image_files
from ...storage.files import atomic_write
from ...workspace import Workspace
from ..calibration import JudgedScores
from ..plots import KIND_COLOURS
from .cards import Card, make_cards
from .collecting import add_doubts, cards_of
from .thumbnails import Thumbnail, thumbnail

MOST_IMAGES, SIDE, MOST_BYTES, MOST_BOXES = 300, 480, 20_000_000, 100_000
_NOTEBOOK_SIDE, _NOTEBOOK_BYTES, _NOTEBOOK_BOXES, _NOTEBOOK_HEIGHT = 320, 3_000_000, 15_000, 680


class Gallery:
    """Images with predicted boxes, labels and differences, to browse in a browser or a notebook.

    The page filters by class, score, status and round, sorts by uncertainty, zooms, and is worked by mouse, touch or
    keyboard. It is one file without outside references. The pictures in it are small copies; boxes stay sharp.

    Args:
        images: a folder, files, or image id -> file.
        detections: on any of the images.
        labels: of any of the images.
        ranking: of :func:`al_rotate.rank` or :meth:`al_rotate.ActiveLoop.query`: gives the order and says why.
        title: of the page.
        most: images; the others are left out, those last in the ranking first.
        side: of a picture in pixels.
        most_bytes: of all pictures together; images after that have boxes only, on grey.
        most_boxes: in the page, about 70 bytes each; where there are more, the images with most give up theirs, first
            those that nobody was shown, then those that nobody changed. The page says how many.

    Raises:
        ValueError: for detections and labels of different classes, or a limit below 1.
    """

    def __init__(
        self,
        images: str | Path | Iterable[str | Path] | Mapping[str, str | Path],
        detections: RotatedInstances | None = None,
        labels: RotatedInstances | None = None,
        ranking: pd.DataFrame | None = None,
        title: str = "Images",
        most: int = MOST_IMAGES,
        side: int = SIDE,
        most_bytes: int = MOST_BYTES,
        most_boxes: int = MOST_BOXES,
    ) -> None:
        named = {part.classes for part in (detections, labels) if part is not None and part.classes is not None}
        if len(named) > 1:
            raise ValueError(f"expected detections and labels of the same classes, got {sorted(map(str, named))}")
        cards = make_cards(image_files.resolve(images), ranking, detections, labels)
        most_label = max((int(p.labels.max(initial=-1)) for p in (detections, labels) if p is not None), default=-1)
        classes = next(iter(named), tuple(str(k) for k in range(most_label + 1)))
        self._set(cards, classes, title, most, side, most_bytes, most_boxes)

    @classmethod
    def of(
        cls,
        workspace: Workspace,
        title: str | None = None,
        most: int = MOST_IMAGES,
        side: int = SIDE,
        most_bytes: int = MOST_BYTES,
        judged: JudgedScores | None = None,
        most_boxes: int = MOST_BOXES,
    ) -> Gallery:
        """Make the gallery of a workspace: the newest queries, and the top of the newest ranking.

        Each image is shown with the detections that it was chosen by, its labels, its status, the sentence why, and
        what is odd about its labels.

        Args:
            workspace: at any stage.
            title: of the page; None: the name of the workspace's folder.
            most, side, most_bytes, most_boxes: as for the constructor.
            judged: of :func:`al_rotate.report.calibration.judge_scores`, if it is at hand.
        """
        gallery = cls.__new__(cls)
        if most < 1:
            raise ValueError(f"expected one image at least, got {most}")
        n_images = sum(workspace.counts().values())
        cards = cards_of(workspace, most)
        add_doubts(workspace, cards, judged)
        gallery._set(cards, workspace.classes, title or workspace.folder.name, most, side, most_bytes, most_boxes)
        gallery.n_left_out = n_images - len(cards)
        return gallery

    def _set(
        self,
        cards: list[Card],
        classes: Sequence[str],
        title: str,
        most: int,
        side: int,
        most_bytes: int,
        most_boxes: int,
    ) -> None:
        if min(most, side, most_bytes, most_boxes) < 1:
            got = f"{most} images, {side} pixels, {most_bytes} bytes and {most_boxes} boxes"
            raise ValueError(f"expected limits of at least 1, got {got}")
        self.cards, self.n_left_out = cards[:most], max(0, len(cards) - most)
        self.classes, self.title, self.side, self.most_bytes = tuple(classes), title, side, most_bytes
        self.most_boxes = most_boxes

    def __len__(self) -> int:
        return len(self.cards)

    def __repr__(self) -> str:
        return f"<Gallery: {len(self)} images, {len(self.classes)} classes>"

    def to_json(
        self, side: int | None = None, most_bytes: int | None = None, most_boxes: int | None = None
    ) -> dict[str, Any]:
        """Return what the page shows, pictures included."""
        left, side = most_bytes or self.most_bytes, side or self.side
        most_of_image = _share([card.n_boxes for card in self.cards], most_boxes or self.most_boxes)
        rows = []
        for card in self.cards:
            picture = thumbnail(card.file, side) if left > 0 else _without_picture(card)
            if picture.url is not None:
                left -= len(picture.url)
                if left < 0:
                    picture = picture._replace(url=None)
            width, height = (picture.width, picture.height) if picture.width else _extent(card)
            rows.append(
                {
                    **card.to_json(most_of_image),
                    "width": width,
                    "height": height,
                    "picture": picture.url,
                    "problem": picture.problem,
                }
            )
        return {
            "classes": [{"name": name, "colour": colour(k)} for k, name in enumerate(self.classes)],
            "kinds": KIND_COLOURS,
            "shownScore": SHOWN_SCORE,
            "leftOut": self.n_left_out,
            "images": rows,
        }

    def to_html(self, side: int | None = None, most_bytes: int | None = None, most_boxes: int | None = None) -> str:
        """Return the page."""
        data = self.to_json(side, most_bytes, most_boxes)
        return environment().get_template("gallery/page.html.j2").render(title=self.title, gallery=data)

    def save(self, path: str | Path) -> Path:
        """Write the page, atomically; return its path."""
        page = self.to_html()
        with atomic_write(Path(path)) as file:
            file.write(page)
        return Path(path)

    def _repr_html_(self) -> str:
        limits = min(self.most_bytes, _NOTEBOOK_BYTES), min(self.most_boxes, _NOTEBOOK_BOXES)
        page = self.to_html(min(self.side, _NOTEBOOK_SIDE), *limits)
        style = f"width:100%;height:{_NOTEBOOK_HEIGHT}px;border:1px solid #ccc"
        return f'<iframe srcdoc="{escape(page)}" style="{style}" title="{escape(self.title)}"></iframe>'


def environment() -> jinja2.Environment:
    """Return the templates of the report and the gallery; all that they are given is escaped."""
    loader = jinja2.FileSystemLoader(Path(__file__).parents[1])
    made = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    made.policies["json.dumps_kwargs"] = {"separators": (",", ":")}  # keys in their order, and no spaces
    return made


def _share(counts: Sequence[int], total: int) -> int | None:
    """Return the most boxes of one image with which all images together have at most `total`; None: no limit needed."""
    ordered = np.sort(counts)
    before = np.concatenate([[0], np.cumsum(ordered)[:-1]])
    shares = (total - before) // np.arange(len(ordered), 0, -1)  # if all with fewer boxes keep theirs
    too_many = np.flatnonzero(ordered > shares)
    return int(shares[too_many[0]]) if len(too_many) else None


def _without_picture(card: Card) -> Thumbnail:
    try:
        return Thumbnail(None, *image_files.size(card.file))
    except image_files.UnreadableImage:
        return Thumbnail(None, 0, 0)


def _extent(card: Card) -> tuple[int, int]:
    """How far the boxes of an image reach, in pixels, where its file does not tell its size."""
    reach = [to_hbb(part.boxes)[:, 2:].max(axis=0) for part in (card.detections, card.labels) if part and part.n_boxes]
    width, height = np.ceil(np.max(reach, axis=0)).astype(int).tolist() if reach else (100, 100)
    return max(width, 1), max(height, 1)
