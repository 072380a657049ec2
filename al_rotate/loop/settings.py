"""What a loop is set to do: the part of its arguments that its workspace remembers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from ..sampling import Budget

if TYPE_CHECKING:
    from ..detection.networks.precision import Precision

CUSTOM = "custom"  # the strategy's name where it is a function of the user's own
_NAMES_ON_DISK = {"untrained_start": "cold"}  # as al_rotate 0.1 writes and reads them


@dataclass(frozen=True)
class LoopSettings:
    """Settings of a loop, with the defaults of :class:`~al_rotate.ActiveLoop`.

    Args:
        strategy: name of the sampling strategy, or :data:`CUSTOM`.
        strategy_options: options of a named strategy.
        budget: of each query; a number counts images.
        train_options: ``cfg_options`` of the trainings.
        warm_start: train each round from the last round's weights; False: from the initial ones each time.
        seed: of everything random.
        checkpoint: the initial weights, relative to the workspace; None: made without a detector.
        untrained_start: whether the initial weights are random (or missing), so that the first round is random too.
        device: of the detector.
        precision: of predictions.
        other: further keys that a workspace holds, such as those of a newer version; they are kept.
    """

    strategy: str = "pal"
    strategy_options: Mapping[str, Any] = field(default_factory=dict)
    budget: Budget = field(default_factory=lambda: Budget(images=50))
    train_options: Mapping[str, Any] | None = None
    warm_start: bool = True
    seed: int = 0
    checkpoint: str | None = None
    untrained_start: bool = True
    device: str = "auto"
    precision: Precision = "auto"
    other: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, settings: Mapping[str, Any]) -> LoopSettings:
        """Read a workspace's settings, of this version or an older one."""
        current_names = {on_disk: name for name, on_disk in _NAMES_ON_DISK.items()}
        values = {current_names.get(name, name): value for name, value in settings.items()}
        if "budget" in values:
            values["budget"] = Budget(**values["budget"])
        known = {entry.name for entry in fields(cls)} - {"other"}
        other = {name: values.pop(name) for name in [*values] if name not in known}
        return cls(**values, other=other)

    def to_json(self) -> dict[str, Any]:
        """Give the settings as a workspace keeps them, under the names that older versions read."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        other = values.pop("other")
        values["budget"] = asdict(self.budget)
        if self.train_options is None:
            del values["train_options"]
        return {**other, **{_NAMES_ON_DISK.get(name, name): value for name, value in values.items()}}

    def merged(self, **changes: Any) -> LoopSettings:
        """Replace what is not None; another strategy does not inherit the options of this one."""
        given = {name: value for name, value in changes.items() if value is not None}
        if given.get("strategy", self.strategy) != self.strategy:
            given.setdefault("strategy_options", {})
        return replace(self, **given)

    def __getitem__(self, name: str) -> Any:
        """Accept ``loop.settings["seed"]`` of al_rotate 0.1."""
        warnings.warn("use loop.settings.NAME, loop.settings[NAME] will go in 0.3", DeprecationWarning, stacklevel=2)
        return self.to_json()[name]
