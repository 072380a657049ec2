"""Rendered scenes with few objects: harbours without ships and car parks without cars are what is mostly there.

Emptiness must not be a matter of the kind of scene, or a detector would tell it from the ground. So scenes of all kinds
are drawn as :func:`al_rotate.data.synthetic.render` draws them, but each stops placing objects at a number of its own,
which is exponentially distributed: some scenes are full, many hold one object or none.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import al_rotate as al
from al_rotate.boxes import canonical
from al_rotate.data import synthetic
from al_rotate.data.images import write_png
from al_rotate.data.synthetic.canvas import Canvas
from al_rotate.data.synthetic.layouts import LAYOUTS

from ..dota_folder import DotaFolder

SIZE = 640  # of a scene, in pixels
TRAIN, TEST = 320, 120  # scenes
MEAN_OBJECTS = {55: 90.0, 80: 10.0, 95: 1.5}  # empty tiles of 160 px in per cent, about -> of the scenes' limits


def render_scenes(folder: Path, empties: int, n_train: int = TRAIN, n_test: int = TEST) -> DotaFolder:
    """Render scenes into a folder; scene k depends on `empties` and k alone.

    Args:
        folder: of the PNG files; those that are there are not written again.
        empties: a key of MEAN_OBJECTS.
        n_train, n_test: how many scenes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    layouts, shares = zip(*LAYOUTS, strict=True)
    ids, files, boxes, labels = [], {}, [], []
    for k in range(n_train + n_test):
        rng = np.random.default_rng([empties, k])
        canvas = Canvas(SIZE, rng, round(rng.exponential(MEAN_OBJECTS[empties])))
        layouts[np.searchsorted(np.cumsum(shares), rng.random() * sum(shares), side="right")](canvas, rng)
        ids.append(f"scene{k:04d}")
        files[ids[-1]] = folder / f"{ids[-1]}.png"
        boxes.append(canonical(np.array(canvas.boxes, np.float32).reshape(-1, 5)).astype(np.float32))
        labels.append(np.array(canvas.labels, np.int32))
        if not files[ids[-1]].exists():
            write_png(canvas.render(), files[ids[-1]])
    instances = al.RotatedInstances(
        ids,
        np.cumsum([0, *map(len, boxes)]),
        np.concatenate(boxes),
        np.concatenate(labels),
        classes=synthetic.CLASSES,
        image_sizes=np.full((len(ids), 2), SIZE),
    )
    return DotaFolder(instances, files, ids[:n_train], ids[n_train:])
