"""Label Studio's annotations -> labels, with an account of everything dropped, held back or odd.

What counts as a label, and what never does:

- A submitted annotation is a label; **empty** it says that the image shows no object. Predictions and drafts are not.
- A **skipped** task says nothing about the image: it is never a negative.
- A region that cannot become a rotated box but may mark an object (an unknown label, a brush, a broken number)
  **quarantines its image**: left out alone it would teach the detector that there is background. The image counts as
  unanswered until the region is mended. Only a box without a size, an accidental click, is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...data.instances import RotatedInstances
from . import policy as _policy
from . import regions as _regions
from . import tasks
from .regions import Regions

__all__ = ["ACCOUNT", "POLICIES", "Reading", "answered_since", "read"]

POLICIES = ("latest", "ground-truth", "agreement")
ACCOUNT = ("image_id", "task", "annotation", "region", "action", "detail")


@dataclass(frozen=True, eq=False)
class Reading:
    """What annotations say.

    Args:
        labels: the labelled images, with classes and image sizes; without a box: confirmed empty.
        skipped: image id -> who skipped it.
        unanswered: images with no answer that counts: none, drafts only, no agreement, or quarantined.
        quarantined: image id -> what has to be mended in Label Studio.
        account: the columns of ACCOUNT; `action` is quarantined, dropped, noted, draft, skipped, conflict or left out.
        costs: of labelled and skipped images: ``image_id``, ``annotator`` (whose answer counts), ``seconds`` (of all
            who answered; NaN where not known).
        label_ids: (N,) the region id of each label.
        predicted: of the labelled images, the boxes that their annotators began with.
        predicted_ids: (P,) their region ids; equal ids are one object.
        tasks: image id -> the task whose answer counts.
    """

    labels: RotatedInstances
    skipped: dict[str, str]
    unanswered: list[str]
    quarantined: dict[str, str]
    account: pd.DataFrame
    costs: pd.DataFrame
    label_ids: NDArray[np.object_]
    predicted: RotatedInstances
    predicted_ids: NDArray[np.object_]
    tasks: dict[str, int]


@dataclass
class _Answer:
    """What one task says of its image."""

    kind: str  # labelled, skipped or unanswered
    time: datetime
    task: int | None = None
    reason: str | None = None  # of quarantine or skipping
    regions: Regions = field(default_factory=Regions)
    predicted: Regions = field(default_factory=Regions)
    annotator: str | None = None
    seconds: float | None = None


def read(
    given: Iterable[Mapping[str, Any]],
    classes: Sequence[str],
    *,
    policy: str = "latest",
    polygons: bool = False,
    rename: Mapping[str, str] | None = None,
    sizes: Mapping[str, tuple[int, int]] | None = None,
    image_key: str = "image",
) -> Reading:
    """Read tasks, one at a time, as Label Studio's JSON export or its API gives them.

    Args:
        given: tasks with ``annotations``, and ``predictions`` and ``drafts`` where there are any.
        classes: class names in the order of the labels.
        policy: which of several annotators' answers to a task counts. ``latest``: the one changed last, be it a skip;
            where the others differ, the account tells. ``ground-truth``: the one marked so, else none.
            ``agreement``: the latest, if all have the same boxes (pairwise one to one, same class, rotated IoU at
            least 0.7); else none.
        polygons: take a polygon as the rectangle of least area around it.
        rename: label -> class, for labels that are called otherwise.
        sizes: image id -> (width, height), as the detector sees the images. A region drawn on another size is refused.
        image_key: the key of a task's data that holds the image's address.

    Raises:
        ValueError: for an unknown policy, or something that is no task.
    """
    if policy not in POLICIES:
        raise ValueError(f"expected a policy of {', '.join(POLICIES)}, got {policy!r}")
    names = tuple(classes)
    codes = {name: code for code, name in enumerate(names)}
    codes |= {label: codes[name] for label, name in (rename or {}).items() if name in codes}
    answers: dict[str, _Answer] = {}
    namesakes: dict[str, Any] = {}
    clashes: dict[str, _Answer] = {}
    account: list[tuple[Any, ...]] = []
    for task in given:
        if not _is_task(task):
            raise ValueError(f"expected tasks with data and annotations, got {str(task)[:200]}")
        try:
            image_id = tasks.image_id_of(task["data"], image_key)
        except ValueError as error:
            account.append(("", task.get("id"), None, None, "left out", str(error)))
            continue
        size = (sizes or {}).get(image_id)
        answer = _of_task(task, image_id, codes, policy, polygons, size, account)
        answer.task = task.get("id")
        before = answers.get(image_id)
        address = task["data"].get(image_key)
        if not task["data"].get(tasks.IMAGE_ID) and namesakes.setdefault(image_id, address) != address:
            # Nobody gave these ids: they are the names of files, which two folders may share.
            detail = f"another image has this name ({namesakes[image_id]} and {address}): neither is taken over"
            account.append((image_id, task.get("id"), None, None, "quarantined", detail))
            clashes[image_id] = _Answer("unanswered", answer.time, answer.task, reason=detail)
            continue
        if before is not None:
            detail = "another task shows the same image; the answer given last counts"
            account.append((image_id, task.get("id"), None, None, "conflict", detail))
        if before is None or (answer.kind != "unanswered", answer.time) >= (before.kind != "unanswered", before.time):
            answers[image_id] = answer
    return _reading(answers | clashes, names, account)


def answered_since(task: Mapping[str, Any], moment: str) -> bool:
    """Whether one of a task's annotations was changed after that moment; an empty one lies before all others."""
    return any(_time(one) > _time({"updated_at": moment}) for one in task["annotations"])


