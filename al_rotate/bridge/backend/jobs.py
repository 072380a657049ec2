"""The queue of fine-tunings: one runs in a process of its own, one may wait, and both outlive the service.

A job is a folder; who writes what is fixed, and every file appears whole::

    jobs/0001/job.json     the service: what to train, when it was asked for and begun
    jobs/0001/lock         held (flock) as long as the training's process lives
    jobs/0001/log.txt      what that process printed
    jobs/0001/result.json  that process: how it ended

So the folder is the state: a job with a result is over, one whose lock is held runs, and any other waits, be it that
it never began or that its process died. The service takes the lock and hands it to the process that it starts; there
is no moment in which a job runs and its lock is free.
"""

from __future__ import annotations

import fcntl
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ...storage import tuple_json as _json
from ...storage.files import atomic_write, utc_now

LOG = logging.getLogger("al_rotate.bridge.backend")
ATTEMPTS = 3  # at one job, when its process dies without a word


class Busy(RuntimeError):
    """Something else is at it; the message says what."""


@dataclass(frozen=True)
class Job:
    """One fine-tuning as it stood when looked at."""

    folder: Path
    request: dict[str, Any]
    result: dict[str, Any]  # empty until it is over
    running: bool

    @property
    def number(self) -> int:
        return int(self.folder.name)

    @property
    def state(self) -> str:
        """waiting, running, finished or failed."""
        return str(self.result.get("state") or ("running" if self.running else "waiting"))


class Queue:
    """The jobs of one service.

    Args:
        folder: of the service; made if need be. One service at a time.
        environment: what a training's process gets beside our own environment; tokens go this way, since a command
            line can be read by everybody on the machine.

    Raises:
        Busy: when another service has the folder.
    """

    def __init__(self, folder: Path, environment: Callable[[], Mapping[str, str]]) -> None:
        self.folder, self._environment = folder, environment
        (folder / "jobs").mkdir(parents=True, exist_ok=True)
        self._mine = _locked(folder / "service.lock")
        if self._mine is None:
            raise Busy(f"another service works in {folder}: stop it, or give this one a work_dir of its own")
        self._changing = threading.Lock()
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    def close(self) -> None:
        """Leave the queue to the next service; a training goes on."""
        if self._mine is not None:
            self._mine.close()
        self._mine = None

    def add(self, training: Mapping[str, Any], reason: str) -> Job:
        """A new job, or the one that waits already when it is for the same.

        Raises:
            Busy: when one for something else waits.
        """
        with self._changing:
            known = jobs(self.folder)
            for job in known:
                if job.state == "waiting":
                    if all(job.request.get(name) == training.get(name) for name in ("kind", "project")):
                        return job
                    raise Busy(f"training {job.number}, for project {job.request.get('project')}, waits already")
            folder = self.folder / "jobs" / f"{max([job.number for job in known], default=0) + 1:04d}"
            request = {**training, "reason": reason, "queued": utc_now(), "begun": []}
            _write(folder / "job.json", request)
            return Job(folder, request, {}, False)

    def tick(self) -> list[Job]:
        """Begin the next job when none runs.

        Returns:
            All jobs, the first first.
        """
        with self._changing:
            for number in [number for number, child in self._children.items() if child.poll() is not None]:
                del self._children[number]
            known = jobs(self.folder)
            if not any(job.state == "running" for job in known):
                waiting = [job for job in known if job.state == "waiting"]
                if waiting:
                    self._begin(waiting[0])
                    known = jobs(self.folder)
            return known

    def _begin(self, job: Job) -> None:
        lock = _locked(job.folder / "lock")
        if lock is None or (job.folder / "result.json").exists():
            return  # it is being begun, or has just ended
        with lock:
            begun = job.request["begun"]
            if len(begun) >= ATTEMPTS:
                error = f"the process died {len(begun)} times without a word (memory?); see {job.folder / 'log.txt'}"
                finish(job.folder, {"state": "failed", "error": error})
                return
            _write(job.folder / "job.json", {**job.request, "begun": [*begun, utc_now()]})
            with open(job.folder / "log.txt", "ab") as log:
                child = subprocess.Popen(
                    [sys.executable, "-m", "al_rotate.bridge.backend.trainer", str(job.folder)],
                    env={**os.environ, **self._environment()},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=[lock.fileno()],
                    start_new_session=True,  # Ctrl-C ends the service, not the training
                )
            self._children[job.number] = child
        LOG.info("training %d began (%s)", job.number, job.request["reason"])


def jobs(folder: Path) -> list[Job]:
    """All jobs of a service's folder, the first first."""
    found = []
    for file in sorted(folder.glob("jobs/*/job.json")):
        result = file.with_name("result.json")
        ended = read(result) if result.exists() else {}
        running = not ended and _is_held(file.with_name("lock"))
        if not ended and not running and result.exists():
            ended = read(result)  # it ended between the two looks
        found.append(Job(file.parent, read(file), ended, running))
    return found


def finish(folder: Path, result: Mapping[str, Any]) -> None:
    """A job is over."""
    _write(folder / "result.json", {**result, "ended": utc_now()})


def claim(file: Path, began: Mapping[str, Any]) -> None:
    """Note in a folder what its trainings began from.

    Raises:
        ValueError: when it was something else.
    """
    if file.exists():
        there = read(file)
        changed = [name for name in began if there.get(name) != began[name]]
        if changed:
            raise ValueError(
                f"{file.parent} holds trainings that began from another {' and '.join(changed)}: give another work_dir"
            )
    _write(file, began)


def read(file: Path) -> dict[str, Any]:
    """What a job's file holds."""
    return dict(_json.loads(file.read_text(encoding="utf-8")))


def _write(file: Path, content: Mapping[str, Any]) -> None:
    with atomic_write(file) as text:
        text.write(_json.dumps(dict(content), indent=1, default=float))


def _locked(file: Path, how: int = fcntl.LOCK_EX) -> IO[str] | None:
    """The lock, or None when somebody has it. The kernel gives it back with the last process that holds it."""
    lock = open(file, "a", encoding="utf-8")
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def _is_held(file: Path) -> bool:
    if not file.exists():
        return False
    lock = _locked(file, fcntl.LOCK_SH)  # shared: several may look at once
    if lock is not None:
        lock.close()
    return lock is None
