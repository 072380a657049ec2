"""Which weights the ML backend serves, and what a training of them starts from: a workspace's, or one checkpoint's."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ...loop.settings import LoopSettings
from ...storage.files import sha256
from ...workspace import Workspace
from ..connection import Connection
from . import jobs as _queue

if TYPE_CHECKING:
    from ...detection.detector import Detector


class Weights(NamedTuple):
    """What is served under one name."""

    checkpoint: Path | None
    version: str
    trained: bool = True  # False: random, with nothing to say yet


class ModelSource(Protocol):
    """Where weights come from and go to."""

    folder: Path  # of the service's own state
    project: int | None  # the one project that it is for; None: any
    rename: Mapping[str, str]  # label of the project -> class, where a person said so

    def weights(self) -> Weights:
        """The newest ones."""

    def versions(self) -> list[str]:
        """The names of all there are, the oldest first."""

    def detector(self, weights: Weights) -> Detector:
        """Load them."""

    def training(self, project: int | None) -> dict[str, Any]:
        """What the process that trains must know, as JSON."""


class WorkspaceModels:
    """An al_rotate workspace: its rounds are the versions, and a training ends its open round.

    Args:
        workspace: its folder.
        device: "auto" takes the one that the workspace was made with.
        cfg_options: of the trainings.

    Raises:
        FileNotFoundError: when there is no workspace, or one without an MMRotate config.
    """

    def __init__(
        self, workspace: str | Path, device: str = "auto", cfg_options: Mapping[str, Any] | None = None
    ) -> None:
        self.workspace = Path(workspace).absolute()
        self.folder = self.workspace / "backend"
        with Workspace.open(self.workspace, read_only=True) as state:
            self._settings, self._classes = LoopSettings.from_json(state.settings), state.classes
        if not (self.workspace / "config.py").is_file():
            raise FileNotFoundError(f"expected {self.workspace / 'config.py'}: only workspaces of MMRotate are served")
        self._device = self._settings.device if device == "auto" else device
        self._cfg_options = dict(cfg_options or {})
        self.connection = Connection.load(self.workspace)
        self.project = self.connection.project if self.connection else None
        self.rename: Mapping[str, str] = (self.connection.rename if self.connection else None) or {}

    def weights(self) -> Weights:
        return self._all()[-1]

    def versions(self) -> list[str]:
        return [one.version for one in self._all()]

    def detector(self, weights: Weights) -> Detector:
        from ...detection.detector import Detector

        return Detector(
            self.workspace / "config.py",
            weights.checkpoint,
            self._device,
            classes=self._classes,
            precision=self._settings.precision,
        )

    def training(self, project: int | None) -> dict[str, Any]:
        return {"kind": "workspace", "workspace": str(self.workspace), "cfg_options": self._cfg_options}

    def _all(self) -> list[Weights]:
        with Workspace.open(self.workspace, read_only=True) as state:
            rounds = [one for one in state.rounds() if one.checkpoint is not None]
        first = self.workspace / self._settings.checkpoint if self._settings.checkpoint else None
        return [
            Weights(first, "initial", not self._settings.untrained_start),
            *(Weights(one.checkpoint, f"round-{one.number:03d}") for one in rounds),
        ]


class CheckpointModels:
    """A config and a checkpoint; trainings go on from the last one.

    Args:
        config: path, or name of a config shipped with MMRotate.
        checkpoint: path, or "zoo".
        device: as for Detector.
        cfg_options: of predictions and trainings.
        work_dir: of the trainings and their queue.

    Raises:
        FileNotFoundError: when a file is missing.
        ValueError: without a checkpoint, or when `work_dir` holds trainings that began elsewhere.
    """

    project: int | None = None

    def __init__(
        self,
        config: str | Path,
        checkpoint: str | Path | None,
        device: str = "auto",
        cfg_options: Mapping[str, Any] | None = None,
        work_dir: str | Path | None = None,
    ) -> None:
        if checkpoint is None:
            raise ValueError("expected a checkpoint: without weights there is nothing to serve")
        if str(checkpoint) == "zoo":
            from ...detection.configs import published_weights

            checkpoint = published_weights(config)
        self._config = str(Path(config).absolute()) if Path(config).exists() else str(config)
        self._first = Path(checkpoint).absolute()
        if not self._first.is_file():
            raise FileNotFoundError(f"expected a checkpoint, there is no file {self._first}")
        self._device, self._cfg_options = device, dict(cfg_options or {})
        self.folder = Path(work_dir or "al_rotate_backend").absolute()
        began = {"config": self._config, "checkpoint": sha256(self._first)}
        _queue.claim(self.folder / "began.json", began)
        self.rename: Mapping[str, str] = {}

    def weights(self) -> Weights:
        return self._all()[-1]

    def versions(self) -> list[str]:
        return [one.version for one in self._all()]

    def detector(self, weights: Weights) -> Detector:
        from ...detection.detector import Detector

        return Detector(self._config, weights.checkpoint, self._device, self._cfg_options)

    def training(self, project: int | None) -> dict[str, Any]:
        return {
            "kind": "labels",
            "project": project,
            "config": self._config,
            "first": str(self._first),
            "cfg_options": self._cfg_options,
        }

    def _all(self) -> list[Weights]:
        trained = [Path(job.result["checkpoint"]) for job in _queue.jobs(self.folder) if job.state == "finished"]
        return [Weights(file, _version(file)) for file in [self._first, *trained] if file.is_file()]


def _version(file: Path) -> str:
    """The checkpoint's name and what is in it: two files of one name are two versions."""
    status = file.stat()
    return f"{file.stem}-{_digest(file, status.st_mtime_ns, status.st_size)[:8]}"


@functools.lru_cache(maxsize=64)
def _digest(file: Path, changed: int, size: int) -> str:
    return sha256(file)
