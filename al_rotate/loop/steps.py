"""The steps of a round: detect on the unlabelled images, choose among them, close the collection, train, evaluate."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..data import RotatedInstances
from ..evaluation import evaluate, pseudo_labels
from ..evaluation.pseudo_labels import PseudoLabelled, PseudoLabels
from ..sampling import Budget, QueryContext, Strategy, explain, figures_of, rank_and_select
from ..storage import manifest
from ..storage.user_warnings import warn_user
from ..workspace import Round, Weights, Workspace, current_weights
from ..workspace.artefacts import clear_unless_made_for, discard_damaged, write_json
from ..workspace.held_out import boxes_and_scores, held_out
from ..workspace.versions import initial_weights, labelled_set
from .learners import Learner, require_parameters
from .settings import LoopSettings

_PSEUDO = 1  # tells the generator of pseudo-labels from that of the query


def detect_candidates(
    workspace: Workspace, learner: Learner, current: Round, weights: Weights | None, needs: frozenset[str]
) -> RotatedInstances:
    """Detect on the unlabelled images, with the outputs that a strategy needs.

    Returns:
        Detections on all images that can be read. Without weights: all images, none with a box.

    Raises:
        ValueError: if no unlabelled image is left, or none can be read.
    """
    pool = workspace.ids("unlabelled")
    if not pool:
        raise ValueError(f"no unlabelled image is left in {workspace.folder}: the loop is done")
    if weights is None:
        return RotatedInstances.empty(pool, workspace.classes)
    folder = current.folder / "detections"
    outputs = {name: True for name in ("class_scores", "features") if name in needs}
    clear_unless_made_for(folder, outputs, pool, weights.version)
    detections = workspace.in_current_classes(learner.predict(weights.path, workspace.paths(pool), folder, **outputs))
    if not len(detections):
        image_id, reason = next(iter(detections.skipped.items()), (pool[0], "not detected on"))
        raise ValueError(f"none of the {len(pool)} unlabelled images can be read, e.g. {image_id!r}: {reason}")
    return detections


def choose_images(
    detections: RotatedInstances, strategy: Strategy, budget: Budget, rng: np.random.Generator, context: QueryContext
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rank the candidates and take what the budget covers; a budget in seconds is charged by the context's cost.

    Returns:
        The ranking of all candidates, and its rows that are chosen, each with a sentence ``why`` and the strategy's own
        ``figure``, NaN where it has none.

    Raises:
        ValueError: if the budget covers no image.
    """
    if budget.seconds is not None:
        budget = replace(budget, cost=context.cost)
    ranking, chosen = rank_and_select(detections, strategy, budget, rng, context)
    if not chosen:
        raise ValueError(f"{budget} covers none of the {len(detections)} images: raise it")
    selection = ranking.set_index("image_id").loc[chosen].reset_index()
    selection["figure"] = figures_of(strategy, selection)
    selection["why"] = explain(ranking, chosen)
    return ranking, selection


def close_with_missing_answers(workspace: Workspace, current: Round) -> None:
    """Close the collection of a round that is to be trained on the answers that have come.

    Raises:
        ValueError: if none has come.
    """
    counts = workspace.query(current.number)["status"].value_counts()
    if "labelled" not in counts and not workspace.waits_to_be_trained_on(current.number):
        states = ", ".join(f"{count} {status}" for status, count in counts.items())
        raise ValueError(f"nothing of round {current.number} is labelled yet ({states}): collect() when it is")
    workspace.close_collection(current.number)


def metrics_of_last_round(workspace: Workspace) -> dict[str, Any]:
    """Return the metrics of the last round that is trained.

    Raises:
        ValueError: if none is.
    """
    trained = [past for past in workspace.rounds() if past.stage == "trained"]
    if not trained:
        raise ValueError("nothing is labelled yet: query() and collect() first")
    return trained[-1].metrics


def train_weights(
    workspace: Workspace, learner: Learner, current: Round, settings: LoopSettings
) -> tuple[Path, dict[str, float]]:
    """Train on all labels, and evaluate on the test set. Unreadable test images are left out and counted.

    Returns:
        The new weights, and the training's metrics and those on the test set.

    Raises:
        FileNotFoundError, ValueError: if the test or the validation set is gone or damaged; before the training.
    """
    test, val = labelled_set(workspace, "test"), labelled_set(workspace, "val")
    labels = workspace.labels()
    start = current_weights(workspace) if settings.warm_start else initial_weights(workspace)
    options: dict[str, Any] = {}
    if val is not None:
        options["val"] = val[1], val[0]
    if settings.schedule is not None:
        options["schedule"] = settings.schedule
    if (pseudo := _pseudo_labelled(workspace, current, labels, settings)) is not None:
        options["pseudo"] = pseudo
    require_parameters(learner, options)
    ids = [*labels.image_ids, *(pseudo.labels.image_ids if pseudo else ())]
    files = workspace.paths(ids)
    checkpoint, metrics = learner.train(
        start.path if start else None, files, labels, current.folder / "training", **options
    )
    if settings.pseudo_labels is not None:
        count = {"pseudo_images": len(pseudo.labels), "pseudo_boxes": pseudo.labels.n_boxes} if pseudo else {}
        metrics = {**metrics, "pseudo_images": 0, "pseudo_boxes": 0, **count}
    return checkpoint, {**metrics, **(_evaluate(workspace, learner, current, checkpoint, *test) if test else {})}


