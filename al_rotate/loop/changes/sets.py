"""Another test set, validation set or detector for a workspace that exists."""

from __future__ import annotations

from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data import RotatedInstances, dataset
from ...data import images as image_files
from ...detection.training.schedule import Schedule
from ...storage.plurals import many
from ...workspace import Workspace
from ...workspace.versions import SetName
from ..create import SETS, Images, check_outside_pool
from ..settings import LoopSettings, default_schedule
from .imported import with_classes_of

if TYPE_CHECKING:
    from ...detection import Detector


def keep_set(workspace: Workspace, name: SetName, images: Images, labels: RotatedInstances) -> None:
    """See :meth:`al_rotate.ActiveLoop.set_test`; the set before stays in the folder."""
    workspace.round_to_change()  # before anything is written
    files = image_files.resolve(images)
    image_files.require_decided(files.values())
    labels = with_classes_of(workspace, labels)
    pool = workspace.paths(i for status in workspace.counts() for i in workspace.ids(status))
    check_outside_pool(name, labels.image_ids, files, pool)
    file = _unused(workspace, name, ".parquet")
    dataset.write(file, files, labels, workspace.classes)
    summary = f"a {SETS[name]} of {many(len(labels), 'image')} with {many(labels.n_boxes, 'box')}"
    workspace.change_settings(f"set_{name}", {name: file.name}, summary, between_rounds=False)


def keep_detector(workspace: Workspace, detector: Detector) -> None:
    """See :meth:`al_rotate.ActiveLoop.set_detector`; the config and the weights before stay in the folder."""
    if detector.classes not in (None, workspace.classes):
        raise ValueError(
            f"expected a detector of the classes {workspace.classes}, got {detector.classes}: "
            "Detector(..., classes=loop.classes) fits it to them"
        )
    workspace.round_to_change(between_rounds=True)  # before anything is written
    file = _unused(workspace, "detector", ".pth")
    config = file.with_name(f"config-{file.stem}.py")
    detector.save(file)
    detector.config.dump(config)
    settings: dict[str, Any] = {
        "checkpoint": file.name,
        "config": config.name,
        "cold": detector.untrained,
        "device": str(detector.device),
        "precision": detector.precision,
    }
    if LoopSettings.from_json(workspace.settings).schedule == Schedule():  # by default, so the new config decides anew
        schedule = default_schedule(detector)
        settings["schedule"] = schedule and asdict(schedule)
    kind = "random weights" if detector.untrained else f"weights of {detector.checkpoint}"
    workspace.change_settings("set_detector", settings, f"{config.name}, {kind}", between_rounds=True)


def _unused(workspace: Workspace, name: str, suffix: str) -> Path:
    """Return a file in the workspace that does not exist yet: ``test-001.parquet``."""
    return next(file for number in count(1) if not (file := workspace.folder / f"{name}-{number:03d}{suffix}").exists())
