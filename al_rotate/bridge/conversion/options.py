"""How annotations are read: the options that a pull, a connection and an export share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...data.columns import as_classes
from .label_config import LabelConfig

POLICIES = ("latest", "ground-truth", "agreement")


@dataclass(frozen=True)
class ReadOptions:
    """How annotations become labels.

    Args:
        classes: class names in the order of the labels; None takes those of the project or the export, where there is
            one.
        policy: which of several annotators' answers to a task counts. ``latest``: the one changed last, be it a skip;
            the account names the others if they differ. ``ground-truth``: the one marked so, else none.
            ``agreement``: the latest, if all have the same boxes (pairwise one to one, same class, rotated IoU at
            least 0.7); else none.
        polygons: take a polygon as the rectangle of least area around it, with a note in the account; False holds its
            image back.
        rename: label -> class, for labels whose names differ from their classes'.
        sizes: image id -> (width, height), as the detector sees the images. A region drawn on another size is refused.
        image_key: the key of a task's data that holds the image's address; None takes that of the project or the
            export, else ``image``.
        image_ids: address of an image -> its id, where its name alone does not tell it from others.
        to_name: the name of the page's Image that shows it, where a task shows several; None takes that of the project
            or the labelling configuration, else the one with the name of `image_key`.
        from_name: the name of the labels that give the class, where a region has labels of several groups, such as
            ship and moored; None takes that of the project or the labelling configuration.
        labels: all that the project has, of which a shape without a label may be; None takes those of the project or
            the labelling configuration.

    Raises:
        ValueError: for an unknown policy, or classes that are no sequence of distinct names.
    """

    classes: Sequence[str] | None = None
    policy: str = "latest"
    polygons: bool = True
    rename: Mapping[str, str] | None = None
    sizes: Mapping[str, tuple[int, int]] | None = None
    image_key: str | None = None
    image_ids: Mapping[str, str] | None = None
    to_name: str | None = None
    from_name: str | None = None
    labels: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise ValueError(f"expected a policy of {', '.join(POLICIES)}, got {self.policy!r}")
        as_classes(self.classes)

    @classmethod
    def merged(
        cls, options: ReadOptions | None, classes: Sequence[str] | None, changes: Mapping[str, Any]
    ) -> ReadOptions:
        """Replace some fields of options, or of the defaults; `classes` of None keeps theirs."""
        fields = dict(changes) if classes is None else {**changes, "classes": classes}
        return replace(options or cls(), **fields)

    def completed(self, config: LabelConfig) -> ReadOptions:
        """Fill in what these leave to the project's labelling configuration."""
        return replace(
            self,
            classes=tuple(self.classes or config.classes),
            image_key=self.image_key or config.image_key,
            to_name=self.to_name or config.to_name,
            from_name=self.from_name or config.from_name,
            labels=self.labels or config.classes,
        )

    def label_codes(self) -> dict[str, int]:
        """Map labels to the indices of their classes, renamed labels included."""
        codes = {name: code for code, name in enumerate(self.classes or ())}
        renamed = {label: codes[name] for label, name in (self.rename or {}).items() if name in codes}
        return codes | renamed

    def only_label(self) -> str | None:
        """Return the label that a shape without one has, None if that would be a guess.

        It is none where there is one class alone, and the project has no label of anything else.
        """
        codes = self.label_codes()
        is_sure = len({*codes.values()}) == 1 and self.labels is not None and codes.keys() >= {*self.labels}
        return next(iter(codes)) if is_sure else None
