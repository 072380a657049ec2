"""Bring tasks into a project exactly once each, whatever the network and the server do meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ...data.instances import RotatedInstances
from ..conversion import tasks
from .api import Api, LabelStudioError, NotAllowed, is_one_of, pauses

BATCH_TASKS, BATCH_BOXES = 100, 10_000  # about 3 MB a request
ATTEMPTS = 8  # at one batch, with a minute and a half of pauses between them in all
CHECKS_BEFORE_RESEND = 2  # before sending again what the server may be at still
FIELDS = ("data", "predictions", "model_version", "model", "total_annotations", "cancelled_annotations")
_QUERY_CHARACTERS = 6000  # servers take addresses of some 8,000


@dataclass(frozen=True)
class Pushed:
    """What a push found and did.

    Args:
        tasks: image id -> task id, of all images of the selection.
        created: images that had no task before.
        updated: images whose task got this round's prediction in place of another, or of none.
    """

    tasks: dict[str, int]
    created: list[str]
    updated: list[str]


def upsert_tasks(api: Api, project: int, wanted: Mapping[str, dict], there: Mapping[str, dict]) -> Pushed:
    """Send what is missing and look again, until every task is there once, with its prediction.

    Args:
        api: the server.
        project: its id.
        wanted: image id -> task.
        there: what :func:`find` found of them.

    Raises:
        LabelStudioError: when a server that can be reached keeps refusing; what was made stays.
    """
    created: list[str] = []
    updated: list[str] = []
    problem: LabelStudioError | None = None
    looks = 0
    for attempt in pauses(ATTEMPTS):
        try:
            there = find(api, project, list(wanted)) if attempt else there
            if looks and any(i not in there for i in wanted):
                looks -= 1
                continue
            while True:
                missing = [i for i in wanted if i not in there]
                lacking = [i for i in wanted if i in there and _needs(there[i], wanted[i])]
                if not missing and not lacking:
                    changed = [i for i in dict.fromkeys(updated) if i not in created]
                    return Pushed({i: there[i]["id"] for i in wanted}, created, changed)
                created += [i for i in missing if i not in created]
                updated += lacking
                if missing:
                    api.once("POST", f"api/projects/{project}/import", [wanted[i] for i in missing])
                _predict(api, project, {i: (there[i], wanted[i]["predictions"][0]) for i in lacking})
                before, there = there, find(api, project, list(wanted))
                if there == before:
                    raise LabelStudioError(f"{api.url} takes the tasks and does not keep them")
        except NotAllowed:
            raise
        except LabelStudioError as error:
            if error.is_final:
                raise
            # What was sent may have been done, or be done yet: look, before sending again. A server that is too busy
            # says that it has not begun.
            problem, looks = error, 0 if error.status in (429, 503) else CHECKS_BEFORE_RESEND
    left = [i for i in wanted if i not in there]
    raise LabelStudioError(
        f"{len(left)} of {len(wanted)} tasks are not in project {project} yet, e.g. of image "
        f"{(left or list(wanted))[0]!r}; push again when this is mended, nothing will be there twice: {problem}"
    ) from problem


def find(api: Api, project: int, image_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """image id -> its oldest task, with the names of its predictions.

    A server that was slow may have done late what was sent again: a newer task that is the same in all is deleted,
    unless somebody has answered it.
    """
    found: dict[str, dict[str, Any]] = {}
    doubles: list[int] = []
    for some in _portions(image_ids):
        for task in api.tasks(project, [is_one_of(some)], FIELDS):
            # Without the boxes: of ten thousand images they would fill the memory.
            task["predictions"] = [
                {k: one.get(k) for k in ("id", "model_version", "model")} for one in task["predictions"]
            ]
            kept = found.setdefault(task["data"][tasks.IMAGE_ID], task)
            answered = task["total_annotations"] or task["cancelled_annotations"]
            if kept is not task and kept["data"] == task["data"] and not answered:
                doubles.append(task["id"])
    for double in doubles:
        api.once("DELETE", f"api/tasks/{double}")
    return found


def answered(api: Api, project: int, image_ids: Sequence[str]) -> dict[str, tuple[int, dict[str, Any], str]]:
    """image id -> its oldest task, that task's data, and when an annotation of it was changed last (or "")."""
    found: dict[str, tuple[int, dict[str, Any], str]] = {}
    for some in _portions(image_ids):
        for task in api.tasks(project, [is_one_of(some)], ["data", "annotations", "updated_at"]):
            last = max((one["updated_at"] for one in task["annotations"]), default="")
            found.setdefault(task["data"][tasks.IMAGE_ID], (task["id"], task["data"], last))
    return found


def ordered(selection: pd.DataFrame | Sequence[str]) -> dict[str, dict[str, Any]]:
    """The images of a selection, the most wanted first, with what their tasks say of each."""
    frame = selection if isinstance(selection, pd.DataFrame) else pd.DataFrame({"image_id": list(selection)})
    ids = frame["image_id"].tolist()
    scores = [None if pd.isna(score) else float(score) for score in frame.get("score", [None] * len(ids))]
    ranks = [int(rank) for rank in frame.get("rank", range(1, len(ids) + 1))]
    if len(set(ids)) != len(ids):
        raise ValueError(f"expected distinct images, got {len(ids)} of which {len(set(ids))} differ")
    whys = ["" if pd.isna(why) else str(why) for why in frame.get("why", [""] * len(ids))]
    told = zip(ranks, scores, whys, strict=True)
    return {i: {"rank": r, "uncertainty": s, "why": w} for i, (r, s, w) in zip(ids, told, strict=True)}


def batches(image_ids: Sequence[str], detections: RotatedInstances) -> Iterator[list[str]]:
    """Images in order, so many that a request stays small."""
    batch: list[str] = []
    boxes = 0
    for image_id in image_ids:
        more = detections[image_id].n_boxes if image_id in detections else 0
        if batch and (len(batch) == BATCH_TASKS or boxes + more > BATCH_BOXES):
            yield batch
            batch, boxes = [], 0
        batch.append(image_id)
        boxes += more
    if batch:
        yield batch


def _predict(api: Api, project: int, needed: Mapping[str, tuple[dict, dict]]) -> None:
    """Give tasks that are there their prediction, in the place of an imported one where they have it."""
    new = []
    for task, prediction in needed.values():
        imported = _imported(task)
        if not imported:
            new.append({"task": task["id"], **prediction})
            continue
        api.once("PATCH", f"api/predictions/{imported[-1]['id']}", {"task": task["id"], **prediction})
        for double in imported[:-1]:
            api.once("DELETE", f"api/predictions/{double['id']}")
    if new:
        api.once("POST", f"api/projects/{project}/import/predictions", new)


def _needs(task: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a task that is there has no prediction of this version, or others beside it."""
    if not wanted.get("predictions"):
        return False
    return [one["model_version"] for one in _imported(task)] != [wanted["predictions"][0]["model_version"]]


def _imported(task: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Predictions that somebody pushed; an ML backend's own carry its number."""
    return [one for one in task["predictions"] if one.get("model") is None]


def _portions(image_ids: Sequence[str]) -> Iterator[list[str]]:
    """Ids that fit into one address, where each odd character takes twelve."""
    some: list[str] = []
    length = 0
    for image_id in image_ids:
        more = 8 + sum(1 if c.isalnum() and c.isascii() else 12 for c in image_id)
        if some and length + more > _QUERY_CHARACTERS:
            yield some
            some, length = [], 0
        some.append(image_id)
        length += more
    if some:
        yield some
