"""What changes in a workspace besides its rounds, each with an entry in its list of changes; nothing is deleted."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from ..data import RotatedInstances
from ..storage import tuple_json
from ..storage.files import fsync, utc_now
from ..storage.plurals import many
from . import answers, database
from .records import ANSWERED, IMPORTED, REMOVED, Round
from .transitions import Transitions

UNSKIPPED = "unskipped"  # the reason of images that were skipped, and shall be asked for again


class Changes(Transitions):
    """The changes of a :class:`~al_rotate.Workspace` that are no step of a round.

    Each is one transaction. They wait while a round is collected and not trained yet: a training that was killed has to
    find what it began with. Where an image changes, it gets a new row in the table of answers.
    """

    def round_to_change(self, between_rounds: bool = False) -> int:
        """Return the number of the open round, or of the next one.

        Args:
            between_rounds: the change cannot wait for answers to a query either.

        Raises:
            ValueError: while a round is collected and not trained; between rounds also while it is queried.
        """
        rounds = self.rounds()
        if rounds and rounds[-1].stage == "collected":
            raise ValueError(f"round {rounds[-1].number} has its labels and is not trained yet: train() first")
        if rounds and rounds[-1].stage == "queried" and between_rounds:
            raise ValueError(f"round {rounds[-1].number} waits for answers: train() first, or undo_last_round()")
        return len(rounds) if not rounds or rounds[-1].is_over else rounds[-1].number

    # Labels.

    def answered_by_people(self, image_ids: Collection[str]) -> set[str]:
        """Return which of these images have an answer, also one that is under review, that was not imported."""
        rows = self._image_rows(image_ids, "answers.status", "answers.annotator")
        return {i for i, (status, annotator) in rows.items() if status in ANSWERED and annotator != IMPORTED}

    def import_labels(self, labels: RotatedInstances, n_left_out: int = 0) -> list[str]:
        """Record labels that exist already, as answers by "imported" at no cost.

        They count from the open round on, or from the next one. Images that wait for an answer need none any more; an
        answer that comes nevertheless replaces the imported labels. Labels that are recorded already change nothing.

        Args:
            labels: without scores; an image without a box is confirmed empty.
            n_left_out: how many more there were, for the list of changes.

        Returns:
            The sorted ids of images whose labels are new or changed.

        Raises:
            ValueError: for detections, labels of other classes, images that were removed, or while a round is collected
                and not trained.
            KeyError: for an image that is not in the workspace.
        """
        labels = answers.check_labels(labels, self.classes)
        costs = pd.DataFrame({"image_id": labels.image_ids, "annotator": IMPORTED})
        costs = costs.assign(**dict.fromkeys(answers.COST_COLUMNS[1:], 0))
        rows, before = self._compare_answers(labels, None, costs, ())
        if gone := [image_id for image_id, (status, *_) in before.items() if status == REMOVED]:
            raise ValueError(f"expected labels of images of the workspace, {gone[0]!r} was removed: add_images first")
        changed = sorted(i for i, (status, *row) in before.items() if (status, *row) != ("labelled", *rows[i]))
        if not changed:
            return []
        number = self.round_to_change()
        batch = labels.subset(changed)
        file = f"labels/imported-{answers.batch_name(rows, changed)}.parquet"
        batch.save(self.folder / file)
        summary = f"{many(len(batch), 'image')} with {many(batch.n_boxes, 'box')}"
        summary += f", {n_left_out} left out" if n_left_out else ""
        with self._change("add_labels", number, summary, {"file": file, "images": len(batch)}) as db:
            for image_id in changed:
                self._insert_answer(db, image_id, number, file, rows[image_id])
        return changed

    def waits_to_be_trained_on(self, number: int) -> bool:
        """Return whether there are labels that no round has trained on; :meth:`skip_query` makes a round of them.

        Args:
            number: of the open or the next round.
        """
        last = self.last_trained(number)
        found = self._db.execute(
            "SELECT 1 FROM images JOIN answers USING (answer, image_id) WHERE images.status = 'labelled' "
            "AND answers.round > ? AND answers.digest IS NOT (SELECT digest FROM answers AS trained "
            "WHERE trained.image_id = images.image_id AND trained.round <= ? ORDER BY trained.answer DESC LIMIT 1) "
            "LIMIT 1",
            (last, last),
        )
        return found.fetchone() is not None

    def unskip(self, image_ids: Collection[str] | None = None) -> list[str]:
        """Make skipped images unlabelled, so that they can be queried again; what they took so far still counts.

        Args:
            image_ids: None: all that are skipped.

        Returns:
            Their sorted ids.

        Raises:
            ValueError: for images that are not skipped, or while a round is collected and not trained.
        """
        skipped = {*self.ids("skipped")}
        ids = sorted(skipped if image_ids is None else {*image_ids})
        if others := [image_id for image_id in ids if image_id not in skipped]:
            raise ValueError(f"expected skipped images, got {len(others)} others, e.g. {others[0]!r}")
        if ids:
            number = self.round_to_change()
            with self._change("unskip", number, many(len(ids), "image"), {"image_ids": ids}) as db:
                for image_id, spent in self._spent(ids).items():
                    self._insert_answer(db, image_id, number, None, ("unlabelled", UNSKIPPED, None, 0, *spent))
        return ids

    def unskipped(self, image_ids: Collection[str]) -> set[str]:
        """Return which of these images were skipped, and then made unlabelled by :meth:`unskip`."""
        return {i for i, (reason,) in self._image_rows(image_ids, "answers.reason").items() if reason == UNSKIPPED}

    # Images.

    def add_images(self, images: Mapping[str, str | Path]) -> list[str]:
        """Add images to the pool. One that was removed comes back with the answer that it had.

        Args:
            images: image id -> file; those that are there already are left as they are.

        Returns:
            The sorted ids of the images that came in.

        Raises:
            ValueError: for an id that has another file already, an invalid id, or while a round is collected and not
                trained.
        """
        paths = {image_id: os.fspath(file) for image_id, file in images.items()}
        if invalid := [image_id for image_id in paths if not isinstance(image_id, str) or not image_id]:
            raise ValueError(f"expected images with non-empty strings as ids, got {invalid[0]!r}")
        known = dict[str, tuple[str, str]]()
        for image_id, path, status in self._db.execute("SELECT image_id, path, status FROM images"):
            if image_id in paths:
                known[image_id] = (path, status)
        for image_id, (path, status) in known.items():
            if status != REMOVED and path != paths[image_id]:
                raise ValueError(
                    f"the image {image_id!r} is there already, with the file {path}, got {paths[image_id]}"
                )
        back = sorted(image_id for image_id, (_, status) in known.items() if status == REMOVED)
        new = sorted(paths.keys() - known.keys())
        if not new and not back:
            return []
        number = self.round_to_change()
        summary = many(len(new) + len(back), "image") + (f", {len(back)} of them removed before" if back else "")
        with self._change("add_images", number, summary, {"image_ids": sorted([*new, *back])}) as db:
            db.executemany("INSERT INTO images (image_id, path) VALUES (?, ?)", ((i, paths[i]) for i in new))
            for image_id in back:
                db.execute("UPDATE images SET path = ? WHERE image_id = ?", (paths[image_id], image_id))
                self._restore_answer(db, image_id, number, "answers.status != 'removed'")
        return sorted([*new, *back])

    def remove_images(self, image_ids: Collection[str]) -> list[str]:
        """Take images out of the pool: they are not queried, shown or trained on any more.

        Their answers stay in state.db, and what they took stays in the history.

        Raises:
            ValueError: when no image would be left, or while a round is collected and not trained.
            KeyError: for an image that is not in the workspace.
        """
        statuses = self._image_rows(sorted({*image_ids}), "images.status")
        ids = [image_id for image_id, (status,) in statuses.items() if status != REMOVED]
        if ids and len(ids) == sum(self.counts().values()):
            raise ValueError(f"expected images to be left, got all {len(ids)} to remove")
        if ids:
            number = self.round_to_change()
            with self._change("remove_images", number, many(len(ids), "image"), {"image_ids": ids}) as db:
                for image_id, spent in self._spent(ids).items():
                    self._insert_answer(db, image_id, number, None, (REMOVED, None, None, 0, *spent))
        return ids

    # Rounds.

    def undo_last_round(self) -> Round:
        """Give up the last round that has queried or trained: its query, the answers to it and its weights.

        Its images are as they were before, its stage is ``undone`` and its files stay. Labels that were imported
        meanwhile stay labels. Answers are taken back by what is recorded; an annotator that still has them gives them
        again once the images are queried again.

        Returns:
            The round.

        Raises:
            ValueError: if there is none.
        """
        candidates = [past for past in self.rounds() if past.stage in ("queried", "collected", "trained")]
        if not candidates:
            raise ValueError(f"{self.folder} has no round to undo: none has queried, or all that have are undone")
        last = candidates[-1]
        ids = self.query(last.number)["image_id"].tolist()
        rows = self._image_rows(ids, "images.status", "images.round", "answers.annotator")
        # What an image was before the query, or became meanwhile by other changes.
        kept = f"(answers.round < {last.number} OR annotator IS '{IMPORTED}' OR reason IS '{UNSKIPPED}')"
        with self._change("undo_last_round", last.number, f"round {last.number}", {"was": last.stage}) as db:
            for image_id, (status, queried, annotator) in rows.items():
                is_imported = annotator == IMPORTED and status != "queried"
                if status != REMOVED and queried == last.number and not is_imported:
                    self._restore_answer(db, image_id, last.number, kept)
            db.execute("UPDATE rounds SET stage = 'undone' WHERE round = ?", (last.number,))
            db.execute("DELETE FROM meta WHERE key = 'cursor'")  # what is taken back may be queried, and told, again
        return self._round(last.number)

    # Classes and settings.

    def change_classes(self, what: str, classes: Sequence[str], numbers: Sequence[int], summary: str) -> None:
        """Change the list of classes. Labels and detections are kept as they are, and read with the new classes.

        Args:
            what: for the list of changes.
            classes: the names from now on.
            numbers: of each class so far, its number among these.
            summary: for the list of changes.

        Raises:
            ValueError: for invalid names, for a list that the workspace had before with other meanings, or while a
                round is queried or collected.
        """
        number = self.round_to_change(between_rounds=True)
        names = RotatedInstances.empty(classes=classes).classes or ()
        former = {old: tuple(numbers[k] for k in now) for old, now in self.former_classes().items()}
        former[self.classes] = tuple(numbers)
        if former.get(names, tuple(range(len(names)))) != tuple(range(len(names))):
            raise ValueError(
                f"the workspace had the classes {', '.join(names)} before, and a class of them is another one now: its "
                "labels could not be told apart; choose another name"
            )
        detail = {"classes_before": self.classes, "numbers": list(numbers)}
        with self._change(what, number, summary, detail) as db:
            db.execute("UPDATE meta SET value = ? WHERE key = 'classes'", (json.dumps(names),))
        self.classes = names

    def change_settings(self, what: str, settings: Mapping[str, Any], summary: str, between_rounds: bool) -> None:
        """Change settings of the loop; the files that they name are in the workspace already.

        Args:
            what: for the list of changes.
            settings: the new values.
            summary: for the list of changes.
            between_rounds: refuse this while a round is queried, too.

        Raises:
            ValueError: while a round is collected and not trained.
        """
        number = self.round_to_change(between_rounds)
        before = {name: self.settings.get(name) for name in settings}
        updated = {**self.settings, **settings}
        for file in [*filter(Path.is_file, self.folder.iterdir()), self.folder]:
            fsync(file)
        with self._change(what, number, summary, {"before": before, "after": dict(settings)}) as db:
            db.execute("UPDATE meta SET value = ? WHERE key = 'settings'", (tuple_json.dumps(updated),))
        self.settings = updated

    def _spent(self, image_ids: Iterable[str]) -> dict[str, tuple[Any, ...]]:
        return self._image_rows(image_ids, *(f"answers.{name}" for name in answers.COST_COLUMNS))

    def _restore_answer(self, db: sqlite3.Connection, image_id: str, number: int, condition: str) -> None:
        """Make an image's latest answer under a condition its current one, by a copy; without one it is unlabelled."""
        columns = ("file", *answers.COLUMNS)
        found = db.execute(
            f"SELECT {', '.join(columns)} FROM answers WHERE image_id = ? AND {condition} ORDER BY answer DESC LIMIT 1",
            (image_id,),
        ).fetchone()
        nothing: answers.Row = (None, "unlabelled", None, None, 0, *(None,) * len(answers.COST_COLUMNS))
        file, status, *rest = found or nothing
        # An answer that was withdrawn left its image waiting; now nobody is asked for it.
        row = ("unlabelled" if status == "queried" else status, *rest)
        self._insert_answer(db, image_id, number, file, row)

    @contextmanager
    def _change(self, what: str, number: int, summary: str, detail: Mapping[str, Any]) -> Iterator[sqlite3.Connection]:
        """Make a transaction that ends with an entry in the list of changes."""
        with self._transaction() as db:
            yield db
            database.add_change(db, (utc_now(), number, what, summary, json.dumps(detail)))
