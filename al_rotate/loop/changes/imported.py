"""Labels that exist already: which of them a workspace takes over, and why it does not take the others."""

from __future__ import annotations

import pandas as pd

from ...data import RotatedInstances, dataset
from ...data.columns import as_classes
from ...storage.user_warnings import warn_user
from ...workspace import Workspace
from ...workspace.artefacts import update_tables

ACCOUNT = ("image_id", "action", "detail")


def import_labels(workspace: Workspace, labels: RotatedInstances, overwrite: bool = False) -> pd.DataFrame:
    """Take over labels that exist already, see :meth:`al_rotate.ActiveLoop.add_labels`.

    Returns:
        The account: image_id, action (``left out``, ``kept``) and detail, one row per image that is not taken over.
        Images that the reader of the labels left out, ``labels.skipped``, are in it; no warning repeats them.
    """
    unread = [(image_id, "left out", reason) for image_id, reason in labels.skipped.items()]
    labels = with_classes_of(workspace, labels)
    pool = {image_id for status in workspace.counts() for image_id in workspace.ids(status)}
    known = [image_id for image_id in labels.image_ids if image_id in pool]
    if len(labels) and not known:
        raise ValueError(
            f"expected labels of images of {workspace.folder}, got {len(labels)} images that are not in it, e.g. "
            f"{labels.image_ids[0]!r}; its images have ids like {min(pool)!r}"
        )
    rows = [(i, "left out", "no image of this workspace") for i in labels.image_ids if i not in pool]
    if not overwrite:
        answered = workspace.answered_by_people(known)
        rows += [(i, "kept", "answered in this loop already: that answer counts") for i in known if i in answered]
        known = [image_id for image_id in known if image_id not in answered]
    rows += _of_other_sizes(workspace, labels.subset(known))
    not_taken = {image_id for image_id, *_ in rows}
    taken = labels.subset(image_id for image_id in known if image_id not in not_taken)
    workspace.import_labels(taken, n_left_out=len(rows) + len(unread))
    account = pd.DataFrame(rows + unread, columns=list(ACCOUNT))
    about = [*labels.image_ids, *(image_id for image_id, *_ in unread)]
    update_tables(workspace.folder, {"imported_account": account}, about)
    if rows:
        first, _, detail = rows[0]
        warn_user(
            f"{len(rows)} of {len(labels)} labelled images are not taken over, e.g. {first!r}: {detail}; all of them "
            f"are in {workspace.folder / 'imported_account.csv'}"
        )
    return account


def import_at_start(workspace: Workspace, labels: RotatedInstances) -> None:
    """Take over the labels that a loop is made with; where it is opened again, they have to be there.

    Raises:
        ValueError: for labels that were not taken over when the loop was made.
    """
    if not workspace.rounds() and not len(workspace.ledger()):
        import_labels(workspace, labels)
        return
    waiting = {*workspace.ids("unlabelled"), *workspace.ids("queried")}
    new = labels.subset(image_id for image_id in labels.image_ids if image_id in waiting)
    left_out = {image_id for image_id, *_ in _of_other_sizes(workspace, new)}
    if missing := [image_id for image_id in new.image_ids if image_id not in left_out]:
        raise ValueError(
            f"{workspace.folder} was made without the labels of {len(missing)} images, e.g. {missing[0]!r}: to take "
            "them over now, use add_labels(labels)"
        )


def with_classes_of(workspace: Workspace, labels: RotatedInstances) -> RotatedInstances:
    """Return labels with the class numbers of a workspace; classes are told by their names, in any order.

    Raises:
        ValueError: for detections, or a labelled class that the workspace does not have.
    """
    if labels.scores is not None:
        raise ValueError("expected labels, which have no scores, got detections; remove them: replace(scores=None)")
    given, classes = as_classes(labels.classes), workspace.classes
    if given is None or given == classes:
        return labels.as_labels(classes)
    used = {given[number] for number in set(labels.labels.tolist())}
    if unknown := sorted(used - {*classes}):
        raise ValueError(
            f"expected labels of the classes {', '.join(classes)}, got boxes of {', '.join(unknown)}: rename them, or "
            "add them to the workspace with add_class"
        )
    numbers = [classes.index(name) if name in classes else 0 for name in given]  # 0: of no box
    return labels.replace(labels=[numbers[k] for k in labels.labels.tolist()], classes=classes).as_labels(classes)


def _of_other_sizes(workspace: Workspace, labels: RotatedInstances) -> list[tuple[str, str, str]]:
    """Return rows of the account for labels that were drawn on an image of another size, or of an unreadable one."""
    if labels.image_sizes is None:
        return []
    files, rows = workspace.paths(labels.image_ids), []
    for (image_id, image), size in zip(labels, labels.image_sizes, strict=True):
        if size.all():
            try:
                dataset.require_same_sizes(image, files)
            except (OSError, ValueError) as error:
                rows.append((image_id, "left out", str(error)))
    return rows
