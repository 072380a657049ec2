"""How a loop hands its open questions to whoever answers them."""

from __future__ import annotations

import pandas as pd

from . import _round_files
from .annotators import Annotator, Query
from .instances import RotatedInstances
from .workspace import Round, Workspace


def push(workspace: Workspace, annotator: Annotator) -> None:
    """Hand over what has no answer yet, of all rounds: an answered task may since be gone, and is not asked again."""
    for one in workspace.rounds():
        asked = workspace.query(one.number).assign(rank=lambda query: range(1, len(query) + 1))
        asked = asked[asked["status"] == "queried"]
        if len(asked):
            annotator.push(_query(workspace, one, asked))


def _query(workspace: Workspace, one: Round, asked: pd.DataFrame) -> Query:
    ids, folder = asked["image_id"].tolist(), one.folder / "detections"
    found = RotatedInstances.load(folder) if folder.exists() else RotatedInstances.empty(classes=workspace.classes)
    whys = _round_files.whys(one.folder)
    return Query(
        ids,
        workspace.paths(ids),
        found.subset(i for i in ids if i in found),
        [None if pd.isna(score) else float(score) for score in asked["score"]],
        asked["rank"].tolist(),
        [whys.get(image_id, "") for image_id in ids],
        one.number,
        _weights(workspace, one) if folder.exists() else None,
    )


def _weights(workspace: Workspace, one: Round) -> str:
    """The name of the weights that a round's detections come from."""
    trained = [r.number for r in workspace.rounds()[: one.number] if r.checkpoint is not None]
    return f"round-{trained[-1]:03d}" if trained else "initial"
