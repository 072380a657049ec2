"""What the ML backend does, whoever calls it: predicts in one thread, queues trainings, serves their weights."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from ...storage.files import atomic_write
from ...workspace import Weights
from ..conversion.label_config import LabelConfig, read_xml
from .fetch import Fetcher
from .fetch.hosts import is_loopback, origin
from .jobs import Busy, JobQueue, jobs
from .journal import LOG, Journal
from .models import ModelSource
from .options import TOKEN_VARIABLE, URL_VARIABLE, ServeOptions
from .predictor import Predictor, fetch_images
from .redaction import Redactor

MAX_TASKS = 1000  # per request
MAX_WAITING = 16  # requests
_POLL_SECONDS = 1.0  # between two looks at the queue
_ON_SUBMISSION = "start_training_on_annotation_update"
_EVERY_ANSWER = (
    "'Start model training on annotation submission' is on in the project's Settings, Model: each answer would end the "
    "round with a training. Turn it off; for a training after every N answers start the service with --train-every N"
)
_CREATED = ("ANNOTATION_CREATED", "ANNOTATIONS_CREATED")


class Rejected(ValueError):
    """A request that cannot be answered; `status` is of HTTP."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Service:
    """One model and its queue of trainings.

    Args:
        source: where weights come from.
        options: see :class:`~al_rotate.bridge.backend.options.ServeOptions`; what chooses the source does not matter
            here.
        token: of the Label Studio in the options, kept in memory; without an address there it is not used. None waits
            for the one that it sends in /setup, which is accepted from the address in the options, or from this
            machine.
        redactor: hides the token, and what else it was given, in logs and answers.

    Raises:
        ValueError: for invalid hosts.
        Busy: if another service works in the source's folder.
    """

    def __init__(
        self,
        source: ModelSource,
        options: ServeOptions | None = None,
        token: str | None = None,
        redactor: Redactor | None = None,
    ) -> None:
        self.source, self.options = source, options or ServeOptions()
        self.redactor = redactor or Redactor()
        self.redactor.add(token)
        self.journal = Journal(self.redactor, source.folder)
        studio = self.options.label_studio
        # Whoever names itself as Label Studio in /setup must not be sent a token that was meant for the real one.
        # One value: of two processes that do so at once, one's token must not go with the other's address.
        self._studio = (studio, token if studio else None)
        if token and not studio:
            self.journal.note("token", f"{TOKEN_VARIABLE} is not used: {URL_VARIABLE} must say whose it is; set both")
        self._counting, self._stop = threading.Lock(), threading.Event()
        self._fetcher = Fetcher(*self._studio, self.options.fetch_policy, self._stop)
        self.predictor = Predictor(source, self.options.score_thr, self.journal, self._stop)
        self.queue = JobQueue(source.folder, self._environment)
        LOG.addFilter(self.redactor)
        self.model_thread = ThreadPoolExecutor(1, "model")  # the only one that uses the detector
        # One for each request that may wait: hosts that are slow hold up no images of others.
        self._request_threads = ThreadPoolExecutor(MAX_WAITING, "predict")
        self._waiting = 0
        self._unloadable: set[Weights] = set()
        self._watcher = threading.Thread(target=self._watch, name="trainings", daemon=True)

    def start(self) -> Service:
        """Load the newest weights and begin to watch the queue.

        Raises:
            FileNotFoundError, ValueError: if the weights cannot be loaded.
        """
        try:
            self.model_thread.submit(self.predictor.load, self.source.weights()).result()
        except BaseException:
            self.stop()
            raise
        self._watcher.start()
        return self

    def interrupt(self) -> None:
        """Give up what is being fetched, and predict on no further images: stop() then takes seconds."""
        self._stop.set()

    def stop(self) -> None:
        """Stop; a running training continues, and the next service finds it."""
        self.interrupt()
        if self._watcher.is_alive():
            self._watcher.join()
        for pool in (self._request_threads, self.model_thread):
            pool.shutdown(cancel_futures=True)
        self.queue.close()
        LOG.removeFilter(self.redactor)

    def __enter__(self) -> Service:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def version(self) -> str:
        """The name of the weights that are served."""
        return self.predictor.weights.version

    def setup(self, body: Mapping[str, Any]) -> str:
        """Take note of Label Studio's address and token, and return our model_version.

        Raises:
            Rejected: for a labelling configuration without rectangles, or without a label that is one of our classes.
        """
        token, hostname = body.get("access_token"), body.get("hostname")
        if isinstance(token, str):
            self.redactor.add(token)
        if isinstance(hostname, str) and isinstance(token, str) and token:
            self._meet(hostname, token)
        self._read_config(body.get("schema"))
        return self.version

    def predict(self, body: Mapping[str, Any]) -> list[Any]:
        """Predict, one answer per task, in order; blocks until the model is free.

        Raises:
            Rejected: says what was expected.
        """
        tasks = body.get("tasks")
        if not isinstance(tasks, list):
            raise Rejected(422, f"expected a list of tasks, got {type(tasks).__name__}")
        if len(tasks) > MAX_TASKS:
            raise Rejected(413, f"expected at most {MAX_TASKS} tasks, got {len(tasks)}: select fewer at a time")
        config = self._read_config(body.get("label_config"))
        with self._counting:
            if self._waiting >= MAX_WAITING:
                raise Rejected(503, f"{self._waiting} requests wait for the model already: try again later")
            self._waiting += 1
        try:
            return self._request_threads.submit(self._answer, tasks, config, self._fetcher).result()
        except ValueError as error:
            self.journal.fail("a prediction", error)
            raise Rejected(422, self.journal.line(error)) from error
        finally:
            with self._counting:
                self._waiting -= 1

    def event(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Handle an event in Label Studio: queue a training if it calls for one.

        Raises:
            Rejected: for a training that is not possible.
        """
        action, sender = body.get("action"), body.get("project")
        project = sender.get("id") if isinstance(sender, Mapping) else sender
        if action != "START_TRAINING" and not (action in _CREATED and self.options.train_every > 0):
            return {"status": "ignored"}
        if not isinstance(project, int) or isinstance(project, bool):
            project = None
        if self.source.project is not None and project != self.source.project:
            text = f"expected project {self.source.project}, with which the workspace is connected, got {project}"
            self.journal.note(str(action), text)
            raise Rejected(422, text)
        if action == "START_TRAINING":
            if self.source.project is not None and isinstance(sender, Mapping) and sender.get(_ON_SUBMISSION):
                raise Rejected(422, _EVERY_ANSWER)
            return self._queue_training(project, "asked for in Label Studio")
        count = self._count_annotations(_n_annotations(body))
        if count < self.options.train_every:
            return {"status": "counted", "annotations": count}
        queued = self._queue_training(project, f"{count} new annotations")
        self._count_annotations(None)
        return queued

    def status(self) -> dict[str, Any]:
        """Return what the status page shows."""
        return {
            "version": self.version,
            "versions": self.source.versions(),
            "trained": self.source.is_trained(self.predictor.weights),
            "jobs": jobs(self.source.folder)[::-1],
            "waiting": self._waiting,
            "notes": self.journal.notes[::-1],
            "last_error": self.journal.last_error,
            "log_file": self.journal.log_file,
            "studio": self._studio,
            "train_every": self.options.train_every,
            "annotations": self._count_annotations(0),
            "redact": self.redactor.redact,
        }

    def _answer(self, tasks: Sequence[Any], config: LabelConfig, fetcher: Fetcher) -> list[Any]:
        """Fetch in this thread, detect in the model's."""
        with TemporaryDirectory(prefix="al_rotate-") as folder:
            fetched = fetch_images(tasks, config, fetcher, Path(folder))
            return self.model_thread.submit(self.predictor.predict, tasks, config, fetched).result()

    def _queue_training(self, project: int | None, reason: str) -> dict[str, Any]:
        training = self.source.training(project)
        if training["kind"] == "labels":
            if project is None:
                raise Rejected(422, "expected the id of the project to train on, got none")
            training["fetch"] = self.options.fetch_policy.to_json()
        try:
            job = self.queue.add(training, reason)
        except Busy as error:
            raise Rejected(409, str(error)) from error
        return {"status": "queued", "training": job.number}

    def _count_annotations(self, more: int | None) -> int:
        """Count annotations since the last training was queued; None starts again from 0."""
        file = self.source.folder / "annotations.json"
        with self._counting:
            count = json.loads(file.read_text(encoding="utf-8"))["new"] if file.exists() else 0
            if more != 0:
                count = 0 if more is None else count + more
                with atomic_write(file) as text:
                    json.dump({"new": count}, text)
        return count

    def _read_config(self, xml: object) -> LabelConfig:
        try:
            if not isinstance(xml, str):
                raise ValueError(f"expected a labelling configuration, got {type(xml).__name__}")
            config, (_, detector) = read_xml(xml), self.predictor.loaded()
            if detector is not None:
                self.predictor.match_labels(detector.classes, config)
            return config
        except ValueError as error:
            self.journal.fail("the project's labels", error)
            raise Rejected(422, self.journal.line(error)) from error

    def _meet(self, hostname: str, token: str) -> None:
        """Accept an address of this machine, and a token from the address that is known."""
        try:
            with self._counting:
                studio, known = self._studio
                studio = studio or (hostname if is_loopback(urlsplit(hostname).hostname or "") else None)
                if studio is not None and known is None and origin(hostname) == origin(studio):
                    self._fetcher = Fetcher(studio, token, self.options.fetch_policy, self._stop)
                    self._studio = (studio, token)
        except ValueError as error:
            self.journal.note("setup", f"expected Label Studio's address as hostname, got {hostname!r:.100}: {error}")

    def _environment(self) -> dict[str, str | None]:
        """Variables of a training's process: the token goes there with the address that it is for, or not at all."""
        return dict(zip((URL_VARIABLE, TOKEN_VARIABLE), self._studio, strict=True))

    def _watch(self) -> None:
        """Begin trainings, report those that failed, and load the weights of those that finished."""
        ended: set[int] | None = None
        while not self._stop.is_set():
            try:
                all_jobs = self.queue.tick()
                over = {job.number for job in all_jobs if job.result}
                for job in all_jobs:
                    if job.state == "failed" and ended is not None and job.number not in ended:
                        self.journal.fail(f"training {job.number}", str(job.result["error"]))
                ended = over
                newest = self.source.weights()
                if newest != self.predictor.weights and newest not in self._unloadable:
                    self._unloadable.add(newest)
                    self.model_thread.submit(self.predictor.load, newest).result()
                    self._unloadable.discard(newest)
            except Exception as error:
                if not self._stop.is_set():
                    self.journal.fail("the newest weights", error)
            self._stop.wait(_POLL_SECONDS)


def _n_annotations(body: Mapping[str, Any]) -> int:
    """Count the annotations that an event tells of, without skipped ones."""
    content = body.get("annotation")
    annotations = content if isinstance(content, list) else [content]
    return sum(isinstance(entry, Mapping) and not entry.get("was_cancelled") for entry in annotations)
