"""How a loop opens: create its workspace, check arguments against an existing one, restore what it remembers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from ..data import RotatedInstances, dataset
from ..data import images as image_files
from ..sampling import Strategy, make_strategy
from ..workspace import Workspace
from ..workspace.versions import SetName, labelled_set
from .annotator import Annotator
from .learners import Learner, MMRotateLearner, require_parameters
from .settings import CUSTOM, LoopSettings
from .simulated import SimulatedAnnotator

if TYPE_CHECKING:
    from ..detection import Detector

SETS: dict[SetName, str] = {"test": "test set", "val": "validation set"}
Images = str | Path | Mapping[str, str | Path]  # a folder, or image id -> file
LabelledSet = tuple[Images, RotatedInstances]


def create_workspace(
    folder: Path,
    settings: LoopSettings,
    images: Images | None,
    classes: Sequence[str] | None,
    detector: Detector | None,
    learner: Learner | None,
    annotator: Annotator | None,
    sets: Mapping[SetName, LabelledSet],
) -> None:
    """Create a workspace that holds all that the loop needs to resume without arguments.

    A call that was killed can be made again.

    Raises:
        FileExistsError: if another process has made one meanwhile.
        WorkspaceBusy: if another process is making one.
        ValueError: for missing arguments, a detector or labels of other classes, images of a test or validation set
            in the pool, a learner that takes no validation set, or a simulated annotator without labels for the whole
            pool.
    """
    if images is None or classes is None or (detector is None and learner is None):
        raise ValueError(f"{folder} is no workspace yet: give images, classes and a detector to make one")
    names = tuple(classes)
    pool = {image_id: file.absolute() for image_id, file in image_files.resolve(images).items()}
    files_of = {name: image_files.resolve(images) for name, (images, _) in sets.items()}
    for files in (pool, *files_of.values()):
        image_files.require_decided(files.values())
    if learner is not None:
        given = {"val": sets.get("val"), "schedule": settings.schedule, "pseudo": settings.pseudo_labels}
        require_parameters(learner, [name for name, value in given.items() if value is not None])
    _check_classes(names, detector, annotator)
    if isinstance(annotator, SimulatedAnnotator):
        _check_held_back(annotator, pool)
    for name, (_, labels) in sets.items():
        check_outside_pool(name, labels.image_ids, files_of[name], pool)
    kept = {name: f"{name}.parquet" for name in sets}
    settings = replace(settings, test=kept.get("test"), val=kept.get("val"))
    if detector is not None:
        settings = replace(
            settings,
            checkpoint="initial.pth",
            untrained_start=getattr(
                detector, "untrained", detector.checkpoint is None
            ),  # also where a checkpoint knows none of the classes
            device=str(detector.device),
            precision=detector.precision,
        )

    def fill(folder: Path) -> None:
        if remember := getattr(annotator, "remember", None):
            remember(folder)
        for name, (_, labels) in sets.items():
            dataset.write(folder / kept[name], files_of[name], labels, names)
        if detector is not None:
            detector.save(folder / "initial.pth")
            detector.config.dump(folder / "config.py")

    Workspace.create(folder, pool, names, settings.to_json(), fill).close()


def check_arguments(
    workspace: Workspace,
    images: Images | None,
    classes: Sequence[str] | None,
    detector: Detector | None,
    sets: Mapping[SetName, LabelledSet],
) -> None:
    """Refuse arguments that contradict the workspace. What it was made with may be given after a change, too.

    Raises:
        ValueError: for the first contradiction.
    """
    settings = LoopSettings.from_json(workspace.settings)
    folder = workspace.folder
    if classes is not None and tuple(classes) not in (workspace.classes, *workspace.former_classes()):
        raise ValueError(
            f"{folder} has the classes {', '.join(workspace.classes)}, got {', '.join(classes)}; to change them, use "
            "add_class, rename_class or merge_classes"
        )
    if images is not None:
        _check_same_images(workspace, set(image_files.resolve(images)))
    configs = [file for name in {"config.py", settings.config} if (file := folder / name).exists()]
    texts = [file.read_text(encoding="utf-8") for file in configs]
    if detector is not None and configs and detector.config.pretty_text not in texts:
        raise ValueError(
            f"{folder} was made with a detector of another config, see {folder / settings.config}; to resume with that "
            "one give no detector, to go on with another one use set_detector(detector)"
        )
    for name, (_, labels) in sets.items():
        _check_same_set(workspace, name, labels)


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
    config = workspace.folder / settings.config
    if not config.exists():
        raise ValueError(f"{workspace.folder} was made with a learner of your own: give it again")
    return MMRotateLearner(
        config,
        workspace.classes,
        settings.device,
        settings.precision,
        settings.train_options,
        settings.seed,
        workspace.former_classes(),
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


def _check_same_images(workspace: Workspace, got: set[str]) -> None:
    expected = {image_id for status in workspace.counts() for image_id in workspace.ids(status)}
    changed = {"add_images": set[str](), "remove_images": set[str]()}
    for what, detail in workspace.changes()[["what", "detail"]].itertuples(index=False):
        if what in changed:
            changed[what] |= {*detail["image_ids"]}
    new, missing = got - expected - changed["remove_images"], expected - got - changed["add_images"]
    if new or missing:
        raise ValueError(
            f"{workspace.folder} has {len(expected)} images, got {len(got)} of which {len(expected & got)} are the "
            f"same ({min(new | missing)!r} is not in both); to change the pool, use add_images or remove_images"
        )


def _check_same_set(workspace: Workspace, name: SetName, labels: RotatedInstances) -> None:
    kept = labelled_set(workspace, name)
    same = kept is not None and kept[0] == workspace.in_current_classes(labels.as_labels())
    if not same and name not in workspace.changes()["what"].str.removeprefix("set_").tolist():
        had = f"no {SETS[name]}" if kept is None else f"another {SETS[name]}"
        raise ValueError(f"{workspace.folder} has {had}; to change it, use set_{name}(images, labels)")


def check_outside_pool(
    name: SetName, image_ids: Iterable[str], files: Mapping[str, Path], pool: Mapping[str, Path]
) -> None:
    """Refuse a test or validation set that shares image files with the pool.

    Raises:
        ValueError: names one of them.
    """
    pool_files = {os.path.realpath(file) for file in pool.values()}
    shared = [i for i in image_ids if i in files and os.path.realpath(files[i]) in pool_files]
    if shared:
        raise ValueError(
            f"expected images of the {SETS[name]} outside the pool, got {len(shared)} that are in it, e.g. "
            f"{files[shared[0]]}; they would be trained on: take them out of one of the two"
        )
