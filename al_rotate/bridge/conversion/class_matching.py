"""Which label of a project means which class of a model: people write "Large Vehicle" for "large-vehicle"."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ...data.columns import as_classes


def match_classes(
    classes: Sequence[str], labels: Sequence[str], rename: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Match classes with labels: class -> label; classes without a label are missing.

    `rename` (label -> class) comes first, then a label of exactly the class's name. Otherwise case, spaces, hyphens and
    underscores do not count, provided that exactly one unmatched label and one unmatched class share the spelling.

    Raises:
        ValueError: for text in place of the classes.

    >>> match_classes(["large-vehicle", "ship", "plane"], ["Large Vehicle", "ship", "Ship"])
    {'large-vehicle': 'Large Vehicle', 'ship': 'ship'}
    """
    classes = as_classes(classes) or ()
    renamed = {name: label for label, name in (rename or {}).items() if label in labels and name in classes}
    matches = {name: name for name in classes if name in labels and name not in (rename or {})} | renamed
    unmatched = [name for name in classes if name not in matches]
    free = [label for label in labels if label not in matches.values()]
    for name in unmatched:
        candidates = [label for label in free if _spelling(label) == _spelling(name)]
        rivals = [other for other in unmatched if _spelling(other) == _spelling(name)]
        if len(candidates) == len(rivals) == 1:
            matches[name] = candidates[0]
    return {name: matches[name] for name in classes if name in matches}


def _spelling(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()
