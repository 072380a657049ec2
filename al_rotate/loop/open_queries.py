"""How a loop hands its open questions to whoever answers them."""

from __future__ import annotations

import pandas as pd

from ..data.instances import RotatedInstances
from ..workspace import REVIEW, Round, Workspace
from ..workspace import artefacts as _round_files
from .annotator import Annotator, Query


def push(workspace: Workspace, annotator: Annotator) -> None:
    """Hand over what has no answer yet, of all rounds: an answered task may since be gone, and is not asked again."""
    asked_since: set[str] = set()
    queries = []
    for one in reversed(workspace.rounds()):
        asked = workspace.query(one.number).assign(rank=lambda query: range(1, len(query) + 1))
        open_ones = asked[(asked["status"] == "queried") & ~asked["image_id"].isin(asked_since)]
        asked_since |= {*asked["image_id"]}  # what is asked again is no longer the earlier round's question
        if len(open_ones):
            queries.append(_query(workspace, one, open_ones))
    for query in reversed(queries):
        annotator.push(query)


def _query(workspace: Workspace, one: Round, asked: pd.DataFrame) -> Query:
    ids, folder = asked["image_id"].tolist(), one.folder / "detections"
    found = RotatedInstances.load(folder, ids) if folder.exists() else RotatedInstances.empty(classes=workspace.classes)
    whys = _round_files.read_explanations(one.folder)
    return Query(
        ids,
        workspace.paths(ids),
        found.subset(i for i in ids if i in found),
        [None if pd.isna(score) else float(score) for score in asked["score"]],
        asked["rank"].tolist(),
        [whys.get(image_id, "") for image_id in ids],
        one.number,
        _weights(workspace, one) if folder.exists() else None,
        again=one.strategy == REVIEW,
    )


def _weights(workspace: Workspace, one: Round) -> str:
    """The name of the weights that a round's detections come from."""
    trained = [r.number for r in workspace.rounds()[: one.number] if r.checkpoint is not None]
    return f"round-{trained[-1]:03d}" if trained else "initial"
