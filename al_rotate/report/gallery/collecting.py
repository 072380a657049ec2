"""The cards of a workspace's images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...data import SHOWN_SCORE, RotatedInstances
from ...evaluation import label_errors
from ...storage.user_warnings import warn_user
from ...workspace import REVIEW, Round, Workspace
from ...workspace.artefacts import read_explanations, read_showing_rule
from ..calibration import JudgedScores, judge_scores
from ..plots.sheets import reasons
from .cards import Card, image_of, rows_by_id

DOUBTFUL = 0.5  # the suspicion from which an image is marked; review() ranks those below, too


def cards_of(workspace: Workspace, most: int) -> list[Card]:
    """Collect the images that people want to see: those of the newest queries, and the top of the newest ranking.

    Where both do not fit, the queries take two thirds.

    Args:
        workspace: at any stage.
        most: images.
    """
    round_of, newest = _queries(workspace)
    top = [] if newest is None else [i for i in read_ranking(newest)["image_id"] if i not in round_of]
    others = [*workspace.ids("labelled"), *workspace.ids("unlabelled")]
    queried = [*round_of][: max(most - len(top), most * 2 // 3)]
    known = {*all_ids(workspace)}
    chosen = [image_id for image_id in dict.fromkeys([*queried, *top, *others]) if image_id in known][:most]
    return cards_for(workspace, chosen)


def cards_for(workspace: Workspace, image_ids: Sequence[str]) -> list[Card]:
    """Make the cards of these images.

    The detections are those that an image was chosen by, so that its labels have not touched them; of images that no
    round has queried, the newest ones.

    Raises:
        KeyError: for an image that is not in the workspace.
    """
    round_of, newest = _queries(workspace)
    labels, files = workspace.labels(), workspace.paths(image_ids)
    cards = {
        image_id: Card(image_id, files[image_id], status, labels=image_of(labels, image_id))
        for image_id, status in zip(image_ids, workspace.statuses(image_ids), strict=True)
    }
    sources: dict[int, tuple[Round, list[Card]]] = {}
    for image_id, card in cards.items():
        card.round = round_of[image_id].number if image_id in round_of else None
        if (source := round_of.get(image_id, newest)) is not None:
            sources.setdefault(source.number, (source, []))[1].append(card)
    for source, its_cards in sources.values():
        _fill(workspace, source, its_cards)
    return list(cards.values())


def add_doubts(workspace: Workspace, cards: Sequence[Card], judged: JudgedScores | None = None) -> None:
    """Say of each card which of its labels are in doubt, by detections from before the detector was trained on them.

    Args:
        workspace: of the cards.
        cards: are changed.
        judged: of :func:`al_rotate.report.calibration.judge_scores`, if it is at hand: it takes seconds.
    """
    judged = judged or judge_scores(workspace)
    if judged is None or judged.detections is None:
        return
    labels = workspace.labels().subset(judged.detections.image_ids)
    errors = label_errors.find_label_errors(judged.detections, labels, judged.probabilities)
    ranking = label_errors.rank_images(errors, labels.image_ids.tolist())
    doubtful = ranking[ranking["score"] >= DOUBTFUL]
    why = dict(zip(doubtful["image_id"], doubtful["why"], strict=True))
    for card in cards:
        card.doubt = why.get(card.image_id, "")


def all_ids(workspace: Workspace) -> list[str]:
    """Return the ids of all images of a workspace."""
    return [image_id for status in workspace.counts() for image_id in workspace.ids(status)]


def load_detections(workspace: Workspace, folder: Path, only: Sequence[str] | None = None) -> RotatedInstances | None:
    """Load a folder (or file) of detections, with the workspace's classes of now; None if it does not exist."""
    return workspace.in_current_classes(RotatedInstances.load(folder, only)) if folder.exists() else None


def read_ranking(past: Round) -> pd.DataFrame:
    """Read the ranking of a round; a damaged one causes a warning, and counts as none."""
    path = past.folder / "ranking.csv"
    if not path.exists():
        return pd.DataFrame({"image_id": []})
    try:
        ranking = pd.read_csv(path, converters={"image_id": str, "quota": str})  # a class may be called NA
        if "image_id" in ranking:
            return ranking
        error: object = "it has no column image_id"
    except ValueError as failure:
        error = failure
    warn_user(f"{path} is empty or damaged ({error}); pages go without what it said")
    return pd.DataFrame({"image_id": []})


def _queries(workspace: Workspace) -> tuple[dict[str, Round], Round | None]:
    """Of each queried image the newest round that queried it, and the newest round that ranked the pool."""
    round_of: dict[str, Round] = {}
    asked = [r for r in reversed(workspace.rounds()) if r.stage not in ("new", "undone")]
    for past in asked:
        for image_id in workspace.query(past.number)["image_id"]:
            round_of.setdefault(image_id, past)
    newest = next((r for r in asked if r.strategy != REVIEW and (r.folder / "ranking.csv").exists()), None)
    return round_of, newest


def _fill(workspace: Workspace, past: Round, cards: Sequence[Card]) -> None:
    """Add what a round detected in these images, and said of them."""
    ids = [card.image_id for card in cards]
    folder = past.folder / ("held_out.parquet" if past.strategy == REVIEW else "detections")
    then = RotatedInstances.load(folder, ids) if folder.exists() else None
    detections = None if then is None else workspace.in_current_classes(then)
    shown = None if then is None else _shown(past, then)
    why: Mapping[str, str] = read_explanations(past.folder)
    ranking = read_ranking(past)
    rows = rows_by_id(ranking[ranking["image_id"].isin(ids)])
    if unexplained := [image_id for image_id in ids if image_id not in why and image_id in rows]:
        why = {**why, **dict(zip(unexplained, reasons(ranking, unexplained), strict=True))}
    for card in cards:
        row = rows.get(card.image_id, {})
        card.ranked_by, card.rank, card.score = past.number, row.get("rank"), row.get("score")
        card.why, card.detections = why.get(card.image_id, ""), image_of(detections, card.image_id)
        if shown is not None and card.detections is not None and then is not None:
            position = then.position(card.image_id)
            card.shown = shown[slice(*then.offsets[position : position + 2])]


def _shown(past: Round, detections: RotatedInstances) -> NDArray[np.bool_] | None:
    """Which boxes people were shown, (N,), by the round's rule; None, with a warning, if that is damaged."""
    try:
        return read_showing_rule(past.folder).select(detections)
    except ValueError as error:
        warn_user(f"{error}; pages go by scores of at least {SHOWN_SCORE}")
        return None
