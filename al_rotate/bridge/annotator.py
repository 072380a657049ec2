"""Label Studio as the annotator of a loop, and how a workspace remembers which project answers it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from ..data import images
from ..evaluation import corrections
from ..loop.annotator import Answer, Query
from ..storage.files import atomic_write
from ..workspace import COST_COLUMNS
from .client.addresses import addresses
from .client.api import LabelStudioError, NotAllowed
from .client.label_studio import LabelStudio, Pulled
from .connection import Connection
from .conversion.annotations import Reading


class LabelStudioAnnotator:
    """People in Label Studio; see :class:`~al_rotate.annotators.Annotator`.

    The server keeps the questions and the answers. What is kept here (``label_studio_tasks.json`` in the workspace)
    tells a task that somebody deleted from one that was never made, and how large the images are.

    Args:
        workspace: the loop's folder.
        connection: None takes what the workspace remembers.
    """

    def __init__(self, workspace: str | Path, connection: Connection | None = None) -> None:
        self.folder = Path(workspace).absolute()
        found = connection or Connection.load(self.folder)
        if found is None:
            raise ValueError(f"{self.folder} is not connected to Label Studio: al-rotate connect {self.folder} --help")
        self.connection = found
        self.studio: LabelStudio | None = None  # signed in when it is first needed
        self._classes = tuple(found.classes) if found.classes else None
        self._again = {i: (int(number), str(moment)) for i, (number, moment) in self._kept().get("again", {}).items()}
        self._sizes = {i: (int(width), int(height)) for i, (width, height) in self._kept().get("sizes", {}).items()}
        self._unreadable: dict[str, str] = {}
        self._told: list[dict[str, object]] = []

    def push(self, query: Query) -> None:
        """See :meth:`Annotator.push`."""
        self._read_sizes(query)
        shown = query.detections
        if shown.scores is not None:
            shown = shown.where(shown.scores >= self.connection.shown)
        self._classes = self._classes or shown.classes
        if self._classes and self.connection.rename:
            called = {name: label for label, name in self.connection.rename.items()}
            shown = shown.replace(classes=tuple(called.get(name, name) for name in self._classes))
        every = {"image_id": query.image_ids, "score": query.scores, "rank": query.ranks, "why": query.whys}
        selection = pd.DataFrame({name: column for name, column in every.items() if column is not None})
        known = self._tasks()
        if query.again:
            selection = self._ask_again(selection, query.round)
            if selection.empty:
                return
        unreadable = [i for i in query.image_ids if i in self._unreadable]
        if unreadable and len(unreadable) == len(query.image_ids):
            image_id = unreadable[0]
            raise images.UnreadableImage(
                f"none of the {len(unreadable)} images asked for can be read, e.g. {self._unreadable[image_id]}: is "
                "their folder there?"
            )
        selection = selection[~selection["image_id"].isin(unreadable)]
        pushed = self._sign_in().push(
            self.connection.project,
            selection,
            shown,
            query.paths,
            addresses(self.connection.images, self.connection.document_root),
            query.model_version,
            query.round,
        )
        for image_id in pushed.created:
            if image_id in known:
                detail = f"task {known[image_id]} was deleted in Label Studio before it was answered; asked again"
                self._tell(image_id, "asked again", f"{detail} as task {pushed.tasks[image_id]}")
        self._keep(known | pushed.tasks)

    def pull(self, since: str | None = None) -> Answer:
        """See :meth:`Annotator.pull`."""
        c = self.connection
        pulled = self._sign_in().pull(
            c.project,
            self._classes,
            since,
            c.policy,
            c.polygons,
            c.rename,
            self._sizes or None,
            {image_id: moment for image_id, (_, moment) in self._again.items()},
        )
        for note in pulled.notes:
            self._tell("", "project", note)
        self._notice_deleted(pulled)
        reading = pulled.reading
        table = corrections.compare(
            reading.predicted, reading.labels, reading.predicted_ids.tolist(), reading.label_ids.tolist()
        )
        told, self._told = pd.DataFrame(self._told), []
        # What is there to be answered is not skipped because its file is away just now.
        lost = {i: why for i, why in self._unreadable.items() if i not in self._tasks() and i not in reading.labels}
        return Answer(
            reading.labels,
            lost | reading.skipped,
            _costs(reading, table),
            reading.unanswered,
            table,
            pd.concat([reading.account, told], ignore_index=True) if len(told) else reading.account,
            pulled.cursor,
        )

    def _ask_again(self, selection: pd.DataFrame, number: int) -> pd.DataFrame:
        """Of tasks that are answered: an answer counts when it is given after this. Returns the images without a task.

        The moments are kept before anybody is told, so that a push that was killed does not take them for later.
        """
        known = {image_id: moment for image_id, (asked, moment) in self._again.items() if asked == number}
        moments = self._sign_in().answered(self.connection.project, selection["image_id"].tolist())
        for image_id in selection["image_id"]:
            self._again.pop(image_id, None)
        self._again |= {image_id: (number, known.get(image_id, moment)) for image_id, moment in moments.items()}
        self._keep(self._tasks())
        self._sign_in().tell_again(self.connection.project, selection, number)
        return selection[~selection["image_id"].isin(moments)]

    def _notice_deleted(self, pulled: Pulled) -> None:
        """A task that was deleted tells nothing any more: what was taken over of it stays, and is reported."""
        known = self._tasks()
        if pulled.n_tasks >= len(known):
            return
        there = self._sign_in().task_ids(self.connection.project)
        for image_id in sorted(known.keys() - there.keys()):
            detail = f"task {known.pop(image_id)} was deleted in Label Studio; what was taken over of it is kept"
            self._tell(image_id, "deleted", detail)
        self._keep(known)

    def _read_sizes(self, query: Query) -> None:
        """Of all images; one that cannot be read cannot be labelled either, and is answered as skipped."""
        for image_id in query.image_ids:
            try:
                self._sizes[image_id] = images.size(query.paths[image_id])
                self._unreadable.pop(image_id, None)
            except images.UnreadableImage as error:
                self._unreadable[image_id] = f"cannot be read: {error}"
                self._tell(image_id, "left out", f"not pushed, cannot be read: {error}")

    def _sign_in(self) -> LabelStudio:
        if self.studio is None:
            try:
                self.studio = LabelStudio.connect(self.connection.url, self.connection.token())
            except LabelStudioError as error:
                if (self.folder / "label_studio").is_dir() and not isinstance(error, NotAllowed):
                    raise LabelStudioError(f"{error} al-rotate studio {self.folder} starts it") from error
                raise
        return self.studio

    def _tell(self, image_id: str, action: str, detail: str) -> None:
        row: dict[str, object] = {"image_id": image_id, "action": action, "detail": detail}
        if row not in self._told:  # a query is pushed once more before each collection
            self._told.append(row)

    def _tasks(self) -> dict[str, int]:
        """image id -> task, of those that were made in this project."""
        return {str(image_id): int(number) for image_id, number in self._kept().get("tasks", {}).items()}

    def _kept(self) -> dict[str, Any]:
        path = self.folder / "label_studio_tasks.json"
        kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return kept if kept.get("project") == self.connection.project else {}

    def _keep(self, tasks: dict[str, int]) -> None:
        sizes = {image_id: list(size) for image_id, size in self._sizes.items()}
        with atomic_write(self.folder / "label_studio_tasks.json") as file:
            kept = {"project": self.connection.project, "tasks": tasks, "sizes": sizes, "again": self._again}
            json.dump(kept, file)


def _costs(reading: Reading, table: pd.DataFrame) -> pd.DataFrame:
    """Who answered in how many seconds, and of labelled images the boxes added, moved, relabelled and deleted."""
    counts = corrections.counts(table, reading.labels.image_ids)
    return reading.costs.merge(counts, "left", "image_id")[["image_id", *COST_COLUMNS]]
