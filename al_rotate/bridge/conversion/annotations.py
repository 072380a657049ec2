"""Label Studio's annotations -> labels, with an account of everything dropped, held back or odd.

What counts as a label, and what never does:

- A submitted annotation is a label; **empty** it says that the image shows no object. Predictions and drafts are not.
- A **skipped** task says nothing about the image: it is never a negative.
- A region that cannot become a rotated box but may mark an object (an unknown label, a brush, a broken number, a box
  of which less than a tenth lies in the image) **quarantines its image**: without the region, the detector would learn
  that there is background. The image counts as unanswered until the region is corrected. Only a box without a size, an
  accidental click, and the exact copy of another are dropped.
- What is drawn on **another object or page** of the task is not of this image; the account names it.
- A task with a **malformed record** is left out, and the account says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...data import RotatedInstances
from .export_file import LONG_AGO, check_task, is_task, parse_time
from .options import POLICIES, ReadOptions
from .policy import choose_answer
from .regions import Regions, Target, read_regions
from .tasks import IMAGE_ID, image_id_of

__all__ = ["ACCOUNT", "POLICIES", "ReadOptions", "Reading", "answered_since", "read"]

ACCOUNT = ("image_id", "task", "annotation", "region", "action", "detail")


@dataclass(frozen=True, eq=False)
class Reading:
    """What annotations say.

    Args:
        labels: the labelled images, with classes and image sizes; without a box: confirmed empty.
        skipped: image id -> who skipped it.
        unanswered: images with no answer that counts: none, drafts only, no agreement, or quarantined.
        quarantined: image id -> what has to be corrected in Label Studio.
        account: the columns of ACCOUNT; `action` is quarantined, dropped, noted, draft, skipped, conflict or left out.
        costs: of labelled and skipped images: ``image_id``, ``annotator`` (whose answer counts), ``seconds`` (of all
            who answered; NaN if unknown).
        label_ids: (N,) the region id of each label.
        predicted: of the labelled images, the boxes that their annotators started from.
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


def read(
    tasks: Iterable[Mapping[str, Any]],
    classes: Sequence[str] | None = None,
    options: ReadOptions | None = None,
    **changes: Any,
) -> Reading:
    """Read tasks one at a time, as Label Studio's JSON export or its API gives them.

    Args:
        tasks: with ``annotations``, and ``predictions`` and ``drafts`` where there are any.
        classes: class names in the order of the labels; None takes those of the options.
        options: how to read; None takes the defaults of :class:`ReadOptions`.
        changes: fields of :class:`ReadOptions` that differ from `options`.

    Raises:
        ValueError: for no classes or text in their place, an unknown policy, or something that is no task.
    """
    options = ReadOptions.merged(options, classes, changes)
    if options.classes is None:
        raise ValueError("expected the class names in the order of the labels, got none")
    reader = _Reader(options)
    for task in tasks:
        reader.add(task)
    return reader.result()


def answered_since(task: Mapping[str, Any], moment: str) -> bool:
    """Whether one of a task's annotations changed after that moment; an empty one lies before all others."""
    return any(_changed_at(annotation) > parse_time(moment) for annotation in task["annotations"])


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

    @property
    def precedence(self) -> tuple[bool, datetime]:
        """Of two tasks that show one image, the answer with the greater one counts."""
        return self.kind != "unanswered", self.time


