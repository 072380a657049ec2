"""ActiveLoop: predict, score, select, ask, train, evaluate, and round again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..data import dataset as labelled
from ..data.instances import RotatedInstances
from ..evaluation.mean_ap import evaluate
from ..sampling import Budget, Strategy, costs, explain, make_strategy, needs_of, rank_and_select
from ..storage.files import atomic_write
from ..workspace import REVIEW, STATUSES, Round, Workspace
from ..workspace import artefacts as _round_files
from . import context as knowledge
from . import create as _opening
from . import open_queries as _asking
from .annotator import Annotator
from .create import Images
from .learner import Learner
from .review import rank_label_errors
from .settings import CUSTOM, LoopSettings

if TYPE_CHECKING:
    from ..detection.detector import Detector


class ActiveLoop:
    """Active learning on one folder of images, one workspace, one detector.

    ``query()``, ``collect()`` and ``train()`` make a round; ``run(n)`` makes n of them. Each can be killed at any
    moment and called again. Made again with the same arguments, or with the folder alone, the loop goes on.

    Args:
        folder: the workspace; made if there is none, and then `images`, `classes` and `detector` are needed.
        images: the pool, a folder or image id -> file.
        classes: class names.
        detector: where to start. One with random weights has nothing to say yet, so the first round is random.
        strategy: name or callable, see :mod:`al_rotate.sampling`; None: pal, for which docs/evidence.md speaks.
        budget: of each query; a number counts images.
        annotator: who answers. A SimulatedAnnotator is remembered with its labels.
        test: (images, labels) to measure each round on. They are never trained on.
        train_options: cfg_options of the trainings.
        strategy_options: options of a named strategy.
        warm_start: train each round from the last round's weights; False: from the first ones each time.
        seed: of everything random.
        learner: something else than MMRotate that predicts and trains; without a detector it starts from nothing.

    Raises:
        WorkspaceBusy: when another process has the workspace.
        ValueError: when arguments contradict the workspace.
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
    ) -> None:
        folder = Path(folder).absolute()
        arguments = {
            "strategy": CUSTOM if callable(strategy) else strategy,
            "strategy_options": strategy_options,
            "budget": Budget(images=budget) if isinstance(budget, int) else budget,
            "train_options": train_options,
            "warm_start": warm_start,
            "seed": seed,
        }
        if not (folder / "state.db").exists():
            if images is None or classes is None or (detector is None and learner is None):
                raise ValueError(f"{folder} is no workspace yet: give images, classes and a detector to make one")
            settings = LoopSettings().merged(**arguments)
            make_strategy(strategy or settings.strategy, **settings.strategy_options)  # refuses a wrong one
            _opening.create_workspace(folder, images, classes, detector, annotator, test, settings)
        self.workspace = Workspace.open(folder)
        try:
            _opening.check_arguments(self.workspace, images, classes, detector, test)
            self.settings = LoopSettings.from_json(self.workspace.settings).merged(**arguments)
            self.classes = self.workspace.classes
            if self.settings.strategy == CUSTOM and not callable(strategy):
                raise ValueError(f"{folder} was made with a strategy of your own: give it again, or a name")
            self.strategy = make_strategy(strategy or self.settings.strategy, **self.settings.strategy_options)
            self.budget = self.settings.budget
            self.annotator = annotator or _opening.restore_annotator(folder)
            self.learner = learner or _opening.restore_learner(self.workspace, self.settings)
        except BaseException:
            self.workspace.close()
            raise

    def query(self) -> pd.DataFrame:
        """Predict on the unlabelled images, rank them, pick the round's images and hand them to the annotator.

        Returns:
            The selection, most wanted first: image_id, score, status. Of a round that has queried: that query.

        Raises:
            ValueError: when no unlabelled image is left.
        """
        current = self.workspace.begin_round()
        if current.stage == "new":
            pool = self.workspace.ids("unlabelled")
            if not pool:
                raise ValueError(f"no unlabelled image is left in {self.workspace.folder}: the loop is done")
            ranking, chosen = self._choose(current, self._detect(current, pool))
            selection = ranking.set_index("image_id").loc[chosen].reset_index()
            selection["why"] = explain(ranking, chosen)
            _round_files.write_csv(current.folder / "ranking.csv", ranking)
            _round_files.write_csv(current.folder / "selection.csv", selection)
            name = "random" if self._is_cold(current) else self.settings.strategy
            self.workspace.record_query(current.number, chosen, selection["score"].tolist(), name)
        if self.annotator and current.stage in ("new", "queried"):
            _asking.push(self.workspace, self.annotator)
        return self.workspace.query(current.number)

    def review(self, budget: Budget | int | None = None) -> pd.DataFrame:
        """Ask about labels that are in doubt, instead of a query: people look at their images once more.

        Judged by what the detector saw in them before it was trained on them, see
        :mod:`al_rotate.sampling.suspicion`; images of a round that asked blindly cannot be judged. The images keep
        their labels until they are answered; the round goes on with collect() and train() like any other.

        Args:
            budget: by the boxes that the images are labelled with; None: the loop's.

        Returns:
            The selection, most suspicious first: image_id, score, status. Of a round that has asked: what it asked.

        Raises:
            ValueError: when no label is in doubt.
        """
        current = self.workspace.begin_round()
        if current.stage == "new":
            limits = budget if isinstance(budget, Budget) else Budget(images=budget) if budget else self.budget
            ranking, found = rank_label_errors(self.workspace)
            doubtful = ranking[ranking["score"] > 0]
            chosen = limits.take(doubtful["image_id"], doubtful["n_boxes"])
            if not chosen:
                raise ValueError(f"no label of {len(ranking)} images that can be judged is in doubt, within {limits}")
            selection = doubtful.set_index("image_id").loc[chosen].reset_index()
            _round_files.write_csv(current.folder / "ranking.csv", ranking)
            _round_files.write_csv(current.folder / "selection.csv", selection)
            found.subset(chosen).save(current.folder / "held_out.parquet")
            scores = selection["score"].tolist()
            self.workspace.record_query(current.number, chosen, scores, REVIEW, again=True)
        if self.annotator and current.stage in ("new", "queried"):
            _asking.push(self.workspace, self.annotator)
        return self.workspace.query(current.number)

    def collect(self) -> pd.DataFrame:
        """Take over all answers there are; when none is missing and something is labelled, the collection closes.

        Returns:
            The round's query with the status each image has now.
        """
        current = self.workspace.begin_round()
        if current.stage == "new":
            raise ValueError(f"round {current.number} has not queried yet: query() first")
        if current.stage == "queried":
            if self.annotator is None:
                raise ValueError(f"{self.workspace.folder} has no annotator: give one to ActiveLoop")
            _asking.push(
                self.workspace, self.annotator
            )  # again, in case a kill came between recording the query and handing it over
            answer = self.annotator.pull(self.workspace.cursor)
            asked = {i for status in STATUSES[1:] for i in self.workspace.ids(status)}
            answer = answer.only(asked)
            tables = {"corrections": answer.corrections, "account": answer.account}
            _round_files.update_tables(current.folder, tables, answer.told)
            self.workspace.record_answers(
                current.number, answer.labels, answer.skipped, answer.costs, answer.unanswered, answer.cursor
            )
            if not self.workspace.ids("queried") and self.workspace.ids("labelled"):
                self.workspace.close_collection(current.number)
        return self.workspace.query(current.number)

    def train(self) -> dict[str, Any]:
        """Fine-tune on all labels so far, evaluate on the test set, and end the round.

        Returns:
            The round's metrics.

        Raises:
            ValueError: before anything of this round is labelled.
        """
        current = self.workspace.begin_round()
        if current.stage == "new":
            rounds = [r for r in self.workspace.rounds() if r.stage == "trained"]
            if not rounds:
                raise ValueError("nothing is labelled yet: query() and collect() first")
            return rounds[-1].metrics
        if current.stage == "queried":
            states = self.workspace.query(current.number)["status"].value_counts()
            if "labelled" not in states:
                count = ", ".join(f"{count} {status}" for status, count in states.items())
                raise ValueError(f"nothing of round {current.number} is labelled yet ({count}): collect() when it is")
            self.workspace.close_collection(current.number)
        labels = self.workspace.labels()
        start = self._checkpoint(first=not self.settings.warm_start)
        paths = self.workspace.paths(labels.image_ids)
        checkpoint, metrics = self.learner.train(start, paths, labels, current.folder / "training")
        metrics = {**self._measure(current, checkpoint), **metrics}
        with atomic_write(current.folder / "metrics.json") as file:
            json.dump(metrics, file, indent=1, default=float)
        self.workspace.record_training(current.number, checkpoint, metrics)
        return metrics

    def run(self, rounds: int) -> pd.DataFrame:
        """Query, collect and train until so many rounds are trained in all, or the pool is used up.

        Raises:
            ValueError: when the annotator has not answered everything; call again when it has.
        """
        while sum(r.stage == "trained" for r in self.workspace.rounds()) < rounds:
            between = all(r.stage in ("new", "trained") for r in self.workspace.rounds())
            if between and not self.workspace.ids("unlabelled"):
                break
            self.query()
            missing = int((self.collect()["status"] == "queried").sum())
            if missing:
                raise ValueError(f"{missing} images of this round are not answered yet: label them and run again")
            self.train()
        return self.workspace.history()

    def report(self, path: str | Path | None = None) -> Path:
        """Write the HTML report, by default into the workspace."""
        from ..report.page import write_report

        return write_report(self.workspace, path)

    def close(self) -> None:
        """Give the workspace back."""
        self.workspace.close()

    def __enter__(self) -> ActiveLoop:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # What the steps are made of.

    def _detect(self, current: Round, pool: list[str]) -> RotatedInstances:
        checkpoint = self._checkpoint()
        if self._is_cold(current) or checkpoint is None:
            return RotatedInstances.empty(pool, self.classes)
        keep = {name: True for name in ("class_scores", "features") if name in needs_of(self.strategy)}
        _round_files.clear_unless_made_for(current.folder / "detections", keep)
        paths = self.workspace.paths(pool)
        found = self.learner.predict(checkpoint, paths, current.folder / "detections", **keep)
        if not len(found):
            image_id, reason = next(iter(found.skipped.items()), (pool[0], "not detected on"))
            raise ValueError(f"none of the {len(pool)} unlabelled images can be read, e.g. {image_id!r}: {reason}")
        return found

    def _choose(self, current: Round, detections: RotatedInstances) -> tuple[pd.DataFrame, list[str]]:
        rng = np.random.default_rng([self.settings.seed, current.number])
        strategy = make_strategy("random") if self._is_cold(current) else self.strategy
        cost = costs.fit(self.workspace.ledger(), self.budget.cost).cost  # by what people have taken so far
        budget = self.budget if self.budget.seconds is None else replace(self.budget, cost=cost)
        checkpoint = None if self._is_cold(current) else self._checkpoint()
        known = knowledge.build_context(self.workspace, self.learner, current, checkpoint, needs_of(strategy), cost)
        ranking, chosen = rank_and_select(detections, strategy, budget, rng, known)
        if not chosen:
            raise ValueError(f"{budget} covers none of the {len(detections)} images: raise it")
        return ranking, chosen

    def _measure(self, current: Round, checkpoint: Path) -> dict[str, float]:
        test = self.workspace.folder / "test.parquet"
        if not test.exists():
            return {}
        labels, files = labelled.read(test)
        detections = self.learner.predict(checkpoint, files, current.folder / "test_detections")
        found = labels.subset(i for i in labels.image_ids if i not in detections.skipped)
        skipped = {"test_images_skipped": len(labels) - len(found)} if len(found) < len(labels) else {}
        return evaluate(detections, found).metrics() | skipped

    def _is_cold(self, current: Round) -> bool:
        return self.settings.untrained_start and current.number == 0

    def _checkpoint(self, first: bool = False) -> Path | None:
        """The weights of the last round, or the first ones; None where there were none."""
        trained = [r.checkpoint for r in self.workspace.rounds() if r.checkpoint is not None]
        if trained and not first:
            return trained[-1]
        return self.workspace.folder / self.settings.checkpoint if self.settings.checkpoint else None
