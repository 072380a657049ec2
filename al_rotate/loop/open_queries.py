"""Between a loop and its annotator: hand over the queries that are open, take over the answers."""

from __future__ import annotations

import pandas as pd

from ..data import RotatedInstances
from ..workspace import REVIEW, STATUSES, Round, Workspace, current_weights
from ..workspace.artefacts import read_explanations, update_tables
from .annotator import Annotator, Answer, Query


def push_open_queries(workspace: Workspace, annotator: Annotator) -> None:
    """Push the unanswered images of all rounds, oldest round first.

    Answered images are not pushed again: an annotator may have deleted their tasks since.
    """
    queried_later: set[str] = set()
    queries = []
    for past in reversed(workspace.rounds()):
        query = workspace.query(past.number).assign(rank=lambda rows: range(1, len(rows) + 1))
        is_open = (query["status"] == "queried") & ~query["image_id"].isin(queried_later)
        queried_later |= {*query["image_id"]}  # an image that is queried again belongs to the later round
        if is_open.any():
            queries.append(_query_of(workspace, past, query[is_open]))
    for open_query in reversed(queries):
        annotator.push(open_query)


def record_answer(workspace: Workspace, current: Round, answer: Answer) -> None:
    """Record the answers to images that were queried; the round's tables tell of the others."""
    queried = {image_id for status in STATUSES[1:] for image_id in workspace.ids(status)}
    answer = answer.only(queried)
    tables = {"corrections": answer.corrections, "account": answer.account}
    update_tables(current.folder, tables, answer.reported)
    workspace.record_answers(
        current.number, answer.labels, answer.skipped, answer.costs, answer.unanswered, answer.cursor
    )


def _query_of(workspace: Workspace, past: Round, images: pd.DataFrame) -> Query:
    ids, folder = images["image_id"].tolist(), past.folder / "detections"
    detections = RotatedInstances.empty(classes=workspace.classes)
    weights = None
    if folder.exists():
        detections, weights = RotatedInstances.load(folder, ids), current_weights(workspace, before_round=past.number)
    explanations = read_explanations(past.folder)
    return Query(
        ids,
        workspace.paths(ids),
        detections.subset(i for i in ids if i in detections),
        scores=[None if pd.isna(score) else float(score) for score in images["score"]],
        ranks=images["rank"].tolist(),
        whys=[explanations.get(image_id, "") for image_id in ids],
        round=past.number,
        model_version=weights.version if weights else None,
        again=past.strategy == REVIEW,
    )