class _Reader:
    """Collects the answers of tasks, image by image."""

    def __init__(self, options: ReadOptions) -> None:
        self.options, self.image_key = options, options.image_key or "image"
        self.target = Target(
            options.label_codes(),
            options.polygons,
            options.to_name,
            options.from_name,
            self.image_key,
            options.only_label(),
        )
        self.answers: dict[str, _Answer] = {}
        self.clashes: dict[str, _Answer] = {}  # of different images with one id
        self.addresses: dict[str, Any] = {}  # image id -> address, where the id is the name of a file
        self.account: list[tuple[Any, ...]] = []

    def add(self, task: Mapping[str, Any]) -> None:
        """Take in one task."""
        if not is_task(task):
            raise ValueError(f"expected tasks with data and annotations, got {str(task)[:200]}")
        number = task.get("id")
        try:
            image_id = image_id_of(task["data"], self.image_key)
            image_id = (self.options.image_ids or {}).get(str(task["data"].get(self.image_key)), image_id)
            check_task(task)
        except ValueError as error:
            self.account.append(("", number, None, None, "left out", str(error)))
            return
        answer = self._read_task(task, image_id)
        answer.task = number
        address = task["data"].get(self.image_key)
        if not task["data"].get(IMAGE_ID) and self.addresses.setdefault(image_id, address) != address:
            # Names of files serve as ids here, and two folders may share them.
            detail = f"another image has this name ({self.addresses[image_id]} and {address}): neither is taken over"
            self.account.append((image_id, number, None, None, "quarantined", detail))
            self.clashes[image_id] = _Answer("unanswered", answer.time, number, reason=detail)
            return
        earlier = self.answers.get(image_id)
        if earlier is not None:
            detail = "another task shows the same image; the answer given last counts"
            self.account.append((image_id, number, None, None, "conflict", detail))
        if earlier is None or answer.precedence >= earlier.precedence:
            self.answers[image_id] = answer

    def result(self) -> Reading:
        """What all tasks say together."""
        answers = self.answers | self.clashes
        names = tuple(self.options.classes or ())
        labelled = {i: answer for i, answer in answers.items() if answer.kind == "labelled"}
        answered = {i: answer for i, answer in answers.items() if answer.kind != "unanswered"}
        unanswered = {i: answer for i, answer in answers.items() if answer.kind == "unanswered"}
        labels, label_ids = _to_instances({i: answer.regions for i, answer in labelled.items()}, names)
        predicted, predicted_ids = _to_instances(
            {i: answer.predicted for i, answer in labelled.items()}, names, scores=True
        )
        costs = {
            "image_id": pd.Series(list(answered), dtype=object),
            "annotator": pd.Series([answer.annotator for answer in answered.values()], dtype=object),
            "seconds": pd.Series([answer.seconds for answer in answered.values()], dtype=float),
        }
        return Reading(
            labels=labels,
            skipped={i: answer.reason or "" for i, answer in answers.items() if answer.kind == "skipped"},
            unanswered=list(unanswered),
            quarantined={i: answer.reason for i, answer in unanswered.items() if answer.reason},
            # As objects, so that ids stay whole numbers where some are missing.
            account=pd.DataFrame(self.account, columns=list(ACCOUNT), dtype=object),
            costs=pd.DataFrame(costs),
            label_ids=label_ids,
            predicted=predicted,
            predicted_ids=predicted_ids,
            tasks={i: answer.task for i, answer in answers.items() if answer.task is not None},
        )

    def _read_task(self, task: Mapping[str, Any], image_id: str) -> _Answer:
        def note(annotation: Mapping[str, Any] | None, region: Any, action: str, detail: str) -> None:
            self.account.append((image_id, task.get("id"), annotation and annotation.get("id"), region, action, detail))

        for draft in task.get("drafts") or ():
            who = _person(draft.get("user") if isinstance(draft, Mapping) else None)  # snapshots give its number alone
            note(None, None, "draft", f"an unsubmitted draft of {who} is no label")
        submitted = sorted(task["annotations"], key=_changed_at)
        regions = {id(annotation): self._read_regions(annotation.get("result"), image_id) for annotation in submitted}
        chosen, conflict = choose_answer(submitted, lambda annotation: regions[id(annotation)], self.options.policy)
        if conflict:
            note(chosen, None, "conflict", conflict)
        if chosen is None:
            return _Answer("unanswered", _changed_at(submitted[-1]) if submitted else LONG_AGO)
        seconds = [annotation["lead_time"] for annotation in submitted if annotation.get("lead_time") is not None]
        person = _person(chosen.get("completed_by"))
        answer = _Answer("labelled", _changed_at(chosen), annotator=person, seconds=sum(seconds) if seconds else None)
        if chosen.get("was_cancelled"):
            note(chosen, None, "skipped", f"skipped by {person}; it teaches nothing")
            answer.kind, answer.reason = "skipped", f"skipped by {person}"
            return answer
        answer.regions = regions[id(chosen)]
        for region, action, detail in answer.regions.notes:
            note(chosen, region, action, detail)
        if problems := answer.regions.problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            return _Answer("unanswered", answer.time, reason=problems[0] + more)
        answer.predicted = self._read_regions(_started_from(chosen, task), image_id)
        return answer

    def _read_regions(self, result: Sequence[Mapping[str, Any]] | None, image_id: str) -> Regions:
        size = (self.options.sizes or {}).get(image_id)
        return read_regions(result or (), self.target, size)


def _started_from(annotation: Mapping[str, Any], task: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The predicted regions that a person corrected."""
    exported = annotation.get("prediction")  # exports hold the very one
    if isinstance(exported, Mapping) and "result" in exported:
        return exported["result"] or ()
    predictions = [prediction for prediction in task.get("predictions") or () if isinstance(prediction, Mapping)]
    parent = annotation.get("parent_prediction")
    candidates = [prediction for prediction in predictions if prediction.get("id") == parent]
    candidates = candidates or sorted(predictions, key=_changed_at)
    return (candidates[-1].get("result") or ()) if candidates else ()


def _to_instances(
    regions: Mapping[str, Regions], names: tuple[str, ...], scores: bool = False
) -> tuple[RotatedInstances, NDArray[np.object_]]:
    """Boxes of all images together, and their region ids."""
    parts = list(regions.values())
    ids = np.empty(sum(len(part.boxes) for part in parts), object)
    ids[:] = [region_id for part in parts for region_id in part.ids]
    # Predictions of other makers may lack a score; they were shown all the same.
    values = [score for part in parts for score in part.scores] if scores else None
    instances = RotatedInstances(
        list(regions),
        np.cumsum([0, *(len(part.boxes) for part in parts)]),
        np.concatenate([np.zeros((0, 5)), *(part.boxes for part in parts)]),
        np.concatenate([np.zeros(0, np.int64), *(part.labels for part in parts)]),
        scores=None if values is None else np.array(values, np.float32),
        classes=names,
        image_sizes=np.array([part.size or (0, 0) for part in parts], np.int32).reshape(-1, 2),
    )
    return instances, ids


def _changed_at(entry: Mapping[str, Any]) -> datetime:
    """When an annotation or a prediction changed last; the earliest moment if it does not say."""
    return parse_time(entry.get("updated_at") or entry.get("created_at"))


def _person(who: Any) -> str:
    """The e-mail address where the server gives it, else the user's number."""
    if isinstance(who, Mapping):
        who = who.get("email") or who.get("id")
    return "somebody" if who is None else str(who)
