"""The changes of a loop that are no step of a round, as methods of ActiveLoop."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from ...data import RotatedInstances
from ...data import images as image_files
from ...workspace import Round, Workspace
from ...workspace.versions import labelled_set_files
from ..create import SETS, Images, check_outside_pool
from . import classes as class_lists
from .imported import import_labels
from .sets import keep_detector, keep_set

if TYPE_CHECKING:
    from ...detection import Detector


class Changeable:
    """The part of :class:`~al_rotate.ActiveLoop` that changes what it works on.

    Nothing is deleted: each change adds an entry to ``loop.workspace.changes()``. None but :meth:`undo_last_round` is
    possible between the collection of a round and its training.
    """

    workspace: Workspace

    def reload(self) -> None:
        """Take over what a change of the workspace means for classes, settings, learner and annotator."""
        raise NotImplementedError

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

    def add_images(self, images: Images) -> list[str]:
        """Add images to the pool; one that was removed comes back with its labels.

        Args:
            images: a folder, or image id -> file. Images that are there already are left as they are.

        Returns:
            The ids of the images that came in.

        Raises:
            ValueError: for an id that has another file already, or an image of the test or validation set.
        """
        files = {image_id: file.absolute() for image_id, file in image_files.resolve(images).items()}
        image_files.require_decided(files.values())
        for name in SETS:
            if kept := labelled_set_files(self.workspace, name):
                check_outside_pool(name, [*kept], kept, files)
        return self.workspace.add_images(files)

    def remove_images(self, image_ids: Collection[str]) -> list[str]:
        """Take images out of the pool: they are not queried or trained on any more.

        Their answers are kept, and :meth:`add_images` brings them back.

        Returns:
            The ids of those that were in the pool.

        Raises:
            ValueError: when no image would be left.
            KeyError: for an image that is not in the workspace.
        """
        return self.workspace.remove_images(image_ids)

    def unskip(self, image_ids: Collection[str] | None = None) -> list[str]:
        """Make skipped images candidates of the next query again; None: all of them.

        Returns:
            Their ids.

        Raises:
            ValueError: for images that are not skipped.
        """
        return self.workspace.unskip(image_ids)

    def undo_last_round(self) -> Round:
        """Give up the last round that has queried or trained: its query, the answers to it and its weights.

        Returns:
            The round, at stage ``undone``. Its files stay, and it stays in the history, without its metrics.

        Raises:
            ValueError: if there is none.
        """
        return self.workspace.undo_last_round()

    def add_class(self, name: str) -> None:
        """Add a class at the end of the list. The next training starts its part of the detector at random.

        Labels so far hold no box of it, on purpose or not: look through them, for example by
        :meth:`~al_rotate.ActiveLoop.review`.

        Raises:
            ValueError: for a name that is there already, or while a round is queried or collected.
        """
        class_lists.add(self.workspace, name)
        self.reload()

    def rename_class(self, name: str, new_name: str) -> None:
        """Rename a class, in all labels and detections so far.

        Raises:
            ValueError: for a class that is not there, a name that is, or while a round is queried or collected.
        """
        class_lists.rename(self.workspace, name, new_name)
        self.reload()

    def merge_classes(self, names: Sequence[str], into: str) -> None:
        """Make several classes one: their boxes, in all labels and detections so far, become boxes of `into`.

        Args:
            names: two classes or more, or one besides `into`.
            into: one of the classes, or a new name, which takes the place of the first.

        Raises:
            ValueError: for classes that are not there, or while a round is queried or collected.
        """
        class_lists.merge(self.workspace, names, into)
        self.reload()

    def set_test(self, images: Images, labels: RotatedInstances) -> None:
        """Evaluate on another test set from now on. Metrics before and after are not comparable.

        Args:
            images: a folder, or image id -> file.
            labels: of them, of the workspace's classes, in any order.

        Raises:
            ValueError: for images of the pool, labels without an image, or other classes.
        """
        keep_set(self.workspace, "test", images, labels)
        self.reload()

    def set_val(self, images: Images, labels: RotatedInstances) -> None:
        """Validate trainings on another set from now on, see :meth:`set_test`."""
        keep_set(self.workspace, "val", images, labels)
        self.reload()

    def set_detector(self, detector: Detector) -> None:
        """Go on with another config or other weights: the next query and the next training start from this detector.

        Raises:
            ValueError: for a detector of other classes, or while a round is queried or collected.
        """
        keep_detector(self.workspace, detector)
        self.reload()
