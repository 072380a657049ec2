"""LabelStudio: sends queries to a project, and takes over the corrections."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from ...data import RotatedInstances
from ...data.columns import as_classes
from ...data.images import size as image_size
from ..conversion.annotations import answered_since
from ..conversion.annotations import read as read_annotations
from ..conversion.export_file import parse_time
from ..conversion.label_config import LabelConfig, read_xml, to_xml
from ..conversion.options import ReadOptions
from ..conversion.tasks import IMAGE_ID, SHOWN_VERSION, check, image_task
from .addresses import Addresses
from .api import OURS, Api, LabelStudioError, changed_since, is_one_of, portions
from .pulled import FIELDS, Pulled, note_other_labels
from .push import (
    Pushed,
    find_answers,
    find_tasks,
    queried_images,
    show_all_predictions,
    split_batches,
    upsert_tasks,
)

_CLOCK_STEP = timedelta(seconds=1)  # the server tells its time to the second
CURSOR_OVERLAP = timedelta(seconds=30)  # a pull looks back: what was saved first may be committed last


class LabelStudio:
    """One server, signed in; make it with :meth:`connect`."""

    def __init__(self, api: Api) -> None:
        self.api = api

    @classmethod
    def connect(cls, url: str, token: str, timeout: float = 120) -> LabelStudio:
        """Sign in.

        Args:
            url: like ``http://localhost:8080``.
            token: a personal access token, or a legacy token.
            timeout: seconds that one answer may take.

        Raises:
            LabelStudioError: if no Label Studio answers there.
            NotAllowed: if it does not accept the token.
        """
        return cls(Api(url, token, timeout))

    def open_project(self, title: str, classes: Sequence[str], description: str = "") -> int:
        """Find the project with this title, or make it for rotated boxes of these classes; return its id.

        Tasks are handed out in the order in which they were pushed, the most informative first, and open with the
        predicted boxes in place.

        Raises:
            ValueError: if the title is shorter than three characters, several projects have it, the project lacks one
                of the classes, or these are no sequence of names.
        """
        classes = as_classes(classes) or ()
        if not 3 <= len(title) <= 50:
            raise ValueError(f"expected a title of 3 to 50 characters, got {title!r}")
        similar = self.api.do(lambda: list(self.api.sdk.projects.list(title=title)))
        numbers = [project.id for project in similar if project.title == title]
        if len(numbers) > 1:
            raise ValueError(f"{len(numbers)} projects are called {title!r} ({numbers}): rename one")
        if numbers:
            self._read_config(numbers[0], classes)
            return int(numbers[0])
        body = {
            "title": title,
            "description": description,
            "label_config": to_xml(classes),
            "sampling": "Sequential sampling",
            "show_collab_predictions": True,
            "maximum_annotations": 1,
        }
        return int(self.api.once("POST", "api/projects", body)["id"])

    def push(
        self,
        project: int,
        selection: pd.DataFrame | Sequence[str],
        detections: RotatedInstances | None,
        images: Mapping[str, str | Path],
        addresses: Addresses,
        model_version: str | None = None,
        round: int = 0,
    ) -> Pushed:
        """Make a task of each image, with its predicted boxes to correct. The same call after a failure resumes.

        The server does not recognise duplicates, so each batch first looks up what exists, and again after every
        answer that leaves open what was done. A task with another imported prediction gets this one in its place,
        unless somebody has submitted an annotation, which is compared with the boxes that it started from.

        Args:
            project: its id.
            selection: the most informative image first: a ranking with ``image_id`` and optionally ``score``, ``rank``,
                ``why`` (a sentence) and ``figure`` (the strategy's own, where that is not the score), or image ids.
            detections: boxes with scores. An image that is missing here gets no prediction, one without a box an
                empty one; None: there is no detector yet.
            images: image id -> file, for each image of the selection.
            addresses: how the project's images are addressed, see :func:`~al_rotate.bridge.client.addresses`.
            model_version: names the detector's weights; None sends no predictions.
            round: kept in the tasks.

        Raises:
            ValueError: for classes that the project lacks, or anything that cannot be sent; names the image.
            UnreadableImage: for a file that is no image.
            LabelStudioError: if the server does not accept a batch after several attempts.
        """
        if detections is None:
            detections = RotatedInstances.empty([], ())
        queried = queried_images(selection)
        config = self._read_config(project, detections.classes or ())
        files = {image_id: Path(images[image_id]) for image_id in queried}
        existing = find_tasks(self.api, project, list(queried))
        places = addresses.prepare(self.api, project, {i: files[i] for i in queried if i not in existing})
        places |= {i: task["data"][config.image_key] for i, task in existing.items()}

        def make_task(image_id: str) -> dict[str, Any]:
            task = image_task(
                image_id,
                places[image_id],
                image_size(files[image_id]),
                config,
                detections[image_id] if model_version and image_id in detections else None,
                model_version=model_version,
                round=round,
                **queried[image_id],
            )
            check(task, config)
            return task

        pushed = Pushed({}, [], [])
        batches = list(split_batches(list(queried), detections))
        for batch in tqdm(batches, desc="Label Studio", unit="batch", disable=len(batches) < 3):
            wanted = {image_id: make_task(image_id) for image_id in batch}
            part = upsert_tasks(self.api, project, wanted, {i: existing[i] for i in batch if i in existing})
            pushed.tasks.update(part.tasks)
            pushed.created.extend(part.created)
            pushed.updated.extend(part.updated)
        if model_version is not None and any(image_id in detections for image_id in queried):
            shown = self.api.get(f"api/projects/{project}").get("model_version")
            # Otherwise an ML backend's predictions would be shown instead; but a person's later choice of these stays.
            if shown != SHOWN_VERSION and (pushed.created or pushed.updated or not shown):
                show_all_predictions(self.api, project)
        return pushed

    def answered(self, project: int, image_ids: Sequence[str]) -> dict[str, str]:
        """Get when each image's task was answered last, by the server's clock; "" without an answer."""
        return {i: answer.moment for i, answer in find_answers(self.api, project, image_ids).items()}

    def update_tasks(self, project: int, selection: pd.DataFrame | Sequence[str], round: int = 0) -> None:
        """Update rank, reason and round of tasks that are queried again. Boxes and answers stay.

        Args:
            project: its id.
            selection: as for :meth:`push`; images without a task are skipped.
            round: kept in the tasks.
        """
        queried = queried_images(selection)
        for image_id, answer in find_answers(self.api, project, list(queried)).items():
            facts = queried[image_id]
            changes = {"al_rank": facts["rank"], "al_uncertainty": facts["uncertainty"], "al_why": facts["why"]}
            if (wanted := {**answer.data, **changes, "al_round": round}) != answer.data:
                self.api.once("PATCH", f"api/tasks/{answer.task}", {"data": wanted})

    def tell_again(self, project: int, selection: pd.DataFrame | Sequence[str], round: int = 0) -> None:
        """Call :meth:`update_tasks`, whose old name this is."""
        warnings.warn("use update_tasks, tell_again will go in 0.3", DeprecationWarning, stacklevel=2)
        self.update_tasks(project, selection, round)

    def pull(
        self,
        project: int,
        classes: Sequence[str] | None = None,
        since: str | None = None,
        *,
        options: ReadOptions | None = None,
        after: Mapping[str, str] | None = None,
        waiting: Iterable[str] = (),
        **changes: Any,
    ) -> Pulled:
        """Read everything that people answered, or what changed since the last pull.

        Args:
            project: its id.
            classes: class names in the order of the labels; None takes those of the options, else the project's own.
            since: the cursor of an earlier pull; None reads all tasks.
            options: how to read; None takes the defaults of
                :class:`~al_rotate.bridge.conversion.options.ReadOptions`.
            after: image id -> moment; answers up to then are left out, see :meth:`answered`.
            waiting: images whose answers nobody has taken over yet. Their tasks are read whatever their times say: a
                server whose clock was set back stamps answers with moments before the last pull.
            changes: fields of :class:`~al_rotate.bridge.conversion.options.ReadOptions` that differ from `options`,
                such as ``policy="agreement"``.

        Raises:
            LabelStudioError: if the server's answer is incomplete; none of it counts then.
        """
        config = read_xml(self.api.get(f"api/projects/{project}")["label_config"])
        options = ReadOptions.merged(options, classes, changes).completed(config)
        names, image_key = tuple(options.classes or ()), options.image_key or ""
        notes = note_other_labels(config, names, options.rename or {}, project)
        start, now = json.loads(since)["updated_at"] if since else None, self.api.clock()
        if start and now and parse_time(start) > now + _CLOCK_STEP + CURSOR_OVERLAP:
            notes.append("the server's clock is behind the moment of the last pull; all tasks were read again")
            start = None
        # Read before the first page: an answer given while the pages are read may be on a page that was read already.
        last = self.api.newest(project) or start
        if last and now and parse_time(last) > now + _CLOCK_STEP:
            last = _moment(now)  # a stamp in the future would hide what is answered until then
        places: dict[int, str] = {}

        def wanted_tasks() -> Iterator[dict[str, Any]]:
            yield from self.api.tasks(project, [changed_since(_before(start))] if start else [], FIELDS)
            for ids in portions(waiting) if start else ():
                yield from self.api.tasks(project, [is_one_of(ids)], FIELDS)

        def changed_tasks() -> Iterator[dict[str, Any]]:
            people = self._people()
            seen: set[int] = set()
            for task in wanted_tasks():
                if task["id"] in seen:
                    continue
                seen.add(task["id"])
                queried_again = (after or {}).get(task["data"].get(IMAGE_ID, ""))
                if queried_again is not None and not answered_since(task, queried_again):
                    continue
                places[task["id"]] = task["data"].get(image_key, "")
                for annotation in task["annotations"]:
                    annotation["completed_by"] = people.get(annotation["completed_by"], annotation["completed_by"])
                yield task

        reading = read_annotations(changed_tasks(), options=options)
        return Pulled(
            reading,
            reading.tasks,
            {image_id: places[number] for image_id, number in reading.tasks.items()},
            self.api.count(project, OURS),
            json.dumps({"updated_at": last}),
            notes,
        )

    def task_ids(self, project: int) -> dict[str, int]:
        """Get all our tasks that exist now: image id -> task id."""
        return {task["data"][IMAGE_ID]: task["id"] for task in self.api.tasks(project, [OURS], ["data"])}

    def _read_config(self, project: int, classes: Sequence[str]) -> LabelConfig:
        """Read the project's labels, which must cover all our classes."""
        config = read_xml(self.api.get(f"api/projects/{project}")["label_config"])
        missing = [name for name in classes if name not in config.classes]
        if missing:
            raise ValueError(
                f"expected project {project} to have the labels {', '.join(classes)}; it lacks {', '.join(missing)} "
                f"and has {', '.join(config.classes)}: add them in Settings, Labeling Interface, or say what was "
                "renamed there (al-rotate connect --rename LABEL=CLASS)"
            )
        return config

    def _people(self) -> dict[int, str]:
        """Get the users' e-mail addresses by number."""
        try:
            return {user.id: user.email for user in self.api.do(self.api.sdk.users.list)}
        except LabelStudioError:
            return {}  # only some roles may list users; their numbers serve as well


def _before(moment: str) -> str:
    return _moment(parse_time(moment) - CURSOR_OVERLAP)


def _moment(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
