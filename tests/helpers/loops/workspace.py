"""A workspace of five images, its labels and costs, and a round that is played in it step by step."""

import numpy as np
import pandas as pd

from al_rotate.data import RotatedInstances
from al_rotate.workspace import COST_COLUMNS, Workspace
from helpers.loops.kills import play_killed

CLASSES = ["ship", "plane"]
IMAGES = {name: f"images/{name}.png" for name in ("c", "a", "b", "d/e", "f")}
BOX, OTHER = [10, 10, 8, 4, 0.25], [30, 20, 6, 6, 0]


def labels_of(boxes, **columns):
    """image id -> boxes, all of class 1."""
    offsets = np.cumsum([0, *map(len, boxes.values())])
    flat = [box for image_boxes in boxes.values() for box in image_boxes]
    return RotatedInstances(list(boxes), offsets, flat, [1] * len(flat), classes=CLASSES, **columns)


def costs_of(**seconds):
    rows = [(image_id, "ann", value, 1, 2, 3, 4) for image_id, value in seconds.items()]
    return pd.DataFrame(rows, columns=["image_id", *COST_COLUMNS])


def create(folder):
    return Workspace.create(folder, IMAGES, CLASSES, {"root": "images", "seed": 3})


def finish(workspace, number, metrics=None):
    """Close the collection of a round and record its training."""
    workspace.close_collection(number)
    checkpoint = workspace.rounds()[number].folder / "checkpoint.pth"
    checkpoint.write_bytes(b"x")
    return workspace.record_training(number, checkpoint, metrics or {})


def play(folder):
    """A round and the start of the next as a loop plays them: each step follows from the state alone."""
    if not Workspace.exists(folder):
        create(folder).close()
    with Workspace.open(folder) as ws:
        while (now := ws.begin_round()).number < 1:
            if now.stage == "new":
                ws.record_query(now.number, ws.ids("unlabelled")[:2], [0.5, 0.25], "first two")
            elif now.stage == "queried":
                first, second = ws.query(now.number)["image_id"]
                if first not in ws.ids("labelled"):
                    ws.record_answers(now.number, labels_of({first: [BOX]}), costs=costs_of(**{first: 3}))
                later = labels_of({first: [BOX, OTHER]}), {second: "dark"}, costs_of(**{first: 5, second: 1})
                ws.record_answers(now.number, *later)
                ws.close_collection(now.number)
            else:
                checkpoint = now.folder / "checkpoint.pth"
                checkpoint.write_bytes(b"weights")
                ws.record_training(now.number, checkpoint, {"mAP": 0.5})


def check_counts(folder):
    """What a kill left behind can be read, and fits together."""
    if Workspace.exists(folder):
        with Workspace.open(folder, read_only=True) as reader:
            assert sum(reader.counts().values()) == len(IMAGES)
            assert len(reader.ledger()) == len(reader.labels()) + len(reader.ids("skipped"))


def play_all(root):
    play_killed(play, root, inspect=check_counts)
