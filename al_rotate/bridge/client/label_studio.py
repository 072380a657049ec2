"""LabelStudio: sends queries to a project, and takes the corrections back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from ...data import images as image_files
from ...data.instances import RotatedInstances
from ..conversion import tasks
from ..conversion.annotations import Reading, answered_since
from ..conversion.annotations import read as read_annotations
from ..conversion.label_config import LabelConfig, read_xml, to_xml
from . import push as _push
from .addresses import Addresses, LocalFiles, Uploads, addresses
from .api import OURS, Api, LabelStudioError, NotAllowed, changed_since
from .push import Pushed

__all__ = ["LabelStudio", "LabelStudioError", "LocalFiles", "NotAllowed", "Pulled", "Pushed", "Uploads", "addresses"]

CURSOR_OVERLAP = timedelta(seconds=30)  # a pull looks back: what was saved first may be committed last
# Everything that annotations.read looks at; the server applies the list to tasks and to what they hold alike.
FIELDS = (
    "data annotations predictions drafts updated_at created_at result score model_version completed_by was_cancelled "
    "ground_truth lead_time parent_prediction user"
).split()


@dataclass(frozen=True, eq=False)
class Pulled:
    """What a pull brought.

    Args:
        reading: labels, skips, account; see :class:`~al_rotate.bridge.annotations.Reading`.
        tasks: image id -> task id, of the tasks looked at.
        addresses: image id -> the address of its image, likewise.
        n_tasks: how many tasks of the project are ours, looked at or not.
        cursor: give it to the next pull, once this one is safe.
        notes: what concerns the project as a whole.
    """

    reading: Reading
    tasks: dict[str, int]
    addresses: dict[str, str]
    n_tasks: int
    cursor: str
    notes: list[str] = field(default_factory=list)


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
            LabelStudioError: when no Label Studio answers there.
            NotAllowed: when it does not take the token.
        """
        return cls(Api(url, token, timeout))

    def open_project(self, title: str, classes: Sequence[str], description: str = "") -> int:
        """The id of the project with this title, made for rotated boxes of these classes if there is none.

        Tasks are handed out in the order in which they were pushed, the most wanted first, and open with the
        predicted boxes in place.

        Raises:
            ValueError: when the title is shorter than three characters, several projects have it, or the project
                lacks one of the classes.
        """
        if not 3 <= len(title) <= 50:
            raise ValueError(f"expected a title of 3 to 50 characters, got {title!r}")
        found = [
            one for one in self.api.do(lambda: list(self.api.sdk.projects.list(title=title))) if one.title == title
        ]
        if len(found) > 1:
            raise ValueError(f"{len(found)} projects are called {title!r} ({[one.id for one in found]}): rename one")
        if found:
            self._config(found[0].id, classes)
            return int(found[0].id)
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
        """Make a task of each image, with its predicted boxes to correct. Killed or failed, push again: it goes on.

        The server does not know doubles, so each batch looks first at what is there, and looks again after every
        answer that leaves open what was done. A task that has another imported prediction gets this one in its place.

        Args:
            project: its id.
            selection: the most wanted first: a ranking with ``image_id``, ``score``, ``rank`` and ``why`` (a sentence),
                all but the first as you like, or image ids.
            detections: boxes with scores. An image that is missing here gets no prediction, one without a box an
                empty one; None: nobody detected yet.
            images: image id -> file, for each image of the selection.
            addresses: how the project's images are addressed, see :func:`addresses`.
            model_version: names the weights that detected; None sends no predictions.
            round: kept in the tasks.

        Raises:
            ValueError: for classes that the project lacks, or anything that cannot be sent; names the image.
            UnreadableImage: for a file that is no image.
            LabelStudioError: when the server cannot be brought to take a batch.
        """
        if detections is None:
            detections = RotatedInstances.empty([], ())
        order = _push.ordered(selection)
        ids = list(order)
        config = self._config(project, detections.classes or ())
        files = {image_id: Path(images[image_id]) for image_id in ids}
        known = _push.find(self.api, project, ids)
        places = addresses.prepare(self.api, project, {i: files[i] for i in ids if i not in known})
        places |= {i: task["data"][config.image_key] for i, task in known.items()}

        def make(image_id: str) -> dict[str, Any]:
            task = tasks.image_task(
                image_id,
                places[image_id],
                image_files.size(files[image_id]),
                config,
                detections[image_id] if model_version and image_id in detections else None,
                model_version=model_version,
                round=round,
                **order[image_id],
            )
            tasks.check(task, config)
            return task

        pushed = Pushed({}, [], [])
        batches = list(_push.batches(ids, detections))
        for batch in tqdm(batches, desc="Label Studio", unit="batch", disable=len(batches) < 3):
            wanted = {image_id: make(image_id) for image_id in batch}
            there = {i: known[i] for i in batch if i in known}
            made = _push.upsert_tasks(self.api, project, wanted, there)
            pushed.tasks.update(made.tasks)
            pushed.created.extend(made.created)
            pushed.updated.extend(made.updated)
        if model_version is not None and any(image_id in detections for image_id in ids):
            shown = self.api.get(f"api/projects/{project}").get("model_version")
            # Else an ML backend's predictions would be shown in their place; but who chose these since keeps them.
            if pushed.created or pushed.updated or not shown:
                self.api.once("PATCH", f"api/projects/{project}", {"model_version": model_version})
        return pushed

    def answered(self, project: int, image_ids: Sequence[str]) -> dict[str, str]:
        """image id -> when its task was answered last, by the server's clock; "" for one without an answer."""
        return {i: moment for i, (_, _, moment) in _push.answered(self.api, project, image_ids).items()}

    def tell_again(self, project: int, selection: pd.DataFrame | Sequence[str], round: int = 0) -> None:
        """Tell tasks that they are asked for again: their rank, their reason, their round. Boxes and answers stay.

        Args:
            project: its id.
            selection: as for :meth:`push`; images without a task are passed over.
            round: kept in the tasks.
        """
        order = _push.ordered(selection)
        for image_id, (number, data, _) in _push.answered(self.api, project, list(order)).items():
            say = order[image_id]
            told = {"al_rank": say["rank"], "al_uncertainty": say["uncertainty"], "al_why": say["why"]}
            if (wanted := {**data, **told, "al_round": round}) != data:
                self.api.once("PATCH", f"api/tasks/{number}", {"data": wanted})

    def pull(
        self,
        project: int,
        classes: Sequence[str] | None = None,
        since: str | None = None,
        policy: str = "latest",
        polygons: bool = False,
        rename: Mapping[str, str] | None = None,
        sizes: Mapping[str, tuple[int, int]] | None = None,
        after: Mapping[str, str] | None = None,
    ) -> Pulled:
        """Everything that people answered, or what changed since the last pull.

        Args:
            project: its id.
            classes: class names in the order of the labels; None takes the project's own.
            since: the cursor of an earlier pull; None looks at all tasks.
            policy, polygons, rename, sizes: see :func:`~al_rotate.bridge.annotations.read`.
            after: image id -> moment, what was answered up to then is left out, see :meth:`answered`.

        Raises:
            LabelStudioError: when the answer is not complete; nothing of it counts then.
        """
        config = read_xml(self.api.get(f"api/projects/{project}")["label_config"])
        names = tuple(classes or config.classes)
        start = json.loads(since)["updated_at"] if since else None
        # Asked for before the first page: what is answered while the pages are read may lie on one that is read.
        last = self.api.newest(project) or start
        places: dict[int, str] = {}

        def seen() -> Iterator[dict[str, Any]]:
            people = self._people()
            for task in self.api.tasks(project, [changed_since(_before(start))] if start else [], FIELDS):
                asked_again = (after or {}).get(task["data"].get(tasks.IMAGE_ID, ""))
                if asked_again is not None and not answered_since(task, asked_again):
                    continue
                places[task["id"]] = task["data"].get(config.image_key, "")
                for one in task["annotations"]:
                    one["completed_by"] = people.get(one["completed_by"], one["completed_by"])
                yield task

        reading = read_annotations(
            seen(), names, policy=policy, polygons=polygons, rename=rename, sizes=sizes, image_key=config.image_key
        )
        cursor = json.dumps({"updated_at": last})
        numbers = reading.tasks
        notes = _other_labels(config, names, rename or {}, project)
        addresses = {image_id: places[number] for image_id, number in numbers.items()}
        return Pulled(reading, numbers, addresses, self.api.count(project, OURS), cursor, notes)

    def task_ids(self, project: int) -> dict[str, int]:
        """image id -> task id, of all tasks of ours that are there now."""
        found = self.api.tasks(project, [OURS], ["data"])
        return {task["data"][tasks.IMAGE_ID]: task["id"] for task in found}

    # Inside.

    def _config(self, project: int, classes: Sequence[str]) -> LabelConfig:
        """The project's labels, which must be able to name all our classes."""
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
        try:
            return {user.id: user.email for user in self.api.do(self.api.sdk.users.list)}
        except LabelStudioError:
            return {}  # only some roles may see the others; their numbers do as well


def _before(moment: str) -> str:
    return (datetime.fromisoformat(moment.replace("Z", "+00:00")) - CURSOR_OVERLAP).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _other_labels(config: LabelConfig, classes: Sequence[str], rename: Mapping[str, str], project: int) -> list[str]:
    named = {rename.get(name, name) for name in config.classes}
    lost, new = [name for name in classes if name not in named], sorted(named - {*classes})
    if not lost and not new:
        return []
    return [
        f"project {project}'s labels are not our classes: it lacks {', '.join(lost) or 'none'} and adds "
        f"{', '.join(new) or 'none'}; if a label was renamed, say rename={{'its name now': 'our class'}}"
    ]
