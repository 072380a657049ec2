"""A project's labels after the loop's classes were renamed, merged or added."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ...storage.user_warnings import warn_user
from ..conversion.label_config import change_labels, read_xml
from .api import Api, LabelStudioError


def follow_classes(
    api: Api, project: int, classes: Sequence[str], before: Sequence[str], now: Sequence[int], rename: Mapping[str, str]
) -> dict[str, str]:
    """Change a project's labels for a changed list of classes; see :func:`change_labels`. Repeating it is safe.

    Args:
        api: the server.
        project: its id.
        classes: the classes now.
        before: the classes that the labels were made for.
        now: of each of these, its number among `classes`.
        rename: label -> class of `before`, where a label has another name.

    Returns:
        The new `rename`: label -> class, for all labels of another name than their class's, and for a class that has
        such labels and one of its own name. Of several labels of one class, predictions are to have the last.

    Raises:
        LabelStudioError: if the server refuses a label that is needed.
    """
    former = {name: name for name in before} | dict(rename)  # label -> its class before
    numbers = dict(zip(before, now, strict=True))
    meanings = {label: classes[numbers[name]] for label, name in former.items() if name in numbers}
    renamed = [label for label, name in meanings.items() if name != former[label]]
    xml = api.get(f"api/projects/{project}")["label_config"]
    config = read_xml(xml)
    meanings = {label: label for label in config.classes if label in classes} | meanings
    changed, labels = change_labels(xml, meanings, renamed, classes)
    if read_xml(changed).classes != config.classes or renamed:
        try:
            api.once("PATCH", f"api/projects/{project}", {"label_config": changed})
        except LabelStudioError as error:
            if not error.is_final:
                raise
            lacking = [label for label in labels if label not in config.classes]
            if lacking:
                raise LabelStudioError(
                    f"the classes were changed, and project {project} does not take the new labels ({error}): add "
                    f"{', '.join(lacking)} in Settings, Labeling Interface, and query again",
                    error.status,
                ) from error
            warn_user(f"project {project} goes on showing the classes' former names: {error}")
    # Labels that the project has no more may be in old answers.
    known = {label: name for label, name in meanings.items() if label not in labels} | labels
    counts = Counter(known.values())
    return {label: name for label, name in known.items() if label != name or counts[name] > 1}
