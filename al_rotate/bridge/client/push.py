"""Bring tasks into a project exactly once each, whatever the network and the server do meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from ...data import RotatedInstances
from ..conversion.tasks import IMAGE_ID, SHOWN_VERSION, is_importable, region_names
from .api import OURS, Api, LabelStudioError, NotAllowed, is_one_of, pauses, portions, split_by_size

BATCH_TASKS, BATCH_BOXES = 100, 5_000  # about 3 MB per request
ATTEMPTS = 8  # per batch, with pauses of a minute and a half in total
CHECKS_BEFORE_RESEND = 2  # after a time-out: the server may still be working on the request
FIELDS = ("data", "predictions", "result", "model_version", "model", "total_annotations", "cancelled_annotations")


@dataclass(frozen=True)
class Pushed:
    """What a push did.

    Args:
        tasks: image id -> task id, of all images of the selection.
        created: images that had no task before.
        updated: images whose task got this round's prediction in place of another, or of none.
    """

    tasks: dict[str, int]
    created: list[str]
    updated: list[str]


def upsert_tasks(api: Api, project: int, wanted: Mapping[str, dict], existing: Mapping[str, dict]) -> Pushed:
    """Send what is missing and check again, until every task exists once, with its prediction.

    Args:
        api: the server.
        project: its id.
        wanted: image id -> task.
        existing: what :func:`find_tasks` found of them.

    Raises:
        LabelStudioError: if a server that can be reached keeps refusing; tasks made so far stay.
    """
    created: list[str] = []
    updated: list[str] = []
    problem: LabelStudioError | None = None
    checks_left = 0
    for attempt in pauses(ATTEMPTS):
        try:
            existing = find_tasks(api, project, list(wanted)) if attempt else existing
            if checks_left and any(i not in existing for i in wanted):
                checks_left -= 1
                continue
            while True:
                missing = [i for i in wanted if i not in existing]
                outdated = [i for i in wanted if i in existing and _lacks_prediction(existing[i], wanted[i])]
                if not missing and not outdated:
                    changed = [i for i in dict.fromkeys(updated) if i not in created]
                    return Pushed({i: existing[i]["id"] for i in wanted}, created, changed)
                created += [i for i in missing if i not in created]
                updated += outdated
                if missing:
                    api.once("POST", f"api/projects/{project}/import", [wanted[i] for i in missing])
                _send_predictions(api, project, {i: (existing[i], wanted[i]["predictions"][0]) for i in outdated})
                before, existing = existing, find_tasks(api, project, list(wanted))
                if existing == before:
                    raise LabelStudioError(f"{api.url} accepts the tasks but does not keep them")
        except NotAllowed:
            raise
        except LabelStudioError as error:
            if error.is_final:
                raise
            # The request may have been executed, or be executed still: check before sending again. A server that is
            # too busy says that it has not begun.
            problem, checks_left = error, 0 if error.status in (429, 503) else CHECKS_BEFORE_RESEND
    left = [i for i in wanted if i not in existing]
    raise LabelStudioError(
        f"{len(left)} of {len(wanted)} tasks are not in project {project} yet, e.g. of image "
        f"{(left or list(wanted))[0]!r}; push again once this is fixed, no task will be made twice: {problem}"
    ) from problem


def find_tasks(api: Api, project: int, image_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Find the oldest task of each image, with its predictions' versions and regions' names: image id -> task.

    A slow server may finish an import after it was sent again: of identical tasks the newer one is deleted, unless
    somebody has answered it.
    """
    tasks: dict[str, dict[str, Any]] = {}
    doubles: list[int] = []
    for ids in portions(image_ids):
        for task in api.tasks(project, [is_one_of(ids)], FIELDS):
            # Without the boxes, which would fill the memory for ten thousand images.
            task["predictions"] = [
                {**{key: entry.get(key) for key in ("id", "model_version", "model")}, "regions": region_names(entry)}
                for entry in task["predictions"]
            ]
            kept = tasks.setdefault(task["data"][IMAGE_ID], task)
            is_answered = task["total_annotations"] or task["cancelled_annotations"]
            if kept is not task and kept["data"] == task["data"] and not is_answered:
                doubles.append(task["id"])
    for double in doubles:
        api.once("DELETE", f"api/tasks/{double}")
    return tasks


