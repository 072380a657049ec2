"""Images with their boxes as plain HTML, for notebooks."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

import pandas as pd

from ...boxes.drawing import Layer, to_svg
from ...data import SHOWN_SCORE, RotatedInstances
from ...storage.plurals import many
from .cards import Card
from .thumbnails import thumbnail

_SIDE = 190  # pixels of a picture
_LONGEST = 160  # characters of a sentence


def thumbnails_html(cards: Iterable[Card]) -> str:
    """Draw images with their boxes (detections solid, labels dashed), their scores and the sentences why, as HTML."""
    figures = "".join(
        '<figure style="display:inline-block;margin:4px 10px 8px 0;vertical-align:top;'
        f'width:{_SIDE}px">{_draw(card)}<figcaption style="font-size:11px;line-height:1.35;overflow-wrap:anywhere">'
        f"<b>{escape(card.image_id)}</b>{_facts(card)}<br>{escape(_cut(card.why))}</figcaption></figure>"
        for card in cards
    )
    return f"<div>{figures}</div>"


def _draw(card: Card) -> str:
    picture = thumbnail(card.file, 2 * _SIDE, quality=60)
    found, labels = card.detections, card.labels
    if found is not None and found.scores is not None:
        found = found.where(found.scores >= SHOWN_SCORE)
    parts: list[tuple[RotatedInstances | None, bool]] = [(labels, True), (found, False)]
    layers = [Layer(part.boxes, part.labels, dashed) for part, dashed in parts if part is not None]
    told = [many(part.n_boxes, "label" if dashed else "detection") for part, dashed in parts if part is not None]
    title = ", ".join([card.image_id, *told, *([picture.problem] if picture.problem else [])])
    return to_svg(layers, picture.width or 100, picture.height or 100, title, picture.url, _SIDE)


def _facts(card: Card) -> str:
    facts = [card.status, "" if card.score is None or pd.isna(card.score) else f"{card.score:.3g}"]
    return "".join(f" · {escape(fact)}" for fact in facts if fact)


def _cut(sentence: str) -> str:
    return sentence if len(sentence) <= _LONGEST else f"{sentence[: _LONGEST - 1]}…"
