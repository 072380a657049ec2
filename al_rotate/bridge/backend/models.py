"""Which weights the ML backend serves, and what its trainings start from: a workspace's, or a single checkpoint's."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ...loop.context import decide_showing
from ...loop.learners import MMRotateLearner
from ...loop.settings import LoopSettings
from ...sampling import ShowingRule
from ...storage.files import sha256
from ...storage.manifest import claim
from ...workspace import Weights, Workspace, current_weights
from ...workspace.versions import all_weights
from ..connection import Connection
from .jobs import jobs
from .options import ServeOptions

if TYPE_CHECKING:
    from ...detection.detector import Detector


class ModelSource(Protocol):
    """Where weights come from, and what a training needs to make new ones.

    Attributes:
        folder: of the service's own state.
        project: the one project that it is for; None: any.
        rename: label of the project -> class, where a person said so.
    """

    folder: Path
    project: int | None
    rename: Mapping[str, str]

    def weights(self) -> Weights:
        """Return the newest weights."""

    def versions(self) -> list[str]:
        """List the names of all versions, oldest first."""

    def is_trained(self, weights: Weights) -> bool:
        """Whether the weights predict anything; random ones do not."""

    def detector(self, weights: Weights) -> Detector:
        """Load weights."""

    def showing(self, weights: Weights) -> ShowingRule:
        """Return which of the boxes that these weights predict are shown, where no score is given."""

    def training(self, project: int | None) -> dict[str, Any]:
        """Return what the process that trains must know, as JSON."""


def open_source(options: ServeOptions) -> WorkspaceModels | CheckpointModels:
    """Open the workspace or the checkpoint that the options name.

    Raises:
        FileNotFoundError: for a workspace, config or checkpoint that does not exist.
        ValueError: without a checkpoint, or if `work_dir` holds trainings that began elsewhere.
    """
    if options.workspace is not None:
        return WorkspaceModels(options.workspace, options.device, options.cfg_options)
    assert options.config is not None
    return CheckpointModels(options.config, options.checkpoint, options.device, options.cfg_options, options.work_dir)


class WorkspaceModels:
    """An al_rotate workspace: its rounds are the versions, and a training ends its open round.

    Args:
        workspace, device, cfg_options: see :class:`~al_rotate.bridge.backend.options.ServeOptions`.

    Raises:
        FileNotFoundError: if there is no workspace, or one without an MMRotate config.
    """

    def __init__(
        self, workspace: str | Path, device: str = "auto", cfg_options: Mapping[str, Any] | None = None
    ) -> None:
        self.workspace = Path(workspace).absolute()
        self.folder = self.workspace / "backend"
        with Workspace.open(self.workspace, read_only=True) as state:
            self._settings, self._classes = LoopSettings.from_json(state.settings), state.classes
            former_classes = state.former_classes()
        if not (self.workspace / self._settings.config).is_file():
            raise FileNotFoundError(
                f"expected {self.workspace / self._settings.config}: only workspaces of MMRotate are served"
            )
        self._learner = MMRotateLearner(
            self.workspace / self._settings.config,
            self._classes,
            self._settings.device if device == "auto" else device,
            self._settings.precision,
            former_classes=former_classes,
        )
        self._cfg_options = dict(cfg_options or {})
        self.connection = Connection.load(self.workspace)
        self.project = self.connection.project if self.connection else None
        self.rename: Mapping[str, str] = (self.connection.rename if self.connection else None) or {}

    def weights(self) -> Weights:
        with Workspace.open(self.workspace, read_only=True) as state:
            weights = current_weights(state)
        assert weights is not None, "a workspace of MMRotate has its initial weights"
        return weights

    def versions(self) -> list[str]:
        with Workspace.open(self.workspace, read_only=True) as state:
            return [weights.version for weights in all_weights(state)]

    def is_trained(self, weights: Weights) -> bool:
        return weights.is_trained

    def detector(self, weights: Weights) -> Detector:
        return self._learner.detector(weights.path)

    def showing(self, weights: Weights) -> ShowingRule:
        with Workspace.open(self.workspace, read_only=True) as state:
            rule = decide_showing(state, weights, self.connection, self._settings.cost)
        # Classes may have been renamed since this service began.
        return rule if rule.classes in (None, self._classes) else ShowingRule()

    def training(self, project: int | None) -> dict[str, Any]:
        return {"kind": "workspace", "workspace": str(self.workspace), "cfg_options": self._cfg_options}


class CheckpointModels:
    """A config and a checkpoint; each training starts from the newest one.

    Args:
        config, checkpoint, device, cfg_options, work_dir: see
            :class:`~al_rotate.bridge.backend.options.ServeOptions`.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: without a checkpoint, or if `work_dir` holds trainings that began elsewhere.
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
        start = {"config": self._config, "checkpoint": sha256(self._first)}
        claim(self.folder / "began.json", start, "trainings that began", "give another work_dir")
        self.rename: Mapping[str, str] = {}

    def weights(self) -> Weights:
        return self._all_weights()[-1]

    def versions(self) -> list[str]:
        return [weights.version for weights in self._all_weights()]

    def is_trained(self, weights: Weights) -> bool:
        return True

    def detector(self, weights: Weights) -> Detector:
        from ...detection.detector import Detector

        return Detector(self._config, weights.path, self._device, self._cfg_options)

    def showing(self, weights: Weights) -> ShowingRule:
        return ShowingRule()

    def training(self, project: int | None) -> dict[str, Any]:
        return {
            "kind": "labels",
            "project": project,
            "config": self._config,
            "first": str(self._first),
            "cfg_options": self._cfg_options,
        }

    def _all_weights(self) -> list[Weights]:
        trained = [Path(job.result["checkpoint"]) for job in jobs(self.folder) if job.state == "finished"]
        return [Weights(file, _version(file)) for file in [self._first, *trained] if file.is_file()]


def _version(file: Path) -> str:
    """Name a checkpoint by its file and content: two files of one name are two versions."""
    status = file.stat()
    return f"{file.stem}-{_digest(file, status.st_mtime_ns, status.st_size)[:8]}"


@functools.lru_cache(maxsize=64)
def _digest(file: Path, changed: int, size: int) -> str:
    return sha256(file)
