"""How a loop opens: create its workspace, check arguments against an existing one, restore what it remembers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from ..data import RotatedInstances, dataset
from ..data import images as image_files
from ..sampling import Strategy, make_strategy
from ..workspace import Workspace
from .annotator import Annotator
from .learners import Learner, MMRotateLearner
from .settings import CUSTOM, LoopSettings
from .simulated import SimulatedAnnotator

if TYPE_CHECKING:
    from ..detection import Detector

Images = str | Path | Mapping[str, str | Path]  # a folder, or image id -> file
TestSet = tuple[Images, RotatedInstances]


def create_workspace(
    folder: Path,
    settings: LoopSettings,
    images: Images | None,
    classes: Sequence[str] | None,
    detector: Detector | None,
    learner: Learner | None,
    annotator: Annotator | None,
    test: TestSet | None,
) -> None:
    """Create a workspace that holds all that the loop needs to resume without arguments.

    A call that was killed can be made again.

    Raises:
        FileExistsError: if another process has made one meanwhile.
        WorkspaceBusy: if another process is making one.
        ValueError: for missing arguments, a detector or labels of other classes, test images in the pool, or a
            simulated annotator without labels for the whole pool.
    """
    if images is None or classes is None or (detector is None and learner is None):
        raise ValueError(f"{folder} is no workspace yet: give images, classes and a detector to make one")
    names = tuple(classes)
    pool = {image_id: file.absolute() for image_id, file in image_files.resolve(images).items()}
    test_files = None if test is None else image_files.resolve(test[0])
    _check_classes(names, detector, annotator)
    if isinstance(annotator, SimulatedAnnotator):
        _check_held_back(annotator, pool)
    if test is not None and test_files is not None:
        _check_outside_pool(test[1], test_files, pool)

    if detector is not None:
        settings = replace(
            settings,
            checkpoint="initial.pth",
            untrained_start=detector.checkpoint is None,
            device=str(detector.device),
            precision=detector.precision,
        )

    def fill(folder: Path) -> None:
        if remember := getattr(annotator, "remember", None):
            remember(folder)
        if test is not None and test_files is not None:
            dataset.write(folder / "test.parquet", test_files, test[1], names)
        if detector is not None:
            detector.save(folder / "initial.pth")
            detector.config.dump(folder / "config.py")

    Workspace.create(folder, pool, names, settings.to_json(), fill).close()


def check_arguments(
    workspace: Workspace,
    images: Images | None,
    classes: Sequence[str] | None,
    detector: Detector | None,
    test: TestSet | None,
) -> None:
    """Refuse arguments that contradict the workspace.

    Raises:
        ValueError: for the first contradiction.
    """
    folder = workspace.folder
    if classes is not None and tuple(classes) != workspace.classes:
        raise ValueError(f"{folder} has the classes {workspace.classes}, got {tuple(classes)}")
    if images is not None:
        expected = {image_id for status in workspace.counts() for image_id in workspace.ids(status)}
        got = set(image_files.resolve(images))
        if expected != got:
            raise ValueError(
                f"{folder} was made with {len(expected)} images, got {len(got)} of which {len(expected & got)} are the "
                f"same ({min(expected ^ got)!r} is not in both); a new pool needs a new folder"
            )
    config = folder / "config.py"
    if detector is not None and config.exists() and config.read_text(encoding="utf-8") != detector.config.pretty_text:
        raise ValueError(
            f"{folder} was made with a detector of another config, see {config}; to resume with that one give no "
            "detector, for another one a new folder"
        )
    if test is not None:
        file = folder / "test.parquet"
        if not file.exists() or dataset.read(file)[0] != test[1].as_labels(workspace.classes):
            had = "other test labels" if file.exists() else "no test set"
            raise ValueError(f"{folder} was made with {had}; a new test set needs a new folder")


def restore_strategy(folder: Path, settings: LoopSettings, strategy: str | Strategy | None) -> Strategy:
    """Make the strategy of these settings; a function of the user's own cannot be remembered.

    Raises:
        ValueError: for an unknown name or option, or if the function is missing.
    """
    if callable(strategy):
        return make_strategy(strategy, **settings.strategy_options)
    if settings.strategy == CUSTOM:
        raise ValueError(f"{folder} was made with a strategy of your own: give it again, or a name")
    return make_strategy(settings.strategy, **settings.strategy_options)


def restore_annotator(folder: Path) -> Annotator | None:
    """Restore the annotator that a workspace's folder remembers.

    Every entry point of the group ``al_rotate.annotators`` is a function ``folder -> annotator or None`` that looks
    for what its annotator left there. They are called in the order of their names, and ``simulated`` last: a workspace
    that was made with held-back labels and connected to people later is answered by the people.

    Returns:
        None if the workspace remembers none.
    """
    points = entry_points(group="al_rotate.annotators")
    for point in sorted(points, key=lambda point: (point.name == "simulated", point.name)):
        annotator = point.load()(folder)
        if annotator is not None:
            return annotator
    return None


def restore_learner(workspace: Workspace, settings: LoopSettings) -> Learner:
    """Restore MMRotate with the workspace's config.

    Raises:
        ValueError: if the workspace was made with another learner, which cannot be remembered.
    """
    config = workspace.folder / "config.py"
    if not config.exists():
        raise ValueError(f"{workspace.folder} was made with a learner of your own: give it again")
    return MMRotateLearner(
        config, workspace.classes, settings.device, settings.precision, settings.train_options, settings.seed
    )


def _check_classes(classes: tuple[str, ...], detector: Detector | None, annotator: Annotator | None) -> None:
    held_back = getattr(annotator, "held_back", None)
    for name, owner in (("detector", detector), ("held-back labels", held_back)):
        if owner is not None and owner.classes not in (None, classes):
            raise ValueError(f"expected {name} of the classes {classes}, got {owner.classes}")


def _check_held_back(annotator: SimulatedAnnotator, pool: Mapping[str, Path]) -> None:
    missing = [image_id for image_id in pool if image_id not in annotator.held_back]
    if missing:
        raise ValueError(
            f"expected held-back labels of the whole pool, got none for {len(missing)}, e.g. {missing[0]!r}"
        )


def _check_outside_pool(labels: RotatedInstances, files: Mapping[str, Path], pool: Mapping[str, Path]) -> None:
    pool_files = {os.path.realpath(file) for file in pool.values()}
    shared = [i for i in labels.image_ids if i in files and os.path.realpath(files[i]) in pool_files]
    if shared:
        raise ValueError(
            f"expected test images outside the pool, got {len(shared)} that are in it, e.g. {files[shared[0]]}; "
            "they would be trained on: take them out of one of the two"
        )