def _is_task(task: Any) -> bool:
    if not isinstance(task, Mapping) or not isinstance(task.get("data"), Mapping):
        return False
    answers = task.get("annotations")
    return isinstance(answers, list) and all(isinstance(one, Mapping) for one in answers)


def _of_task(
    task: Mapping[str, Any],
    image_id: str,
    codes: Mapping[str, int],
    policy: str,
    polygons: bool,
    size: tuple[int, int] | None,
    account: list[tuple[Any, ...]],
) -> _Answer:
    def tell(annotation: Mapping[str, Any] | None, region: Any, action: str, detail: str) -> None:
        account.append((image_id, task.get("id"), annotation and annotation.get("id"), region, action, detail))

    for draft in task.get("drafts") or ():
        tell(None, None, "draft", f"an unsubmitted draft of {_person(draft.get('user'))} is no label")
    submitted = sorted(task["annotations"], key=_time)
    read_of = {id(one): _regions.read(one.get("result") or (), codes, polygons, size) for one in submitted}
    chosen, conflict = _policy.choose(submitted, lambda one: read_of[id(one)], policy)
    if conflict:
        tell(chosen, None, "conflict", conflict)
    if chosen is None:
        return _Answer("unanswered", _time(submitted[-1]) if submitted else _LONG_AGO)
    seconds = [one["lead_time"] for one in submitted if one.get("lead_time") is not None]
    person = _person(chosen.get("completed_by"))
    answer = _Answer("labelled", _time(chosen), annotator=person, seconds=sum(seconds) if seconds else None)
    if chosen.get("was_cancelled"):
        tell(chosen, None, "skipped", f"skipped by {person}; it teaches nothing")
        answer.kind, answer.reason = "skipped", f"skipped by {person}"
        return answer
    answer.regions = read_of[id(chosen)]
    for region, action, detail in answer.regions.notes:
        tell(chosen, region, action, detail)
    if wrong := answer.regions.wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        return _Answer("unanswered", answer.time, reason=wrong[0] + more)
    answer.predicted = _regions.read(_started_from(chosen, task), codes, polygons, size)
    return answer


def _started_from(annotation: Mapping[str, Any], task: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The predicted regions that a person corrected."""
    kept = annotation.get("prediction")  # exports hold the very one
    if isinstance(kept, Mapping) and "result" in kept:
        return kept["result"] or ()
    there = [one for one in task.get("predictions") or () if isinstance(one, Mapping)]
    parent = [one for one in there if one.get("id") == annotation.get("parent_prediction")]
    found = parent or sorted(there, key=_time)
    return (found[-1].get("result") or ()) if found else ()


def _reading(answers: Mapping[str, _Answer], names: tuple[str, ...], account: list[tuple[Any, ...]]) -> Reading:
    labelled = {i: one for i, one in answers.items() if one.kind == "labelled"}
    answered = {i: one for i, one in answers.items() if one.kind != "unanswered"}
    labels, label_ids = _instances({i: one.regions for i, one in labelled.items()}, names)
    predicted, predicted_ids = _instances({i: one.predicted for i, one in labelled.items()}, names, scores=True)
    return Reading(
        labels,
        {i: one.reason or "" for i, one in answers.items() if one.kind == "skipped"},
        [i for i, one in answers.items() if one.kind == "unanswered"],
        {i: one.reason for i, one in answers.items() if one.kind == "unanswered" and one.reason},
        pd.DataFrame(account, columns=list(ACCOUNT), dtype=object),  # ids stay whole numbers where some are missing
        pd.DataFrame(
            {
                "image_id": pd.Series(list(answered), dtype=object),
                "annotator": pd.Series([one.annotator for one in answered.values()], dtype=object),
                "seconds": pd.Series([one.seconds for one in answered.values()], dtype=float),
            }
        ),
        label_ids,
        predicted,
        predicted_ids,
        {i: one.task for i, one in answers.items() if one.task is not None},
    )


def _instances(
    found: Mapping[str, Regions], names: tuple[str, ...], scores: bool = False
) -> tuple[RotatedInstances, NDArray[np.object_]]:
    parts = list(found.values())
    ids = np.empty(sum(len(part.boxes) for part in parts), object)
    ids[:] = [one for part in parts for one in part.ids]
    # Predictions of other makers may lack a score; they were shown all the same.
    values = [score for part in parts for score in part.scores] if scores else None
    instances = RotatedInstances(
        list(found),
        np.cumsum([0, *(len(part.boxes) for part in parts)]),
        np.concatenate([np.zeros((0, 5)), *(part.boxes for part in parts)]),
        np.concatenate([np.zeros(0, np.int64), *(part.labels for part in parts)]),
        scores=None if values is None else np.array(values, np.float32),
        classes=names,
        image_sizes=np.array([part.size or (0, 0) for part in parts], np.int32).reshape(-1, 2),
    )
    return instances, ids


_LONG_AGO = datetime.min.replace(tzinfo=timezone.utc)


def _time(one: Mapping[str, Any]) -> datetime:
    text = one.get("updated_at") or one.get("created_at")
    if not text:
        return _LONG_AGO
    moment = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _person(who: Any) -> str:
    """The e-mail address where the server tells it, else the user's number."""
    if isinstance(who, Mapping):
        who = who.get("email") or who.get("id")
    return "somebody" if who is None else str(who)
