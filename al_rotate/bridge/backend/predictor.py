"""Tasks -> predictions: fetches the images, runs the detector on all of them at once, and answers task by task."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...data import RotatedInstances
from ...sampling import ShowingRule, rank
from ...workspace import Weights
from ..conversion.class_matching import match_classes
from ..conversion.label_config import LabelConfig
from ..conversion.tasks import image_id_of, prediction
from .fetch import Fetcher, Refused, Wanted
from .journal import Journal, in_one_line
from .models import ModelSource

if TYPE_CHECKING:
    from ...detection.detector import Detector

LOG = logging.getLogger("al_rotate.bridge.backend")
REQUEST_SECONDS = 60.0  # for the images of one request: Label Studio waits 100 s for the answer
PART_SECONDS, SMALLEST_PART = 3.0, 8  # images are predicted on in parts, so that the service can be stopped between two


class FetchedImages(NamedTuple):
    """The images of a request by the task's position in it ("0", "1", ...), and why some are missing."""

    files: dict[str, Path]
    failures: dict[str, str]


def fetch_images(tasks: Sequence[Any], config: LabelConfig, fetcher: Fetcher, folder: Path) -> FetchedImages:
    """Fetch the images of tasks.

    Args:
        tasks: as Label Studio sends them, unchecked.
        config: the project's.
        fetcher: fetches one image.
        folder: for downloads.
    """

    wanted, failures = {}, {}
    for position, task in enumerate(tasks):
        if not isinstance(task, Mapping) or not isinstance(task.get("data"), Mapping):
            failures[str(position)] = f"expected a task with data, got {type(task).__name__}"
            continue
        number = task.get("id")
        is_id = isinstance(number, int) and not isinstance(number, bool)
        target = folder / f"{position:05d}"
        wanted[str(position)] = Wanted(task["data"].get(config.image_key), target, number if is_id else None)
    got = fetcher.fetch_all(wanted, REQUEST_SECONDS)
    failures |= {position: str(result) for position, result in got.items() if isinstance(result, Refused)}
    return FetchedImages({position: file for position, file in got.items() if isinstance(file, Path)}, failures)


