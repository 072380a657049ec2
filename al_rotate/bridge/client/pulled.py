"""What a pull asks for and returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..conversion.annotations import Reading
from ..conversion.label_config import LabelConfig

# Everything that annotations.read looks at; the server applies the list to tasks and to what they contain alike.
FIELDS = (
    "data annotations predictions drafts updated_at created_at result score model_version completed_by was_cancelled "
    "ground_truth lead_time parent_prediction user"
).split()


@dataclass(frozen=True, eq=False)
class Pulled:
    """What a pull returned.

    Args:
        reading: labels, skips, account; see :class:`~al_rotate.bridge.conversion.annotations.Reading`.
        tasks: image id -> task id, of the tasks read.
        addresses: image id -> the address of its image, of the tasks read.
        n_tasks: how many tasks of the project are ours, read or not.
        cursor: pass it to the next pull, once this one is stored.
        notes: on the project as a whole.
    """

    reading: Reading
    tasks: dict[str, int]
    addresses: dict[str, str]
    n_tasks: int
    cursor: str
    notes: list[str] = field(default_factory=list)


def note_other_labels(
    config: LabelConfig, classes: Sequence[str], rename: Mapping[str, str], project: int
) -> list[str]:
    """Note labels of a project that are none of our classes, and classes that it lacks."""
    named = {rename.get(name, name) for name in config.classes}
    lost, new = [name for name in classes if name not in named], sorted(named - {*classes})
    if not lost and not new:
        return []
    return [
        f"project {project}'s labels are not our classes: it lacks {', '.join(lost) or 'none'} and adds "
        f"{', '.join(new) or 'none'}; if a label was renamed, say rename={{'its name now': 'our class'}}"
    ]
