"""ActiveLoop: query, collect, train, and round again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from ..data import RotatedInstances
from ..detection.training.schedule import Schedule
from ..evaluation.pseudo_labels import PseudoLabels
from ..report.looking import Looking, with_pictures
from ..sampling import Budget, CostModel, Strategy, needs_of, without_detector
from ..workspace import REVIEW, Round, Weights, Workspace, current_weights
from ..workspace.artefacts import SHOWN, discard_unfinished, write_csv, write_json
from ..workspace.progress import trains_next
from ..workspace.versions import SetName
from . import steps
from .annotator import Annotator
from .changes import Changeable
from .changes.imported import import_at_start
from .context import build_context, decide_showing
from .create import (
    Images,
    LabelledSet,
    check_arguments,
    create_workspace,
    restore_annotator,
    restore_learner,
    restore_strategy,
)
from .learners import Learner
from .open_queries import push_open_queries, query_table, record_answer
from .review import choose_doubtful, rank_label_errors
from .settings import LoopSettings, as_budget
from .simulated import SimulatedAnnotator

if TYPE_CHECKING:
    from ..detection.detector import Detector


class ActiveLoop(Changeable, Looking):
    """Active learning on one folder of images, with one workspace and one detector.

    ``query()``, ``collect()`` and ``train()`` make a round; ``run(n)`` makes n of them. Each can be killed at any
    moment and called again. Constructed again with the same arguments, or with the folder alone, the loop resumes.

    Args:
        folder: the workspace; created if there is none, and then `images`, `classes` and `detector` are needed.
        images: the pool: a folder, or image id -> file.
        classes: class names.
        detector: the detector to start from. If its weights are random, the first round is sampled at random.
        strategy: a name or a callable, see :mod:`al_rotate.sampling`. None: ``pal``; docs/evidence.md says why.
        budget: of each query; a number counts images.
        annotator: answers the queries. A SimulatedAnnotator is remembered with its labels.
        test: (images, labels) on which each round is evaluated. They are never trained on.
        train_options: ``cfg_options`` of the trainings.
        strategy_options: options of a named strategy.
        warm_start: train each round from the last round's weights; False: from the initial ones each time.
        seed: of everything random.
        learner: predicts and trains instead of MMRotate; without a detector it starts without weights.
        val: (images, labels) that each training is validated on, with the config's own evaluator; its figures are
            metrics called ``val_...``. They are never trained on.
        schedule: how long each training goes, at what rates, and how often it shows each image; "config": as the
            detector's config says, by default unless that counts in epochs.
        pseudo_labels: train on detections on unlabelled images, too, where the detector is sure of them; True: with the
            defaults of :class:`~al_rotate.evaluation.pseudo_labels.PseudoLabels`. By default off.
        labels: of images of the pool, if there are any already, see :meth:`add_labels`. If the detector's weights are
            random, :meth:`train` trains on them before the first query.
        cost: seconds for each kind of correction, which decide what is shown; None: the annotator's, or else assumed.

    Raises:
        WorkspaceBusy: if another process has the workspace open.
        ValueError: if arguments contradict the workspace.
    """

    def __init__(
        self,
        folder: str | Path,
        images: Images | None = None,
        classes: Sequence[str] | None = None,
        detector: Detector | None = None,
        strategy: str | Strategy | None = None,
        budget: Budget | int | None = None,
        annotator: Annotator | None = None,
        test: tuple[Images, RotatedInstances] | None = None,
        train_options: Mapping[str, Any] | None = None,
        strategy_options: Mapping[str, Any] | None = None,
        warm_start: bool | None = None,
        seed: int | None = None,
        learner: Learner | None = None,
        val: tuple[Images, RotatedInstances] | None = None,
        labels: RotatedInstances | None = None,
        schedule: Schedule | Literal["config"] | None = None,
        pseudo_labels: PseudoLabels | bool | None = None,
        cost: CostModel | None = None,
    ) -> None:
        folder = Path(folder).absolute()
        changes = {
            "strategy": strategy,
            "strategy_options": strategy_options,
            "budget": budget,
            "train_options": train_options,
            "warm_start": warm_start,
            "seed": seed,
            "schedule": schedule,
            "pseudo_labels": pseudo_labels,
            "cost": cost,
        }
        given: tuple[tuple[SetName, LabelledSet | None], ...] = (("test", test), ("val", val))
        sets = {name: labelled for name, labelled in given if labelled is not None}
        if not Workspace.exists(folder):
            settings = LoopSettings.of_new_loop(detector if learner is None else None, **changes)
            restore_strategy(folder, settings, strategy)  # refuses a wrong one before anything is written
            with suppress(FileExistsError):  # another process was quicker: its workspace is opened, and compared
                create_workspace(folder, settings, images, classes, detector, learner, annotator, sets)
        self.workspace = Workspace.open(folder)
        try:
            check_arguments(self.workspace, images, classes, detector, sets)
            self.annotator = annotator or restore_annotator(folder)
            self._arguments, self._learner = changes, learner
            self.reload()
            self.strategy = restore_strategy(folder, self.settings, strategy)
            if labels is not None:
                import_at_start(self.workspace, labels)
        except BaseException:
            self.workspace.close()
            raise
        self.budget = self.settings.budget

    def reload(self) -> None:
        """See :meth:`Changeable.reload`."""
        self.classes = self.workspace.classes
        self.settings = LoopSettings.from_json(self.workspace.settings).merged(**self._arguments)
        self.learner = self._learner or restore_learner(self.workspace, self.settings)
        if isinstance(self.annotator, SimulatedAnnotator):
            self.annotator.held_back = self.workspace.in_current_classes(self.annotator.held_back)

    def query(self) -> pd.DataFrame:
        """Detect on the unlabelled images, choose the round's images and hand them to the annotator.

        Returns:
            The selection, best first: image_id, score, status, why. If the round has queried already, that query. If no
            unlabelled image is left, the images of earlier rounds that still wait for an answer.

        Raises:
            ValueError: if neither is left.
        """
        current = self.workspace.begin_round()
        if current.stage == "new" and not self._only_waits_for_answers():
            weights = self._weights_to_query()
            rule = decide_showing(self.workspace, weights, self.annotator, self.settings.cost)
            write_json(current.folder / SHOWN, rule.to_json())
            strategy = self.strategy if weights else without_detector(self.strategy)
            needs = needs_of(strategy)
            detections = steps.detect_candidates(self.workspace, self.learner, current, weights, needs)
            context = build_context(self.workspace, self.learner, current, weights, needs, self.budget.cost, rule)
            rng = np.random.default_rng([self.settings.seed, current.number])
            ranking, selection = steps.choose_images(detections, strategy, self.budget, rng, context)
            is_drawn = "drawn" in selection and bool(selection["drawn"].all())  # also where nothing is told apart
            name = "random" if is_drawn else self.settings.strategy
            current = self._record_query(current, ranking, selection, name)
        self._hand_over(current)
        return with_pictures(self.workspace, query_table(self.workspace, current))

    def review(self, budget: Budget | int | None = None) -> pd.DataFrame:
        """Query labels that are in doubt, instead of new images: people look at their images once more.

        The doubt comes from detections that were made before the detector was trained on the labels, see
        :mod:`al_rotate.evaluation.label_errors`. Images queried without a trained detector have none and are left out.
        The images keep their labels until they are answered. collect() and train() end the round like any other.

        Args:
            budget: charged by the boxes that the images are labelled with; None: the loop's.

        Returns:
            The selection, most doubtful first, with the columns of :meth:`query`. If the round has queried already,
            that query.

        Raises:
            ValueError: if no label is in doubt.
        """
        current = self.workspace.begin_round()
        if current.stage == "new":
            ranking, detections = rank_label_errors(self.workspace)
            selection = choose_doubtful(ranking, as_budget(budget) if budget else self.budget)
            discard_unfinished(current.folder / "detections")
            detections.subset(selection["image_id"]).save(current.folder / "held_out.parquet")
            current = self._record_query(current, ranking, selection, REVIEW)
        self._hand_over(current)
        return with_pictures(self.workspace, query_table(self.workspace, current))

    def collect(self) -> pd.DataFrame:
        """Take over all answers so far. The collection closes once none is missing and something is labelled.

        Between rounds, late answers to earlier ones are taken; :meth:`train` trains on them.

        Returns:
            The round's query as :meth:`query` returns it, with the current status of each image; between rounds, the
            images that waited for an answer.

        Raises:
            ValueError: if no image waits for an answer, or there is nobody to answer.
        """
        current = self.workspace.begin_round()
        asked = query_table(self.workspace, current)
        if asked.empty:
            raise ValueError(f"round {current.number} has not queried yet: query() first")
        if current.stage in ("new", "queried"):
            if self.annotator is None:
                raise ValueError(f"{self.workspace.folder} has no annotator: give one to ActiveLoop")
            self._hand_over(current)  # again: a kill may have come between recording the query and handing it over
            record_answer(self.workspace, current, self.annotator.pull(self.workspace.cursor))
            is_complete = not self.workspace.ids("queried") and self.workspace.ids("labelled")
            if current.stage == "queried" and is_complete:
                self.workspace.close_collection(current.number)
        answered = asked.assign(status=self.workspace.statuses(asked["image_id"]))
        return with_pictures(self.workspace, answered)

    def train(self) -> dict[str, Any]:
        """Fine-tune on all labels so far, evaluate on the test set, and end the round.

        If labels were added or came late since the last training, and the round has not queried, it is trained without
        a query: its strategy is ``imported`` or ``late`` in the history.

        Returns:
            The round's metrics; those of the last round if this one has not queried yet and no labels are new.

        Raises:
            ValueError: before anything of this round is labelled.
        """
        current = self.workspace.begin_round()
        if current.stage == "new":
            if not self.workspace.waits_to_be_trained_on(current.number):
                return steps.metrics_of_last_round(self.workspace)
            discard_unfinished(current.folder / "detections")
            self.workspace.skip_query(current.number)
        if current.stage == "queried":
            steps.close_with_missing_answers(self.workspace, current)
        checkpoint, metrics = steps.train_weights(self.workspace, self.learner, current, self.settings)
        write_json(current.folder / "metrics.json", metrics)
        self.workspace.record_training(current.number, checkpoint, metrics)
        return metrics

    def run(self, rounds: int) -> pd.DataFrame:
        """Query, collect and train until this many rounds are trained in all, or the pool is used up.

        A loop that starts with labels and without trained weights trains on them first, which is a round too.

        Raises:
            ValueError: if the annotator has not answered everything; call again when it has.
        """
        while sum(r.stage == "trained" for r in self.workspace.rounds()) < rounds:
            if trains_next(self.workspace):
                self.train()
                continue
            between_rounds = all(r.stage == "new" or r.is_over for r in self.workspace.rounds())
            if between_rounds and not self.workspace.ids("unlabelled") and not self.workspace.ids("queried"):
                break
            self.query()
            unanswered = int((self.collect()["status"] == "queried").sum())
            if unanswered:
                raise ValueError(f"{unanswered} images are not answered yet: label them and run again")
            self.train()
        return self.workspace.history()

    def close(self) -> None:
        """Release the workspace."""
        self.workspace.close()

    def __enter__(self) -> ActiveLoop:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _weights_to_query(self) -> Weights | None:
        """The weights to choose images by; None while nothing is trained yet."""
        weights = current_weights(self.workspace)
        return weights if weights is not None and weights.is_trained else None

    def _only_waits_for_answers(self) -> bool:
        """Whether no image is left to query, and some that were queried are not answered."""
        return not self.workspace.ids("unlabelled") and bool(self.workspace.ids("queried"))

    def _record_query(self, current: Round, ranking: pd.DataFrame, selection: pd.DataFrame, strategy: str) -> Round:
        write_csv(current.folder / "ranking.csv", ranking)
        write_csv(current.folder / "selection.csv", selection)
        ids, scores = selection["image_id"].tolist(), selection["score"].tolist()
        return self.workspace.record_query(current.number, ids, scores, strategy, again=strategy == REVIEW)

    def _hand_over(self, current: Round) -> None:
        if self.annotator is not None and current.stage in ("new", "queried"):
            push_open_queries(self.workspace, self.annotator, self.learner)