class TaskAnswer(NamedTuple):
    """A task, its data, and when an annotation of it changed last ("" for one without)."""

    task: int
    data: dict[str, Any]
    moment: str


def find_answers(api: Api, project: int, image_ids: Sequence[str]) -> dict[str, TaskAnswer]:
    """Find the oldest task of each image and when it was answered last: image id -> answer."""
    answers: dict[str, TaskAnswer] = {}
    for ids in portions(image_ids):
        for task in api.tasks(project, [is_one_of(ids)], ["data", "annotations", "updated_at"]):
            last = max((annotation["updated_at"] for annotation in task["annotations"]), default="")
            answers.setdefault(task["data"][IMAGE_ID], TaskAnswer(task["id"], task["data"], last))
    return answers


def queried_images(selection: pd.DataFrame | Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read a selection: image id -> rank, uncertainty, score and reason for its task, the most informative first.

    The uncertainty is the strategy's own ``figure``, where the selection has such a column, else the score.
    """
    frame = selection if isinstance(selection, pd.DataFrame) else pd.DataFrame({"image_id": list(selection)})
    ids = frame["image_id"].tolist()
    scores = [None if pd.isna(score) else float(score) for score in frame.get("score", [None] * len(ids))]
    figures = [None if pd.isna(figure) else float(figure) for figure in frame.get("figure", scores)]
    ranks = [int(rank) for rank in frame.get("rank", range(1, len(ids) + 1))]
    if len(set(ids)) != len(ids):
        raise ValueError(f"expected distinct images, got {len(ids)} of which {len(set(ids))} differ")
    whys = ["" if pd.isna(why) else str(why) for why in frame.get("why", [""] * len(ids))]
    facts = zip(ids, ranks, figures, scores, whys, strict=True)
    return {i: {"rank": r, "uncertainty": f, "score": s, "why": w} for i, r, f, s, w in facts}


def split_batches(image_ids: Sequence[str], detections: RotatedInstances) -> Iterator[list[str]]:
    """Split images, in order, into batches whose requests stay small."""

    def n_boxes(image_id: str) -> int:
        return detections[image_id].n_boxes if image_id in detections else 0

    return split_by_size(image_ids, n_boxes, BATCH_BOXES, BATCH_TASKS)


def _send_predictions(api: Api, project: int, needed: Mapping[str, tuple[dict, dict]]) -> None:
    """Give existing tasks their prediction, replacing an imported one where there is one."""
    new = []
    for task, prediction in needed.values():
        imported = _imported(task)
        if not imported:
            entry = {"task": task["id"], **prediction}
            if is_importable(prediction):
                new.append(entry)
            else:  # the bulk import would leave it out without an error
                api.once("POST", "api/predictions", entry)
            continue
        api.once("PATCH", f"api/predictions/{imported[-1]['id']}", {"task": task["id"], **prediction})
        for double in imported[:-1]:
            api.once("DELETE", f"api/predictions/{double['id']}")
    if new:
        api.once("POST", f"api/projects/{project}/import/predictions", new)


def show_all_predictions(api: Api, project: int) -> None:
    """Show our predictions in all tasks to whoever labels; needed once in a project of an earlier release.

    There each prediction is kept under the name of its weights, and the server shows those of the last round alone.
    """
    for task in api.tasks(project, [OURS], ["predictions", "model_version", "model"]):
        for entry in _imported(task):
            if entry["model_version"] != SHOWN_VERSION:
                api.once("PATCH", f"api/predictions/{entry['id']}", {"model_version": SHOWN_VERSION})
    api.once("PATCH", f"api/projects/{project}", {"model_version": SHOWN_VERSION})


def _lacks_prediction(task: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether an existing task has no prediction of these boxes by these weights, or has others besides.

    What a person submitted started from the prediction that is there, and is compared with it: that one stays.
    """
    if not wanted.get("predictions") or task["total_annotations"]:
        return False
    (prediction,) = wanted["predictions"]
    shown = [(entry["model_version"], entry["regions"]) for entry in _imported(task)]
    return shown != [(prediction["model_version"], region_names(prediction))]


def _imported(task: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The predictions that somebody pushed; those of an ML backend carry its number."""
    return [prediction for prediction in task["predictions"] if prediction.get("model") is None]