class Predictor:
    """One model, used by one thread at a time.

    Args:
        source: where the weights come from.
        score_thr: the least score of a box that is shown; None: the source decides.
        journal: is told what was left out, and why.
        stopped: once it is set, no further image is predicted on.
    """

    def __init__(
        self, source: ModelSource, score_thr: float | None, journal: Journal, stopped: threading.Event
    ) -> None:
        self.source, self.score_thr, self.journal, self._stopped = source, score_thr, journal, stopped
        self._served: tuple[Weights, Detector | None] | None = None
        self._showing = ShowingRule()

    @property
    def weights(self) -> Weights:
        """The weights that are served."""
        return self.loaded()[0]

    def load(self, weights: Weights) -> None:
        """Serve these weights from now on; if they cannot be loaded, the old ones stay."""
        detector = self.source.detector(weights) if self.source.is_trained(weights) else None
        self._showing = self.source.showing(weights) if self.score_thr is None else ShowingRule(self.score_thr)
        self._served = (weights, detector)
        LOG.info("serving %s", weights.version)

    def predict(
        self, tasks: Sequence[Any], config: LabelConfig, fetched: FetchedImages
    ) -> list[dict[str, Any] | list[Any]]:
        """Predict on fetched images, one answer per task, in order.

        A task without an image is answered by an empty list: Label Studio then saves nothing, and asks again when the
        task is opened next. An empty prediction would say that there is nothing to see.

        Raises:
            ValueError: if no class of the model is a label of the project.
        """
        weights, detector = self.loaded()
        if detector is None:
            raise ValueError(
                f"{weights.version} has random weights: label the first images and train, then it predicts"
            )
        labels = self.match_labels(detector.classes, config)
        if lost := [name for name in detector.classes if name not in labels]:
            self.journal.note("labels", f"the project has no label for {', '.join(lost)}: boxes of these are left out")
        detections = self._detect_in_parts(detector, fetched.files)
        failures = fetched.failures | detections.skipped
        scores = rank(detections, "entropy").set_index("image_id")["score"]
        shown = _select_shown(detections, labels, self._showing)
        answers: list[dict[str, Any] | list[Any]] = []
        for position, task in enumerate(tasks):
            key = str(position)
            try:
                if key in failures or key not in shown:
                    raise Refused(failures.get(key, "no detections"))
                boxes = shown[key]
                assert boxes.image_sizes is not None
                width, height = map(int, boxes.image_sizes[0])
                name = _region_prefix(task, config.image_key)
                score = 1 - float(scores[key])
                answers.append(prediction(name, (width, height), config, boxes, weights.version, score))
            except Exception as error:
                self.journal.note(_name_of(task), error)
                answers.append([])
        return answers

    def match_labels(self, classes: Sequence[str], config: LabelConfig) -> dict[str, str]:
        """Match the model's classes with the project's labels: class -> label.

        Raises:
            ValueError: if no class is a label.
        """
        labels = match_classes(classes, config.classes, self.source.rename)
        if not labels:
            raise ValueError(
                f"none of the model's classes ({', '.join(classes)}) is a label of the project "
                f"({', '.join(config.classes)}): name the labels after the classes"
            )
        return labels

    def _detect_in_parts(self, detector: Detector, files: Mapping[str, Path]) -> RotatedInstances:
        """Detect on as many images at a time as take some seconds, until it is stopped."""
        parts = [RotatedInstances.empty([], detector.classes)]
        left, size = iter(files.items()), SMALLEST_PART
        while part := dict(islice(left, size)):
            if self._stopped.is_set():
                skipped = dict.fromkeys([*part, *dict(left)], "was not predicted on: the service was being stopped")
                parts.append(parts[0].replace(skipped=skipped))
                break
            begun = time.monotonic()
            parts.append(_detect(detector, part))
            seconds = max(time.monotonic() - begun, 1e-3)
            size = max(SMALLEST_PART, int(len(part) * PART_SECONDS / seconds))
        return RotatedInstances.concat(parts)

    def loaded(self) -> tuple[Weights, Detector | None]:
        """Return the weights that are served, and their detector; random weights have none."""
        assert self._served is not None, "load() first"
        return self._served


def _name_of(task: object) -> str:
    """The name of a task in notes."""
    number = task.get("id") if isinstance(task, Mapping) else None
    return f"task {number}"[:40]


def _region_prefix(task: Mapping[str, Any], image_key: str) -> str:
    """The name that a task's regions are numbered by."""
    try:
        return image_id_of(task["data"], image_key)
    except ValueError:  # an address without a file's name, such as https://host/?id=3
        return f"task-{task.get('id')}"


def _detect(detector: Detector, files: Mapping[str, Path]) -> RotatedInstances:
    """Detect on images in one call; if that fails, one by one, so that a bad image affects no other."""
    try:
        return detector.predict(dict(files), progress=False)
    except Exception as error:
        if len(files) == 1:
            reason = in_one_line(error)
            LOG.info("%s: %s", *map(str, files.values()), reason, exc_info=True)
            return RotatedInstances.empty([], detector.classes).replace(skipped=dict.fromkeys(files, reason))
    return RotatedInstances.concat(_detect(detector, {key: file}) for key, file in files.items())


def _select_shown(detections: RotatedInstances, labels: Mapping[str, str], rule: ShowingRule) -> RotatedInstances:
    """Select the boxes worth showing of classes that the project has, under its names."""
    if detections.scores is None:
        return detections
    assert detections.classes is not None
    has_label = np.array([name in labels for name in detections.classes])
    shown = detections.where(rule.select(detections) & has_label[detections.labels])
    # Classes without a label have no box left, but the names of all must be distinct.
    return shown.replace(classes=[labels.get(name, f"\0{name}") for name in detections.classes])
