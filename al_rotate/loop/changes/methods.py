"""The changes of a loop that are no step of a round, as methods of ActiveLoop."""

from __future__ import annotations

import pandas as pd

from ...data import RotatedInstances
from ...workspace import Workspace
from .imported import import_labels


class Changeable:
    """The part of :class:`~al_rotate.ActiveLoop` that changes what it works on.

    Nothing is deleted: each change adds an entry to ``loop.workspace.changes()``. None is possible between the
    collection of a round and its training.
    """

    workspace: Workspace

    def add_labels(self, labels: RotatedInstances, overwrite: bool = False) -> pd.DataFrame:
        """Take over labels that exist already: they count as answers by "imported" that cost nothing.

        They are trained on, and count for class quotas, coverage and learning curves. Images without labels stay
        unlabelled, so that a pool may be labelled in part. Imported labels are calibrated on, and reviewed, only where
        a round detected on the image before it was trained on them, see :func:`al_rotate.workspace.held_out.held_out`.

        Args:
            labels: without scores, an image without a box is confirmed empty. Classes are told by their names. Ids are
                those of the pool.
            overwrite: replace answers that came in this loop, too; they stay in state.db.

        Returns:
            The account of what was not taken over, also in ``imported_account.csv``: image_id, action (``left out`` or
            ``kept``), detail. A warning names the first. That are images that are not in the pool, that were answered
            in this loop, or whose file has another size than the labelled one.

        Raises:
            ValueError: for detections, boxes of other classes, labels of which no image is in the pool, or while a
                round is collected and not trained.
        """
        return import_labels(self.workspace, labels, overwrite)