def _pseudo_labelled(
    workspace: Workspace, current: Round, labels: RotatedInstances, settings: LoopSettings
) -> PseudoLabelled | None:
    """Return what this round's training began with besides labels, or else choose it now; None: nothing.

    It is in the round's ``pseudo_labels.parquet``, for people to look at, and with ``pseudo_ignored.parquet`` for a
    training that is resumed: chosen anew it may differ, and the training be refused. Nothing else reads it:
    pseudo-labels are no answers, and neither calibration nor class counts know of them.
    """
    if settings.pseudo_labels is None:
        return None
    files = [current.folder / f"pseudo_{name}.parquet" for name in ("labels", "ignored")]
    note = current.folder / "pseudo_labels.json"  # what they were chosen for
    of_labels = {"classes": [*workspace.classes], "images": len(labels), "boxes": labels.n_boxes}
    facts = {**asdict(settings.pseudo_labels), **of_labels}
    if (current.folder / "training" / "request.json").exists():
        with contextlib.suppress(ValueError, FileNotFoundError):  # damaged, or of an earlier version
            if manifest.read(note) == {**facts, "chosen": False}:
                return None
            if manifest.read(note) == {**facts, "chosen": True}:
                earlier = PseudoLabelled(RotatedInstances.load(files[0]), RotatedInstances.load(files[1]))
                if {*earlier.labels.image_ids} <= {*workspace.ids("unlabelled")}:
                    return earlier
    note.unlink(missing_ok=True)
    rng = np.random.default_rng([settings.seed, current.number, _PSEUDO])
    chosen = _choose_pseudo_labels(workspace, labels, settings.pseudo_labels, rng)
    if chosen is not None:
        chosen.labels.save(files[0])
        chosen.ignored.save(files[1])
    write_json(note, {**facts, "chosen": chosen is not None})
    return chosen


def _choose_pseudo_labels(
    workspace: Workspace, labels: RotatedInstances, options: PseudoLabels, rng: np.random.Generator
) -> PseudoLabelled | None:
    """Choose what to train on of the last query's detections on images that are still unlabelled; None: nothing."""
    folders = [past.folder / "detections" for past in reversed(workspace.rounds()) if past.stage != "undone"]
    folder = next((folder for folder in folders if folder.exists()), None)
    if folder is None:
        return None
    files = workspace.paths(workspace.ids("unlabelled"))
    wanted = {image_id for image_id, file in files.items() if file.is_file()}
    try:
        detections = workspace.in_current_classes(boxes_and_scores(RotatedInstances.load(folder, wanted)))
    except (ValueError, FileNotFoundError) as error:
        warn_user(f"{error}; trained without pseudo-labels: delete {folder} to be rid of this")
        return None
    detections = detections.subset(image_id for image_id in files if image_id in detections)  # in the pool's order
    chosen = pseudo_labels.choose(detections, held_out(workspace, labels), labels, options, rng)
    if chosen.notice is not None:
        warn_user(f"trained without pseudo-labels: {chosen.notice}")
        return None
    return chosen


def _evaluate(
    workspace: Workspace,
    learner: Learner,
    current: Round,
    checkpoint: Path,
    labels: RotatedInstances,
    files: Mapping[str, Path],
) -> dict[str, float]:
    folder = current.folder / "test_detections"
    discard_damaged(folder)
    detections = workspace.in_current_classes(learner.predict(checkpoint, files, folder))
    readable = labels.subset(i for i in labels.image_ids if i not in detections.skipped)
    if len(labels) and not len(readable):
        image_id, reason = next(iter(detections.skipped.items()))
        raise FileNotFoundError(f"none of the {len(labels)} test images can be read, e.g. {image_id!r}: {reason}")
    metrics = evaluate(detections, readable).metrics()
    n_skipped = len(labels) - len(readable)
    return {**metrics, "test_images_skipped": n_skipped} if n_skipped else metrics
