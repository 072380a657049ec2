"""The queue of fine-tunings: one runs in a process of its own, one may wait, and both outlive the service.

A job is a folder. Each file has one writer, and is written atomically::

    jobs/0001/job.json     the service: what to train, when it was requested and when it began
    jobs/0001/lock         held (flock) as long as the training's process lives
    jobs/0001/log.txt      the output of that process
    jobs/0001/result.json  that process: how it ended

So the folder is the state: a job with a result is over, one whose lock is held runs, and any other waits, whether it
never began or its process died. The service takes the lock and hands it to the process that it starts, so that there
is no moment at which a job runs and its lock is free.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...storage import tuple_json
from ...storage.files import atomic_write, utc_now
from ...storage.locks import FileLock, Locked, is_held

LOG = logging.getLogger("al_rotate.bridge.backend")
ATTEMPTS = 3  # per job, when its process dies without a result


class Busy(RuntimeError):
    """Another service or training is in the way; the message says which."""


@dataclass(frozen=True)
class Job:
    """A snapshot of one fine-tuning."""

    folder: Path
    request: dict[str, Any]
    result: dict[str, Any]  # empty until it is over
    running: bool

    @property
    def number(self) -> int:
        return int(self.folder.name)

    @property
    def state(self) -> str:
        """One of waiting, running, finished, failed."""
        return str(self.result.get("state") or ("running" if self.running else "waiting"))


class JobQueue:
    """The jobs of one service.

    Args:
        folder: of the service; made if necessary. One service at a time.
        environment: gives the variables that a training's process gets in place of those of our own environment; it
            does not get one that is None. Tokens take this way, since everybody on the machine can read a command line.

    Raises:
        Busy: if another service has the folder.
    """

    def __init__(self, folder: Path, environment: Callable[[], Mapping[str, str | None]]) -> None:
        self.folder, self._environment = folder, environment
        (folder / "jobs").mkdir(parents=True, exist_ok=True)
        try:
            self._lock = FileLock(folder / "service.lock").acquire(note="")
        except Locked:
            raise Busy(f"another service works in {folder}: stop it, or give this one a work_dir of its own") from None
        self._changing = threading.Lock()
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    def close(self) -> None:
        """Leave the queue to the next service; a running training continues."""
        self._lock.release()

    def add(self, training: Mapping[str, Any], reason: str) -> Job:
        """Add a job, or return the waiting one if it is for the same.

        Raises:
            Busy: if a job for something else waits.
        """
        with self._changing:
            existing = jobs(self.folder)
            for job in existing:
                if job.state == "waiting":
                    if all(job.request.get(name) == training.get(name) for name in ("kind", "project")):
                        return job
                    raise Busy(f"training {job.number}, for project {job.request.get('project')}, waits already")
            number = max((job.number for job in existing), default=0) + 1
            folder = self.folder / "jobs" / f"{number:04d}"
            request = {**training, "reason": reason, "queued": utc_now(), "begun": []}
            _write(folder / "job.json", request)
            return Job(folder, request, {}, False)

    def tick(self) -> list[Job]:
        """Begin the next job if none runs, and return all jobs, oldest first."""
        with self._changing:
            for number in [number for number, child in self._children.items() if child.poll() is not None]:
                del self._children[number]
            existing = jobs(self.folder)
            waiting = [job for job in existing if job.state == "waiting"]
            if waiting and not any(job.state == "running" for job in existing):
                self._begin(waiting[0])
                existing = jobs(self.folder)
            return existing

    def _begin(self, job: Job) -> None:
        try:
            lock = FileLock(job.folder / "lock").acquire(note="")
        except Locked:
            return  # it is being begun
        with lock:
            if (job.folder / "result.json").exists():
                return  # it has just ended
            begun = job.request["begun"]
            if len(begun) >= ATTEMPTS:
                error = f"the process died {len(begun)} times without a word (memory?); see {job.folder / 'log.txt'}"
                finish(job.folder, {"state": "failed", "error": error})
                return
            _write(job.folder / "job.json", {**job.request, "begun": [*begun, utc_now()]})
            with open(job.folder / "log.txt", "ab") as log:
                child = subprocess.Popen(
                    [sys.executable, "-m", "al_rotate.bridge.backend.trainer", str(job.folder)],
                    env={k: v for k, v in {**os.environ, **self._environment()}.items() if v is not None},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=[lock.fileno()],  # so that the lock is held as long as the training lives
                    start_new_session=True,  # Ctrl-C ends the service, not the training
                )
            self._children[job.number] = child
        LOG.info("training %d began (%s)", job.number, job.request["reason"])


def jobs(folder: Path) -> list[Job]:
    """Read all jobs of a service's folder, oldest first."""
    snapshots = []
    for file in sorted(folder.glob("jobs/*/job.json")):
        result = file.with_name("result.json")
        ended = read(result) if result.exists() else {}
        running = not ended and is_held(file.with_name("lock"))
        if not ended and not running and result.exists():
            ended = read(result)  # it ended between the two looks
        snapshots.append(Job(file.parent, read(file), ended, running))
    return snapshots


def finish(folder: Path, result: Mapping[str, Any]) -> None:
    """Record that a job is over."""
    _write(folder / "result.json", {**result, "ended": utc_now()})


def read(file: Path) -> dict[str, Any]:
    """Read a job's file."""
    return dict(tuple_json.loads(file.read_text(encoding="utf-8")))


def _write(file: Path, content: Mapping[str, Any]) -> None:
    with atomic_write(file) as text:
        text.write(tuple_json.dumps(dict(content), indent=1, default=float))
