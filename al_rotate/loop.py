"""ActiveLoop: predict, score, select, ask, train, evaluate, and round again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from . import images as image_files
from . import labelled
from ._files import whole
from .annotators import Annotator, SimulatedAnnotator
from .evaluation import evaluate
from .instances import RotatedInstances
from .learner import Learner, MMRotateLearner
from .sampling import Budget, Ranking, Strategy, make_strategy, select
from .workspace import Round, Workspace

if TYPE_CHECKING:
    from .detector import Detector

Images = str | Path | Mapping[str, str | Path]


class ActiveLoop:
    """Active learning on one folder of images, one workspace, one detector.

    ``query()``, ``collect()`` and ``train()`` make a round; ``run(n)`` makes n of them. Each can be killed at any
    moment and called again. Made again with the same arguments, or with the folder alone, the loop goes on.

    Args:
        folder: the workspace; made if there is none, and then `images`, `classes` and `detector` are needed.
        images: the pool, a folder or image id -> file.
        classes: class names.
        detector: where to start. One with random weights has nothing to say yet, so the first round is random.
        strategy: name or callable, see :mod:`al_rotate.sampling`.
        budget: of each query; a number counts images.
        annotator: who answers. A SimulatedAnnotator is remembered with its labels.
        test: (images, labels) to measure each round on. They are never trained on.
        train_options: cfg_options of the trainings.
        strategy_options: options of a named strategy.
        warm_start: train each round from the last round's weights; False: from the first ones each time.
        seed: of everything random.
        learner: something else than MMRotate that predicts and trains.

    Raises:
        WorkspaceBusy: when another process has the workspace.
        ValueError: when arguments contradict the workspace.
    """

    def __init__(
        self,
        folder: str | Path,
        images: Images | None = None,
        classes: tuple[str, ...] | list[str] | None = None,
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
        limits = budget if isinstance(budget, Budget) or budget is None else Budget(images=budget)
        given = {
            "strategy": strategy if isinstance(strategy, str) or strategy is None else "custom",
            "budget": limits and {"images": limits.images, "boxes": limits.boxes},
            "train_options": train_options and dict(train_options),
            "strategy_options": strategy_options and dict(strategy_options),
            "warm_start": warm_start,
            "seed": seed,
        }
        if not (folder / "state.db").exists():
            _make(folder, images, classes, detector, annotator, test, given, learner is not None)
        self.workspace = Workspace.open(folder)
        try:
            _check(self.workspace, images, classes)
            settings = {**self.workspace.settings, **{k: v for k, v in given.items() if v is not None}}
            self.settings, self.classes = settings, self.workspace.classes
            if settings["strategy"] == "custom" and not callable(strategy):
                raise ValueError(f"{folder} was made with a strategy of your own: give it again, or a name")
            self.strategy = make_strategy(strategy or settings["strategy"], **(settings["strategy_options"] or {}))
            self.budget = Budget(**settings["budget"])
            self.annotator = annotator or _remembered_annotator(folder)
            self.learner = learner or _mmrotate(folder, settings, self.classes)
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
            detections = self._detect(current, pool)
            ranking, chosen = self._choose(detections, np.random.default_rng([self.settings["seed"], current.number]))
            _table(current.folder / "ranking.csv", ranking)
            _table(current.folder / "selection.csv", ranking.set_index("image_id").loc[chosen].reset_index())
            scores = ranking.set_index("image_id").loc[chosen, "score"].tolist()
            self.workspace.record_query(current.number, chosen, scores, self._strategy_name(current))
        if self.annotator:
            self._push(current)
        return self.workspace.query(current.number)

    def collect(self) -> pd.DataFrame:
        """Take over all answers there are; when none is missing, the round's collection closes.

        Returns:
            The round's query with the status each image has now.
        """
        current = self.workspace.begin_round()
        if current.stage == "new":
            raise ValueError(f"round {current.number} has not queried yet: query() first")
        if current.stage == "queried":
            if self.annotator is None:
                raise ValueError(f"{self.workspace.folder} has no annotator: give one to ActiveLoop")
            self._push(current)  # again, in case a kill came between recording the query and handing it over
            answer = self.annotator.pull()
            self.workspace.record_answers(current.number, answer.labels, answer.skipped, answer.costs)
            if not self.workspace.ids("queried"):
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
            if not (self.workspace.query(current.number)["status"] == "labelled").any():
                raise ValueError(f"nothing of round {current.number} is labelled yet: collect() first")
            self.workspace.close_collection(current.number)
        labels = self.workspace.labels()
        start = self._checkpoint() if self.settings["warm_start"] else self._first_checkpoint()
        paths = self.workspace.paths(labels.image_ids)
        checkpoint, metrics = self.learner.train(start, paths, labels, current.folder / "training")
        metrics = {**self._measure(current, checkpoint), **metrics}
        with whole(current.folder / "metrics.json") as file:
            json.dump(metrics, file, indent=1)
        self.workspace.record_training(current.number, checkpoint, metrics)
        return metrics

    def run(self, rounds: int) -> pd.DataFrame:
        """Query, collect and train until so many rounds are trained in all, or the pool is used up.

        Raises:
            ValueError: when the annotator has not answered everything; call again when it has.
        """
        while sum(r.stage == "trained" for r in self.workspace.rounds()) < rounds:
            open_round = self.workspace.begin_round().stage != "new"
            if not open_round and not self.workspace.ids("unlabelled"):
                break
            self.query()
            missing = int((self.collect()["status"] == "queried").sum())
            if missing:
                raise ValueError(f"{missing} images of this round are not answered yet: label them and run again")
            self.train()
        return self.workspace.history()

    def report(self, path: str | Path | None = None) -> Path:
        """Write the HTML report, by default into the workspace."""
        from .report import write_report

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
        if self._is_cold(current):
            return RotatedInstances.empty(pool, self.classes)
        return self.learner.predict(self._checkpoint(), self.workspace.paths(pool), current.folder / "detections")

    def _choose(self, detections: RotatedInstances, rng: np.random.Generator) -> tuple[pd.DataFrame, list[str]]:
        cold = not detections.n_boxes and self._is_cold(self.workspace.begin_round())
        strategy = make_strategy("random") if cold else self.strategy
        if isinstance(strategy, Ranking):
            ranking = strategy.rank(detections, rng)
            chosen = self.budget.take(ranking["image_id"], ranking["n_boxes"])
        else:
            chosen = select(detections, strategy, self.budget, rng)
            counts = [int(detections.counts[detections.position(image_id)]) for image_id in chosen]
            descending = np.arange(len(chosen), 0, -1) / max(1, len(chosen))
            ranking = pd.DataFrame({"image_id": chosen, "score": descending, "n_boxes": counts})
        if not chosen:
            raise ValueError(f"{self.budget} covers none of the {len(detections)} images: raise it")
        return ranking, chosen

    def _push(self, current: Round) -> None:
        asked = self.workspace.query(current.number)["image_id"].tolist()
        folder = current.folder / "detections"
        shown = RotatedInstances.load(folder) if folder.exists() else RotatedInstances.empty(asked, self.classes)
        assert self.annotator is not None
        self.annotator.push(asked, self.workspace.paths(asked), shown.subset(i for i in asked if i in shown))

    def _measure(self, current: Round, checkpoint: Path) -> dict[str, float]:
        test = self.workspace.folder / "test.parquet"
        if not test.exists():
            return {}
        labels, files = labelled.read(test)
        detections = self.learner.predict(checkpoint, files, current.folder / "test_detections")
        return evaluate(detections, labels.subset(i for i in labels.image_ids if i in detections)).metrics()

    def _is_cold(self, current: Round) -> bool:
        return bool(self.settings["cold"]) and current.number == 0

    def _strategy_name(self, current: Round) -> str:
        return "random" if self._is_cold(current) else self.settings["strategy"]

    def _first_checkpoint(self) -> Path:
        return self.workspace.folder / self.settings["checkpoint"]

    def _checkpoint(self) -> Path:
        trained = [r.checkpoint for r in self.workspace.rounds() if r.checkpoint is not None]
        return trained[-1] if trained else self._first_checkpoint()


def _make(
    folder: Path,
    images: Images | None,
    classes: tuple[str, ...] | list[str] | None,
    detector: Detector | None,
    annotator: Annotator | None,
    test: tuple[Images, RotatedInstances] | None,
    given: dict[str, Any],
    own_learner: bool,
) -> None:
    if images is None or classes is None or (detector is None and not own_learner):
        raise ValueError(f"{folder} is no workspace yet: give images, classes and a detector to make one")
    folder.mkdir(parents=True, exist_ok=True)
    defaults = {"strategy": "entropy", "budget": {"images": 50, "boxes": None}, "warm_start": True, "seed": 0}
    settings = {**{name: value if value is not None else defaults.get(name) for name, value in given.items()}}
    settings.update(checkpoint="initial.pth", cold=False, device="auto", precision="fp32")
    if detector is not None:
        if detector.classes != tuple(classes):
            raise ValueError(f"expected a detector of the classes {tuple(classes)}, got {detector.classes}")
        settings.update(cold=detector.checkpoint is None, device=str(detector.device), precision=detector.precision)
        detector.save(folder / "initial.pth")
        detector.config.dump(folder / "config.py")
    if isinstance(annotator, SimulatedAnnotator):
        annotator.held_back.save(folder / "held_back.parquet")
    if test is not None:
        labelled.write(folder / "test.parquet", image_files.resolve(test[0]), test[1], classes)
    Workspace.create(folder, image_files.resolve(images), classes, settings).close()


def _check(workspace: Workspace, images: Images | None, classes: Any) -> None:
    if classes is not None and tuple(classes) != workspace.classes:
        raise ValueError(f"{workspace.folder} has the classes {workspace.classes}, got {tuple(classes)}")
    if images is not None:
        known = sum(workspace.counts().values())
        if (got := len(image_files.resolve(images))) != known:
            raise ValueError(
                f"{workspace.folder} was made with {known} images, got {got}; a new pool needs a new folder"
            )


def _remembered_annotator(folder: Path) -> Annotator | None:
    held_back = folder / "held_back.parquet"
    return SimulatedAnnotator(RotatedInstances.load(held_back)) if held_back.exists() else None


def _mmrotate(folder: Path, settings: dict[str, Any], classes: tuple[str, ...]) -> MMRotateLearner:
    return MMRotateLearner(
        folder / "config.py",
        classes,
        settings["device"],
        settings["precision"],
        settings["train_options"],
        seed=settings["seed"],
    )


def _table(path: Path, frame: pd.DataFrame) -> None:
    with whole(path) as file:
        frame.to_csv(file, index=False)
