"""What the ML backend does, whoever asks: predicts in one thread, queues trainings, serves what they leave."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ...storage.files import atomic_write, utc_now
from ..conversion.label_config import read_xml
from .fetch import Fetcher, Limits
from .hosts import is_loopback, origin
from .jobs import Busy, Queue, jobs
from .models import ModelSource, Weights
from .predictor import Predictor, answer
from .redaction import Redactor
from .trainer import ADDRESS, TOKEN

LOG = logging.getLogger("al_rotate.bridge.backend")
MAX_TASKS = 1000  # a request
MAX_WAITING = 16  # requests
NOTES = 30  # kept for the status page
_SECONDS = 1.0  # between two looks at the queue
_CREATED = ("ANNOTATION_CREATED", "ANNOTATIONS_CREATED")


class Rejected(ValueError):
    """A request that cannot be answered; `status` is of HTTP."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Service:
    """One model behind one queue of trainings.

    Args:
        home: where weights come from.
        score_thr: the least score of a box that is shown.
        train_every: fine-tune after so many new annotations; 0: only when asked.
        label_studio, token: None waits for what Label Studio says of itself in /setup. It is believed when it says
            that it runs on this machine; the token stays in memory.
        hosts, document_root, limits: see :class:`~al_rotate.bridge.backend.fetch.Fetcher`.

    Raises:
        ValueError: for hosts that are none.
        Busy: when another service works in the home's folder.
    """

    def __init__(
        self,
        home: ModelSource,
        score_thr: float = 0.3,
        train_every: int = 0,
        label_studio: str | None = None,
        token: str | None = None,
        hosts: Iterable[str] = (),
        document_root: str | Path | None = None,
        limits: Limits | None = None,
        secrets: Redactor | None = None,
    ) -> None:
        self.home, self.train_every, self.hosts = home, train_every, list(hosts)
        self.document_root, self.limits = document_root and str(document_root), limits or Limits()
        self.secrets, self._token = secrets or Redactor(), token
        self.secrets.add(token)
        self._studio = label_studio
        self._fetcher = self._new_fetcher()
        self.predictor = Predictor(home, score_thr, self.note)
        self.queue = Queue(home.folder, self._environment)
        LOG.addFilter(self.secrets)
        self.notes: deque[tuple[str, str, str]] = deque(maxlen=NOTES)
        self.last_error: tuple[str, str] | None = None
        self._model = ThreadPoolExecutor(1, "model")  # the detector's own thread
        self._fetching = ThreadPoolExecutor(4, "predict")
        self._waiting = 0
        self._counting, self._stop = threading.Lock(), threading.Event()
        self._unloadable: set[Weights] = set()
        self._watcher = threading.Thread(target=self._watch, name="trainings", daemon=True)

    def start(self) -> Service:
        """Load the newest weights and look after the queue.

        Raises:
            FileNotFoundError, ValueError: when they cannot be loaded.
        """
        try:
            self._model.submit(self.predictor.load, self.home.weights()).result()
        except BaseException:
            self.stop()
            raise
        self._watcher.start()
        return self

    def stop(self) -> None:
        """Leave; a training goes on, and the next service finds it."""
        self._stop.set()
        if self._watcher.is_alive():
            self._watcher.join()
        for pool in (self._fetching, self._model):
            pool.shutdown(cancel_futures=True)
        self.queue.close()
        LOG.removeFilter(self.secrets)

    def __enter__(self) -> Service:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def version(self) -> str:
        """The name of the weights that are served."""
        return self.predictor.weights.version

    def setup(self, body: Mapping[str, Any]) -> str:
        """Label Studio says who it is; the answer is our model_version.

        Raises:
            Rejected: for a labelling configuration without rectangles.
        """
        token, hostname = body.get("access_token"), body.get("hostname")
        if isinstance(token, str):
            self.secrets.add(token)
        if isinstance(hostname, str) and isinstance(token, str) and token:
            self._meet(hostname, token)
        self._config(body.get("schema"))
        return self.version

    def predict(self, body: Mapping[str, Any]) -> list[Any]:
        """One answer a task, in order; blocks until the model had its turn.

        Raises:
            Rejected: says what was expected.
        """
        given = body.get("tasks")
        if not isinstance(given, list):
            raise Rejected(422, f"expected a list of tasks, got {type(given).__name__}")
        if len(given) > MAX_TASKS:
            raise Rejected(413, f"expected at most {MAX_TASKS} tasks, got {len(given)}: select fewer at a time")
        config = self._config(body.get("label_config"))
        with self._counting:
            if self._waiting >= MAX_WAITING:
                raise Rejected(503, f"{self._waiting} requests wait for the model already: try again later")
            self._waiting += 1
        try:
            run = lambda function, *arguments: self._model.submit(function, *arguments).result()  # noqa: E731
            return self._fetching.submit(answer, self.predictor, given, config, self._fetcher, run).result()
        except ValueError as error:
            self.fail(str(error))
            raise Rejected(422, self.secrets.hide(str(error))) from error
        finally:
            with self._counting:
                self._waiting -= 1

    def event(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """What happened in Label Studio; only asks for trainings, which are begun elsewhere.

        Raises:
            Rejected: for a training that cannot be.
        """
        action, named = body.get("action"), body.get("project")
        project = named.get("id") if isinstance(named, Mapping) else named
        if action != "START_TRAINING" and not (action in _CREATED and self.train_every > 0):
            return {"status": "ignored"}
        if not isinstance(project, int) or isinstance(project, bool):
            project = None
        if self.home.project is not None and project != self.home.project:
            text = f"expected project {self.home.project}, with which the workspace is connected, got {project}"
            self.note(str(action), text)
            raise Rejected(422, text)
        if action == "START_TRAINING":
            return self._train(project, "asked for in Label Studio")
        count = self._count(_labelled(body))
        if count < self.train_every:
            return {"status": "counted", "annotations": count}
        answered = self._train(project, f"{count} new annotations")
        self._count(None)
        return answered

    def status(self) -> dict[str, Any]:
        """For the status page."""
        return {
            "version": self.version,
            "versions": self.home.versions(),
            "trained": self.predictor.weights.trained,
            "jobs": jobs(self.home.folder)[::-1],
            "waiting": self._waiting,
            "notes": list(self.notes)[::-1],
            "last_error": self.last_error,
            "studio": self._studio,
            "token": self._token is not None,
            "train_every": self.train_every,
            "annotations": self._count(0),
            "hide": self.secrets.hide,
        }

    def note(self, where: str, why: str) -> None:
        """Something was left out; for the status page and the log."""
        why = self.secrets.hide(why)
        if not self.notes or self.notes[-1][1:] != (where, why):
            self.notes.append((utc_now(), where, why))
        LOG.warning("%s: %s", where, why)

    def fail(self, text: str) -> None:
        """Something went wrong; for the status page and the log."""
        self.last_error = (utc_now(), self.secrets.hide(text))
        LOG.error("%s", text)

    # Inside.

    def _train(self, project: int | None, reason: str) -> dict[str, Any]:
        training = self.home.training(project)
        if training["kind"] == "labels":
            if project is None:
                raise Rejected(422, "expected the id of the project to train on, got none")
            where = {"hosts": self.hosts, "document_root": self.document_root, "limits": vars(self.limits)}
            training["fetch"] = where
        try:
            job = self.queue.add(training, reason)
        except Busy as error:
            raise Rejected(409, str(error)) from error
        return {"status": "queued", "training": job.number}

    def _count(self, more: int | None) -> int:
        """Annotations since the last training was asked for; None begins anew."""
        file = self.home.folder / "annotations.json"
        with self._counting:
            count = json.loads(file.read_text(encoding="utf-8"))["new"] if file.exists() else 0
            if more != 0:
                count = 0 if more is None else count + more
                with atomic_write(file) as text:
                    json.dump({"new": count}, text)
        return count

    def _config(self, xml: object) -> Any:
        try:
            if not isinstance(xml, str):
                raise ValueError(f"expected a labelling configuration, got {type(xml).__name__}")
            return read_xml(xml)
        except ValueError as error:
            self.fail(str(error))
            raise Rejected(422, str(error)) from error

    def _meet(self, hostname: str, token: str) -> None:
        if self._studio is None and is_loopback(urlsplit(hostname).hostname or ""):
            self._studio = hostname
        if self._studio is not None and self._token is None and origin(hostname) == origin(self._studio):
            self._token = token
            self._fetcher = self._new_fetcher()

    def _new_fetcher(self) -> Fetcher:
        return Fetcher(self._studio, self._token, self.hosts, self.document_root, self.limits)

    def _environment(self) -> dict[str, str]:
        given = {ADDRESS: self._studio, TOKEN: self._token}
        return {name: value for name, value in given.items() if value}

    def _watch(self) -> None:
        ended: set[int] | None = None
        while not self._stop.is_set():
            try:
                known = self.queue.tick()
                over = {job.number for job in known if job.result}
                for job in known:
                    if job.state == "failed" and ended is not None and job.number not in ended:
                        self.fail(f"training {job.number}: {job.result['error']}")
                ended = over
                newest = self.home.weights()
                if newest != self.predictor.weights and newest not in self._unloadable:
                    self._unloadable.add(newest)
                    self._model.submit(self.predictor.load, newest).result()
                    self._unloadable.discard(newest)
            except Exception as error:
                if not self._stop.is_set():
                    self.fail(f"{type(error).__name__}: {error}")
            self._stop.wait(_SECONDS)


def _labelled(body: Mapping[str, Any]) -> int:
    """How many annotations an event tells of; skipped ones are none."""
    told = body.get("annotation")
    many = told if isinstance(told, list) else [told]
    return sum(isinstance(one, Mapping) and not one.get("was_cancelled") for one in many)


def token_of_environment() -> str | None:
    return os.environ.get(TOKEN, "").strip() or None
