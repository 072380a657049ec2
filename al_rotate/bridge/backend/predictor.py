"""Tasks -> predictions: fetches the images, detects on all of them in one call, and answers task by task."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.instances import RotatedInstances
from ...sampling import rank
from ..conversion import tasks
from ..conversion.class_matching import matched
from ..conversion.label_config import LabelConfig
from .fetch import Fetcher, Refused
from .models import ModelSource, Weights

if TYPE_CHECKING:
    from ...detection.detector import Detector

LOG = logging.getLogger("al_rotate.bridge.backend")
FETCHING = 8  # images at a time


class Predictor:
    """One model, used by one thread at a time.

    Args:
        home: where the weights come from.
        score_thr: the least score of a box that is shown.
        note: told of everything that was left out: where, and why.
    """

    def __init__(self, home: ModelSource, score_thr: float, note: Callable[[str, str], None]) -> None:
        self.home, self.score_thr, self.note = home, score_thr, note
        self._served: tuple[Weights, Detector | None] | None = None

    @property
    def weights(self) -> Weights:
        """Those that are served."""
        assert self._served is not None, "load() first"
        return self._served[0]

    def load(self, weights: Weights) -> None:
        """Serve these from now on; when they cannot be loaded the old ones stay."""
        detector = self.home.detector(weights) if weights.trained else None
        self._served = (weights, detector)
        LOG.info("serving %s", weights.version)

    def fetch(
        self, given: Sequence[Any], config: LabelConfig, fetcher: Fetcher, folder: Path
    ) -> tuple[dict[str, Path], dict[str, str]]:
        """The images of the tasks by their place in the request, and why some are missing."""

        def one(position: int) -> Path | str:
            task = given[position]
            try:
                if not isinstance(task, Mapping) or not isinstance(task.get("data"), Mapping):
                    return f"expected a task with data, got {type(task).__name__}"
                number = task.get("id")
                address = task["data"].get(config.image_key)
                return fetcher.fetch(address, folder / f"{position:05d}", number if isinstance(number, int) else None)
            except (Refused, OSError) as error:
                return str(error)

        with ThreadPoolExecutor(FETCHING) as pool:
            got = dict(zip(map(str, range(len(given))), pool.map(one, range(len(given))), strict=True))
        files = {place: file for place, file in got.items() if isinstance(file, Path)}
        return files, {place: reason for place, reason in got.items() if isinstance(reason, str)}

    def predict(
        self, given: Sequence[Any], config: LabelConfig, fetched: tuple[Mapping[str, Path], Mapping[str, str]]
    ) -> list[dict[str, Any] | list[Any]]:
        """One answer a task, in order.

        A task whose image cannot be had is answered by an empty list: Label Studio then saves nothing, and asks again
        when the task is opened next, where an empty prediction would say that there is nothing to see.

        Raises:
            ValueError: when no class of the model is a label of the project.
        """
        assert self._served is not None, "load() first"
        weights, detector = self._served
        files, failed = fetched[0], dict(fetched[1])
        if detector is None:
            raise ValueError(
                f"{weights.version} has random weights: label the first images and train, then it predicts"
            )
        labels = matched(detector.classes, config.classes, self.home.rename)
        if not labels:
            raise ValueError(
                f"none of the model's classes ({', '.join(detector.classes)}) is a label of the project "
                f"({', '.join(config.classes)}): name the labels after the classes"
            )
        lost = [name for name in detector.classes if name not in labels]
        if lost:
            self.note("labels", f"the project has no label for {', '.join(lost)}: boxes of these are left out")
        found = _detect(detector, files)
        failed |= found.skipped
        scores = rank(found, "entropy").set_index("image_id")["score"]
        shown = _shown(found, labels, self.score_thr)
        answers: list[dict[str, Any] | list[Any]] = []
        for position, task in enumerate(given):
            place = str(position)
            if place in failed or place not in shown:
                number = task.get("id") if isinstance(task, Mapping) else None
                self.note(f"task {number}", failed.get(place, "no detections"))
                answers.append([])
                continue
            one = shown[place]
            assert one.image_sizes is not None
            width, height = map(int, one.image_sizes[0])
            name = _name(task, config.image_key)
            answers.append(
                tasks.prediction(name, (width, height), config, one, weights.version, 1 - float(scores[place]))
            )
        return answers


def _name(task: Mapping[str, Any], image_key: str) -> str:
    """What its regions are numbered by."""
    try:
        return tasks.image_id_of(task["data"], image_key)
    except ValueError:  # an address without a file's name, such as https://host/?id=3
        return f"task-{task.get('id')}"


def answer(
    predictor: Predictor,
    given: Sequence[Any],
    config: LabelConfig,
    fetcher: Fetcher,
    run: Callable[..., Any],
) -> list[dict[str, Any] | list[Any]]:
    """Fetch in this thread, detect in the one of the model.

    Args:
        run: calls a function with arguments in the model's thread and waits for it.
    """
    with TemporaryDirectory(prefix="al_rotate-") as folder:
        fetched = predictor.fetch(given, config, fetcher, Path(folder))
        return run(predictor.predict, given, config, fetched)


def _detect(detector: Detector, files: Mapping[str, Path]) -> RotatedInstances:
    """All in one call; when that fails, one by one, so that an odd image takes no other with it."""
    if not files:
        return RotatedInstances.empty([], detector.classes)
    try:
        return detector.predict(dict(files), progress=False)
    except Exception as error:
        if len(files) == 1:
            reason = f"{type(error).__name__}: {error}"
            return RotatedInstances.empty([], detector.classes).replace(skipped=dict.fromkeys(files, reason))
    return RotatedInstances.concat(_detect(detector, {place: file}) for place, file in files.items())


def _shown(found: RotatedInstances, labels: Mapping[str, str], score_thr: float) -> RotatedInstances:
    """Likely boxes of classes that the project has, under its names."""
    if found.scores is None:
        return found
    assert found.classes is not None
    known = np.array([name in labels for name in found.classes])
    kept = found.where((found.scores >= score_thr) & known[found.labels])
    # The others are not drawn any more, but still need names that are distinct.
    names = [labels.get(name, f"\0{name}") for name in found.classes]
    return kept.replace(classes=names)
