"""What a loop is set to do: those of its arguments that its workspace remembers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal

from ..detection.training.schedule import Schedule, by_default, says_how_long
from ..evaluation.pseudo_labels import PseudoLabels
from ..sampling import Budget, CostModel
from ..sampling.deprecated import warn_renamed

if TYPE_CHECKING:
    from ..detection import Detector
    from ..detection.networks.precision import Precision

CUSTOM = "custom"  # the name of a strategy that is a function of the user's own
CONFIGS_OWN: Literal["config"] = "config"  # in the place of a schedule: the trainings go as their config says
_NAMES_ON_DISK = {"untrained_start": "cold"}  # as al_rotate 0.1 writes and reads them
# Not written where they have these values.
_OMITTED = {
    "train_options": None,
    "config": "config.py",
    "test": None,
    "val": None,
    "schedule": None,
    "pseudo_labels": None,
    "cost": None,
}
_NESTED: dict[str, Callable[..., Any]] = {  # settings with parts of their own
    "budget": Budget,
    "cost": CostModel,
    "schedule": Schedule,
    "pseudo_labels": PseudoLabels,
}
_CURRENT_NAMES = {on_disk: name for name, on_disk in _NAMES_ON_DISK.items()}


@dataclass(frozen=True)
class LoopSettings:
    """Settings of a loop, with the defaults of :class:`~al_rotate.ActiveLoop`.

    Args:
        strategy: name of the sampling strategy, or :data:`CUSTOM`.
        strategy_options: options of a named strategy.
        budget: of each query.
        train_options: ``cfg_options`` of the trainings.
        warm_start: train each round from the last round's weights; False: from the initial ones each time.
        seed: of everything random.
        checkpoint: the initial weights, relative to the workspace; None: it was made without a detector.
        config: of the detector, a file in the workspace.
        test: labels of the test set, a file in the workspace; None: there is no test set, or al_rotate 0.2 or older
            made the workspace, see :func:`al_rotate.workspace.versions.labelled_set`.
        val: labels of the validation set, likewise.
        untrained_start: whether the initial weights are random or missing. The first round is then sampled at random.
        device: of the detector.
        precision: of predictions.
        schedule: of the trainings; None: as their config says.
        pseudo_labels: which detections on unlabelled images are trained on; None: none.
        cost: seconds for each kind of correction, by which it is decided what people are shown; None: those of the
            annotator, if it has a ``cost``, or else :class:`~al_rotate.CostModel`'s.
        other: further keys that a workspace holds, such as a newer version's; they are kept.
    """

    strategy: str = "pal"
    strategy_options: Mapping[str, Any] = field(default_factory=dict)
    budget: Budget = field(default_factory=lambda: Budget(images=50))
    train_options: Mapping[str, Any] | None = None
    warm_start: bool = True
    seed: int = 0
    checkpoint: str | None = None
    config: str = "config.py"
    test: str | None = None
    val: str | None = None
    untrained_start: bool = True
    device: str = "auto"
    precision: Precision = "auto"
    schedule: Schedule | None = None
    pseudo_labels: PseudoLabels | None = None
    cost: CostModel | None = None
    other: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, settings: Mapping[str, Any]) -> LoopSettings:
        """Read the settings of a workspace, made by this version or an older one."""
        values = {_CURRENT_NAMES.get(key, key): value for key, value in settings.items()}
        for name, kind in _NESTED.items():
            if values.get(name) is not None:
                values[name] = kind(**values[name])
        known = {entry.name for entry in fields(cls)} - {"other"}
        other = {key: values.pop(key) for key in [*values] if key not in known}
        return cls(**values, other=other)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a workspace keeps them, under names that older versions can read."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        other = values.pop("other")
        for name in _NESTED:
            values[name] = values[name] and asdict(values[name])
        for name, default in _OMITTED.items():
            if values[name] == default:
                del values[name]
        return {**other, **{_NAMES_ON_DISK.get(name, name): value for name, value in values.items()}}

    @classmethod
    def of_new_loop(cls, detector: Detector | None, **arguments: Any) -> LoopSettings:
        """Return the settings of a new loop: these arguments, and the best training of those measured.

        Args:
            detector: that MMRotate trains, see :func:`default_schedule`; None: another learner trains.
            arguments: see :meth:`merged`.
        """
        settings = cls().merged(**arguments)
        given = arguments.get("schedule") is not None or says_how_long(settings.train_options)
        return settings if detector is None or given else replace(settings, schedule=default_schedule(detector))

    def merged(self, **arguments: Any) -> LoopSettings:
        """Apply arguments of :class:`~al_rotate.ActiveLoop` that are not None.

        Another strategy does not inherit the options of the one that these settings name. Where train_options say how
        long to train, and no schedule is given, they take the place of the one that these settings have.
        """
        changes = {name: value for name, value in arguments.items() if value is not None}
        if callable(changes.get("strategy")):
            changes["strategy"] = CUSTOM
        if "budget" in changes:
            changes["budget"] = as_budget(changes["budget"])
        if says_how_long(changes.get("train_options")):
            changes.setdefault("schedule", CONFIGS_OWN)
        if changes.get("schedule") == CONFIGS_OWN:
            changes["schedule"] = None
        if isinstance(wanted := changes.get("pseudo_labels"), bool):
            changes["pseudo_labels"] = PseudoLabels() if wanted else None
        if changes.get("strategy", self.strategy) != self.strategy:
            changes.setdefault("strategy_options", {})
        return replace(self, **changes)

    def __getitem__(self, key: str) -> Any:
        """Accept ``loop.settings["seed"]``, as al_rotate 0.1 had it."""
        warn_renamed(f"loop.settings[{key!r}]", f"loop.settings.{_CURRENT_NAMES.get(key, key)}")
        return self.to_json()[key]


def default_schedule(detector: Detector) -> Schedule | None:
    """Return the schedule of a loop with this detector of which nobody said how long to train."""
    return by_default(detector.config, getattr(detector, "cfg_options", None))


def as_budget(budget: Budget | int) -> Budget:
    """Return a budget; a number counts images."""
    return budget if isinstance(budget, Budget) else Budget(images=budget)
