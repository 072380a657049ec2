"""Between a loop and its annotator: hand over the queries that are open, take over the answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ..data import RotatedInstances
from ..storage.user_warnings import warn_user
from ..workspace import REVIEW, STATUSES, Round, Workspace, current_weights
from ..workspace.artefacts import read_explanations, read_selection, read_showing_rule, set_aside, update_tables
from .annotator import Annotator, Answer, Query
from .learners import Learner


def push_open_queries(workspace: Workspace, annotator: Annotator, learner: Learner) -> None:
    """Push the unanswered images of all rounds, oldest round first.

    Answered images are not pushed again: an annotator may have deleted their tasks since.

    Args:
        workspace: of the loop.
        annotator: is given the queries.
        learner: detects again on images whose detections are damaged.
    """
    for past, images in _open_images(workspace):
        unskipped = images["image_id"].isin(workspace.unskipped(images["image_id"]))
        for again in (False, True):  # who skipped an image has to submit it once more
            if (unskipped == again).any():
                query = _query_of(workspace, learner, past, images[unskipped == again], again)
                _warn_of_other_boxes(past, query, getattr(annotator, "shown", None))
                annotator.push(query)


def query_table(workspace: Workspace, current: Round) -> pd.DataFrame:
    """Return what a round queried, best first: image_id, score, status, why.

    Of a round that has not queried yet: the unanswered images of earlier rounds, the oldest round first.
    """
    parts = _open_images(workspace) if current.stage == "new" else [(current, workspace.query(current.number))]
    tables = [workspace.query(current.number).assign(why="")]  # for its columns, if there is nothing else
    for past, images in parts:
        explanations = read_explanations(past.folder)
        tables.append(images.assign(why=[explanations.get(image_id, "") for image_id in images["image_id"]]))
    return pd.concat(tables[1:] or tables, ignore_index=True)[["image_id", "score", "status", "why"]]


def record_answer(workspace: Workspace, current: Round, answer: Answer) -> None:
    """Record the answers to images that were queried; the round's tables tell of the others.

    The round keeps the corrections of the answers that are new, whatever else the annotator tells again.
    """
    queried = {image_id for status in STATUSES[1:] for image_id in workspace.ids(status)}
    answer = answer.only(queried)
    answer = replace(answer, labels=workspace.in_current_classes(answer.labels))
    recorded = answer.labels, answer.skipped, answer.costs, answer.unanswered
    changed, made = workspace.changed_answers(*recorded), answer.corrections
    new = None if made is None else made[made["image_id"].isin(changed)]
    update_tables(current.folder, {"corrections": new}, changed)
    update_tables(current.folder, {"account": answer.account}, answer.reported)
    workspace.record_answers(current.number, *recorded, answer.cursor)


def _open_images(workspace: Workspace) -> list[tuple[Round, pd.DataFrame]]:
    """Return each round with rows of its query that wait for an answer, the oldest first, with their ranks."""
    queried_later: set[str] = set()
    found = []
    for past in reversed(workspace.rounds()):
        query = workspace.query(past.number).assign(rank=lambda rows: range(1, len(rows) + 1))
        is_open = (query["status"] == "queried") & ~query["image_id"].isin(queried_later)
        queried_later |= {*query["image_id"]}  # an image that is queried again belongs to the later round
        if is_open.any():
            found.append((past, query[is_open]))
    return found[::-1]


def _query_of(workspace: Workspace, learner: Learner, past: Round, images: pd.DataFrame, again: bool) -> Query:
    ids, is_review = images["image_id"].tolist(), past.strategy == REVIEW
    detections = None if is_review else _detections_of(workspace, learner, past)
    weights = None if detections is None else current_weights(workspace, before_round=past.number)
    if is_review:
        labels = workspace.labels()
        shown = detections = labels.replace(scores=np.ones(labels.n_boxes))
    elif detections is None:
        shown = detections = RotatedInstances.empty(classes=workspace.classes)
    else:
        shown = _shown(workspace, past, detections)
        detections = workspace.in_current_classes(detections)
    said = read_selection(past.folder).set_index("image_id").reindex(ids)
    scores = [_number(score) for score in images["score"]]
    return Query(
        ids,
        workspace.paths(ids),
        detections.subset(i for i in ids if i in detections),
        scores=scores,
        ranks=images["rank"].tolist(),
        whys=said["why"].fillna("").tolist() if "why" in said else [""] * len(ids),
        round=past.number,
        model_version=f"labels-{past.number:03d}" if is_review else weights.version if weights else None,
        again=is_review or again,
        costs=workspace.spent(ids) if is_review or again else None,
        figures=[_number(figure) for figure in said["figure"]] if "figure" in said else scores,
        shown=shown.subset(i for i in ids if i in shown),
    )


def _shown(workspace: Workspace, past: Round, detections: RotatedInstances) -> RotatedInstances:
    """The boxes that are shown, in the workspace's classes of now; the rule speaks of those of then."""
    rule, current = read_showing_rule(past.folder), workspace.in_current_classes(detections)
    if rule.classes == detections.classes:
        return current.where(rule.select(detections))
    numbers = workspace.former_classes().get(rule.classes or ())
    if numbers is None:
        return current.where(rule.select(current))
    then = {now: number for number, now in reversed([*enumerate(numbers)])}  # of merged classes the first
    labels = np.array([then.get(now, 0) for now in range(len(workspace.classes))], np.int32)[current.labels]
    return current.where(rule.select(current.replace(labels=labels, classes=rule.classes, class_scores=None)))


def _warn_of_other_boxes(past: Round, query: Query, own: float | None) -> None:
    """Say it where an annotator that is set to a score shows other boxes than the round decided, and reports."""
    if own is None or query.shown is None or query.boxes_to_show(own) == query.shown:
        return
    if why := read_showing_rule(past.folder).why:
        warn_user(
            f"images of round {past.number} that wait for an answer show boxes from a score of {own:g}, as the "
            f"annotator is set now; the round's ranking and report go by what held when it queried: {why}"
        )


def _detections_of(workspace: Workspace, learner: Learner, past: Round) -> RotatedInstances | None:
    """Load the detections on a round's query; None if nothing had been trained to detect.

    Where they are damaged or gone, the weights of then detect again, on the images of the query.
    """
    folder, ids = past.folder / "detections", workspace.query(past.number)["image_id"].tolist()
    if not folder.with_suffix(".json").exists() and not folder.exists():
        return None
    try:
        return RotatedInstances.load(folder, ids)
    except (ValueError, FileNotFoundError) as error:
        weights = current_weights(workspace, before_round=past.number)
        if weights is None:
            raise
        kept = f", and the rest is kept as {set_aside(folder).name}" if folder.exists() else ""
        warn_user(f"{error}; the detections on the {len(ids)} images of round {past.number} are made again{kept}")
        return learner.predict(weights.path, workspace.paths(ids), folder)


def _number(value: Any) -> float | None:
    """Read a number that may be missing, or empty in a CSV file."""
    return None if pd.isna(value) or value == "" else float(value)
