"""Label Studio as the annotator of a loop."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from ..data import images
from ..evaluation import corrections
from ..loop.annotator import Answer, Query
from ..storage.files import atomic_write
from ..workspace import COST_COLUMNS, Workspace
from .client.addresses import addresses
from .client.api import LabelStudioError, NotAllowed
from .client.label_studio import LabelStudio
from .client.pulled import Pulled
from .connection import Connection, connect
from .conversion.annotations import Reading

__all__ = ["Connection", "LabelStudioAnnotator", "connect"]

TASKS_FILE = "label_studio_tasks.json"  # in a workspace
RENDITIONS = "renditions"  # its folder of PNGs of the images that browsers do not show


class LabelStudioAnnotator:
    """People in Label Studio; see :class:`~al_rotate.loop.annotator.Annotator`.

    The server keeps the queries and the answers. The workspace's ``label_studio_tasks.json`` keeps which tasks were
    made, to tell a task that somebody deleted from one that was never made, and the images' sizes.

    Args:
        workspace: the loop's folder.
        connection: None takes the workspace's.

    Raises:
        ValueError: if the workspace has no connection.
    """

    def __init__(self, workspace: str | Path, connection: Connection | None = None) -> None:
        self.folder = Path(workspace).absolute()
        connection = connection or Connection.load(self.folder)
        if connection is None:
            raise ValueError(f"{self.folder} is not connected to Label Studio: al-rotate connect {self.folder} --help")
        self.connection = connection
        self.studio: LabelStudio | None = None  # signed in on first use
        self._classes = tuple(connection.classes) if connection.classes else None
        stored = self._load()
        # image id -> the round that queried it again, and when it had been answered last before that
        self._queried_again = {i: (int(number), str(moment)) for i, (number, moment) in stored.get("again", {}).items()}
        self._sizes = {i: (int(width), int(height)) for i, (width, height) in stored.get("sizes", {}).items()}
        self._waiting: set[str] = set()  # images pushed since the last pull; those that are open are, before each one
        self._unreadable: dict[str, str] = {}  # image id -> why
        self._notes: list[dict[str, object]] = []  # for the next answer's account

    @property
    def shown(self) -> float | None:
        """The least score of a box that is sent; None: the loop decides."""
        return self.connection.shown

    def push(self, query: Query) -> None:
        """Ask for labels; see :meth:`al_rotate.loop.Annotator.push`.

        Raises:
            UnreadableImage: if none of the images can be read.
            LabelStudioError: if Label Studio cannot be reached or refuses.
        """
        self._waiting.update(query.image_ids)
        self._follow_classes()
        self._read_sizes(query)
        shown = query.boxes_to_show(self.shown)
        self._classes = self._classes or shown.classes
        if self._classes and self.connection.rename:
            shown = shown.replace(classes=self.connection.project_labels(self._classes))
        columns = {"image_id": query.image_ids, "score": query.scores, "figure": query.figures}
        columns |= {"rank": query.ranks, "why": query.whys}
        selection = pd.DataFrame({name: column for name, column in columns.items() if column is not None})
        tasks = self._tasks()
        if query.again:
            selection = self._query_again(selection, query.round)
            if selection.empty:
                return
        unreadable = [i for i in query.image_ids if i in self._unreadable]
        if unreadable and len(unreadable) == len(query.image_ids):
            raise images.UnreadableImage(
                f"none of the {len(unreadable)} images asked for can be read, e.g. {self._unreadable[unreadable[0]]}: "
                "is their folder there?"
            )
        pushed = self._sign_in().push(
            self.connection.project,
            selection[~selection["image_id"].isin(unreadable)],
            shown,
            query.paths,
            addresses(self.connection.images, self.connection.document_root, self.folder / RENDITIONS),
            query.model_version,
            query.round,
        )
        for image_id in pushed.created:
            if image_id in tasks:
                detail = f"task {tasks[image_id]} was deleted in Label Studio before it was answered; asked again"
                self._note(image_id, "asked again", f"{detail} as task {pushed.tasks[image_id]}")
        self._save(tasks | pushed.tasks)

    def pull(self, since: str | None = None) -> Answer:
        """Collect answers; see :meth:`al_rotate.loop.Annotator.pull`.

        Raises:
            LabelStudioError: if Label Studio cannot be reached, refuses, or its answer is incomplete.
        """
        options = replace(self.connection.read_options(self._sizes or None), classes=self._classes)
        moments = {image_id: moment for image_id, (_, moment) in self._queried_again.items()}
        pulled = self._sign_in().pull(
            self.connection.project, since=since, options=options, after=moments, waiting=self._waiting
        )
        self._waiting.clear()
        for note in pulled.notes:
            self._note("", "project", note)
        self._note_deleted(pulled)
        reading = pulled.reading
        table = corrections.compare(
            reading.predicted, reading.labels, reading.predicted_ids.tolist(), reading.label_ids.tolist()
        )
        notes, self._notes = pd.DataFrame(self._notes), []
        # An image that has a task is not skipped because its file is missing at the moment.
        tasks = self._tasks()
        lost = {i: why for i, why in self._unreadable.items() if i not in tasks and i not in reading.labels}
        return Answer(
            labels=reading.labels,
            skipped=lost | reading.skipped,
            costs=_costs(reading, table),
            unanswered=reading.unanswered,
            corrections=table,
            account=pd.concat([reading.account, notes], ignore_index=True) if len(notes) else reading.account,
            cursor=pulled.cursor,
        )

    def _query_again(self, selection: pd.DataFrame, number: int) -> pd.DataFrame:
        """Query tasks that are answered: only answers after this moment count. Returns the images without a task.

        The moments are stored before the tasks are updated or made, so that a push that was killed, and every later
        one, keeps the first ones: to a task that is made now each answer counts.
        """
        stored = {i: moment for i, (round, moment) in self._queried_again.items() if round == number}
        moments = self._sign_in().answered(self.connection.project, selection["image_id"].tolist())
        self._queried_again |= {i: (number, stored.get(i, moments.get(i, ""))) for i in selection["image_id"]}
        self._save(self._tasks())
        self._sign_in().update_tasks(self.connection.project, selection, number)
        return selection[~selection["image_id"].isin(moments)]

    def _follow_classes(self) -> None:
        """Bring the project's labels up to the workspace's classes, which may have been renamed, merged or added to."""
        with Workspace.open(self.folder, read_only=True) as workspace:
            classes, former = workspace.classes, workspace.former_classes()
        before = tuple(self.connection.classes or ())
        if before != classes and before in former:
            self.connection = self.connection.with_classes(self._sign_in(), classes, former[before])
            self.connection.save(self.folder)
            self._classes = classes

    def _note_deleted(self, pulled: Pulled) -> None:
        """Report tasks that were deleted; labels that came from them stay."""
        tasks = self._tasks()
        if pulled.n_tasks >= len(tasks):
            return
        existing = self._sign_in().task_ids(self.connection.project)
        for image_id in sorted(tasks.keys() - existing.keys()):
            detail = f"task {tasks.pop(image_id)} was deleted in Label Studio; what was taken over of it is kept"
            self._note(image_id, "deleted", detail)
        self._save(tasks)

    def _read_sizes(self, query: Query) -> None:
        """Read the sizes of all images; one that cannot be read or shown is answered as skipped."""
        for image_id in query.image_ids:
            try:
                self._sizes[image_id] = images.size(query.paths[image_id])
                images.rendition(query.paths[image_id], self.folder / RENDITIONS)
                self._unreadable.pop(image_id, None)
            except images.UnreadableImage as error:
                self._unreadable[image_id] = f"cannot be read: {error}"
                self._note(image_id, "left out", f"not pushed, cannot be read: {error}")

    def _sign_in(self) -> LabelStudio:
        if self.studio is None:
            try:
                self.studio = LabelStudio.connect(self.connection.url, self.connection.token())
            except LabelStudioError as error:
                if (self.folder / "label_studio").is_dir() and not isinstance(error, NotAllowed):
                    raise LabelStudioError(f"{error} al-rotate studio {self.folder} starts it") from error
                raise
        return self.studio

    def _note(self, image_id: str, action: str, detail: str) -> None:
        note: dict[str, object] = {"image_id": image_id, "action": action, "detail": detail}
        if note not in self._notes:  # a query is pushed once more before each collection
            self._notes.append(note)

    def _tasks(self) -> dict[str, int]:
        """Get the tasks that were made in this project: image id -> task."""
        return {str(image_id): int(number) for image_id, number in self._load().get("tasks", {}).items()}

    def _load(self) -> dict[str, Any]:
        path = self.folder / TASKS_FILE
        try:
            stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            if stored.get("project") != self.connection.project:
                return {}
            for key in ("tasks", "sizes", "again"):
                stored.get(key, {}).items()
        except (AttributeError, ValueError) as error:
            raise ValueError(
                f"expected the tasks of project {self.connection.project} in {path}, got a damaged file ({error}): "
                "delete it; the next query or collect finds the tasks again"
            ) from None
        return dict(stored)

    def _save(self, tasks: Mapping[str, int]) -> None:
        sizes = {image_id: list(size) for image_id, size in self._sizes.items()}
        content = {
            "project": self.connection.project,
            "tasks": tasks,
            "sizes": sizes,
            "again": self._queried_again,
        }
        with atomic_write(self.folder / TASKS_FILE) as file:
            json.dump(content, file)


def _costs(reading: Reading, table: pd.DataFrame) -> pd.DataFrame:
    """Return who answered in how many seconds, and how many boxes of each labelled image changed in which way."""
    counts = corrections.counts(table, reading.labels.image_ids)
    return reading.costs.merge(counts, "left", "image_id")[["image_id", *COST_COLUMNS]]
