"""How a loop opens: its workspace is made from the arguments, or found to agree with them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from ..data import dataset as labelled
from ..data import images
from ..data.instances import RotatedInstances
from ..workspace import Workspace
from .annotator import Annotator
from .mmrotate import MMRotateLearner
from .settings import LoopSettings
from .simulated import SimulatedAnnotator

if TYPE_CHECKING:
    from ..detection.detector import Detector

Images = str | Path | Mapping[str, str | Path]


def create_workspace(
    folder: Path,
    pool: Images,
    classes: Sequence[str],
    detector: Detector | None,
    annotator: Annotator | None,
    test: tuple[Images, RotatedInstances] | None,
    settings: LoopSettings,
) -> None:
    """A new workspace that holds all the loop needs to go on without its arguments. Killed, it is made again.

    Raises:
        ValueError: for a detector or labels of other classes, test images in the pool, or a simulated annotator who
            does not know the whole pool.
    """
    files = {image_id: file.absolute() for image_id, file in images.resolve(pool).items()}
    names = tuple(classes)
    for what, one in (("detector", detector), ("held-back labels", getattr(annotator, "held_back", None))):
        if one is not None and one.classes not in (None, names):
            raise ValueError(f"expected {what} of the classes {names}, got {one.classes}")
    folder.mkdir(parents=True, exist_ok=True)
    for scratch in folder.glob(".*.tmp"):  # of a process that was killed here
        scratch.unlink()
    if isinstance(annotator, SimulatedAnnotator):
        unknown = [image_id for image_id in files if image_id not in annotator.held_back]
        if unknown:
            raise ValueError(
                f"expected held-back labels of the whole pool, got none for {len(unknown)}, e.g. {unknown[0]!r}"
            )
    if remember := getattr(annotator, "remember", None):
        remember(folder)
    if test is not None:
        test_files, test_labels = images.resolve(test[0]), test[1]
        pooled = {os.path.realpath(file) for file in files.values()}
        seen = [i for i in test_labels.image_ids if i in test_files and os.path.realpath(test_files[i]) in pooled]
        if seen:
            raise ValueError(
                f"expected test images outside the pool, got {len(seen)} that are in it, e.g. {test_files[seen[0]]}; "
                "they would be trained on: take them out of one of the two"
            )
        labelled.write(folder / "test.parquet", test_files, test_labels, names)
    if detector is not None:
        settings = replace(
            settings,
            checkpoint="initial.pth",
            untrained_start=detector.checkpoint is None,
            device=str(detector.device),
            precision=detector.precision,
        )
        detector.save(folder / "initial.pth")
        detector.config.dump(folder / "config.py")
    Workspace.create(folder, files, names, settings.to_json()).close()


def check_arguments(
    workspace: Workspace,
    pool: Images | None,
    classes: Sequence[str] | None,
    detector: Detector | None,
    test: tuple[Images, RotatedInstances] | None,
) -> None:
    """Refuse arguments that say something else than the workspace.

    Raises:
        ValueError: naming the first contradiction.
    """
    folder = workspace.folder
    if classes is not None and tuple(classes) != workspace.classes:
        raise ValueError(f"{folder} has the classes {workspace.classes}, got {tuple(classes)}")
    if pool is not None:
        known, got = {i for status in workspace.counts() for i in workspace.ids(status)}, set(images.resolve(pool))
        if known != got:
            other = min(known ^ got)
            raise ValueError(
                f"{folder} was made with {len(known)} images, got {len(got)} of which {len(known & got)} are the same "
                f"({other!r} is not in both); a new pool needs a new folder"
            )
    config = folder / "config.py"
    if detector is not None and config.exists() and config.read_text(encoding="utf-8") != detector.config.pretty_text:
        raise ValueError(
            f"{folder} was made with a detector of another config, see {config}; to go on with that one give no "
            "detector, for another one a new folder"
        )
    if test is not None:
        file = folder / "test.parquet"
        if not file.exists() or labelled.read(file)[0] != labelled.plain(test[1], workspace.classes):
            had = "other test labels" if file.exists() else "no test set"
            raise ValueError(f"{folder} was made with {had}; a new test set needs a new folder")


def restore_annotator(folder: Path) -> Annotator | None:
    """The annotator that a workspace's folder remembers; None where it remembers none.

    Every entry point of the group ``al_rotate.annotators`` is a function ``folder -> annotator or None`` that looks for
    what its annotator left there. They are asked by name, and ``simulated`` last: a workspace that was made with
    held-back labels and connected to people later is answered by the people.
    """
    found = sorted(
        entry_points(group="al_rotate.annotators"), key=lambda point: (point.name == "simulated", point.name)
    )
    answers = (point.load()(folder) for point in found)
    return next((annotator for annotator in answers if annotator is not None), None)


def restore_learner(workspace: Workspace, settings: LoopSettings) -> MMRotateLearner:
    """MMRotate with the workspace's config.

    Raises:
        ValueError: when the workspace was made without one.
    """
    config = workspace.folder / "config.py"
    if not config.exists():
        raise ValueError(f"{workspace.folder} was made with a learner of your own: give it again")
    return MMRotateLearner(
        config, workspace.classes, settings.device, settings.precision, settings.train_options, settings.seed
    )
