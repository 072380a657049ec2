"""The labels of a project beside the classes of a model: people write "large vehicle", the model "large-vehicle"."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence


def matched(classes: Sequence[str], labels: Sequence[str], rename: Mapping[str, str] | None = None) -> dict[str, str]:
    """class -> the label that means it; classes without one are missing.

    What `rename` (label -> class) says goes first, then a label of exactly that name. Else case, spaces, hyphens and
    underscores do not count, as long as one label and one class are left that could be meant.

    >>> matched(["large-vehicle", "ship", "plane"], ["Large Vehicle", "ship", "Ship"])
    {'large-vehicle': 'Large Vehicle', 'ship': 'ship'}
    """
    said = {name: label for label, name in (rename or {}).items() if label in labels and name in classes}
    found = {name: name for name in classes if name in labels and name not in (rename or {})} | said
    left = [name for name in classes if name not in found]
    free = [label for label in labels if label not in found.values()]
    for name in left:
        like = [label for label in free if _plain(label) == _plain(name)]
        rivals = [other for other in left if _plain(other) == _plain(name)]
        if len(like) == len(rivals) == 1:
            found[name] = like[0]
    return {name: found[name] for name in classes if name in found}


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()
