"""The labels of a project beside the classes of a model: people write "large vehicle", the model "large-vehicle"."""

from __future__ import annotations

import re
from collections.abc import Sequence


def matched(classes: Sequence[str], labels: Sequence[str]) -> dict[str, str]:
    """class -> the label that means it; classes without one are missing.

    A label of exactly that name goes first. Else case, spaces, hyphens and underscores do not count, as long as one
    label and one class are left that could be meant.

    >>> matched(["large-vehicle", "ship", "plane"], ["Large Vehicle", "ship", "Ship"])
    {'large-vehicle': 'Large Vehicle', 'ship': 'ship'}
    """
    exact = {name: name for name in classes if name in labels}
    left, free = [c for c in classes if c not in exact], [label for label in labels if label not in exact]
    found = dict(exact)
    for name in left:
        like = [label for label in free if _plain(label) == _plain(name)]
        rivals = [other for other in left if _plain(other) == _plain(name)]
        if len(like) == len(rivals) == 1:
            found[name] = like[0]
    return {name: found[name] for name in classes if name in found}


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()
